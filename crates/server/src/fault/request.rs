//! A fault as a user asks for it: `drop-relay`, `drop-relay=0.001`, `drop-relay=after=500`.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

use super::catalogue::Fault;
use chatbench_wire::Dialect;

/// When a fault is committed, counted in its [chances](super::catalogue::Chance).
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Rate {
    /// Exactly once, at a moment drawn from the seed.
    Once,
    /// With this probability at each chance.
    Probability(f64),
    /// Exactly once, at the first chance that works out after this many.
    After(u64),
}

/// A fault, and when it is to be committed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Request {
    /// Which.
    pub fault: Fault,
    /// When.
    pub rate: Rate,
}

/// Why a request for a fault is not understood.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum BadRequest {
    /// The catalogue has no such fault.
    #[error("no fault is called `{name}`{}: `chatbench faults` lists them",
        meant.map(|meant| format!(", did you mean `{meant}`?")).unwrap_or_default())]
    Unknown {
        /// As given.
        name: String,
        /// The fault with the nearest name.
        meant: Option<Fault>,
    },
    /// The rate is not one.
    #[error(
        "`{rate}` is no rate of `{fault}`: give `once`, a probability above 0 and up to 1, \
         or `after=N`"
    )]
    Rate {
        /// The fault that it was given for.
        fault: Fault,
        /// As given.
        rate: String,
    },
}

/// Why a server cannot commit what is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Uncommitted {
    /// It cannot be committed in the dialect of its clients.
    #[error(
        "`{fault}` is not committed towards {dialect} clients: `chatbench faults` says towards \
         whom each is"
    )]
    Dialect {
        /// Which.
        fault: Fault,
        /// The clients' dialect.
        dialect: Dialect,
    },
    /// Its clients speak both dialects.
    #[error("faults are committed towards clients of one dialect: listen for one alone")]
    Both,
}

/// Whether a server whose listeners are of `dialects` can commit all that is asked for.
///
/// # Errors
/// [`Uncommitted`] says which fault it cannot, or why none.
pub fn check(requests: &[Request], dialects: &[Dialect]) -> Result<(), Uncommitted> {
    for request in requests {
        let fault = request.fault;
        for &dialect in dialects {
            if dialect != dialects[0] {
                return Err(Uncommitted::Both);
            }
            if !fault.is_committed_in(dialect) {
                return Err(Uncommitted::Dialect { fault, dialect });
            }
        }
    }
    Ok(())
}

impl FromStr for Request {
    type Err = BadRequest;

    fn from_str(text: &str) -> Result<Self, BadRequest> {
        let (name, rate) = match text.split_once('=') {
            Some((name, rate)) => (name, Some(rate)),
            None => (text, None),
        };
        let fault = Fault::by_name(name).ok_or_else(|| BadRequest::Unknown {
            name: name.to_owned(),
            meant: nearest(name),
        })?;
        let rate = match rate {
            None => Rate::Once,
            Some(text) => rate_of(text).ok_or_else(|| BadRequest::Rate {
                fault,
                rate: text.to_owned(),
            })?,
        };
        Ok(Self { fault, rate })
    }
}

fn rate_of(text: &str) -> Option<Rate> {
    if text == "once" {
        return Some(Rate::Once);
    }
    if let Some(count) = text.strip_prefix("after=") {
        return count.parse().ok().map(Rate::After);
    }
    let probability: f64 = text.parse().ok()?;
    (probability > 0.0 && probability <= 1.0).then_some(Rate::Probability(probability))
}

fn nearest(name: &str) -> Option<Fault> {
    let name = name.to_lowercase();
    let likeness = |fault: &Fault| strsim::jaro_winkler(&name, fault.name());
    let mut alike: Vec<_> = Fault::ALL.iter().map(|f| (likeness(f), *f)).collect();
    alike.sort_by(|a, b| b.0.total_cmp(&a.0));
    alike
        .first()
        .filter(|(likeness, _)| *likeness >= 0.8)
        .map(|(_, fault)| *fault)
}

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.rate {
            Rate::Once => write!(f, "{}", self.fault),
            Rate::Probability(probability) => write!(f, "{}={probability}", self.fault),
            Rate::After(count) => write!(f, "{}=after={count}", self.fault),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_a_name_and_perhaps_a_rate() {
        for (text, rate) in [
            ("drop-relay", Rate::Once),
            ("drop-relay=once", Rate::Once),
            ("drop-relay=0.25", Rate::Probability(0.25)),
            ("drop-relay=1", Rate::Probability(1.0)),
            ("drop-relay=after=7", Rate::After(7)),
        ] {
            let request: Request = text.parse().unwrap();
            assert_eq!(
                request,
                Request {
                    fault: Fault::DropRelay,
                    rate
                },
                "{text}"
            );
            assert_eq!(request.to_string().parse(), Ok(request), "{text}");
        }
    }

    #[test]
    fn a_wrong_request_is_told_what_would_do() {
        for (text, expected) in [
            (
                "drop-realy",
                "no fault is called `drop-realy`, did you mean `drop-relay`?: `chatbench faults` lists them",
            ),
            (
                "xyzzy",
                "no fault is called `xyzzy`: `chatbench faults` lists them",
            ),
            (
                "echo=2",
                "`2` is no rate of `echo`: give `once`, a probability above 0 and up to 1, or `after=N`",
            ),
            ("echo=0", "`0` is no rate"),
            ("echo=NaN", "`NaN` is no rate"),
            ("echo=after=x", "`after=x` is no rate"),
            ("echo=", "`` is no rate"),
        ] {
            let error = text.parse::<Request>().unwrap_err().to_string();
            assert!(error.starts_with(expected), "{text}: {error}");
        }
    }

    #[test]
    fn faults_go_to_clients_of_one_dialect_that_has_a_place_for_them() {
        use Dialect::{Classic, Ndjson};
        let asked = |text: &str| -> Vec<Request> { vec![text.parse().unwrap()] };
        let [echo, spoof, bye] = ["echo", "spoofable-ack", "no-bye"].map(asked);
        for (requests, dialects, expected) in [
            (&echo, &[Ndjson, Ndjson][..], Ok(())),
            (&echo, &[Classic], Ok(())),
            (&spoof, &[Classic], Ok(())),
            (&echo, &[Ndjson, Classic], Err(Uncommitted::Both)),
            (
                &spoof,
                &[Ndjson],
                Err(Uncommitted::Dialect {
                    fault: Fault::SpoofableAck,
                    dialect: Ndjson,
                }),
            ),
            (
                &bye,
                &[Classic],
                Err(Uncommitted::Dialect {
                    fault: Fault::NoBye,
                    dialect: Classic,
                }),
            ),
        ] {
            assert_eq!(check(requests, dialects), expected);
        }
        assert_eq!(check(&[], &[Ndjson, Classic]), Ok(()), "nothing is wrong");
    }
}
