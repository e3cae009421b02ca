//! Whole runs in virtual time: the real driver and the real server in one thread, over a simulated
//! network. A seed says all there is to a run.
//!
//! `case` draws what a seed stands for, `run` carries it out, `expected` says what must come of it.

pub(crate) mod case;
pub(crate) mod expected;
pub(crate) mod run;

use case::Case;
use run::Ran;

/// A seed that was carried out.
pub(crate) struct Simulated {
    /// What it stood for.
    pub(crate) case: Case,
    /// What came of it.
    pub(crate) ran: Ran,
    /// What is wrong with that; empty if nothing is.
    pub(crate) wrong: Vec<String>,
}

/// Carries out `case`.
pub(crate) fn simulate(case: Case) -> Simulated {
    let ran = run::carry_out(&case);
    let wrong = expected::wrong(&case, &ran);
    Simulated { case, ran, wrong }
}
