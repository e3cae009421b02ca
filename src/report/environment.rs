//! The machine that a result was made on: without it two results cannot be compared.

use std::num::NonZero;
use std::thread::available_parallelism;

use serde::{Deserialize, Serialize};

/// The machine that the driver ran on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Environment {
    /// Operating system and architecture: `linux x86_64`.
    pub os: String,
    /// Kernel release.
    pub kernel: String,
    /// Processors that the driver may use.
    #[cfg_attr(test, schemars(range(min = 1)))]
    pub cpus: usize,
    /// The host's name.
    pub host: String,
}

impl Environment {
    /// This machine.
    #[must_use]
    pub fn here() -> Self {
        let uname = rustix::system::uname();
        Self {
            os: format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
            kernel: uname.release().to_string_lossy().into_owned(),
            cpus: available_parallelism().map_or(1, NonZero::get),
            host: uname.nodename().to_string_lossy().into_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_says_what_it_is() {
        let here = Environment::here();
        let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
        assert_eq!(here.kernel, release.trim());
        assert!(here.cpus >= 1);
    }
}
