//! `--prometheus ADDR`: live figures for a scraper, the same option for every verb that has some.

use crate::scrape::endpoint::{Endpoint, Error};

/// Where live figures are served.
#[derive(Debug, clap::Args)]
pub(super) struct PrometheusArgs {
    /// Serve live figures to Prometheus at http://ADDR/metrics; a port alone is of 127.0.0.1, 0 is
    /// any free one, which is then printed
    #[arg(long, value_name = "ADDR")]
    prometheus: Option<String>,

    /// A name that the figures may be asked for by, besides addresses, localhost and the host of
    /// --prometheus: a web page could have a browser ask by a name of its own. Repeatable
    #[arg(long, value_name = "NAME", requires = "prometheus")]
    prometheus_name: Vec<String>,
}

impl PrometheusArgs {
    /// Binds the address, if one is given: before anything runs, so that a taken port is known
    /// in time.
    ///
    /// # Errors
    ///
    /// [`Error`].
    pub(super) fn bind(&self, allow_remote: bool) -> Result<Option<Endpoint>, Error> {
        let given = self.prometheus.as_deref();
        given
            .map(|given| Endpoint::bind(given, &self.prometheus_name, allow_remote))
            .transpose()
    }
}
