//! What is stored when an hour is counted once more, and what a coarser period says of its finer
//! ones: which value stays, which is replaced, and which is marked as reconstructed. Written from the
//! rules of docs/provenance.md; it shares nothing with the engine but the names of the marks.

use std::collections::{BTreeMap, BTreeSet};

use edge_analytics::metrics::record::{Reconstruction, Record};

use super::reckoning::{
    METRICS, Metric, Past, Rollup, Value, Values, difference, metrics, roll_up,
};

/// The marks of reconstructed values, by metric name.
pub type Marks = BTreeMap<&'static str, Reconstruction>;

/// Values, with the marks of those that were reconstructed.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Marked {
    pub values: Values,
    pub marks: Marks,
}

/// When and why an hour is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Counting {
    /// By its scheduled run, in order and in time.
    OnTime,
    /// At any other time, less than 48 hours after the hour's end.
    BeforeItSettled,
    /// At any other time, 48 hours after the hour's end or later.
    Settled,
    /// By a recalculation with `overwrite: true`.
    Overwrite,
}

impl Marked {
    fn set(&mut self, name: &'static str, value: Value, mark: Option<Reconstruction>) {
        self.values.insert(name, value);
        if let Some(mark) = mark {
            self.marks.insert(name, mark);
        }
    }
}

/// An hour's record of the type with this index, when `fresh` is stored over what is there.
pub fn count_over(
    metric_type: usize,
    before: Option<&Marked>,
    fresh: &Values,
    counting: Counting,
) -> Marked {
    let mut after = Marked::default();
    for metric in METRICS[metric_type] {
        let stored = before.and_then(|before| before.values.get(metric.name));
        let stored_mark = before.and_then(|before| before.marks.get(metric.name)).copied();
        let fresh = fresh.get(metric.name);
        let is_only_then = metric.past == Past::Forgotten;
        let (value, mark) = match (stored, fresh) {
            (None, None) => continue,
            (Some(stored), None) => (stored.clone(), stored_mark),
            (stored, Some(fresh)) if counting == Counting::OnTime => match stored {
                Some(stored) if stored_mark.is_none() => {
                    (again(metric, stored, fresh, counting), None)
                }
                // What is observed is better than what was reconstructed before.
                Some(_) | None => (fresh.clone(), None),
            },
            (Some(stored), Some(_)) if is_only_then => (stored.clone(), stored_mark),
            (None, Some(_)) if is_only_then => continue,
            (None, Some(fresh)) => (fresh.clone(), Some(metric.mark)),
            (Some(stored), Some(fresh)) if counting == Counting::Overwrite => {
                let is_same = stored == fresh;
                (fresh.clone(), if is_same { stored_mark } else { Some(metric.mark) })
            }
            (Some(stored), Some(fresh)) => (again(metric, stored, fresh, counting), stored_mark),
        };
        after.set(metric.name, value, mark);
    }
    after
}

/// What is stored when a metric that is there is counted once more.
fn again(metric: &Metric, stored: &Value, fresh: &Value, counting: Counting) -> Value {
    let larger = || if fresh.size() > stored.size() { fresh } else { stored }.clone();
    match (metric.past, stored, fresh) {
        (Past::Forgotten | Past::Survivors, ..) => stored.clone(),
        (Past::ConditionalFlow, ..) if counting != Counting::Settled => fresh.clone(),
        // Of distinct values it is known which were deleted and which are new.
        (Past::Flow, Value::Set(before), Value::Set(now)) => {
            Value::Set(before.union(now).cloned().collect::<BTreeSet<_>>().into())
        }
        (Past::ConditionalFlow | Past::Flow, ..) => larger(),
    }
}

/// A coarser period's record of the type with this index from its finer ones, earliest first; `None`
/// where a finer one has no record.
pub fn roll_up_marked(metric_type: usize, finer: &[Option<&Marked>]) -> Marked {
    let values: Vec<Option<&Values>> =
        finer.iter().map(|finer| finer.map(|finer| &finer.values)).collect();
    let values = roll_up(metric_type, &values);
    let mark = |metric: &Metric| {
        let mark = |finer: Option<&Marked>| finer?.marks.get(metric.name).copied();
        match metric.rollup {
            Rollup::Last => mark(*finer.last()?),
            // `Estimate`, the weaker claim, is the greater.
            Rollup::Sum | Rollup::Together => finer.iter().copied().filter_map(mark).max(),
        }
    };
    let marks = METRICS[metric_type]
        .iter()
        .filter(|metric| values.contains_key(metric.name))
        .filter_map(|metric| Some((metric.name, mark(metric)?)))
        .collect();
    Marked { values, marks }
}

/// How a record's values and marks differ from what they have to be, or nothing.
pub fn compare_marked(found: &Record, marked: &Marked) -> Option<String> {
    let mut wrong: Vec<String> =
        difference(&found.metrics, &metrics(&marked.values)).into_iter().collect();
    for name in METRICS.iter().copied().flatten().map(|metric| metric.name) {
        let (is, ought) = (found.reconstructed.get(name), marked.marks.get(name));
        // A mean over nothing has no value that a mark could be about.
        if is != ought && (is.is_some() || found.metrics.contains_key(name)) {
            wrong.push(format!("{name} is marked {is:?}, expected {ought:?}"));
        }
    }
    (!wrong.is_empty()).then(|| wrong.join("; "))
}

#[cfg(test)]
mod tests {
    use Counting::{BeforeItSettled, OnTime, Overwrite, Settled};
    use Reconstruction::{Estimate, LowerBound};
    use Value::{Cents, Count, Mean};

    use super::*;

    const USERS: usize = 0;
    const MEDIA: usize = 1;
    const GENERATIONS: usize = 4;
    const BUSINESS: usize = 5;

    fn marked(
        values: &[(&'static str, Value)],
        marks: &[(&'static str, Reconstruction)],
    ) -> Marked {
        Marked { values: values.iter().cloned().collect(), marks: marks.iter().copied().collect() }
    }

    fn media(total: i64, public: i64, new: i64, statuses: [i64; 3]) -> Vec<(&'static str, Value)> {
        vec![
            ("totalMedia", Count(total)),
            ("publicMedia", Count(public)),
            ("privateMedia", Count(total - public)),
            ("newMedia", Count(new)),
            ("mediaByStatus", Value::Statuses(statuses)),
        ]
    }

    #[test]
    fn what_is_counted_on_time_is_observed() {
        let fresh: Values = media(7, 5, 2, [1, 6, 0]).into_iter().collect();
        let expected = marked(&media(7, 5, 2, [1, 6, 0]), &[]);
        assert_eq!(count_over(MEDIA, None, &fresh, OnTime), expected);
        // By an event that is repeated a minute later, when one is deleted and another one new.
        let fresh: Values = media(6, 3, 3, [0, 6, 0]).into_iter().collect();
        let again = count_over(MEDIA, Some(&expected), &fresh, OnTime);
        assert_eq!(again, marked(&media(7, 5, 3, [1, 6, 0]), &[]));
        // A value that was absent is observed by it.
        let mut lacking = expected.clone();
        lacking.values.remove("mediaByStatus");
        let again = count_over(MEDIA, Some(&lacking), &fresh, OnTime);
        assert_eq!(again, marked(&media(7, 5, 3, [0, 6, 0]), &[]));
    }

    #[test]
    fn what_is_absent_is_filled_later_and_marked_unless_only_its_time_could_tell() {
        let marks = [
            ("totalMedia", LowerBound),
            ("publicMedia", Estimate),
            ("privateMedia", Estimate),
            ("newMedia", LowerBound),
        ];
        let fresh: Values = media(7, 5, 2, [1, 6, 0]).into_iter().collect();
        for counting in [BeforeItSettled, Settled, Overwrite] {
            let filled = count_over(MEDIA, None, &fresh, counting);
            assert_eq!(filled, marked(&media(7, 5, 2, [1, 6, 0])[..4], &marks), "{counting:?}");
        }
        // It stays marked when it is counted again: the stocks as they are, the flow where it grew.
        let first = count_over(MEDIA, None, &fresh, BeforeItSettled);
        let fresh: Values = media(9, 9, 3, [1, 6, 0]).into_iter().collect();
        let again = count_over(MEDIA, Some(&first), &fresh, BeforeItSettled);
        assert_eq!(again, marked(&media(7, 5, 3, [0, 0, 0])[..4], &marks));
    }

    #[test]
    fn a_flow_without_a_condition_only_grows() {
        let before = marked(&[("newMedia", Count(4))], &[]);
        for (fresh, after) in [(3, 4), (4, 4), (5, 5)] {
            let fresh = Values::from([("newMedia", Count(fresh))]);
            for counting in [OnTime, BeforeItSettled, Settled] {
                let stored = count_over(MEDIA, Some(&before), &fresh, counting);
                assert_eq!(stored, marked(&[("newMedia", Count(after))], &[]), "{counting:?}");
            }
        }
    }

    #[test]
    fn distinct_values_are_united() {
        let set = |names: &[&str]| {
            let names: BTreeSet<_> = names.iter().map(|name| (*name).into()).collect();
            Value::Set(names.into())
        };
        let before = marked(&[("visitors", set(&["a", "b"]))], &[("visitors", LowerBound)]);
        for counting in [BeforeItSettled, Settled] {
            let fresh = Values::from([("visitors", set(&["b", "c"]))]);
            let expected =
                marked(&[("visitors", set(&["a", "b", "c"]))], &[("visitors", LowerBound)]);
            assert_eq!(count_over(USERS, Some(&before), &fresh, counting), expected);
            let fresh = Values::from([("visitors", set(&["b"]))]);
            assert_eq!(count_over(USERS, Some(&before), &fresh, counting), before);
        }
    }

    #[test]
    fn what_is_observed_replaces_what_was_reconstructed() {
        let fresh: Values = media(7, 5, 2, [1, 6, 0]).into_iter().collect();
        let before = count_over(MEDIA, None, &fresh, BeforeItSettled);
        let fresh: Values = media(6, 5, 1, [0, 6, 0]).into_iter().collect();
        let observed = count_over(MEDIA, Some(&before), &fresh, OnTime);
        assert_eq!(observed, marked(&media(6, 5, 1, [0, 6, 0]), &[]));
    }

    #[test]
    fn a_flow_with_a_condition_is_replaced_until_it_has_settled() {
        let job = |done: i64, sum: i64| {
            vec![
                ("successfulGenerations", Count(done)),
                ("averageGenerationTime", Mean(sum * 1_000_000, done)),
            ]
        };
        let before = marked(&job(2, 90), &[]);
        // Fewer, more, none at all.
        for (done, sum, settled) in [(1, 80, (2, 90)), (3, 91, (3, 91)), (0, 0, (2, 90))] {
            let fresh: Values = job(done, sum).into_iter().collect();
            let stored = |counting| count_over(GENERATIONS, Some(&before), &fresh, counting);
            assert_eq!(stored(BeforeItSettled), marked(&job(done, sum), &[]), "{done}");
            assert_eq!(stored(Settled), marked(&job(settled.0, settled.1), &[]), "{done}");
        }
        // None were done: that was observed too, and the first one does not make it a guess.
        let before = marked(&job(0, 0), &[]);
        let fresh: Values = job(1, 30).into_iter().collect();
        let stored = count_over(GENERATIONS, Some(&before), &fresh, BeforeItSettled);
        assert_eq!(stored, marked(&job(1, 30), &[]));
    }

    #[test]
    fn overwriting_marks_what_it_changes() {
        let business = |recurring, total, new| {
            [("MRR", Cents(recurring)), ("totalRevenue", Cents(total)), ("newRevenue", Cents(new))]
        };
        let before = marked(&business(900, 5000, 1000), &[]);
        let fresh = Values::from(business(2000, 4000, 1000));
        let stored = count_over(BUSINESS, Some(&before), &fresh, Overwrite);
        let expected = marked(&business(900, 4000, 1000), &[("totalRevenue", Estimate)]);
        assert_eq!(stored, expected);
        // The same once more: what equals a marked value stays marked.
        assert_eq!(count_over(BUSINESS, Some(&stored), &fresh, Overwrite), expected);
    }

    #[test]
    fn a_coarser_period_is_marked_where_a_finer_one_is() {
        let hour = |marks: &[(&'static str, Reconstruction)]| {
            marked(&[("totalUsers", Count(3)), ("newUsers", Count(1))], marks)
        };
        let plain = hour(&[]);
        let early = hour(&[("totalUsers", Estimate), ("newUsers", LowerBound)]);
        let worse = hour(&[("newUsers", Estimate)]);
        let day = |hours: &[&Marked]| {
            let hours: Vec<_> = hours.iter().copied().map(Some).collect();
            roll_up_marked(USERS, &hours).marks
        };
        assert_eq!(day(&[&plain, &plain]), Marks::new());
        assert_eq!(day(&[&early, &plain]), Marks::from([("newUsers", LowerBound)]));
        let both = Marks::from([("totalUsers", Estimate), ("newUsers", LowerBound)]);
        assert_eq!(day(&[&plain, &early]), both);
        assert_eq!(day(&[&early, &worse, &plain]), Marks::from([("newUsers", Estimate)]));
        // What is absent has no mark.
        let finer = [Some(&early), None, Some(&plain)];
        assert_eq!(roll_up_marked(USERS, &finer), marked(&[("totalUsers", Count(3))], &[]));
    }
}
