//! The scheduled runs: from an event's time to the records of its period.
//!
//! A run can be repeated: which period it works on follows from the event's scheduled time, what it
//! writes from the table. Hours are counted from the platform's items (`hourly`, `counting`), coarser
//! periods are rolled up (`coarser`, `rolling`). Both first read from the run state how far their
//! granularity is complete, and compute what is missing. What is stale is refreshed (`refreshing`).
//! What each run did is in the ledger. The items themselves are in [`crate::store`].

mod catching_up;
mod coarser;
mod completeness;
mod counting;
mod hourly;
mod recalculating;
mod refreshing;
mod report;
mod retaining;
mod rolling;

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};

use crate::{
    dynamodb::{Client, PutItem, Usage},
    host::{Severity, SharedHost},
    metrics::{
        catalogue::Catalogue,
        ordered::Ordered,
        period::{Granularity, Period, format_instant},
    },
    settings::Options,
    store::ledger::{Entry, Trigger},
    store::{
        lease::DeadHolder, ledger::Status, marks::OwnMarks, record_writer::Writer,
        run_state::Progress,
    },
};
pub use recalculating::Next;
use report::Piece;
pub use report::{PeriodReport, Report};

/// Computes and stores records.
#[derive(Clone)]
pub struct Engine {
    client: Client,
    host: SharedHost,
    table: String,
    catalogue: Catalogue,
    options: Options,
}

/// One run: what all its pieces share.
#[derive(Clone)]
struct Run<'run> {
    client: &'run Client,
    id: String,
    /// The event's own time.
    scheduled: DateTime<Utc>,
    begun: DateTime<Utc>,
    /// The types whose records are made.
    types: BTreeSet<&'run str>,
    /// Also write what says the same, with the new time of calculation.
    rewrites: bool,
    /// An event's own run: it may tell what only the time of that event can tell.
    is_event: bool,
    /// The marks of stale periods that it sets.
    marks: OwnMarks,
}

impl<'run> Run<'run> {
    /// The same run for some of its types.
    fn for_types(&self, types: BTreeSet<&'run str>) -> Self {
        Self { types, ..self.clone() }
    }
}

/// Where a run stood when it began a piece that has an entry of its own in the ledger.
struct Beginning {
    at: DateTime<Utc>,
    used: Usage,
    entered: Usage,
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
        let mut report = Report::new(String::new(), period);
        match self.host.random() {
            Err(error) => self.fail_all(&mut report, &error.to_string()),
            Ok(random) => {
                report.run_id = format!("{random:032x}");
                let run = Run {
                    client: &client,
                    id: report.run_id.clone(),
                    scheduled,
                    begun,
                    types: self.types(),
                    rewrites: false,
                    is_event: true,
                    marks: OwnMarks::of_scheduled(&report.run_id, scheduled.max(begun)),
                };
                if granularity == Granularity::Hourly {
                    self.run_hour(&run, period, &mut report).await;
                } else {
                    self.run_rollup(&run, period, &mut report).await;
                }
                self.enter_own(&run, &mut report).await;
            }
        }
        report.usage = client.meter().total();
        report.estimated_cost_usd = self.options.prices.of(&report.usage);
        report.milliseconds = (self.host.now() - begun).num_milliseconds();
        self.log(&report);
        report
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

    /// All types that have records.
    fn types(&self) -> BTreeSet<&str> {
        self.catalogue.recorded_types().ordered_set()
    }

    /// A writer without a lease.
    fn writer<'run>(&'run self, run: &'run Run<'run>) -> Writer<'run> {
        Writer {
            client: run.client,
            host: self.host.clone(),
            table: &self.table,
            catalogue: &self.catalogue,
            retention: self.options.retention,
            fence: None,
            marks: &run.marks,
            rewrites: run.rewrites,
        }
    }

    /// Marks every type of the run's own period that is not settled as failed.
    fn fail_all(&self, report: &mut Report, why: &str) {
        report.period.fail(self.catalogue.recorded_types(), why);
        report.status = report.period.status();
    }

    /// Whether a run may begin another piece of a catch-up.
    fn has_budget(&self, run: &Run<'_>) -> bool {
        let budget = self.options.budget;
        let elapsed = (self.host.now() - run.begun).to_std().unwrap_or_default();
        run.client.meter().total().requests < budget.requests && elapsed < budget.time
    }

    /// Enters the run itself.
    async fn enter_own(&self, run: &Run<'_>, report: &mut Report) {
        let piece = Piece {
            run_id: &run.id,
            trigger: Trigger::Cron,
            attempt: report.attempt,
            started: run.begun,
            finished: self.host.now(),
            usage: run.client.meter().total().since(&report.entered),
            job_id: None,
        };
        let entry = piece.entry(&[&report.period], &self.options.prices);
        if let Some(mut entry) = entry {
            entry.status = report.status;
            entry.left = report.left;
            entry.malformed = report.malformed.clone();
            entry.problems.extend(report.problems.iter().cloned());
            for late in &report.recalculated {
                for (name, why) in &late.types_failed {
                    let problem = format!("{name} of {}: {why}", late.timestamp);
                    entry.problems.push(problem);
                }
            }
            self.enter(run, &entry, run.begun, report).await;
        }
    }

    /// Begins a piece of a catch-up.
    fn begin_piece(&self, run: &Run<'_>, report: &Report) -> Beginning {
        let used = run.client.meter().total();
        Beginning { at: self.host.now(), used, entered: report.entered }
    }

    /// Enters a piece of a catch-up that was for `periods`. What pieces within it consumed is in
    /// their entries, so that all entries of a run add up to what it consumed.
    async fn enter_caught_up(
        &self,
        run: &Run<'_>,
        beginning: &Beginning,
        periods: &[PeriodReport],
        report: &mut Report,
    ) {
        let started = beginning.at;
        let within = report.entered.since(&beginning.entered);
        let usage = run.client.meter().total().since(&beginning.used).since(&within);
        report.entered = report.entered.plus(&usage);
        let piece = Piece {
            run_id: &run.id,
            trigger: Trigger::CatchUp,
            attempt: 1,
            started,
            finished: self.host.now(),
            usage,
            job_id: None,
        };
        let periods: Vec<&PeriodReport> = periods.iter().collect();
        if let Some(entry) = piece.entry(&periods, &self.options.prices) {
            self.enter(run, &entry, started, report).await;
        }
    }

    /// Enters a run that never ended, as the lease shows that it left behind.
    async fn enter_dead(&self, run: &Run<'_>, dead: &DeadHolder, report: &mut Report) {
        let mut words = dead.task.split(' ');
        let trigger = match words.next() {
            Some("recalculate") => Trigger::Recalculate,
            Some("catch-up") => Trigger::CatchUp,
            _ => Trigger::Cron,
        };
        let granularity = words.next().and_then(Granularity::from_name);
        let start = words.next().and_then(crate::metrics::period::parse_instant);
        let (Some(granularity), Some(start)) = (granularity, start) else { return };
        let mut period = PeriodReport::new(Period::containing(granularity, start));
        let why = "the run ended without giving its lease back";
        period.fail(self.catalogue.recorded_types(), why);
        let started = crate::metrics::period::parse_instant(&dead.since).unwrap_or(run.begun);
        let piece = Piece {
            run_id: &dead.holder,
            trigger,
            attempt: dead.attempt,
            started,
            finished: run.begun,
            usage: Usage::default(),
            job_id: None,
        };
        if let Some(mut entry) = piece.entry(&[&period], &self.options.prices) {
            entry.problems.push(format!(
                "{why}; it was ended from outside or lost its connection. What it consumed is not \
                 known. Found by run {}",
                run.id
            ));
            self.enter(run, &entry, started, report).await;
        }
    }

    async fn enter(
        &self,
        run: &Run<'_>,
        entry: &Entry,
        started: DateTime<Utc>,
        report: &mut Report,
    ) {
        let written = match entry.to_item(started) {
            Ok(item) => run
                .client
                .send(&PutItem::new(&self.table, item))
                .await
                .map(|_| ())
                .map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        if let Err(why) = written {
            report.problems.push(format!("the ledger's entry could not be written: {why}"));
        }
    }

    /// Notes in `progress` that the scheduled run of `period` was processed and how it ended. A
    /// replayed event of an earlier period says nothing about how things are now.
    fn note_run(progress: &mut Progress, run: &Run<'_>, report: &Report) {
        let period = report.period.period;
        if !progress.is_in_order(period) {
            return;
        }
        progress.attempt = report.attempt;
        progress.latest = Some(format_instant(period.start()));
        let at = format_instant(run.begun);
        progress.last_status = Some(report.status);
        if report.status == Status::Complete {
            progress.last_success_at = Some(at.clone());
        }
        progress.last_run_at = Some(at);
        progress.failing_types.clone_from(&report.period.types_failed);
        // What is stored shows in health, which says nothing of how many items there are.
        let reasons =
            report.unreadable.iter().map(|(name, why)| (name.clone(), why.reason.clone()));
        progress.failing_types.extend(reasons);
    }
}

/// The periods from `first` to before `end`.
fn periods_between(first: Period, end: Period) -> impl Iterator<Item = Period> {
    std::iter::successors(Some(first), |period| Some(period.next()))
        .take_while(move |period| *period < end)
}
