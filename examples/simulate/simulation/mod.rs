//! Whole runs in virtual time: the real driver and the real server in one thread, over a simulated
//! network. A seed determines a run completely.
//!
//! `case` draws the case of a seed, `run` carries it out, `expected` checks the outcome.

pub(crate) mod case;
pub(crate) mod expected;
pub(crate) mod run;

use case::Case;
use run::Ran;

/// A seed that was carried out.
pub(crate) struct Simulated {
    /// The seed's case.
    pub(crate) case: Case,
    /// The outcome.
    pub(crate) ran: Ran,
    /// Deviations from the expected outcome; empty if there are none.
    pub(crate) wrong: Vec<String>,
}

/// Carries out `case`.
pub(crate) fn simulate(case: Case) -> Simulated {
    let ran = run::carry_out(&case);
    let wrong = expected::wrong(&case, &ran);
    Simulated { case, ran, wrong }
}
