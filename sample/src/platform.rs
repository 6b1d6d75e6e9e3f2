//! The platform's items, entity by entity, with the keys of the gallery's table.

use std::collections::{BTreeMap, HashSet};

use chrono::{DateTime, TimeDelta, Utc};

use crate::{
    Counts, Item, accounts,
    calendar::{Life, day_of, hour_of, month_of, stamp, week_of},
    draft::Draft,
    malformed::{self, Fault},
    random::Random,
};

pub const COLOURS: [&str; 12] = [
    "amber", "azure", "copper", "coral", "emerald", "golden", "indigo", "ivory", "olive",
    "scarlet", "silver", "violet",
];
pub const TREES: [&str; 12] = [
    "alder", "ash", "aspen", "beech", "birch", "cedar", "elm", "larch", "linden", "maple", "rowan",
    "willow",
];
pub const LAKES: [&str; 10] = [
    "Baikal",
    "Como",
    "Garda",
    "Geneva",
    "Ladoga",
    "Onega",
    "Saimaa",
    "Tahoe",
    "Titicaca",
    "Windermere",
];
const SCENES: [&str; 6] = [
    "in the mist of an early morning, soft light, wide angle",
    "under a clear winter sky, long shadows, fine detail",
    "after the rain, reflections in the water, shallow depth of field",
    "at sunset, warm light from the left, painted in oil",
    "in spring, blossoms in the foreground, watercolour",
    "seen from above, terraces and paths, isometric drawing",
];

/// What an order may cost, as newer items say it and as older ones do.
pub const AMOUNTS: [(&str, &str); 6] = [
    ("9.00", "9"),
    ("20.00", "20"),
    ("30.00", "30"),
    ("10.00", "10"),
    ("29.99", "29.99"),
    ("4.95", "4.95"),
];

/// Far enough ahead for any test.
const NEVER_EXPIRES: &str = "2099-12-31T23:59:59.000Z";
const NEVER_EXPIRES_EPOCH: i64 = 4_102_444_799;

pub fn generate(
    counts: &Counts,
    days: u32,
    seed: u64,
    end: DateTime<Utc>,
    each: &mut dyn FnMut(Item),
) {
    let life = Life::new(days, end);
    let mut platform = Platform {
        seed,
        life,
        edges: life.edges(),
        random: Random::new(seed, 1),
        users: Vec::new(),
        media: Vec::new(),
        albums: Vec::new(),
        comments: Vec::new(),
        each,
    };
    platform.add_users(counts.users);
    platform.add_media(counts.media);
    platform.add_albums(counts.albums);
    platform.add_comments(counts.comments);
    platform.add_interactions(counts.interactions);
    platform.add_visitors(counts.visitor_hours);
    platform.add_orders(counts.orders);
    platform.add_jobs(counts.jobs);
    platform.add_view_counts(counts.users);
    platform.add_sessions();
}

/// Something others refer to.
pub struct Known {
    pub id: String,
    pub created: DateTime<Utc>,
}

/// When an item comes into being, and why just then.
#[derive(Clone, Copy)]
struct Moment {
    at: DateTime<Utc>,
    reason: Reason,
}

#[derive(Clone, Copy)]
enum Reason {
    /// To lie on a period's edge. The number tells the first item on that edge from the second.
    Edge(usize),
    /// No particular one.
    Ordinary,
    /// To be malformed in this way, in the last two days.
    Fault(Fault),
}

struct Platform<'a> {
    seed: u64,
    life: Life,
    edges: Vec<DateTime<Utc>>,
    random: Random,
    // Each in the order of creation.
    users: Vec<Known>,
    media: Vec<Known>,
    albums: Vec<Known>,
    comments: Vec<Known>,
    each: &'a mut dyn FnMut(Item),
}

impl Platform<'_> {
    fn add_users(&mut self, count: u32) {
        let accounts = accounts(self.seed);
        let known = [
            (accounts.administrator.user_id, "admin", true),
            (accounts.ordinary_user_id, "user", true),
            (accounts.deactivated_user_id, "admin", false),
        ];
        for (id, role, active) in known {
            let moment = Moment { at: self.life.start, reason: Reason::Ordinary };
            let user = self.user(&id, moment, role, active);
            self.add(user, moment.reason);
            self.users.push(Known { id, created: moment.at });
        }
        for moment in self.moments(count.saturating_sub(3), 1, malformed::USERS) {
            let id = self.random.id();
            let role = self.random.weighted(&[(985, "user"), (10, "moderator"), (5, "admin")]);
            let active = self.random.chance(95);
            let user = self.user(&id, moment, role, active);
            self.add(user, moment.reason);
            self.users.push(Known { id, created: moment.at });
        }
        self.users.sort_by_key(|user| user.created);
    }

    fn user(&mut self, id: &str, moment: Moment, role: &str, active: bool) -> Draft {
        let on_edge = matches!(moment.reason, Reason::Edge(_));
        let random = &mut self.random;
        let name = format!("{}-{}-{}", random.pick(&COLOURS), random.pick(&TREES), &id[..8]);
        let email = format!("{name}@example.com");
        // Most people were here lately: the smaller of two draws counts back from the end.
        let since = self.life.end - moment.at;
        let back = random.span(since).min(random.span(since));
        let last_active = match moment.reason {
            Reason::Edge(_) => Some(moment.at),
            _ => (!random.chance(4)).then_some(self.life.end - back),
        };
        // Those on an edge have plans that run out on it.
        let plan = if on_edge {
            "pro"
        } else {
            random.weighted(&[(80, "free"), (9, "starter"), (7, "unlimited"), (4, "pro")])
        };
        let status = (plan != "free").then(|| {
            if on_edge {
                "active"
            } else {
                random.weighted(&[(80, "active"), (12, "canceled"), (8, "expired")])
            }
        });
        // Some were given their plan, without a subscription.
        let subscription =
            status.filter(|_| on_edge || random.chance(95)).map(|_| format!("sub-{}", random.id()));
        let plan_end = match status {
            Some(_) if on_edge => Some(moment.at),
            Some("active") if random.chance(6) => None,
            // Some have just run out and still say they are active.
            Some("active") => {
                Some(self.life.end - TimeDelta::days(1) + random.span(TimeDelta::days(31)))
            }
            Some(_) => Some(self.life.end - random.span(TimeDelta::days(20))),
            None => None,
        }
        .map(stamp);
        let plan_key =
            format!("{}#{id}", plan_end.as_deref().unwrap_or("9999-12-31T00:00:00.000Z"));
        Draft::new(format!("USER#{id}"), "METADATA")
            .index(1, "USER_EMAIL", &email)
            .index(3, "USER_USERNAME", &name)
            .index(4, format!("USER_PLAN#{plan}"), plan_key)
            .text("EntityType", "User")
            .text("userId", id)
            .text("email", &email)
            .text("username", &name)
            .flag("isActive", active)
            .flag("isEmailVerified", random.chance(90))
            .text("createdAt", stamp(moment.at))
            .optional_text("lastActive", last_active.map(stamp))
            .text("role", role)
            .text("plan", plan)
            .optional_text("subscriptionId", subscription)
            .optional_text("subscriptionStatus", status)
            .optional_text("planEndDate", plan_end)
            .text("avatarUrl", format!("https://media.example.com/avatars/{id}/small.webp"))
            .optional_text("bio", random.chance(40).then(|| prompt(random)))
            .text("preferredLanguage", random.pick(&["de", "en", "es", "fr", "ja"]))
            .number("imagesGeneratedThisMonth", random.below(200))
    }

    fn add_media(&mut self, count: u32) {
        for moment in self.moments(count, 1, malformed::MEDIA) {
            let id = self.random.id();
            let owner = self.someone(moment.at);
            let random = &mut self.random;
            let created = stamp(moment.at);
            let public =
                (!random.chance(2)).then(|| if random.chance(75) { "true" } else { "false" });
            let status = random.weighted(&[
                (90, Some("uploaded")),
                (4, Some("pending")),
                (3, Some("failed")),
                (3, None),
            ]);
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
                .optional_number(
                    "size",
                    (!random.chance(3)).then(|| 40_000 + random.below(4_000_000)),
                )
                .optional_number("likeCount", random.chance(70).then(|| random.below(200)))
                .optional_number("viewCount", random.chance(80).then(|| random.below(5_000)))
                .text("mimeType", random.weighted(&[(80, "image/webp"), (20, "video/mp4")]))
                .text("url", format!("https://media.example.com/{id}.webp"))
                .text("prompt", prompt(random));
            let item = match public {
                Some(public) => draft.index(5, "MEDIA", public),
                None => draft,
            };
            self.add(item, moment.reason);
            self.media.push(Known { id, created: moment.at });
        }
        self.media.sort_by_key(|media| media.created);
    }

    fn add_albums(&mut self, count: u32) {
        for moment in self.moments(count, 1, malformed::ALBUMS) {
            let id = self.random.id();
            let owner = self.someone(moment.at);
            let random = &mut self.random;
            let created = stamp(moment.at);
            let public = if random.chance(70) { "true" } else { "false" };
            let item = Draft::new(format!("ALBUM#{id}"), "METADATA")
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
                .optional_text("description", random.chance(60).then(|| prompt(random)))
                .number("mediaCount", random.below(60))
                .number("likeCount", random.below(300))
                .number("viewCount", random.below(9_000));
            self.add(item, moment.reason);
            self.albums.push(Known { id, created: moment.at });
        }
        self.albums.sort_by_key(|album| album.created);
    }

    fn add_comments(&mut self, count: u32) {
        for moment in self.moments(count, 1, &[]) {
            let id = self.random.id();
            let author = self.someone(moment.at);
            let kind = self.random.weighted(&[(70, "media"), (30, "album")]);
            let target = self.target(kind, moment.at);
            let random = &mut self.random;
            let created = stamp(moment.at);
            let item = Draft::new(format!("COMMENT#{id}"), "METADATA")
                .index(1, "COMMENTS_BY_TARGET", format!("{kind}#{target}#{created}#{id}"))
                .index(3, "INTERACTION#comment", &created)
                .text("EntityType", "Comment")
                .text("id", &id)
                .text("userId", author)
                .text("targetType", kind)
                .text("targetId", target)
                .text("createdAt", &created)
                .text("content", format!("Makes me think of lake {}.", random.pick(&LAKES)))
                .number("likeCount", random.below(20));
            self.add(item, moment.reason);
            self.comments.push(Known { id, created: moment.at });
        }
        self.comments.sort_by_key(|comment| comment.created);
    }

    fn add_interactions(&mut self, count: u32) {
        let mut taken = HashSet::new();
        for moment in self.moments(count, 2, malformed::INTERACTIONS) {
            // Every edge has a like and a bookmark.
            let action = match moment.reason {
                Reason::Edge(0) | Reason::Fault(_) => "like",
                Reason::Edge(_) => "bookmark",
                Reason::Ordinary => self.random.weighted(&[(75, "like"), (25, "bookmark")]),
            };
            let kind = self.random.weighted(&[(55, "media"), (37, "album"), (8, "comment")]);
            let user = self.someone(moment.at);
            let mut target = self.target(kind, moment.at);
            // No user likes a thing twice; something else, long deleted, can be liked at any time.
            if !taken.insert((action, user.clone(), target.clone())) {
                target = self.random.id();
            }
            let created = stamp(moment.at);
            let item = Draft::new(format!("USER#{user}"), format!("INTERACTION#{action}#{target}"))
                .index(1, format!("INTERACTION#{action}#{target}"), &user)
                .index(3, format!("INTERACTION#{action}"), &created)
                .text("EntityType", "UserInteraction")
                .text("userId", &user)
                .text("interactionType", action)
                .text("targetType", kind)
                .text("targetId", target)
                .text("createdAt", created);
            self.add(item, moment.reason);
        }
    }

    fn add_visitors(&mut self, count: u32) {
        let addresses = 20 + count as usize / 6;
        let mut taken = HashSet::new();
        for moment in self.moments(count, 1, malformed::VISITORS) {
            let hour = hour_of(moment.at);
            // The smaller numbers come back in many hours.
            let mut address = self.random.skewed_index(addresses);
            while !taken.insert((hour, address)) {
                address += 1;
            }
            let address = ip(address);
            let last = hour + TimeDelta::milliseconds(3_599_999);
            let seen = (moment.at + self.random.span(last - moment.at)).min(self.life.end);
            let random = &mut self.random;
            let item = Draft::new("VISITOR", format!("{}#{address}", &stamp(hour)[..13]))
                .text("timestamp", stamp(moment.at))
                .text("lastSeen", stamp(seen))
                .text("clientIP", address)
                .text("country", random.pick(&["BR", "DE", "FR", "IN", "JP", "US"]))
                .text("path", random.pick(&["/", "/albums", "/media", "/plans"]))
                .text("referrer", "https://search.example.com/pictures")
                .text("userAgent", "Mozilla/5.0 (X11; Linux x86_64) ExampleBrowser/1.0");
            self.add(item, moment.reason);
        }
    }

    fn add_orders(&mut self, count: u32) {
        let amounts_are_strings_since = self.life.start + (self.life.end - self.life.start) / 2;
        for moment in self.moments(count, 2, malformed::ORDERS) {
            let id = self.random.id();
            let buyer = self.someone(moment.at);
            let random = &mut self.random;
            // One order is made on an edge and knows no other time; another is completed on it.
            let (created, completed, status) = match moment.reason {
                Reason::Edge(0) => (moment.at, None, "completed"),
                Reason::Edge(_) => (
                    (moment.at - TimeDelta::minutes(7)).max(self.life.start),
                    Some(moment.at),
                    "completed",
                ),
                _ => {
                    let completed =
                        moment.at + TimeDelta::seconds(20) + random.span(TimeDelta::minutes(20));
                    let status = random.weighted(&[
                        (65, "completed"),
                        (15, "initiated"),
                        (12, "cancelled"),
                        (8, "failed"),
                    ]);
                    match status {
                        "completed" if completed > self.life.end => (moment.at, None, "initiated"),
                        "completed" if random.chance(90) => (moment.at, Some(completed), status),
                        _ => (moment.at, None, status),
                    }
                }
            };
            let created_at = stamp(created);
            let (text, number) = random.pick(&AMOUNTS);
            let draft = Draft::new(format!("ORDER#{id}"), "METADATA")
                .index(2, format!("ORDERS_BY_STATUS#{status}"), format!("{created_at}#{id}"))
                .text("EntityType", "Order")
                .text("orderId", &id)
                .text("userId", buyer)
                .text("status", status)
                .text("currency", "USD")
                .text("createdAt", &created_at)
                .text("updatedAt", stamp(completed.unwrap_or(created)))
                .optional_text("completedAt", completed.map(stamp))
                .text(
                    "item",
                    random.pick(&["plan-starter", "plan-unlimited", "plan-pro", "credits"]),
                )
                .text("paymentProvider", "example-payments")
                .text("paymentReference", format!("pay-{}", random.id()))
                .text(
                    "description",
                    format!("Order {id} at the media gallery, paid by card in one instalment"),
                );
            let draft = if created < amounts_are_strings_since {
                draft.number("amount", number)
            } else {
                draft.text("amount", text)
            };
            self.add(draft, moment.reason);
        }
    }

    fn add_jobs(&mut self, count: u32) {
        for moment in self.moments(count, 1, malformed::JOBS) {
            let id = self.random.id();
            let user = self.someone(moment.at);
            let media = self.target("media", moment.at);
            let random = &mut self.random;
            let status = match moment.reason {
                Reason::Edge(_) => "COMPLETED",
                _ => random.weighted(&[
                    (78, "COMPLETED"),
                    (8, "FAILED"),
                    (4, "TIMED_OUT"),
                    (4, "CANCELLED"),
                    (3, "IN_PROGRESS"),
                    (3, "IN_QUEUE"),
                ]),
            };
            let took = TimeDelta::seconds(20) + random.span(TimeDelta::minutes(5));
            // Seconds, of which older releases wrote fractions.
            let seconds = if random.chance(70) {
                took.num_seconds().to_string()
            } else {
                format!("{}.{}", took.num_seconds(), 1 + took.num_milliseconds() % 9)
            };
            let ended = matches!(status, "COMPLETED" | "FAILED");
            let completed = ended.then(|| (moment.at + took).min(self.life.end));
            let created = stamp(moment.at);
            let item = Draft::new(format!("I2VJOB#{id}"), "METADATA")
                .index(3, format!("I2VJOB_STATUS#{status}"), format!("{created}#{id}"))
                .text("EntityType", "I2VJob")
                .text("jobId", &id)
                .text("userId", user)
                .text("mediaId", media)
                .text("status", status)
                .text("createdAt", &created)
                .text("submittedAt", &created)
                .optional_text("completedAt", completed.map(stamp))
                .optional_number("executionTime", (ended && random.chance(97)).then_some(seconds))
                .text("prompt", prompt(random))
                .text("resolution", random.pick(&["480p", "720p", "1080p"]))
                .number("seed", random.below(1 << 32));
            self.add(item, moment.reason);
        }
    }

    fn add_view_counts(&mut self, users: u32) {
        let now = hour_of(self.life.end);
        let mut views = BTreeMap::new();
        let mut hour = hour_of(self.life.start);
        while hour <= now {
            let busy = self.life.activity(hour.max(self.life.start));
            let count = self.random.below(4 + u64::from(users) * busy / 2_000_000);
            // An hour without views has no item. None is malformed: an hour has one item, and would
            // have no value.
            if count > 0 {
                let periods = [
                    ("hourly", hour),
                    ("daily", day_of(hour)),
                    ("weekly", week_of(hour)),
                    ("monthly", month_of(hour)),
                ];
                for period in periods {
                    *views.entry(period).or_insert(0) += count;
                }
            }
            hour += TimeDelta::hours(1);
        }
        for ((granularity, start), count) in views {
            self.add(view_count(granularity, start).number("newViews", count), Reason::Ordinary);
        }
    }

    fn add_sessions(&mut self) {
        let accounts = accounts(self.seed);
        let yesterday = self.life.end - TimeDelta::days(1);
        let known = [
            (accounts.administrator.session_id, &accounts.administrator.user_id, None),
            (accounts.ordinary_session_id, &accounts.ordinary_user_id, None),
            (accounts.expired_session_id, &accounts.administrator.user_id, Some(yesterday)),
            (accounts.deactivated_session_id, &accounts.deactivated_user_id, None),
        ];
        for (id, user, expires) in known {
            let item = self.session(&id, user, expires);
            self.add(item, Reason::Ordinary);
        }
        for _ in 0..self.users.len() / 10 {
            let id = self.random.id();
            let user = self.someone(self.life.end);
            let left = self.random.span(TimeDelta::days(30));
            let item = self.session(&id, &user, Some(self.life.end + left));
            self.add(item, Reason::Ordinary);
        }
    }

    fn session(&mut self, id: &str, user: &str, expires: Option<DateTime<Utc>>) -> Draft {
        let created = stamp(self.life.recent_moment(&mut self.random));
        Draft::new(format!("SESSION#{id}"), "METADATA")
            .index(2, format!("USER#{user}#SESSION"), format!("{created}#{id}"))
            .text("EntityType", "UserSession")
            .text("sessionId", id)
            .text("userId", user)
            .text("createdAt", created)
            .text("expiresAt", expires.map_or(NEVER_EXPIRES.to_owned(), stamp))
            .number("ttl", expires.map_or(NEVER_EXPIRES_EPOCH, |at| at.timestamp()))
    }

    /// When `count` items come into being: on the edges (each `rounds` times), at ordinary times,
    /// and one for each of the faults, in the hour of an edge: an hour whose only item is malformed
    /// has no value. The edges take at most half.
    fn moments(&mut self, count: u32, rounds: usize, faults: &[Fault]) -> Vec<Moment> {
        let count = count as usize;
        let mut moments = Vec::with_capacity(count);
        for round in 0..rounds {
            moments.extend(self.edges.iter().map(|&at| Moment { at, reason: Reason::Edge(round) }));
        }
        moments.truncate(count / 2);
        let well_formed: Vec<_> = moments.iter().map(|moment| moment.at).collect();
        for &fault in faults.iter().take(count - moments.len()) {
            let recent = self.life.recent_moment(&mut self.random);
            let nearest = well_formed.iter().min_by_key(|edge| (recent - **edge).abs());
            let at = nearest.map_or(recent, |edge| hour_of(*edge) + (recent - hour_of(recent)));
            let at = at.clamp(self.life.start, self.life.end);
            moments.push(Moment { at, reason: Reason::Fault(fault) });
        }
        while moments.len() < count {
            let at = self.life.moment(&mut self.random);
            moments.push(Moment { at, reason: Reason::Ordinary });
        }
        moments
    }

    /// Hands out a finished item, with its fault if it is to have one.
    fn add(&mut self, draft: Draft, reason: Reason) {
        (self.each)(match reason {
            Reason::Fault(fault) => draft.done_with(fault),
            _ => draft.done(),
        });
    }

    /// The id of someone who had signed up by then: mostly one of the eager few, at times one who
    /// has left for good since, item and all.
    fn someone(&mut self, at: DateTime<Utc>) -> String {
        pick_known(&self.users, at, &mut self.random)
    }

    /// The id of a target that was there by then, or of one deleted since.
    fn target(&mut self, kind: &str, at: DateTime<Utc>) -> String {
        let known = match kind {
            "media" => &self.media,
            "album" => &self.albums,
            _ => &self.comments,
        };
        pick_known(known, at, &mut self.random)
    }
}

pub fn pick_known(known: &[Known], at: DateTime<Utc>, random: &mut Random) -> String {
    let there = known.partition_point(|known| known.created <= at);
    if there == 0 || random.chance(3) {
        return random.id();
    }
    // Old favourites, or what is new.
    let index = random.skewed_index(there);
    let index = if random.chance(40) { index } else { there - 1 - index };
    known[index].id.clone()
}

pub fn view_count(granularity: &str, start: DateTime<Utc>) -> Draft {
    Draft::new(format!("VIEW_COUNT#{granularity}"), stamp(start)).text("EntityType", "ViewCount")
}

pub fn prompt(random: &mut Random) -> String {
    format!(
        "{} {} trees by lake {} {}",
        random.pick(&COLOURS),
        random.pick(&TREES),
        random.pick(&LAKES),
        random.pick(&SCENES)
    )
}

/// The `number`th address of the ranges reserved for documentation.
pub fn ip(number: usize) -> String {
    let host = number % 254 + 1;
    match number / 254 {
        0 => format!("192.0.2.{host}"),
        1 => format!("198.51.100.{host}"),
        2 => format!("203.0.113.{host}"),
        _ => format!("2001:db8::{:x}:{:x}", number >> 16, number & 0xffff),
    }
}
