//! The binary as its users run it: the same words on every machine, nothing on its standard input.

use std::ffi::OsStr;
use std::process::{Command, Output, Stdio};

/// `chatbench` with these arguments, not started yet.
pub(crate) fn chatbench(args: &[impl AsRef<OsStr>]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_chatbench"));
    command
        .args(args)
        .env("NO_COLOR", "1")
        .env("LC_ALL", "C.UTF-8")
        .stdin(Stdio::null());
    command
}

/// Runs it to its end.
pub(crate) fn output(args: &[impl AsRef<OsStr>]) -> Output {
    chatbench(args).output().unwrap()
}

/// What it said on standard error.
pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}
