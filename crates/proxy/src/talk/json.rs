//! The reference protocol: JSON objects, one in a line or one in a WebSocket message.

use std::ops::Range;

use chatbench_wire::ndjson::{ServerFrame, decode_server};

use super::lines::Lines;
use super::websocket::Messages;
use super::{Acks, Frames, Talk, Way, client_ip};

/// How the reference server talks.
#[derive(Debug)]
pub struct Json {
    is_websocket: bool,
}

impl Json {
    /// A JSON object in a line.
    #[must_use]
    pub const fn over_lines() -> Self {
        Self {
            is_websocket: false,
        }
    }

    /// A JSON object in a WebSocket message.
    #[must_use]
    pub const fn over_websocket() -> Self {
        Self { is_websocket: true }
    }
}

impl Talk for Json {
    fn frames(&self, way: Way) -> Box<dyn Frames> {
        match self.is_websocket {
            true => Box::new(Messages::new(way)),
            false => Box::new(Lines::new(b"\n")),
        }
    }

    fn acks(&self) -> Acks {
        Acks::Named
    }

    fn is_ack(&self, body: &[u8], _sent: &mut dyn Iterator<Item = &[u8]>) -> bool {
        matches!(decode_server(body), Ok(ServerFrame::Ack { .. }))
    }

    fn address(&self, _way: Way, body: &[u8]) -> Option<Range<usize>> {
        client_ip(body)
    }

    fn names_senders(&self) -> bool {
        true
    }
}
