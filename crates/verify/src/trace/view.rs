//! The directory as one ledger or the judge sees it: live, in a run that is recorded, or in a
//! replay.
//!
//! In a recorded run the events of all threads are counted ([`Directory::count_event`]), and what a
//! ledger learns of the highest number is known to the others from the end of its event on. So a
//! replay in the order of the count, in one thread, comes to the same answers.

use std::cell::RefCell;
use std::sync::Arc;

use super::tape::Writing;
use super::version_1::Answers;
use crate::batch::Message;
use crate::directory::{ClientId, Directory, RawFate};
use crate::numberings::APART;
use crate::public::Seat;
use crate::sends::Sends;
use crate::violation::{MessageOf, Who};
use chatbench_wire::payload::SenderId;
use chatbench_wire::rooms::{RoomId, RoomNames};

/// One user's view of the directory in one room, and its tape.
#[derive(Debug)]
pub(crate) struct View {
    directory: Arc<Directory>,
    room: RoomId,
    /// In a cell, since the judge asks for names while it only looks.
    mode: RefCell<Mode>,
}

/// The mode in which the directory is seen.
#[derive(Debug, Default)]
enum Mode {
    /// As it is.
    #[default]
    Live,
    /// As it is, while the order of its uses is recorded.
    Recorded(Box<Recorded>),
    /// As it is, in a named room of a ledger that is recorded: its tape is that of the unnamed one.
    Noted(Noted),
    /// In the recorded order.
    Replayed(Replayed),
    /// As a trace of version 1 has it, for a target that is judged by inferred order.
    Answered(Box<Answers>),
}

#[derive(Debug)]
struct Recorded {
    tape: Writing,
    /// The highest number that had been seen when the current event began.
    highest: u64,
    /// The highest number that was seen in the current event.
    told: u64,
}

/// What a named room has to tell the tape.
#[derive(Debug, Default)]
struct Noted {
    /// The highest number that had been seen when the current event began.
    highest: u64,
    /// The highest number that was seen in the current event.
    told: u64,
    /// The numbers of the frames that matched since the tape was told of some.
    matched: Vec<u32>,
    /// The frame of the current event is kept.
    kept: bool,
}

#[derive(Debug, Default)]
struct Replayed {
    /// The number of the session that is opened next.
    session: Option<SenderId>,
    /// The highest number that was seen in the event that is played, or was played last.
    told: u64,
}

impl View {
    pub(crate) fn new(directory: Arc<Directory>) -> Self {
        Self {
            directory,
            room: RoomId::UNNAMED,
            mode: RefCell::default(),
        }
    }

    /// The view of the same user in a named room.
    pub(crate) fn in_room(&self, room: RoomId) -> Self {
        let mode = match &*self.mode.borrow() {
            Mode::Live | Mode::Answered(_) => Mode::Live,
            Mode::Recorded(_) | Mode::Noted(_) => Mode::Noted(Noted::default()),
            Mode::Replayed(_) => Mode::Replayed(Replayed::default()),
        };
        Self {
            directory: self.directory.clone(),
            room,
            mode: RefCell::new(mode),
        }
    }

    pub(crate) fn directory(&self) -> &Arc<Directory> {
        &self.directory
    }

    /// The room that is seen.
    pub(crate) const fn room(&self) -> RoomId {
        self.room
    }

    /// Records from here on the order in which the directory is used.
    pub(crate) fn record_on(&mut self, tape: Writing) {
        *self.mode.get_mut() = Mode::Recorded(Box::new(Recorded {
            tape,
            highest: 0,
            told: 0,
        }));
    }

    /// Sessions get the numbers that they had in the run ([`View::opens`]).
    pub(crate) fn replay(&mut self) {
        *self.mode.get_mut() = Mode::Replayed(Replayed::default());
    }

    /// The directory's answers come from a trace of version 1.
    pub(super) fn answer_from(&mut self, answers: Answers) {
        *self.mode.get_mut() = Mode::Answered(Box::new(answers));
    }

    /// The source of the answers.
    pub(super) fn answers(&mut self) -> Option<&mut Answers> {
        match self.mode.get_mut() {
            Mode::Answered(answers) => Some(answers),
            _ => None,
        }
    }

    /// Sets the number of the session that is opened next.
    pub(crate) fn opens(&mut self, session: Option<SenderId>) {
        if let Mode::Replayed(replayed) = self.mode.get_mut() {
            replayed.session = session;
        }
    }

    /// Makes known to all what was seen in the event before.
    pub(crate) fn make_known(&mut self) {
        if let Mode::Replayed(replayed) = self.mode.get_mut() {
            self.directory.saw(self.room, replayed.told);
        }
    }

    /// The tape, if events are written on it.
    #[inline]
    pub(crate) fn writing(&mut self) -> Option<&mut Writing> {
        match self.mode.get_mut() {
            Mode::Recorded(recorded) => Some(&mut recorded.tape),
            _ => None,
        }
    }

    /// The tape, if events are written on it: what follows is in this room.
    pub(crate) fn writing_here(&mut self) -> Option<&mut Writing> {
        let room = self.room;
        let tape = self.writing()?;
        tape.in_room(room);
        Some(tape)
    }

    /// Begins an event that is counted. Returns the tape, if it is to be written on it.
    pub(crate) fn begin_event(&mut self) -> Option<&mut Writing> {
        self.begin_event_with(|| ())
    }

    /// Begins an event that is counted; while nothing else can happen, `also` looks at the
    /// directory, too.
    pub(crate) fn begin_event_with(&mut self, also: impl FnOnce()) -> Option<&mut Writing> {
        let Mode::Recorded(recorded) = self.mode.get_mut() else {
            return None;
        };
        let (moment, highest) = self.directory.count_event_with(self.room, also);
        recorded.highest = highest;
        recorded.tape.in_room(self.room);
        recorded.tape.counted(moment);
        Some(&mut recorded.tape)
    }

    /// Begins an event in a named room, which `room` sees, as [`Self::begin_event`] does.
    pub(crate) fn begin_event_in(&mut self, room: &mut Self) -> Option<&mut Writing> {
        let Mode::Recorded(recorded) = self.mode.get_mut() else {
            return None;
        };
        let (moment, highest) = self.directory.count_event_with(room.room, || ());
        if let Mode::Noted(noted) = room.mode.get_mut() {
            noted.highest = highest;
            noted.kept = false;
        }
        recorded.tape.in_room(room.room);
        recorded.tape.counted(moment);
        Some(&mut recorded.tape)
    }

    /// Updates the highest number of a room, in an event that concerns several.
    pub(crate) fn refresh(&mut self) {
        if let Mode::Noted(noted) = self.mode.get_mut() {
            noted.highest = self.directory.highest_seq(self.room);
        }
    }

    /// Ends an event in a named room.
    pub(crate) fn end_event_in(&mut self, room: &mut Self) {
        if let (Mode::Recorded(recorded), Mode::Noted(noted)) =
            (self.mode.get_mut(), room.mode.get_mut())
            && noted.told > noted.highest
        {
            noted.highest = noted.told;
            let moment = self.directory.count_highest(room.room, noted.told);
            recorded.tape.in_room(room.room);
            recorded.tape.told(moment);
        }
    }

    /// The tape, if events are written on it: what follows is in a named room, which `room` sees.
    pub(crate) fn writing_in(&mut self, room: &mut Self) -> Option<&mut Writing> {
        let tape = self.writing()?;
        tape.in_room(room.room);
        if let Mode::Noted(noted) = room.mode.get_mut()
            && std::mem::take(&mut noted.kept)
        {
            tape.keeps();
        }
        Some(tape)
    }

    /// Frames of a read were what others got in a named room, which `room` sees.
    pub(crate) fn matched_in(&mut self, room: &mut Self, handle: u32, now_ns: u64) {
        if let (Mode::Recorded(recorded), Mode::Noted(noted)) =
            (self.mode.get_mut(), room.mode.get_mut())
        {
            let moment = || self.directory.moment();
            recorded.tape.in_room(room.room);
            for frame in noted.matched.drain(..) {
                recorded.tape.matched(handle, now_ns, frame, moment);
            }
        }
    }

    /// Ends an event: makes known to all what was seen in it.
    #[inline]
    pub(crate) fn end_event(&mut self) {
        if let Mode::Recorded(recorded) = self.mode.get_mut()
            && recorded.told > recorded.highest
        {
            recorded.highest = recorded.told;
            let moment = self.directory.count_highest(self.room, recorded.told);
            recorded.tape.in_room(self.room);
            recorded.tape.told(moment);
        }
    }

    /// One more frame of a read is what others got: the one with this number.
    #[inline]
    pub(crate) fn matched(&mut self, handle: u32, now_ns: u64, frame: u32) {
        match self.mode.get_mut() {
            Mode::Live => {}
            Mode::Recorded(recorded) => {
                let moment = || self.directory.moment();
                recorded.tape.in_room(self.room);
                recorded.tape.matched(handle, now_ns, frame, moment);
            }
            Mode::Noted(noted) => noted.matched.push(frame),
            Mode::Replayed(_) | Mode::Answered(_) => {}
        }
    }

    /// The ledger keeps the frame that it is told of.
    pub(crate) fn keeps(&mut self) {
        match self.mode.get_mut() {
            Mode::Recorded(recorded) => recorded.tape.keeps(),
            Mode::Noted(noted) => noted.kept = true,
            Mode::Live | Mode::Replayed(_) | Mode::Answered(_) => {}
        }
    }

    /// Asks the directory, or the recorded answers.
    fn ask<T>(
        &self,
        directory: impl FnOnce(&Directory) -> T,
        then: impl FnOnce(&mut Answers) -> T,
    ) -> T {
        match &mut *self.mode.borrow_mut() {
            Mode::Answered(answers) => then(answers),
            _ => directory(&self.directory),
        }
    }

    pub(crate) fn open(&self, client: ClientId) -> Option<SenderId> {
        let session = match &mut *self.mode.borrow_mut() {
            Mode::Live | Mode::Recorded(_) | Mode::Noted(_) => {
                return self.directory.open(client, self.room);
            }
            Mode::Replayed(replayed) => replayed.session.take(),
            Mode::Answered(answers) => answers.session(),
        }?;
        let is_new = self.directory.open_as(session, client, self.room);
        is_new.then_some(session)
    }

    pub(crate) fn highest_seq(&self) -> u64 {
        match &*self.mode.borrow() {
            Mode::Live | Mode::Answered(_) => self.directory.highest_seq(self.room),
            Mode::Recorded(recorded) => recorded.highest.max(recorded.told),
            Mode::Noted(noted) => noted.highest.max(noted.told),
            Mode::Replayed(replayed) => self.directory.highest_seq(self.room).max(replayed.told),
        }
    }

    /// The number that the target states for `number`. One that is too small to be of a later
    /// numbering is its own.
    #[inline]
    pub(crate) fn stated(&self, number: u64) -> u64 {
        if number < APART {
            return number;
        }
        self.directory.numberings(self.room, |n| n.stated(number))
    }

    /// See [`Numberings::of_welcome`](crate::numberings::Numberings::of_welcome).
    pub(crate) fn numbering_of_welcome(&self, joined: u64, welcome: u64) -> u64 {
        self.directory
            .numberings(self.room, |n| n.of_welcome(joined, welcome))
    }

    /// See [`Numberings::begin`](crate::numberings::Numberings::begin).
    pub(crate) fn begin_numbering(&self, joined: u64) -> Option<(u64, bool)> {
        let highest = self.highest_seq();
        let begun = self.directory.begin_numbering(self.room, joined, highest);
        if let Some((added, true)) = begun {
            self.saw(added);
        }
        begun
    }

    /// The highest number that was seen of the numbering that `number` lies in.
    pub(crate) fn highest_of(&self, number: u64, highest: u64) -> u64 {
        if highest.saturating_sub(number) < APART {
            return highest;
        }
        self.directory
            .numberings(self.room, |n| n.highest_of(number, highest))
    }

    pub(crate) fn remembers(&self, session: SenderId) -> bool {
        self.directory.remembers(session)
    }

    /// The seat of a shard among those that infer the order of this room together, if there are
    /// several.
    pub(crate) fn seat(&self, shard: usize) -> Option<Seat> {
        self.directory.seat(self.room, shard)
    }

    /// How many shards infer the order of this room together.
    pub(crate) fn shards(&self) -> usize {
        self.directory.shards_of(self.room)
    }

    /// The number of the next session.
    pub(crate) fn next_session(&self) -> SenderId {
        self.directory.next_session()
    }

    pub(crate) fn was_opened(&self, session: SenderId) -> bool {
        self.ask(|d| d.was_opened(session), Answers::yes)
    }

    pub(crate) fn check_address(&self, session: SenderId, claimed: &str) -> Result<(), String> {
        self.ask(|d| d.check_address(session, claimed), Answers::checked)
    }

    pub(crate) fn raw_fate(&self, text: &str) -> Option<RawFate> {
        self.ask(|d| d.raw_fate(text), Answers::fate)
    }

    /// The client that `session` belongs to, if that is not forgotten.
    pub(crate) fn who(&self, session: SenderId) -> Who {
        let client = self.ask(|d| d.client_of(session), Answers::client);
        client.map_or(Who::Session(session), Who::Client)
    }

    /// `message`, as a violation names it.
    pub(crate) fn message(&self, message: Message) -> MessageOf {
        MessageOf {
            sender: self.who(message.sender),
            k: message.k,
        }
    }

    /// The room of the run that a message of `session` belongs in, if that is another than this one.
    #[inline]
    pub(crate) fn other_room_of(&self, session: SenderId) -> Option<RoomId> {
        let room = self.directory.room_of(session);
        room.filter(|&room| room != self.room)
    }

    /// Whether nobody knows which texts are relayed in this room, since a script sent some of them
    /// as they stand.
    #[inline]
    pub(crate) fn may_have_raw_texts(&self) -> bool {
        self.room.is_named() && self.directory.was_raw_in_rooms()
    }

    /// The sessions of one connection have the same address.
    pub(crate) fn share_address(&self, of: SenderId, with: SenderId) {
        self.directory.share_address(of, with);
    }

    pub(crate) fn sent_raw_in_room(&self) {
        self.directory.sent_raw_in_room();
    }

    /// How often each ledger of this room got its first member.
    pub(crate) fn occupied<T>(&self, ask: impl FnOnce(&[u32]) -> T) -> T {
        self.directory.occupied(self.room, ask)
    }

    /// The names of the run's rooms.
    pub(crate) fn room_names(&self) -> &RoomNames {
        self.directory.room_names()
    }

    /// The names of the run's clients.
    pub(crate) fn names(&self) -> &[String] {
        self.directory.names()
    }

    /// It goes into measurements, not into findings, so no trace holds it.
    pub(crate) fn group(&self, client: ClientId) -> usize {
        self.directory.group(client)
    }

    /// The send times of the latest messages. They go into measurements, not into findings, so no
    /// trace holds them.
    pub(crate) fn sends(&self) -> &Sends {
        &self.directory.sends
    }

    pub(crate) fn set_address(&self, session: SenderId, address: &str) {
        self.directory.set_address(session, address);
    }

    pub(crate) fn forget(&self, session: SenderId) {
        self.directory.forget(session);
    }

    #[inline]
    pub(crate) fn saw(&self, seq: u64) {
        match &mut *self.mode.borrow_mut() {
            Mode::Live | Mode::Answered(_) => self.directory.saw(self.room, seq),
            Mode::Recorded(recorded) => recorded.told = recorded.told.max(seq),
            Mode::Noted(noted) => noted.told = noted.told.max(seq),
            Mode::Replayed(replayed) => replayed.told = replayed.told.max(seq),
        }
    }

    pub(crate) fn sent_raw(&self, text: &[u8], fate: RawFate) {
        self.directory.sent_raw(text, fate);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::thread;

    use super::super::tag::Tag;
    use super::super::tape::{Block, Reading};
    use super::*;

    fn recorded(directory: &Arc<Directory>, stream: u16) -> (View, mpsc::Receiver<Block>) {
        let (sink, blocks) = mpsc::sync_channel(1000);
        let mut view = View::new(directory.clone());
        view.record_on(Writing::new(stream, sink));
        (view, blocks)
    }

    #[test]
    fn what_is_seen_in_an_event_is_known_to_others_from_its_end_on() {
        let directory = Arc::new(Directory::new(Vec::new()));
        let (mut one, _blocks) = recorded(&directory, 0);
        let (mut other, _others) = recorded(&directory, 1);
        one.begin_event();
        one.saw(5);
        assert_eq!(one.highest_seq(), 5);
        other.begin_event();
        assert_eq!(other.highest_seq(), 0);
        one.end_event();
        assert_eq!(other.highest_seq(), 0, "as it was when its event began");
        other.end_event();
        other.begin_event();
        assert_eq!(other.highest_seq(), 5);
    }

    /// Threads use the directory as fast as they can: when that is repeated in the order of the
    /// count, the highest number is always the same as it was.
    #[test]
    fn what_threads_were_told_is_what_the_order_of_their_events_says() {
        const EVENTS: u64 = 3000;
        let directory = Arc::new(Directory::new(Vec::new()));
        let threads: Vec<_> = (0..3_u64)
            .map(|thread| {
                let (mut view, blocks) = recorded(&directory, thread as u16);
                thread::spawn(move || {
                    let mut said = Vec::new();
                    for n in 0..EVENTS {
                        if let Some(tape) = view.begin_event() {
                            tape.event(Tag::TakeBatch);
                        }
                        said.push(view.highest_seq());
                        view.saw(n * (1 + thread));
                        view.end_event();
                    }
                    drop(view);
                    let stream = blocks.iter().flat_map(|block| block.bytes).collect();
                    (thread, said, stream)
                })
            })
            .collect();
        // For each moment, the answer that was given then, or the number that is known from then
        // on.
        let mut moments: Vec<(u64, Result<u64, u64>)> = Vec::new();
        for thread in threads {
            let (thread, said, stream) = thread.join().unwrap();
            let mut from = Reading::default();
            from.load(stream);
            let (mut moment, mut n) = (0, 0);
            while let Some(tag) = from.tag() {
                match tag {
                    Tag::Since => moment += from.number(),
                    Tag::Told => {
                        moment += from.number();
                        moments.push((moment, Err((n - 1) * (1 + thread))));
                    }
                    Tag::TakeBatch => {
                        moment += 1;
                        moments.push((moment, Ok(said[n as usize])));
                        n += 1;
                    }
                    _ => assert_eq!(tag, Tag::End),
                }
            }
            assert_eq!(n, EVENTS);
        }
        moments.sort_by_key(|(moment, what)| (*moment, what.is_err()));
        let mut highest = 0;
        for (moment, what) in moments {
            match what {
                Ok(said) => assert_eq!(said, highest, "at {moment}"),
                Err(told) => highest = highest.max(told),
            }
        }
        assert_eq!(highest, directory.highest_seq(RoomId::UNNAMED));
    }
}
