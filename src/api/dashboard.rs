//! `GET /dashboard`: what an administrator sees first, in one call: the current counters, and the
//! headlines of the catalogue, each with its change and its course over a day and a month.

use std::{collections::HashMap, sync::Arc};

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
    catalogue::definition::{Metric, Rollup},
    dynamodb::{Error, Item},
    host::Severity,
    numbers,
    period::{Granularity, Period, format_instant},
    realtime::Snapshot,
    record::{Record, query_of_all_types},
};

use super::{
    App, RequestId, authentication::Administrator, error::ApiError, json_response,
    parameters::Parameters, realtime::figures,
};

/// How many hours and days are drawn.
const HOURS_DRAWN: usize = 24;
const DAYS_DRAWN: usize = 30;

/// How many hours are read: two days, so that one can be compared with the other, also when the
/// hourly run is three hours late.
const HOURS_READ: usize = 51;

/// The metrics of the last periods, by type and period.
type Records = HashMap<(String, Period), Map<String, Json>>;

/// A value, what it is as of, and what it is compared with, as of when.
struct Headline {
    value: Json,
    as_of: DateTime<Utc>,
    before: Option<Decimal>,
    compared_to: DateTime<Utc>,
}

/// What headlines are made from.
struct Ground {
    hours: Records,
    days: Records,
    /// The hour and the day that are running.
    hour: Period,
    day: Period,
    snapshot: Option<Snapshot>,
}

/// Answers `GET /dashboard`.
pub async fn dashboard(
    _administrator: Administrator,
    State(app): State<Arc<App>>,
    Extension(request_id): Extension<RequestId>,
    RawQuery(query): RawQuery,
) -> Result<Response, ApiError> {
    Parameters::parse(query.as_deref().unwrap_or(""), &[])?;
    let now = app.host.now();
    let hour = Period::containing(Granularity::Hourly, now);
    let day = Period::containing(Granularity::Daily, now);
    let (figures, hours, days) = join!(
        figures(&app, false, &request_id),
        read(&app, hour, HOURS_READ),
        read(&app, day, DAYS_DRAWN),
    );
    let figures = figures?;
    let answer = figures.to_json(now);
    let hours = understood(&app, hours?, now, &request_id);
    let days = understood(&app, days?, now, &request_id);
    let ground = Ground { hours, days, hour, day, snapshot: figures.snapshot };
    let names = app.catalogue.realtime().headlines.iter();
    let headlines: Vec<Json> = names
        .filter_map(|name| app.catalogue.metric(name))
        .map(|metric| ground.headline(metric))
        .collect();
    let data = json!({
        "generatedAt": format_instant(now),
        "counters": answer["counters"],
        "source": answer["source"],
        "stale": answer["stale"],
        "headlines": headlines,
    });
    Ok(json_response(StatusCode::OK, &json!({ "success": true, "data": data })))
}

/// The periods before `running`, the latest first.
fn periods_before(running: Period, count: usize) -> impl Iterator<Item = Period> {
    std::iter::successors(Some(running.previous()), |period| Some(period.previous())).take(count)
}

/// The records of so many periods before `running`.
async fn read(app: &App, running: Period, count: usize) -> Result<Vec<Item>, Error> {
    let first = periods_before(running, count).last().unwrap_or(running).start();
    let last = running.previous().start();
    let query = query_of_all_types(&app.settings.table, running.granularity(), first, last);
    app.client.query(&query).await
}

/// The records in `items`, but for those past retention. One that cannot be read is logged and left
/// out.
fn understood(app: &App, items: Vec<Item>, now: DateTime<Utc>, request_id: &RequestId) -> Records {
    let retention = app.settings.options.retention;
    let read = |item| {
        Record::from_item(item)
            .map_err(|error| {
                let line = json!({
                    "event": "unreadable_record",
                    "requestId": request_id.0,
                    "reason": error.to_string(),
                });
                app.host.log(Severity::Error, &line);
            })
            .ok()
    };
    items
        .into_iter()
        .filter_map(read)
        .filter(|record| !retention.has_ended(record.period, now))
        .map(|record| ((record.metric_type, record.period), record.metrics))
        .collect()
}

/// The number that a record says of the metric.
fn value(records: &Records, metric: &Metric, period: Period) -> Option<Decimal> {
    let metrics = records.get(&(metric.type_name.clone(), period))?;
    metrics.get(&metric.name).and_then(numbers::from_json)
}

/// The points of so many periods before `running`, the earliest first.
fn points(records: &Records, metric: &Metric, running: Period, count: usize) -> Vec<Json> {
    let mut periods: Vec<Period> = periods_before(running, count).collect();
    periods.reverse();
    let point = |period: Period| {
        json!({
            "timestamp": format_instant(period.start()),
            "value": value(records, metric, period).map(numbers::to_json),
        })
    };
    periods.into_iter().map(point).collect()
}

impl Ground {
    fn headline(&self, metric: &Metric) -> Json {
        let found = match metric.rollup {
            Rollup::Last => self.stock(metric),
            Rollup::Sum => self.flow(metric),
            // What cannot be added up over hours is known of whole days.
            Rollup::Merge | Rollup::Weighted => self.of_a_day(metric),
        };
        let change = found.as_ref().and_then(|found| {
            let now = numbers::from_json(&found.value)?;
            let absolute = numbers::add(now, -found.before?)?;
            let percent = absolute
                .checked_div(found.before?.abs())
                .and_then(|ratio| ratio.checked_mul(Decimal::ONE_HUNDRED))
                .map(|percent| numbers::to_json(numbers::in_whole_cents(percent)));
            Some(json!({
                "absolute": numbers::to_json(absolute),
                "percent": percent,
                "comparedTo": format_instant(found.compared_to),
            }))
        });
        json!({
            "metricType": metric.type_name,
            "metric": metric.name,
            "value": found.as_ref().map(|found| &found.value),
            "asOf": found.as_ref().map(|found| format_instant(found.as_of)),
            "change": change,
            "last24Hours": points(&self.hours, metric, self.hour, HOURS_DRAWN),
            "last30Days": points(&self.days, metric, self.day, DAYS_DRAWN),
        })
    }

    /// The latest period before `running` of which the metric is known.
    fn latest(&self, metric: &Metric, running: Period) -> Option<Period> {
        let (records, count) = match running.granularity() {
            Granularity::Hourly => (&self.hours, HOURS_READ),
            _ => (&self.days, DAYS_DRAWN),
        };
        periods_before(running, count).find(|period| value(records, metric, *period).is_some())
    }

    /// A stock: as the counter has it or the latest hour, whichever is later, against 24 hours
    /// before, at the end of an hour.
    fn stock(&self, metric: &Metric) -> Option<Headline> {
        let counter = self.snapshot.as_ref().and_then(|snapshot| snapshot.counter(&metric.name));
        let current = counter.and_then(|counter| Some((counter.value.clone(), counter.as_of()?)));
        let recorded = self.latest(metric, self.hour).and_then(|latest| {
            let stored = value(&self.hours, metric, latest)?;
            Some((numbers::to_json(stored), latest.next().start()))
        });
        // Hours go on being counted while ticks fail, and the other way round.
        let found = recorded.into_iter().chain(current);
        let (present, as_of) = found.max_by_key(|(_, as_of)| *as_of)?;
        let day_before = as_of - TimeDelta::hours(24);
        let hour = Period::containing(Granularity::Hourly, day_before).previous();
        Some(Headline {
            value: present,
            as_of,
            before: value(&self.hours, metric, hour),
            compared_to: hour.next().start(),
        })
    }

    /// A flow: in the last 24 hours that were counted against the 24 hours before them.
    fn flow(&self, metric: &Metric) -> Option<Headline> {
        let end = self.latest(metric, self.hour)?.next();
        let sum = |before: Period| {
            periods_before(before, 24).try_fold(Decimal::ZERO, |sum, hour| {
                numbers::add(sum, value(&self.hours, metric, hour)?)
            })
        };
        let middle = Period::containing(Granularity::Hourly, end.start() - TimeDelta::hours(24));
        Some(Headline {
            value: numbers::to_json(sum(end)?),
            as_of: end.start(),
            before: sum(middle),
            compared_to: middle.start(),
        })
    }

    /// The latest day against the day before it.
    fn of_a_day(&self, metric: &Metric) -> Option<Headline> {
        let latest = self.latest(metric, self.day)?;
        Some(Headline {
            value: numbers::to_json(value(&self.days, metric, latest)?),
            as_of: latest.next().start(),
            before: value(&self.days, metric, latest.previous()),
            compared_to: latest.start(),
        })
    }
}
