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

use chrono::{DateTime, TimeDelta, Utc};
use edge_analytics::metrics::{
    period::{Granularity, Period},
    record::{Coverage, Record},
};

use super::{
    backlog::Backlog,
    engine_suite::TYPES,
    provenance::{Counting, Marked, compare_marked, count_over, roll_up_marked},
    reckoning::{Fact, METRICS, Past, USERS, Value, count_hour},
};

/// How many hours before its own a run counts again.
pub const TRAILING_HOURS: usize = 3;

/// How long after its hour's end a scheduled run still observes it.
const MAXIMUM_LATENESS: TimeDelta = TimeDelta::minutes(10);

/// How long after an hour's end a condition may still change what happened in it.
const SETTLES_AFTER: TimeDelta = TimeDelta::hours(48);

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
    marked: Marked,
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

/// Whether an hour is observed: counted by its scheduled run, before that of any later hour and soon
/// after its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Observes {
    Yes,
    No,
    /// A later run was killed, or made the later hour for another reason: it may have left a trace
    /// or not. Or it was a matter of seconds.
    Perhaps,
}

impl Observes {
    fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::No, _) | (_, Self::No) => Self::No,
            (Self::Yes, Self::Yes) => Self::Yes,
            _ => Self::Perhaps,
        }
    }
}

/// What a run has to do with an hour's record.
#[derive(Debug, Clone, Copy)]
struct Duty {
    must: bool,
    observes: Observes,
    /// It is the run's own hour: it may be written also where it says the same.
    own: bool,
}

/// What may be found stored under a key.
pub struct Expected {
    pub key: Key,
    candidates: Vec<Candidate>,
}

/// What a run has to do with a coarser period.
#[derive(Debug, Clone, Copy)]
enum Making {
    Must,
    May,
    Refresh,
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
    /// Records in which something was reconstructed.
    pub marked: u64,
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
    backlog: Backlog,
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
                let mut candidates = Vec::new();
                if !duty.must || run.harm.concerns(metric_type) {
                    candidates.push(Candidate::AsBefore);
                }
                let before = self.stored.get(&key).map(|stored| &stored.content.marked);
                for counting in countings(run, hour, duty.observes) {
                    let marked = count_over(metric_type, before, &counted, counting);
                    let content = Content { marked, coverage: None };
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
                observes: self.in_order(metric_type, own).and(is_in_time(run, own)),
                own: true,
            };
            duties.insert(own.start(), std::array::from_fn(|each| Some(of_type(each))));
            for hour in back(own).take(TRAILING_HOURS).filter(|hour| hour.start() >= begin.start())
            {
                let again = Duty { must: true, observes: Observes::No, own: false };
                duties.insert(hour.start(), [Some(again); TYPES.len()]);
            }
            let owed = self.backlog.owed(own);
            for hour in owed.iter().flatten().filter(|hour| hour.start() >= begin.start()) {
                let must = owed.iter().all(|owed| owed.contains(hour));
                let again = Duty { must, observes: Observes::No, own: false };
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
                observes: if is_last {
                    self.stands_in(metric_type, hour, run)
                } else {
                    Observes::No
                },
                own: is_last,
            };
            duties.insert(hour.start(), std::array::from_fn(|each| Some(of_type(each))));
        }
        duties
    }

    /// Whether a run for `own`, a day, week or month, needs `hour`: for a period that is missing or
    /// for its own one. A stored day is not recomputed for a week.
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

    fn in_order(&self, metric_type: usize, hour: Period) -> Observes {
        let later = |latest: Option<Period>| latest.is_some_and(|at| at.start() > hour.start());
        if later(self.latest_hour[metric_type]) {
            Observes::No
        } else if later(self.latest_hour_perhaps[metric_type]) {
            Observes::Perhaps
        } else {
            Observes::Yes
        }
    }

    /// Whether `run`, of a day, a week or a month, observes its last hour: a daily run stands in for
    /// the hour's own run that did not come.
    fn stands_in(&self, metric_type: usize, hour: Period, run: &Run) -> Observes {
        let all_missing = (0..TYPES.len()).all(|each| self.is_missing(each, hour));
        let stands_in = if run.period.granularity() == Granularity::Daily && all_missing {
            Observes::Yes
        } else {
            Observes::Perhaps
        };
        self.in_order(metric_type, hour).and(stands_in).and(is_in_time(run, hour))
    }

    /// How many users left in `hour`: it follows only from two observed totals.
    fn departures(&self, hour: Period, total: i64, arrivals: &Value) -> Option<Value> {
        let before = &self.stored.get(&(USERS, hour.previous()))?.content.marked;
        let (None, Some(Value::Count(before))) =
            (before.marks.get("totalUsers"), before.values.get("totalUsers"))
        else {
            return None;
        };
        let Value::Count(arrivals) = arrivals else { unreachable!("a count") };
        Some(Value::Count((before + arrivals - total).max(0)))
    }

    /// The records of days that `run` was to make or could make, from the hours as they are now.
    pub fn days(&self, run: &Run) -> Vec<Expected> {
        self.rolled_up(run, Granularity::Daily)
    }

    /// The same for weeks and months, from their days.
    pub fn weeks_and_months(&self, run: &Run) -> Vec<Expected> {
        let mut expected = self.rolled_up(run, Granularity::Weekly);
        expected.extend(self.rolled_up(run, Granularity::Monthly));
        expected
    }

    /// Every run refreshes what a finer record has changed of, independent of the run that changed it.
    fn rolled_up(&self, run: &Run, granularity: Granularity) -> Vec<Expected> {
        let mut periods = self.to_make(run, granularity);
        for (_, start) in self.stale.iter().filter(|(stale, _)| *stale == granularity) {
            let period = Period::containing(granularity, *start);
            // What is not over has no record.
            if period.end() < run.begun {
                periods.entry(*start).or_insert(Making::Refresh);
            }
        }
        let mut expected = Vec::new();
        for (start, making) in periods {
            let period = Period::containing(granularity, start);
            for metric_type in 0..TYPES.len() {
                let must = match making {
                    Making::Must => true,
                    Making::May => false,
                    // A later one, of which this event knows nothing, may be left to its own run,
                    // and so may one that was never made.
                    Making::Refresh => {
                        period.end() <= run.period.end() && !self.is_missing(metric_type, period)
                    }
                };
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

    /// The periods that the run of a day, a week or a month makes: its own one and what is missing
    /// before it, also the days of these.
    fn to_make(&self, run: &Run, granularity: Granularity) -> BTreeMap<DateTime<Utc>, Making> {
        let mut periods = BTreeMap::new();
        let own = run.period;
        let makes = match own.granularity() {
            Granularity::Hourly => false,
            Granularity::Daily => granularity == Granularity::Daily,
            coarse => granularity == coarse || granularity == Granularity::Daily,
        };
        let Some(begin) = self.begin.filter(|_| makes) else { return periods };
        let first = Period::containing(granularity, begin.start());
        for period in successors(Some(first), |period| Some(period.next())) {
            if period.start() > own.end() {
                break;
            }
            let within = Period::containing(own.granularity(), period.start());
            if period == own {
                periods.insert(period.start(), Making::Must);
            } else if self.lacks(period) {
                let due = within == own || self.lacks(within);
                let must = granularity == own.granularity() || due;
                periods.insert(period.start(), if must { Making::Must } else { Making::May });
            }
        }
        periods
    }

    /// A rolled-up record from the finer ones as they are now.
    fn together(&self, metric_type: usize, period: Period) -> Option<Content> {
        let finer: Vec<Option<&Marked>> = finer(period)
            .map(|finer| self.stored.get(&(metric_type, finer)))
            .map(|stored| stored.map(|stored| &stored.content.marked))
            .collect();
        let coverage = Coverage { present: finer.iter().flatten().count(), expected: finer.len() };
        let marked = roll_up_marked(metric_type, &finer);
        (coverage.present > 0).then_some(Content { marked, coverage: Some(coverage) })
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
            .filter(|(granularity, start)| {
                !self.is_up_to_date(Period::containing(*granularity, *start))
            })
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

    /// Notes which hours wait for their last counting after `run`.
    fn wait_from(&mut self, run: &Run) {
        let own = run.period;
        let counts_again = self.begin.is_some_and(|begin| begin.start() < own.start());
        let mut orders = (0..TYPES.len()).map(|metric_type| self.in_order(metric_type, own));
        let first = orders.next().unwrap_or(Observes::Perhaps);
        let in_order =
            orders.fold(first, |one, other| if one == other { one } else { Observes::Perhaps });
        self.backlog.note(run, in_order, counts_again);
    }

    /// Whether the record ought to be absent at this time, as far as runs that have been go.
    pub fn is_absent(&self, key: Key) -> bool {
        self.is_missing(key.0, key.1)
    }

    /// Asserts that nothing is absent that can be known, in any period whose event has come through,
    /// and that every coarser period says what its finer ones say.
    pub fn assert_whole(&mut self) {
        let Some(begin) = self.begin else { panic!("no run at all") };
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
                    self.tally.marked += u64::from(!content.marked.marks.is_empty());
                    if granularity == Granularity::Hourly {
                        let lacks = |forgotten: bool| {
                            METRICS[metric_type].iter().any(|metric| {
                                (metric.past == Past::Forgotten) == forgotten
                                    && !content.marked.values.contains_key(metric.name)
                            })
                        };
                        assert!(!lacks(false), "{name} of {period:?} lacks what can be filled");
                        self.tally.forgotten += u64::from(lacks(true));
                        continue;
                    }
                    let now = self.together(metric_type, period);
                    assert_eq!(Some(content), now.as_ref(), "{name} of {granularity} {period:?}");
                }
            }
        }
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
    pub fn record_count(&self) -> usize {
        self.stored.len()
    }
}

fn later(latest: &mut Option<Period>, period: Period) {
    if latest.is_none_or(|latest| latest.start() < period.start()) {
        *latest = Some(period);
    }
}

/// Whether `run` counts `hour` soon enough after its end.
fn is_in_time(run: &Run, hour: Period) -> Observes {
    // The end is the hour's last millisecond; which of two milliseconds counts is of no account.
    let limit = hour.end() + MAXIMUM_LATENESS;
    if run.ended <= limit {
        Observes::Yes
    } else if run.begun > limit + TimeDelta::milliseconds(1) {
        Observes::No
    } else {
        Observes::Perhaps
    }
}

/// The ways in which `run` may count `hour`.
fn countings(run: &Run, hour: Period, observes: Observes) -> Vec<Counting> {
    let settles = hour.end() + SETTLES_AFTER;
    let mut countings = Vec::new();
    if observes != Observes::No {
        countings.push(Counting::OnTime);
    }
    if observes != Observes::Yes {
        // It can settle while the run is at it.
        if run.begun < settles {
            countings.push(Counting::BeforeItSettled);
        }
        if run.ended >= settles {
            countings.push(Counting::Settled);
        }
    }
    countings
}

/// The periods before `period`, latest first.
pub fn back(period: Period) -> impl Iterator<Item = Period> {
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
    if let Some(difference) = compare_marked(found, &content.marked) {
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
