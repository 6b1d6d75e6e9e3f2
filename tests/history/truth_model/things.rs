//! What there is on the platform, thing by thing: how it comes into being and what happens to it.

use std::collections::{BTreeMap, HashSet};

use chrono::{DateTime, TimeDelta, Utc};
use edge_analytics::metrics::period::{Granularity, format_instant};
use sample_platform::{Item, Key};

use super::life::{
    State, Step, Steps, Thing, Writer, beside_the_runs, change, hour_end, item, set_flag,
    set_number, set_text, start_of,
};
use support::reckoning::{Fact, Outcome};

type Instant = DateTime<Utc>;

impl Writer {
    pub(super) fn write(&mut self, size: u64) {
        self.write_users(size);
        self.write_media(5 * size);
        self.write_albums(size);
        self.write_interactions(8 * size);
        self.write_comments(3 * size);
        self.write_visitors(10 * size);
        self.write_jobs(5 * size);
        self.write_orders(2 * size);
        self.write_views(8 * size);
        self.write_sessions(size);
    }

    fn write_users(&mut self, count: u64) {
        for number in 0..count {
            // Half of them were there before.
            let created = if number % 2 == 0 { self.start } else { self.moment() };
            let id = format!("user-{number}");
            let key = (format!("USER#{id}"), "METADATA".to_owned());
            let created_at = format_instant(created);
            let mut item = item(
                &key,
                &[
                    ("EntityType", "User"),
                    ("userId", &id),
                    ("GSI1PK", "USER_EMAIL"),
                    ("GSI1SK", &id),
                    ("GSI3PK", "USER_USERNAME"),
                    ("GSI3SK", &id),
                    ("GSI4PK", "USER_PLAN#free"),
                    ("GSI4SK", &format!("9999-12-31T00:00:00.000Z#{id}")),
                    ("createdAt", &created_at),
                    ("role", "user"),
                    ("plan", "free"),
                ],
            );
            set_flag(&mut item, "isActive", true);
            let fact = Fact::User {
                id: id.as_str().into(),
                counts: true,
                created: Some(created.timestamp_millis()),
                last_active: None,
                price: 0,
                lasts_until: i64::MAX,
            };
            let mut steps = Steps::new();
            for _ in 0..self.random.below(40) {
                // It shows at once, so that the item says what was last.
                let active = beside_the_runs(self.after(created));
                steps.push((
                    active,
                    change(move |fact, item| {
                        let Fact::User { last_active, .. } = fact else { unreachable!("a user") };
                        *last_active = Some(active.timestamp_millis());
                        set_text(item, "lastActive", format_instant(active));
                    }),
                ));
            }
            if self.random.chance(40) {
                self.subscribe(created, &mut steps);
            }
            // A user leaves only after the hour of arrival was last counted.
            let settled = hour_end(created) + TimeDelta::hours(4);
            if self.random.chance(35) {
                let left = self.after(settled);
                steps.push((left, activity(false)));
                if self.random.chance(40) {
                    steps.push((self.after(left), activity(true)));
                }
            }
            if self.random.chance(10) {
                steps.push((self.after(settled), Step::Delete));
            }
            self.add(created, key, (fact, item), steps);
        }
        self.users = count;
    }

    /// A plan is bought, perhaps cancelled, and ends.
    fn subscribe(&mut self, created: Instant, steps: &mut Steps) {
        let (plan, price) = self.random.pick(&[("starter", 9), ("unlimited", 20), ("pro", 30)]);
        let bought = self.after(created);
        let ends = bought + TimeDelta::days(if self.random.chance(50) { 7 } else { 30 });
        steps.push((
            bought,
            change(move |fact, item| {
                let Fact::User { price: brings, lasts_until, .. } = fact else {
                    unreachable!("a user")
                };
                (*brings, *lasts_until) = (price, ends.timestamp_millis());
                set_text(item, "plan", plan);
                set_text(item, "GSI4PK", format!("USER_PLAN#{plan}"));
                set_text(item, "subscriptionStatus", "active");
                set_text(item, "subscriptionId", "subscription");
                set_text(item, "planEndDate", format_instant(ends));
            }),
        ));
        if self.random.chance(30) {
            let cancelled = bought + self.random.span(ends - bought);
            steps.push((
                cancelled,
                change(|fact, item| {
                    let Fact::User { price, .. } = fact else { unreachable!("a user") };
                    *price = 0;
                    set_text(item, "subscriptionStatus", "canceled");
                }),
            ));
        }
    }

    fn write_media(&mut self, count: u64) {
        for number in 0..count {
            let created = self.moment();
            let id = format!("media-{number}");
            let key = (format!("MEDIA#{id}"), "METADATA".to_owned());
            let created_at = format_instant(created);
            let public = self.random.chance(70);
            let item = item(
                &key,
                &[
                    ("EntityType", "Media"),
                    ("id", &id),
                    ("GSI4PK", "MEDIA"),
                    ("GSI4SK", &format!("{created_at}#{id}")),
                    ("GSI5PK", "MEDIA"),
                    ("GSI5SK", if public { "true" } else { "false" }),
                    ("createdAt", &created_at),
                    ("isPublic", if public { "true" } else { "false" }),
                    ("status", "pending"),
                ],
            );
            let fact =
                Fact::Medium { created: created.timestamp_millis(), public, status: Some(0) };
            let mut steps = self.visibility(created);
            let (status, name) =
                self.random.pick(&[(1, "uploaded"), (1, "uploaded"), (2, "failed")]);
            steps.push((
                created + self.random.span(TimeDelta::hours(3)),
                change(move |fact, item| {
                    let Fact::Medium { status: now, .. } = fact else { unreachable!("a medium") };
                    *now = Some(status);
                    set_text(item, "status", name);
                }),
            ));
            if self.random.chance(25) {
                steps.push((self.undone(created), Step::Delete));
            }
            self.add(created, key, (fact, item), steps);
        }
    }

    fn write_albums(&mut self, count: u64) {
        for number in 0..count {
            let created = self.moment();
            let id = format!("album-{number}");
            let key = (format!("ALBUM#{id}"), "METADATA".to_owned());
            let created_at = format_instant(created);
            let public = self.random.chance(70);
            let item = item(
                &key,
                &[
                    ("EntityType", "Album"),
                    ("id", &id),
                    ("GSI1PK", "ALBUM"),
                    ("GSI1SK", &format!("{created_at}#{id}")),
                    ("createdAt", &created_at),
                    ("isPublic", if public { "true" } else { "false" }),
                ],
            );
            let fact = Fact::Album { created: created.timestamp_millis(), public };
            let mut steps = self.visibility(created);
            if self.random.chance(25) {
                steps.push((self.undone(created), Step::Delete));
            }
            let shown = self.shown(created);
            self.add(shown, key, (fact, item), steps);
        }
    }

    /// What is public is hidden, and shown again.
    fn visibility(&mut self, created: Instant) -> Steps {
        let mut steps = Steps::new();
        let mut at = created;
        while self.random.chance(40) {
            at = self.after(at);
            let is = self.random.chance(50);
            steps.push((
                at,
                change(move |fact, item| {
                    match fact {
                        Fact::Medium { public, .. } | Fact::Album { public, .. } => *public = is,
                        _ => unreachable!("a medium or an album"),
                    }
                    set_text(item, "isPublic", if is { "true" } else { "false" });
                }),
            ));
        }
        steps
    }

    fn write_interactions(&mut self, count: u64) {
        for number in 0..count {
            let created = self.moment();
            let (kind, action) = self.random.pick(&[(0, "like"), (0, "like"), (1, "bookmark")]);
            let (target_type, target) = self.target();
            let user = self.random.below(self.users);
            // One action on one target: the number keeps them apart.
            let target = format!("{target}-{}", number % 7);
            let key =
                (format!("USER#user-{user}"), format!("INTERACTION#{action}#{target}#{number}"));
            let created_at = format_instant(created);
            let item = item(
                &key,
                &[
                    ("EntityType", "UserInteraction"),
                    ("GSI1PK", &format!("INTERACTION#{action}#{target}")),
                    ("GSI1SK", &user.to_string()),
                    ("GSI3PK", &format!("INTERACTION#{action}")),
                    ("GSI3SK", &created_at),
                    ("interactionType", action),
                    ("targetType", target_type),
                    ("targetId", &target),
                    ("createdAt", &created_at),
                ],
            );
            self.interaction(kind, created, (target_type, &target), (key, item), 25);
        }
    }

    fn write_comments(&mut self, count: u64) {
        for number in 0..count {
            let created = self.moment();
            let (target_type, target) = self.target();
            let key = (format!("COMMENT#{number}"), "METADATA".to_owned());
            let created_at = format_instant(created);
            let item = item(
                &key,
                &[
                    ("EntityType", "Comment"),
                    ("GSI3PK", "INTERACTION#comment"),
                    ("GSI3SK", &created_at),
                    ("targetType", target_type),
                    ("targetId", &target),
                    ("createdAt", &created_at),
                ],
            );
            self.interaction(2, created, (target_type, &target), (key, item), 40);
        }
    }

    fn target(&mut self) -> (&'static str, String) {
        let target_type = self.random.pick(&["media", "media", "album"]);
        (target_type, format!("{target_type}-{}", self.random.skewed_index(30)))
    }

    fn interaction(
        &mut self,
        kind: usize,
        created: Instant,
        (target_type, target): (&str, &str),
        (key, item): (Key, Item),
        percent_undone: u64,
    ) {
        let fact = Fact::Interaction {
            kind,
            created: created.timestamp_millis(),
            target: Some((target.into(), target_type.into())),
        };
        let mut steps = Steps::new();
        if self.random.chance(percent_undone) {
            steps.push((self.undone(created), Step::Delete));
        }
        let shown = self.shown(created);
        self.add(shown, key, (fact, item), steps);
    }

    /// Visitors expire; some so soon that later runs of their hour no longer find them.
    fn write_visitors(&mut self, count: u64) {
        let mut taken = HashSet::new();
        for _ in 0..count {
            let at = self.moment();
            let hour = format_instant(at)[..13].to_owned();
            let address = format!("192.0.2.{}", self.random.skewed_index(200));
            if !taken.insert((hour.clone(), address.clone())) {
                continue;
            }
            let key = ("VISITOR".to_owned(), format!("{hour}#{address}"));
            let seen = format_instant(at);
            let lasts = self.random.pick(&[2, 2, 30, 80]);
            // A whole second, between two runs.
            let next = start_of(Granularity::Hourly, at) + TimeDelta::hours(1);
            let expires = next + TimeDelta::hours(lasts) + TimeDelta::minutes(10);
            let mut item =
                item(&key, &[("timestamp", &seen), ("lastSeen", &seen), ("clientIP", &address)]);
            set_number(&mut item, "ttl", &expires.timestamp());
            let fact = Fact::Visitor(at.timestamp_millis(), address.as_str().into());
            let last_seen = at + self.random.span(hour_end(at) - at);
            let steps = vec![
                (
                    last_seen,
                    change(move |_, item| {
                        set_text(item, "lastSeen", format_instant(last_seen));
                    }),
                ),
                // It is deleted some time after it expired. What happened has happened as long as it
                // is there; no total counts visitors.
                (expires + self.random.span(TimeDelta::hours(40)), Step::Delete),
            ];
            self.add(at, key, (fact, item), steps);
        }
    }

    fn write_jobs(&mut self, count: u64) {
        for number in 0..count {
            let created = self.moment();
            let id = format!("job-{number}");
            let key = (format!("I2VJOB#{id}"), "METADATA".to_owned());
            let created_at = format_instant(created);
            let item = item(
                &key,
                &[
                    ("EntityType", "I2VJob"),
                    ("jobId", &id),
                    ("GSI3PK", "I2VJOB_STATUS#IN_QUEUE"),
                    ("GSI3SK", &format!("{created_at}#{id}")),
                    ("status", "IN_QUEUE"),
                    ("createdAt", &created_at),
                    ("submittedAt", &created_at),
                ],
            );
            let fact = Fact::Job {
                created: created.timestamp_millis(),
                outcome: Outcome::Other,
                millionths: None,
            };
            let settled = hour_end(created) + TimeDelta::hours(4);
            let last = hour_end(created) + TimeDelta::minutes(175);
            let soon = if self.random.chance(50) { created + TimeDelta::minutes(5) } else { last };
            let begun = created + self.random.span(soon - created);
            let ended = begun + self.random.span(soon - begun);
            let mut steps = vec![(begun, job_moves("IN_PROGRESS", Outcome::Other, None))];
            let tenths = 200 + i64::try_from(self.random.below(2800)).unwrap();
            let outcomes = [
                (70, Some(("COMPLETED", Outcome::Completed, Some(tenths)))),
                (5, Some(("COMPLETED", Outcome::Completed, None))),
                (10, Some(("FAILED", Outcome::Failed, None))),
                (5, Some(("TIMED_OUT", Outcome::Failed, None))),
                (5, Some(("CANCELLED", Outcome::Other, None))),
                (5, None),
            ];
            if let Some((status, outcome, tenths)) = self.random.weighted(&outcomes) {
                steps.push((ended, job_moves(status, outcome, tenths)));
            }
            if self.random.chance(15) {
                steps.push((self.after(settled), Step::Delete));
            }
            self.add(created, key, (fact, item), steps);
        }
    }

    fn write_orders(&mut self, count: u64) {
        for number in 0..count {
            let created = self.moment();
            let id = format!("order-{number}");
            let key = (format!("ORDER#{id}"), "METADATA".to_owned());
            let created_at = format_instant(created);
            let cents = 100 + 5 * i64::try_from(self.random.below(900)).unwrap();
            let amount = format!("{}.{:02}", cents / 100, cents % 100);
            let mut item = item(
                &key,
                &[
                    ("EntityType", "Order"),
                    ("orderId", &id),
                    ("GSI2PK", "ORDERS_BY_STATUS#initiated"),
                    ("GSI2SK", &format!("{created_at}#{id}")),
                    ("status", "initiated"),
                    ("currency", "USD"),
                    ("createdAt", &created_at),
                ],
            );
            if number % 3 == 0 {
                set_number(&mut item, "amount", &amount);
            } else {
                set_text(&mut item, "amount", &amount);
            }
            let mut steps = Steps::new();
            // One without is no order yet: nothing is known of it.
            let fact = Fact::Order(i64::MAX, 0);
            if self.random.chance(85) {
                let completed = created + self.random.span(TimeDelta::hours(20));
                let last = hour_end(completed) + TimeDelta::minutes(175);
                let written = completed + self.random.span(last - completed);
                steps.push((
                    written,
                    change(move |fact, item| {
                        *fact = Fact::Order(completed.timestamp_millis(), cents);
                        set_text(item, "status", "completed");
                        set_text(item, "GSI2PK", "ORDERS_BY_STATUS#completed");
                        set_text(item, "completedAt", format_instant(completed));
                    }),
                ));
                let settled = hour_end(completed) + TimeDelta::hours(4);
                match self.random.below(10) {
                    0 => steps.push((self.after(settled), Step::Delete)),
                    1 => steps.push((
                        self.after(settled),
                        change(|fact, item| {
                            *fact = Fact::Order(i64::MAX, 0);
                            set_text(item, "status", "cancelled");
                            set_text(item, "GSI2PK", "ORDERS_BY_STATUS#cancelled");
                        }),
                    )),
                    _ => {}
                }
            }
            self.add(created, key, (fact, item), steps);
        }
    }

    /// Views are added to the counts of their time in place; some come late.
    fn write_views(&mut self, count: u64) {
        let mut views = Vec::new();
        for _ in 0..count {
            let at = self.moment();
            let shown = beside_the_runs(self.shown(at));
            if shown <= self.end {
                views.push((shown, at, 1 + i64::try_from(self.random.below(30)).unwrap()));
            }
        }
        views.sort_unstable();
        let mut sums: BTreeMap<(&str, Instant), (i64, Vec<State>)> = BTreeMap::new();
        for (shown, at, views) in views {
            for granularity in Granularity::ALL {
                let name = match granularity {
                    Granularity::Hourly => "hourly",
                    Granularity::Daily => "daily",
                    Granularity::Weekly => "weekly",
                    Granularity::Monthly => "monthly",
                };
                let start = start_of(granularity, at);
                let (sum, states) = sums.entry((name, start)).or_default();
                *sum += views;
                let key = (format!("VIEW_COUNT#{name}"), format_instant(start));
                let mut item = item(&key, &[("EntityType", "ViewCount")]);
                set_number(&mut item, "newViews", sum);
                let millisecond = start.timestamp_millis();
                let fact = match granularity {
                    Granularity::Hourly => Fact::HourlyViews(millisecond, *sum),
                    Granularity::Monthly => Fact::MonthlyViews(millisecond, *sum),
                    // No metric reads these.
                    Granularity::Daily | Granularity::Weekly => Fact::HourlyViews(i64::MIN, 0),
                };
                states.push(State { since: shown, content: Some((fact, item)) });
            }
        }
        for ((name, start), (_, states)) in sums {
            let key = (format!("VIEW_COUNT#{name}"), format_instant(start));
            self.things.push(Thing { key, states });
        }
    }

    /// Sessions come and go and count nowhere.
    fn write_sessions(&mut self, count: u64) {
        for number in 0..count {
            let created = self.moment();
            let key = (format!("SESSION#{number}"), "METADATA".to_owned());
            let expires = created + TimeDelta::hours(12);
            let user = format!("user-{}", self.random.below(self.users));
            let mut item = item(
                &key,
                &[
                    ("EntityType", "UserSession"),
                    ("GSI2PK", &format!("USER#{user}#SESSION")),
                    ("GSI2SK", &format_instant(created)),
                    ("userId", &user),
                    ("expiresAt", &format_instant(expires)),
                ],
            );
            set_number(&mut item, "ttl", &expires.timestamp());
            let fact = Fact::HourlyViews(i64::MIN, 0);
            self.add(created, key, (fact, item), vec![(expires, Step::Delete)]);
        }
    }
}

fn activity(is: bool) -> Step {
    change(move |fact, item| {
        let Fact::User { counts, .. } = fact else { unreachable!("a user") };
        *counts = is;
        set_flag(item, "isActive", is);
    })
}

fn job_moves(status: &'static str, outcome: Outcome, tenths: Option<i64>) -> Step {
    change(move |fact, item| {
        let Fact::Job { outcome: now, millionths, .. } = fact else { unreachable!("a job") };
        (*now, *millionths) = (outcome, tenths.map(|tenths| tenths * 100_000));
        set_text(item, "status", status);
        set_text(item, "GSI3PK", format!("I2VJOB_STATUS#{status}"));
        if let Some(tenths) = tenths {
            set_number(item, "executionTime", &format!("{}.{}", tenths / 10, tenths % 10));
        }
    })
}
