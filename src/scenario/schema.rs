//! The scenario's sections, one function each, and the plan they make.

use super::addresses::BadUrl;
use super::checks;
use super::clients;
use super::diagnostic::{Diagnostic, Diagnostics, nearest};
use super::membership;
use super::pinned;
use super::plan::{OBSERVERS, Plan, Run, Target, TargetUrl};
use super::promises;
use super::protocol::url::{DescribedUrl, Scheme};
use super::protocol::{self, Around, Inputs};
use super::section::{Expected, Problems, Section, keys_of, mismatch};
use super::threshold;
use super::tls;
use super::tree::{Node, Table, Value};
use super::value::{MAX_DURATION, connect_rate, duration, some_time, string, whole};
use crate::server::fault::request::{self, Request};
use crate::wire::protocol::Protocol;
use crate::wire::protocol::Spoken;

/// The phases' length where neither the file nor a stage says any.
const DEFAULT_DURATION: &str = "10s";

/// URLs of which this version drives the target.
const SUPPORTED_URLS: &str = "this version drives \"embedded\", \"embedded+classic\", \
                              \"embedded+ws\", \"ndjson://HOST:PORT\", \
                              \"classic://HOST:PORT\" and \"ws://HOST:PORT/PATH\", and these over \
                              TLS: \"ndjson+tls://\", \"classic+tls://\" and \"wss://\"; and \
                              \"nats://\", \"tls+nats://\", \"redis://\" and \"rediss://\"";

/// Kinds of target that later versions drive.
const LATER_SCHEMES: [&str; 1] = ["mqtt"];

/// The names for the reference server as a child process, each with the protocol of its clients.
const EMBEDDED: [(&str, Protocol); 3] = [
    ("embedded", Protocol::Ndjson),
    ("embedded+classic", Protocol::Classic),
    ("embedded+ws", Protocol::WebSocket),
];

/// Reads the whole scenario. The plan is sound if no error was noted on the way.
pub(super) fn read(problems: &Problems, name: &str, root: &Table, inputs: &Inputs) -> Plan {
    let mut file = Section::open(problems, "", &(0..0), root, keys_of(""));
    let description = file.optional("description", string);
    let seed = file.value("seed", whole(0..=u64::MAX), 1);

    let (mut drafts, clients) = clients::read(problems, file.entry("clients"));
    let asks = clients::number_asks(&mut drafts);
    let longest = clients::staged(&drafts).min(MAX_DURATION);
    let default_duration = if longest.is_zero() {
        DEFAULT_DURATION.to_owned()
    } else {
        humantime::format_duration(longest)
            .to_string()
            .replace(' ', "")
    };

    let empty = Table::default();
    let is_described = file.entry("protocol").is_some();
    let mut target = section(problems, &mut file, &empty, "target", |section| {
        read_target(section, is_described)
    });
    let run = section(problems, &mut file, &empty, "run", |section| {
        // Observers are in no room, so where the URL names one there are none.
        let observers = u32::from(!target.url.path().contains("{room}"));
        read_run(section, &default_duration, observers)
    });
    let clients_in_all = drafts
        .iter()
        .map(|draft| u64::from(draft.count))
        .sum::<u64>();
    let around = Around {
        url: &target.url,
        url_span: promises::entry(&file, "target", "url")
            .map_or(0..0, |entry| entry.node.span.clone()),
        clients: clients_in_all + u64::from(run.observers),
        asks: &asks,
    };
    if let Some(spoken) = protocol::read(problems, &mut file, inputs, &around) {
        if let Spoken::Application(spec) = &spoken {
            protocol::check(problems, &file, &drafts, &run, spec);
        }
        target.spoken = spoken;
    }
    if let (false, Some(ask)) = (is_described, asks.first()) {
        let title = format!("`{}`: only of a target with a [protocol]", ask.path);
        let error = Diagnostic::error(title).at(&ask.span, "a message of an application");
        problems.push(error.help("send_raw sends bytes as they stand, to any target"));
    }
    let (promises, late) = section(problems, &mut file, &empty, "verify", |section| {
        let promises = promises::read(section, &target.spoken);
        (promises, promises::read_late(section))
    });
    let observers = (run.observers > 0).then_some(OBSERVERS);
    let groups = Vec::from_iter(
        drafts
            .iter()
            .map(|draft| draft.name.as_str())
            .chain(observers),
    );
    let thresholds = section(problems, &mut file, &empty, "thresholds", |section| {
        threshold::read(section, &groups)
    });

    checks::check(problems, &drafts, &run, &thresholds);
    checks::claims(problems, &drafts, &run, &target.spoken);
    let rooms = membership::check(problems, &drafts, &target.spoken);
    membership::thresholds(problems, &thresholds, &rooms);
    match &target.spoken {
        Spoken::Nats(settings) => {
            protocol::nats::check(problems, &file, &drafts, &rooms, settings);
        }
        Spoken::Redis(settings) => {
            protocol::redis::check(problems, &file, &drafts, &rooms, settings);
        }
        Spoken::Own(_) | Spoken::Application(_) => {}
    }
    promises::check(
        problems,
        &file,
        &drafts,
        &rooms,
        &target.spoken,
        &promises,
        &thresholds,
    );
    checks::something_to_verify(problems, &drafts, &thresholds);
    let asked = promises::entry(&file, "run", "shards").map(|entry| entry.node.span.clone());
    file.resolve("clients", clients);
    let spans: Vec<_> = drafts.iter().map(|draft| draft.span.clone()).collect();
    let groups: Vec<_> = drafts
        .into_iter()
        .map(|draft| draft.finish(&run, &rooms))
        .collect();
    checks::each_group_sends(problems, &groups, &spans, &run);
    let plan = Plan {
        name: name.to_owned(),
        description,
        seed,
        target,
        groups,
        rooms,
        run,
        promises,
        late,
        thresholds: thresholds
            .into_iter()
            .map(|(threshold, _)| threshold)
            .collect(),
        resolved: file.into_resolved(),
        warnings: Diagnostics::default(),
    };
    if !problems.has_errors() && !plan.rooms.is_empty() {
        membership::members(problems, &plan, &spans);
        pinned::check(problems, &plan, asked.as_ref());
    }
    plan
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

fn read_target(section: &mut Section<'_>, is_described: bool) -> Target {
    let url = section.value("url", |node| target_url(node, is_described), "embedded");
    let addresses = read_addresses(section, &url);
    let faults = read_faults(section, &url);
    Target {
        spoken: url.protocol().into(),
        tls: tls::read(section, &url),
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
        && !url.is_embedded()
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
                let dialect = [url.protocol().dialect()];
                let wrong = match fault.parse::<Request>() {
                    Ok(asked) => request::check(&[asked], &dialect)
                        .err()
                        .map(|wrong| (wrong.to_string(), "not by this target")),
                    Err(wrong) => Some((wrong.to_string(), "not understood")),
                };
                if let Some((wrong, label)) = wrong {
                    let title = format!("`{path}`: {wrong}");
                    section.problem(Diagnostic::error(title).at(&node.span, label));
                }
                faults.push(fault);
            }
            Err(expected) => section.problem(mismatch(&path, node, &expected)),
        }
    }
    section.resolve("faults", faults.clone().into());
    let why_not = match url {
        _ if faults.is_empty() => None,
        TargetUrl::Embedded(_) => None,
        TargetUrl::At(_) | TargetUrl::Described(_) => Some((
            "`target.faults`: only the embedded server commits faults",
            "this target is another's",
        )),
    };
    if let (Some((title, label)), Some(entry)) = (why_not, section.entry("faults")) {
        section.problem(Diagnostic::error(title).at(&entry.node.span, label));
    }
    faults
}

fn target_url(node: &Node, is_described: bool) -> Result<TargetUrl, Expected> {
    let Value::String(url) = &node.value else {
        return Err("a url".into());
    };
    let described = Scheme::of(url).filter(|scheme| is_described || scheme.is_system());
    if let Some(scheme) = described {
        return DescribedUrl::parse(scheme, url)
            .map(TargetUrl::Described)
            .map_err(|wrong| Expected {
                what: format!("\"{}://HOST:PORT\"", scheme.name()),
                help: Some(wrong),
            });
    }
    if let Some((_, protocol)) = EMBEDDED.iter().find(|(name, _)| name == url) {
        return Ok(TargetUrl::Embedded(*protocol));
    }
    let scheme = url.split_once("://").map(|(scheme, _)| scheme);
    if scheme.is_none() && !url.contains(':') {
        // A bare word is no host here: it is more likely a misspelt `embedded`.
        let names = EMBEDDED.map(|(name, _)| name);
        let meant = nearest(url, names).map(|meant| format!("did you mean {meant:?}?"));
        return Err(Expected {
            what: "\"embedded\" or \"ndjson://HOST:PORT\"".to_owned(),
            help: meant.or_else(|| Some(format!("did you mean \"ndjson://{url}\"?"))),
        });
    }
    let (what, help) = match url.parse() {
        Ok(url) => return Ok(TargetUrl::At(url)),
        Err(BadUrl::Scheme(scheme))
            if [Scheme::Tcp, Scheme::Tls]
                .iter()
                .any(|described| scheme == described.name()) =>
        {
            (
                format!("a [protocol] that says how the application at {scheme}:// talks"),
                "[protocol] publish = \"say {payload}\" is the least of it, or preset = \"irc\"; \
                 without a file, --publish TEMPLATE or --protocol PRESET"
                    .to_owned(),
            )
        }
        Err(BadUrl::Scheme(later)) if LATER_SCHEMES.contains(&later.as_str()) => (
            format!("a target that this version drives: {later}:// is not supported yet"),
            SUPPORTED_URLS.to_owned(),
        ),
        Err(BadUrl::Scheme(scheme)) => (
            format!("a scheme that chatbench knows, not {scheme}://"),
            SUPPORTED_URLS.to_owned(),
        ),
        Err(wrong) => {
            let scheme = scheme.unwrap_or("ndjson");
            (
                format!("\"{scheme}://HOST:PORT\", or several: \"{scheme}://A-B:PORT\""),
                wrong.to_string(),
            )
        }
    };
    Err(Expected {
        what,
        help: Some(help),
    })
}

fn read_run(section: &mut Section<'_>, default_duration: &str, observers: u32) -> Run {
    Run {
        warmup: section.value("warmup", duration, "1s"),
        duration: section.value("duration", some_time, default_duration),
        drain: section.value("drain", duration, "5s"),
        connect_rate: section.value("connect_rate", connect_rate, 1000),
        observers: section.value("observers", whole(0..=1_000), observers),
        shards: section.optional("shards", whole(1..=1_024)),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn urls_name_a_target_that_can_be_driven() {
        let read = |url: &str| target_url(&Node::from(json!(url)), false);
        for address in [
            "127.0.0.1:1253",
            "[::1]:1253",
            "chat.example.org:80",
            "chat.example.org",
            "127.0.0.1-127.0.0.8:80",
            "a:1,b:2",
        ] {
            for protocol in Protocol::ALL {
                for url in [
                    format!("{protocol}://{address}"),
                    format!("{protocol}://{address}/"),
                ] {
                    let expected = TargetUrl::At(url.parse().unwrap());
                    assert_eq!(read(&url), Ok(expected));
                }
            }
        }
        for (name, protocol) in EMBEDDED {
            assert_eq!(read(name), Ok(TargetUrl::Embedded(protocol)));
        }
        for wrong in [
            "",
            "embeded",
            "embedded+ndjson",
            "classic://127.0.0.1:0",
            "localhost",
            "ndjson://",
            "ndjson://:1253",
            "ndjson://127.0.0.1:",
            "ndjson://127.0.0.1:0",
            "ndjson://127.0.0.1:65536",
            "ndjson://::1:1253",
            "ndjson://[::1:1253",
            "ndjson://[nonsense]:1253",
            "ndjson://a b:1",
            "ndjson://user@host:1",
            "ndjson://127.0.0.8-127.0.0.1:1",
            "ndjson://a:1,",
            "http://127.0.0.1:80",
            "ws://",
            "ws://127.0.0.1:0/chat",
            "ws://127.0.0.1:80/a b",
            "ws://127.0.0.1:80/#room",
        ] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
        for later in LATER_SCHEMES {
            let expected = read(&format!("{later}://127.0.0.1:1")).unwrap_err();
            assert!(
                expected.what.contains("not supported yet"),
                "{}",
                expected.what
            );
            assert_eq!(expected.help.as_deref(), Some(SUPPORTED_URLS));
        }
    }
}
