//! The engine on dynoxide, in this process: every metric of many hours against an independent
//! computation, and the exact cost of a run.

use chrono::TimeDelta;
use edge_analytics::{metrics::period::Granularity, store::ledger::Status};
use sample_platform::{Counts, generate_counts};
use support::{
    database::{Backend, TestTable},
    engine_suite::{self, InTime, TYPES, assert_same, end, stored},
    oracle,
};

support::engine_suite!(Backend::Dynoxide);
support::rollup_suite!(Backend::Dynoxide);
support::source_suite!(Backend::Dynoxide);
support::backfill_suite!(Backend::Dynoxide);

#[tokio::test(flavor = "multi_thread")]
async fn every_metric_of_every_hour_is_exact() {
    engine_suite::every_metric_of_every_hour(Backend::Dynoxide, 150, 60).await;
}

/// The cost of one hourly run on 114,000 items. The usual implementation of this job, which filters
/// whole partitions once a metric, takes 107 requests and 11,542 capacity units there.
#[tokio::test(flavor = "multi_thread")]
async fn an_hourly_run_costs_what_it_should() {
    let items = generate_counts(&Counts::cost_measurement(), 60, 1, end());
    let table = TestTable::with(Backend::Dynoxide, &items).await;
    let report = InTime::on(&table).run(Granularity::Hourly, end()).await;
    assert_eq!(report.status, Status::Complete, "{report:?}");
    let hour = end() - TimeDelta::hours(1);
    let expected = oracle::expected_hour(&items, hour, None);
    for metric_type in TYPES {
        let record = stored(&table, metric_type, hour).await.unwrap();
        assert_same(&record.metrics, &expected[metric_type], metric_type);
    }
    println!(
        "one hourly run on {} items: {} requests, {} pages, {} read units, {} write units, {} ms",
        items.len(),
        report.usage.requests,
        report.usage.pages,
        report.usage.read_units,
        report.usage.write_units,
        report.milliseconds,
    );
    // Exact, because the sample is: a request or a unit more is a change that must be reviewed.
    // The budget is 80 requests and 9,000 units.
    assert_eq!((report.usage.requests, report.usage.pages), (70, 60));
    let units = report.usage.read_units + report.usage.write_units;
    assert!((units - 6183.0).abs() < f64::EPSILON, "{units} capacity units");
}
