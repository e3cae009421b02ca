//! What can be switched on costs nothing while it is off, nor while it has nothing to do.

use std::time::Duration;

use super::framing::Framing;
use super::server::{FAULT_ARMED, OURS, Row};
use super::sides::{Side, print_and_stop, print_head, take_turns};
use super::{Load, bare};

const CLASSIC_BESIDE: &[&str] = &["--listen", "classic://127.0.0.1:0"];

pub(crate) fn table() {
    let (rounds, time) = if bare::only_test() {
        (2, Duration::from_millis(5))
    } else {
        (60, Duration::from_millis(100))
    };
    let row = Row {
        receivers: 100,
        talkers: 1,
        payload: 100,
        load: Load::Full,
        framing: Framing::Lines,
        arguments: &[],
    };
    let mut sides = [
        ("plain", &[][..]),
        ("plain, once more", &[]),
        ("a fault armed", FAULT_ARMED),
        ("a classic listener", CLASSIC_BESIDE),
    ]
    .map(|(name, arguments)| Side::start(name, OURS, Row { arguments, ..row }));
    take_turns(&mut sides, rounds, time);
    println!("\nswitches, CPU time per delivery by that of the plain server, {rounds} rounds");
    print_head();
    print_and_stop(sides.into());
}
