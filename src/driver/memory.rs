//! How much memory this process can still get: of the machine, of its control group, and under its
//! own limit.

use std::fs;
use std::path::{Path, PathBuf};

use rustix::process::{Resource, getrlimit};

/// Bytes that can still be had; `u64::MAX` where the system does not say.
pub(super) fn available() -> u64 {
    let machine = fs::read_to_string("/proc/meminfo").ok();
    let machine = machine.and_then(|text| kib_of(&text, "MemAvailable:"));
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let own = getrlimit(Resource::As).current;
    [
        machine,
        in_groups(&groups, Path::new("/sys/fs/cgroup")),
        own,
    ]
    .into_iter()
    .flatten()
    .min()
    .unwrap_or(u64::MAX)
}

/// A figure of `/proc/meminfo`, in bytes.
fn kib_of(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib << 10)
}

/// The memory that the control groups in `/proc/self/cgroup`'s text leave, of either version,
/// mounted at `root`. A group is bounded by its ancestors, so all of them are read.
fn in_groups(text: &str, root: &Path) -> Option<u64> {
    let group = |line: &str| {
        let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
        let path = path.trim_start_matches('/');
        match controllers {
            "" => Some((root.join(path), "memory.max", "memory.current")),
            _ if controllers.split(',').any(|c| c == "memory") => Some((
                root.join("memory").join(path),
                "memory.limit_in_bytes",
                "memory.usage_in_bytes",
            )),
            _ => None,
        }
    };
    text.lines()
        .filter_map(group)
        .flat_map(|(path, limit, used)| {
            let up: Vec<PathBuf> = path
                .ancestors()
                .take_while(|folder| folder.starts_with(root))
                .map(Path::to_owned)
                .collect();
            up.into_iter().filter_map(move |folder| {
                // `max` is no number: no limit.
                let limit = number_in(&folder.join(limit))?;
                Some(limit.saturating_sub(number_in(&folder.join(used)).unwrap_or(0)))
            })
        })
        .min()
}

fn number_in(file: &Path) -> Option<u64> {
    fs::read_to_string(file).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn meminfo_is_in_kib() {
        let text = "MemTotal:       24521416 kB\nMemAvailable:     100 kB\n";
        assert_eq!(kib_of(text, "MemAvailable:"), Some(102_400));
        assert_eq!(kib_of(text, "MemNone:"), None);
    }

    #[test]
    fn the_narrowest_of_nested_groups_decides() {
        let root = tempfile::tempdir().unwrap();
        let inner = root.path().join("outer/inner");
        fs::create_dir_all(&inner).unwrap();
        let write = |folder: &Path, limit: &str, used: &str| {
            fs::write(folder.join("memory.max"), limit).unwrap();
            fs::write(folder.join("memory.current"), used).unwrap();
        };
        let left = || in_groups("0::/outer/inner\n", root.path());
        write(&inner, "max\n", "7\n");
        assert_eq!(left(), None);
        write(&root.path().join("outer"), "1000\n", "400\n");
        assert_eq!(left(), Some(600));
        write(&inner, "500\n", "50\n");
        assert_eq!(left(), Some(450));
        write(&inner, "500\n", "501\n");
        assert_eq!(left(), Some(0));
    }

    #[test]
    fn the_first_version_of_groups_is_read_too() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("memory/a");
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("memory.limit_in_bytes"), "1000").unwrap();
        let left = in_groups("5:cpu:/a\n4:memory,misc:/a\n", root.path());
        assert_eq!(left, Some(1000));
    }

    #[test]
    fn this_machine_has_some() {
        assert!(available() > 1 << 20);
    }
}
