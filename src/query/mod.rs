//! Reading the platform's items: planning the fewest passes that serve the metrics, and reading
//! them.

pub mod plan;
pub mod reading;
