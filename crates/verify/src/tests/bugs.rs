//! Server bugs to throw at a world without asking whether they can be seen: to sessions that break
//! off as to those that stay, to messages that nobody else got, several at a time. What they must
//! be reported as is the oracle's to say.
//!
//! ([`faults`](super::faults) are the same bugs where it is plain what each must come to.)

use rand::{Rng, RngExt};

use super::faults::{
    Spot, exchange_contents, exchange_lines, insert_for_all, number_late, other_letter, pick,
};
use super::world::{End, Frame, Id, What, World, address, wire_id};
use crate::promises::AckPromise;
use chatbench_wire::ndjson;

/// A bug: what it is, and how it changes a world; `None` where there is no occasion for it.
pub(super) type Bug = (&'static str, fn(&mut World, &mut dyn Rng) -> Option<()>);

pub(super) const BUGS: &[Bug] = &[
    ("drops a relay", drop_relay),
    ("drops an ack", drop_ack),
    ("drops any frame", drop_frame),
    ("starves a receiver", starve),
    ("sends a relay twice", send_twice),
    ("sends an ack twice", ack_twice),
    ("exchanges two frames", exchange_frames),
    ("exchanges two messages", exchange_messages),
    ("holds a frame back", hold_back),
    ("numbers a message too late", number_too_late),
    ("flips a bit", flip_bit),
    ("changes a letter", change_letter),
    ("changes a number", change_number),
    ("cuts a message short", truncate),
    ("invents a message for all", invent_for_all),
    ("invents a message for one", invent_for_one),
    ("sends an old message to a newcomer", before_join),
    ("echoes a message", echo),
    ("names another sender", name_another),
    ("misroutes an ack", misroute),
    ("acks what was not sent", ack_nothing),
    ("acks and relays to nobody", lose_for_all),
    ("swallows a message whole", swallow_whole),
    ("refuses a message", refuse),
    ("relays what it refused", relay_refused),
    ("skips numbers", skip_numbers),
    ("gives a number twice", reuse_number),
    ("tears a frame", tear),
    ("sends garbage", garbage),
    ("hangs up", hang_up),
    ("is slow", be_slow),
    ("sends an error that nobody asked for", stray_error),
    ("answers with an error that names nothing", refuse_unnamed),
    ("alters every relay to one", alter_all_to_one),
    (
        "alters a message to one and keeps it from another",
        alter_and_drop,
    ),
];

impl World {
    fn all(&self, wanted: impl Fn(&Frame) -> bool) -> Vec<Spot> {
        let lives = self.lives.iter().enumerate();
        let all = lives.flat_map(|(l, life)| life.frames.iter().enumerate().map(move |f| (l, f)));
        let wanted = all.filter(|(_, (_, frame))| wanted(frame));
        wanted.map(|(l, (at, _))| (l, at)).collect()
    }

    /// Whether a frame acks a message of the session that gets it, by being an ack or its echo.
    fn is_ack(&self, life: usize, what: &What) -> bool {
        match what {
            What::Ack(_) => true,
            What::Relay(id) => self.terms.promises.ack == AckPromise::Echo && id.life == life,
            _ => false,
        }
    }

    /// The message that an ack is for.
    fn answered(&self, spot: Spot) -> Option<Id> {
        self.acked(spot).or_else(|| self.relayed(spot))
    }

    fn a_relay(&self, rng: &mut dyn Rng) -> Option<(Spot, Id)> {
        let spot = pick(rng, &self.all(|f| matches!(f.what, What::Relay(_))))?;
        Some((spot, self.relayed(spot)?))
    }

    fn an_ack(&self, rng: &mut dyn Rng) -> Option<(Spot, Id)> {
        let mut acks = self.all(|f| matches!(f.what, What::Ack(_) | What::Relay(_)));
        acks.retain(|&(life, at)| self.is_ack(life, &self.frame((life, at)).what));
        let spot = pick(rng, &acks)?;
        Some((spot, self.answered(spot)?))
    }

    fn a_numbered(&self, rng: &mut dyn Rng) -> Option<Spot> {
        pick(rng, &self.all(is_numbered))
    }

    /// Whether a frame has a message that was not sent yet, which no network brings about.
    fn is_heard_before_it_is_said(&self) -> bool {
        let mut frames = self.lives.iter().flat_map(|life| &life.frames);
        frames.any(|frame| match &frame.what {
            What::Relay(id) | What::Ack(id) => frame.at_ns <= self.sent_ns[id],
            What::Welcome | What::Bye | What::Wrong => false,
        })
    }

    fn set_bytes(&mut self, (life, at): Spot, bytes: Vec<u8>) {
        self.lives[life].frames[at].bytes = bytes;
        self.lives[life].frames[at].what = What::Wrong;
    }

    /// A message that its sender stays to be acked for: whatever becomes of its relays, what its
    /// number is can be known.
    fn is_vouched_for(&self, spot: Spot) -> bool {
        let id = self.relayed(spot);
        id.is_some_and(|id| self.lives[id.life].end == End::Polite)
    }
}

fn is_numbered(frame: &Frame) -> bool {
    matches!(frame.what, What::Relay(_) | What::Ack(_))
}

fn drop_relay(world: &mut World, rng: &mut dyn Rng) -> Option<()> {
    let (spot, _) = world.a_relay(rng)?;
    world.remove(spot);
    Some(())
}

fn drop_ack(world: &mut World, rng: &mut dyn Rng) -> Option<()> {
    let (spot, _) = world.an_ack(rng)?;
    world.remove(spot);
    Some(())
}

/// Welcomes and byes among them.
fn drop_frame(world: &mut World, rng: &mut dyn Rng) -> Option<()> {
    let spot = pick(rng, &world.all(|_| true))?;
    world.remove(spot);
    Some(())
}

fn starve(world: &mut World, rng: &mut dyn Rng) -> Option<()> {
    let ((life, from), _) = world.a_relay(rng)?;
    let mut at = 0;
    world.lives[life].frames.retain(|f| {
        at += 1;
        at <= from || !matches!(f.what, What::Relay(_))
    });
    Some(())
}

fn again(world: &mut World, rng: &mut dyn Rng, (life, at): Spot) -> Option<()> {
    let frame = world.frame((life, at)).clone();
    let end = world.lives[life].frames.len();
    let later = (at + 1 < end).then(|| rng.random_range(at + 1..end))?;
    world.insert(life, later, frame.seq, frame.bytes);
    Some(())
}

fn send_twice(world: &mut World, rng: &mut dyn Rng) -> Option<()> {
    let (spot, _) = world.a_relay(rng)?;
    again(world, rng, spot)
}

fn ack_twice(world: &mut World, rng: &mut dyn Rng) -> Option<()> {
    let (spot, _) = world.an_ack(rng)?;
    again(world, rng, spot)
}

/// Two numbered frames of one session; nothing is sent before it exists, so the first waits for
/// the second.
fn two_frames(
    world: &mut World,
    rng: &mut dyn Rng,
    wanted: impl Fn(&World, Spot) -> bool,
) -> Option<(Spot, Spot)> {
    let spots = world.all(is_numbered);
    let spots: Vec<Spot> = spots.into_iter().filter(|&s| wanted(world, s)).collect();
    let (life, one) = pick(rng, &spots)?;
    let near = spots
        .iter()
        .filter(|&&(l, at)| l == life && at > one && at <= one + 5);
    let near: Vec<Spot> = near.copied().collect();
    let (_, other) = pick(rng, &near)?;
    let at_ns = world.frame((life, other)).at_ns;
    for frame in &mut world.lives[life].frames[one..other] {
        frame.at_ns = at_ns;
    }
    Some(((life, one), (life, other)))
}

fn exchange_frames(world: &mut World, rng: &mut dyn Rng) -> Option<()> {
    let (one, other) = two_frames(world, rng, |_, _| true)?;
    exchange_lines(world, one, other);
    Some(())
}

/// One's text under the other's number.
fn exchange_messages(world: &mut World, rng: &mut dyn Rng) -> Option<()> {
    let (one, other) = two_frames(world, rng, World::is_vouched_for)?;
    exchange_contents(world, one, other);
    Some(())
}

fn hold_back(world: &mut World, rng: &mut dyn Rng) -> Option<()> {
    let ((life, one), (_, other)) = two_frames(world, rng, |_, _| true)?;
    world.lives[life].frames[one..=other].rotate_left(1);
    Some(())
}

fn number_too_late(world: &mut World, rng: &mut dyn Rng) -> Option<()> {
    let count = world.log.len() as u64;
    let n = (count > 2).then(|| rng.random_range(1..count))?;
    let late = (n + rng.random_range(1..6_u64)).min(count);
    let (first, then) = (world.log[n as usize - 1], world.log[late as usize - 1]);
    let mut between = world.log[n as usize - 1..late as usize - 1].iter();
    if between.any(|id| id.life == then.life) {
        return None;
    }
    let witness = if rng.random_bool(0.5) {
        then.life
    } else {
        first.life
    };
    let before = world.clone();
    number_late(world, n, late, witness, rng.random_bool(0.3))?;
    if world.is_heard_before_it_is_said() {
        *world = before;
        return None;
    }
    Some(())
}

fn flip_bit(world: &mut World, rng: &mut dyn Rng) -> Option<()> {
    let spots = world.all(|f| matches!(f.what, What::Relay(_)));
    let spots: Vec<Spot> = spots
        .into_iter()
        .filter(|&s| world.is_vouched_for(s))
        .collect();
    let spot = pick(rng, &spots)?;
    let mut bytes = world.frame(spot).bytes.clone();
    let at = rng.random_range(0..bytes.len());
    bytes[at] ^= 1 << rng.random_range(0..8);
    world.set_bytes(spot, bytes);
    Some(())
}

fn change_letter(world: &mut World, rng: &mut dyn Rng) -> Option<()> {
    let (spot, _) = world.a_relay(rng)?;
    alter(world, rng, spot)
}

/// Changes a letter of a relay; nothing of another frame.
fn alter(world: &mut World, rng: &mut dyn Rng, spot: Spot) -> Option<()> {
    let id = world.relayed(spot)?;
    let mut text = world.texts[&id].clone().into_bytes();
    let at = rng.random_range(0..text.len());
    text[at] = other_letter(rng, text[at]);
    let text = String::from_utf8(text).unwrap();
    let seq = world.frame(spot).seq;
    world.set_bytes(spot, world.relay_line(seq, &address(id.life), &text));
    Some(())
}

fn change_number(world: &mut World, rng: &mut dyn Rng) -> Option<()> {
    let (spot, id) = world.a_relay(rng)?;
    if !world.is_vouched_for(spot) {
        return None;
    }
    let right = world.frame(spot).seq;
    let seq = rng.random_range(1..world.log.len() as u64 + 20);
    if seq == right {
        return None;
    }
    let line = world.relay_line(seq, &address(id.life), &world.texts[&id]);
    world.set_bytes(spot, line);
    Some(())
}

fn truncate(world: &mut World, rng: &mut dyn Rng) -> Option<()> {
    let (spot, id) = world.a_relay(rng)?;
    let text = &world.texts[&id];
    let text = text[..rng.random_range(0..text.len())].to_owned();
    let seq = world.frame(spot).seq;
    world.set_bytes(spot, world.relay_line(seq, &address(id.life), &text));
    Some(())
}

/// To anyone, at any time: about nothing, what was acked or will be, what others sent, what nobody
/// did.
fn stray_error(world: &mut World, rng: &mut dyn Rng) -> Option<()> {
    let (life, at) = pick(rng, &world.all(|_| true))?;
    let all: Vec<Id> = world.texts.keys().copied().collect();
    let id = match rng.random_range(0..4) {
        0 => None,
        1 => Some(rng.random_range(0..=ndjson::MAX_ID)),
        _ => Some(wire_id(pick(rng, &all)?)),
    };
    let code = if rng.random_bool(0.8) {
        "malformed"
    } else {
        "no-such-code"
    };
    let mut line = Vec::new();
    ndjson::encode_error(&mut line, code, "not yours", id);
    let seq = world.frame((life, at)).seq;
    for _ in 0..rng.random_range(1..3) {
        world.insert(life, at, seq, line.clone());
    }
    Some(())
}

/// In place of the ack; or besides it.
fn refuse_unnamed(world: &mut World, rng: &mut dyn Rng) -> Option<()> {
    let (spot, _) = world.an_ack(rng)?;
    let mut line = Vec::new();
    ndjson::encode_error(&mut line, "malformed", "no idea which", None);
    if rng.random_bool(0.5) {
        world.set_bytes(spot, line);
    } else {
        let seq = world.frame(spot).seq;
        world.insert(spot.0, spot.1, seq, line);
    }
    Some(())
}

/// From some relay on, each has one letter changed.
fn alter_all_to_one(world: &mut World, rng: &mut dyn Rng) -> Option<()> {
    let ((life, from), _) = world.a_relay(rng)?;
    for at in from..world.lives[life].frames.len() {
        alter(world, rng, (life, at));
    }
    Some(())
}

fn alter_and_drop(world: &mut World, rng: &mut dyn Rng) -> Option<()> {
    let (one, id) = world.a_relay(rng)?;
    let others = world.all(|f| f.what == What::Relay(id));
    let others: Vec<Spot> = others.into_iter().filter(|&spot| spot != one).collect();
    let other = pick(rng, &others)?;
    alter(world, rng, one);
    world.remove(other);
    Some(())
}

fn invent_for_all(world: &mut World, rng: &mut dyn Rng) -> Option<()> {
    let head = world.log.len() as u64;
    let n = (head > 0).then(|| rng.random_range(1..=head))?;
    let line = world.relay_line(n, "127.0.0.1:9", "nobody said this");
    insert_for_all(world, n, &line);
    Some(())
}

fn invent_for_one(world: &mut World, rng: &mut dyn Rng) -> Option<()> {
    let ((life, at), _) = world.a_relay(rng)?;
    let seq = rng.random_range(0..=world.frame((life, at)).seq);
    let text = if rng.random_bool(0.5) { "" } else { "nor this" };
    world.insert(life, at, seq, world.relay_line(seq, "127.0.0.1:9", text));
    Some(())
}

fn before_join(world: &mut World, rng: &mut dyn Rng) -> Option<()> {
    let newcomers = world.all(|f| f.what == What::Welcome && f.seq > 0);
    let (life, welcome) = pick(rng, &newcomers)?;
    let frames = &world.lives[life].frames;
    let old = rng.random_range(1..=frames[welcome].seq);
    let at = (frames.len() > 1).then(|| rng.random_range(1..frames.len()))?;
    let id = *world.log.get(old as usize - 1)?;
    world.insert(
        life,
        at,
        old,
        world.relay_line(old, &address(id.life), &world.texts[&id]),
    );
    Some(())
}

fn echo(world: &mut World, rng: &mut dyn Rng) -> Option<()> {
    let ((life, at), id) = world.an_ack(rng)?;
    let seq = world.frame((life, at)).seq;
    let line = world.relay_line(seq, &address(life), &world.texts[&id]);
    match rng.random_range(0..3) {
        0 => world.set_bytes((life, at), line),
        1 => world.insert(life, at, seq, line),
        _ if at + 1 < world.lives[life].frames.len() => world.insert(life, at + 1, seq, line),
        _ => return None,
    }
    Some(())
}

fn name_another(world: &mut World, rng: &mut dyn Rng) -> Option<()> {
    let (spot, id) = world.a_relay(rng)?;
    let other = (id.life + rng.random_range(1..world.lives.len())) % world.lives.len();
    let seq = world.frame(spot).seq;
    let line = world.relay_line(seq, &address(other), &world.texts[&id]);
    let alike = rng.random_bool(0.3);
    for at in world.all(|f| f.seq == seq && f.what == What::Relay(id)) {
        if alike || at == spot {
            world.lives[at.0].frames[at.1].bytes.clone_from(&line);
        }
    }
    Some(())
}

fn misroute(world: &mut World, rng: &mut dyn Rng) -> Option<()> {
    let ((life, at), id) = world.an_ack(rng)?;
    let seq = world.frame((life, at)).seq;
    let victims = world.all(|f| f.seq == seq && f.what == What::Relay(id));
    let (victim, place) = pick(rng, &victims)?;
    let ack = world.frame((life, at)).bytes.clone();
    if place + 1 == world.lives[victim].frames.len() {
        return None;
    }
    if rng.random_bool(0.5) {
        world.set_bytes((victim, place), ack);
    } else {
        world.insert(victim, place + rng.random_range(0..2_usize), seq, ack);
    }
    if rng.random_bool(0.5) {
        let line = world.relay_line(seq, &address(life), &world.texts[&id]);
        world.set_bytes((life, at), line);
    } else {
        world.remove((life, at));
    }
    Some(())
}

fn ack_nothing(world: &mut World, rng: &mut dyn Rng) -> Option<()> {
    let (life, at) = world.a_numbered(rng)?;
    let seq = world.frame((life, at)).seq;
    let id = match rng.random_range(0..3) {
        0 => None,
        1 => Some(ndjson::MAX_ID),
        _ => Some(wire_id(Id { life, k: 400 })),
    };
    let mut ack = Vec::new();
    ndjson::encode_ack(&mut ack, seq, id);
    world.insert(life, at, seq, ack);
    Some(())
}

fn forget(world: &mut World, id: Id, acks_too: bool) {
    for life in 0..world.lives.len() {
        let mut frames = std::mem::take(&mut world.lives[life].frames);
        frames.retain(|f| match &f.what {
            What::Relay(of) | What::Ack(of) if *of == id => {
                !acks_too && world.is_ack(life, &f.what)
            }
            _ => true,
        });
        world.lives[life].frames = frames;
    }
}

fn lose_for_all(world: &mut World, rng: &mut dyn Rng) -> Option<()> {
    let (_, id) = world.a_relay(rng)?;
    forget(world, id, false);
    Some(())
}

fn swallow_whole(world: &mut World, rng: &mut dyn Rng) -> Option<()> {
    let (_, id) = world.a_relay(rng)?;
    forget(world, id, true);
    Some(())
}

fn refusal(id: Id) -> Vec<u8> {
    let mut error = Vec::new();
    ndjson::encode_error(&mut error, "malformed", "no", Some(wire_id(id)));
    error
}

fn refuse(world: &mut World, rng: &mut dyn Rng) -> Option<()> {
    let (spot, id) = world.an_ack(rng)?;
    let seq = world.frame(spot).seq;
    world.set_bytes(spot, refusal(id));
    forget(world, id, false);
    // Its number was never given out.
    world.renumber(|n| if n >= seq { n - 1 } else { n });
    Some(())
}

fn relay_refused(world: &mut World, rng: &mut dyn Rng) -> Option<()> {
    let ((life, at), id) = world.an_ack(rng)?;
    if rng.random_bool(0.5) {
        world.set_bytes((life, at), refusal(id));
    } else {
        world.insert(life, at, 0, refusal(id));
    }
    Some(())
}

fn skip_numbers(world: &mut World, rng: &mut dyn Rng) -> Option<()> {
    let spot = world.a_numbered(rng)?;
    let n = world.frame(spot).seq;
    let by = [1, 2, 5000][rng.random_range(0..3_usize)];
    world.renumber(|seq| if seq >= n { seq + by } else { seq });
    Some(())
}

fn reuse_number(world: &mut World, rng: &mut dyn Rng) -> Option<()> {
    let n = rng.random_range(1..world.log.len().max(2) as u64);
    let both = [world.log.get(n as usize - 1)?, world.log.get(n as usize)?];
    // Who joins in between is sent a message from before its welcome, besides.
    let joins = world.all(|f| f.what == What::Welcome && f.seq == n);
    let ends = world.all(|f| f.what == What::Bye && f.seq == n);
    let stay = both
        .iter()
        .all(|id| world.lives[id.life].end == End::Polite);
    if !stay || !joins.is_empty() || !ends.is_empty() {
        return None;
    }
    world.renumber(|seq| if seq > n { seq - 1 } else { seq });
    Some(())
}

fn tear(world: &mut World, rng: &mut dyn Rng) -> Option<()> {
    let spot = pick(rng, &world.all(|f| f.what != What::Bye))?;
    let mut bytes = world.frame(spot).bytes.clone();
    let keep = (bytes.len() > 2).then(|| rng.random_range(1..bytes.len() - 1))?;
    bytes.truncate(keep);
    if rng.random_bool(0.5) {
        bytes.push(b'\n');
    }
    world.set_bytes(spot, bytes);
    Some(())
}

fn garbage(world: &mut World, rng: &mut dyn Rng) -> Option<()> {
    let (life, at) = pick(rng, &world.all(|_| true))?;
    let garbage: &[&[u8]] = &[b"garbage\n", b"[]\n", b"{}\n", b"\xff\xfe\n"];
    let line = pick(rng, garbage)?;
    world.insert(life, at, 0, line.to_vec());
    Some(())
}

fn hang_up(world: &mut World, rng: &mut dyn Rng) -> Option<()> {
    let (life, at) = pick(rng, &world.all(|f| f.what != What::Bye))?;
    let victim = &mut world.lives[life];
    let hung_up_ns = victim.frames[at].at_ns;
    if victim.sends.iter().any(|s| s.at_ns >= hung_up_ns) {
        return None; // it could not send what the others get
    }
    let cut = rng.random_range(1..=victim.frames[at].bytes.len().max(1));
    victim.frames.truncate(at + 1);
    victim.frames[at].bytes.truncate(cut);
    victim.hung_up_ns = Some(hung_up_ns);
    // Before it would have left, or after: then a bye is what it misses.
    if rng.random_bool(0.7) && victim.end_ns > hung_up_ns + 1 {
        let notice_ns = victim.end_ns - 1;
        victim.notice_ns = Some(notice_ns);
        victim.reads.retain(|&ns| ns < notice_ns);
    }
    Some(())
}

fn be_slow(world: &mut World, rng: &mut dyn Rng) -> Option<()> {
    let (life, at) = world.a_numbered(rng)?;
    for frame in &mut world.lives[life].frames[at..] {
        frame.at_ns += 11_000_000_000;
    }
    Some(())
}
