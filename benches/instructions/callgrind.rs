//! Runs this bench's cases under valgrind and reads what it counted.

use std::env;
use std::process::Command;

use super::RUN_CASES;
use super::baseline::Count;
use super::cases;

/// Counts the instructions of every case, one by one.
pub(crate) fn count() -> Result<Vec<Count>, String> {
    let directory = tempfile::tempdir().map_err(|e| e.to_string())?;
    let out = directory.path().join("counts");
    let this = env::current_exe().map_err(|e| e.to_string())?;
    let valgrind = Command::new("valgrind")
        .args(["--tool=callgrind", "--cache-sim=no"])
        .arg(format!("--callgrind-out-file={}", out.display()))
        .arg(this)
        .arg(RUN_CASES)
        .output()
        .map_err(|e| {
            format!("cannot run valgrind: {e}; install it, on Debian `apt-get install valgrind`")
        })?;
    if !valgrind.status.success() {
        let said = String::from_utf8_lossy(&valgrind.stderr);
        return Err(format!("valgrind ended with {}: {said}", valgrind.status));
    }
    let annotated = Command::new("callgrind_annotate")
        .args(["--inclusive=yes", "--threshold=100"])
        .arg(&out)
        .output()
        .map_err(|e| format!("cannot run callgrind_annotate, which comes with valgrind: {e}"))?;
    read(&String::from_utf8_lossy(&annotated.stdout))
}

/// Finds the cases in callgrind_annotate's table: `1,234,567 (12.3%)  file:path::case [binary]`.
fn read(table: &str) -> Result<Vec<Count>, String> {
    let counts = cases::ALL.iter().map(|case| {
        let function = format!("cases::{}", case.function);
        let line = table.lines().find(|line| {
            line.split(&function)
                .nth(1)
                // The same and not longer: its end, or the compiler's hash.
                .is_some_and(|rest| !rest.starts_with(|c: char| c.is_alphanumeric() || c == '_'))
        });
        let instructions = line
            .and_then(|line| line.split_whitespace().next())
            .and_then(|number| number.replace(',', "").parse::<u64>().ok());
        let instructions = instructions.ok_or_else(|| {
            format!("callgrind saw nothing of {function}: is it inlined, or are symbols stripped?")
        })?;
        Ok(Count {
            name: case.name.to_owned(),
            instructions: instructions as f64 / case.events as f64,
        })
    });
    counts.collect()
}
