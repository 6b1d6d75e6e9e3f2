//! `GET /dashboard`: the current counters, and the headlines of the catalogue, each with its change and
//! its points of the last day and month, in one call.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use axum::{
    Extension,
    extract::{RawQuery, State},
    response::Response,
};
use chrono::{DateTime, TimeDelta, Utc};
use futures_util::join;
use http::StatusCode;
use rust_decimal::Decimal;
use serde_json::{Map, Value as Json, json};

use crate::{
    dynamodb::{DynamoDbError, Item, Read},
    host::SharedBackground,
    metrics::{
        catalogue::definition::{Metric, Rollup},
        numbers,
        period::{Granularity, Period, format_instant},
        record::{Reconstructed, Reconstruction, Record},
    },
    realtime::Snapshot,
    store::{
        record::query_of_all_types,
        run_state::{State as RunState, state_key},
    },
};

use super::{
    App, RequestId, authentication::Administrator, error::ApiError, json_response,
    parameters::Parameters, realtime::current_counters,
};

/// How many hours and days a headline has as points.
const HOURS_SHOWN: usize = 24;
const DAYS_SHOWN: usize = 30;

/// How many hours are read: two days, so that one can be compared with the other even if the hourly run
/// is three hours late.
const HOURS_READ: usize = 51;

/// The records of the last periods, by type and period.
type RecordsByPeriod = HashMap<(String, Period), DashboardRecord>;

/// What the dashboard needs of a record.
struct DashboardRecord {
    metrics: Map<String, Json>,
    reconstructed: Reconstructed,
    is_stale: bool,
}

/// The marks of a value, as in `GET /metrics`. A value without marks is right.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Marks {
    /// A finer record has changed since the record was computed; a later run refreshes it.
    is_stale: bool,
    /// The weakest claim of the values that this one is computed from, if any was reconstructed.
    reconstructed: Option<Reconstruction>,
}

/// A number from one stored record, or from several.
#[derive(Clone, Copy)]
struct MarkedNumber {
    number: Decimal,
    marks: Marks,
}

/// A value, what it is as of, and the value that it is compared with.
struct Headline {
    value: Json,
    marks: Marks,
    as_of: DateTime<Utc>,
    before: Option<MarkedNumber>,
    compared_to: DateTime<Utc>,
}

/// What headlines are computed from.
struct HeadlineInputs {
    hours: RecordsByPeriod,
    days: RecordsByPeriod,
    /// The running hour and the running day.
    hour: Period,
    day: Period,
    snapshot: Option<Snapshot>,
}

/// Answers `GET /dashboard`.
pub async fn dashboard(
    _administrator: Administrator,
    State(app): State<Arc<App>>,
    Extension(request_id): Extension<RequestId>,
    Extension(background): Extension<SharedBackground>,
    RawQuery(query): RawQuery,
) -> Result<Response, ApiError> {
    Parameters::parse(query.as_deref().unwrap_or(""), &[])?;
    let now = app.host.now();
    let hour = Period::containing(Granularity::Hourly, now);
    let day = Period::containing(Granularity::Daily, now);
    let (current, hours, days) = join!(
        current_counters(&app, false, &request_id, &background),
        read(&app, hour, HOURS_READ),
        days(&app, day, &request_id),
    );
    let current = current?;
    let counters = current.to_json(now);
    // An hour is counted from items: there is no finer record that could make it stale.
    let hours = parse_records(&app, hours?, &BTreeMap::new(), now, &request_id);
    let (days, stale) = days?;
    let days = parse_records(&app, days, &stale, now, &request_id);
    let inputs = HeadlineInputs { hours, days, hour, day, snapshot: current.snapshot };
    let names = app.catalogue.realtime().headlines.iter();
    let headlines: Vec<Json> = names
        .filter_map(|name| app.catalogue.metric(name))
        .map(|metric| inputs.headline(metric))
        .collect();
    let data = json!({
        "generatedAt": format_instant(now),
        "counters": counters["counters"],
        "source": counters["source"],
        "stale": counters["stale"],
        "headlines": headlines,
    });
    Ok(json_response(StatusCode::OK, &json!({ "success": true, "data": data })))
}

/// The last `count` periods before `running`, latest first.
fn periods_before(running: Period, count: usize) -> impl Iterator<Item = Period> {
    std::iter::successors(Some(running.previous()), |period| Some(period.previous())).take(count)
}

/// Reads the records of the last `count` periods before `running`.
async fn read(app: &App, running: Period, count: usize) -> Result<Vec<Item>, DynamoDbError> {
    let first = periods_before(running, count).last().unwrap_or(running).start();
    let last = running.previous().start();
    let query = query_of_all_types(&app.settings.table, running.granularity(), first, last);
    app.client.query(&query).await
}

/// The stale periods, each with when it was marked last.
type StaleSince = BTreeMap<Period, DateTime<Utc>>;

/// Reads the records of the days before `running`, and which days are stale. The marks are read first,
/// so a record that is refreshed in between is newer than its mark. A state that cannot be read is
/// logged.
async fn days(
    app: &App,
    running: Period,
    request_id: &RequestId,
) -> Result<(Vec<Item>, StaleSince), DynamoDbError> {
    let key = state_key(Granularity::Daily);
    // Consistently, so that a mark that was set before a change is seen.
    let item = app.client.get(&app.settings.table, key, Read::Consistent).await?;
    let stale = match RunState::from_item(item) {
        Ok(state) => state.stale_since(Granularity::Daily),
        Err(error) => {
            app.log_problem(request_id, "unreadable_state", &error);
            StaleSince::new()
        }
    };
    Ok((read(app, running, DAYS_SHOWN).await?, stale))
}

/// The records in `items` that are within retention. A record that cannot be read is logged and left
/// out.
fn parse_records(
    app: &App,
    items: Vec<Item>,
    stale: &StaleSince,
    now: DateTime<Utc>,
    request_id: &RequestId,
) -> RecordsByPeriod {
    let retention = app.settings.options.retention;
    let read = |item| {
        Record::from_item(item)
            .map_err(|error| app.log_problem(request_id, "unreadable_record", &error))
            .ok()
    };
    let known = |record: Record| {
        // A record that was computed after the mark includes the change.
        let is_stale = stale.get(&record.period).is_some_and(|at| record.calculated_at <= *at);
        let Record { metrics, reconstructed, .. } = record;
        ((record.metric_type, record.period), DashboardRecord { metrics, reconstructed, is_stale })
    };
    items
        .into_iter()
        .filter_map(read)
        .filter(|record| !retention.has_ended(record.period, now))
        .map(known)
        .collect()
}

/// The value of the metric in the record of `period`.
fn value(records: &RecordsByPeriod, metric: &Metric, period: Period) -> Option<MarkedNumber> {
    let known = records.get(&(metric.type_name.clone(), period))?;
    let number = known.metrics.get(&metric.name).and_then(numbers::from_json)?;
    let reconstructed = known.reconstructed.get(&metric.name).copied();
    Some(MarkedNumber { number, marks: Marks { is_stale: known.is_stale, reconstructed } })
}

/// The points of the last `count` periods before `running`, earliest first.
fn points(records: &RecordsByPeriod, metric: &Metric, running: Period, count: usize) -> Vec<Json> {
    let mut periods: Vec<Period> = periods_before(running, count).collect();
    periods.reverse();
    let point = |period: Period| {
        let stored = value(records, metric, period);
        let point = json!({
            "timestamp": format_instant(period.start()),
            "value": stored.map(|stored| numbers::to_json(stored.number)),
        });
        stored.map(|stored| stored.marks).unwrap_or_default().on(point)
    };
    periods.into_iter().map(point).collect()
}

impl Marks {
    /// The marks of a value that is computed from both.
    fn and(self, other: Self) -> Self {
        Self {
            is_stale: self.is_stale || other.is_stale,
            reconstructed: self.reconstructed.max(other.reconstructed),
        }
    }

    /// The marks of the difference to a value with the marks `before`. That value is subtracted, so if
    /// it is a lower bound, the difference is only an estimate.
    fn since(self, before: Self) -> Self {
        let subtracted = before.reconstructed.map(|_| Reconstruction::Estimate);
        self.and(Self { reconstructed: subtracted, ..before })
    }

    /// `figure` with these marks.
    fn on(self, mut figure: Json) -> Json {
        if self.is_stale {
            figure["stale"] = json!(true);
        }
        if let Some(reconstructed) = self.reconstructed {
            figure["reconstructed"] = json!(reconstructed);
        }
        figure
    }
}

impl HeadlineInputs {
    fn headline(&self, metric: &Metric) -> Json {
        let found = match metric.rollup {
            Rollup::Last => self.stock(metric),
            Rollup::Sum => self.flow(metric),
            // These cannot be added up over hours; a day has them.
            Rollup::Merge | Rollup::Weighted => self.latest_day(metric),
        };
        let change = found.as_ref().and_then(|found| {
            let now = numbers::from_json(&found.value)?;
            let before = found.before?;
            let absolute = numbers::add(now, -before.number)?;
            let percent = absolute
                .checked_div(before.number.abs())
                .and_then(|ratio| ratio.checked_mul(Decimal::ONE_HUNDRED))
                .map(|percent| numbers::to_json(numbers::in_whole_cents(percent)));
            Some(found.marks.since(before.marks).on(json!({
                "absolute": numbers::to_json(absolute),
                "percent": percent,
                "comparedTo": format_instant(found.compared_to),
            })))
        });
        let marks = found.as_ref().map(|found| found.marks).unwrap_or_default();
        marks.on(json!({
            "metricType": metric.type_name,
            "metric": metric.name,
            "value": found.as_ref().map(|found| &found.value),
            "asOf": found.as_ref().map(|found| format_instant(found.as_of)),
            "change": change,
            "last24Hours": points(&self.hours, metric, self.hour, HOURS_SHOWN),
            "last30Days": points(&self.days, metric, self.day, DAYS_SHOWN),
        }))
    }

    /// The latest period before `running` with a value of the metric.
    fn latest(&self, metric: &Metric, running: Period) -> Option<Period> {
        let (records, count) = match running.granularity() {
            Granularity::Hourly => (&self.hours, HOURS_READ),
            _ => (&self.days, DAYS_SHOWN),
        };
        periods_before(running, count).find(|period| value(records, metric, *period).is_some())
    }

    /// A stock: the value of the counter or of the latest hour, whichever is later, compared with the
    /// end of the hour 24 hours before.
    fn stock(&self, metric: &Metric) -> Option<Headline> {
        let counter = self.snapshot.as_ref().and_then(|snapshot| snapshot.counter(&metric.name));
        let current = counter
            .and_then(|counter| Some((counter.value.clone(), Marks::default(), counter.as_of()?)));
        let recorded = self.latest(metric, self.hour).and_then(|latest| {
            let stored = value(&self.hours, metric, latest)?;
            Some((numbers::to_json(stored.number), stored.marks, latest.next().start()))
        });
        // Hours may be counted while refreshes of the counters fail, and the other way round.
        let found = recorded.into_iter().chain(current);
        let (present, marks, as_of) = found.max_by_key(|(.., as_of)| *as_of)?;
        let day_before = as_of - TimeDelta::hours(24);
        let hour = Period::containing(Granularity::Hourly, day_before).previous();
        Some(Headline {
            value: present,
            marks,
            as_of,
            before: value(&self.hours, metric, hour),
            compared_to: hour.next().start(),
        })
    }

    /// A flow: its sum over the last 24 counted hours, compared with the 24 hours before them.
    fn flow(&self, metric: &Metric) -> Option<Headline> {
        let end = self.latest(metric, self.hour)?.next();
        let sum = |before: Period| {
            let nothing = MarkedNumber { number: Decimal::ZERO, marks: Marks::default() };
            periods_before(before, 24).try_fold(nothing, |sum, hour| {
                let stored = value(&self.hours, metric, hour)?;
                let number = numbers::add(sum.number, stored.number)?;
                Some(MarkedNumber { number, marks: sum.marks.and(stored.marks) })
            })
        };
        let middle = Period::containing(Granularity::Hourly, end.start() - TimeDelta::hours(24));
        let found = sum(end)?;
        Some(Headline {
            value: numbers::to_json(found.number),
            marks: found.marks,
            as_of: end.start(),
            before: sum(middle),
            compared_to: middle.start(),
        })
    }

    /// The latest day, compared with the day before it.
    fn latest_day(&self, metric: &Metric) -> Option<Headline> {
        let latest = self.latest(metric, self.day)?;
        let found = value(&self.days, metric, latest)?;
        Some(Headline {
            value: numbers::to_json(found.number),
            marks: found.marks,
            as_of: latest.next().start(),
            before: value(&self.days, metric, latest.previous()),
            compared_to: latest.start(),
        })
    }
}
