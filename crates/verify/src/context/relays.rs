//! Relays as far as they can be read without their place in the order: whose message it is, or what
//! is wrong.

use super::Context;
use crate::batch::Message;
use crate::directory::RawFate;
use crate::ledger::Handle;
use crate::violation::{Quote, WrongRelay};
use chatbench_wire::payload::{self, Header, NotIntact, SenderId};
use chatbench_wire::rooms::RoomId;
use chatbench_wire::seen::Relay;

/// The text of a relay.
#[derive(Debug)]
pub(crate) enum Text {
    /// A message of this run, intact.
    Message(Header),
    /// A message of this run, intact, that was published in this other room.
    OtherRoom(Message, RoomId),
    /// A text that a script sent, and that was in order.
    Script,
    /// Nothing that was to be relayed.
    Wrong(WrongRelay),
}

impl<P> Context<P> {
    pub(crate) fn read(&self, relay: &Relay<'_>) -> Text {
        let (terms, directory) = (&self.terms, &self.directory);
        let quote = || Quote::of(&relay.text);
        Text::Wrong(match payload::decode(&relay.text, terms.seed, terms.run) {
            Ok(header) if header.run != terms.run => WrongRelay::OtherRun(header.run),
            Ok(header) if !directory.was_opened(header.sender) || header.k == 0 => {
                WrongRelay::NoSuchSender(header.sender)
            }
            Ok(header) => {
                return match directory.other_room_of(header.sender) {
                    None => Text::Message(header),
                    Some(room) => {
                        let Header { sender, k, .. } = header;
                        Text::OtherRoom(Message { sender, k }, room)
                    }
                };
            }
            Err(NotIntact::Altered) => WrongRelay::Altered(quote()),
            Err(NotIntact::Foreign) => {
                match directory.raw_fate(&String::from_utf8_lossy(&relay.text)) {
                    Some(RawFate::Accepted) => return Text::Script,
                    Some(RawFate::Rejected) => WrongRelay::Refused(quote()),
                    None if directory.may_have_raw_texts() => return Text::Script,
                    None if relay.text.is_empty() => WrongRelay::Blank,
                    None => WrongRelay::Nobodys {
                        from: Quote::of(relay.from.as_bytes()),
                        text: quote(),
                    },
                }
            }
        })
    }

    /// The fault of a relay of `sender` that names another address than its own.
    pub(crate) fn misattributed(
        &self,
        handle: Handle,
        sender: SenderId,
        relay: &Relay<'_>,
    ) -> Option<WrongRelay> {
        if !self.terms.capabilities.senders {
            return None;
        }
        let truth = self.directory.check_address(sender, &relay.from).err()?;
        let receiver = self.sessions[handle].id;
        let is_receivers = self.directory.check_address(receiver, &relay.from).is_ok();
        Some(WrongRelay::WrongAddress {
            claimed: (*relay.from).into(),
            is_receivers,
            truth: truth.into(),
        })
    }
}
