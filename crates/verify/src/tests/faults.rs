//! Each fault of the catalogue at a dose of one wrong event: it must be found, rightly named, and
//! counted once, over many worlds, in one shard and in several, whether or not lines are compared
//! with other receivers' bytes.
//!
//! A fault is applied where it can be seen: to a session that stays to its bye (of one that breaks
//! off nobody knows what it still would have got), and, where the name depends on what others saw,
//! to a message that another such session got too. Each function says what it needs.

use std::collections::{BTreeMap, BTreeSet};

use rand::{Rng, RngExt};

use super::cases;
use super::fault_table::TableRow;
use super::traces::record;
use super::world::{End, Frame, Id, Play, Played, What, World, address, rng, wire_id};
use crate::kind::Kind;
use crate::trace::verify;
use chatbench_wire::ndjson;

/// How many worlds a fault is tried in.
fn seeds() -> u64 {
    cases(300).into()
}

/// What a fault must be reported as.
pub(super) struct Expect {
    pub(super) kinds: Vec<(Kind, u64)>,
    /// Only if this frame (of this session) was read before this time.
    if_read: Option<(usize, usize, u64)>,
}

impl Expect {
    /// Whether the fault came about in this play.
    pub(super) fn is_applied(&self, played: &Played) -> bool {
        self.if_read.is_none_or(|(life, at, before_ns)| {
            played.read_ns[life][at].is_some_and(|ns| ns < before_ns)
        })
    }
}

fn once(kind: Kind) -> Option<Expect> {
    Some(Expect {
        kinds: vec![(kind, 1)],
        if_read: None,
    })
}

/// Applies `fault` to many worlds; where it found an occasion, the findings must be as it says.
#[track_caller]
fn check(name: &str, fault: impl Fn(&mut World, &mut dyn Rng) -> Option<Expect>) {
    check_over(name, seeds(), fault);
}

#[track_caller]
fn check_over(name: &str, seeds: u64, fault: impl Fn(&mut World, &mut dyn Rng) -> Option<Expect>) {
    let mut applied = 0;
    let mut row = TableRow::of(name);
    for seed in 0..seeds {
        let mut world = World::new(seed, 1 + (seed % 3) as usize);
        let mut rng = rng(seed ^ 0xfa17);
        let Some(expect) = fault(&mut world, &mut rng) else {
            continue;
        };
        let play = Play {
            seed,
            slowly: false,
        };
        row.judge(&world, seed, &expect);
        let played = world.play(play);
        if !expect.is_applied(&played) {
            continue;
        }
        applied += 1;
        let found: Vec<(Kind, u64)> = played
            .findings
            .violations
            .iter()
            .map(|(kind, tally)| (*kind, tally.count))
            .collect();
        assert_eq!(
            found, expect.kinds,
            "seed {seed}: {:#?}",
            played.findings.violations
        );
        assert_eq!(played.findings.undecided, [""; 0], "seed {seed}");
        let slowly = world.play(Play { seed, slowly: true });
        assert_eq!(
            slowly.findings, played.findings,
            "seed {seed}: decoded line by line"
        );
        if seed % 4 == 0 {
            let (recorded, trace) = record(&world, seed);
            assert_eq!(recorded.findings, played.findings, "seed {seed}: recorded");
            let replayed = verify(&trace[..]).unwrap();
            assert_eq!(replayed.findings, played.findings, "seed {seed}: replayed");
        }
    }
    assert!(applied >= self::seeds() / 40, "only {applied} occasions");
    row.sum_up();
}

pub(super) fn pick<T: Copy>(rng: &mut dyn Rng, from: &[T]) -> Option<T> {
    (!from.is_empty()).then(|| from[rng.random_range(0..from.len())])
}

/// A frame by its place.
pub(super) type Spot = (usize, usize);

impl World {
    pub(super) fn frame(&self, (life, at): Spot) -> &Frame {
        &self.lives[life].frames[at]
    }

    fn stays(&self, life: usize) -> bool {
        self.lives[life].end == End::Polite
    }

    /// Frames of sessions that stay.
    fn spots(&self, wanted: impl Fn(&Self, Spot, &Frame) -> bool) -> Vec<Spot> {
        let stay = (0..self.lives.len()).filter(|&l| self.stays(l));
        let all = stay.flat_map(|l| (0..self.lives[l].frames.len()).map(move |at| (l, at)));
        all.filter(|&spot| wanted(self, spot, self.frame(spot)))
            .collect()
    }

    /// The message of a relay.
    pub(super) fn relayed(&self, spot: Spot) -> Option<Id> {
        match self.frame(spot).what {
            What::Relay(id) => Some(id),
            _ => None,
        }
    }

    pub(super) fn acked(&self, spot: Spot) -> Option<Id> {
        match self.frame(spot).what {
            What::Ack(id) => Some(id),
            _ => None,
        }
    }

    /// Another session that stays got the relay of `seq`, too.
    fn relayed_elsewhere(&self, life: usize, seq: u64) -> bool {
        let others =
            self.spots(|w, (l, at), f| l != life && f.seq == seq && w.relayed((l, at)).is_some());
        !others.is_empty()
    }

    /// What number `seq` is shows in its ack or in another's relay.
    fn known_elsewhere(&self, life: usize, id: Id, seq: u64) -> bool {
        self.stays(id.life) && id.life != life || self.relayed_elsewhere(life, seq)
    }

    fn any_relay(&self, rng: &mut dyn Rng) -> Option<Spot> {
        pick(rng, &self.spots(|w, spot, _| w.relayed(spot).is_some()))
    }

    /// A relay whose message and number are known without it.
    fn known_relay(&self, rng: &mut dyn Rng) -> Option<Spot> {
        let known = |w: &Self, (l, at): Spot, f: &Frame| {
            let id = w.relayed((l, at));
            id.is_some_and(|id| w.known_elsewhere(l, id, f.seq))
        };
        pick(rng, &self.spots(known))
    }

    fn any_ack(&self, rng: &mut dyn Rng) -> Option<Spot> {
        pick(rng, &self.spots(|w, spot, _| w.acked(spot).is_some()))
    }

    pub(super) fn remove(&mut self, (life, at): Spot) {
        self.lives[life].frames.remove(at);
    }

    /// What it is that a relay to a session that stays does not come.
    fn loss_of(&self, (life, at): Spot) -> Option<Kind> {
        let id = self.relayed((life, at))?;
        let seq = self.frame((life, at)).seq;
        let everyone = self.lives.iter().enumerate();
        let mut others = everyone.filter(|&(l, _)| l != life && l != id.life);
        if self.relayed_elsewhere(life, seq) {
            Some(Kind::LostRelay)
        } else if others.any(|(_, l)| l.frames.iter().any(|f| f.seq == seq)) {
            None // another may have read it before it broke off, or not
        } else if self.stays(id.life) {
            // The only receiver: without numbers this is a message acked and relayed to nobody.
            Some(Kind::AckWithoutRelay)
        } else {
            None // its sender may not have read the ack: then no one ever saw the number
        }
    }

    /// Puts a relay of `text` in place of a frame's message.
    fn set_text(&mut self, (life, at): Spot, client_ip: &str, text: &str) {
        let seq = self.frame((life, at)).seq;
        self.lives[life].frames[at].bytes = relay(seq, client_ip, text);
    }
}

pub(super) fn relay(seq: u64, client_ip: &str, text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    ndjson::encode_relay(&mut out, seq, client_ip, text);
    out
}

#[test]
fn drop_relay() {
    check("drop_relay", |world, rng| {
        let spot = world.any_relay(rng)?;
        let kind = world.loss_of(spot)?;
        world.remove(spot);
        once(kind)
    });
}

#[test]
fn drop_tail() {
    check("drop_tail", |world, rng| {
        let tails = world.spots(|w, (l, at), _| {
            let frames = &w.lives[l].frames;
            w.relayed((l, at)).is_some() && frames.get(at + 1).is_some_and(|f| f.what == What::Bye)
        });
        let spot = pick(rng, &tails)?;
        let kind = world.loss_of(spot)?;
        world.remove(spot);
        once(kind)
    });
}

#[test]
fn late_join() {
    check("late_join", |world, rng| {
        let firsts = world.spots(|w, (l, at), _| at == 1 && w.relayed((l, at)).is_some());
        let spot = pick(rng, &firsts)?;
        let kind = world.loss_of(spot)?;
        world.remove(spot);
        once(kind)
    });
}

#[test]
fn starve_one() {
    check("starve_one", |world, rng| {
        let (life, from) = world.any_relay(rng)?;
        let mut kinds = BTreeMap::new();
        for at in (from..world.lives[life].frames.len()).rev() {
            if world.relayed((life, at)).is_some() {
                *kinds.entry(world.loss_of((life, at))?).or_default() += 1;
            }
        }
        let mut at = 0;
        world.lives[life].frames.retain(|f| {
            at += 1;
            at <= from || !matches!(f.what, What::Relay(_))
        });
        Some(Expect {
            kinds: kinds.into_iter().collect(),
            if_read: None,
        })
    });
}

#[test]
fn duplicate_relay_and_replay_stale() {
    check("duplicate_relay_and_replay_stale", |world, rng| {
        let (life, at) = world.any_relay(rng)?;
        let frame = world.frame((life, at)).clone();
        let end = world.lives[life].frames.len();
        let later = rng.random_range(at + 1..end);
        world.insert(life, later, frame.seq, frame.bytes);
        once(Kind::DuplicateRelay)
    });
}

/// Two frames a few places apart in one session's stream, sent in time.
fn pair(
    world: &mut World,
    rng: &mut dyn Rng,
    apart: usize,
    wanted: impl Fn(&World, Spot, Spot) -> bool,
) -> Option<(Spot, Spot)> {
    let pairs: Vec<(Spot, Spot)> = world
        .spots(|_, _, f| matches!(f.what, What::Relay(_) | What::Ack(_)))
        .into_iter()
        .flat_map(|(l, at)| (1..=apart).map(move |n| ((l, at), (l, at + n))))
        .filter(|&(one, (l, other))| {
            let frames = &world.lives[l].frames;
            let numbered = |f: &Frame| matches!(f.what, What::Relay(_) | What::Ack(_));
            frames.get(other).is_some_and(numbered) && wanted(world, one, (l, other))
        })
        .collect();
    let ((life, one), (_, other)) = pick(rng, &pairs)?;
    // Nothing is sent before it exists: the first waits for the second.
    let at_ns = world.frame((life, other)).at_ns;
    for frame in &mut world.lives[life].frames[one..other] {
        frame.at_ns = at_ns;
    }
    Some(((life, one), (life, other)))
}

pub(super) fn exchange_lines(world: &mut World, (life, one): Spot, (_, other): Spot) {
    world.lives[life].frames.swap(one, other);
}

pub(super) fn exchange_contents(world: &mut World, (life, one): Spot, (_, other): Spot) {
    let (first, second) = (
        world.frame((life, one)).clone(),
        world.frame((life, other)).clone(),
    );
    world.replace(life, one, first.seq, second.what);
    world.replace(life, other, second.seq, first.what);
}

/// Whether exchanging two relays breaks some sender's order.
fn breaks_fifo(world: &World, (life, one): Spot, (_, other): Spot) -> bool {
    let frames = &world.lives[life].frames[one..=other];
    let sender = |f: &Frame| match f.what {
        What::Relay(id) | What::Ack(id) => Some(id.life),
        _ => None,
    };
    let (last, rest) = frames.split_last().unwrap();
    let (first, tail) = frames.split_first().unwrap();
    rest.iter().any(|f| sender(f) == sender(last))
        || tail.iter().any(|f| sender(f) == sender(first))
}

fn swap_relays(name: &str, same_sender: bool, apart: usize, exchange: fn(&mut World, Spot, Spot)) {
    check(name, |world, rng| {
        let (one, other) = pair(world, rng, apart, |w, one, other| {
            let known = |spot: Spot| {
                let id = w.relayed(spot);
                id.is_some_and(|id| w.stays(id.life))
            };
            known(one) && known(other) && breaks_fifo(w, one, other) == same_sender
        })?;
        exchange(world, one, other);
        once(if same_sender {
            Kind::ReorderedRelay
        } else {
            Kind::OrderDivergence
        })
    });
}

#[test]
fn swap_same_sender_lines() {
    swap_relays("swap_same_sender", true, 1, exchange_lines);
    swap_relays("swap_same_sender", true, 4, exchange_lines);
}

#[test]
fn swap_same_sender_contents() {
    swap_relays("swap_same_sender", true, 1, exchange_contents);
    swap_relays("swap_same_sender", true, 4, exchange_contents);
}

#[test]
fn swap_senders_lines() {
    swap_relays("swap_senders", false, 1, exchange_lines);
    swap_relays("swap_senders", false, 4, exchange_lines);
}

#[test]
fn swap_senders_contents() {
    swap_relays("swap_senders", false, 1, exchange_contents);
    swap_relays("swap_senders", false, 4, exchange_contents);
}

/// Number n' becomes n, and n..n' move up by one; everyone gets them in that order, when the last
/// of them exists; but `witness` got the first before that, in good faith.
pub(super) fn number_late(
    world: &mut World,
    n: u64,
    late: u64,
    witness: usize,
    forget: bool,
) -> Option<Expect> {
    let when = |world: &World, seq: u64| {
        let mut frames = world.lives.iter().flat_map(|l| &l.frames);
        frames
            .find(|f| f.seq == seq && !matches!(f.what, What::Welcome | What::Bye))
            .map(|f| f.at_ns)
    };
    let (from_ns, until_ns) = (when(world, n)?, when(world, late)?);
    let comes_or_goes = |l: &super::world::Life| {
        let inside = |ns: u64| ns >= from_ns && ns <= until_ns;
        let edge = |f: &Frame| matches!(f.what, What::Welcome | What::Bye) && inside(f.at_ns);
        l.frames.iter().any(edge) || l.end == End::Abort && l.end_ns >= from_ns
    };
    if world.lives.iter().any(comes_or_goes) {
        return None;
    }
    let late_id = world.log[late as usize - 1];
    let moved =
        |f: &Frame| f.seq >= n && f.seq <= late && f.at_ns >= from_ns && f.at_ns <= until_ns;
    let theirs = world.lives[witness].frames.iter().filter(|f| moved(f));
    if theirs.count() < 2 {
        return None;
    }
    let mut seen_at = None;
    for life in 0..world.lives.len() {
        let places: Vec<usize> = (0..world.lives[life].frames.len())
            .filter(|&at| moved(&world.lives[life].frames[at]))
            .collect();
        let Some(&first) = places.first() else {
            continue;
        };
        for &at in &places {
            world.set_seq(life, at, |seq| if seq == late { n } else { seq + 1 });
            world.lives[life].frames[at].at_ns = until_ns;
        }
        let frames = &mut world.lives[life].frames[first..first + places.len()];
        frames.sort_by_key(|f| f.seq);
        if life == witness {
            frames[..2].reverse();
            frames[0].at_ns = from_ns;
            seen_at = Some(first);
            if forget {
                world.lives[life].frames.remove(first + 1);
            }
        }
    }
    let sent_ns = world.sent_ns[&late_id];
    Some(Expect {
        kinds: Vec::new(),
        if_read: Some((witness, seen_at?, sent_ns)),
    })
}

fn numbers_late(name: &str, kind: Kind, forget: bool) {
    check_over(name, seeds() * 4, |world, rng| {
        let count = world.log.len() as u64;
        let n = (count > 2).then(|| rng.random_range(1..count))?;
        let late = (n + rng.random_range(1..6_u64)).min(count);
        let (first, then) = (world.log[n as usize - 1], world.log[late as usize - 1]);
        let witness = if kind == Kind::Causality {
            then.life
        } else {
            first.life
        };
        let stay = world.stays(first.life) && world.stays(then.life);
        if first.life == then.life || !stay {
            return None;
        }
        // Among one sender's messages this would break FIFO, too.
        let mut between = world.log[n as usize - 1..late as usize - 1].iter();
        if between.any(|id| id.life == then.life) {
            return None;
        }
        let mut expect = number_late(world, n, late, witness, forget)?;
        expect.kinds.push((kind, 1));
        Some(expect)
    });
}

#[test]
fn effect_first() {
    numbers_late("effect_first", Kind::Causality, false);
}

#[test]
fn renumber_late() {
    numbers_late("renumber_late", Kind::RealTime, false);
    numbers_late("renumber_late_and_forget", Kind::RealTime, true);
}

/// Another character of the load message's alphabet.
pub(super) fn other_letter(rng: &mut dyn Rng, byte: u8) -> u8 {
    loop {
        let letter = b'a' + rng.random_range(0..26_u8);
        if letter != byte {
            return letter;
        }
    }
}

#[test]
fn flip_byte_in_every_region_of_the_message() {
    // magic, form, length, checksum, run, sender, k, intended, previous, filler
    let regions = [
        0..2,
        2..3,
        3..7,
        7..13,
        13..19,
        19..24,
        24..30,
        30..39,
        39..48,
        48..60,
    ];
    for region in regions {
        check("flip_byte_in_every_region_of_the_message", |world, rng| {
            let spot = world.any_relay(rng)?;
            let id = world.relayed(spot)?;
            let mut text = world.texts[&id].clone().into_bytes();
            let at = rng.random_range(region.clone());
            let letter = other_letter(rng, *text.get(at)?);
            text[at] = letter;
            world.set_text(spot, &address(id.life), std::str::from_utf8(&text).unwrap());
            once(Kind::AlteredRelay)
        });
    }
}

#[test]
fn flip_byte_in_the_number() {
    check("flip_byte_in_the_number", |world, rng| {
        let (life, at) = world.known_relay(rng)?;
        let frame = world.frame((life, at)).clone();
        let mut digits = frame.seq.to_string().into_bytes();
        let i = rng.random_range(0..digits.len());
        let digit = b'0' + rng.random_range(0..10_u8);
        if digit == digits[i] || i == 0 && digit == b'0' {
            return None;
        }
        digits[i] = digit;
        let seq: u64 = std::str::from_utf8(&digits).unwrap().parse().unwrap();
        world.replace(life, at, seq, frame.what);
        once(Kind::AlteredRelay)
    });
}

#[test]
fn flip_byte_in_the_type() {
    check("flip_byte_in_the_type", |world, rng| {
        let spot = world.any_relay(rng)?;
        // A type that nobody knows is to be ignored: what remains is a relay that did not come.
        let kind = world.loss_of(spot)?;
        let line = String::from_utf8(world.frame(spot).bytes.clone()).unwrap();
        world.lives[spot.0].frames[spot.1].bytes = line.replace("relay", "rekay").into_bytes();
        once(kind)
    });
}

#[test]
fn flip_byte_in_the_address() {
    check("flip_byte_in_the_address", |world, rng| {
        let spot = world.any_relay(rng)?;
        let id = world.relayed(spot)?;
        let text = world.texts[&id].clone();
        world.set_text(spot, &address(id.life).replace("127", "137"), &text);
        once(Kind::MisattributedRelay)
    });
}

/// Whatever bit of a relay's line is flipped, it is found, and counted once.
#[test]
fn flip_any_bit() {
    let mut kinds = BTreeMap::new();
    for seed in 0..seeds() * 5 {
        let mut world = World::new(seed, 1 + (seed % 3) as usize);
        let mut rng = rng(seed);
        let Some(spot) = world.known_relay(&mut rng) else {
            continue;
        };
        let bytes = &mut world.lives[spot.0].frames[spot.1].bytes;
        let at = rng.random_range(0..bytes.len());
        bytes[at] ^= 1 << rng.random_range(0..8);
        if bytes[at] == b'\n' {
            continue; // two lines, two malformed frames
        }
        let line = String::from_utf8_lossy(bytes).into_owned();
        let play = Play {
            seed,
            slowly: false,
        };
        let findings = world.play(play).findings;
        assert_eq!(
            findings.violation_count(),
            1,
            "seed {seed}: {line}{:#?}",
            findings.violations
        );
        *kinds
            .entry(findings.violations.into_keys().next())
            .or_insert(0) += 1;
    }
    let named: BTreeSet<Kind> = kinds.into_keys().flatten().collect();
    let usual = BTreeSet::from([
        Kind::LostRelay, // the type
        Kind::AlteredRelay,
        Kind::MisattributedRelay,
        Kind::MalformedFrame,
    ]);
    let rare = BTreeSet::from([
        Kind::PhantomRelay, // a backslash in the header: an escape, and what follows moves
        Kind::AckWithoutRelay, // the type, at the only receiver
    ]);
    assert!(named.is_superset(&usual), "{named:?}");
    assert!(named.is_subset(&(&usual | &rare)), "{named:?}");
}

#[test]
fn truncate_message() {
    check("truncate_message", |world, rng| {
        let spot = world.any_relay(rng)?;
        let id = world.relayed(spot)?;
        let text = &world.texts[&id];
        let text = text[..rng.random_range(0..text.len())].to_owned();
        world.set_text(spot, &address(id.life), &text);
        // Of nothing, nothing says that it ever was a load message.
        once(if text.is_empty() {
            Kind::PhantomRelay
        } else {
            Kind::AlteredRelay
        })
    });
}

/// A frame that everyone present gets as number `n`, which moves the later ones up.
pub(super) fn insert_for_all(world: &mut World, n: u64, line: &[u8]) {
    world.renumber(|seq| if seq >= n { seq + 1 } else { seq });
    for life in 0..world.lives.len() {
        let frames = &world.lives[life].frames;
        let numbered = |f: &Frame| !matches!(f.what, What::Welcome);
        let Some(at) = frames.iter().position(|f| numbered(f) && f.seq > n) else {
            continue;
        };
        // A welcome that counts n in, or a bye that does not, says that it was not present.
        let joined = frames[0].seq;
        if joined < n {
            world.insert(life, at, n, line.to_vec());
        }
    }
}

fn invent(text: &'static str) {
    check("invent", |world, rng| {
        let n = rng.random_range(1..=world.log.len().max(1) as u64);
        if !world
            .lives
            .iter()
            .any(|l| l.end == End::Polite && l.frames[0].seq < n)
        {
            return None;
        }
        let log = world.log.len() as u64;
        if n > log {
            return None;
        }
        insert_for_all(world, n, &relay(n, "127.0.0.1:9", text));
        once(Kind::PhantomRelay)
    });
    check("invent", |world, rng| {
        let (life, at) = world.any_relay(rng)?;
        let seq = world.frame((life, at)).seq;
        world.insert(life, at, seq, relay(seq, "127.0.0.1:9", text));
        once(Kind::PhantomRelay)
    });
    check("invent", |world, rng| {
        let spot = world.any_relay(rng)?;
        world.set_text(spot, "127.0.0.1:9", text);
        once(Kind::PhantomRelay)
    });
    check("invent", |world, rng| {
        let (life, at) = world.any_relay(rng)?;
        let old = rng.random_range(0..=world.frame((life, at)).seq);
        world.insert(life, at + 1, old, relay(old, "127.0.0.1:9", text));
        once(Kind::PhantomRelay)
    });
}

#[test]
fn invent_message() {
    invent("nobody ever said this");
}

#[test]
fn blank_relay() {
    invent("");
}

#[test]
fn before_join() {
    check("before_join", |world, rng| {
        let newcomers = world.spots(|_, (_, at), f| at == 0 && f.seq > 0);
        let (life, _) = pick(rng, &newcomers)?;
        let joined = world.frame((life, 0)).seq;
        let old = rng.random_range(1..=joined);
        let id = world.log[old as usize - 1];
        let line = relay(old, &address(id.life), &world.texts[&id]);
        world.insert(life, 1, old, line);
        once(Kind::StaleRelay)
    });
}

/// Of a session that has left by then, so that nobody is sent its own.
#[test]
fn relay_to_all_again() {
    check("relay_to_all_again", |world, rng| {
        let (life, at) = world.any_ack(rng)?;
        let id = world.acked((life, at))?;
        let left = world.lives[life].frames.last()?.seq;
        let head = world.log.len() as u64;
        let n = (left < head).then(|| rng.random_range(left + 1..=head))?;
        let present = world.spots(|w, (l, _), f| w.frame((l, 0)).seq < n && f.seq >= n);
        let line = relay(n, &address(life), &world.texts[&id]);
        insert_for_all(world, n, &line);
        (!present.is_empty()).then(|| once(Kind::DuplicateRelay))?
    });
}

#[test]
fn echo_instead_of_the_ack_and_beside_it() {
    for (before, after) in [(true, false), (false, true), (true, true)] {
        check("echo_instead_of_the_ack_and_beside_it", |world, rng| {
            let (life, at) = world.any_ack(rng)?;
            let id = world.acked((life, at))?;
            let seq = world.frame((life, at)).seq;
            let line = relay(seq, &address(life), &world.texts[&id]);
            match (before, after) {
                (true, true) => world.lives[life].frames[at].bytes = line,
                (true, _) => world.insert(life, at, seq, line),
                _ => world.insert(life, at + 1, seq, line),
            }
            once(Kind::EchoedRelay)
        });
    }
}

#[test]
fn wrong_sender() {
    check("wrong_sender", |world, rng| {
        let spot = world.any_relay(rng)?;
        let id = world.relayed(spot)?;
        let other = (id.life + rng.random_range(1..world.lives.len())) % world.lives.len();
        let text = world.texts[&id].clone();
        world.set_text(spot, &address(other), &text);
        once(Kind::MisattributedRelay)
    });
}

#[test]
fn wrong_sender_alike_for_all_is_one() {
    check("wrong_sender_alike_for_all_is_one", |world, rng| {
        let (life, at) = world.any_relay(rng)?;
        let seq = world.frame((life, at)).seq;
        for life in 0..world.lives.len() {
            for at in 0..world.lives[life].frames.len() {
                if let Some(id) = world.relayed((life, at))
                    && world.frame((life, at)).seq == seq
                {
                    let text = world.texts[&id].clone();
                    world.set_text((life, at), "127.0.0.1:9", &text);
                }
            }
        }
        once(Kind::MisattributedRelay)
    });
}

#[test]
fn relay_names_recipient() {
    check("relay_names_recipient", |world, rng| {
        let spot = world.any_relay(rng)?;
        let id = world.relayed(spot)?;
        let text = world.texts[&id].clone();
        world.set_text(spot, &address(spot.0), &text);
        once(Kind::MisattributedRelay)
    });
}

#[test]
fn drop_ack() {
    check("drop_ack", |world, rng| {
        let spot = world.any_ack(rng)?;
        world.remove(spot);
        once(Kind::MissingAck)
    });
}

#[test]
fn double_ack() {
    check("double_ack", |world, rng| {
        let (life, at) = world.any_ack(rng)?;
        let frame = world.frame((life, at)).clone();
        let later = rng.random_range(at + 1..world.lives[life].frames.len());
        world.insert(life, later, frame.seq, frame.bytes);
        once(Kind::DuplicateAck)
    });
}

fn swap_acks(exchange: fn(&mut World, Spot, Spot)) {
    check("swap_acks", |world, rng| {
        let (one, other) = pair(world, rng, 6, |w, one, other| {
            let (first, second) = (w.acked(one), w.acked(other));
            // The second was under way when the first was acked.
            let sent = second.map(|id| w.sent_ns[&id]);
            first.is_some() && sent.is_some_and(|ns| ns < w.frame(one).at_ns)
        })?;
        exchange(world, one, other);
        once(Kind::ReorderedAck)
    });
}

#[test]
fn swap_acks_lines() {
    swap_acks(exchange_lines);
}

#[test]
fn swap_acks_ids() {
    swap_acks(exchange_contents);
}

#[test]
fn an_ack_and_a_relay_exchanged() {
    check("an_ack_and_a_relay_exchanged", |world, rng| {
        let (one, other) = pair(world, rng, 3, |w, one, other| {
            let in_time = |spot: Spot| w.acked(spot).map(|id| w.sent_ns[&id]);
            let known = |spot: Spot| w.relayed(spot).is_some_and(|id| w.stays(id.life));
            in_time(one).is_some() && known(other) || known(one) && in_time(other).is_some()
        })?;
        exchange_lines(world, one, other);
        once(Kind::ReorderedAck)
    });
}

fn misroute(instead: bool, echo: bool) {
    check("misroute", |world, rng| {
        let (life, at) = world.any_ack(rng)?;
        let id = world.acked((life, at))?;
        let seq = world.frame((life, at)).seq;
        let victims =
            world.spots(|w, (l, at), f| l != life && f.seq == seq && w.relayed((l, at)).is_some());
        let (victim, place) = pick(rng, &victims)?;
        let ack = world.frame((life, at)).bytes.clone();
        if instead {
            world.lives[victim].frames[place].bytes = ack;
        } else {
            world.insert(victim, place + rng.random_range(0..2_usize), seq, ack);
        }
        if echo {
            let line = relay(seq, &address(life), &world.texts[&id]);
            world.lives[life].frames[at].bytes = line;
        } else {
            world.remove((life, at));
        }
        once(Kind::StrayAck)
    });
}

#[test]
fn misroute_ack_in_place_of_the_relay() {
    misroute(true, false);
}

#[test]
fn misroute_ack_beside_the_relay() {
    misroute(false, false);
}

#[test]
fn spoofable_ack() {
    misroute(true, true);
}

#[test]
fn an_ack_nobody_asked_for() {
    for id in [
        None,
        Some(0),
        Some(ndjson::MAX_ID),
        Some(wire_id(Id { life: 0, k: 400 })),
    ] {
        check("an_ack_nobody_asked_for", |world, rng| {
            let (life, at) = world.any_relay(rng)?;
            let seq = world.frame((life, at)).seq;
            let mut ack = Vec::new();
            ndjson::encode_ack(&mut ack, seq, id);
            world.insert(life, at, seq, ack);
            once(Kind::StrayAck)
        });
    }
}

/// The relays of a message whose sender stays, and that some session that stays is owed.
fn relays_of_one(world: &World, rng: &mut dyn Rng) -> Option<(Id, u64)> {
    let (life, at) = world.any_relay(rng)?;
    let id = world.relayed((life, at))?;
    let seq = world.frame((life, at)).seq;
    world.stays(id.life).then_some((id, seq))
}

fn forget_relays(world: &mut World, seq: u64) {
    for life in &mut world.lives {
        life.frames
            .retain(|f| f.seq != seq || !matches!(f.what, What::Relay(_)));
    }
}

#[test]
fn ack_then_lose() {
    check("ack_then_lose", |world, rng| {
        let (_, seq) = relays_of_one(world, rng)?;
        forget_relays(world, seq);
        once(Kind::AckWithoutRelay)
    });
}

/// A number that is neither acked nor relayed to anyone, and a message without an ack.
#[test]
fn a_message_swallowed_whole_is_one_missing_ack() {
    check(
        "a_message_swallowed_whole_is_one_missing_ack",
        |world, rng| {
            let (_, seq) = relays_of_one(world, rng)?;
            forget_relays(world, seq);
            for life in &mut world.lives {
                life.frames
                    .retain(|f| f.seq != seq || !matches!(f.what, What::Ack(_)));
            }
            once(Kind::MissingAck)
        },
    );
}

#[test]
fn a_message_in_order_is_refused() {
    check("a_message_in_order_is_refused", |world, rng| {
        let (id, seq) = relays_of_one(world, rng)?;
        forget_relays(world, seq);
        let acks = world.spots(|w, spot, _| w.acked(spot) == Some(id));
        let &(life, at) = acks.first()?;
        let mut error = Vec::new();
        ndjson::encode_error(&mut error, "malformed", "no", Some(wire_id(id)));
        world.lives[life].frames[at].bytes = error;
        // Its number was never given out.
        world.renumber_but((life, at), |n| if n >= seq { n - 1 } else { n });
        once(Kind::MissingAck)
    });
}

#[test]
fn relay_rejected() {
    check("relay_rejected", |world, rng| {
        let (id, _) = relays_of_one(world, rng)?;
        let acks = world.spots(|w, spot, _| w.acked(spot) == Some(id));
        let &(life, at) = acks.first()?;
        let mut error = Vec::new();
        ndjson::encode_error(&mut error, "malformed", "no", Some(wire_id(id)));
        world.lives[life].frames[at].bytes = error;
        once(Kind::RelayOfRejected)
    });
}

#[test]
fn skip_number() {
    check("skip_number", |world, rng| {
        let spot = pick(
            rng,
            &world.spots(|_, _, f| matches!(f.what, What::Relay(_) | What::Ack(_))),
        )?;
        let n = world.frame(spot).seq;
        world.renumber(|seq| if seq >= n { seq + 1 } else { seq });
        once(Kind::SequenceGap)
    });
}

#[test]
fn skip_many_numbers() {
    check("skip_many_numbers", |world, rng| {
        let spot = pick(
            rng,
            &world.spots(|_, _, f| matches!(f.what, What::Relay(_) | What::Ack(_))),
        )?;
        let n = world.frame(spot).seq;
        world.renumber(|seq| if seq >= n { seq + 5000 } else { seq });
        once(Kind::SequenceGap)
    });
}

#[test]
fn reuse_number() {
    check("reuse_number", |world, rng| {
        // Someone who stays sees both, and both are acked.
        let n = rng.random_range(1..world.log.len().max(2) as u64);
        let (one, other) = (world.log.get(n as usize - 1)?, world.log.get(n as usize)?);
        if !world.stays(one.life) || !world.stays(other.life) {
            return None;
        }
        let both = world.spots(|w, (l, at), f| {
            let next = w.lives[l].frames.get(at + 1);
            f.seq == n
                && next.is_some_and(|f| f.seq == n + 1 && f.what != What::Bye)
                && f.what != What::Welcome
        });
        if both.is_empty() {
            return None;
        }
        world.renumber(|seq| if seq > n { seq - 1 } else { seq });
        once(Kind::SequenceReuse)
    });
}

#[test]
fn torn_frame() {
    for newline in [true, false] {
        check("torn_frame", |world, rng| {
            let torn = world.spots(|_, _, f| f.what != What::Bye);
            let (life, at) = pick(rng, &torn)?;
            let bytes = &mut world.lives[life].frames[at].bytes;
            let keep = rng.random_range(1..bytes.len());
            bytes.truncate(keep);
            if newline {
                bytes.push(b'\n');
                if keep + 2 > world.render_len((life, at)) {
                    return None; // all of it
                }
            }
            once(Kind::MalformedFrame)
        });
    }
}

#[test]
fn garbage_frame() {
    for garbage in [
        &b"garbage\n"[..],
        b"[]\n",
        b"{}\n",
        b"\xff\xfe\n",
        b"{\"type\":\"relay\",\"seq\":-1}\n",
    ] {
        check("garbage_frame", |world, rng| {
            let spots = world.spots(|_, _, _| true);
            let (life, at) = pick(rng, &spots)?;
            world.insert(life, at, 0, garbage.to_vec());
            once(Kind::MalformedFrame)
        });
    }
}

/// To anyone, about what another sent, what nobody did, or nothing at all.
#[test]
fn stray_error() {
    check("stray_error", |world, rng| {
        let spots = world.spots(|_, _, f| f.what != What::Welcome);
        let (life, at) = pick(rng, &spots)?;
        let others: Vec<Id> = world
            .texts
            .keys()
            .copied()
            .filter(|id| id.life != life)
            .collect();
        let named = match rng.random_range(0..3) {
            0 => None,
            1 => Some(ndjson::MAX_ID),
            _ => Some(wire_id(pick(rng, &others)?)),
        };
        let mut line = Vec::new();
        ndjson::encode_error(&mut line, "malformed", "not yours", named);
        world.insert(life, at, 0, line);
        once(Kind::StrayError)
    });
}

#[test]
fn garbage_after_the_bye() {
    check("garbage_after_the_bye", |world, rng| {
        let byes = world.spots(|_, _, f| f.what == What::Bye);
        let (life, at) = pick(rng, &byes)?;
        let bye = world.frame((life, at)).clone();
        world.lives[life].frames.push(Frame {
            bytes: b"and another thing".to_vec(),
            what: What::Wrong,
            ..bye
        });
        once(Kind::MalformedFrame)
    });
}

#[test]
fn no_welcome() {
    check("no_welcome", |world, rng| {
        let welcomes = world.spots(|_, _, f| f.what == What::Welcome);
        let spot = pick(rng, &welcomes)?;
        world.remove(spot);
        once(Kind::MissingWelcome)
    });
}

#[test]
fn no_bye() {
    check("no_bye", |world, rng| {
        let byes = world.spots(|_, _, f| f.what == What::Bye);
        let spot = pick(rng, &byes)?;
        world.remove(spot);
        once(Kind::MissingBye)
    });
}

/// At any frame, and within it: a cut frame at the end of a stream is none (F3).
#[test]
fn hang_up() {
    check("hang_up", |world, rng| {
        let spots = world.spots(|_, _, f| f.what != What::Bye);
        let (life, at) = pick(rng, &spots)?;
        let last = world.frame((life, at)).clone();
        let cut = rng.random_range(1..=last.bytes.len());
        let hung_up_ns = last.at_ns;
        let victim = &mut world.lives[life];
        victim.frames.truncate(at + 1);
        victim.frames[at].bytes.truncate(cut);
        victim.hung_up_ns = Some(hung_up_ns);
        // It notices before it would have left.
        // and what it would have sent after that it never does.
        let sends_on = victim.sends.iter().any(|send| send.at_ns >= hung_up_ns);
        if sends_on
            || victim.end_ns <= hung_up_ns
            || !victim.reads.iter().any(|&ns| ns >= hung_up_ns)
        {
            return None;
        }
        let notice_ns = victim.end_ns - 1;
        if notice_ns < hung_up_ns {
            return None;
        }
        victim.notice_ns = Some(notice_ns);
        victim.reads.retain(|&ns| ns < notice_ns);
        once(Kind::UnexpectedClose)
    });
}

#[test]
fn delay_relay() {
    check("delay_relay", |world, rng| {
        let tails = world.spots(|w, (l, at), _| {
            let frames = &w.lives[l].frames;
            w.relayed((l, at)).is_some() && frames.get(at + 1).is_some_and(|f| f.what == What::Bye)
        });
        let (life, at) = pick(rng, &tails)?;
        for frame in &mut world.lives[life].frames[at..] {
            frame.at_ns += 11_000_000_000;
        }
        once(Kind::LateRelay)
    });
}
