//! Which rows of the tables are asked for, and for how long.

use std::time::Duration;

use super::{Load, RECEIVERS, bare};

/// What each row's kind of load is known by.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Kind {
    pub(crate) talkers: usize,
    pub(crate) payload: usize,
    pub(crate) load: Load,
}

/// What is asked for on the command line; everything, where nothing is said.
#[derive(Debug, Default)]
pub(crate) struct Selection {
    tables: Vec<String>,
    receivers: Vec<usize>,
    talkers: Vec<usize>,
    payloads: Vec<usize>,
    load: Option<Load>,
    /// How long each measurement takes.
    pub(crate) seconds: Option<Duration>,
    /// Another server to compare this one with.
    pub(crate) against: Option<String>,
}

impl Selection {
    /// Reads the arguments; those that begin with `-` are `cargo bench`'s own.
    ///
    /// # Errors
    /// What is wrong with which.
    pub(crate) fn read(arguments: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut selection = Self::default();
        for argument in arguments.filter(|argument| !argument.starts_with('-')) {
            let Some((key, value)) = argument.split_once('=') else {
                match argument.as_str() {
                    "server" | "switches" | "driver" | "websocket" => {
                        selection.tables.push(argument);
                    }
                    _ => {
                        return Err(format!(
                            "{argument}: no table (server, switches, driver, websocket)"
                        ));
                    }
                }
                continue;
            };
            match key {
                "receivers" => selection.receivers = numbers(&argument, value)?,
                "talkers" => selection.talkers = numbers(&argument, value)?,
                "payload" => selection.payloads = numbers(&argument, value)?,
                "load" => {
                    let known = [Load::Unbatched, Load::Full];
                    let load = known.into_iter().find(|load| load.name() == value);
                    selection.load = Some(load.ok_or(format!("{argument}: unbatched or full"))?);
                }
                "seconds" => {
                    let seconds = value.parse().ok();
                    let seconds = seconds.and_then(|s| Duration::try_from_secs_f64(s).ok());
                    selection.seconds = Some(seconds.ok_or(format!("{argument}: not seconds"))?);
                }
                "against" => selection.against = Some(value.to_owned()),
                _ => return Err(format!("{argument}: no such key")),
            }
        }
        Ok(selection)
    }

    pub(crate) fn wants(&self, table: &str) -> bool {
        self.tables.is_empty() || self.tables.iter().any(|asked| asked == table)
    }

    /// The receivers of each table: what was asked for need not be in the usual one.
    pub(crate) fn receivers(&self) -> &[usize] {
        if !self.receivers.is_empty() {
            &self.receivers
        } else if bare::only_test() {
            &RECEIVERS[..1]
        } else {
            &RECEIVERS
        }
    }

    /// The receivers that were asked for, if any were.
    pub(crate) fn receivers_asked(&self) -> &[usize] {
        &self.receivers
    }

    pub(crate) fn has_load(&self, load: Load) -> bool {
        self.load.is_none_or(|asked| asked == load)
    }

    pub(crate) fn has(&self, kind: Kind) -> bool {
        let among = |asked: &[usize], value| asked.is_empty() || asked.contains(&value);
        among(&self.talkers, kind.talkers)
            && among(&self.payloads, kind.payload)
            && self.has_load(kind.load)
    }

    /// How often a row is measured.
    pub(crate) fn times(&self) -> usize {
        if bare::only_test() || self.seconds.is_some() {
            1
        } else {
            3
        }
    }

    /// How long each measurement takes, unless told otherwise.
    pub(crate) fn time(&self, usual: Duration) -> Duration {
        match self.seconds {
            Some(time) => time,
            None if bare::only_test() => Duration::from_millis(10),
            None => usual,
        }
    }
}

fn numbers(argument: &str, list: &str) -> Result<Vec<usize>, String> {
    let number = |text: &str| text.parse().ok().filter(|n| *n > 0);
    let numbers: Option<Vec<usize>> = list.split(',').map(number).collect();
    numbers.ok_or_else(|| format!("{argument}: not numbers from 1 on"))
}
