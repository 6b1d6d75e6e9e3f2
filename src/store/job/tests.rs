use std::collections::BTreeSet;

use chrono::TimeZone;
use proptest::prelude::*;

use super::*;
use crate::{
    dynamodb::{Item, number},
    metrics::period::{Granularity, Period},
};

fn at(month: u32, day: u32, hour: u32) -> DateTime<Utc> {
    Utc.with_ymd_and_hms(2026, month, day, hour, 0, 0).unwrap()
}

fn request(granularity: Granularity, first: DateTime<Utc>, last: DateTime<Utc>) -> JobRequest {
    JobRequest {
        metric_type: None,
        granularity: granularity.name().to_owned(),
        start_date: format_instant(first),
        end_date: format_instant(last),
        first: format_instant(first),
        last: format_instant(last),
        overwrite: false,
    }
}

/// A job for two days of June, asked for on 10 June at noon.
fn two_days() -> Job {
    let request = request(Granularity::Daily, at(6, 8, 0), at(6, 9, 0));
    Job::new(7, request, 2, at(1, 1, 0), Retention::default(), at(6, 10, 12))
}

/// A job for so many hours up to 9 June.
fn hours(count: usize) -> Job {
    let last = at(6, 9, 0);
    let first = last - TimeDelta::hours(i64::try_from(count).unwrap() - 1);
    let request = request(Granularity::Hourly, first, last);
    Job::new(7, request, count, at(1, 1, 0), Retention::default(), at(6, 10, 12))
}

#[test]
fn a_job_survives_being_written_and_read() {
    let job = two_days();
    assert_eq!(job.status(), JobStatus::Queued);
    let slices = job.slices().unwrap();
    let shape: Vec<_> = slices.iter().map(|slice| (slice.work, slice.periods.len())).collect();
    assert_eq!(shape, [(Work::Count, 48), (Work::RollUp, 2)]);
    assert_eq!(slices.iter().map(|slice| job.asked_for(slice)).sum::<usize>(), 2);
    assert_eq!(Job::from_item(job.to_item().unwrap()).unwrap(), job);
}

/// The slices are those that were stored, whatever a newer build would cut them into.
#[test]
fn slices_are_those_of_the_build_that_stored_the_job() {
    let mut job = hours(100);
    let before = job.slices().unwrap();
    // What decides on slices has changed since.
    job.retention = [1, 1, 1, 1];
    job.begin = format_instant(at(6, 9, 0));
    let job = Job::from_item(job.to_item().unwrap()).unwrap();
    assert_eq!(job.slices().unwrap(), before);
}

#[test]
fn a_job_of_an_older_build_is_read() {
    let job = two_days();
    let mut item = job.to_item().unwrap().into_inner();
    for added in ["sliceGroups", "isIncomplete", "gaveWay", "attemptedAt"] {
        assert!(item.remove(added).is_some(), "{added}");
    }
    // It could note more failures than there are periods.
    item.insert("failed".to_owned(), number(&5));
    item.insert("done".to_owned(), number(&1));
    let read = Job::from_item(Item::from(item)).unwrap();
    assert_eq!((read.done, read.failed), (1, 1));
    assert_eq!(read.slices().unwrap(), job.slices().unwrap());
    assert_eq!(read.request, job.request);
}

#[test]
fn a_job_that_does_not_move_is_stuck_and_then_dead() {
    let mut job = two_days();
    let start = at(6, 10, 12);
    assert!(!job.is_stuck(start + TimeDelta::minutes(44)));
    assert!(job.is_stuck(start + TimeDelta::minutes(45)));
    // An attempt that failed is a sign of life, but no progress.
    job.note_attempt("throttled", true, start + TimeDelta::minutes(30));
    assert!(!job.is_stuck(start + TimeDelta::minutes(74)));
    let late = start + TimeDelta::hours(6);
    assert!(!job.is_dead(late - TimeDelta::milliseconds(1)) && job.is_dead(late));
    job.end_dead(late);
    assert_eq!((job.status(), job.done, job.failed), (JobStatus::Failed, 0, 2));
    assert!(job.reasons[0].contains("6 hours") && job.reasons[0].contains("throttled"));
    assert!(!job.is_dead(late) && !job.is_stuck(late));
}

/// The largest jobs there can be, with as many and as long reasons as are kept, and cut as often as
/// they can be: the item stays far below DynamoDB's 400 KB.
#[test]
fn the_largest_jobs_fit_into_an_item() {
    let begin = Utc.with_ymd_and_hms(2016, 1, 1, 0, 0, 0).unwrap();
    let now = at(6, 10, 12);
    for granularity in Granularity::ALL {
        for retention in
            [Retention::default(), Retention { hourly: 0, daily: 0, weekly: 0, monthly: 0 }]
        {
            let last = Period::containing(granularity, now).previous();
            let first = std::iter::successors(Some(last), |period| Some(period.previous()))
                .nth(MAXIMUM_JOB_PERIODS - 1)
                .unwrap();
            let request = request(granularity, first.start(), last.start());
            let mut job = Job::new(7, request, MAXIMUM_JOB_PERIODS, begin, retention, now);
            let mut moves = 0;
            let slices =
                |job: &Job| job.slice_groups.iter().map(SliceGroup::slices_len).sum::<usize>();
            while job.finished_at.is_none() {
                moves += 1;
                // Every slice is cut as often as it can be, for the first hundred.
                if moves < 100 && job.halve(now).unwrap() {
                    continue;
                }
                let count = slices(&job);
                job.give_up(1, count, &"long ".repeat(200), now);
            }
            let size = serde_json::to_string(&job.to_item().unwrap()).unwrap().len();
            assert!(size < 40_000, "{granularity} {retention}: {size} bytes");
        }
    }
}

/// What can happen to a job.
#[derive(Debug, Clone, Copy)]
enum Event {
    Done,
    GivenUp,
    GaveWay,
    Failed,
    Halved,
    Read,
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        4 => Just(Event::Done),
        1 => Just(Event::GivenUp),
        1 => Just(Event::GaveWay),
        1 => Just(Event::Failed),
        1 => Just(Event::Halved),
        1 => Just(Event::Read),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever happens to a job: its periods are each done, failed or open, and what it does is
    /// every period that was asked for, once.
    #[test]
    fn every_period_is_done_or_failed_once(
        count in 1_usize..300,
        events in prop::collection::vec(event(), 0..60),
        is_dismissed in any::<bool>(),
    ) {
        let now = at(6, 10, 13);
        let mut job = hours(count);
        let asked: BTreeSet<Period> = job.request.asked().unwrap().into_iter().collect();
        let (mut done, mut failed) = (BTreeSet::new(), BTreeSet::new());
        for event in events.into_iter().chain(std::iter::repeat_n(Event::Done, 1000)) {
            let slices = job.slices().unwrap();
            if job.finished_at.is_some() || (is_dismissed && job.next_slice > 2) {
                break;
            }
            let slice = &slices[job.next_slice];
            let of_slice = slice.periods.iter().copied().filter(|period| asked.contains(period));
            match event {
                Event::Done => {
                    for period in of_slice {
                        prop_assert!(done.insert(period), "{period:?} is done twice");
                    }
                    job.advance(job.asked_for(slice), slices.len(), now);
                }
                Event::GivenUp => {
                    for period in of_slice {
                        prop_assert!(failed.insert(period), "{period:?} fails twice");
                    }
                    job.give_up(job.asked_for(slice), slices.len(), "refused", now);
                }
                Event::GaveWay => job.note_way_given(now).unwrap(),
                Event::Failed => job.note_attempt("throttled", false, now),
                Event::Halved => { job.halve(now).unwrap(); }
                Event::Read => job = Job::from_item(job.to_item().unwrap()).unwrap(),
            }
            prop_assert!(job.done + job.failed <= job.periods, "{job:?}");
            prop_assert_eq!((job.done, job.failed), (done.len(), failed.len()));
        }
        if job.finished_at.is_none() {
            job.end("dismissed", now);
            prop_assert_eq!(job.done + job.failed, job.periods);
            prop_assert_eq!(job.status(), JobStatus::Failed);
        } else {
            let both: BTreeSet<Period> = done.union(&failed).copied().collect();
            prop_assert_eq!(both, asked);
            let is_failed = job.is_incomplete;
            prop_assert_eq!(job.status() == JobStatus::Failed, is_failed);
        }
    }

    /// Counts that are no longer true of any job: still never more than there are periods.
    #[test]
    fn counts_never_exceed_the_periods(
        periods in 0_usize..10,
        steps in prop::collection::vec((any::<bool>(), prop_oneof![0_usize..20, Just(usize::MAX)]), 0..30),
    ) {
        let now = at(6, 10, 13);
        let mut job = hours(10);
        job.periods = periods;
        for (is_done, count) in steps {
            if is_done {
                job.advance(count, 100, now);
            } else {
                job.give_up(count, 100, "refused", now);
            }
            prop_assert!(job.failed <= job.periods && job.done + job.failed <= job.periods);
        }
        job.end("dismissed", now);
        prop_assert_eq!(job.done + job.failed, job.periods);
    }
}
