//! Before anything starts: are there enough file descriptors, ports and memory for this many
//! clients?
//!
//! Running out of any in mid-run looks like a fault of the target and is not, so it is
//! found out beforehand, with the command that mends it.

use std::fs;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use thiserror::Error;

use super::memory;
use crate::scenario::estimate::Estimate;
use crate::scenario::footprint::{self, Footprint};
use crate::scenario::plan::Plan;

/// Descriptors that the process needs besides its clients' sockets.
const OTHER_FDS: u64 = 64;

/// A resource of which there is too little for the run.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Shortage {
    /// More clients than the process may hold files.
    #[error(
        "{clients} clients need {needed} open files and this process may have {limit}; raise the \
         limit with `ulimit -Hn {needed} && ulimit -n {needed}` (as root), or lower the clients' \
         count"
    )]
    Files {
        /// Clients at the same time.
        clients: u64,
        /// Files they need.
        needed: u64,
        /// The hard limit.
        limit: u64,
    },
    /// More memory than can be had.
    #[error(
        "the run needs {} MiB of memory and {} MiB can be had; {cure}",
        needed >> 20,
        available >> 20
    )]
    Memory {
        /// Bytes of driver and embedded server together.
        needed: u64,
        /// Bytes that can be had.
        available: u64,
        /// The change to the scenario that would make it fit, in words.
        cure: String,
    },
    /// More clients than the target's addresses have ports for.
    #[error(
        "{clients} clients need as many ports and there are {ports} towards each of {addresses} \
         address(es); have the target listen on {enough} and name them all \
         (ndjson://127.0.0.1-127.0.0.{enough}:PORT, or target.addresses = {enough} for the embedded \
         server), widen the range with `sysctl -w net.ipv4.ip_local_port_range=\"1024 65535\"`, or \
         lower the clients' count"
    )]
    Ports {
        /// Clients at the same time.
        clients: u64,
        /// Ports to connect from, towards one address.
        ports: u64,
        /// Addresses that the target is dialled at.
        addresses: u64,
        /// How many would do.
        enough: u64,
    },
}

/// Raises the file limit as far as it goes and checks that the clients of `plan` fit, which dial
/// `addresses` in turn.
///
/// # Errors
/// [`Shortage`] says what is needed, what there is, and the cure.
pub fn check(plan: &Plan, addresses: u64) -> Result<(), Shortage> {
    let clients = plan.clients();
    shortage(clients, addresses, raise_file_limit(), ephemeral_ports())?;
    shortage_of_memory(plan, memory::available())
}

fn shortage_of_memory(plan: &Plan, available: u64) -> Result<(), Shortage> {
    let needed = Footprint::of(plan, &Estimate::of(plan)).needed();
    if needed <= available {
        return Ok(());
    }
    Err(Shortage::Memory {
        needed,
        available,
        cure: footprint::cure(plan, needed, available),
    })
}

/// Raises the soft limit on open files to the hard one; returns what holds then.
fn raise_file_limit() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let hard = limit.maximum;
    let raised = Rlimit {
        current: hard,
        maximum: hard,
    };
    if limit.current != hard && setrlimit(Resource::Nofile, raised).is_err() {
        return limit.current.unwrap_or(u64::MAX);
    }
    hard.unwrap_or(u64::MAX)
}

/// Ports to connect from, towards one address.
fn ephemeral_ports() -> u64 {
    let range = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    let mut bounds = range
        .split_whitespace()
        .filter_map(|b| b.parse::<u64>().ok());
    match (bounds.next(), bounds.next()) {
        (Some(low), Some(high)) if low <= high => high - low + 1,
        _ => 28_232, // Linux's default range
    }
}

fn shortage(clients: u64, addresses: u64, file_limit: u64, ports: u64) -> Result<(), Shortage> {
    let needed = clients + OTHER_FDS;
    if needed > file_limit {
        return Err(Shortage::Files {
            clients,
            needed,
            limit: file_limit,
        });
    }
    if clients.div_ceil(addresses) > ports {
        return Err(Shortage::Ports {
            clients,
            ports,
            addresses,
            enough: clients.div_ceil(ports.max(1)),
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(text: &str) -> Plan {
        crate::scenario::parse("case.toml", text, &[], None, None)
            .unwrap_or_else(|errors| panic!("{errors}"))
    }

    #[test]
    fn more_memory_than_there_is_is_refused_with_what_would_do() {
        let greedy = plan("[clients.a]\ncount = 100\nin_flight = 1000000");
        assert_eq!(shortage_of_memory(&greedy, 8 << 30), Ok(()));
        let short = shortage_of_memory(&greedy, 1 << 30)
            .unwrap_err()
            .to_string();
        assert!(short.contains("and 1024 MiB can be had"), "{short}");
        assert!(short.contains("clients.a.in_flight = "), "{short}");
    }

    #[test]
    fn what_is_short_is_said_with_its_cure() {
        assert_eq!(shortage(936, 1, 1000, 28_232), Ok(()));
        let files = shortage(937, 1, 1000, 28_232).unwrap_err();
        assert_eq!(
            files,
            Shortage::Files {
                clients: 937,
                needed: 1001,
                limit: 1000
            }
        );
        assert!(files.to_string().contains("ulimit -n 1001"), "{files}");
        let ports = shortage(30_000, 1, 100_000, 28_232).unwrap_err();
        assert_eq!(
            ports,
            Shortage::Ports {
                clients: 30_000,
                ports: 28_232,
                addresses: 1,
                enough: 2
            }
        );
        assert!(
            ports.to_string().contains("127.0.0.1-127.0.0.2:PORT"),
            "{ports}"
        );
        assert!(ports.to_string().contains("ip_local_port_range"), "{ports}");
    }

    #[test]
    fn each_address_has_ports_of_its_own() {
        assert_eq!(shortage(60_000, 3, 100_000, 20_000), Ok(()));
        let short = shortage(60_001, 3, 100_000, 20_000).unwrap_err();
        let Shortage::Ports {
            addresses, enough, ..
        } = short
        else {
            panic!("{short}")
        };
        assert_eq!((addresses, enough), (3, 4));
    }

    #[test]
    fn a_few_clients_fit_anywhere() {
        assert_eq!(check(&plan("[clients.a]\ncount = 10"), 1), Ok(()));
    }
}
