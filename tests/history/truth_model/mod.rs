//! What a month of scheduled runs is compared with: a platform's whole history, what was true of each
//! of its hours, and the table and runs on which the engine has to find it.

pub mod expected;
pub mod life;
pub mod missed;
pub mod one_hour;
pub mod things;
pub mod world;
