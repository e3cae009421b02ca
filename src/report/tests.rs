//! Tests of all that is made of a run together.

mod one_story;
mod schema;
