//! chatbench tests and loads anything that broadcasts, and says whether everyone gets every
//! message exactly once and in order, how late, and how much it can carry.
//!
//! This crate is the library of the `chatbench` binary. `README.md` describes the binary for its
//! users; this page is the map for developers.
//!
//! # Bird's eye
//!
//! A *scenario* (TOML) becomes a checked *plan*. The *driver* carries it out: shards of scripted
//! clients, each shard one thread, drive a *target*, by default the reference *server* as a child
//! process. Everything that a client sees goes through a *ledger*, one per shard, and one *judge*
//! over all: they find violations. Latencies go into *recorders*. At the end a *report* is made of
//! both: a verdict, a summary, a JSON result, an exit code.
//!
//! # Modules
//!
//! In reading order; a module may use those above it, never those below.
//!
//! | module | contents |
//! |---|---|
//! | [`signals`] | the signals that end a program |
//! | [`input`] | files from outside, read up to a limit |
//! | [`terminal`] | output to a terminal, with text from elsewhere made harmless |
//! | [`wire`] | the wire formats, sans-IO: frames, the load message; protocols, which make observations of bytes |
//! | [`verify`] | observations in, violations out: ledger, judge, findings |
//! | [`net`] | the transport: the system's TCP, or a simulated network |
//! | [`proxy`] | a proxy that commits one fault between driver and target, to try the verifier there |
//! | [`server`] | the reference server: one log, one cursor per session |
//! | [`scenario`] | TOML in, a checked plan out; arrival schedules |
//! | [`measure`] | histograms, the timeline, percentiles and how many samples they need |
//! | [`target`] | the system under test: its addresses, the embedded server |
//! | [`driver`] | the fleet: shards, clients, scripts, the phases of a run |
//! | [`report`] | the verdict, thresholds, summary, JSON; from a result: HTML, files, comparisons |
//! | [`search`] | the search for the highest load that holds: which to try next |
//! | [`scrape`] | figures during a run, for Prometheus: their names, and a thread that answers |
//! | [`cli`] | one file per subcommand, progress |
//!
//! Five of them are crates of their own, so that the compiler enforces their boundaries and a
//! change of one does not rebuild the others: `wire`, `verify`, `net`, `proxy` and `server`, under
//! `crates`.
//!
//! # Vocabulary
//!
//! One word per idea, in code, docs and output. *Publish*, *ack*, *relay*; a *delivery* is a relay
//! that arrived. A *session* is one TCP connection's life; a client that reconnects has another.
//! The server's *log* holds every accepted message under its *number* (`seq`); a *cursor* is a
//! session's position in it; the *backlog* is the part that the log keeps for sessions that are
//! behind; one that falls out of it is a *slow consumer*. A message is *due* at its *intended* send
//! time; *response time* counts from there; *send lag* is how much later it was really sent. A
//! delivery is *owed*, *optional* or forbidden; a broken promise is a *violation*; a run ends in a
//! *verdict*: pass, fail, threshold, inconclusive or interrupted. An *observer* is a silent client
//! that joins first and leaves last.
//!
//! # Invariants
//!
//! - `wire`, `server::log`, `server::cursor`, `scenario`, `measure` and `verify` open no socket,
//!   read no clock and spawn nothing: time and bytes come in as arguments. (`scenario::load` reads
//!   its file, by way of `input`; everything after that is pure.)
//! - The server and the verifier share `wire` and nothing else: the verifier must not inherit the
//!   server's mistakes. `server` and `driver` never import each other; they meet over a
//!   stream of [`net`].
//! - A protocol violation of the system under test is data, never an `Err`. "No whole line yet"
//!   and "would block" are states, not errors.
//! - The server encodes a message once; every receiver gets the same bytes. The driver decodes a
//!   line once per shard; for the other receivers it compares bytes.
//! - No channel, lock or allocation per delivery, on either side.
//! - No queue grows with time: only with the number of clients, or up to a named limit, and
//!   reaching a limit is an ordinary, reported outcome.
//! - Latency is measured from the intended send, and send times come from the schedule, never
//!   from the clock.
//! - Text from elsewhere goes through [`terminal::visible`] before it is part of a line on a
//!   terminal; a lint keeps `println!` and its like out of this crate.
//! - `unsafe` is forbidden.

#![cfg_attr(not(test), deny(clippy::print_stdout, clippy::print_stderr))]

pub mod signals;

pub mod input;

pub mod terminal;

pub use chatbench_wire as wire;

pub use chatbench_verify as verify;

pub use chatbench_net as net;

pub use chatbench_proxy as proxy;

pub use chatbench_server as server;

pub mod scenario;

pub mod measure;

pub mod target;

pub mod driver;

pub mod report;

pub mod search;

pub mod scrape;

pub mod cli;
