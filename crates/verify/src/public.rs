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

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use super::batch::Message;
use super::bounds;
use chatbench_wire::payload::SenderId;

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
    /// The shards that are to read.
    shards: usize,
    /// The moments so far.
    moments: AtomicU64,
    /// The notices so far. A reader looks at this first, which takes no lock.
    posted: AtomicU64,
    notices: Mutex<Notices>,
}

#[derive(Debug)]
struct Notices {
    /// Those that somebody has not read, and who posted each.
    unread: VecDeque<(usize, Notice)>,
    /// How many were posted before `unread`.
    before: u64,
    /// How many each shard has read; [`GONE`] if it reads no more.
    read: Vec<u64>,
    /// Shards that have taken their seats.
    seated: usize,
}

/// More notices than there will be.
const GONE: u64 = u64::MAX;

impl Public {
    pub(super) fn new(shards: usize) -> Self {
        Self {
            shards,
            moments: AtomicU64::new(0),
            posted: AtomicU64::new(0),
            notices: Mutex::new(Notices {
                unread: VecDeque::new(),
                before: 0,
                read: vec![0; shards],
                seated: 0,
            }),
        }
    }

    /// The next shard's seat; `None` where one shard has all clients.
    pub(super) fn seat(self: &Arc<Self>) -> Option<Seat> {
        if self.shards < 2 {
            return None;
        }
        let mut notices = self.lock();
        let index = notices.seated;
        notices.seated += 1;
        assert!(index < self.shards, "a ledger more than there are shards");
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
        let read = self.read.iter().copied().min().unwrap_or(GONE).min(all);
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
        notices.read[self.index] = self.read;
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
            notices.read[self.index] = GONE;
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
        let mut seats: Vec<Seat> = (0..3).map(|_| public.seat().unwrap()).collect();
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
        let (one, mut other) = (public.seat().unwrap(), public.seat().unwrap());
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
            let (one, mut other) = (public.seat().unwrap(), public.seat().unwrap());
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
    fn moments_are_given_out_once() {
        let public = Arc::new(Public::new(2));
        let (one, other) = (public.seat().unwrap(), public.seat().unwrap());
        assert!(one.tick() < other.tick() && other.tick() < one.tick());
        let alone = Arc::new(Public::new(1));
        assert!(alone.seat().is_none());
    }
}
