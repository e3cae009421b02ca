//! What each fault of the proxy must be reported as, by what the target promises; or why it is no
//! fault there.

use crate::proxy::Fault;
use crate::proxy::talk::{Acks, Talk};
use crate::scenario::plan::Plan;
use crate::verify::promises::{AckPromise, OrderPromise, RelayPromise};

/// The kinds of violation, one of which a fault must be reported as; or the reason why it has no
/// place with this target.
pub(super) fn of(
    fault: Fault,
    plan: &Plan,
    talk: &dyn Talk,
) -> Result<&'static [&'static str], &'static str> {
    let promises = plan.promises;
    let may_skip = promises.relay == RelayPromise::AtMostOnce;
    let may_repeat = promises.relay == RelayPromise::AtLeastOnce;
    let is_acked = match (promises.ack, talk.acks()) {
        (AckPromise::None, _) | (_, Acks::None) => Err("its messages are not acked"),
        (_, acks) => Ok(acks),
    };
    Ok(match fault {
        Fault::DropRelay if may_skip => return Err("it may skip messages"),
        Fault::DropRelay => &["lost-relay"],
        Fault::DropPublish => match is_acked? {
            Acks::InTurn => {
                return Err(
                    "its acks name no message, so a later one stands in for one that is lost",
                );
            }
            Acks::Cumulative => &["missing-ack", "ack-without-relay"],
            _ => &["missing-ack"],
        },
        Fault::DuplicateRelay if may_repeat => return Err("it may repeat messages"),
        Fault::DuplicateRelay => &["duplicate-relay"],
        Fault::SwapSameSender => match promises.order {
            OrderPromise::None => return Err("it promises no order"),
            OrderPromise::Causal => &["reordered-relay", "causality"],
            OrderPromise::Total | OrderPromise::Fifo => &["reordered-relay"],
        },
        Fault::SwapSenders if promises.order != OrderPromise::Total => {
            return Err("it promises no order between senders");
        }
        Fault::SwapSenders => &["order-divergence"],
        Fault::FlipByte | Fault::TruncateMessage => &["altered-relay"],
        Fault::WrongSender if !talk.names_senders() => {
            return Err("its messages do not say whom they are from");
        }
        Fault::WrongSender => &["misattributed-relay"],
        Fault::WrongRoom if plan.rooms.len() < 2 => {
            return Err("there are no two rooms: --rooms 2, where it has rooms");
        }
        Fault::WrongRoom => &["wrong-room"],
        Fault::AckThenLose if may_skip => return Err("it may skip messages"),
        Fault::AckThenLose => is_acked.map(|_| &["ack-without-relay"][..])?,
        Fault::DropAck => match is_acked? {
            Acks::Cumulative => return Err("a later ack is one for all before it"),
            _ => &["missing-ack"],
        },
        Fault::DoubleAck => match is_acked? {
            Acks::Cumulative => return Err("a later ack is one for all before it"),
            Acks::Echo if may_repeat => return Err("it may repeat messages"),
            Acks::Echo => &["duplicate-relay"],
            // One that names nothing need not be the second of anything.
            Acks::InTurn => &["duplicate-ack", "stray-ack"],
            _ => &["duplicate-ack"],
        },
        Fault::DelayRelay => &["late-relay"],
        Fault::HangUp if plan.target.spoken.reconnect().is_some() => {
            return Err("it may close connections");
        }
        Fault::HangUp => &["unexpected-close"],
    })
}

/// Whether a fault that its victim could see may yet show to nobody: where no order holds between
/// senders, or nothing says that a client has joined, what is missing need not have been owed.
pub(super) fn may_stay_unseen(fault: Fault, plan: &Plan) -> bool {
    let capabilities = plan.target.spoken.capabilities();
    let is_total = plan.promises.order == OrderPromise::Total;
    let is_plain = plan.promises.use_seq || is_total && capabilities.welcome;
    matches!(fault, Fault::DropRelay | Fault::AckThenLose) && !is_plain
}

/// Whether as many violations are expected as were committed: one delay makes late everything that
/// waits after it.
pub(super) fn is_counted(fault: Fault) -> bool {
    fault != Fault::DelayRelay
}
