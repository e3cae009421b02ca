//! TOML in, a checked [`plan::Plan`] out: the schema, its validation with file, line and key, the
//! arrival schedules, and the steps of scripted clients.

pub mod pace;
pub mod plan;
