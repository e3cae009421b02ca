//! chatbench tests and loads anything that broadcasts, and says whether everyone gets every
//! message exactly once and in order, how late, and how much it can carry.

pub mod wire;

pub mod server;

pub mod scenario;

pub mod measure;

pub mod verify;

pub mod target;

pub mod driver;

pub mod report;

pub mod cli;
