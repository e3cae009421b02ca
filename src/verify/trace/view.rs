//! The directory as one ledger or the judge sees it: asked directly, asked and written down, or
//! answered from a trace.

use std::cell::RefCell;
use std::sync::Arc;

use super::tape::{Reading, Tape, Writing};
use crate::verify::directory::{ClientId, Directory, RawFate};
use crate::verify::numberings::APART;
use crate::verify::sends::Sends;
use crate::wire::payload::SenderId;

/// One asker's view of the directory, and its tape.
#[derive(Debug)]
pub(crate) struct View {
    directory: Arc<Directory>,
    /// In a cell, since the judge asks for names while it only looks.
    tape: RefCell<Tape>,
}

impl View {
    pub(crate) fn new(directory: Arc<Directory>) -> Self {
        Self {
            directory,
            tape: RefCell::default(),
        }
    }

    pub(crate) fn set_tape(&mut self, tape: Tape) {
        *self.tape.get_mut() = tape;
    }

    /// The tape, if events are written on it.
    #[inline]
    pub(crate) fn writing(&mut self) -> Option<&mut Writing> {
        match self.tape.get_mut() {
            Tape::Writing(writing) => Some(writing),
            _ => None,
        }
    }

    /// The tape, if events are played from it.
    pub(crate) fn reading(&mut self) -> Option<&mut Reading> {
        match self.tape.get_mut() {
            Tape::Reading(reading) => Some(reading),
            _ => None,
        }
    }

    /// Asks the directory, or the tape what it said then.
    fn ask<T>(
        &self,
        live: impl FnOnce(&Directory) -> T,
        write: impl FnOnce(&mut Writing, &T),
        read: impl FnOnce(&mut Reading) -> T,
    ) -> T {
        match &mut *self.tape.borrow_mut() {
            Tape::Off => live(&self.directory),
            Tape::Writing(writing) => {
                let answer = live(&self.directory);
                write(writing, &answer);
                answer
            }
            Tape::Reading(reading) => read(reading),
        }
    }

    /// Tells the directory, unless this is a replay: nobody asks it then.
    fn tell(&self, live: impl FnOnce(&Directory)) {
        if !matches!(&*self.tape.borrow(), Tape::Reading(_)) {
            live(&self.directory);
        }
    }

    pub(crate) fn open(&self, client: ClientId) -> Option<SenderId> {
        self.ask(
            |d| d.open(client),
            |w, id| w.answer(id.map_or(0, |id| u64::from(id.0) + 1)),
            |r| r.session().map(SenderId),
        )
    }

    pub(crate) fn highest_seq(&self) -> u64 {
        let answer = |w: &mut Writing, seq: &u64| w.near_answer(*seq);
        self.ask(Directory::highest_seq, answer, Reading::near_answer)
    }

    /// The number that the target states for `number`. One that is too small to be of a later
    /// numbering is its own.
    pub(in crate::verify) fn stated(&self, number: u64) -> u64 {
        if number < APART {
            return number;
        }
        self.ask(
            |d| d.numberings(|n| n.stated(number)),
            |w, stated| w.answer(*stated),
            Reading::number,
        )
    }

    /// See [`Numberings::of_welcome`](crate::verify::numberings::Numberings::of_welcome).
    pub(in crate::verify) fn numbering_of_welcome(&self, joined: u64, welcome: u64) -> u64 {
        self.ask(
            |d| d.numberings(|n| n.of_welcome(joined, welcome)),
            |w, added| w.answer(*added),
            Reading::number,
        )
    }

    /// See [`Numberings::begin`](crate::verify::numberings::Numberings::begin).
    pub(in crate::verify) fn begin_numbering(&self, joined: u64) -> Option<(u64, bool)> {
        self.ask(
            |d| d.begin_numbering(joined),
            |w, begun| {
                w.answer(begun.map_or(0, |(_, new)| 1 + u64::from(new)));
                if let Some((added, _)) = begun {
                    w.answer(*added);
                }
            },
            |r| match r.number() {
                0 => None,
                known => Some((r.number(), known > 1)),
            },
        )
    }

    /// The highest number that was seen of the numbering that `number` lies in.
    pub(in crate::verify) fn highest_of(&self, number: u64, highest: u64) -> u64 {
        if highest.saturating_sub(number) < APART {
            return highest;
        }
        self.ask(
            |d| d.numberings(|n| n.highest_of(number, highest)),
            |w, highest| w.answer(*highest),
            Reading::number,
        )
    }

    pub(crate) fn remembers(&self, session: SenderId) -> bool {
        self.ask(
            |d| d.remembers(session),
            |w, yes| w.answer(u64::from(*yes)),
            |r| r.number() != 0,
        )
    }

    pub(crate) fn was_opened(&self, session: SenderId) -> bool {
        self.ask(
            |d| d.was_opened(session),
            |w, yes| w.answer(u64::from(*yes)),
            |r| r.number() != 0,
        )
    }

    pub(crate) fn check_address(&self, session: SenderId, claimed: &str) -> Result<(), String> {
        self.ask(
            |d| d.check_address(session, claimed),
            |w, checked| {
                w.answer(u64::from(checked.is_err()));
                if let Err(truth) = checked {
                    w.text_answer(truth);
                }
            },
            |r| match r.number() {
                0 => Ok(()),
                _ => Err(r.text()),
            },
        )
    }

    pub(in crate::verify) fn raw_fate(&self, text: &str) -> Option<RawFate> {
        const FATES: [Option<RawFate>; 3] =
            [None, Some(RawFate::Accepted), Some(RawFate::Rejected)];
        self.ask(
            |d| d.raw_fate(text),
            |w, fate| w.answer(FATES.iter().position(|f| f == fate).unwrap_or(0) as u64),
            |r| FATES.get(r.number() as usize).copied().flatten(),
        )
    }

    pub(crate) fn name(&self, session: SenderId) -> String {
        let client = self.ask(
            |d| d.client_of(session),
            |w, client| w.answer(client.map_or(0, |c| u64::from(c.0) + 1)),
            |r| r.place().map(ClientId),
        );
        match client {
            Some(client) => self.client_name(client).to_owned(),
            None => session.to_string(),
        }
    }

    pub(crate) fn client_name(&self, client: ClientId) -> &str {
        self.directory.client_name(client)
    }

    /// It goes into measurements, not into findings, so no trace holds it.
    pub(in crate::verify) fn group(&self, client: ClientId) -> usize {
        self.directory.group(client)
    }

    /// When the latest messages were really sent. It goes into measurements, not into findings, so
    /// no trace holds it.
    pub(in crate::verify) fn sends(&self) -> &Sends {
        &self.directory.sends
    }

    pub(crate) fn set_address(&self, session: SenderId, address: &str) {
        self.tell(|d| d.set_address(session, address));
    }

    pub(crate) fn forget(&self, session: SenderId) {
        self.tell(|d| d.forget(session));
    }

    pub(crate) fn saw(&self, seq: u64) {
        self.tell(|d| d.saw(seq));
    }

    pub(in crate::verify) fn sent_raw(&self, text: &[u8], fate: RawFate) {
        self.tell(|d| d.sent_raw(text, fate));
    }
}
