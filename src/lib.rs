//! Analytics for applications that live on DynamoDB, computed and served at the edge.
//!
//! The entry points are in `edge`; they call [`api`] and [`run`], which use the domain
//! ([`catalogue`], [`plan`], [`fold`], [`record`], [`summary`], [`period`]) and [`dynamodb`].

pub mod amount;
pub mod api;
pub mod catalogue;
pub mod dynamodb;
#[cfg(target_arch = "wasm32")]
mod edge;
pub mod expiry;
pub mod fold;
pub mod health;
pub mod host;
pub mod job;
pub mod ledger;
pub mod numbers;
mod ordered;
pub mod part;
pub mod period;
pub mod plan;
pub mod ranking;
pub mod realtime;
pub mod record;
pub mod retention;
pub mod rollup;
mod row;
pub mod run;
pub mod settings;
pub mod sketch;
pub mod summary;
