//! Whole runs in virtual time over a simulated network: what `examples/simulate` does for as long
//! as it is told, for a few hundred seeds; and that it would say so if something were wrong.

#[path = "../examples/simulate/simulation/mod.rs"]
mod simulation;

use std::ops::Range;
use std::thread;

use assert_cmd::Command;
use chatbench::server::fault::catalogue::Fault;
use chatbench::verify::kind::Kind;
use simulation::case::{Case, Event};
use simulation::run::{Ran, carry_out, record};
use simulation::{expected, simulate};

/// All that a run comes to, but for what the machine it ran on has to do with.
fn fingerprint(ran: &Ran) -> String {
    let outcome = ran.outcome.as_ref().map(|outcome| {
        (
            &outcome.findings,
            &outcome.measured,
            outcome.connected,
            &outcome.sent_by_group,
            &outcome.inconclusive,
            outcome.unfinished,
            outcome.elapsed,
            outcome.interrupted,
        )
    });
    format!("{outcome:?} {:?} {:?}", ran.stats, ran.took)
}

/// What is wrong with the runs of `seeds`, on as many threads as there are cores.
fn wrong(seeds: Range<u64>) -> Vec<String> {
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let share = |nth: usize| seeds.clone().skip(nth).step_by(threads);
    thread::scope(|scope| {
        let running: Vec<_> = (0..threads)
            .map(|nth| {
                let seeds = share(nth);
                scope.spawn(move || {
                    let all = seeds.map(|seed| simulate(Case::draw(seed)));
                    let wrong = all.filter(|simulated| !simulated.wrong.is_empty());
                    let said = wrong
                        .map(|s| format!("{}\n{:?}: {}", s.case, s.ran.took, s.wrong.join("\n")));
                    said.collect::<Vec<_>>()
                })
            })
            .collect();
        let wrong = running
            .into_iter()
            .flat_map(|thread| thread.join().expect("a run panicked"));
        wrong.collect()
    })
}

/// The first seed whose case is as `is_wanted` says, and that case.
fn case_that(is_wanted: impl Fn(&Case) -> bool) -> Case {
    let mut cases = (0..).map(Case::draw);
    cases.find(is_wanted).expect("seeds without end have one")
}

fn calm(case: &Case) -> bool {
    !case.is_disturbed() && !case.network.is_slow()
}

#[test]
fn a_right_server_is_never_accused_and_a_wrong_one_is_reported_for_what_it_does() {
    let wrong = wrong(0..250);
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[test]
fn the_same_seed_is_the_same_run_to_the_last_nanosecond() {
    let paused = case_that(|case| matches!(case.event, Event::MachineSuspended(_)));
    let killed = case_that(|case| matches!(case.event, Event::ServerKilled(_)));
    let faulty = case_that(|case| case.fault == Some(Fault::SwapSenders));
    for case in [paused, killed, faulty] {
        let (one, other) = (carry_out(&case), carry_out(&case));
        assert_eq!(fingerprint(&one), fingerprint(&other), "{case}");
    }
    let (one, other) = (Case::draw(1), Case::draw(2));
    assert_ne!(
        fingerprint(&carry_out(&one)),
        fingerprint(&carry_out(&other))
    );
}

#[test]
fn a_server_that_does_wrong_and_does_not_say_so_is_found_out() {
    let faulty = case_that(|case| case.fault == Some(Fault::DropRelay) && calm(case));
    let ran = carry_out(&faulty);
    assert_eq!(expected::wrong(&faulty, &ran), [""; 0], "{faulty}");
    let said_to_be_clean = Case {
        fault: None,
        ..faulty
    };
    let wrong = expected::wrong(&said_to_be_clean, &ran);
    assert!(wrong.iter().any(|line| line == "Imagined"), "{wrong:?}");
}

#[test]
fn a_verifier_that_overlooks_or_misnames_a_fault_is_found_out() {
    let faulty = case_that(|case| case.fault == Some(Fault::DuplicateRelay) && calm(case));
    let mut ran = carry_out(&faulty);
    let violations = &mut ran.outcome.as_mut().unwrap().findings.violations;
    let (_, tally) = violations.pop_first().unwrap();
    let overlooked = expected::wrong(&faulty, &ran);
    assert!(
        overlooked.iter().any(|line| line == "Missed"),
        "{overlooked:?}"
    );
    let violations = &mut ran.outcome.as_mut().unwrap().findings.violations;
    violations.insert(Kind::LostRelay, tally);
    let misnamed = expected::wrong(&faulty, &ran);
    assert!(
        misnamed.iter().any(|line| line == "Misnamed"),
        "{misnamed:?}"
    );
}

#[test]
fn a_run_that_is_recorded_is_verified_again_to_the_same() {
    let faulty = case_that(|case| case.fault == Some(Fault::DropRelay) && calm(case));
    let directory = tempfile::tempdir().unwrap();
    let trace = directory.path().join("out.trace");
    record(&faulty, &trace).unwrap();
    let mut verify = Command::cargo_bin("chatbench").unwrap();
    let verified = verify.arg("verify").arg(&trace).assert().code(1);
    let text = String::from_utf8(verified.get_output().stdout.clone()).unwrap();
    assert!(text.contains("1 violation: 1 lost-relay"), "{text}");
}
