//! What the same frames cost over WebSocket, by what they cost as lines: the two take turns.

use std::time::Duration;

use super::framing::Framing;
use super::selection::Selection;
use super::server::{OURS, Row};
use super::sides::{Side, print_and_stop, print_head, sorted, take_turns};
use super::{Load, bare, driver};

const RECEIVERS: [usize; 3] = [100, 1_000, 10_000];

pub(crate) fn table(asked: &Selection) {
    let receivers = match asked.receivers_asked() {
        [] if bare::only_test() => &RECEIVERS[..1],
        [] => &RECEIVERS[..],
        asked => asked,
    };
    for &receivers in receivers {
        for load in [Load::Unbatched, Load::Full] {
            if asked.has_load(load) {
                server(receivers, load);
                client(receivers, load, asked);
            }
        }
    }
}

fn server(receivers: usize, load: Load) {
    let (rounds, time) = match bare::only_test() {
        true => (2, Duration::from_millis(5)),
        false => (15, Duration::from_millis(200)),
    };
    let mut sides = [
        ("lines", Framing::Lines),
        ("lines, once more", Framing::Lines),
        ("WebSocket", Framing::WebSocket),
    ]
    .map(|(name, framing)| {
        let row = Row {
            receivers,
            talkers: 1,
            payload: 100,
            load,
            framing,
            arguments: &[],
        };
        Side::start(name, OURS, row)
    });
    take_turns(&mut sides, rounds, time);
    println!("\n{receivers} receivers, {}: the server", load.name());
    print_head();
    print_and_stop(sides.into());
}

fn client(receivers: usize, load: Load, asked: &Selection) {
    let rounds = if bare::only_test() { 1 } else { 5 };
    let (mut lines, mut websocket) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        lines.push(driver::delivery_ns(receivers, load, Framing::Lines, asked));
        websocket.push(driver::delivery_ns(
            receivers,
            load,
            Framing::WebSocket,
            asked,
        ));
    }
    let ratios = sorted(
        websocket
            .iter()
            .zip(&lines)
            .map(|(ws, line)| ws / line)
            .collect(),
    );
    println!(
        "{receivers} receivers, {}: the driver, everything verified: lines {:.1} ns per delivery, \
         WebSocket {:.1} ns, ratio {:.3} ({:.3} to {:.3})",
        load.name(),
        bare::median(lines),
        bare::median(websocket),
        ratios[ratios.len() / 2],
        ratios[0],
        ratios[ratios.len() - 1],
    );
}
