//! How many instructions the hot paths take, counted by valgrind: a figure that does not depend
//! on what else the machine does, so it can gate a build where a clock cannot.
//!
//!     cargo bench --bench instructions             count, and compare with the baseline
//!     cargo bench --bench instructions -- --save   count, and make that the baseline
//!
//! Each case is a function that is never inlined, run in a process of its own, and callgrind
//! counts what runs inside it. What the kernel does is not counted, so there are no sockets here;
//! `floor.rs` and `fanout` have those.
//!
//! `baseline.txt` is committed. A case that takes over 5 % more than it says fails the bench with
//! its name and both figures; one that takes over 5 % less fails too, and asks for the new
//! baseline: a gain that is not written down could be lost again unseen. Another compiler or
//! another instruction set makes other code, so the baseline says whose it is, and where that
//! differs nothing is gated. (Why not gungraun: it counts in the same way, but keeps its baselines
//! as callgrind's own files under `target/`, of which none can be committed, and a runner of the
//! same version has to be built and installed first.)

mod baseline;
mod callgrind;
mod cases;

use std::env;
use std::process::ExitCode;

use baseline::Baseline;

/// The argument that has this bench run one case, which it names, and nothing else: under valgrind.
const RUN_CASE: &str = "--run-case";

fn main() -> ExitCode {
    let asked = |option: &str| env::args().any(|argument| argument == option);
    if asked("--test") {
        cases::run(|_| true);
        return ExitCode::SUCCESS;
    }
    if let Some(name) = env::args().skip_while(|a| a != RUN_CASE).nth(1) {
        cases::run(|case| case.name == name);
        return ExitCode::SUCCESS;
    }
    let counted = match callgrind::count() {
        Ok(counted) => Baseline {
            made_by: baseline::this_build(),
            counts: counted,
        },
        Err(error) => {
            eprintln!("error: {error}");
            return ExitCode::FAILURE;
        }
    };
    if asked("--save") {
        counted.save();
        println!("{counted}saved as the baseline");
        return ExitCode::SUCCESS;
    }
    let complaints = Baseline::load().compare(&counted);
    if complaints.is_empty() {
        return ExitCode::SUCCESS;
    }
    eprintln!();
    for complaint in complaints {
        eprintln!("error: {complaint}");
    }
    ExitCode::FAILURE
}
