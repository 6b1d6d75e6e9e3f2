//! Monitoring of the runs and the realtime counters.

pub mod health;
