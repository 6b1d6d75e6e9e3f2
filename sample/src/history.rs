//! The life of a platform instead of its state: every change of every item, in the order in which
//! it shows in the table, so that tests can look at it at any time in between.

use std::collections::HashSet;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;

use crate::{
    Counts, Item,
    calendar::{Life, day_of, hour_of, month_of, stamp, week_of},
    draft::{Draft, set_text},
    malformed::{self, Fault},
    platform::{AMOUNTS, COLOURS, Known, LAKES, TREES, ip, pick_known, prompt, view_count},
    random::Random,
};

/// An item's `PK` and `SK`.
pub type Key = (String, String);

/// An item is put, or deleted.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// When it shows in the table.
    pub at: DateTime<Utc>,
    /// Of which item.
    pub key: Key,
    /// The item from then on; `None` where it is deleted.
    pub item: Option<Item>,
}

/// What happens on a platform from `start` to `end`, earliest first.
///
/// `counts` says how many items of each entity are ever created; for `visitor_hours` also how many
/// hours have views. A few of them are malformed, many change later, some are deleted; some show
/// only a while after their own time, as items of an index or of a slow writer do.
#[must_use]
pub fn history(
    counts: &Counts,
    seed: u64,
    start: DateTime<Utc>,
    end: DateTime<Utc>,
) -> Vec<Change> {
    let mut teller = Teller {
        random: Random::new(seed, 2),
        life: Life { start, end },
        changes: Vec::new(),
        users: Vec::new(),
        media: Vec::new(),
        albums: Vec::new(),
        comments: Vec::new(),
    };
    teller.users(counts.users);
    teller.media(counts.media);
    teller.albums(counts.albums);
    teller.comments(counts.comments);
    teller.interactions(counts.interactions);
    teller.visitors(counts.visitor_hours);
    teller.orders(counts.orders);
    teller.jobs(counts.jobs);
    teller.views(counts.visitor_hours);
    // Stable: what happens at the same time happens in the order in which it was generated.
    teller.changes.sort_by_key(|change| change.at);
    teller.changes
}

/// What happens to an item after it was created.
enum Step {
    Change(Box<dyn Fn(&mut Item)>),
    Delete,
}

fn change(change: impl Fn(&mut Item) + 'static) -> Step {
    Step::Change(Box::new(change))
}

/// Sets strings.
fn texts(values: Vec<(&'static str, String)>) -> Step {
    change(move |item| {
        for (name, value) in &values {
            set_text(item, name, value.clone());
        }
    })
}

fn set(item: &mut Item, name: &str, kind: &str, value: Value) {
    item.insert(name.to_owned(), Value::Object(Item::from_iter([(kind.to_owned(), value)])));
}

type Steps = Vec<(DateTime<Utc>, Step)>;

struct Teller {
    random: Random,
    life: Life,
    changes: Vec<Change>,
    // Each in the order of creation.
    users: Vec<Known>,
    media: Vec<Known>,
    albums: Vec<Known>,
    comments: Vec<Known>,
}

impl Teller {
    /// Tells an item's life: it shows at `shown`, then `steps` happen to it in the order of their
    /// times. What would happen after the end does not.
    fn add(
        &mut self,
        created: Draft,
        shown: DateTime<Utc>,
        mut steps: Steps,
        fault: Option<Fault>,
    ) {
        let mut item = created.done();
        let key = (text(&item, "PK"), text(&item, "SK"));
        steps.sort_by_key(|(at, _)| *at);
        let mut push = |at, item: Option<&Item>| {
            let item = item.cloned().map(|mut item| {
                if let Some(fault) = fault {
                    fault(&mut item);
                }
                item.sort_keys();
                item
            });
            self.changes.push(Change { at, key: key.clone(), item });
        };
        if shown > self.life.end {
            return;
        }
        push(shown, Some(&item));
        for (at, step) in steps {
            // What happened before the item showed shows with the next change, or not at all.
            if at > self.life.end {
                break;
            }
            let at = at.max(shown);
            match step {
                Step::Delete => {
                    push(at, None);
                    break;
                }
                Step::Change(change) => {
                    change(&mut item);
                    push(at, Some(&item));
                }
            }
        }
    }

    /// When something comes into being.
    fn moment(&mut self) -> DateTime<Utc> {
        let at = self.life.moment(&mut self.random);
        self.on_an_edge(at)
    }

    /// When something that came into being at `at` changes.
    fn after(&mut self, at: DateTime<Utc>) -> DateTime<Utc> {
        let later = at + self.random.span(self.life.end - at);
        self.on_an_edge(later).max(at)
    }

    /// Now and then, what would happen at `at` happens in the first or the last millisecond of a
    /// period.
    fn on_an_edge(&mut self, at: DateTime<Utc>) -> DateTime<Utc> {
        let start = match self.random.below(200) {
            0..10 => hour_of(at),
            10..16 => day_of(at),
            16 => week_of(at),
            17 => month_of(at),
            _ => return at,
        };
        let edge = if self.random.chance(50) { start } else { start - TimeDelta::milliseconds(1) };
        if edge < self.life.start { at } else { edge }
    }

    /// When what was written at `at` shows.
    fn shown(&mut self, at: DateTime<Utc>) -> DateTime<Utc> {
        let longest = match self.random.below(100) {
            0..3 => TimeDelta::hours(5),
            3..7 => TimeDelta::minutes(20),
            _ => TimeDelta::seconds(2),
        };
        at + self.random.span(longest)
    }

    /// The fault of the `number`th item, if it has one. Every twentieth has, until all are used.
    fn fault(faults: &[Fault], number: u32) -> Option<Fault> {
        let number = number as usize;
        if number % 20 == 7 { faults.get(number / 20).copied() } else { None }
    }

    fn users(&mut self, count: u32) {
        for number in 0..count {
            let at = self.moment();
            let id = self.random.id();
            let random = &mut self.random;
            let name = format!("{}-{}-{}", random.pick(&COLOURS), random.pick(&TREES), &id[..8]);
            let email = format!("{name}@example.com");
            let draft = Draft::new(format!("USER#{id}"), "METADATA")
                .index(1, "USER_EMAIL", &email)
                .index(3, "USER_USERNAME", &name)
                .index(4, "USER_PLAN#free", format!("9999-12-31T00:00:00.000Z#{id}"))
                .text("EntityType", "User")
                .text("userId", &id)
                .text("email", &email)
                .text("username", &name)
                .flag("isActive", true)
                .flag("isEmailVerified", random.chance(90))
                .text("createdAt", stamp(at))
                .optional_text("lastActive", (!random.chance(20)).then(|| stamp(at)))
                .text("role", random.weighted(&[(985, "user"), (10, "moderator"), (5, "admin")]))
                .text("plan", "free")
                .text("preferredLanguage", random.pick(&["de", "en", "es", "fr", "ja"]));
            let mut steps = Steps::new();
            for _ in 0..self.random.below(24) {
                let active = self.after(at);
                // Written a moment later; then the item says what was last.
                let written = self.shown(active);
                steps.push((written, texts(vec![("lastActive", stamp(active))])));
            }
            if self.random.chance(30) {
                let subscribed = self.after(at);
                self.subscription(&id, subscribed, &mut steps);
            }
            if self.random.chance(14) {
                let left = self.after(at);
                let active =
                    |is| change(move |user| set(user, "isActive", "BOOL", Value::Bool(is)));
                steps.push((left, active(false)));
                if self.random.chance(40) {
                    steps.push((self.after(left), active(true)));
                }
            }
            if self.random.chance(4) {
                steps.push((self.after(at), Step::Delete));
            }
            let shown = self.shown(at);
            self.add(draft, shown, steps, Self::fault(malformed::USERS, number));
            self.users.push(Known { id, created: at });
        }
        self.users.sort_by_key(|user| user.created);
    }

    /// A plan is bought, renewed some times, perhaps cancelled, and runs out.
    fn subscription(&mut self, id: &str, bought: DateTime<Utc>, steps: &mut Steps) {
        let plan = self.random.pick(&["starter", "unlimited", "pro"]);
        let subscription = (!self.random.chance(8)).then(|| format!("sub-{}", self.random.id()));
        let endless = self.random.chance(8);
        let id = id.to_owned();
        let until = move |user: &mut Item, end: Option<DateTime<Utc>>| {
            let end = end.map(stamp);
            let sort = end.as_deref().unwrap_or("9999-12-31T00:00:00.000Z");
            set_text(user, "GSI4SK", format!("{sort}#{id}"));
            if let Some(end) = end {
                set_text(user, "planEndDate", end);
            }
        };
        let mut end = bought + TimeDelta::days(if self.random.chance(50) { 30 } else { 7 });
        let (first_until, first_end) = (until.clone(), (!endless).then_some(end));
        steps.push((
            bought,
            change(move |user| {
                set_text(user, "plan", plan);
                set_text(user, "GSI4PK", format!("USER_PLAN#{plan}"));
                set_text(user, "subscriptionStatus", "active");
                if let Some(subscription) = &subscription {
                    set_text(user, "subscriptionId", subscription.clone());
                }
                first_until(user, first_end);
            }),
        ));
        while !endless && self.random.chance(60) {
            // Paid a little before it runs out, at times a little after.
            let paid = end - TimeDelta::hours(5) + self.random.span(TimeDelta::hours(7));
            end += TimeDelta::days(30);
            let until = until.clone();
            steps.push((paid, change(move |user| until(user, Some(end)))));
        }
        if self.random.chance(30) {
            let cancelled = bought + self.random.span(end - bought);
            steps.push((cancelled, texts(vec![("subscriptionStatus", "canceled".to_owned())])));
        }
        if !endless && self.random.chance(60) {
            let noticed = end + self.random.span(TimeDelta::hours(30));
            let expired = vec![
                ("subscriptionStatus", "expired".to_owned()),
                ("plan", "free".to_owned()),
                ("GSI4PK", "USER_PLAN#free".to_owned()),
            ];
            steps.push((noticed, texts(expired)));
        }
    }

    fn media(&mut self, count: u32) {
        for number in 0..count {
            let at = self.moment();
            let id = self.random.id();
            let owner = pick_known(&self.users, at, &mut self.random);
            let random = &mut self.random;
            let created = stamp(at);
            let public =
                (!random.chance(4)).then(|| if random.chance(75) { "true" } else { "false" });
            let status =
                random.weighted(&[(80, Some("pending")), (17, Some("uploaded")), (3, None)]);
            let draft = Draft::new(format!("MEDIA#{id}"), "METADATA")
                .index(1, "MEDIA_BY_CREATOR", format!("{owner}#{created}#{id}"))
                .index(2, "MEDIA_ID", &id)
                .index(4, "MEDIA", format!("{created}#{id}"))
                .index(7, "CONTENT", &created)
                .text("EntityType", "Media")
                .text("id", &id)
                .text("createdBy", &owner)
                .text("createdAt", &created)
                .optional_text("isPublic", public)
                .optional_text("status", status)
                .number("size", 40_000 + random.below(4_000_000))
                .number("likeCount", 0)
                .number("viewCount", 0)
                .text("mimeType", random.weighted(&[(80, "image/webp"), (20, "video/mp4")]))
                .text("url", format!("https://media.example.com/{id}.webp"))
                .text("prompt", prompt(random));
            let draft = match public {
                Some(public) => draft.index(5, "MEDIA", public),
                None => draft,
            };
            let mut steps = Steps::new();
            if status == Some("pending") && !self.random.chance(4) {
                let longest = if self.random.chance(10) { 600 } else { 10 };
                let ended = at + self.random.span(TimeDelta::minutes(longest));
                let outcome = self.random.weighted(&[(92, "uploaded"), (8, "failed")]);
                steps.push((ended, texts(vec![("status", outcome.to_owned())])));
            }
            self.visibility("MEDIA", at, &mut steps);
            if self.random.chance(15) {
                let views = self.random.below(5000);
                let viewed = move |medium: &mut Item| {
                    set(medium, "viewCount", "N", Value::String(views.to_string()));
                };
                steps.push((self.after(at), change(viewed)));
            }
            if self.random.chance(9) {
                steps.push((self.after(at), Step::Delete));
            }
            let shown = self.shown(at);
            self.add(draft, shown, steps, Self::fault(malformed::MEDIA, number));
            self.media.push(Known { id, created: at });
        }
        self.media.sort_by_key(|medium| medium.created);
    }

    /// What is public is hidden later, and shown again.
    fn visibility(&mut self, partition: &'static str, at: DateTime<Utc>, steps: &mut Steps) {
        let mut at = at;
        while self.random.chance(22) {
            at = self.after(at);
            let public = if self.random.chance(40) { "true" } else { "false" }.to_owned();
            let keys = ("GSI5PK", partition.to_owned());
            steps.push((at, texts(vec![keys, ("GSI5SK", public.clone()), ("isPublic", public)])));
        }
    }

    fn albums(&mut self, count: u32) {
        for number in 0..count {
            let at = self.moment();
            let id = self.random.id();
            let owner = pick_known(&self.users, at, &mut self.random);
            let random = &mut self.random;
            let created = stamp(at);
            let public = if random.chance(70) { "true" } else { "false" };
            let draft = Draft::new(format!("ALBUM#{id}"), "METADATA")
                .index(1, "ALBUM", format!("{created}#{id}"))
                .index(5, "ALBUM", public)
                .index(7, "CONTENT", &created)
                .text("EntityType", "Album")
                .text("id", &id)
                .text("createdBy", &owner)
                .text("createdAt", &created)
                .text("isPublic", public)
                .text("title", format!("Lake {}, {}", random.pick(&LAKES), random.pick(&COLOURS)))
                .text("coverUrl", format!("https://media.example.com/albums/{id}/cover.webp"))
                .number("mediaCount", random.below(60));
            let mut steps = Steps::new();
            self.visibility("ALBUM", at, &mut steps);
            if self.random.chance(10) {
                steps.push((self.after(at), Step::Delete));
            }
            let shown = self.shown(at);
            self.add(draft, shown, steps, Self::fault(malformed::ALBUMS, number));
            self.albums.push(Known { id, created: at });
        }
        self.albums.sort_by_key(|album| album.created);
    }

    fn comments(&mut self, count: u32) {
        for _ in 0..count {
            let at = self.moment();
            let id = self.random.id();
            let author = pick_known(&self.users, at, &mut self.random);
            let kind = self.random.weighted(&[(70, "media"), (30, "album")]);
            let target = self.target(kind, at);
            let created = stamp(at);
            let draft = Draft::new(format!("COMMENT#{id}"), "METADATA")
                .index(1, "COMMENTS_BY_TARGET", format!("{kind}#{target}#{created}#{id}"))
                .index(3, "INTERACTION#comment", &created)
                .text("EntityType", "Comment")
                .text("id", &id)
                .text("userId", author)
                .text("targetType", kind)
                .text("targetId", target)
                .text("createdAt", &created)
                .text("content", format!("Reminds me of lake {}.", self.random.pick(&LAKES)));
            let steps = self.perhaps_undone(at, 8);
            let shown = self.shown(at);
            self.add(draft, shown, steps, None);
            self.comments.push(Known { id, created: at });
        }
        self.comments.sort_by_key(|comment| comment.created);
    }

    /// Deleted in `percent` of 100 cases: half of them within hours.
    fn perhaps_undone(&mut self, at: DateTime<Utc>, percent: u64) -> Steps {
        if !self.random.chance(percent) {
            return Steps::new();
        }
        let undone = if self.random.chance(50) {
            at + self.random.span(TimeDelta::hours(8))
        } else {
            self.after(at)
        };
        vec![(undone, Step::Delete)]
    }

    fn interactions(&mut self, count: u32) {
        let mut taken = HashSet::new();
        for number in 0..count {
            let at = self.moment();
            let action = self.random.weighted(&[(70, "like"), (30, "bookmark")]);
            let kind = self.random.weighted(&[(55, "media"), (37, "album"), (8, "comment")]);
            let user = pick_known(&self.users, at, &mut self.random);
            let mut target = self.target(kind, at);
            if !taken.insert((action, user.clone(), target.clone())) {
                target = self.random.id();
            }
            let created = stamp(at);
            let draft =
                Draft::new(format!("USER#{user}"), format!("INTERACTION#{action}#{target}"))
                    .index(1, format!("INTERACTION#{action}#{target}"), &user)
                    .index(3, format!("INTERACTION#{action}"), &created)
                    .text("EntityType", "UserInteraction")
                    .text("userId", &user)
                    .text("interactionType", action)
                    .text("targetType", kind)
                    .text("targetId", target)
                    .text("createdAt", created);
            let steps = self.perhaps_undone(at, 14);
            let shown = self.shown(at);
            self.add(draft, shown, steps, Self::fault(malformed::INTERACTIONS, number));
        }
    }

    fn target(&mut self, kind: &str, at: DateTime<Utc>) -> String {
        let known = match kind {
            "media" => &self.media,
            "album" => &self.albums,
            _ => &self.comments,
        };
        pick_known(known, at, &mut self.random)
    }

    fn visitors(&mut self, count: u32) {
        let mut taken = HashSet::new();
        for number in 0..count {
            let at = self.moment();
            let hour = hour_of(at);
            let mut address = self.random.skewed_index(20 + count as usize / 6);
            while !taken.insert((hour, address)) {
                address += 1;
            }
            let address = ip(address);
            let last = hour + TimeDelta::milliseconds(3_599_999);
            let random = &mut self.random;
            let draft = Draft::new("VISITOR", format!("{}#{address}", &stamp(hour)[..13]))
                .text("timestamp", stamp(at))
                .text("lastSeen", stamp(at))
                .text("clientIP", address)
                .text("country", random.pick(&["BR", "DE", "FR", "IN", "JP", "US"]))
                .text("path", random.pick(&["/", "/albums", "/media", "/plans"]))
                .text("userAgent", "Mozilla/5.0 (X11; Linux x86_64) ExampleBrowser/1.0");
            let mut steps = Steps::new();
            for _ in 0..self.random.below(3) {
                let seen = at + self.random.span(last - at);
                steps.push((seen, texts(vec![("lastSeen", stamp(seen))])));
            }
            let shown = self.shown(at);
            let fault = Self::fault(malformed::VISITORS, number);
            if fault.is_some() {
                // Never alone in its hour: where every item is malformed there is no value.
                let address = "2001:db8::ffff:1";
                let companion = draft
                    .clone()
                    .text("SK", format!("{}#{address}", &stamp(hour)[..13]))
                    .text("clientIP", address);
                self.add(companion, shown, Steps::new(), None);
            }
            self.add(draft, shown, steps, fault);
        }
    }

    fn orders(&mut self, count: u32) {
        let amounts_are_strings_since = self.life.start + (self.life.end - self.life.start) / 3;
        for number in 0..count {
            let at = self.moment();
            let id = self.random.id();
            let buyer = pick_known(&self.users, at, &mut self.random);
            let (amount, older) = self.random.pick(&AMOUNTS);
            let created = stamp(at);
            let draft = Draft::new(format!("ORDER#{id}"), "METADATA")
                .index(2, "ORDERS_BY_STATUS#initiated", format!("{created}#{id}"))
                .text("EntityType", "Order")
                .text("orderId", &id)
                .text("userId", buyer)
                .text("status", "initiated")
                .text("currency", "USD")
                .text("createdAt", &created)
                .text("updatedAt", &created)
                .text("paymentProvider", "example-payments");
            let draft = if at < amounts_are_strings_since {
                draft.number("amount", older)
            } else {
                draft.text("amount", amount)
            };
            let outcome = self.random.weighted(&[
                (78, Some("completed")),
                (8, Some("cancelled")),
                (6, Some("failed")),
                (8, None),
            ]);
            let mut steps = Steps::new();
            if let Some(outcome) = outcome {
                let longest = self.random.weighted(&[
                    (60, TimeDelta::minutes(4)),
                    (25, TimeDelta::hours(4)),
                    (15, TimeDelta::days(3)),
                ]);
                let ended = at + self.random.span(longest);
                let mut values = vec![
                    ("status", outcome.to_owned()),
                    ("GSI2PK", format!("ORDERS_BY_STATUS#{outcome}")),
                    ("updatedAt", stamp(ended)),
                ];
                // An older release did not say when.
                if outcome == "completed" && !self.random.chance(15) {
                    values.push(("completedAt", stamp(ended)));
                }
                steps.push((self.shown(ended), texts(values)));
            }
            if self.random.chance(2) {
                steps.push((self.after(at), Step::Delete));
            }
            let shown = self.shown(at);
            self.add(draft, shown, steps, Self::fault(malformed::ORDERS, number));
        }
    }

    fn jobs(&mut self, count: u32) {
        for number in 0..count {
            let at = self.moment();
            let id = self.random.id();
            let user = pick_known(&self.users, at, &mut self.random);
            let created = stamp(at);
            let random = &mut self.random;
            let draft = Draft::new(format!("I2VJOB#{id}"), "METADATA")
                .index(3, "I2VJOB_STATUS#IN_QUEUE", format!("{created}#{id}"))
                .text("EntityType", "I2VJob")
                .text("jobId", &id)
                .text("userId", user)
                .text("status", "IN_QUEUE")
                .text("createdAt", &created)
                .text("submittedAt", &created)
                .text("prompt", prompt(random))
                .text("resolution", random.pick(&["480p", "720p", "1080p"]));
            let mut steps = Steps::new();
            let moves = |status: &str| {
                vec![("status", status.to_owned()), ("GSI3PK", format!("I2VJOB_STATUS#{status}"))]
            };
            let takes = self.random.weighted(&[
                (70, TimeDelta::minutes(5)),
                (14, TimeDelta::hours(3)),
                (10, TimeDelta::hours(12)),
                (6, TimeDelta::days(4)),
            ]);
            let ended = at + TimeDelta::seconds(20) + self.random.span(takes);
            steps.push((at + self.random.span((ended - at) / 2), texts(moves("IN_PROGRESS"))));
            let outcome = self.random.weighted(&[
                (80, Some("COMPLETED")),
                (8, Some("FAILED")),
                (4, Some("TIMED_OUT")),
                (5, Some("CANCELLED")),
                (3, None),
            ]);
            if let Some(outcome) = outcome {
                let random = &mut self.random;
                let seconds = 20 + random.below(280);
                let seconds = if random.chance(70) {
                    seconds.to_string()
                } else {
                    format!("{seconds}.{}", 1 + random.below(9))
                };
                let worked = matches!(outcome, "COMPLETED" | "FAILED");
                let timed = worked && random.chance(96);
                let mut values = moves(outcome);
                if worked {
                    values.push(("completedAt", stamp(ended)));
                }
                let ends = change(move |job| {
                    for (name, value) in &values {
                        set_text(job, name, value.clone());
                    }
                    if timed {
                        set(job, "executionTime", "N", Value::String(seconds.clone()));
                    }
                });
                steps.push((ended, ends));
            }
            if self.random.chance(4) {
                steps.push((self.after(at), Step::Delete));
            }
            let shown = self.shown(at);
            self.add(draft, shown, steps, Self::fault(malformed::JOBS, number));
        }
    }

    /// Views are added to the four counts of their time, in place. None is malformed: an hour has one
    /// count, so it would have no value.
    fn views(&mut self, count: u32) {
        let mut views = Vec::new();
        for _ in 0..count {
            let at = self.moment();
            // Some are added up elsewhere and come late.
            views.push((self.shown(at), at, 1 + self.random.below(30)));
        }
        views.sort_by_key(|(shown, ..)| *shown);
        let mut sums = std::collections::HashMap::new();
        for (shown, at, views) in views {
            if shown > self.life.end {
                continue;
            }
            let periods = [
                ("hourly", hour_of(at)),
                ("daily", day_of(at)),
                ("weekly", week_of(at)),
                ("monthly", month_of(at)),
            ];
            for period in periods {
                let sum = sums.entry(period).or_insert(0);
                *sum += views;
                let draft = view_count(period.0, period.1).number("newViews", *sum);
                self.add(draft, shown, Steps::new(), None);
            }
        }
    }
}

fn text(item: &Item, name: &str) -> String {
    item.get(name).and_then(|value| value["S"].as_str()).unwrap_or_default().to_owned()
}
