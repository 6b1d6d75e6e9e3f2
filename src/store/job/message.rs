//! The messages of jobs, and the queue that delivers them.

use std::time::Duration;

use crate::host::BoxFuture;

/// The longest body of a message that is parsed, in bytes. Valid ones have fewer than 50.
const MAXIMUM_BODY: usize = 64;

/// The delay of the message after a first failed attempt. It is doubled with every further one.
const FIRST_DELAY: Duration = Duration::from_secs(5);

/// The longest delay after a failed attempt: a job continues soon after the end of an outage.
const LONGEST_DELAY: Duration = Duration::from_mins(15);

/// After so many attempts at one slice no further message is sent. With their delays they take longer
/// than [`super::DEAD_AFTER`], so the job has ended by then.
const MAXIMUM_MESSAGE_ATTEMPTS: u32 = 34;

/// A message of the queue: the slice of a job that is due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// The job.
    pub job_id: String,
    /// Which of its slices, from 0.
    pub slice: usize,
    /// How many attempts at the slice have failed.
    pub attempt: u32,
}

impl Message {
    /// Its body: `{jobId}#{slice}`, and `#{attempt}` after a failed attempt.
    #[must_use]
    pub fn to_body(&self) -> String {
        let Self { job_id, slice, attempt } = self;
        match attempt {
            0 => format!("{job_id}#{slice}"),
            attempt => format!("{job_id}#{slice}#{attempt}"),
        }
    }

    /// Parses a body; `None` if it is not the body of such a message.
    #[must_use]
    pub fn from_body(body: &str) -> Option<Self> {
        if body.len() > MAXIMUM_BODY {
            return None;
        }
        let mut parts = body.split('#');
        let job_id = parts.next()?.to_owned();
        let slice = parts.next()?.parse().ok()?;
        let attempt = parts.next().map_or(Ok(0), str::parse).ok()?;
        parts.next().is_none().then_some(Self { job_id, slice, attempt })
    }

    /// The message for the next attempt at the slice and its delay; `None` after too many attempts.
    ///
    /// It is a message of its own instead of another delivery of this one, because the queue limits how
    /// often it delivers a message, and an outage can last longer.
    #[must_use]
    pub fn after_failure(&self) -> Option<(Self, Duration)> {
        let factor = 1_u32.checked_shl(self.attempt).unwrap_or(u32::MAX);
        let delay = FIRST_DELAY.saturating_mul(factor).min(LONGEST_DELAY);
        let attempt = self.attempt.saturating_add(1);
        (attempt < MAXIMUM_MESSAGE_ATTEMPTS).then(|| (Self { attempt, ..self.clone() }, delay))
    }
}

/// The queue that delivers the messages of jobs, one by one, to [`crate::run::Engine::recalculate`].
pub trait JobQueue: Send + Sync {
    /// Enqueues a message, to be delivered after `delay`.
    fn send(&self, message: Message, delay: Duration)
    -> BoxFuture<'static, Result<(), QueueError>>;
}

/// The queue did not accept a message, with the reason of the runtime.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("could not enqueue the message: {0}")]
pub struct QueueError(pub String);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::job::DEAD_AFTER;

    #[test]
    fn a_message_is_parsed_from_its_body() {
        for attempt in [0, 1, 33] {
            let message = Message { job_id: "5f".repeat(16), slice: 12, attempt };
            assert_eq!(Message::from_body(&message.to_body()), Some(message));
        }
        let first = Message { job_id: "5f".to_owned(), slice: 3, attempt: 0 };
        assert_eq!(first.to_body(), "5f#3");
        let too_long = format!("{}#1", "5".repeat(99));
        for body in ["", "5f5f", "5f5f#", "5f5f#-1", "5f#1#", "5f#1#x", "5f#1#2#3", &too_long] {
            assert_eq!(Message::from_body(body), None, "{body}");
        }
    }

    #[test]
    fn attempts_last_longer_than_the_job() {
        let mut message = Message { job_id: "5f".to_owned(), slice: 3, attempt: 0 };
        let mut delays = Vec::new();
        while let Some((next, delay)) = message.after_failure() {
            delays.push(delay.as_secs());
            message = next;
        }
        assert_eq!(delays[..9], [5, 10, 20, 40, 80, 160, 320, 640, 900]);
        assert!(delays[9..].iter().all(|delay| *delay == 900));
        let total: u64 = delays.iter().sum();
        let dead_after = u64::try_from(DEAD_AFTER.num_seconds()).unwrap();
        assert!(total > dead_after && total < 2 * dead_after, "{total} s");
    }
}
