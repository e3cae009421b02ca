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
use super::seat::{Place, Seat};
use crate::broadcast::Broadcast;
use crate::session::Stream;

/// Publishes that wait, at most: with more, the reserved number is given up.
const MAX_WAITING: usize = 1000;

/// A number that is reserved.
#[derive(Debug)]
pub(super) struct Reserved {
    fault: Fault,
    /// The session that sees the higher number before the reserved one is given out.
    witness: usize,
    /// The room whose number it is, once a message was published there, and the seat that the
    /// witness has in it.
    room: Option<(Place, Seat)>,
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
    seat: Option<Seat>,
    client_ip: String,
    message: String,
    publish_id: Option<u64>,
}

impl Reserved {
    fn new(fault: Fault, witness: usize) -> Self {
        Self {
            fault,
            witness,
            room: None,
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
        id == self.witness && !self.witness_gone || self.has_waiting(id)
    }

    fn has_waiting(&self, id: usize) -> bool {
        let mut seats = self.waiting.iter().filter_map(|waiting| waiting.seat);
        seats.any(|seat| seat.session == id)
    }

    pub(super) fn gone(&mut self, id: usize) {
        self.released.retain(|released| *released != id);
        self.errors.retain(|(waits, _)| *waits != id);
        let mut first = true;
        self.waiting.retain_mut(|waiting| {
            if waiting.seat.is_some_and(|seat| seat.session == id) {
                waiting.seat = None;
                return std::mem::take(&mut first); // it was shown to the witness: it stays
            }
            first = false;
            true
        });
        self.witness_gone |= id == self.witness;
    }

    /// Whether a publish of `id` was sent after its error, and no earlier publish of `id` waits.
    fn is_later(&self, id: usize) -> bool {
        self.released.contains(&id) && !self.has_waiting(id)
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

    fn wait<S>(&mut self, b: &mut Broadcast<S>, seat: Seat, message: &str, publish_id: Option<u64>)
    where
        S: Stream,
    {
        self.waiting.push_back(Waiting {
            seat: Some(seat),
            client_ip: b.name_of(seat),
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
        seat: Seat,
        message: &str,
        publish_id: Option<u64>,
    ) -> bool
    where
        S: Stream,
    {
        let (id, place) = (seat.session, b.place_of(seat));
        let Some(mut reserved) = self.reserved.take() else {
            return self.begin_renumber(b, seat, message, publish_id);
        };
        // The witness must be where the message is that it is shown.
        let witness = match &reserved.room {
            Some((room, witness)) => (*room == place).then_some(*witness),
            None => b.seat_beside(seat, reserved.witness),
        };
        let Some(witness) = witness else {
            self.reserved = Some(reserved);
            return false;
        };
        if reserved.is_later(id) {
            let free = b.log_at(seat).seq() + 1;
            self.number(b, seat, message, publish_id);
            let (number, name) = (place.number(free), b.name_of(seat));
            let what = format!(
                "{number} to a message of {name}, behind number {}",
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
            let line = place.relay(b.log_at(seat).seq() + 2, &b.name_of(seat), message);
            b.reply_at(witness, line);
            reserved.release(b);
            reserved.room = Some((place, witness));
        }
        reserved.wait(b, seat, message, publish_id);
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
        seat: Seat,
        message: &str,
        publish_id: Option<u64>,
    ) -> bool
    where
        S: Stream,
    {
        let id = seat.session;
        let patient = self.refused.contains(&id);
        if patient || !self.held.is_empty() || self.due(Fault::RenumberLate).is_none() {
            return false;
        }
        let mut reserved = Reserved::new(Fault::RenumberLate, id);
        reserved.wait(b, seat, message, publish_id);
        let place = b.place_of(seat);
        let line = place.ack(b.log_at(seat).seq() + 2, publish_id);
        b.reply_at(seat, line);
        reserved.room = Some((place, seat));
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
        let Some((_, witness)) = reserved.room else {
            return; // nothing was published since
        };
        for (place, waiting) in reserved.waiting.into_iter().enumerate() {
            let again = shown && place == 0;
            let Some(seat) = waiting.seat.filter(|_| !again) else {
                let (client_ip, message) = (&waiting.client_ip, &waiting.message);
                // A room that its witness has left may be there no more, or be another.
                let in_room = match (witness.membership, reserved.witness_gone) {
                    (Some(_), true) => waiting.seat,
                    _ => Some(witness),
                };
                let entry = in_room.and_then(|seat| b.append_at(seat, client_ip, message));
                if let Some(entry) = entry {
                    if again && !reserved.witness_gone {
                        b.at(witness, |cursor| cursor.replace(entry, Vec::new()));
                    }
                    if let Some(seat) = waiting.seat.filter(|seat| seat.session != reserved.witness)
                    {
                        b.ack_at(seat, entry, waiting.publish_id);
                    }
                }
                continue;
            };
            self.number(b, seat, &waiting.message, waiting.publish_id);
        }
    }
}
