//! Cron events for hours that ended before the Worker was started.

use std::path::Path;

use chrono::{DateTime, TimeDelta, Utc};
use edge_analytics::metrics::period::Granularity;
use sample_platform::Change;

use crate::{
    embedded_dynamodb::EmbeddedDynamoDb,
    error::Result,
    history::StoredHistory,
    progress::Activity,
    schedule::{Event, due},
    worker::Worker,
};

use super::{SHOWN_HOURS, current_hour};

/// Sends the Worker the cron events that have become due since the history ended, or since `dev` was
/// stopped. Before each, the changes up to its time are applied, as far as they were generated.
pub async fn send_due_events(
    worker: &Worker,
    database: &EmbeddedDynamoDb,
    stored: &mut StoredHistory,
    folder: &Path,
    hours: u32,
) -> Result<()> {
    let now = Utc::now();
    let events = due(stored.reached, now, hours);
    if events.is_empty() && stored.reached >= stored.sample.end {
        eprintln!("cron events: none is due");
        return Ok(());
    }
    let mut pending = stored.pending_changes().into_iter().peekable();
    let activity = Activity::start(
        &format!("sending the Worker {} cron events that are due", events.len()),
        "a second or two for each",
    );
    let sender = worker.cron_sender();
    for (number, event) in events.iter().enumerate() {
        let Event { granularity, at } = event;
        activity.note(&format!("{} of {}: {granularity}, {at}", number + 1, events.len()));
        if *granularity == Granularity::Hourly {
            let until: Vec<Change> =
                std::iter::from_fn(|| pending.next_if(|change| change.at <= *at)).collect();
            database.apply(until).await?;
        }
        sender.send(*event).await?;
    }
    database.apply(pending.collect()).await?;
    *stored = StoredHistory { reached: now, ..*stored };
    stored.write(folder)?;
    let missing = worker.missing_hours(current_hour(), SHOWN_HOURS).await?.len();
    activity.finish(&match missing {
        0 => "done".to_owned(),
        missing => format!(
            "of the last {SHOWN_HOURS} hours {missing} are incomplete, see {}",
            worker.log().display()
        ),
    });
    Ok(())
}

/// Sends the Worker the cron events of those of the last `count` hours that have no records.
pub async fn count_missing_hours(worker: &Worker, end: DateTime<Utc>, count: u32) -> Result<()> {
    if count == 0 {
        return Ok(());
    }
    let missing = worker.missing_hours(end, count).await?;
    if missing.is_empty() {
        eprintln!("the last {count} hours have records already");
        return Ok(());
    }
    let activity = Activity::start(
        &format!("computing {} of the last {count} hours", missing.len()),
        "about a second for each",
    );
    for (number, hour) in missing.iter().enumerate() {
        activity.note(&format!(
            "{} of {}: {}",
            number + 1,
            missing.len(),
            hour.format("%F %H:%M UTC")
        ));
        let at = *hour + TimeDelta::hours(1);
        worker.cron_sender().send(Event { granularity: Granularity::Hourly, at }).await?;
    }
    let left = worker.missing_hours(end, count).await?;
    if left.is_empty() {
        activity.finish("done");
    } else {
        activity.finish(&format!(
            "{} hours are still incomplete, see {}",
            left.len(),
            worker.log().display()
        ));
    }
    Ok(())
}
