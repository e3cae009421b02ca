//! Public knowledge: what the shards of a broadcast tell one another where its order is inferred.
//!
//! Messages are public, deliveries are local. Each shard knows of every message: who sent it, when,
//! and since when the target provably had it; and of every session, whether it is there. What its
//! own receivers got, it alone knows. So a message costs a few notices a shard, and a delivery
//! nothing.
//!
//! A shard posts a notice before the bytes that it speaks of go out, or after those that it speaks
//! of came in, and another reads all notices before it takes in what its own clients did or saw. So
//! whatever a client sees of a message, its shard has heard of that message. Moments are places in
//! one count that all shards share: a smaller one was provably earlier, which the clocks of two
//! threads could not say.
//!
//! A named room is such a broadcast, too, among the shards that are ever to have members in it. A
//! shard may be in thousands of rooms, so it does not ask each for news: who posts in a room puts it
//! on the list of rooms with news ([`RoomNews`]) of each other shard, once until that shard has taken
//! its list.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use super::batch::Message;
use super::bounds;
use chatbench_wire::payload::SenderId;
use chatbench_wire::rooms::RoomId;

/// What all shards are to know. Moments are places in the count that they share.
#[derive(Debug, Clone, Copy)]
pub(super) enum Notice {
    /// A session begins to connect.
    Opened { session: SenderId },
    /// Its connection stands, from this address.
    Stood {
        session: SenderId,
        address: SocketAddr,
    },
    /// At the moment `at` it was proved that the target had registered a session that had begun to
    /// connect at `connecting_at`.
    Joined {
        connecting_at: u64,
        at: u64,
        now_ns: u64,
    },
    /// A message is about to be sent.
    Sent {
        message: Message,
        intended_ns: u64,
        sent_ns: u64,
        sent_at: u64,
    },
    /// Its ack was read.
    Acked { message: Message, at: u64 },
    /// It has a place in the order, and so have its sender's earlier ones; it came to a receiver at
    /// the moment `at`, if there is one.
    Placed { message: Message, at: Option<u64> },
    /// The target had taken all that a session had sent.
    TookAll { session: SenderId, at: u64 },
    /// It was answered with an error.
    Refused { message: Message, now_ns: u64 },
    /// It was not answered by the end of its session, and that is on record.
    Unanswered { message: Message },
    /// A session is over.
    Ended { session: SenderId },
}

/// The notices of a broadcast, which its shards share.
#[derive(Debug)]
pub(super) struct Public {
    /// The shards that are to read: the seat of each is its place here.
    shards: Box<[usize]>,
    /// If it is a named room: which, and the lists on which it is put.
    named: Option<(RoomId, Arc<[RoomNews]>)>,
    /// The moments so far.
    moments: AtomicU64,
    /// The notices so far. A reader looks at this first, which takes no lock.
    posted: AtomicU64,
    notices: Mutex<Notices>,
}

/// The named rooms in which other shards have posted something since a shard last looked.
#[derive(Debug, Default)]
pub(super) struct RoomNews(Mutex<Vec<RoomId>>);

#[derive(Debug)]
struct Notices {
    /// Those that somebody has not read, and the seat of who posted each.
    unread: VecDeque<(usize, Notice)>,
    /// How many were posted before `unread`.
    before: u64,
    /// Of each seat.
    seats: Box<[Place]>,
}

/// How far a shard is.
#[derive(Debug, Clone, Copy, Default)]
struct Place {
    /// How many notices it has read; [`GONE`] if it reads no more.
    read: u64,
    /// It has been given its seat.
    is_taken: bool,
    /// The room is on its list of rooms with news.
    is_listed: bool,
}

/// More notices than there will be.
const GONE: u64 = u64::MAX;

impl RoomNews {
    fn add(&self, room: RoomId) {
        self.0.lock().expect("no panic while held").push(room);
    }

    /// The rooms, each once; the list is empty then.
    pub(super) fn take(&self) -> Vec<RoomId> {
        std::mem::take(&mut *self.0.lock().expect("no panic while held"))
    }
}

impl Public {
    /// Of the unnamed room, in which each of so many shards has clients.
    pub(super) fn new(shards: usize) -> Self {
        Self::among((0..shards).collect(), None)
    }

    /// Of a named room in which these shards are ever to have members; `news` are the lists of all
    /// shards.
    pub(super) fn of_room(room: RoomId, shards: &[usize], news: Arc<[RoomNews]>) -> Self {
        Self::among(shards.into(), Some((room, news)))
    }

    fn among(shards: Box<[usize]>, named: Option<(RoomId, Arc<[RoomNews]>)>) -> Self {
        Self {
            named,
            moments: AtomicU64::new(0),
            posted: AtomicU64::new(0),
            notices: Mutex::new(Notices {
                unread: VecDeque::new(),
                before: 0,
                seats: vec![Place::default(); shards.len()].into(),
            }),
            shards,
        }
    }

    /// How many shards read.
    pub(super) fn shard_count(&self) -> usize {
        self.shards.len()
    }

    /// The seat of a shard; `None` where one shard has all clients, or this one is to have none.
    pub(super) fn seat(self: &Arc<Self>, shard: usize) -> Option<Seat> {
        if self.shards.len() < 2 {
            return None;
        }
        let index = self.shards.iter().position(|&of| of == shard)?;
        let seat = &mut self.lock().seats[index];
        assert!(!seat.is_taken, "two ledgers of one shard");
        seat.is_taken = true;
        Some(Seat {
            public: Arc::clone(self),
            index,
            read: 0,
        })
    }

    fn lock(&self) -> MutexGuard<'_, Notices> {
        self.notices.lock().expect("no panic while held")
    }
}

impl Notices {
    /// Forgets what everybody has read, and what is too much to be kept.
    fn trim(&mut self) {
        let all = self.before + self.unread.len() as u64;
        let read = self.seats.iter().map(|seat| seat.read);
        let read = read.min().unwrap_or(GONE).min(all);
        let kept = all - bounds::notices().min(self.unread.len()) as u64;
        while self.before < read.max(kept) {
            self.unread.pop_front();
            self.before += 1;
        }
    }
}

/// A shard's access to what is public.
#[derive(Debug)]
pub(super) struct Seat {
    public: Arc<Public>,
    index: usize,
    /// How many notices it has read.
    read: u64,
}

/// What others have posted.
#[derive(Debug)]
pub(super) struct News {
    pub(super) notices: Vec<Notice>,
    /// Some were dropped before this shard read them: it was too far behind.
    pub(super) incomplete: bool,
}

impl Seat {
    /// The next moment.
    pub(super) fn tick(&self) -> u64 {
        self.public.moments.fetch_add(1, Ordering::AcqRel) + 1
    }

    /// Tells all the others.
    pub(super) fn post(&self, notice: Notice) {
        let mut notices = self.public.lock();
        notices.unread.push_back((self.index, notice));
        if notices.unread.len() > bounds::notices() {
            notices.trim();
        }
        let posted = notices.before + notices.unread.len() as u64;
        self.public.posted.store(posted, Ordering::Release);
        if let Some((room, news)) = &self.public.named {
            let seats = notices.seats.iter_mut().zip(&self.public.shards);
            for (at, (seat, &shard)) in seats.enumerate() {
                if at != self.index && seat.read != GONE && !seat.is_listed {
                    seat.is_listed = true;
                    news[shard].add(*room);
                }
            }
        }
    }

    /// The room has been taken from this shard's list: it is to be put there again with the next
    /// notice.
    pub(super) fn is_off_the_list(&self) {
        self.public.lock().seats[self.index].is_listed = false;
    }

    /// What the others have told since the last time; `None` if nothing.
    pub(super) fn news(&mut self) -> Option<News> {
        if self.public.posted.load(Ordering::Acquire) == self.read {
            return None;
        }
        let mut notices = self.public.lock();
        let incomplete = self.read < notices.before;
        let from = self.read.max(notices.before) - notices.before;
        let unread = notices.unread.range(from as usize..);
        let others = unread.filter(|(by, _)| *by != self.index);
        let news = others.map(|(_, notice)| *notice).collect();
        self.read = notices.before + notices.unread.len() as u64;
        notices.seats[self.index].read = self.read;
        notices.trim();
        Some(News {
            notices: news,
            incomplete,
        })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        if let Ok(mut notices) = self.public.notices.lock() {
            notices.seats[self.index].read = GONE;
            notices.trim();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::bounds::{Bounds, within};
    use super::*;

    fn ended(session: u32) -> Notice {
        Notice::Ended {
            session: SenderId(session),
        }
    }

    fn sessions(news: Option<News>) -> Vec<u32> {
        let notices = news.into_iter().flat_map(|news| news.notices);
        notices
            .map(|notice| match notice {
                Notice::Ended { session } => session.0,
                other => panic!("{other:?}"),
            })
            .collect()
    }

    fn kept(public: &Public) -> usize {
        public.lock().unread.len()
    }

    #[test]
    fn each_reads_once_what_the_others_posted_in_the_order_posted() {
        let public = Arc::new(Public::new(3));
        let mut seats: Vec<Seat> = (0..3).map(|shard| public.seat(shard).unwrap()).collect();
        seats[0].post(ended(1));
        seats[1].post(ended(2));
        assert_eq!(sessions(seats[0].news()), [2]);
        assert_eq!(sessions(seats[2].news()), [1, 2]);
        assert_eq!(kept(&public), 2, "the second has not read them");
        seats[0].post(ended(3));
        assert_eq!(sessions(seats[1].news()), [1, 3]);
        assert_eq!(kept(&public), 1);
        assert!(seats[1].news().is_none());
        assert_eq!(sessions(seats[0].news()), [0; 0]);
        assert_eq!(sessions(seats[2].news()), [3]);
        assert_eq!(kept(&public), 0);
    }

    #[test]
    fn who_is_gone_holds_nothing_back() {
        let public = Arc::new(Public::new(2));
        let (one, mut other) = (public.seat(0).unwrap(), public.seat(1).unwrap());
        one.post(ended(1));
        other.post(ended(2));
        drop(one);
        assert_eq!(sessions(other.news()), [1]);
        assert_eq!(kept(&public), 0);
    }

    #[test]
    fn who_is_too_far_behind_is_told_so() {
        let bounds = Bounds {
            notices: 3,
            ..Bounds::USUAL
        };
        within(bounds, || {
            let public = Arc::new(Public::new(2));
            let (one, mut other) = (public.seat(0).unwrap(), public.seat(1).unwrap());
            for session in 1..=5 {
                one.post(ended(session));
            }
            assert_eq!(kept(&public), 3);
            let news = other.news().unwrap();
            assert!(news.incomplete);
            assert_eq!(sessions(Some(news)), [3, 4, 5]);
            one.post(ended(6));
            assert!(!other.news().unwrap().incomplete);
        });
    }

    #[test]
    fn a_room_is_listed_once_for_each_shard_that_has_news_of_it() {
        let news: Arc<[RoomNews]> = (0..4).map(|_| RoomNews::default()).collect();
        let room = |id, shards: &[usize]| {
            let public = Arc::new(Public::of_room(RoomId(id), shards, Arc::clone(&news)));
            shards
                .iter()
                .map(|&shard| public.seat(shard).unwrap())
                .collect::<Vec<_>>()
        };
        let (mut one, other) = (room(7, &[0, 2, 3]), room(9, &[2, 3]));
        let listed =
            |shard: usize| -> Vec<u32> { news[shard].take().iter().map(|r| r.0).collect() };
        one[1].post(ended(1)); // by shard 2
        one[1].post(ended(2));
        other[1].post(ended(3)); // by shard 3
        assert_eq!(
            [listed(0), listed(1), listed(2), listed(3)],
            [vec![7], vec![], vec![9], vec![7]]
        );
        assert_eq!(sessions(one[0].news()), [1, 2]);
        one[1].post(ended(4));
        assert!(
            listed(0).is_empty(),
            "it has not said that it took its list"
        );
        one[0].is_off_the_list();
        assert_eq!(sessions(one[0].news()), [4]);
        one[1].post(ended(5));
        assert_eq!(listed(0), [7]);
        assert!(listed(3).is_empty());
        drop(one.remove(2));
        one[0].post(ended(6));
        assert!(listed(3).is_empty(), "it is gone");
    }

    #[test]
    fn a_shard_that_is_to_have_no_members_has_no_seat() {
        let news: Arc<[RoomNews]> = (0..3).map(|_| RoomNews::default()).collect();
        let public = Arc::new(Public::of_room(RoomId(1), &[0, 2], news));
        assert!(public.seat(1).is_none() && public.seat(2).is_some());
    }

    #[test]
    fn moments_are_given_out_once() {
        let public = Arc::new(Public::new(2));
        let (one, other) = (public.seat(0).unwrap(), public.seat(1).unwrap());
        assert!(one.tick() < other.tick() && other.tick() < one.tick());
        let alone = Arc::new(Public::new(1));
        assert!(alone.seat(0).is_none());
    }
}
