//! Observations of other programs: text as it stands, and histories of a few sessions.
//!
//! An input: the first byte chooses. Even: the rest is the file. Odd: a byte for the promises, then
//! events of four bytes: which one and of which session, a number, a `k`, and how much later. Names,
//! times and keys are put so that nearly every such file can be read to its end.
//!
//! - No file panics.
//! - A history that can be read is one that any clock may have seen: begun at another time, it
//!   comes to the same findings.
//! - What is verified twice comes to the same.

use std::fmt::Write as _;

use chatbench::verify::trace;

use super::input::Input;

/// # Panics
/// Where something does not hold.
pub(crate) fn check(data: &[u8]) {
    let mut input = Input(data);
    if input.byte() & 1 == 0 {
        let _ = trace::verify(input.0);
        return;
    }
    let promises = input.promises();
    let promises = (!promises.use_seq).then_some(promises);
    let history = History::of(input);
    let verify = |epoch_ns: u64| {
        let text = history.text(epoch_ns);
        trace::verify_against(text.as_bytes(), promises)
    };
    let Ok(verified) = verify(0) else {
        return;
    };
    for epoch_ns in [0, 1_795_000_000_000_000_000, u64::MAX - history.ends_ns] {
        let again = verify(epoch_ns).expect("it was read just now");
        assert_eq!(again.findings, verified.findings, "since {epoch_ns}");
    }
}

struct History {
    /// When, and what stands behind that in its line.
    events: Vec<(u64, String)>,
    ends_ns: u64,
}

/// A place that sessions come to, one after another.
#[derive(Default)]
struct Seat {
    sessions: u32,
    open: bool,
    sent: u64,
}

impl Seat {
    fn name(&self, seat: usize) -> String {
        format!("{}{}", ["a", "b", "c", "d"][seat], self.sessions)
    }
}

impl History {
    fn of(mut input: Input<'_>) -> Self {
        let mut seats: [Seat; 4] = Default::default();
        let mut events = Vec::new();
        let mut now_ns = 0;
        while !input.is_empty() {
            let (what, seq, k) = (input.byte(), input.byte(), input.byte());
            let (index, from) = (usize::from(what & 3), usize::from(k >> 6));
            now_ns += u64::from(input.byte()) << 20;
            let k = u64::from(k & 63);
            let sender = seats[from].name(from);
            let seat = &mut seats[index];
            if !seat.open {
                *seat = Seat {
                    sessions: seat.sessions + 1,
                    open: true,
                    sent: 0,
                };
                let session = seat.name(index);
                events.push((now_ns, format!(r#""session":"{session}","event":"opened""#)));
                continue;
            }
            let mut event = format!(r#""session":"{}","#, seat.name(index));
            let seq = format!(r#","seq":{seq}"#);
            let _ = match what >> 2 & 15 {
                0 => write!(event, r#""event":"welcome"{seq}"#),
                1..=3 => {
                    seat.sent += 1;
                    write!(event, r#""event":"sent","k":{}"#, seat.sent)
                }
                4..=8 => write!(
                    event,
                    r#""event":"relayed","from":"{sender}","k":{}{seq}"#,
                    k.max(1)
                ),
                9..=11 => write!(event, r#""event":"acked","k":{}{seq}"#, k.max(1)),
                12 => write!(event, r#""event":"error","k":{},"code":"c{k}""#, k.max(1)),
                13 => write!(event, r#""event":"leaving""#),
                14 => write!(event, r#""event":"bye"{seq}"#),
                _ => {
                    seat.open = false;
                    let closed = if k & 1 == 0 { "aborted" } else { "closed" };
                    write!(event, r#""event":"{closed}""#)
                }
            };
            events.push((now_ns, event));
        }
        Self {
            events,
            ends_ns: now_ns,
        }
    }

    fn text(&self, epoch_ns: u64) -> String {
        let lines = self.events.iter().map(|(at_ns, event)| {
            let at_ns = epoch_ns + at_ns;
            format!("{{\"at_ns\":{at_ns},{event}}}\n")
        });
        lines.collect()
    }
}
