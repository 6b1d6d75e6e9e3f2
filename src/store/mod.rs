//! The items that the Worker itself stores in the table: their keys, their attributes, and the
//! conditions under which they are written.

pub mod job;
pub mod jobs;
pub mod lease;
pub mod ledger;
pub mod marks;
pub mod realtime_state;
pub mod record;
pub(crate) mod record_writer;
pub mod run_state;
pub mod stored_state;
