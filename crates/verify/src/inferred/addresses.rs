//! The session that each address belongs to: an anonymous ack names nothing else.
//!
//! An ack may go to the wrong session when its owner has long gone, so an address is remembered as
//! long as the deliveries of its session may still be looked at, and as long as its messages may
//! still be answered.

use std::collections::HashMap;
use std::net::SocketAddr;

use chatbench_wire::payload::SenderId;

/// The addresses of sessions that are not forgotten.
#[derive(Debug, Default)]
pub(super) struct Addresses {
    owners: HashMap<SocketAddr, SenderId>,
    sessions: HashMap<SenderId, Known>,
}

#[derive(Debug)]
struct Known {
    address: SocketAddr,
    /// One of its two uses is over.
    half_done: bool,
}

impl Addresses {
    pub(super) fn add(&mut self, session: SenderId, address: SocketAddr) {
        let known = Known {
            address,
            half_done: false,
        };
        self.sessions.insert(session, known);
        self.owners.insert(address, session);
    }

    pub(super) fn owner(&self, address: SocketAddr) -> Option<SenderId> {
        self.owners.get(&address).copied()
    }

    /// One of its two uses is over, each once: with the second its address is forgotten.
    pub(super) fn done(&mut self, session: SenderId) {
        let Some(known) = self.sessions.get_mut(&session) else {
            return;
        };
        if !std::mem::replace(&mut known.half_done, true) {
            return;
        }
        let address = known.address;
        self.sessions.remove(&session);
        if self.owners.get(&address) == Some(&session) {
            self.owners.remove(&address);
        }
    }
}
