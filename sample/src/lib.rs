//! A deterministic sample platform: every entity of the gallery's table, for development, tests
//! and measurements.
//!
//! The same [`Shape`] gives the same items, byte for byte, on every machine: all randomness comes
//! from one seed, all times from the instant handed in, and no floating point is involved.
//!
//! ```
//! use sample_platform::{Shape, administrator, generate};
//!
//! let end = "2026-03-04T15:20:00Z".parse().unwrap();
//! let shape = Shape { users: 50, days: 7, seed: 1, end };
//! let items = generate(&shape);
//! let session = format!("SESSION#{}", administrator(&shape).session_id);
//! assert!(items.iter().any(|item| item["PK"]["S"] == session.as_str()));
//! ```

mod accounts;
mod calendar;
mod draft;
mod history;
mod malformed;
mod platform;
mod random;
mod table;

use chrono::{DateTime, Utc};

pub use accounts::{Accounts, Administrator, accounts, administrator};
pub use history::{Change, Key, history};
pub use random::Random;
pub use table::table_definition;

/// An item in DynamoDB JSON: `{"PK": {"S": "…"}, "size": {"N": "123"}, "isActive": {"BOOL": true}}`.
pub type Item = serde_json::Map<String, serde_json::Value>;

/// The size, age and moment of a platform.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// Users in the table; everything else scales with them ([`Counts::for_users`]). Fewer than 3 count as 3.
    pub users: u32,
    /// The platform's age at `end`, in days.
    pub days: u32,
    /// Another seed gives another platform of the same shape.
    pub seed: u64,
    /// The instant at which the table is seen. Nothing in it happened later. Any instant will do;
    /// it is cut to whole milliseconds.
    pub end: DateTime<Utc>,
}

/// How many items of each entity a platform has, malformed ones included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counts {
    /// Users, deactivated ones included. Fewer than 3 count as 3: the accounts of [`accounts`] are among them.
    pub users: u32,
    /// Media.
    pub media: u32,
    /// Albums.
    pub albums: u32,
    /// Likes and bookmarks together.
    pub interactions: u32,
    /// Comments.
    pub comments: u32,
    /// Visitor items: one an hour an address.
    pub visitor_hours: u32,
    /// Orders of all statuses.
    pub orders: u32,
    /// Generation jobs of all statuses.
    pub jobs: u32,
}

impl Counts {
    /// The 112,000 items on which the cost of an hourly run is measured; view counts and sessions
    /// come on top.
    #[must_use]
    pub const fn cost_measurement() -> Self {
        Self::for_users(5_000)
    }

    /// The usual proportions for this many users.
    #[must_use]
    pub const fn for_users(users: u32) -> Self {
        Self {
            users,
            media: users * 5,
            albums: users,
            interactions: users * 8,
            comments: users * 2,
            visitor_hours: users * 4,
            orders: users * 2 / 5,
            jobs: users,
        }
    }
}

/// The platform of this shape, as its table stands at `shape.end`, grouped by entity.
#[must_use]
pub fn generate(shape: &Shape) -> Vec<Item> {
    generate_counts(&Counts::for_users(shape.users), shape.days, shape.seed, shape.end)
}

/// A platform with exactly these counts, `days` old at `end`. View counts (one item for each
/// period with views) and sessions come on top.
///
/// At most half of an entity's items lie on period edges; where there are very few items, some of
/// the malformed ones are left out.
#[must_use]
pub fn generate_counts(counts: &Counts, days: u32, seed: u64, end: DateTime<Utc>) -> Vec<Item> {
    let mut items = Vec::new();
    for_each_item(counts, days, seed, end, |item| items.push(item));
    items
}

/// Hands the items of [`generate_counts`] to `each`, one by one, in the same order.
///
/// For imports: a large platform in DynamoDB JSON takes more than a gigabyte of memory at once.
pub fn for_each_item(
    counts: &Counts,
    days: u32,
    seed: u64,
    end: DateTime<Utc>,
    mut each: impl FnMut(Item),
) {
    platform::generate(counts, days, seed, end, &mut each);
}
