//! What the command line sets is over what the file says.

use super::*;

#[test]
fn the_command_line_sets_any_key() {
    let plan = check(
        TWO_GROUPS,
        &[
            "clients.talkers.rate=50",
            "run.duration=2s",
            "clients.guests.script.0.publish.count=7",
            "clients.guests.script.1={ stop_reading = \"2s\" }",
            "clients.talkers.payload={ size = 100 }",
            "thresholds.ack=[\"p99 < 1s\"]",
            "target.url=ndjson://127.0.0.1:7",
            "clients.talkers.rate=60",
            "description = two words",
        ],
    )
    .unwrap();
    let Load::Open { profile, .. } = &plan.groups[0].load else {
        panic!("{:?}", plan.groups[0].load);
    };
    assert_eq!(profile.messages(), 180.0); // the last --set of a key holds
    assert_eq!(plan.groups[0].payload.max, 100);
    let Load::Script { steps, .. } = &plan.groups[1].load else {
        panic!("{:?}", plan.groups[1].load);
    };
    assert!(matches!(steps[1], Step::Publish { count: 7, .. }));
    assert_eq!(steps[2], Step::StopReading(Duration::from_secs(2)));
    assert_eq!(plan.thresholds.len(), 1);
    assert_eq!(
        plan.target.url,
        TargetUrl::At("ndjson://127.0.0.1:7".parse().unwrap())
    );
    assert_eq!(plan.resolved["clients"]["talkers"]["rate"], 60);
}

#[test]
fn seed_and_target_options_are_over_everything() {
    let overrides = ["seed=5".to_owned(), "target.url=embedded".to_owned()];
    let url = "ndjson://127.0.0.1:7";
    let plan = parse("a.toml", TWO_GROUPS, &overrides, Some(9), Some(url)).unwrap();
    assert_eq!(plan.seed, 9);
    assert_eq!(plan.resolved["seed"], 9);
    assert_eq!(
        plan.target.url,
        TargetUrl::At("ndjson://127.0.0.1:7".parse().unwrap())
    );
    let errors = parse("a.toml", TWO_GROUPS, &[], None, Some("mqtt://x")).unwrap_err();
    let error = errors.iter().next().unwrap();
    let position = errors.position(error).unwrap();
    assert_eq!(position.source, "command line");
    assert!(error.title().contains("mqtt:// is not supported yet"));
}

#[test]
fn an_override_is_wrong_at_its_own_place() {
    for (argument, expected) in [
        ("rate", "1:7 expected PATH=VALUE"),
        ("=5", "1:7 expected a path such as"),
        ("run..x=5", "1:7 expected a path such as"),
        ("run\n.duration=5", "1:7 expected a path such as"),
        (
            "clients.talkrs.rate=5",
            "1:15 `clients.talkrs`: the file has no such group",
        ),
        (
            "clients.new=5",
            "1:15 `clients.new`: the file has no such group",
        ),
        (
            "clients.talkers.rte=5",
            "1:23 `clients.talkers.rte`: no such key",
        ),
        ("run.durration=5s", "1:11 `run.durration`: no such key"),
        ("rum.duration=5s", "1:7 `rum`: no such key"),
        ("run.duration=5", "1:20 `run.duration`: expected a duration"),
        ("run.duration=", "1:20 `run.duration`: expected a duration"),
        (
            "clients.talkers.rate.x=5",
            "1:28 `clients.talkers.rate` holds no keys: it is the number 5",
        ),
        (
            "clients.guests.script.9={}",
            "1:29 expected an index below 2",
        ),
        (
            "clients.guests.script.x.pause=1s",
            "1:29 expected an index below 2",
        ),
        ("clients.talkers.payload={ size = 5", "1:41 not TOML"),
        ("clients.talkers.rate=[1,", "1:31 not TOML"),
        (
            "clients.talkers.in_flight=5",
            "1:23 `clients.talkers`: `rate` and `in_flight` exclude",
        ),
    ] {
        let diagnostics = check(TWO_GROUPS, &[argument]).expect_err(argument);
        let shown = shown(&diagnostics);
        assert!(
            shown[0].starts_with(expected),
            "{argument}: {shown:?}, not {expected}"
        );
        let first = diagnostics.iter().next().unwrap();
        assert_eq!(diagnostics.position(first).unwrap().source, "command line");
    }
}
