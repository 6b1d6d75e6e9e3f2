//! The accounts that tests and documentation sign in with.

use crate::{Shape, random::Random};

/// An active user with `role` `admin` and a session that stays valid until 2099.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Administrator {
    /// The user's `userId`.
    pub user_id: String,
    /// The session's id: the value of the cookie `user_session`, or a bearer token.
    pub session_id: String,
}

/// Known sessions, one for each answer authentication can give. All of them are among the items.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accounts {
    /// May see everything.
    pub administrator: Administrator,
    /// The `userId` of an active user with `role` `user`.
    pub ordinary_user_id: String,
    /// A valid session of that ordinary user.
    pub ordinary_session_id: String,
    /// A session of the administrator that expired a day before the platform's `end`.
    pub expired_session_id: String,
    /// The `userId` of a user with `role` `admin` and `isActive` false.
    pub deactivated_user_id: String,
    /// A session of that deactivated administrator that has not expired.
    pub deactivated_session_id: String,
}

/// The accounts of every platform made from `seed`, whatever its size.
#[must_use]
pub fn accounts(seed: u64) -> Accounts {
    let mut random = Random::new(seed, 0);
    Accounts {
        administrator: Administrator { user_id: random.id(), session_id: random.id() },
        ordinary_user_id: random.id(),
        ordinary_session_id: random.id(),
        expired_session_id: random.id(),
        deactivated_user_id: random.id(),
        deactivated_session_id: random.id(),
    }
}

/// The administrator of a platform: [`accounts`] has the other known sessions.
#[must_use]
pub fn administrator(shape: &Shape) -> Administrator {
    accounts(shape.seed).administrator
}
