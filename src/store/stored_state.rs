//! Reading the run state. Damage is an error that names the item and the attribute and says what to
//! do. A default instead would make a run start again from its own hour, or list the periods of
//! thousands of years.

use std::collections::{BTreeSet, HashMap};

use chrono::{DateTime, TimeDelta, TimeZone, Utc};
use serde::de::DeserializeOwned;

use crate::{
    dynamodb::{AttributeValue, Item, from_item, text},
    metrics::{
        ordered::Ordered,
        period::{Granularity, parse_instant},
    },
    store::{
        marks::Mark,
        run_state::{Progress, State},
    },
};

/// The years that an instant in the run state can have.
const POSSIBLE_YEARS: std::ops::Range<i32> = 2000..2100;

/// The run state is damaged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("run state item ANALYTICS_STATE / {item}: attribute `{attribute}` {problem}. {remedy}")]
pub struct StateError {
    /// The sort key of the item: the granularity.
    pub item: String,
    /// The attribute.
    pub attribute: String,
    problem: String,
    remedy: String,
}

impl StateError {
    /// The error of a damaged `attribute` in the state of `granularity`; `problem` says what it
    /// must be.
    fn new(granularity: &str, attribute: impl Into<String>, problem: impl Into<String>) -> Self {
        let attribute = attribute.into();
        let remedy = match attribute.split('.').next().unwrap_or_default() {
            "runState" if granularity == Granularity::Hourly.name() => {
                "Delete the item: the next hourly run then starts again with its own hour; \
                 stored records are kept"
                    .to_owned()
            }
            "runState" => format!(
                "Delete the item: the next {granularity} run then checks every period since the \
                 first counted hour; stored records are kept"
            ),
            "cacheVersion" => "Replace it with the current time in seconds since 1970, which is \
                               larger than any earlier version, so that cached responses are not used \
                               again"
                .to_owned(),
            "unsettledUntil" => {
                "Delete the attribute, then wait 15 minutes: until then, a response \
                                 that is about to change can be cached"
                    .to_owned()
            }
            "markedBy" => {
                "Delete the attribute: stale periods are then refreshed by the next runs \
                           of their own granularity"
                    .to_owned()
            }
            "staleMarks" | "refreshes" => format!(
                "Delete the attribute, then recalculate the {granularity} periods of the last \
                 days: stored records are kept, but it is no longer known which are stale"
            ),
            _ => "Delete the attribute: the next run then takes the lease".to_owned(),
        };
        Self { item: granularity.to_owned(), attribute, problem: problem.into(), remedy }
    }
}

impl State {
    /// Reads the item. Without an item, nothing has run yet.
    ///
    /// # Errors
    ///
    /// [`StateError`] when an attribute is damaged.
    pub fn from_item(item: Option<Item>) -> Result<Self, StateError> {
        let Some(item) = item else { return Ok(Self::default()) };
        let granularity = text(&item, "SK").unwrap_or("(no sort key)").to_owned();
        let reader = StateReader { granularity: &granularity, item: &item };
        Ok(Self {
            progress: reader.progress()?,
            marks: reader.entries("staleMarks", "{start}#{instant}#{run}", is_mark)?,
            refreshes: reader.entries("refreshes", "{start}#{instant}", is_mark)?,
            cache_version: reader.number("cacheVersion")?,
            unsettled_until: reader.number("unsettledUntil")?,
            marked_by: reader.entries("markedBy", "{instant}#{run}", is_announcement)?,
        })
    }

    /// Rejects a state with instants in the future at `now`: runs would do nothing until then. A
    /// day is tolerated for clocks that differ.
    ///
    /// # Errors
    ///
    /// [`StateError`] that names the attribute.
    pub fn not_after(
        self,
        granularity: Granularity,
        now: DateTime<Utc>,
    ) -> Result<Self, StateError> {
        let progress = &self.progress;
        for (attribute, instant) in [
            ("runState.begin", &progress.begin),
            ("runState.watermark", &progress.watermark),
            ("runState.latest", &progress.latest),
            ("runState.recalculateFrom", &progress.recalculate_from),
        ] {
            let instant = instant.as_deref().and_then(parse_instant);
            if instant.is_some_and(|instant| instant > now + TimeDelta::days(1)) {
                let problem = "must not be in the future";
                return Err(StateError::new(granularity.name(), attribute, problem));
            }
        }
        Ok(self)
    }
}

/// Reads an attribute of a state item as `T`.
///
/// # Errors
///
/// [`StateError`] when it is there and is something else.
pub(crate) fn read_attribute<T: DeserializeOwned + Default>(
    granularity: Granularity,
    item: &Item,
    attribute: &str,
    problem: &str,
) -> Result<T, StateError> {
    StateReader { granularity: granularity.name(), item }.read(attribute, problem)
}

/// Reads the attributes of one item.
struct StateReader<'item> {
    granularity: &'item str,
    item: &'item Item,
}

impl StateReader<'_> {
    fn error(&self, attribute: impl Into<String>, problem: impl Into<String>) -> StateError {
        StateError::new(self.granularity, attribute, problem)
    }

    fn read<T: DeserializeOwned + Default>(
        &self,
        attribute: &str,
        problem: &str,
    ) -> Result<T, StateError> {
        let Some(value) = self.item.get(attribute) else { return Ok(T::default()) };
        let only = HashMap::from([("value".to_owned(), value.clone())]);
        let read = from_item::<HashMap<String, T>>(Item::from(only));
        let value = read.ok().and_then(|mut read| read.remove("value"));
        value.ok_or_else(|| self.error(attribute, problem))
    }

    fn number<T: DeserializeOwned + Default>(&self, attribute: &str) -> Result<T, StateError> {
        self.read(attribute, "must be a whole number that is not negative")
    }

    /// Reads a set of strings that all must be valid.
    fn entries(
        &self,
        attribute: &str,
        form: &str,
        is_valid: fn(&str) -> bool,
    ) -> Result<BTreeSet<String>, StateError> {
        let problem = format!("must be a set of strings `{form}` with instants from 2000 to 2099");
        let entries: BTreeSet<String> = self.read(attribute, &problem)?;
        if entries.iter().all(|entry| is_valid(entry)) {
            Ok(entries)
        } else {
            Err(self.error(attribute, problem))
        }
    }

    fn progress(&self) -> Result<Progress, StateError> {
        let fields = match self.item.get("runState") {
            Some(AttributeValue::M(fields)) => fields,
            Some(_) => return Err(self.error("runState", "must be a map")),
            // The first run that takes the lease writes it. Periods of a coarser granularity can
            // become stale before its first run.
            None if self.granularity == Granularity::Hourly.name() => {
                return Err(self.error("runState", "is missing"));
            }
            None => return Ok(Progress::default()),
        };
        let read = |fields: &HashMap<String, AttributeValue>| {
            from_item::<Progress>(Item::from(fields.clone()))
        };
        let progress = read(fields).map_err(|_| {
            let names = fields.keys().ordered_vec();
            let is_damaged = |name: &&&String| {
                let value = fields.get(**name).cloned();
                let only = value.map(|value| HashMap::from([((**name).clone(), value)]));
                only.is_some_and(|only| read(&only).is_err())
            };
            let name = names
                .iter()
                .find(is_damaged)
                .map_or("runState".to_owned(), |name| format!("runState.{name}"));
            self.error(name, "has an invalid type or value")
        })?;
        self.check_instants(&progress)?;
        Ok(progress)
    }

    fn check_instants(&self, progress: &Progress) -> Result<(), StateError> {
        let by_type = progress.complete_by_type.iter();
        let named = [
            ("begin", progress.begin.as_ref()),
            ("watermark", progress.watermark.as_ref()),
            ("latest", progress.latest.as_ref()),
            ("recalculateFrom", progress.recalculate_from.as_ref()),
            ("lastRunAt", progress.last_run_at.as_ref()),
            ("lastSuccessAt", progress.last_success_at.as_ref()),
        ];
        let named =
            named.into_iter().filter_map(|(name, instant)| Some((name.to_owned(), instant?)));
        let all = named
            .chain(by_type.map(|(name, instant)| (format!("completeByType.{name}"), instant)))
            .chain(progress.holes.iter().map(|instant| ("holes".to_owned(), instant)));
        for (name, instant) in all {
            if !parse_instant(instant).is_some_and(is_possible) {
                return Err(self.error(
                    format!("runState.{name}"),
                    "must be an instant from 2000 to 2099 such as 2026-03-01T00:00:00.000Z",
                ));
            }
        }
        Ok(())
    }
}

fn is_possible(instant: DateTime<Utc>) -> bool {
    let year = |year| Utc.with_ymd_and_hms(year, 1, 1, 0, 0, 0).single();
    let (first, end) = (year(POSSIBLE_YEARS.start), year(POSSIBLE_YEARS.end));
    first.is_some_and(|first| first <= instant) && end.is_some_and(|end| instant < end)
}

fn is_mark(entry: &str) -> bool {
    Mark::parse(entry).is_some_and(|mark| is_possible(mark.start) && is_possible(mark.at))
}

fn is_announcement(entry: &str) -> bool {
    let instant = entry.split_once('#').and_then(|(at, _)| parse_instant(at));
    instant.is_some_and(is_possible)
}
