//! The figures that `chatbench run --prometheus` shows to scrapers: those of the present run, and
//! after it its last ones, until the next run or the end.

use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::RunOptions;
use crate::driver::snapshot::{Phase, Snapshot};
use crate::measure::Collector;
use crate::scenario::plan::Plan;
use crate::scrape::run::{Figures, Which};
use crate::terminal;

/// The interval between two looks at the histograms: as often as shards hand anything in.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The latest figures, where a scraper finds them.
pub(super) struct Board {
    figures: watch::Sender<Figures>,
    which: Which,
    looked: Option<Instant>,
}

impl Board {
    /// Binds the address that was asked for, if one was, and says where it is.
    ///
    /// # Errors
    ///
    /// Names the address, and what is wrong with it.
    pub(super) fn open(args: &RunOptions) -> Result<Option<Self>, String> {
        let bound = args.prometheus.bind(args.allow_remote);
        let Some(endpoint) = bound.map_err(|e| e.to_string())? else {
            return Ok(None);
        };
        if !args.quiet {
            terminal::tell(format_args!("metrics on {}", endpoint.url()));
        }
        let (figures, latest) = watch::channel(Figures::default());
        let served = endpoint.serve(move || latest.borrow().page());
        served.map_err(|e| format!("--prometheus: {e}"))?;
        Ok(Some(Self {
            figures,
            which: Which::default(),
            looked: None,
        }))
    }

    /// Shows the run of `plan` from now on.
    pub(super) fn show(&mut self, plan: &Plan) {
        self.which = Which::of(plan);
        self.looked = None;
    }

    /// Updates the figures, once per second and at the end.
    pub(super) fn update(&mut self, snapshot: &Snapshot, collector: &Collector) {
        let due = self.looked.is_none_or(|at| at.elapsed() >= LOOK_EVERY);
        if due || snapshot.phase == Phase::Drain {
            self.looked = Some(Instant::now());
            let figures = Figures::new(self.which.clone(), snapshot, collector);
            self.figures.send_replace(figures);
        }
    }
}
