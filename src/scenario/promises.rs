//! `[verify]`: what the target promises, and whether the rest of the scenario can be judged by it.
//!
//! An ndjson target numbers its messages. Taken at its word (`use_seq`), it is held to everything
//! that follows from the numbers: the strongest set of promises, and no weaker one. Any other
//! target states no order. It is judged by inferred order, by what its clients saw, and may promise as
//! little as it likes.

use super::clients::{Draft, DraftLoad};
use super::diagnostic::{Diagnostic, Span};
use super::plan::{
    AckPromise, LateCounts, Metric, OrderPromise, Promises, RateName, RelayPromise, Stat, Threshold,
};
use super::section::{Problems, Section};
use super::tree::{Entry, Value};
use super::value::{boolean, choice, duration_or_none};
use crate::wire::application::spec::Ack;
use crate::wire::nats;
use crate::wire::protocol::Spoken;
use crate::wire::rooms::RoomNames;

const LATES: [(&str, LateCounts); 2] = [
    ("violation", LateCounts::AsViolations),
    ("threshold", LateCounts::AsThreshold),
];

/// Reads how deliveries are counted that came later than promised.
pub(super) fn read_late(section: &mut Section<'_>) -> LateCounts {
    section.value("late", choice(&LATES), LATES[0].0)
}

/// Reads the section. A target promises the first of each key's choices where the file says
/// nothing, and order by numbers if its protocol has any.
pub(super) fn read(section: &mut Section<'_>, spoken: &Spoken) -> Promises {
    let ack = section.value("ack", choice(AckPromise::WORDS), acks_of(spoken));
    Promises {
        ack,
        relay: section.value(
            "relay",
            choice(RelayPromise::WORDS),
            RelayPromise::WORDS[0].0,
        ),
        order: section.value("order", choice(OrderPromise::WORDS), order_of(spoken)),
        echo: section.value("echo", boolean, ack == AckPromise::Echo || has_echo(spoken)),
        use_seq: section.value("use_seq", boolean, spoken.capabilities().numbers),
        late_after: section.value("late_after", duration_or_none, "5s"),
    }
}

/// The promise of acks of a target of which the file says nothing: an application acks as its
/// description says.
fn acks_of(spoken: &Spoken) -> &'static str {
    let promise = match spoken {
        Spoken::Own(_) => return AckPromise::WORDS[0].0,
        Spoken::Application(spec) => match spec.ack {
            Ack::Match(_) | Ack::Next => AckPromise::ExactlyOnce,
            Ack::Echo => AckPromise::Echo,
            Ack::None => AckPromise::None,
        },
        Spoken::Nats(settings) => match settings.ack {
            nats::Ack::Flush | nats::Ack::Ok => AckPromise::ExactlyOnce,
            nats::Ack::None => AckPromise::None,
        },
        Spoken::Redis(_) => AckPromise::ExactlyOnce,
    };
    promise.word()
}

/// The same of its order. A NATS server sends what several clients publish at once to each
/// subscriber in an order of its own.
fn order_of(spoken: &Spoken) -> &'static str {
    match spoken {
        Spoken::Own(_) | Spoken::Application(_) | Spoken::Redis(_) => OrderPromise::WORDS[0].1,
        Spoken::Nats(_) => OrderPromise::Fifo,
    }
    .word()
}

/// Whether a client gets what it publishes besides its ack.
fn has_echo(spoken: &Spoken) -> bool {
    match spoken {
        Spoken::Own(_) | Spoken::Application(_) => false,
        Spoken::Nats(settings) => settings.echo,
        Spoken::Redis(_) => true,
    }
}

/// Notes everything in the scenario that makes no sense with its target's promises.
pub(super) fn check(
    problems: &Problems,
    file: &Section<'_>,
    drafts: &[Draft],
    rooms: &RoomNames,
    spoken: &Spoken,
    promises: &Promises,
    thresholds: &[(Threshold, Span)],
) {
    let capabilities = spoken.capabilities();
    if !capabilities.numbers {
        no_numbers(problems, file, promises, spoken);
    }
    if capabilities.numbers && promises.use_seq {
        all_that_numbers_say(problems, file, promises);
    } else if let Some(why) = why_one_shard(promises, drafts, rooms) {
        one_shard(problems, file, why);
    }
    if !capabilities.errors {
        no_errors(problems, drafts, spoken);
    }
    match promises.ack {
        AckPromise::ExactlyOnce => {}
        AckPromise::Echo => echo_is_the_ack(problems, file, promises),
        AckPromise::None => no_acks(problems, drafts, thresholds),
    }
}

fn echo_is_the_ack(problems: &Problems, file: &Section<'_>, promises: &Promises) {
    if let Some(entry) = entry(file, "verify", "echo").filter(|_| !promises.echo) {
        let title = "`verify.echo`: where `verify.ack` is \"echo\", a message's echo is its ack";
        let error = Diagnostic::error(title).at(&entry.node.span, "must be true");
        problems.push(error.help("leave the key out: the ack says it"));
    }
}

/// The entry `key` of section `section`, where the file or the command line has it.
pub(super) fn entry<'a>(file: &Section<'a>, section: &str, key: &str) -> Option<&'a Entry> {
    match &file.entry(section)?.node.value {
        Value::Table(table) => table.get(key),
        _ => None,
    }
}

fn no_numbers(problems: &Problems, file: &Section<'_>, promises: &Promises, spoken: &Spoken) {
    if let Some(entry) = entry(file, "verify", "use_seq").filter(|_| promises.use_seq) {
        let title = format!("`verify.use_seq`: the {spoken} dialect states no numbers to go by");
        problems.push(
            Diagnostic::error(title)
                .at(&entry.node.span, "must be false")
                .help(format!(
                    "leave the key out: a {spoken} target is judged by inferred order"
                )),
        );
    }
}

fn all_that_numbers_say(problems: &Problems, file: &Section<'_>, promises: &Promises) {
    let kept = [
        (
            "ack",
            promises.ack == AckPromise::WORDS[0].1,
            AckPromise::WORDS[0].0,
        ),
        (
            "relay",
            promises.relay == RelayPromise::WORDS[0].1,
            RelayPromise::WORDS[0].0,
        ),
        (
            "order",
            promises.order == OrderPromise::WORDS[0].1,
            OrderPromise::WORDS[0].0,
        ),
        ("echo", !promises.echo, "no echo"),
    ];
    for (key, _, only) in kept.into_iter().filter(|(_, kept, _)| !kept) {
        let Some(entry) = entry(file, "verify", key) else {
            continue;
        };
        let title = format!(
            "`verify.{key}`: a target that is judged by its numbers promises {only}, for that is \
             what they say"
        );
        problems.push(
            Diagnostic::error(title)
                .at(&entry.node.span, "another promise")
                .help("use_seq = false leaves the numbers aside and judges by inferred order"),
        );
    }
}

/// Why one shard has to have all clients where the order is inferred; `None` if it need not, or if
/// that depends on who is in which room ([`pinned`](super::pinned)).
fn why_one_shard(promises: &Promises, drafts: &[Draft], rooms: &RoomNames) -> Option<&'static str> {
    let inferred = Promises {
        use_seq: false,
        ..*promises
    };
    if inferred.need_one_shard() && rooms.is_empty() {
        Some(
            "the messages' order is told by who reads what first, which two threads cannot agree \
             on; leave the key out, judge by numbers (verify.use_seq), or hold the target to each \
             sender's own order (verify.order = \"fifo\")",
        )
    } else if drafts.iter().any(|draft| draft.claims.is_some()) {
        Some("clients claim others' addresses (client_ip); leave the key out")
    } else {
        None
    }
}

/// Notes more than one shard where one has to have all clients.
fn one_shard(problems: &Problems, file: &Section<'_>, why: &str) {
    let one = |entry: &&Entry| matches!(entry.node.value, Value::Integer(1));
    if let Some(entry) = entry(file, "run", "shards").filter(|entry| !one(entry)) {
        let title = "`run.shards`: a target that states no order is driven by one shard";
        problems.push(
            Diagnostic::error(title)
                .at(&entry.node.span, "must be 1")
                .help(why),
        );
    }
}

fn no_errors(problems: &Problems, drafts: &[Draft], spoken: &Spoken) {
    let scripts = drafts.iter().filter_map(script);
    for (path, span) in scripts.filter_map(|script| script.expects_error.as_ref()) {
        let title = format!("`{path}`: the {spoken} dialect has no errors to expect");
        problems.push(Diagnostic::error(title).at(span, "").help(format!(
            "a {spoken} server closes the connection without a word"
        )));
    }
}

/// Notes steps, loads and thresholds that need acks, of a target that does not ack.
fn no_acks(problems: &Problems, drafts: &[Draft], thresholds: &[(Threshold, Span)]) {
    let why = "`verify.ack` = \"none\": the target promises no acks";
    for draft in drafts {
        if let DraftLoad::Closed { span, .. } = &draft.load {
            let title = format!(
                "`clients.{}.in_flight`: a closed loop goes by acks",
                draft.name
            );
            problems.push(Diagnostic::error(title).at(span, "").help(why));
        }
        if let Some((path, span)) = script(draft).and_then(|script| script.awaits_acks.as_ref()) {
            let title = format!("`{path}`: waits for acks that nobody promises");
            problems.push(Diagnostic::error(title).at(span, "").help(why));
        }
    }
    for (threshold, span) in thresholds {
        let of_acks =
            threshold.metric == Metric::Ack || threshold.stat == Stat::Rate(RateName::Acked);
        if of_acks {
            let title = "a threshold without samples: no acks are promised";
            problems.push(Diagnostic::warning(title).at(span, "").help(why));
        }
    }
}

fn script(draft: &Draft) -> Option<&super::script::Script> {
    match &draft.load {
        DraftLoad::Script(script, _) => Some(script),
        _ => None,
    }
}

/// How a run is judged that is held to `promises`, in words: by numbers or order, then each
/// promise.
#[must_use]
pub(crate) fn promised_in_words(promises: &Promises) -> [String; 5] {
    let Promises {
        ack, relay, order, ..
    } = promises;
    let words = [ack.word(), relay.word(), order.word()];
    in_words(promises.use_seq, words, promises.echo)
}

/// The same from the words for its promises of acks, of relays and of their order.
pub(crate) fn in_words(use_seq: bool, promises: [&str; 3], echo: bool) -> [String; 5] {
    let how = if use_seq {
        "by the numbers that the target states"
    } else {
        "by inferred order, from what each client saw"
    };
    let [ack, relay, order] = promises;
    [
        how.to_owned(),
        format!("ack {ack}"),
        format!("relay {relay}"),
        format!("order {order}"),
        (if echo { "echo" } else { "no echo" }).to_owned(),
    ]
}
