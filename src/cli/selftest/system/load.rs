//! The load of the runs by proxy: clients that talk by a schedule and in bursts, that only listen,
//! and that come and go, so that every fault finds a victim.

use std::path::Path;

use toml::{Table, Value};

use super::System;
use crate::input;
use crate::proxy::Fault;
use crate::scenario::diagnostic::Diagnostics;
use crate::scenario::plan::Plan;
use crate::scenario::{self, Options};

/// What a selftest without a scenario's file is called.
const NAME: &str = "selftest";

/// Sections of a file that say what the target is, and what it promises.
const KEPT: [&str; 4] = ["target", "protocol", "verify", "description"];

/// Clients who send three messages at once, and who come and go.
const BURSTS: u32 = 2;
const GUESTS: u32 = 2;

/// The most bytes of a scenario's file.
const MAX_FILE_BYTES: u64 = 16 << 20;

/// The load against a system, before its fault and its seed are known.
#[derive(Debug)]
pub(super) struct Load {
    file: String,
    text: String,
}

/// Why there is none.
#[derive(Debug)]
pub(super) enum NoLoad {
    Scenario(Diagnostics),
    Usage(String),
}

impl Load {
    /// The load that `system` asks for.
    pub(super) fn of(system: &System) -> Result<Self, NoLoad> {
        let (file, mut table, rooms) = match &system.file {
            None => (NAME.to_owned(), described(system)?, Vec::new()),
            Some(_) if system.protocol.are_given() => {
                let error = "a FILE says itself how its target talks, in [protocol]: leave out the \
                             options for that, or change single keys by --set";
                return Err(NoLoad::Usage(error.to_owned()));
            }
            Some(path) => kept_of(path, system)?,
        };
        let url = system.target.as_deref().unwrap_or_default();
        let by_need = system.protocol.needs_room(url).then_some(2);
        let names = match (system.rooms.or(by_need), rooms.is_empty()) {
            (None, true) => Vec::new(),
            (Some(count), true) => (1..=count).map(|nth| format!("room-{nth}")).collect(),
            (count, false) => {
                let most = count.unwrap_or(2) as usize;
                rooms.into_iter().take(most).collect()
            }
        };
        let groups = groups(system, names.len() as u32).map_err(NoLoad::Usage)?;
        let mut clients = Table::new();
        for (name, mut group) in groups {
            if !names.is_empty() {
                let names: Vec<Value> = names.iter().cloned().map(Value::from).collect();
                let rooms = [("names", Value::from(names)), ("each", Value::from(1))];
                group.insert("rooms".to_owned(), table_of(rooms).into());
            }
            clients.insert(name.to_owned(), group.into());
        }
        let run = [
            ("warmup", Value::from("0s")),
            ("duration", Value::from("1s")),
            ("connect_rate", Value::from(1000)),
        ];
        table.insert("run".to_owned(), table_of(run).into());
        table.insert("clients".to_owned(), clients.into());
        let text = toml::to_string(&table).map_err(|error| NoLoad::Usage(error.to_string()))?;
        Ok(Self { file, text })
    }

    /// The plan of a run in which `fault` is committed.
    pub(super) fn plan(
        &self,
        system: &System,
        fault: Option<Fault>,
        seed: u64,
    ) -> Result<Plan, Diagnostics> {
        // What is late is what is made late. Other runs are not about how fast the machine is.
        let late = match fault {
            Some(Fault::DelayRelay) => "500ms",
            _ => "1m",
        };
        let mut set = vec![
            format!("verify.late_after={late:?}"),
            "verify.late=\"violation\"".to_owned(),
        ];
        set.extend(system.set.iter().cloned());
        let tls = system.tls.options();
        let options = Options {
            set: &set,
            tls: &tls,
            seed: Some(seed),
            target: system.target.as_deref(),
            ..Options::default()
        };
        scenario::parse_with(&self.file, &self.text, &options)
            .and_then(super::super::super::overrides::with_readable_files)
    }
}

/// What the options say of how an application talks.
fn described(system: &System) -> Result<Table, NoLoad> {
    let section = system.protocol.section();
    let table = section.parse();
    table.map_err(|error: toml::de::Error| NoLoad::Usage(error.to_string()))
}

/// What a scenario's file says of its target, and the rooms that it names.
fn kept_of(path: &Path, system: &System) -> Result<(String, Table, Vec<String>), NoLoad> {
    let tls = system.tls.options();
    let options = Options {
        set: &system.set,
        tls: &tls,
        target: system.target.as_deref(),
        ..Options::default()
    };
    // What is wrong with it is said of the file as it stands.
    let plan = scenario::load(path, &options).map_err(NoLoad::Scenario)?;
    let file = path.display().to_string();
    let read = input::read_text(path, MAX_FILE_BYTES);
    let text = read.map_err(|error| NoLoad::Usage(format!("cannot read {file}: {error}")))?;
    let mut table: Table = toml::from_str(&text)
        .map_err(|error| NoLoad::Usage(format!("cannot read {file}: {error}")))?;
    table.retain(|key, _| KEPT.contains(&key));
    let rooms = plan.rooms.iter().map(|(_, name)| name.to_owned()).collect();
    Ok((file, table, rooms))
}

fn groups(system: &System, rooms: u32) -> Result<[(&'static str, Table); 4], String> {
    let others = BURSTS + GUESTS;
    // In each room two who talk, so that there is an order between them, and two who listen.
    let least = others + 4 * rooms.max(1);
    if system.clients < least {
        let clients = system.clients;
        let where_ = match rooms {
            0 | 1 => String::new(),
            rooms => format!(" in {rooms} rooms"),
        };
        return Err(format!(
            "--clients {clients}: it takes {least}{where_} for every fault to find a victim"
        ));
    }
    let talkers = (system.clients - others) / 2;
    let listeners = system.clients - others - talkers;
    let payload = || Value::from(table_of([("size", Value::from(i64::from(system.size)))]));
    let count = |count: u32| ("count", Value::from(i64::from(count)));
    let publish = |count: i64, every: &str| {
        let publish = [("count", count.into()), ("every", Value::from(every))];
        Value::from(table_of([("publish", table_of(publish).into())]))
    };
    let pause = |min: &str, max: &str| {
        let pause = [("min", Value::from(min)), ("max", Value::from(max))];
        Value::from(table_of([("pause", table_of(pause).into())]))
    };
    let step = |step: &str, value: Value| Value::from(table_of([(step, value)]));
    let forever = || ("repeat", Value::from("forever"));
    Ok([
        (
            "talkers",
            table_of([
                count(talkers),
                ("rate", Value::from(system.rate)),
                ("arrival", Value::from("poisson")),
                ("payload", payload()),
            ]),
        ),
        (
            "bursts",
            table_of([
                count(BURSTS),
                forever(),
                ("payload", payload()),
                (
                    "script",
                    Value::from(vec![publish(3, "0s"), pause("20ms", "40ms")]),
                ),
            ]),
        ),
        ("listeners", table_of([count(listeners)])),
        (
            "guests",
            table_of([
                count(GUESTS),
                forever(),
                ("payload", payload()),
                (
                    "script",
                    Value::from(vec![
                        step("connect", Table::new().into()),
                        publish(2, "1ms"),
                        pause("20ms", "60ms"),
                        step("disconnect", Value::from("polite")),
                    ]),
                ),
            ]),
        ),
    ])
}

fn table_of<const N: usize>(entries: [(&str, Value); N]) -> Table {
    let entries = entries.into_iter();
    entries
        .map(|(key, value)| (key.to_owned(), value))
        .collect()
}
