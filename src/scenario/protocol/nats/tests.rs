use std::path::PathBuf;

use super::*;
use crate::scenario;
use crate::scenario::plan::{AckPromise, OrderPromise, Plan};
use crate::wire::naming::Naming;
use crate::wire::protocol::Spoken;

const TARGET: &str = "[target]\nurl = \"nats://127.0.0.1:4222\"\n";
const CLIENTS: &str = "[clients.people]\ncount = 2\nrate = 10\n";

fn parse(text: &str) -> Result<Plan, String> {
    scenario::parse("case.toml", text, &[], None, None).map_err(|errors| errors.to_string())
}

fn settings(protocol: &str) -> Settings {
    let plan = parse(&format!("{TARGET}{protocol}\n{CLIENTS}")).unwrap();
    match &plan.target.spoken {
        Spoken::Nats(settings) => (**settings).clone(),
        other => panic!("{other}"),
    }
}

#[test]
fn without_a_section_a_nats_target_has_its_defaults_and_promises_what_nats_does() {
    let plan = parse(&format!("{TARGET}{CLIENTS}")).unwrap();
    let Spoken::Nats(settings) = &plan.target.spoken else {
        panic!("{}", plan.target.spoken)
    };
    assert_eq!(
        **settings,
        Settings {
            subject: Naming::parse("{room}").unwrap(),
            echo: false,
            ack: Ack::Flush,
            logins: Vec::new(),
            tls: false
        }
    );
    let promises = plan.promises;
    assert_eq!(promises.ack, AckPromise::ExactlyOnce);
    assert_eq!(promises.order, OrderPromise::Fifo);
    assert!(!promises.echo && !promises.use_seq);
    let text = format!("{TARGET}[protocol]\necho = true\nack = \"none\"\n{CLIENTS}");
    let promises = parse(&text).unwrap().promises;
    assert!(promises.echo);
    assert_eq!(promises.ack, AckPromise::None);
}

#[test]
fn clients_show_who_they_are_by_variables_or_each_by_its_row() {
    let vars = "[protocol.vars]\nuser = \"ann\"\npassword = \"s3cret\"";
    let one = settings(vars);
    assert_eq!(one.logins.len(), 1);
    assert_eq!(one.login(5).unwrap().user.as_deref(), Some("ann"));
    assert_eq!(one.login(5).unwrap().password.as_deref(), Some("s3cret"));
    assert!(!format!("{one:?}").contains("s3cret"));
    let plan = parse(&format!("{TARGET}{vars}\n{CLIENTS}")).unwrap();
    assert!(!plan.resolved.to_string().contains("s3cret"));

    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("u.csv"), "token\na\nb\nc\n").unwrap();
    let path: PathBuf = folder.path().join("case.toml");
    let text = format!("{TARGET}[protocol]\nusers = \"u.csv\"\n{CLIENTS}");
    std::fs::write(&path, text).unwrap();
    let plan = scenario::load(&path, &scenario::Options::default()).unwrap();
    let Spoken::Nats(settings) = &plan.target.spoken else {
        panic!("{}", plan.target.spoken)
    };
    let token = |nth| settings.login(nth).unwrap().token.clone().unwrap();
    assert_eq!(
        [token(0), token(1), token(2)].map(String::from),
        ["a", "b", "c"]
    );
}

#[test]
fn what_makes_no_sense_is_said_at_its_place() {
    for (text, expected) in [
        (
            format!("{TARGET}[protocol]\npublish = \"x\"\n{CLIENTS}"),
            "`protocol.publish`: belongs to targets at ws://",
        ),
        (
            format!("{TARGET}[protocol]\nsubject = \"chat.{{rom}}\"\n{CLIENTS}"),
            "{rom} is no known name",
        ),
        (
            format!("{TARGET}[protocol]\nsubject = \"chat\"\n{CLIENTS}rooms = 2\n"),
            "`protocol.subject`: does not say in which room",
        ),
        (
            format!("{TARGET}[protocol]\nsubject = \"a b\"\n{CLIENTS}"),
            "its subject would be \"a b\", and a subject has no spaces",
        ),
        (
            format!("{TARGET}{CLIENTS}rooms = {{ names = [\"the lobby\"] }}\n"),
            "room \"the lobby\": its subject would be \"the lobby\", and a subject has no spaces",
        ),
        (
            format!("{TARGET}{CLIENTS}rooms = {{ names = [\"a..b\"] }}\n"),
            "a subject has no empty part between its dots",
        ),
        (
            format!("{TARGET}{CLIENTS}rooms = 2\n[clients.others]\ncount = 1\nrate = 1\n"),
            "`clients.others`: is in no room, and others are",
        ),
        (
            format!("{TARGET}[protocol.vars]\nname = \"ann\"\n{CLIENTS}"),
            "nothing of these variables says who a client is",
        ),
        (
            format!("{TARGET}[protocol.vars]\nnkey = \"SUAAA\"\n{CLIENTS}"),
            "the nkey is no seed",
        ),
        (
            format!("{TARGET}[protocol]\nack = \"next\"\n{CLIENTS}"),
            "`protocol.ack`",
        ),
        (
            format!("[target]\nurl = \"nats://ann:pw@127.0.0.1\"\n{CLIENTS}"),
            "a user and a password do not belong into a URL",
        ),
        (
            format!(
                "[target]\nurl = \"ws://h/\"\n[protocol]\npublish = \"{{payload}}\"\nsubject = \"a\"\n{CLIENTS}"
            ),
            "`protocol.subject`: belongs to targets at nats://",
        ),
    ] {
        let wrong = parse(&text).unwrap_err();
        assert!(wrong.contains(expected), "{text}\n{wrong}");
    }
}
