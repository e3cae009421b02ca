//! The embedded target: `chatbench serve` as a child process, so that its CPU and memory are its
//! own.
//!
//! The child's standard input is a pipe that only this process holds, and the child ends when it
//! closes: however this process ends, the server does not outlive it. It is in a process group of
//! its own, so that a Ctrl-C in the terminal reaches the driver alone.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use super::TargetError;
use crate::wire::protocol::Protocol;

/// The words that the server prints before its URL, once it accepts connections.
const ANNOUNCEMENT: &str = "listening on ";

/// How long it may take until then.
const START_WITHIN: Duration = Duration::from_secs(10);

/// How long it may take to end once told to.
const STOP_WITHIN: Duration = Duration::from_secs(2);

/// The most bytes read of its final output: one line per fault, of which it keeps a few thousand.
const LAST_WORDS_BYTES: u64 = 1 << 20;

/// A running server of our own.
#[derive(Debug)]
pub struct Embedded {
    child: Child,
    /// Kept apart from `child`, whose `wait` would close it.
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
    addresses: Vec<SocketAddr>,
}

impl Embedded {
    /// Starts the server of `program`, a chatbench binary, on free ports of a number of consecutive
    /// addresses from 127.0.0.1 on. It speaks `protocol`.
    ///
    /// # Errors
    /// [`TargetError::NotStarted`] with the system's error or the server's output.
    pub async fn start(
        program: &Path,
        protocol: Protocol,
        addresses: u8,
        faults: &[String],
        seed: u64,
    ) -> Result<Self, TargetError> {
        let failed = |what: String| TargetError::NotStarted(what);
        let mut command = Command::new(program);
        let scheme = format!("{protocol}://");
        let listen = format!("{scheme}127.0.0.1-127.0.0.{addresses}:0");
        command.args(["serve", "--listen", &listen, "--exit-on-stdin-eof"]);
        if !faults.is_empty() {
            command.args(["--seed", &seed.to_string()]);
            command.args(faults.iter().flat_map(|fault| ["--fault", fault]));
        }
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(|e| failed(format!("{}: {e}", program.display())))?;
        let stdin = child.stdin.take();
        let stdout = child.stdout.take().expect("it is piped");
        let mut stdout = BufReader::new(stdout);
        let announced = async {
            let mut announced = Vec::new();
            for _ in 0..addresses {
                announced.push(announced_address(&mut stdout, &scheme).await?);
            }
            Ok(announced)
        };
        let addresses = match tokio::time::timeout(START_WITHIN, announced).await {
            Ok(announced) => announced.map_err(failed)?,
            Err(_) => return Err(failed(format!("no address within {START_WITHIN:?}"))),
        };
        Ok(Self {
            child,
            stdin,
            stdout,
            addresses,
        })
    }

    /// The addresses it listens on.
    #[must_use]
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Its process id; `None` once it has ended.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    /// Waits until it ends, which it does not unless something is wrong. Cancel-safe.
    pub async fn ended(&mut self) -> Option<ExitStatus> {
        self.child.wait().await.ok()
    }

    /// Stops it: closes its standard input, and kills it if it does not exit. Returns the lines of
    /// its final output: the faults that it committed.
    pub async fn stop(mut self) -> Vec<String> {
        drop(self.stdin.take());
        let mut last_words = Vec::new();
        let ending = async {
            let mut stdout = (&mut self.stdout).take(LAST_WORDS_BYTES);
            let _ = stdout.read_to_end(&mut last_words).await;
            self.child.wait().await
        };
        if tokio::time::timeout(STOP_WITHIN, ending).await.is_err() {
            let _ = self.child.kill().await;
        }
        let text = String::from_utf8_lossy(&last_words);
        text.lines().map(str::to_owned).collect()
    }
}

/// The next address that the server announces, or its other output or its end as an error.
async fn announced_address(
    stdout: &mut BufReader<ChildStdout>,
    scheme: &str,
) -> Result<SocketAddr, String> {
    let mut line = String::new();
    match stdout.read_line(&mut line).await {
        Ok(0) => return Err("it ended at once".to_owned()),
        Ok(_) => {}
        Err(error) => return Err(error.to_string()),
    }
    let url = line.trim().strip_prefix(ANNOUNCEMENT);
    let address = url.and_then(|url| url.strip_prefix(scheme)?.parse().ok());
    address.ok_or_else(|| format!("it said {line:?}"))
}
