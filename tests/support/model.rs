//! What has to be stored after each run of a history in which runs are missing, repeated, late and
//! failing: the rules of calculating again, catching up and keeping, applied to reckoned values.
//!
//! The model says which records a run has to have made and which values each of them may have. Most
//! often that is one value; where a run was killed, what is found must be what was there before or
//! what the run had to write, and tells the model which.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    iter::successors,
};

use chrono::{DateTime, Utc};
use edge_analytics::{
    period::{Granularity, Period},
    record::{Coverage, Record},
};

use super::{
    engine_suite::TYPES,
    reckoning::{Fact, METRICS, USERS, Value, Values, count_hour, difference, metrics, roll_up},
};

/// How many hours before its own a run counts again.
const TRAILING_HOURS: usize = 3;

/// A record: the index of its type in [`TYPES`], and its period.
pub type Key = (usize, Period);

/// A record as it has to be.
#[derive(Debug, Clone)]
struct Stored {
    content: Content,
    calculated_at: DateTime<Utc>,
}

#[derive(Debug, Clone, Default, PartialEq)]
struct Content {
    values: Values,
    /// Of an hour: `totalUsers` as its own run found it.
    stock: Option<i64>,
    coverage: Option<Coverage>,
}

/// What a run may not have done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Harm {
    None,
    /// It could not count these types.
    Types(Vec<usize>),
    /// It was killed somewhere.
    Killed,
}

impl Harm {
    fn concerns(&self, metric_type: usize) -> bool {
        match self {
            Self::None => false,
            Self::Types(types) => types.contains(&metric_type),
            Self::Killed => true,
        }
    }
}

/// A run that has ended.
#[derive(Debug, Clone)]
pub struct Run {
    /// The period that its event is for.
    pub period: Period,
    /// When it began and ended, by the engine's clock.
    pub begun: DateTime<Utc>,
    pub ended: DateTime<Utc>,
    pub harm: Harm,
}

/// Whether an hour is counted by its own event before that of any later hour, so that it gets what
/// the table forgets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum InOrder {
    Yes,
    No,
    /// A later run was killed, or made the later hour for another reason: it may have left a trace
    /// or not.
    Perhaps,
}

/// What a run has to do with an hour's record.
#[derive(Debug, Clone, Copy)]
struct Duty {
    must: bool,
    in_order: InOrder,
    /// It is the run's own hour: it may be written also where it says the same.
    own: bool,
}

/// What may be found stored under a key.
pub struct Expected {
    pub key: Key,
    candidates: Vec<Candidate>,
}

enum Candidate {
    AsBefore,
    Made {
        content: Content,
        /// Left alone where it says the same.
        spared: bool,
    },
}

/// How much was compared.
#[derive(Debug, Clone, Copy, Default)]
pub struct Tally {
    pub compared: u64,
    /// Records of hours in which something is absent because its own run did not come in time.
    pub forgotten: u64,
    /// Records that a later run changed.
    pub changed: u64,
}

#[derive(Default)]
pub struct Model {
    /// The own hour of the first run of all.
    begin: Option<Period>,
    stored: HashMap<Key, Stored>,
    /// Periods of which a finer record has changed since they were rolled up.
    stale: BTreeSet<(Granularity, DateTime<Utc>)>,
    /// The latest hour of which an event has run, by type: for certain, and perhaps.
    latest_hour: [Option<Period>; TYPES.len()],
    latest_hour_perhaps: [Option<Period>; TYPES.len()],
    /// A run was killed, and none has come through since: the next one may write records anew that
    /// say the same, so that the dead one, should it come back, finds them changed.
    has_dead_run: bool,
    /// The latest period of which an event has been delivered and has come through.
    latest: BTreeMap<Granularity, Period>,
    /// The first hour that still waits for its last counting, because the runs that ought to have
    /// counted it again were missing, killed or refused: what it may be.
    waiting: BTreeSet<Option<Period>>,
    /// The last hourly run may have failed for a type: the next one leaves what waits to the one after
    /// it.
    may_have_failed: bool,
    pub tally: Tally,
}

impl Model {
    /// The records of hours that `run` was to make or could make.
    pub fn hours<'fact>(
        &mut self,
        run: &Run,
        facts: &(impl IntoIterator<Item = &'fact Fact> + Clone),
    ) -> Vec<Expected> {
        if run.period.granularity() == Granularity::Hourly && self.begin.is_none() {
            self.begin = Some(run.period);
        }
        let mut expected = Vec::new();
        for (start, duties) in self.duties(run) {
            let hour = Period::containing(Granularity::Hourly, start);
            let mut counted = count_hour(facts.clone(), start);
            let Value::Count(stock) = counted[USERS]["totalUsers"] else { unreachable!("a count") };
            if let Some(left) = self.departures(hour, stock, &counted[USERS]["newUsers"]) {
                counted[USERS].insert("deletedUsers", left);
            }
            for (metric_type, (duty, counted)) in duties.into_iter().zip(counted).enumerate() {
                let Some(duty) = duty else { continue };
                let key = (metric_type, hour);
                let stock = (metric_type == USERS).then_some(stock);
                let mut candidates = Vec::new();
                if !duty.must || run.harm.concerns(metric_type) {
                    candidates.push(Candidate::AsBefore);
                }
                let ways: &[bool] = match duty.in_order {
                    InOrder::Yes => &[true],
                    InOrder::No => &[false],
                    InOrder::Perhaps => &[true, false],
                };
                for in_order in ways {
                    let content = self.counted(key, &counted, stock, *in_order);
                    let spared = !duty.own && !self.has_dead_run;
                    candidates.push(Candidate::Made { content, spared });
                }
                expected.push(Expected { key, candidates });
            }
        }
        expected
    }

    /// What `run` has to do with which hour's records.
    fn duties(&self, run: &Run) -> BTreeMap<DateTime<Utc>, [Option<Duty>; TYPES.len()]> {
        let mut duties: BTreeMap<_, [Option<Duty>; TYPES.len()]> = BTreeMap::new();
        let Some(begin) = self.begin else { return duties };
        let own = run.period;
        if own.granularity() == Granularity::Hourly {
            let of_type = |metric_type| Duty {
                must: true,
                in_order: self.in_order(metric_type, own),
                own: true,
            };
            duties.insert(own.start(), std::array::from_fn(|each| Some(of_type(each))));
            for hour in back(own).take(TRAILING_HOURS).filter(|hour| hour.start() >= begin.start())
            {
                let again = Duty { must: true, in_order: InOrder::No, own: false };
                duties.insert(hour.start(), [Some(again); TYPES.len()]);
            }
            let owed: Vec<BTreeSet<Period>> =
                self.waiting.iter().map(|first| owed(*first, own)).collect();
            for hour in owed.iter().flatten().filter(|hour| hour.start() >= begin.start()) {
                let must = !self.may_have_failed && owed.iter().all(|owed| owed.contains(hour));
                let again = Duty { must, in_order: InOrder::No, own: false };
                duties.insert(hour.start(), [Some(again); TYPES.len()]);
            }
        }
        // What is missing is made. Where an hour lacks one type the others may be counted again.
        for hour in successors(Some(begin), |hour| Some(hour.next())) {
            if hour.start() > own.end() {
                break;
            }
            if duties.contains_key(&hour.start()) || !self.lacks(hour) {
                continue;
            }
            let due = own.granularity() == Granularity::Hourly || self.is_needed(hour, own);
            let is_last = hour.end() == own.end();
            let of_type = |metric_type| Duty {
                must: due && self.is_missing(metric_type, hour),
                in_order: if is_last { self.in_time(metric_type, hour, own) } else { InOrder::No },
                own: is_last,
            };
            duties.insert(hour.start(), std::array::from_fn(|each| Some(of_type(each))));
        }
        duties
    }

    /// Whether a run for `own`, a day, week or month, needs `hour`: for a period that is missing or
    /// for its own one. A day that is there is not made again for a week.
    fn is_needed(&self, hour: Period, own: Period) -> bool {
        let within = Period::containing(own.granularity(), hour.start());
        let day = Period::containing(Granularity::Daily, hour.start());
        (within == own || self.lacks(within)) && (day == own || self.lacks(day))
    }

    fn is_missing(&self, metric_type: usize, period: Period) -> bool {
        !self.stored.contains_key(&(metric_type, period))
    }

    fn lacks(&self, period: Period) -> bool {
        (0..TYPES.len()).any(|metric_type| self.is_missing(metric_type, period))
    }

    fn in_order(&self, metric_type: usize, hour: Period) -> InOrder {
        let later = |latest: Option<Period>| latest.is_some_and(|at| at.start() > hour.start());
        if later(self.latest_hour[metric_type]) {
            InOrder::No
        } else if later(self.latest_hour_perhaps[metric_type]) {
            InOrder::Perhaps
        } else {
            InOrder::Yes
        }
    }

    /// The same for the last hour of `own`, made by the run of that day, week or month: a daily run
    /// stands in for the hour's own run that did not come.
    fn in_time(&self, metric_type: usize, hour: Period, own: Period) -> InOrder {
        let all_missing = (0..TYPES.len()).all(|each| self.is_missing(each, hour));
        match self.in_order(metric_type, hour) {
            InOrder::Yes if own.granularity() == Granularity::Daily && all_missing => InOrder::Yes,
            InOrder::No => InOrder::No,
            _ => InOrder::Perhaps,
        }
    }

    fn departures(&self, hour: Period, total: i64, arrivals: &Value) -> Option<Value> {
        let before = self.stored.get(&(USERS, hour.previous()))?.content.stock?;
        let Value::Count(arrivals) = arrivals else { unreachable!("a count") };
        Some(Value::Count((before + arrivals - total).max(0)))
    }

    /// An hour's record when `counted` is stored over what is there: what the table forgets is kept
    /// as it was stored, and added only by the hour's own run.
    fn counted(&self, key: Key, counted: &Values, stock: Option<i64>, in_order: bool) -> Content {
        let before = self.stored.get(&key).map(|stored| &stored.content);
        let mut values = counted.clone();
        for metric in METRICS[key.0].iter().filter(|metric| metric.current_only) {
            let kept = before.and_then(|before| before.values.get(metric.name));
            let value = kept.or(counted.get(metric.name).filter(|_| in_order)).cloned();
            match value {
                Some(value) => values.insert(metric.name, value),
                None => values.remove(metric.name),
            };
        }
        let stock = before.and_then(|before| before.stock).or(stock.filter(|_| in_order));
        Content { values, stock, coverage: None }
    }

    /// The records of days that `run` was to make or could make, from the hours as they are now.
    pub fn days(&self, run: &Run) -> Vec<Expected> {
        self.rolled_up(run, Granularity::Daily)
    }

    /// The same for weeks and months, from their days.
    pub fn weeks_or_months(&self, run: &Run) -> Vec<Expected> {
        let mut expected = self.rolled_up(run, Granularity::Weekly);
        expected.extend(self.rolled_up(run, Granularity::Monthly));
        expected
    }

    /// What a run has to make is of its own granularity, or missing under it; whatever else is missing
    /// or stale it may refresh.
    fn rolled_up(&self, run: &Run, granularity: Granularity) -> Vec<Expected> {
        let Some(begin) = self.begin else { return Vec::new() };
        let own = run.period;
        let is_own = granularity == own.granularity();
        let is_below = granularity == Granularity::Daily && own.granularity() > Granularity::Daily;
        let mut periods: BTreeMap<DateTime<Utc>, bool> = BTreeMap::new();
        let first = Period::containing(granularity, begin.start());
        for period in successors(Some(first), |period| Some(period.next())) {
            if period.start() > own.end() {
                break;
            }
            if period == own {
                periods.insert(period.start(), true);
            } else if self.lacks(period) {
                let within = Period::containing(own.granularity(), period.start());
                let due = is_own || is_below && (within == own || self.lacks(within));
                periods.insert(period.start(), due);
            }
        }
        for (_, start) in self.stale.iter().filter(|(stale, _)| *stale == granularity) {
            let period = Period::containing(granularity, *start);
            // What was never made is not stale.
            if (0..TYPES.len()).any(|metric_type| !self.is_missing(metric_type, period)) {
                // A later one, of which this event knows nothing, may be left to its own run.
                periods.entry(*start).or_insert(is_own && *start <= own.start());
            }
        }
        let mut expected = Vec::new();
        for (start, must) in periods {
            let period = Period::containing(granularity, start);
            for metric_type in 0..TYPES.len() {
                let mut candidates = Vec::new();
                if !must || run.harm.concerns(metric_type) {
                    candidates.push(Candidate::AsBefore);
                }
                match self.together(metric_type, period) {
                    Some(content) => candidates.push(Candidate::Made { content, spared: false }),
                    // There is nothing to make it from.
                    None => candidates.push(Candidate::AsBefore),
                }
                expected.push(Expected { key: (metric_type, period), candidates });
            }
        }
        expected
    }

    /// A rolled-up record from the finer ones as they are now.
    fn together(&self, metric_type: usize, period: Period) -> Option<Content> {
        let finer: Vec<Option<&Values>> = finer(period)
            .map(|finer| self.stored.get(&(metric_type, finer)))
            .map(|stored| stored.map(|stored| &stored.content.values))
            .collect();
        let coverage = Coverage { present: finer.iter().flatten().count(), expected: finer.len() };
        let values = roll_up(metric_type, &finer);
        (coverage.present > 0).then_some(Content { values, stock: None, coverage: Some(coverage) })
    }

    /// Takes in what is stored after `run`.
    ///
    /// # Errors
    ///
    /// When it is none of what it may be.
    pub fn settle(
        &mut self,
        expected: &Expected,
        found: Option<&Record>,
        run: &Run,
    ) -> Result<(), String> {
        let key = expected.key;
        self.tally.compared += 1;
        let before = self.stored.get(&key);
        let mut why = Vec::new();
        for candidate in &expected.candidates {
            let content = match candidate {
                Candidate::AsBefore => match compare_kept(before, found) {
                    Ok(()) => return Ok(()),
                    Err(difference) => {
                        why.push(format!("as it was before: {difference}"));
                        continue;
                    }
                },
                Candidate::Made { content, spared } => {
                    if let Err(difference) = compare_made(before, content, *spared, found, run) {
                        why.push(format!("as made by this run: {difference}"));
                        continue;
                    }
                    content.clone()
                }
            };
            let calculated_at = found.map_or(run.begun, |found| found.calculated_at);
            let changed = before.is_none_or(|before| before.content != content);
            self.tally.changed += u64::from(changed && before.is_some());
            self.stored.insert(key, Stored { content, calculated_at });
            if changed {
                self.note_change(key, run);
            }
            return Ok(());
        }
        Err(format!(
            "{} of the {} {} may be\n  {}",
            TYPES[key.0],
            key.1.granularity(),
            key.1.start(),
            why.join("\n  ")
        ))
    }

    fn note_change(&mut self, (metric_type, period): Key, run: &Run) {
        let coarser: &[Granularity] = match period.granularity() {
            Granularity::Hourly => &[Granularity::Daily],
            Granularity::Daily => &[Granularity::Weekly, Granularity::Monthly],
            Granularity::Weekly | Granularity::Monthly => &[],
        };
        for granularity in coarser {
            let stale = Period::containing(*granularity, period.start());
            self.stale.insert((*granularity, stale.start()));
        }
        // The finer ones come first, so whatever made this one saw them.
        if period.granularity() != Granularity::Hourly && self.is_up_to_date(period) {
            self.stale.remove(&(period.granularity(), period.start()));
        }
        let made_late = period.granularity() == Granularity::Hourly && period != run.period;
        if made_late {
            later(&mut self.latest_hour_perhaps[metric_type], period);
        }
    }

    fn is_up_to_date(&self, period: Period) -> bool {
        (0..TYPES.len()).all(|metric_type| {
            self.stored.get(&(metric_type, period)).map(|stored| &stored.content)
                == self.together(metric_type, period).as_ref()
        })
    }

    /// Everything that was expected of `run` is settled.
    pub fn finish(&mut self, run: &Run) {
        let period = run.period;
        match run.harm {
            Harm::Killed => self.has_dead_run = true,
            // Other runs may not have looked.
            _ if period.granularity() == Granularity::Hourly => self.has_dead_run = false,
            _ => {}
        }
        // What a run did not come to waits for the next one of its granularity.
        if run.harm == Harm::None {
            let latest = self.latest.entry(period.granularity()).or_insert(period);
            *latest = (*latest).max(period);
        }
        let stale = std::mem::take(&mut self.stale);
        self.stale = stale
            .into_iter()
            .filter(|(stale, start)| !self.is_up_to_date(Period::containing(*stale, *start)))
            .collect();
        if period.granularity() == Granularity::Hourly {
            self.wait_from(run);
            for metric_type in 0..TYPES.len() {
                later(&mut self.latest_hour_perhaps[metric_type], period);
                if run.harm != Harm::Killed {
                    later(&mut self.latest_hour[metric_type], period);
                }
            }
        }
    }

    /// The days, weeks and months that were changed beneath since they were made.
    pub fn left_stale(&self) -> Vec<Period> {
        let periods = self.stale.iter();
        let periods = periods.map(|(granularity, start)| Period::containing(*granularity, *start));
        let is_made =
            |period: &Period| (0..TYPES.len()).any(|each| !self.is_missing(each, *period));
        periods.filter(is_made).collect()
    }

    /// Notes which hours wait for their last counting after `run`: those that the next run counts
    /// again in any case, or, where this one failed to, those that it was to count.
    fn wait_from(&mut self, run: &Run) {
        let own = run.period;
        let earliest = back(own).nth(TRAILING_HOURS - 1);
        let next = back(own.next()).nth(TRAILING_HOURS - 1);
        let counts_again = self.begin.is_some_and(|begin| begin.start() < own.start());
        let before = std::mem::take(&mut self.waiting);
        let before = if before.is_empty() { BTreeSet::from([None]) } else { before };
        for first in &before {
            let succeeded = (*first).max(next);
            let failed = first.map_or(earliest, |first| Some(first).min(earliest));
            match &run.harm {
                Harm::Types(types) if counts_again && !types.is_empty() => {
                    self.waiting.insert(failed);
                }
                Harm::None | Harm::Types(_) => {
                    self.waiting.insert(succeeded);
                    if self.may_have_failed {
                        self.waiting.insert(failed);
                    }
                }
                Harm::Killed => self.waiting.extend([*first, succeeded, failed]),
            }
        }
        self.may_have_failed = match &run.harm {
            Harm::None => false,
            Harm::Types(types) => !types.is_empty(),
            Harm::Killed => true,
        };
    }

    /// Whether the record ought to be absent at this time, as far as runs that have been go.
    pub fn is_absent(&self, key: Key) -> bool {
        self.is_missing(key.0, key.1)
    }

    /// Asserts that nothing is absent that can be known, in any period whose event has
    /// come through. Returns how many weeks and months are out of date until the event that ends the
    /// next one; days must not be.
    pub fn assert_whole(&mut self) -> usize {
        let Some(begin) = self.begin else { panic!("no run at all") };
        let mut stale = BTreeSet::new();
        for (granularity, latest) in self.latest.clone() {
            let first = Period::containing(granularity, begin.start());
            for period in successors(Some(first), |period| Some(period.next())) {
                if period.start() > latest.start() {
                    break;
                }
                for metric_type in 0..TYPES.len() {
                    let name = TYPES[metric_type];
                    let stored = self.stored.get(&(metric_type, period));
                    let stored = stored
                        .unwrap_or_else(|| panic!("{name} of {granularity} {period:?} is absent"));
                    let content = &stored.content;
                    if granularity == Granularity::Hourly {
                        let lacks = |current_only: bool| {
                            METRICS[metric_type].iter().any(|metric| {
                                metric.current_only == current_only
                                    && !content.values.contains_key(metric.name)
                            })
                        };
                        assert!(!lacks(false), "{name} of {period:?} lacks an exact metric");
                        self.tally.forgotten += u64::from(lacks(true));
                        continue;
                    }
                    let waits = self.stale.contains(&(granularity, period.start()));
                    if waits && granularity != Granularity::Daily {
                        stale.insert((granularity, period.start()));
                        continue;
                    }
                    let now = self.together(metric_type, period);
                    assert_eq!(Some(content), now.as_ref(), "{name} of {granularity} {period:?}");
                }
            }
        }
        stale.len()
    }

    /// How what is stored differs from what has to be, each record of all.
    pub fn differences(&self, found: &HashMap<Key, Record>) -> Vec<String> {
        let keys: BTreeSet<(Granularity, DateTime<Utc>, usize)> = self
            .stored
            .keys()
            .chain(found.keys())
            .map(|(metric_type, period)| (period.granularity(), period.start(), *metric_type))
            .collect();
        keys.into_iter()
            .filter_map(|(granularity, start, metric_type)| {
                let key = (metric_type, Period::containing(granularity, start));
                let difference = compare_kept(self.stored.get(&key), found.get(&key)).err()?;
                Some(format!("{} of {granularity} {start}: {difference}", TYPES[metric_type]))
            })
            .collect()
    }

    /// How many records there have to be.
    pub fn len(&self) -> usize {
        self.stored.len()
    }
}

fn later(latest: &mut Option<Period>, period: Period) {
    if latest.is_none_or(|latest| latest.start() < period.start()) {
        *latest = Some(period);
    }
}

/// The hours that a run for `own` counts again besides those before it: those that wait since
/// `first`, as many as it counts again anyway.
fn owed(first: Option<Period>, own: Period) -> BTreeSet<Period> {
    let earliest = back(own).nth(TRAILING_HOURS - 1);
    let (Some(first), Some(earliest)) = (first, earliest) else { return BTreeSet::new() };
    successors(Some(first), |hour| Some(hour.next()))
        .take_while(|hour| *hour < earliest)
        .take(TRAILING_HOURS)
        .collect()
}

/// The periods before `period`, latest first.
fn back(period: Period) -> impl Iterator<Item = Period> {
    successors(Some(period.previous()), |period| Some(period.previous()))
}

/// The periods that a day, week or month is made from.
fn finer(period: Period) -> impl Iterator<Item = Period> {
    let granularity = match period.granularity() {
        Granularity::Daily => Granularity::Hourly,
        _ => Granularity::Daily,
    };
    successors(Some(Period::containing(granularity, period.start())), |finer| Some(finer.next()))
        .take_while(move |finer| finer.start() <= period.end())
}

fn compare_kept(before: Option<&Stored>, found: Option<&Record>) -> Result<(), String> {
    match (before, found) {
        (None, None) => Ok(()),
        (Some(_), None) => Err("it is gone".to_owned()),
        (None, Some(found)) => Err(format!("absent, but it is there: {:?}", found.metrics)),
        (Some(before), Some(found)) => {
            compare_content(&before.content, found)?;
            if found.calculated_at == before.calculated_at {
                return Ok(());
            }
            Err(format!("calculated at {}, is {}", before.calculated_at, found.calculated_at))
        }
    }
}

fn compare_content(content: &Content, found: &Record) -> Result<(), String> {
    if let Some(difference) = difference(&found.metrics, &metrics(&content.values)) {
        return Err(difference);
    }
    if found.coverage != content.coverage {
        return Err(format!("coverage {:?}, is {:?}", content.coverage, found.coverage));
    }
    Ok(())
}

fn compare_made(
    before: Option<&Stored>,
    content: &Content,
    spared: bool,
    found: Option<&Record>,
    run: &Run,
) -> Result<(), String> {
    let Some(found) = found else { return Err("it is absent".to_owned()) };
    compare_content(content, found)?;
    let at = found.calculated_at;
    let by_this_run = run.begun <= at && at <= run.ended;
    let right = match before.filter(|before| before.content == *content) {
        Some(before) if spared => at == before.calculated_at,
        Some(before) => by_this_run || at == before.calculated_at,
        None => by_this_run,
    };
    if right {
        return Ok(());
    }
    let was = before.map(|before| before.calculated_at);
    Err(format!("calculated at {at}; was {was:?}; the run took {} to {}", run.begun, run.ended))
}
