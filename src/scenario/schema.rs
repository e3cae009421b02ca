//! The scenario's sections, one function each, and the plan they make.

use super::addresses;
use super::checks;
use super::clients;
use super::diagnostic::{Diagnostic, Diagnostics, nearest};
use super::plan::{AckPromise, OrderPromise, Plan, Promises, RelayPromise, Run, Target, TargetUrl};
use super::section::{Expected, Problems, Section, keys_of, mismatch};
use super::threshold;
use super::tree::{Node, Table, Value};
use super::value::{
    boolean, choice, duration, duration_or_none, one_of, rate, some_time, string, whole,
};
use crate::server::fault::request::Request;

/// The phases' length where neither the file nor a stage says any.
const DEFAULT_DURATION: &str = "10s";

/// URLs of which this version drives the target.
const SUPPORTED_URLS: &str = "this version drives \"embedded\" and \"ndjson://HOST:PORT\"";

/// Kinds of target that later versions drive.
const LATER_SCHEMES: [&str; 7] = ["classic", "ws", "wss", "nats", "redis", "mqtt", "tcp"];

/// Reads the whole scenario. The plan is sound if no error was noted on the way.
pub(super) fn read(problems: &Problems, name: &str, root: &Table) -> Plan {
    let mut file = Section::open(problems, "", &(0..0), root, keys_of(""));
    let description = file.optional("description", string);
    let seed = file.value("seed", whole(0..=u64::MAX), 1);

    let (drafts, clients) = clients::read(problems, file.entry("clients"));
    let longest = clients::staged(&drafts);
    let default_duration = if longest.is_zero() {
        DEFAULT_DURATION.to_owned()
    } else {
        humantime::format_duration(longest)
            .to_string()
            .replace(' ', "")
    };

    let empty = Table::default();
    let target = section(problems, &mut file, &empty, "target", read_target);
    let run = section(problems, &mut file, &empty, "run", |section| {
        read_run(section, &default_duration)
    });
    let promises = section(problems, &mut file, &empty, "verify", read_promises);
    let thresholds = section(problems, &mut file, &empty, "thresholds", threshold::read);

    checks::check(problems, &drafts, &run, &thresholds);
    file.resolve("clients", clients);
    Plan {
        name: name.to_owned(),
        description,
        seed,
        target,
        groups: drafts.into_iter().map(|draft| draft.finish(&run)).collect(),
        run,
        promises,
        thresholds: thresholds
            .into_iter()
            .map(|(threshold, _)| threshold)
            .collect(),
        resolved: file.into_resolved(),
        warnings: Diagnostics::default(),
    }
}

/// Reads section `name`; one that is absent is one of defaults alone.
fn section<'a, T>(
    problems: &'a Problems,
    file: &mut Section<'a>,
    empty: &'a Table,
    name: &str,
    read: impl FnOnce(&mut Section<'a>) -> T,
) -> T {
    let known = keys_of(name);
    let mut section = file
        .entry(name)
        .and_then(|entry| Section::open_entry(problems, name, entry, known))
        .unwrap_or_else(|| Section::open(problems, name, &(0..0), empty, known));
    let value = read(&mut section);
    file.resolve(name, section.into_resolved());
    value
}

fn read_target(section: &mut Section<'_>) -> Target {
    let url = section.value("url", target_url, "embedded");
    let addresses = read_addresses(section, &url);
    let faults = read_faults(section, &url);
    Target {
        url,
        addresses,
        faults,
        connect_timeout: section.value("connect_timeout", some_time, "5s"),
    }
}

/// On how many addresses the embedded server listens. Another's are in its URL.
fn read_addresses(section: &mut Section<'_>, url: &TargetUrl) -> u8 {
    let addresses = section.value("addresses", whole(1..=254), 1);
    if let Some(entry) = section.entry("addresses")
        && addresses > 1
        && *url != TargetUrl::Embedded
    {
        let title = "`target.addresses`: only the embedded server listens where it is told to";
        section.problem(
            Diagnostic::error(title)
                .at(&entry.node.span, "this target is another's")
                .help("its addresses go into its url: \"ndjson://127.0.0.1-127.0.0.8:PORT\""),
        );
    }
    addresses
}

fn read_faults(section: &mut Section<'_>, url: &TargetUrl) -> Vec<String> {
    let mut faults = Vec::new();
    for (path, node) in section.elements("faults") {
        match string(node) {
            Ok(fault) => {
                if let Err(wrong) = fault.parse::<Request>() {
                    let title = format!("`{path}`: {wrong}");
                    section.problem(Diagnostic::error(title).at(&node.span, "not understood"));
                }
                faults.push(fault);
            }
            Err(expected) => section.problem(mismatch(&path, node, &expected)),
        }
    }
    section.resolve("faults", faults.clone().into());
    if let Some(entry) = section.entry("faults")
        && !faults.is_empty()
        && *url != TargetUrl::Embedded
    {
        let title = "`target.faults`: only the embedded server commits faults";
        section.problem(Diagnostic::error(title).at(&entry.node.span, "this target is another's"));
    }
    faults
}

fn target_url(node: &Node) -> Result<TargetUrl, Expected> {
    let Value::String(url) = &node.value else {
        return Err("a url".into());
    };
    if url == "embedded" {
        return Ok(TargetUrl::Embedded);
    }
    let Some((scheme, address)) = url.split_once("://") else {
        let meant = nearest(url, ["embedded"]).map(|meant| format!("did you mean {meant:?}?"));
        return Err(Expected {
            what: "\"embedded\" or \"ndjson://HOST:PORT\"".to_owned(),
            help: meant.or_else(|| Some(format!("did you mean \"ndjson://{url}\"?"))),
        });
    };
    match scheme {
        "ndjson" => match addresses::expand(address, 1) {
            Ok(_) => Ok(TargetUrl::Ndjson(address.to_owned())),
            Err(wrong) => Err(Expected {
                what: "\"ndjson://HOST:PORT\", or several: \"ndjson://A-B:PORT\"".to_owned(),
                help: Some(wrong.to_string()),
            }),
        },
        later if LATER_SCHEMES.contains(&later) => Err(Expected {
            what: format!("a target that this version drives: {later}:// comes with a later one"),
            help: Some(SUPPORTED_URLS.to_owned()),
        }),
        _ => Err(Expected {
            what: format!("a scheme that chatbench knows, not {scheme}://"),
            help: Some(SUPPORTED_URLS.to_owned()),
        }),
    }
}

fn read_run(section: &mut Section<'_>, default_duration: &str) -> Run {
    Run {
        warmup: section.value("warmup", duration, "1s"),
        duration: section.value("duration", some_time, default_duration),
        drain: section.value("drain", duration, "5s"),
        connect_rate: section.value("connect_rate", rate, 1000),
        observers: section.value("observers", whole(0..=1_000), 1),
        shards: section.optional("shards", whole(1..=1_024)),
    }
}

fn read_promises(section: &mut Section<'_>) -> Promises {
    Promises {
        ack: promise(
            section,
            "ack",
            &[
                ("exactly-once", AckPromise::ExactlyOnce),
                ("none", AckPromise::None),
            ],
        ),
        relay: promise(
            section,
            "relay",
            &[
                ("exactly-once", RelayPromise::ExactlyOnce),
                ("at-least-once", RelayPromise::AtLeastOnce),
                ("at-most-once", RelayPromise::AtMostOnce),
            ],
        ),
        order: promise(
            section,
            "order",
            &[
                ("total", OrderPromise::Total),
                ("causal", OrderPromise::Causal),
                ("fifo", OrderPromise::Fifo),
                ("none", OrderPromise::None),
            ],
        ),
        echo: flag(section, "echo", false),
        use_seq: flag(section, "use_seq", true),
        late_after: section.value("late_after", duration_or_none, "5s"),
    }
}

/// A promise of the target. The first of `choices` is what an ndjson target promises.
fn promise<T: Copy + PartialEq>(section: &mut Section<'_>, key: &str, choices: &[(&str, T)]) -> T {
    let (word, promised) = choices[0];
    let value = section.value(key, choice(choices), word);
    only_promise(section, key, value == promised, &one_of([word]));
    value
}

fn flag(section: &mut Section<'_>, key: &str, promised: bool) -> bool {
    let value = section.value(key, boolean, promised);
    only_promise(section, key, value == promised, &promised.to_string());
    value
}

/// This version's verifier judges an ndjson target by the numbers it states, and checks nothing
/// weaker: a scenario that asks for it must not be told that it was checked.
fn only_promise(section: &Section<'_>, key: &str, kept: bool, promise: &str) {
    if let Some(entry) = section.entry(key).filter(|_| !kept) {
        let title = format!(
            "`{}`: only {promise} can be verified for now",
            section.path_of(key)
        );
        section.problem(
            Diagnostic::error(title)
                .at(&entry.node.span, "not yet")
                .help("an ndjson target is judged by the numbers it states; leave the key out"),
        );
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn urls_name_a_target_that_can_be_driven() {
        let read = |url: &str| target_url(&Node::from(json!(url)));
        for address in [
            "127.0.0.1:1253",
            "[::1]:1253",
            "chat.example.org:80",
            "127.0.0.1-127.0.0.8:80",
            "a:1,b:2",
        ] {
            let url = format!("ndjson://{address}");
            assert_eq!(read(&url), Ok(TargetUrl::Ndjson(address.to_owned())));
        }
        assert_eq!(read("embedded"), Ok(TargetUrl::Embedded));
        for wrong in [
            "",
            "embeded",
            "127.0.0.1:1253",
            "ndjson://",
            "ndjson://:1253",
            "ndjson://127.0.0.1",
            "ndjson://127.0.0.1:",
            "ndjson://127.0.0.1:0",
            "ndjson://127.0.0.1:65536",
            "ndjson://::1:1253",
            "ndjson://[::1:1253",
            "ndjson://[nonsense]:1253",
            "ndjson://a b:1",
            "ndjson://user@host:1",
            "ndjson://127.0.0.8-127.0.0.1:1",
            "ndjson://a:1,b",
            "http://127.0.0.1:80",
        ] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
        for later in LATER_SCHEMES {
            let expected = read(&format!("{later}://127.0.0.1:1")).unwrap_err();
            assert!(expected.what.contains("later"), "{}", expected.what);
            assert_eq!(expected.help.as_deref(), Some(SUPPORTED_URLS));
        }
    }
}
