//! Room for one more subscription, and which one gives way to it.
//!
//! One client address has a share of all, and a smaller one of those that were never moved. An unread subscription that
//! was made a while ago gives way to a new one: if the client has reached its share, one of its own, else one of the
//! address that has most of them. Read subscriptions stay.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use afferent_protocol::ids::SourceId;

use super::store::{Creation, Use};
use crate::limits::{
    SUBSCRIPTION_IDLE_TIME, SUBSCRIPTIONS_MAX, SUBSCRIPTIONS_OF_ONE_MAX, SUBSCRIPTIONS_UNMOVED_OF_ONE_MAX,
};
use crate::shares::ClientAddress;

/// The limit that leaves no room for a subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoRoom {
    /// The largest number of subscriptions exists.
    All,
    /// One client address has made its largest number of subscriptions.
    OfOne,
    /// One client address has made its largest number of subscriptions that were never moved.
    UnmovedOfOne,
}

/// A subscription, as far as it decides which one gives way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Occupant {
    pub name: SourceId,
    pub made: Option<Creation>,
    /// When it was made, or read from the disk.
    pub since: Instant,
}

impl Occupant {
    fn is_by(&self, by: ClientAddress) -> bool {
        self.made.is_some_and(|made| made.by == by)
    }

    fn is_unmoved(&self) -> bool {
        self.made.is_some_and(|made| made.used < Use::Moved)
    }

    /// Whether it may give way.
    fn is_idle(&self, now: Instant) -> bool {
        let is_unread = self.made.is_some_and(|made| made.used == Use::Never);
        is_unread && now.saturating_duration_since(self.since) >= SUBSCRIPTION_IDLE_TIME
    }
}

/// The subscription that gives way to a new one of this client; `None` if there is room.
pub(super) fn to_displace(all: &[Occupant], by: ClientAddress, now: Instant) -> Result<Option<SourceId>, NoRoom> {
    let own = || all.iter().filter(|taken| taken.is_by(by));
    let short = if own().filter(|taken| taken.is_unmoved()).count() >= SUBSCRIPTIONS_UNMOVED_OF_ONE_MAX {
        NoRoom::UnmovedOfOne
    } else if own().count() >= SUBSCRIPTIONS_OF_ONE_MAX {
        NoRoom::OfOne
    } else if all.len() >= SUBSCRIPTIONS_MAX {
        NoRoom::All
    } else {
        return Ok(None);
    };
    let mut idle = BTreeMap::<ClientAddress, Vec<&Occupant>>::new();
    for taken in all.iter().filter(|taken| taken.is_idle(now)) {
        idle.entry(taken.made.expect("it is idle").by).or_default().push(taken);
    }
    let of = if short == NoRoom::All { idle.values().max_by_key(|of_one| of_one.len()) } else { idle.get(&by) };
    let oldest = of.into_iter().flatten().min_by_key(|taken| taken.made.map(|made| made.at));
    oldest.map(|taken| Some(taken.name)).ok_or(short)
}

/// The longest time until more may give way.
pub(crate) const AGAIN_AFTER: Duration = SUBSCRIPTION_IDLE_TIME;

#[cfg(test)]
mod tests {
    use super::*;

    fn address(number: u8) -> ClientAddress {
        ClientAddress::of([10, 0, 0, number].into())
    }

    /// This number of subscriptions of a client, one a microsecond.
    fn taken(count: usize, number: u8, used: Use, since: Instant) -> Vec<Occupant> {
        let one = |at: usize| {
            let name = SourceId::new(&format!("s-{number}-{used:?}-{at}")).unwrap();
            Occupant { name, made: Some(Creation { by: address(number), at: at as i64, used }), since }
        };
        (0..count).map(one).collect()
    }

    fn name(text: &str) -> SourceId {
        SourceId::new(text).unwrap()
    }

    #[test]
    fn a_client_with_its_share_of_unmoved_subscriptions_displaces_its_own_and_others_have_room() {
        let now = Instant::now();
        let later = now + SUBSCRIPTION_IDLE_TIME;
        let fresh = taken(SUBSCRIPTIONS_UNMOVED_OF_ONE_MAX, 1, Use::Never, now);
        assert_eq!(
            to_displace(&fresh, address(1), now),
            Err(NoRoom::UnmovedOfOne),
            "first come, first served took 1,000"
        );
        assert_eq!(to_displace(&fresh, address(2), now), Ok(None));
        assert_eq!(to_displace(&fresh, address(1), later), Ok(Some(name("s-1-Never-0"))), "the oldest one");
        let read = taken(SUBSCRIPTIONS_UNMOVED_OF_ONE_MAX, 1, Use::Read, now);
        assert_eq!(to_displace(&read, address(1), later), Err(NoRoom::UnmovedOfOne), "what was read never does");
        let moved = taken(SUBSCRIPTIONS_OF_ONE_MAX, 1, Use::Moved, now);
        assert_eq!(to_displace(&moved[1..], address(1), later), Ok(None));
        assert_eq!(to_displace(&moved, address(1), later), Err(NoRoom::OfOne));
        assert_eq!(to_displace(&moved, address(2), later), Ok(None), "a quarter is left for others");
    }

    #[test]
    fn at_the_limit_the_oldest_unread_subscription_of_the_largest_owner_gives_way() {
        let now = Instant::now();
        let later = now + SUBSCRIPTION_IDLE_TIME;
        let of_many = [
            taken(249, 1, Use::Never, now),
            taken(200, 2, Use::Never, now),
            taken(300, 3, Use::Moved, now),
            taken(151, 4, Use::Read, now),
        ]
        .concat();
        let unknown = Occupant { name: name("old"), made: None, since: now };
        let all = [of_many, vec![unknown; 100]].concat();
        assert_eq!(all.len(), SUBSCRIPTIONS_MAX);
        assert_eq!(to_displace(&all, address(9), now), Err(NoRoom::All), "none was idle for long");
        assert_eq!(to_displace(&all, address(9), later), Ok(Some(name("s-1-Never-0"))));
        let used = [taken(750, 3, Use::Moved, now), vec![unknown; 250]].concat();
        assert_eq!(to_displace(&used, address(9), later), Err(NoRoom::All), "what is used, or nobody knows of, stays");
    }
}
