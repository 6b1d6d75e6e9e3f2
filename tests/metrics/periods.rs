//! Properties of periods, over all instants of several centuries.

use chrono::{DateTime, Datelike, TimeDelta, TimeZone, Timelike, Utc, Weekday};
use edge_analytics::metrics::period::{Granularity, Period, format_instant, parse_instant};
use proptest::prelude::*;

/// Any millisecond from 1900 to 2300.
fn instants() -> impl Strategy<Value = DateTime<Utc>> {
    (-2_208_988_800_000_i64..10_413_792_000_000)
        .prop_map(|milliseconds| DateTime::from_timestamp_millis(milliseconds).unwrap())
}

#[test]
fn a_leap_second_is_the_end_of_its_minute() {
    let instant = parse_instant("2026-12-31T23:59:60Z").unwrap();
    assert_eq!(format_instant(instant), "2026-12-31T23:59:59.999Z");
    for granularity in Granularity::ALL {
        assert!(Period::containing(granularity, instant).contains(instant), "{granularity}");
    }
    let next = Period::starting_at_or_after(Granularity::Hourly, instant).start();
    assert_eq!(format_instant(next), "2027-01-01T00:00:00.000Z");
}

fn granularities() -> impl Strategy<Value = Granularity> {
    prop::sample::select(Granularity::ALL.to_vec())
}

proptest! {
    #[test]
    fn every_instant_lies_in_exactly_one_period(granularity in granularities(), instant in instants()) {
        let period = Period::containing(granularity, instant);
        prop_assert!(period.start() <= instant && instant <= period.end());
        prop_assert!(period.contains(instant));
        prop_assert!(!period.previous().contains(instant));
        prop_assert!(!period.next().contains(instant));
    }

    #[test]
    fn periods_tile(granularity in granularities(), instant in instants()) {
        let period = Period::containing(granularity, instant);
        let millisecond = TimeDelta::milliseconds(1);
        prop_assert_eq!(period.end() + millisecond, period.next().start());
        prop_assert_eq!(period.previous().end() + millisecond, period.start());
        prop_assert_eq!(period.next().previous(), period);
        prop_assert_eq!(Period::containing(granularity, period.start()), period);
        prop_assert_eq!(Period::containing(granularity, period.end()), period);
    }

    #[test]
    fn periods_are_counted_as_stepping_counts_them(
        granularity in granularities(), instant in instants(), steps in 0..60_i64,
    ) {
        let period = Period::containing(granularity, instant);
        let later = (0..steps).fold(period, |period, _| period.next());
        prop_assert_eq!(later.periods_after(period), steps);
        prop_assert_eq!(period.periods_after(later), -steps);
    }

    #[test]
    fn periods_start_where_they_must(granularity in granularities(), instant in instants()) {
        let start = Period::containing(granularity, instant).start();
        prop_assert_eq!((start.minute(), start.second(), start.nanosecond()), (0, 0, 0));
        match granularity {
            Granularity::Hourly => {}
            Granularity::Daily => prop_assert_eq!(start.hour(), 0),
            Granularity::Weekly => prop_assert_eq!((start.hour(), start.weekday()), (0, Weekday::Mon)),
            Granularity::Monthly => prop_assert_eq!((start.hour(), start.day()), (0, 1)),
        }
    }

    #[test]
    fn the_first_period_at_or_after_an_instant_is_next_to_it(granularity in granularities(), instant in instants()) {
        let period = Period::starting_at_or_after(granularity, instant);
        prop_assert!(period.start() >= instant);
        prop_assert!(period.previous().start() < instant);
    }

    #[test]
    fn instants_survive_being_written_and_their_order_is_their_texts(one in instants(), other in instants()) {
        prop_assert_eq!(parse_instant(&format_instant(one)), Some(one));
        prop_assert_eq!(one.cmp(&other), format_instant(one).cmp(&format_instant(other)));
    }
}

fn period(granularity: Granularity, text: &str) -> (String, String) {
    let period = Period::containing(granularity, parse_instant(text).unwrap());
    (format_instant(period.start()), format_instant(period.end()))
}

#[test]
fn leap_years_month_ends_and_iso_weeks_over_new_year() {
    for (granularity, instant, start, end) in [
        (
            Granularity::Daily,
            "2024-02-29T12:00:00Z",
            "2024-02-29T00:00:00.000Z",
            "2024-02-29T23:59:59.999Z",
        ),
        (
            Granularity::Monthly,
            "2024-02-29T12:00:00Z",
            "2024-02-01T00:00:00.000Z",
            "2024-02-29T23:59:59.999Z",
        ),
        (
            Granularity::Monthly,
            "2026-02-28T23:59:59.999Z",
            "2026-02-01T00:00:00.000Z",
            "2026-02-28T23:59:59.999Z",
        ),
        (
            Granularity::Monthly,
            "2100-02-28T12:00:00Z",
            "2100-02-01T00:00:00.000Z",
            "2100-02-28T23:59:59.999Z",
        ),
        (
            Granularity::Monthly,
            "2026-12-31T23:59:59.999Z",
            "2026-12-01T00:00:00.000Z",
            "2026-12-31T23:59:59.999Z",
        ),
        // Week 53 of 2026 ends in 2027; week 1 of 2025 began in 2024.
        (
            Granularity::Weekly,
            "2027-01-03T23:59:59.999Z",
            "2026-12-28T00:00:00.000Z",
            "2027-01-03T23:59:59.999Z",
        ),
        (
            Granularity::Weekly,
            "2025-01-01T00:00:00Z",
            "2024-12-30T00:00:00.000Z",
            "2025-01-05T23:59:59.999Z",
        ),
        (
            Granularity::Hourly,
            "2026-03-01T23:59:59.999Z",
            "2026-03-01T23:00:00.000Z",
            "2026-03-01T23:59:59.999Z",
        ),
    ] {
        assert_eq!(period(granularity, instant), (start.to_owned(), end.to_owned()), "{instant}");
    }
}

#[test]
fn the_month_before_the_31st_is_the_month_before() {
    let march = Period::containing(
        Granularity::Monthly,
        Utc.with_ymd_and_hms(2026, 3, 31, 0, 0, 0).unwrap(),
    );
    assert_eq!(format_instant(march.previous().start()), "2026-02-01T00:00:00.000Z");
}

#[test]
fn a_week_has_seven_days_and_hours_are_utc_whatever_the_zone_changes() {
    // Europe and America change their clocks in these weeks; UTC does not.
    for text in ["2026-03-29T01:30:00Z", "2026-10-25T01:30:00Z", "2026-03-08T07:30:00Z"] {
        let instant = parse_instant(text).unwrap();
        let week = Period::containing(Granularity::Weekly, instant);
        assert_eq!(week.next().start() - week.start(), TimeDelta::days(7));
        let day = Period::containing(Granularity::Daily, instant);
        assert_eq!(day.next().start() - day.start(), TimeDelta::hours(24));
    }
}
