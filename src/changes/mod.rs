//! The change engine: metrics from the table's change stream (DynamoDB Streams).
//!
//! * [`stream`]: what is read of a stream, as a narrow trait;
//! * [`positions`]: how far each shard has been read, and which shard may be read next;
//! * [`reading`]: one reading of the stream, from the positions to the present;
//! * [`window`], [`ranges`]: the hand-off, which makes the first sums from rows and changes that
//!   overlap;
//! * [`balance`]: the sums, hour by hour, with the positions that they are exact at.
//!
//! Nothing here has a clock. Scheduled runs do not use it yet.

pub mod balance;
pub mod positions;
pub mod ranges;
pub mod reading;
pub mod stream;
pub mod window;
