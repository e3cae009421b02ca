//! Whole runs in virtual time over a simulated network, one per seed: the real driver against the
//! real server, with a fault of its catalogue or without, while the network delays or breaks
//! connections, either side stands still, or the server is killed. The outcome of each is checked.
//!
//! ```text
//! cargo run --release --example simulate -- --seeds 0..1000000
//! cargo run --release --example simulate -- --seeds 4711..4712 --verbose --trace out.trace
//! ```

mod simulation;

use std::ops::Range;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;
use simulation::case::Case;
use simulation::{Simulated, run, simulate};

/// How often a line of progress is printed.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// Carries out whole runs in virtual time, one a seed
#[derive(Parser)]
#[command(after_help = "\
Exit codes:
    0  every run came out as it must
    1  one did not: it is shown with the command that carries it out again
    2  bad usage, or the trace could not be written")]
struct Args {
    /// Seeds, FROM..TO; TO is not one of them
    #[arg(long, value_name = "FROM..TO", value_parser = parse_seeds)]
    seeds: Range<u64>,

    /// End after so long, whatever seeds are left
    #[arg(long, value_name = "N")]
    seconds: Option<u64>,

    /// Go on after a run that came out wrong, and count them
    #[arg(long)]
    keep_going: bool,

    /// Show what each seed stands for and what came of it
    #[arg(short, long)]
    verbose: bool,

    /// Record the last run for `chatbench verify`
    #[arg(long, value_name = "FILE")]
    trace: Option<PathBuf>,
}

fn parse_seeds(text: &str) -> Result<Range<u64>, String> {
    let bounds = text.split_once("..");
    let parsed = bounds.and_then(|(from, to)| Some(from.parse().ok()?..to.parse().ok()?));
    parsed
        .filter(|seeds: &Range<u64>| !seeds.is_empty())
        .ok_or_else(|| "give FROM..TO, as 0..1000".to_owned())
}

fn main() -> ExitCode {
    let args = Args::parse();
    let begun = Instant::now();
    let mut told = begun;
    let (mut ran, mut failed) = (0, 0);
    let mut virtual_time = Duration::ZERO;
    for seed in args.seeds.clone() {
        let case = Case::draw(seed);
        if args.verbose {
            println!("{case}");
        }
        let simulated = simulate(case);
        ran += 1;
        virtual_time += simulated.ran.took;
        let is_wrong = !simulated.wrong.is_empty();
        failed += u64::from(is_wrong);
        if is_wrong && !args.verbose {
            println!("{}", simulated.case);
        }
        if is_wrong || args.verbose {
            show(&simulated);
        }
        if is_wrong && !args.keep_going {
            break;
        }
        if told.elapsed() >= TELL_EVERY {
            told = Instant::now();
            tell(ran, failed, virtual_time, begun.elapsed());
        }
        if args
            .seconds
            .is_some_and(|seconds| begun.elapsed().as_secs() >= seconds)
        {
            break;
        }
    }
    if let Some(trace) = &args.trace {
        let last = args.seeds.start + ran - 1;
        if let Err(error) = run::record(&Case::draw(last), trace) {
            eprintln!("{error}");
            return ExitCode::from(2);
        }
    }
    tell(ran, failed, virtual_time, begun.elapsed());
    ExitCode::from(u8::from(failed > 0))
}

fn tell(ran: u64, failed: u64, virtual_time: Duration, elapsed: Duration) {
    let a_minute = ran as f64 / elapsed.as_secs_f64() * 60.0;
    println!(
        "{ran} runs, {failed} wrong, {:.0} s of virtual time in {:.1} s: {a_minute:.0} runs a minute",
        virtual_time.as_secs_f64(),
        elapsed.as_secs_f64(),
    );
}

fn show(simulated: &Simulated) {
    let Simulated { case, ran, wrong } = simulated;
    match &ran.outcome {
        Ok(outcome) => println!("{:?}", outcome.findings.counts),
        Err(error) => println!("{error}"),
    }
    for line in wrong {
        println!("WRONG: {line}");
    }
    let seed = case.seed;
    println!(
        "again: cargo run --release --example simulate -- --seeds {seed}..{} --verbose\n",
        seed + 1
    );
}
