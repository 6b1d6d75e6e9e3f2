//! Which activity comes next, and what follows from it later.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use edge_analytics::{
    dynamodb::{UpdateItem, key, string},
    metrics::period::{Granularity, Period, format_instant},
};
use sample_platform::Random;

use crate::embedded_dynamodb::TABLE;

use super::{
    Known, Write,
    items::{amount, pick, stamp, update},
};

/// How many addresses visitors have, of the range that is reserved for documentation.
const ADDRESSES: usize = 40;

/// Chooses activities, and schedules the writes that follow from them later.
pub struct Script {
    pub(super) random: Random,
    pub(super) known: Known,
    /// By time; the number distinguishes those of one time.
    scheduled: BTreeMap<(DateTime<Utc>, u64), Write>,
    scheduled_so_far: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Activity {
    Visit,
    View,
    Return,
    Like,
    Bookmark,
    Comment,
    Upload,
    Album,
    Generation,
    SignUp,
    Order,
}

impl Script {
    /// Nothing scheduled yet.
    pub fn new(random: Random, known: Known) -> Self {
        Self { random, known, scheduled: BTreeMap::new(), scheduled_so_far: 0 }
    }

    /// A random pause up to `longest`.
    pub fn pause(&mut self, longest: TimeDelta) -> TimeDelta {
        self.random.span(longest)
    }

    /// The writes at `now`: those that were scheduled, and one new activity.
    pub fn next(&mut self, now: DateTime<Utc>) -> Vec<Write> {
        let rest = self.scheduled.split_off(&(now, u64::MAX));
        let mut writes: Vec<Write> =
            std::mem::replace(&mut self.scheduled, rest).into_values().collect();
        // Mostly visits and views: the charts of new items must not be dwarfed by the hours in which
        // `dev` runs.
        let activity = self.random.weighted(&[
            (6_900, Activity::Visit),
            (2_700, Activity::View),
            (200, Activity::Return),
            (80, Activity::Like),
            (30, Activity::Bookmark),
            (25, Activity::Comment),
            (30, Activity::Upload),
            (8, Activity::Album),
            (20, Activity::Generation),
            (6, Activity::SignUp),
            (12, Activity::Order),
        ]);
        writes.extend(self.perform(activity, now));
        writes
    }

    fn perform(&mut self, activity: Activity, now: DateTime<Utc>) -> Vec<Write> {
        match activity {
            Activity::Visit => vec![self.visit(now)],
            Activity::View => self.view(now),
            Activity::Return => {
                let user = pick(&self.known.users, &mut self.random);
                vec![update(
                    key(format!("USER#{user}"), "METADATA"),
                    "SET lastActive = :now",
                    vec![(":now", stamp(now))],
                )]
            }
            Activity::Like => self.interaction("like", now),
            Activity::Bookmark => self.interaction("bookmark", now),
            Activity::Comment => vec![self.comment(now)],
            Activity::Upload => vec![self.upload(now)],
            Activity::Album => vec![self.album(now)],
            Activity::Generation => vec![self.generation(now)],
            Activity::SignUp => vec![self.sign_up(now)],
            Activity::Order => vec![self.order(now)],
        }
    }

    fn visit(&mut self, now: DateTime<Utc>) -> Write {
        let address = format!("192.0.2.{}", 1 + self.random.skewed_index(ADDRESSES));
        let path = self.random.pick(&["/", "/albums", "/media", "/plans"]);
        let country = self.random.pick(&["BR", "DE", "FR", "IN", "JP", "US"]);
        let update = UpdateItem::new(
            TABLE,
            key("VISITOR", format!("{}#{address}", now.format("%Y-%m-%dT%H"))),
            "SET lastSeen = :now, #path = :path, \
             #first = if_not_exists(#first, :now), clientIP = if_not_exists(clientIP, :address), \
             country = if_not_exists(country, :country)",
            None,
            [
                (":now", stamp(now)),
                (":path", string(path)),
                (":address", string(address)),
                (":country", string(country)),
            ],
        );
        Write::Update(update.naming("#first", "timestamp").naming("#path", "path"))
    }

    /// Counted in the medium, and in the items of the hour, the day, the week and the month.
    fn view(&mut self, now: DateTime<Utc>) -> Vec<Write> {
        let views = amount(1);
        let medium = pick(&self.known.media, &mut self.random);
        let sum = |granularity| {
            let start = Period::containing(granularity, now).start();
            let key = key(format!("VIEW_COUNT#{granularity}"), format_instant(start));
            let add = "ADD newViews :views SET EntityType = :type";
            let values = [(":views", views.clone()), (":type", string("ViewCount"))];
            Write::Update(UpdateItem::new(TABLE, key, add, None, values))
        };
        let mut writes: Vec<Write> = Granularity::ALL.into_iter().map(sum).collect();
        writes.push(update(
            key(format!("MEDIA#{medium}"), "METADATA"),
            "ADD viewCount :views",
            vec![(":views", views)],
        ));
        writes
    }

    /// What an interaction refers to: its type and its id.
    pub(super) fn target(&mut self) -> (&'static str, String) {
        if self.random.chance(60) {
            ("media", pick(&self.known.media, &mut self.random))
        } else {
            ("album", pick(&self.known.albums, &mut self.random))
        }
    }

    /// Schedules `write` within `seconds`; returns when.
    pub(super) fn follow(
        &mut self,
        now: DateTime<Utc>,
        seconds: i64,
        write: Write,
    ) -> DateTime<Utc> {
        let at = now + TimeDelta::seconds(2) + self.random.span(TimeDelta::seconds(seconds));
        self.schedule(at, write);
        at
    }

    /// Schedules `write`.
    pub(super) fn schedule(&mut self, at: DateTime<Utc>, write: Write) {
        self.scheduled_so_far += 1;
        self.scheduled.insert((at, self.scheduled_so_far), write);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn script() -> Script {
        let some = |name: &str| (0..9).map(|number| format!("{name}-{number}")).collect();
        let known = Known { users: some("user"), media: some("media"), albums: some("album") };
        Script::new(Random::new(1, 1), known)
    }

    #[test]
    fn a_generation_goes_through_its_states() {
        let mut script = script();
        let now: DateTime<Utc> = "2026-05-01T10:00:00Z".parse().unwrap();
        assert_eq!(script.perform(Activity::Generation, now).len(), 1);
        let states: Vec<String> =
            script.scheduled.values().map(|write| format!("{write:?}")).collect();
        assert_eq!(states.len(), 2);
        assert!(states[0].contains("I2VJOB_STATUS#IN_PROGRESS"), "{}", states[0]);
        assert!(!states[1].contains("IN_PROGRESS"), "{}", states[1]);
    }

    #[test]
    fn scheduled_writes_come_once_at_their_time() {
        let mut script = script();
        let now: DateTime<Utc> = "2026-05-01T10:00:00Z".parse().unwrap();
        script.perform(Activity::Upload, now);
        script.next(now + TimeDelta::seconds(1));
        assert!(!script.scheduled.is_empty());
        let much_later = now + TimeDelta::hours(1);
        assert!(script.next(much_later).len() >= 2);
        assert!(script.scheduled.keys().all(|(at, _)| *at > much_later));
    }

    #[test]
    fn an_hour_has_most_activities_and_new_items_are_known() {
        let mut script = script();
        let mut now: DateTime<Utc> = "2026-05-01T10:00:00Z".parse().unwrap();
        let before = script.known.media.len();
        let mut puts = 0;
        for _ in 0..900 {
            now += TimeDelta::seconds(4);
            puts += script.next(now).iter().filter(|write| matches!(write, Write::Put(_))).count();
        }
        assert!(puts > 5, "{puts}");
        assert!(script.known.media.len() > before);
    }

    #[test]
    fn an_empty_platform_has_activity_too() {
        let mut script = script();
        script.known = Known::default();
        let now: DateTime<Utc> = "2026-05-01T10:00:00Z".parse().unwrap();
        for activity in [Activity::View, Activity::Like, Activity::Comment, Activity::Return] {
            assert!(!script.perform(activity, now).is_empty());
        }
    }
}
