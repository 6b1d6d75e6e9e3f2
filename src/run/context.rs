//! What all parts of one run share.

use std::{cell::Cell, collections::BTreeSet};

use chrono::{DateTime, Utc};

use crate::{
    dynamodb::{Client, Usage},
    host::SharedHost,
    metrics::{catalogue::Catalogue, maker::Makers},
    settings::Options,
    store::{lease::Lease, marks::OwnMarks, record_writer::Writer},
};

/// One run: the table, the options, and the identity of the run.
pub(super) struct Context<'run> {
    /// Its meter counts this run alone.
    pub(super) client: &'run Client,
    pub(super) host: &'run SharedHost,
    pub(super) table: &'run str,
    pub(super) catalogue: &'run Catalogue,
    pub(super) options: Options,
    pub(super) run_id: String,
    /// The scheduled time of the event; of a recalculation, when it was requested.
    pub(super) scheduled: DateTime<Utc>,
    pub(super) begun: DateTime<Utc>,
    /// The types whose records are computed.
    pub(super) types: BTreeSet<&'run str>,
    /// Also write an unchanged record, with the new time of calculation.
    pub(super) rewrites: bool,
    /// A scheduled run: it may observe what can only be read at its own time.
    pub(super) is_scheduled: bool,
    /// The marks of stale periods that it sets.
    pub(super) marks: OwnMarks,
    /// What of its consumption is in ledger entries already. Like the meter, it is shared by all
    /// parts of the run: one entry contains what the entries within it do not.
    pub(super) entered: Cell<Usage>,
}

impl Context<'_> {
    pub(super) fn now(&self) -> DateTime<Utc> {
        self.host.now()
    }

    /// What decides how records are made, where `begin` is the start of the first counted hour.
    pub(super) fn makers(&self, begin: DateTime<Utc>) -> Makers {
        Makers { begin, as_of: self.scheduled, retention: self.options.retention }
    }

    /// Whether the run may start another batch of a backfill or another refresh.
    pub(super) fn has_budget(&self) -> bool {
        let budget = self.options.budget;
        let elapsed = (self.now() - self.begun).to_std().unwrap_or_default();
        self.client.meter().total().requests < budget.requests && elapsed < budget.time
    }

    /// A writer without a lease.
    pub(super) fn writer(&self) -> Writer<'_> {
        Writer {
            client: self.client,
            host: self.host.clone(),
            table: self.table,
            catalogue: self.catalogue,
            retention: self.options.retention,
            fence: None,
            marks: &self.marks,
            rewrites: self.rewrites,
        }
    }

    /// A writer under `lease`. After a dead holder it also writes unchanged records: should the
    /// holder continue, it finds every record changed.
    pub(super) fn writer_under(&self, lease: &Lease<'_>) -> Writer<'_> {
        Writer { fence: Some(lease.fence()), rewrites: lease.is_after_dead, ..self.writer() }
    }
}
