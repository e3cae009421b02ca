//! The limits of the server: open files, clients, bytes.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tracing::warn;

use crate::server;

/// File descriptors reserved for connections being refused or closed, listeners, the standard
/// streams, and the runtime.
const RESERVED_FILES: u64 = 320;

/// Raises the limit of open files as far as it goes. Returns it; `None` is none.
pub(super) fn raise_file_limit() -> Option<u64> {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum,
        Err(error) => {
            warn!(%error, "cannot raise the limit of open files");
            limit.current
        }
    }
}

/// How many clients to admit: as many as asked for, but no more than there are files for, so that
/// one too many is told so and not left waiting for a descriptor.
pub(super) fn max_clients(asked: Option<usize>, files: Option<u64>) -> usize {
    let wanted = asked.unwrap_or(server::DEFAULT_MAX_CLIENTS);
    let Some(files) = files else { return wanted };
    let possible = (files - RESERVED_FILES.min(files / 2)) as usize;
    if possible < wanted && asked.is_some() {
        warn!("{files} open files allow {possible} clients: raise `ulimit -Hn` for more");
    }
    wanted.min(possible)
}

/// Bytes as people write them: `64`, `4KiB`, `16MiB`, `1GiB`.
pub(super) fn parse_size(text: &str) -> Result<usize, String> {
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let unit_bytes: usize = match unit.trim() {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return Err("give bytes, or KiB, MiB, GiB: 64, 4KiB, 16MiB".to_owned()),
    };
    number
        .parse::<usize>()
        .ok()
        .and_then(|number| number.checked_mul(unit_bytes))
        .ok_or_else(|| "give a number of bytes: 64, 4KiB, 16MiB".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_bytes_or_powers_of_1024() {
        for (text, bytes) in [
            ("0", Some(0)),
            ("64", Some(64)),
            ("4KiB", Some(4096)),
            ("16 MiB", Some(16 << 20)),
            ("1GiB", Some(1 << 30)),
            ("", None),
            ("KiB", None),
            ("-1", None),
            ("1.5KiB", None),
            ("4kb", None),
            ("99999999999999999999", None),
            ("99999999999999GiB", None),
        ] {
            assert_eq!(parse_size(text).ok(), bytes, "{text}");
        }
    }

    #[test]
    fn clients_are_bounded_by_what_is_asked_and_by_open_files() {
        assert_eq!(max_clients(None, None), server::DEFAULT_MAX_CLIENTS);
        assert_eq!(max_clients(None, Some(20_000)), 20_000 - 320);
        assert_eq!(max_clients(Some(10), Some(20_000)), 10);
        assert_eq!(max_clients(Some(30_000), Some(20_000)), 20_000 - 320);
        assert_eq!(max_clients(None, Some(40)), 20);
    }
}
