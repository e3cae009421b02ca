//! The fleet: shards of clients, the phases of a run, and what came of it.
//!
//! In reading order; whoever stands lower may use what stands higher. `clock` and `timer` are the
//! time. `source` is what makes a client send, `member` a client before it begins, [`roster`] who
//! takes part. `live` is what all shards keep up to date for the coordinator, `channel` what they
//! and the coordinator tell each other. `fleet` holds the clients of one shard: their connections,
//! what is read and sent; `inbox` what a script waits for, `pulse` how late the shard is. `shard` is
//! what its tasks share: `client` connects and reads, `pacer` sends when it is due, `script` goes
//! through steps, past `barriers`; `thread` carries out what the coordinator asks for. [`run`] is
//! the coordinator, a run from beginning to end; [`preflight`] what must be there before it starts,
//! [`snapshot`] what it tells whoever watches, [`outcome`] what the report gets.

mod barriers;
mod channel;
mod client;
mod clock;
mod fleet;
mod inbox;
mod live;
mod member;
mod memory;
pub mod outcome;
mod pacer;
pub mod preflight;
mod process;
mod pulse;
mod roster;
pub mod run;
mod script;
mod shard;
pub mod snapshot;
mod source;
mod thread;
mod timer;
