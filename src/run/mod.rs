//! Runs: from an event's time to the records of its period.
//!
//! A run can be repeated: its period follows from the event's scheduled time, and what it writes from
//! the table. To follow one cron event from its entry to a written record, read in this order:
//!
//! 1. this file: [`Engine::run`] makes the [`context`] of the run;
//! 2. [`scheduled_hour`] or [`scheduled_rollup`]: the order of the run's work;
//!    [`completeness`] says what is missing;
//! 3. [`backfill`] (hours) or [`coarser`] (days, weeks, months), which asks
//!    [`crate::metrics::maker`] how a period is made; [`hours`] for the hours that a day lacks;
//! 4. [`counting`] from the platform's items, or [`rolling_up`] from finer records;
//! 5. [`storing`]: the records are written, and what they make stale is marked;
//! 6. [`refreshing`] what is stale; [`retention`], if it was changed;
//! 7. [`report`] and [`entries`]: the log line and the ledger; [`problem`] for what went wrong.
//!
//! A recalculation enters by [`recalculation`] (the job and its messages) and [`slice`], and then goes
//! through 3, 4, 5 and 7. The items that are read and written between runs are in [`crate::store`].

mod backfill;
mod coarser;
mod completeness;
mod context;
mod counting;
mod entries;
mod hours;
mod problem;
mod recalculation;
mod refreshing;
mod report;
mod retention;
mod rolling_up;
mod scheduled_hour;
mod scheduled_rollup;
mod slice;
mod storing;

use std::cell::Cell;

use chrono::{DateTime, Utc};

use crate::{
    dynamodb::{Client, Usage},
    host::{Severity, SharedHost},
    metrics::{
        catalogue::Catalogue,
        ordered::Ordered,
        period::{Granularity, Period},
    },
    settings::Options,
    store::{job::Message, marks::OwnMarks},
};
use context::Context;
use recalculation::Delivery;
pub use recalculation::Next;
use report::RunSummary;
pub use report::{PeriodReport, Report};
use scheduled_hour::run_hour;
use scheduled_rollup::run_rollup;

/// Computes and stores records.
#[derive(Clone)]
pub struct Engine {
    client: Client,
    host: SharedHost,
    table: String,
    catalogue: Catalogue,
    options: Options,
}

impl Engine {
    /// An engine on `table`, with the default options.
    #[must_use]
    pub fn new(client: Client, host: SharedHost, table: String, catalogue: Catalogue) -> Self {
        Self { client, host, table, catalogue, options: Options::default() }
    }

    /// The same engine with other options.
    #[must_use]
    pub fn with_options(self, options: Options) -> Self {
        Self { options, ..self }
    }

    /// Does the work of the event of `granularity` scheduled for `scheduled`: the period before that
    /// time, and what is missing before it. Logs one line that says what was done, enters it in the
    /// ledger, and returns it.
    pub async fn run(&self, granularity: Granularity, scheduled: DateTime<Utc>) -> Report {
        let period = Period::containing(granularity, scheduled).previous();
        let begun = self.host.now();
        let client = self.client.with_own_meter();
        let (run_id, summary) = match self.host.random() {
            Err(error) => (String::new(), RunSummary::failed(&self.catalogue, period, &error)),
            Ok(random) => {
                let run_id = format!("{random:032x}");
                let context = self.context(&client, run_id.clone(), scheduled, begun);
                (run_id, scheduled_run(&context, period).await)
            }
        };
        let milliseconds = (self.host.now() - begun).num_milliseconds();
        let usage = client.meter().total();
        let report = Report::new(run_id, summary, usage, &self.options.prices, milliseconds);
        self.log(&report);
        report
    }

    /// Does the message's slice, if its job still exists.
    pub async fn recalculate(&self, message: &Message) -> Next {
        Delivery::new(self, message).process().await
    }

    /// Takes the message's slice back, if its job still exists: too many of its deliveries were ended by
    /// the runtime or could not be acknowledged. A slice of several periods may have been too much for
    /// one invocation and is halved, a single period is given up.
    pub async fn give_up(&self, message: &Message) -> Next {
        Delivery::new(self, message).give_up().await
    }

    /// The context of a scheduled run of all types.
    fn context<'run>(
        &'run self,
        client: &'run Client,
        run_id: String,
        scheduled: DateTime<Utc>,
        begun: DateTime<Utc>,
    ) -> Context<'run> {
        Context {
            client,
            host: &self.host,
            table: &self.table,
            catalogue: &self.catalogue,
            options: self.options,
            marks: OwnMarks::of_scheduled(&run_id, scheduled.max(begun)),
            run_id,
            scheduled,
            begun,
            types: self.catalogue.recorded_types().ordered_set(),
            rewrites: false,
            is_scheduled: true,
            entered: Cell::new(Usage::default()),
        }
    }

    fn log(&self, report: &Report) {
        let severity = if report.is_healthy() { Severity::Info } else { Severity::Error };
        match serde_json::to_value(report) {
            Ok(line) => self.host.log(severity, &line),
            Err(error) => self.host.log(
                Severity::Error,
                &serde_json::json!({"event": "run", "problems": [error.to_string()]}),
            ),
        }
    }
}

/// Does the work of the event of `period`, and enters it in the ledger.
async fn scheduled_run(context: &Context<'_>, period: Period) -> RunSummary {
    let mut summary = if period.granularity() == Granularity::Hourly {
        run_hour(context, period).await
    } else {
        run_rollup(context, period).await
    };
    let entered = context.enter_scheduled(&summary).await;
    summary.problems.extend(entered.err());
    summary
}
