//! Relays as far as they can be read without their place: whose message it is, or what is wrong.

use super::Context;
use crate::verify::directory::RawFate;
use crate::verify::ledger::Handle;
use crate::verify::violation::{Quote, WrongRelay};
use crate::wire::payload::{self, Header, NotIntact, SenderId};
use crate::wire::seen::Relay;

/// The text of a relay.
#[derive(Debug)]
pub(in crate::verify) enum Text {
    /// A message of this run, intact.
    Message(Header),
    /// A text that a script sent, and that was in order.
    Script,
    /// Nothing that was to be relayed.
    Wrong(WrongRelay),
}

impl<P> Context<P> {
    pub(in crate::verify) fn read(&self, relay: &Relay<'_>) -> Text {
        let (terms, directory) = (&self.terms, &self.directory);
        let quote = || Quote::of(&relay.text);
        Text::Wrong(match payload::decode(&relay.text, terms.seed, terms.run) {
            Ok(header) if header.run != terms.run => WrongRelay::OtherRun(header.run),
            Ok(header) if !directory.was_opened(header.sender) || header.k == 0 => {
                WrongRelay::NoSuchSender(header.sender)
            }
            Ok(header) => return Text::Message(header),
            Err(NotIntact::Altered) => WrongRelay::Altered(quote()),
            Err(NotIntact::Foreign) => {
                match directory.raw_fate(&String::from_utf8_lossy(&relay.text)) {
                    Some(RawFate::Accepted) => return Text::Script,
                    Some(RawFate::Rejected) => WrongRelay::Refused(quote()),
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
    pub(in crate::verify) fn misattributed(
        &self,
        handle: Handle,
        sender: SenderId,
        relay: &Relay<'_>,
    ) -> Option<WrongRelay> {
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
