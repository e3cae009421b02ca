//! CPU time and memory that a process has used, read from /proc.

use std::fs;
use std::time::Duration;

use super::outcome::ProcessUse;

/// CPU time, to the nanosecond, and memory that this process has used so far.
pub(super) fn own_use() -> ProcessUse {
    let cpu = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    ProcessUse {
        cpu: Duration::new(cpu.tv_sec.max(0) as u64, cpu.tv_nsec.max(0) as u32),
        max_rss_bytes: max_rss_bytes("self").unwrap_or(0),
    }
}

/// CPU time and memory that the process `pid` has used so far; `None` once it has ended.
pub(super) fn use_of(pid: u32) -> Option<ProcessUse> {
    // schedstat counts in ns, stat in ticks of 10 ms; the former is a thread's, so add them up.
    let threads = fs::read_dir(format!("/proc/{pid}/task")).ok()?;
    let cpu_ns: u64 = threads
        .filter_map(|thread| fs::read_to_string(thread.ok()?.path().join("schedstat")).ok())
        .filter_map(|text| text.split(' ').next()?.parse::<u64>().ok())
        .sum();
    Some(ProcessUse {
        cpu: Duration::from_nanos(cpu_ns),
        max_rss_bytes: max_rss_bytes(&pid.to_string())?,
    })
}

fn max_rss_bytes(pid: &str) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_uses_something() {
        let own = own_use();
        assert!(
            own.cpu > Duration::ZERO && own.max_rss_bytes > 1 << 16,
            "{own:?}"
        );
        let same = use_of(std::process::id()).unwrap();
        assert!(same.max_rss_bytes > 1 << 16, "{same:?}");
    }
}
