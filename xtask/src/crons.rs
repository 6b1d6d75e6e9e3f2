//! Sends the Worker its cron events while `dev` runs; wrangler does not.

use std::{path::PathBuf, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};

use crate::{
    error::Error,
    history::StoredHistory,
    schedule::{due, next_after},
    worker::CronSender,
};

/// The cron expression that refreshes the realtime counters.
pub const TICK: &str = "*/5 * * * *";

/// The longest sleep: while a machine is suspended its timers stand still, but events become due.
const MAXIMUM_SLEEP: Duration = Duration::from_secs(30);

/// Sends cron events for a stored sample.
pub struct Crons {
    sender: CronSender,
    stored: StoredHistory,
    folder: PathBuf,
}

impl Crons {
    /// Sends those after `stored.reached`, and stores in `folder` how far it got.
    pub fn new(sender: CronSender, stored: StoredHistory, folder: PathBuf) -> Self {
        Self { sender, stored, folder }
    }

    /// Sends events at their times until it is dropped, and prints which.
    pub async fn run(mut self) -> Error {
        let mut tick = next_tick(Utc::now());
        loop {
            let now = Utc::now();
            let wake = next_after(self.stored.reached).min(tick);
            if now < wake {
                let left = (wake - now).to_std().unwrap_or_default();
                tokio::time::sleep(left.min(MAXIMUM_SLEEP)).await;
                continue;
            }
            if let Err(error) = self.send_due(now).await {
                eprintln!("{} cron event: {error}", now.format("%H:%M"));
                // Try again: the Worker may be restarting.
                tokio::time::sleep(MAXIMUM_SLEEP).await;
            }
            if tick <= now {
                // Of several that became due during a sleep, the last is enough. If it fails, the
                // Worker's log says so.
                let at = next_tick(now) - TimeDelta::minutes(5);
                let _ = self.sender.send_cron(TICK, at).await;
                tick = next_tick(now);
            }
        }
    }

    async fn send_due(&mut self, now: DateTime<Utc>) -> crate::error::Result<()> {
        for event in due(self.stored.reached, now, 1) {
            self.sender.send(event).await?;
            eprintln!("{} {} cron event: sent", event.at.format("%F %H:%M"), event.granularity);
        }
        self.stored.reached = now;
        self.stored.write(&self.folder)
    }
}

/// The first full five minutes after `instant`.
fn next_tick(instant: DateTime<Utc>) -> DateTime<Utc> {
    let into = instant.timestamp_millis().rem_euclid(300_000);
    instant + TimeDelta::milliseconds(300_000 - into)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_at_full_five_minutes() {
        let at = |text: &str| text.parse::<DateTime<Utc>>().unwrap();
        assert_eq!(next_tick(at("2026-05-01T10:04:59.999Z")), at("2026-05-01T10:05:00Z"));
        assert_eq!(next_tick(at("2026-05-01T10:05:00Z")), at("2026-05-01T10:10:00Z"));
    }
}
