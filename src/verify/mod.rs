//! Observations in, violations out. Pure: no socket, no clock, no task.

pub mod findings;
pub mod kind;
