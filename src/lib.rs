//! Analytics for applications that live on DynamoDB, computed and served at the edge.
//!
//! Layers, each of which uses only those below it:
//!
//! 1. `edge`: the Worker's entry points for requests, cron events and queue messages;
//! 2. [`api`]: the HTTP API;
//! 3. [`run`], [`realtime`], [`monitor`]: scheduled runs and recalculation, realtime counters, health;
//! 4. [`store`], [`query`], [`changes`], [`platform`]: our own items in the table; planning and reading
//!    passes over the platform's items; their changes; the platform's users and sessions;
//! 5. [`metrics`]: the domain, which knows neither DynamoDB's API nor Workers.
//!
//! Beside them: [`dynamodb`], the client; [`host`], what the runtime provides; [`settings`]. The test
//! `layers` fails on an import against this order.

pub mod api;
pub mod changes;
pub mod dynamodb;
#[cfg(target_arch = "wasm32")]
mod edge;
pub mod host;
pub mod metrics;
pub mod monitor;
pub mod platform;
pub mod query;
pub mod realtime;
pub mod run;
pub mod settings;
pub mod store;
