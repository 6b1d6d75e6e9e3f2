//! Reading the platform's items: the fewest passes that serve the metrics, and their execution.

pub mod plan;
pub mod reading;
