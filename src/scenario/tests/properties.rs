//! No text and no value panics, and what a plan was resolved to reads back as that plan.

use proptest::prelude::*;

use super::*;

/// A value for a key, right or wrong.
fn value() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("\"1s\"".to_owned()),
        Just("\"forever\"".to_owned()),
        Just("\"poisson\"".to_owned()),
        Just("[]".to_owned()),
        Just("{}".to_owned()),
        Just("[{ publish = { count = 2 } }, { pause = \"1ms\" }]".to_owned()),
        Just("[{ duration = \"1s\", rate = 5.5 }]".to_owned()),
        Just("{ size = 100 }".to_owned()),
        Just("{ count = 9, each = 2 }".to_owned()),
        Just("['lobby', 'x']".to_owned()),
        Just("{ min = \"1KiB\", max = 2048 }".to_owned()),
        Just("[\"p99 < 1s\"]".to_owned()),
        Just("[\"sent > 1\"]".to_owned()),
        (-5i64..5_000).prop_map(|n| n.to_string()),
        (-1.0..1e6f64).prop_map(|x| format!("{x:?}")),
        any::<bool>().prop_map(|b| b.to_string()),
    ]
}

/// Settings that make a valid scenario of `[clients.talkers]`.
fn valid_settings() -> impl Strategy<Value = Vec<String>> {
    let text = |texts: &'static [&'static str]| prop::sample::select(texts).prop_map(str::to_owned);
    let load = prop_oneof![
        Just(String::new()),
        (0.001..1e6f64).prop_map(|rate| format!("rate={rate:?}")),
        (1..100_000u32).prop_map(|rate| format!("rate={rate}")),
        (1..1_000u32).prop_map(|n| format!("in_flight={n}")),
        text(&[
            "stages=[{ duration = '1s', rate = 5 }, { duration = '0s', rate = 0 }]",
            "stages=[{ duration = '1h 5m', rate = 0.5 }]",
            "script=[]",
            "script=[{ connect = {} }, { publish = {} }, { disconnect = 'abort' }]",
            "script=[{ pause = '1s' }, { send_raw = { hex = 'ff00', every = '1ms' } }, { expect_error = { code = 'malformed' } }]",
            "script=[{ join = 'x' }, { publish = { room = 'x' } }, { publish = {} }, { leave = 'x' }]",
            "script=[{ await_acks = {} }, { stop_reading = '1s' }, { pause = { min = '1ms', max = '1s' } }]",
        ]),
    ];
    let other = text(&[
        "run.warmup=0s",
        "run.duration=1m30s",
        "run.drain=250ms",
        "run.connect_rate=0.5",
        "run.observers=0",
        "run.shards=1",
        "seed=18446744073709551615",
        "description=a \"quoted\" why",
        "target.url=ndjson://[::1]:1253",
        "target.url=embedded",
        "target.connect_timeout=10s",
        "verify.late_after=none",
        "verify.order=total",
        "verify.use_seq=false",
        "verify={ use_seq = false, ack = 'exactly-once', relay = 'at-least-once', order = 'fifo', echo = true }",
        "thresholds.relay=['p99.9 < 1s', 'max<1m']",
        "thresholds.rates=['sent > 1.5']",
        "clients.talkers.count=17",
        "clients.talkers.rooms=17",
        "clients.talkers.rooms={ count = 5, each = 2, pick = 'zipf' }",
        "clients.talkers.rooms={ names = ['a \"b\\u00e4', 'room-1'] }",
        "clients.talkers.payload={ min = '1KiB', max = 2048 }",
    ]);
    (load, prop::collection::vec(other, 0..6)).prop_map(|(load, mut settings)| {
        if !load.is_empty() {
            settings.push(format!("clients.talkers.{load}"));
        }
        settings
    })
}

fn check_settings(settings: &[String]) -> Result<Plan, Diagnostics> {
    parse("case.toml", "[clients.talkers]", settings, None, None)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn no_text_panics(text in "[ -~\n\u{e4}\u{1f600}]{0,80}", argument in "[ -~\u{e4}]{0,30}") {
        let _ = check(&text, &[&argument]).map_err(|errors| errors.to_string());
        let _ = check(TWO_GROUPS, &[&argument]).map_err(|errors| errors.to_string());
    }

    #[test]
    fn no_value_of_a_key_panics_and_errors_are_shown(
        keys in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), value()), 1..6),
    ) {
        let settings: Vec<String> = keys.iter().map(|(section, key, value)| {
            let (section, keys) = section.get(&section::KEYS);
            let key = key.get(keys);
            match section.replace('*', "talkers").as_str() {
                "" => format!("{key}={value}"),
                section => format!("{section}.{key}={value}"),
            }
        }).collect();
        if let Err(errors) = check_settings(&settings) {
            prop_assert!(errors.has_errors() && !errors.to_string().is_empty());
        }
    }

    #[test]
    fn what_is_resolved_reads_back_as_the_same_plan(settings in valid_settings()) {
        let plan = check_settings(&settings).map_err(|e| TestCaseError::fail(e.to_string()))?;
        let text = toml::to_string(&plan.resolved).unwrap();
        let again = check(&text, &[]).map_err(|e| TestCaseError::fail(format!("{text}\n{e}")))?;
        prop_assert_eq!(&again.resolved, &plan.resolved);
        prop_assert_eq!(format!("{:?}", again.run), format!("{:?}", plan.run));
        prop_assert_eq!(format!("{:?}", again.target), format!("{:?}", plan.target));
        prop_assert_eq!(format!("{:?}", again.groups), format!("{:?}", plan.groups));
        prop_assert_eq!(
            again.rooms.iter().collect::<Vec<_>>(),
            plan.rooms.iter().collect::<Vec<_>>()
        );
        prop_assert_eq!(again.promises, plan.promises);
        prop_assert_eq!(again.thresholds, plan.thresholds);
    }
}
