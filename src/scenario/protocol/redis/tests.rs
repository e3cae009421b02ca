use super::*;
use crate::scenario;
use crate::scenario::plan::{AckPromise, OrderPromise, Plan};
use crate::wire::naming::Naming;
use crate::wire::protocol::Spoken;

const TARGET: &str = "[target]\nurl = \"redis://127.0.0.1\"\n";
const CLIENTS: &str = "[clients.people]\ncount = 2\nrate = 10\n";

fn parse(text: &str) -> Result<Plan, String> {
    scenario::parse("case.toml", text, &[], None, None).map_err(|errors| errors.to_string())
}

#[test]
fn a_redis_target_promises_one_order_and_sends_echoes() {
    let plan = parse(&format!("{TARGET}{CLIENTS}")).unwrap();
    assert_eq!(plan.promises.ack, AckPromise::ExactlyOnce);
    assert_eq!(plan.promises.order, OrderPromise::Total);
    assert!(plan.promises.echo && !plan.promises.use_seq);
    let protocol = "[protocol]\nchannel = \"chat:{room}\"\nsharded = true\n\
                    [protocol.vars]\nuser = \"ann\"\npassword = \"s3cret\"\n";
    let plan = parse(&format!("{TARGET}{protocol}{CLIENTS}rooms = 2\n")).unwrap();
    let Spoken::Redis(settings) = &plan.target.spoken else {
        panic!("{}", plan.target.spoken)
    };
    let login = Login {
        user: Some("ann".into()),
        password: "s3cret".into(),
    };
    assert_eq!(
        **settings,
        Settings {
            channel: Naming::parse("chat:{room}").unwrap(),
            sharded: true,
            logins: vec![login]
        }
    );
    assert!(!plan.resolved.to_string().contains("s3cret"));
}

#[test]
fn what_makes_no_sense_is_said_at_its_place() {
    for (text, expected) in [
        (
            format!("{TARGET}[protocol]\nsubject = \"x\"\n{CLIENTS}"),
            "`protocol.subject`: belongs to targets at nats://",
        ),
        (
            format!("[target]\nurl = \"nats://h\"\n[protocol]\nsharded = true\n{CLIENTS}"),
            "`protocol.sharded`: belongs to targets at redis://",
        ),
        (
            format!("{TARGET}[protocol]\nchannel = \"chat\"\n{CLIENTS}rooms = 2\n"),
            "`protocol.channel`: does not say in which room",
        ),
        (
            format!("{TARGET}[protocol.vars]\nuser = \"ann\"\n{CLIENTS}"),
            "`protocol`: a user has a password",
        ),
        (
            format!("{TARGET}[verify]\necho = false\nack = \"echo\"\n{CLIENTS}"),
            "`verify.echo`",
        ),
    ] {
        let wrong = parse(&text).unwrap_err();
        assert!(wrong.contains(expected), "{text}\n{wrong}");
    }
}
