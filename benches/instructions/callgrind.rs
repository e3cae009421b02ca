//! Runs this bench's cases under valgrind and reads what it counted.

use std::env;
use std::fs;
use std::path::Path;
use std::process::Command;

use super::RUN_CASE;
use super::baseline::Count;
use super::cases::{self, Case};

/// Counts the instructions of every case, one by one.
pub(crate) fn count() -> Result<Vec<Count>, String> {
    let directory = tempfile::tempdir().map_err(|e| e.to_string())?;
    let counts = cases::ALL.iter().map(|case| {
        let out = directory.path().join(case.function);
        let counted = (0..case.processes).map(|_| count_case(case, &out));
        let counted: Vec<u64> = counted.collect::<Result<_, _>>()?;
        let instructions = counted.into_iter().min().unwrap_or(0);
        Ok(Count {
            name: case.name.to_owned(),
            instructions: instructions as f64 / case.events as f64,
        })
    });
    counts.collect()
}

/// Counts what runs inside the case's function.
///
/// Each case has a process of its own: in one process for all, what the heap was left with by
/// those before cost `verify/ack` 64 instructions more or less, one call of `malloc_consolidate`
/// divided by 256 acks. For the same reason there are no fast bins, which put that work off.
fn count_case(case: &Case, out: &Path) -> Result<u64, String> {
    let this = env::current_exe().map_err(|e| e.to_string())?;
    let function = format!("instructions::cases::{}", case.function);
    let valgrind = Command::new("valgrind")
        .args(["--tool=callgrind", "--cache-sim=no"])
        .arg(format!("--toggle-collect={function}"))
        .arg(format!("--callgrind-out-file={}", out.display()))
        .arg(this)
        .args([RUN_CASE, case.name])
        .env("GLIBC_TUNABLES", "glibc.malloc.mxfast=0")
        .output()
        .map_err(|e| {
            format!("cannot run valgrind: {e}; install it, on Debian `apt-get install valgrind`")
        })?;
    if !valgrind.status.success() {
        let said = String::from_utf8_lossy(&valgrind.stderr);
        return Err(format!("valgrind ended with {}: {said}", valgrind.status));
    }
    let counted = fs::read_to_string(out).map_err(|e| format!("{}: {e}", out.display()))?;
    let total = counted
        .lines()
        .find_map(|line| line.strip_prefix("totals: "))
        .and_then(|total| total.trim().parse::<u64>().ok())
        .unwrap_or(0);
    match total {
        0 => Err(format!(
            "callgrind saw nothing of {function}: is it inlined, or are symbols stripped?"
        )),
        total => Ok(total),
    }
}
