//! The two ordering faults that all clients see alike: a number is reserved, and given to a message
//! that is known to have been sent only after a message with a higher number was seen.
//!
//! That is certain because its sender waits for an error before it publishes: `effect-first` sends
//! the message with the higher number before that error; `renumber-late` sends the error once the
//! sender of that message has its ack and is gone. Meanwhile every other publish waits in a queue,
//! as it would at a server that is slow for a moment.

use std::collections::VecDeque;

use super::catalogue::Fault;
use super::commit::Faults;
use super::delivery::ack_line;
use crate::broadcast::Broadcast;
use crate::session::Stream;
use chatbench_wire::ndjson;

/// Publishes that wait, at most: with more, the reserved number is given up.
const MAX_WAITING: usize = 1000;

/// A number that is reserved.
#[derive(Debug)]
pub(super) struct Reserved {
    fault: Fault,
    /// The session that sees the higher number before the reserved one is given out.
    witness: usize,
    /// Errors that are kept back: for `effect-first` the witness's, until it is shown the higher
    /// number; for `renumber-late` anyone's, until the witness is gone.
    errors: Vec<(usize, Vec<u8>)>,
    witness_gone: bool,
    /// Sessions that were sent an error after the witness saw the higher number, or was gone.
    released: Vec<usize>,
    /// The message with the higher number first.
    waiting: VecDeque<Waiting>,
}

/// A publish that waits for its number.
#[derive(Debug)]
struct Waiting {
    /// `None` once its sender has gone.
    id: Option<usize>,
    client_ip: String,
    message: String,
    publish_id: Option<u64>,
}

impl Reserved {
    fn new(fault: Fault, witness: usize) -> Self {
        Self {
            fault,
            witness,
            errors: Vec::new(),
            witness_gone: false,
            released: Vec::new(),
            waiting: VecDeque::new(),
        }
    }

    /// Reserves a number for `effect-first`, where `witness` waits for `error`.
    pub(super) fn for_effect(witness: usize, error: &[u8]) -> Self {
        let mut reserved = Self::new(Fault::EffectFirst, witness);
        reserved.errors.push((witness, error.to_vec()));
        reserved
    }

    /// Whether `error`, which a session is to be sent, is kept back.
    pub(super) fn keeps_error(&mut self, id: usize, error: &[u8]) -> bool {
        if self.fault == Fault::EffectFirst {
            return false;
        }
        if self.witness_gone {
            self.released.push(id);
            return false;
        }
        self.errors.push((id, error.to_vec()));
        true
    }

    /// Whether it depends on session `id`.
    pub(super) fn involves(&self, id: usize) -> bool {
        id == self.witness && !self.witness_gone || self.waiting.iter().any(|w| w.id == Some(id))
    }

    pub(super) fn gone(&mut self, id: usize) {
        self.released.retain(|released| *released != id);
        self.errors.retain(|(waits, _)| *waits != id);
        let mut first = true;
        self.waiting.retain_mut(|waiting| {
            if waiting.id == Some(id) {
                waiting.id = None;
                return std::mem::take(&mut first); // it was shown to the witness: it stays
            }
            first = false;
            true
        });
        self.witness_gone |= id == self.witness;
    }

    /// Whether a publish of `id` was sent after its error, and no earlier publish of `id` waits.
    fn is_later(&self, id: usize) -> bool {
        let waits = self.waiting.iter().any(|w| w.id == Some(id));
        self.released.contains(&id) && !waits
    }

    /// Sends the errors that were kept back.
    fn release<S>(&mut self, b: &mut Broadcast<S>)
    where
        S: Stream,
    {
        for (id, error) in self.errors.drain(..) {
            b.reply(id, error);
            self.released.push(id);
        }
    }

    fn wait<S>(&mut self, b: &mut Broadcast<S>, id: usize, message: &str, publish_id: Option<u64>)
    where
        S: Stream,
    {
        self.waiting.push_back(Waiting {
            id: Some(id),
            client_ip: b.session(id).client_ip.to_string(),
            message: message.to_owned(),
            publish_id,
        });
    }
}

impl Faults {
    /// Whether this takes a publish, because a number is reserved or is from now on.
    pub(super) fn reserve<S>(
        &mut self,
        b: &mut Broadcast<S>,
        id: usize,
        message: &str,
        publish_id: Option<u64>,
    ) -> bool
    where
        S: Stream,
    {
        let Some(mut reserved) = self.reserved.take() else {
            return self.begin_renumber(b, id, message, publish_id);
        };
        if reserved.is_later(id) {
            let free = b.log.seq() + 1;
            self.number(b, id, message, publish_id);
            let name = b.session(id).client_ip.to_string();
            let what = format!(
                "number {free} to a message of {name}, behind number {}",
                free + 1
            );
            self.tell(reserved.fault, &[], what);
            if let Some(dice) = self.dice.iter_mut().find(|d| d.fault == reserved.fault) {
                dice.spend();
            }
            self.number_waiting(b, reserved, true);
            return true;
        }
        if reserved.fault == Fault::EffectFirst && reserved.waiting.is_empty() {
            if id == reserved.witness {
                reserved.release(b); // it did not wait for the error: try another time
                return false;
            }
            let mut line = Vec::new();
            let client_ip = b.session(id).client_ip.clone();
            ndjson::encode_relay(&mut line, b.log.seq() + 2, &client_ip, message);
            b.reply(reserved.witness, line);
            reserved.release(b);
        }
        reserved.wait(b, id, message, publish_id);
        let hopeless = id == reserved.witness && reserved.fault == Fault::RenumberLate;
        if hopeless || reserved.waiting.len() > MAX_WAITING {
            reserved.release(b);
            self.number_waiting(b, reserved, false);
        } else {
            self.reserved = Some(reserved);
        }
        true
    }

    fn begin_renumber<S>(
        &mut self,
        b: &mut Broadcast<S>,
        id: usize,
        message: &str,
        publish_id: Option<u64>,
    ) -> bool
    where
        S: Stream,
    {
        let patient = self.refused.contains(&id);
        if patient || !self.held.is_empty() || self.due(Fault::RenumberLate).is_none() {
            return false;
        }
        let mut reserved = Reserved::new(Fault::RenumberLate, id);
        reserved.wait(b, id, message, publish_id);
        let line = ack_line(b.log.seq() + 2, publish_id);
        b.reply(id, line);
        self.reserved = Some(reserved);
        true
    }

    /// Gives up the reserved number: the publishes that waited are numbered as usual.
    pub(super) fn give_up<S>(&mut self, b: &mut Broadcast<S>)
    where
        S: Stream,
    {
        let Some(mut reserved) = self.reserved.take() else {
            return;
        };
        reserved.release(b);
        self.number_waiting(b, reserved, false);
    }

    /// Called when a session has gone: if it is the witness, the fault goes on or is given up.
    pub(super) fn gone_from_reserved<S>(&mut self, b: &mut Broadcast<S>, id: usize)
    where
        S: Stream,
    {
        let Some(reserved) = &mut self.reserved else {
            return;
        };
        reserved.gone(id);
        if reserved.fault == Fault::EffectFirst && reserved.witness_gone {
            self.give_up(b);
        } else if reserved.witness_gone {
            reserved.release(b);
        }
    }

    /// Numbers the publishes that waited. If the first was `shown` to the witness already, it is
    /// not shown again.
    fn number_waiting<S>(&mut self, b: &mut Broadcast<S>, reserved: Reserved, shown: bool)
    where
        S: Stream,
    {
        for (place, waiting) in reserved.waiting.into_iter().enumerate() {
            let again = shown && place == 0;
            let Some(id) = waiting.id.filter(|_| !again) else {
                if let Ok(entry) = b.log.append(&waiting.client_ip, &*waiting.message) {
                    if again && !reserved.witness_gone {
                        b.session(reserved.witness)
                            .cursor
                            .replace(entry, Vec::new());
                    }
                    if let Some(id) = waiting.id.filter(|id| *id != reserved.witness) {
                        b.session(id).cursor.ack(entry, waiting.publish_id);
                    }
                }
                continue;
            };
            self.number(b, id, &waiting.message, waiting.publish_id);
        }
    }
}
