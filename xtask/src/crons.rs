//! The clock that fires the Worker's cron events while `dev` runs; wrangler has none.

use std::{path::PathBuf, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};

use crate::{
    error::Error,
    history::Stored,
    schedule::{due, next_after},
    worker::CronSender,
};

/// The cron expression of the tick of what is shown in real time.
pub const TICK: &str = "*/5 * * * *";

/// The longest sleep: timers stand still while a machine is suspended, cron events do not.
const NAP: Duration = Duration::from_secs(30);

/// What fires cron events on a stored sample.
pub struct Crons {
    sender: CronSender,
    stored: Stored,
    folder: PathBuf,
}

impl Crons {
    /// Fires those after what is `stored` in `folder` has reached.
    pub fn new(sender: CronSender, stored: Stored, folder: PathBuf) -> Self {
        Self { sender, stored, folder }
    }

    /// Fires events at their times, for ever; says what it fires.
    pub async fn fire(mut self) -> Error {
        let mut tick = next_tick(Utc::now());
        loop {
            let now = Utc::now();
            let wake = next_after(self.stored.reached).min(tick);
            if now < wake {
                let left = (wake - now).to_std().unwrap_or_default();
                tokio::time::sleep(left.min(NAP)).await;
                continue;
            }
            if let Err(error) = self.fire_due(now).await {
                eprintln!("{} cron event: {error}", now.format("%H:%M"));
                // Tried again: the Worker may be restarting.
                tokio::time::sleep(NAP).await;
            }
            if tick <= now {
                // Of ticks that were slept through, the last is enough; and a Worker that has
                // nothing to do at one says so in its log.
                let at = next_tick(now) - TimeDelta::minutes(5);
                let _ = self.sender.fire(TICK, at).await;
                tick = next_tick(now);
            }
        }
    }

    async fn fire_due(&mut self, now: DateTime<Utc>) -> crate::error::Result<()> {
        for event in due(self.stored.reached, now, 1) {
            self.sender.send(event).await?;
            eprintln!("{} {} cron event: done", event.at.format("%F %H:%M"), event.granularity);
        }
        self.stored.reached = now;
        self.stored.write(&self.folder)
    }
}

/// The first tick after `instant`.
fn next_tick(instant: DateTime<Utc>) -> DateTime<Utc> {
    let into = instant.timestamp_millis().rem_euclid(300_000);
    instant + TimeDelta::milliseconds(300_000 - into)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tick_comes_every_five_minutes() {
        let at = |text: &str| text.parse::<DateTime<Utc>>().unwrap();
        assert_eq!(next_tick(at("2026-05-01T10:04:59.999Z")), at("2026-05-01T10:05:00Z"));
        assert_eq!(next_tick(at("2026-05-01T10:05:00Z")), at("2026-05-01T10:10:00Z"));
    }
}
