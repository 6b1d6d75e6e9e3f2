//! The stored jobs: starting one, moving it on, ending it, and sending again a message that was lost.

use std::{collections::BTreeSet, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};
use serde::Deserialize;

use crate::{
    dynamodb::{
        AttributeValue, Client, DynamoDbError, Item, PutItem, Read, TransactWriteItems, UpdateItem,
        from_item, number, string, text,
    },
    metrics::{ordered::Ordered, period::parse_instant},
    store::job::{Job, JobError, JobQueue, job_key, latest_key, unfinished_key},
};

/// How often an item is read again because it changed while it was being written.
const MAXIMUM_JOB_CONFLICTS: u32 = 5;

/// How long an entry of the unfinished jobs is kept if its job does not exist: the job may be about to be
/// stored.
const STORED_WITHIN: TimeDelta = TimeDelta::hours(1);

/// The most jobs that are checked at once, oldest first. Each job ends within [`DEAD_AFTER`], so none is
/// left out for ever.
///
/// [`DEAD_AFTER`]: super::job::DEAD_AFTER
const REVIVED_AT_ONCE: usize = 20;

/// A job could not be read or stored.
#[derive(Debug, Clone, thiserror::Error)]
pub enum JobStoreError {
    /// DynamoDB failed.
    #[error(transparent)]
    DynamoDb(#[from] DynamoDbError),
    /// The stored job is damaged.
    #[error(transparent)]
    Job(#[from] JobError),
    /// Other requests or runs kept changing the job.
    #[error("the job changed {MAXIMUM_JOB_CONFLICTS} times while it was being written")]
    Conflicts,
}

impl JobStoreError {
    fn is_condition_failure(&self) -> bool {
        matches!(self, Self::DynamoDb(error) if error.is_condition_failure())
    }
}

/// Stores `job` and makes it the latest of its request. If a job of the same request is running, that
/// one is returned, with `false`. A dead one is ended first.
///
/// # Errors
///
/// [`JobStoreError`].
pub async fn start_job(
    client: &Client,
    table: &str,
    job: Job,
    token: u128,
    now: DateTime<Utc>,
) -> Result<(Job, bool), JobStoreError> {
    let latest = latest_key(&job.request);
    let item = job.to_item()?;
    let mut attempts = 0;
    loop {
        let known = client.get(table, latest.clone(), Read::Consistent).await?;
        let known = known.as_ref().and_then(|item| text(item, "jobId")).map(str::to_owned);
        if let Some(job_id) = &known
            && let Some(running) = read_live_job(client, table, job_id, now).await?
            && running.finished_at.is_none()
        {
            return Ok((running, false));
        }
        // Before the job itself: a job that is stored and not in this list could be lost.
        note_unfinished(client, table, &job).await?;
        let put_job = PutItem::new(table, item.clone()).only_if("attribute_not_exists(PK)", []);
        let mut pointer = latest.clone().into_inner();
        pointer.insert("jobId".to_owned(), string(&job.job_id));
        pointer.insert("EntityType".to_owned(), string("AnalyticsJobRequest"));
        if let Some(ttl) = item.get("ttl") {
            pointer.insert("ttl".to_owned(), ttl.clone());
        }
        let put_latest = PutItem::new(table, Item::from(pointer));
        let put_latest = match known {
            None => put_latest.only_if("attribute_not_exists(PK)", []),
            Some(known) => put_latest.only_if("jobId = :known", [(":known", string(known))]),
        };
        let puts = vec![put_job.into(), put_latest.into()];
        match client.send(&TransactWriteItems::new(puts, token.wrapping_add(attempts))).await {
            Ok(_) => return Ok((job, true)),
            // Another request for the same was processed at the same time.
            Err(error) if error.is_cancelled_transaction() && attempts < 3 => attempts += 1,
            Err(error) => return Err(error.into()),
        }
    }
}

/// Reads a job; `None` if there is no job with this id.
///
/// # Errors
///
/// [`JobStoreError`].
pub async fn read_job(
    client: &Client,
    table: &str,
    job_id: &str,
) -> Result<Option<Job>, JobStoreError> {
    let item = client.get(table, job_key(job_id), Read::Consistent).await?;
    Ok(item.map(Job::from_item).transpose()?)
}

/// Reads a job, and ends it if it is dead.
///
/// # Errors
///
/// [`JobStoreError`].
pub async fn read_live_job(
    client: &Client,
    table: &str,
    job_id: &str,
    now: DateTime<Utc>,
) -> Result<Option<Job>, JobStoreError> {
    end_if(client, table, job_id, |job| {
        let is_dead = job.is_dead(now);
        if is_dead {
            job.end_dead(now);
        }
        is_dead
    })
    .await
}

/// Ends a job that has not finished, for this reason. A finished job is not changed. Messages of an
/// ended job have no effect. `None` if there is no job with this id.
///
/// # Errors
///
/// [`JobStoreError`].
pub async fn end_job(
    client: &Client,
    table: &str,
    job_id: &str,
    reason: &str,
    now: DateTime<Utc>,
) -> Result<Option<Job>, JobStoreError> {
    end_if(client, table, job_id, |job| {
        let is_unfinished = job.finished_at.is_none();
        if is_unfinished {
            job.end(reason, now);
        }
        is_unfinished
    })
    .await
}

/// Reads a job, and stores it if `end` ends it. It is read again if it has changed meanwhile.
async fn end_if(
    client: &Client,
    table: &str,
    job_id: &str,
    end: impl Fn(&mut Job) -> bool,
) -> Result<Option<Job>, JobStoreError> {
    for _ in 0..MAXIMUM_JOB_CONFLICTS {
        let Some(mut job) = read_job(client, table, job_id).await? else { return Ok(None) };
        let seen = job.next_slice;
        if !end(&mut job) {
            return Ok(Some(job));
        }
        match move_job(client, table, &job, seen).await {
            // It stays in the list of unfinished jobs until `revive_jobs` finds that it has ended.
            Ok(()) => return Ok(Some(job)),
            Err(error) if error.is_condition_failure() => {}
            Err(error) => return Err(error),
        }
    }
    Err(JobStoreError::Conflicts)
}

/// Stores a job that has changed, if the stored one is still at slice `seen` and has not finished.
///
/// # Errors
///
/// [`JobStoreError`]; a condition failure means that the stored job has changed.
pub async fn move_job(
    client: &Client,
    table: &str,
    job: &Job,
    seen: usize,
) -> Result<(), JobStoreError> {
    let put = PutItem::new(table, job.to_item()?).only_if(
        "nextSlice = :seen AND (attribute_not_exists(finishedAt) OR attribute_type(finishedAt, :null))",
        [(":seen", number(&seen)), (":null", string("NULL"))],
    );
    client.send(&put).await?;
    Ok(())
}

// ---------------------------------------------------------------------------------------------
// The unfinished jobs

/// The item that lists them.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Unfinished {
    unfinished_jobs: BTreeSet<String>,
}

/// The result of [`revive_jobs`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Revived {
    /// Jobs whose message was sent again.
    pub sent: Vec<String>,
    /// Dead jobs that were ended.
    pub ended: Vec<String>,
    /// What failed, and why.
    pub problems: Vec<String>,
}

impl Revived {
    /// Whether nothing was done and nothing failed.
    #[must_use]
    pub fn is_nothing(&self) -> bool {
        self.sent.is_empty() && self.ended.is_empty() && self.problems.is_empty()
    }
}

/// Checks the jobs that have not finished: ends dead ones, and sends the message of a stuck one again,
/// because it was lost. Reads a single item if there are none.
pub async fn revive_jobs(
    client: &Client,
    table: &str,
    queue: &dyn JobQueue,
    now: DateTime<Utc>,
) -> Revived {
    let mut revived = Revived::default();
    let unfinished = match read_unfinished(client, table).await {
        Ok(unfinished) => unfinished,
        Err(error) => {
            revived.problems.push(format!("could not read the list of unfinished jobs: {error}"));
            return revived;
        }
    };
    let by_start = unfinished
        .iter()
        .filter_map(|entry| entry.split_once('#').map(|(id, start)| (start, id, entry)))
        .ordered_vec();
    let mut over = Vec::new();
    for (start, job_id, entry) in by_start.into_iter().take(REVIVED_AT_ONCE) {
        match revive(client, table, queue, job_id, now, &mut revived).await {
            Ok(Some(job)) if job.finished_at.is_some() => over.push(entry.clone()),
            Ok(Some(_)) => {}
            Ok(None) => {
                if parse_instant(start).is_none_or(|start| now - start > STORED_WITHIN) {
                    over.push(entry.clone());
                }
            }
            Err(error) => revived.problems.push(format!("job {job_id}: {error}")),
        }
    }
    if !over.is_empty()
        && let Err(error) = forget_unfinished(client, table, over).await
    {
        revived.problems.push(format!("could not update the list of unfinished jobs: {error}"));
    }
    revived
}

async fn revive(
    client: &Client,
    table: &str,
    queue: &dyn JobQueue,
    job_id: &str,
    now: DateTime<Utc>,
    revived: &mut Revived,
) -> Result<Option<Job>, JobStoreError> {
    let Some(before) = read_job(client, table, job_id).await? else { return Ok(None) };
    if before.is_dead(now) {
        revived.ended.push(job_id.to_owned());
        return read_live_job(client, table, job_id, now).await;
    }
    if !before.is_stuck(now) {
        return Ok(Some(before));
    }
    let mut job = before;
    if let Err(error) = queue.send(job.message(), Duration::ZERO).await {
        revived.problems.push(format!("job {job_id}: {error}"));
        return Ok(Some(job));
    }
    revived.sent.push(job_id.to_owned());
    // After the message was sent: a second message has no effect, but a job that is marked as revived
    // without a message is lost.
    job.note_revived(now);
    match move_job(client, table, &job, job.next_slice).await {
        Err(error) if !error.is_condition_failure() => Err(error),
        _ => Ok(Some(job)),
    }
}

/// Reads the unfinished jobs, each as `{jobId}#{startedAt}`.
async fn read_unfinished(client: &Client, table: &str) -> Result<BTreeSet<String>, JobStoreError> {
    let item = client.get(table, unfinished_key(), Read::Eventual).await?;
    let unfinished: Option<Unfinished> = item
        .map(from_item)
        .transpose()
        .map_err(|error| JobError::Mapping(format!("ANALYTICS_JOB / unfinished: {error}")))?;
    Ok(unfinished.unwrap_or_default().unfinished_jobs)
}

fn entry(job: &Job) -> String {
    format!("{}#{}", job.job_id, job.started_at)
}

async fn note_unfinished(client: &Client, table: &str, job: &Job) -> Result<(), DynamoDbError> {
    let entries = AttributeValue::Ss(vec![entry(job)]);
    let update = UpdateItem::new(
        table,
        unfinished_key(),
        "ADD unfinishedJobs :jobs SET EntityType = :entity",
        None,
        [(":jobs", entries), (":entity", string("AnalyticsJobs"))],
    );
    client.send(&update).await.map(|_| ())
}

async fn forget_unfinished(
    client: &Client,
    table: &str,
    entries: impl IntoIterator<Item = String>,
) -> Result<(), DynamoDbError> {
    let entries = AttributeValue::Ss(entries.into_iter().collect());
    let update = UpdateItem::new(
        table,
        unfinished_key(),
        "DELETE unfinishedJobs :jobs",
        None,
        [(":jobs", entries)],
    );
    client.send(&update).await.map(|_| ())
}
