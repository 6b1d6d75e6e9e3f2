//! Watching the runs.

pub mod health;
