//! The leases of a subscription: which member has which shares, and how long.
//!
//! All members get the same number of shares, as soon as those with more renew and give some back. A lease that is not
//! renewed ends, and its shares are free. Whenever a member's shares change, it gets a lease with a new number, so that
//! its earlier fetches cannot be committed for shares that a different member has now.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::limits::{LEASE_TIME, MEMBERS_MAX};

/// A member's lease.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Lease {
    pub id: u64,
    pub shares: Vec<u32>,
}

#[derive(Debug)]
struct HeldLease {
    lease: Lease,
    renewed: Instant,
}

/// A member, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its name.
    pub name: String,
    /// The shares that it has.
    pub shares: Vec<u32>,
    /// How long ago it fetched or committed something.
    pub seen: Duration,
}

/// All leases of one subscription.
#[derive(Debug)]
pub(super) struct Leases {
    shares: u32,
    next_id: u64,
    held: BTreeMap<String, HeldLease>,
}

impl Leases {
    pub fn new(shares: u32) -> Self {
        Self { shares, next_id: 1, held: BTreeMap::new() }
    }

    /// No leases; all earlier ones are invalid.
    pub fn after(before: &Self) -> Self {
        Self { next_id: before.next_id, ..Self::new(before.shares) }
    }

    /// Renews or begins a member's lease, and moves it towards its due number of shares; `None` when there are too many
    /// members.
    pub fn renew(&mut self, member: &str, now: Instant) -> Option<Lease> {
        self.expire(now);
        if !self.held.contains_key(member) && self.held.len() >= MEMBERS_MAX {
            return None;
        }
        let fresh = HeldLease { lease: Lease { id: self.draw(), shares: Vec::new() }, renewed: now };
        self.held.entry(member.to_owned()).or_insert(fresh).renewed = now;
        let due = self.due(member);
        let free: Vec<u32> = (0..self.shares).filter(|share| !self.is_held(*share)).collect();
        let id = self.draw();
        let lease = &mut self.held.get_mut(member)?.lease;
        let before = lease.shares.clone();
        lease.shares.truncate(due);
        let wanted = due - lease.shares.len();
        lease.shares.extend(free.into_iter().take(wanted));
        if lease.shares != before {
            lease.id = id;
        }
        let lease = lease.clone();
        let leased: usize = self.held.values().map(|held| held.lease.shares.len()).sum();
        assert!(leased <= self.shares as usize, "members hold no more shares than the subscription has");
        Some(lease)
    }

    /// Renews and returns the lease with this number, if it is valid.
    pub fn of(&mut self, id: u64, now: Instant) -> Option<Lease> {
        self.expire(now);
        let held = self.held.values_mut().find(|held| held.lease.id == id)?;
        held.renewed = now;
        Some(held.lease.clone())
    }

    pub fn members(&mut self, now: Instant) -> Vec<Member> {
        self.expire(now);
        let member = |(name, held): (&String, &HeldLease)| Member {
            name: name.clone(),
            shares: held.lease.shares.clone(),
            seen: now.saturating_duration_since(held.renewed),
        };
        self.held.iter().map(member).collect()
    }

    /// The due number of shares of a member: all have the same number, and the first ones by name one more.
    fn due(&self, member: &str) -> usize {
        let (count, shares) = (self.held.len(), self.shares as usize);
        let rank = self.held.keys().position(|name| name == member).unwrap_or(count);
        shares / count + usize::from(rank < shares % count)
    }

    fn is_held(&self, share: u32) -> bool {
        self.held.values().any(|held| held.lease.shares.contains(&share))
    }

    fn expire(&mut self, now: Instant) {
        self.held.retain(|_, held| now.saturating_duration_since(held.renewed) < LEASE_TIME);
    }

    fn draw(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }
}
