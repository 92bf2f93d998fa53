//! Named subscriptions: cursors stored here, and work that several readers of one name share.
//!
//! - [`Subscription`]: filter and cursors of a name, on disk (`store`)
//! - `room`: how many there may be, and which one gives way to a new one
//! - `leases`: which member has which shares now: in memory, since every member asks again within seconds
//!
//! A fetch returns the events behind the committed cursor and changes nothing; a commit moves the cursor, and is on
//! disk when it is answered. So every event comes at least once to some member, and after a crash uncommitted events
//! come again.

mod leases;
mod room;
mod store;

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use afferent_protocol::ids::{Offset, SourceId, Timestamp};
use afferent_protocol::session::signed::Place;

use super::share::SourceShare;
use super::{Filter, FilterError, Format, Reading};
use crate::limits::{
    SHARES_MAX, SUBSCRIPTIONS_GONE_KEPT, SUBSCRIPTIONS_MAX, SUBSCRIPTIONS_OF_ONE_MAX, SUBSCRIPTIONS_UNMOVED_OF_ONE_MAX,
};
use crate::log::NameHash;
use crate::log::address::Partition;
use crate::shares::ClientAddress;
use crate::terms::{PlaceError, PlaceText, Terms};
pub use leases::Member;
use leases::{Lease, Leases};
pub(crate) use room::AGAIN_AFTER;
use room::{NoRoom, Occupant};
use store::SubscriptionFiles;
pub use store::{Creation, FilterText, StoreError, Subscription, Use};

/// All subscriptions.
#[derive(Debug)]
pub struct Subscriptions {
    store: SubscriptionFiles,
    named: Mutex<Table>,
    /// A random number of this run: cursors of an earlier run are recognised by it.
    run: u64,
}

#[derive(Debug, Default)]
struct Table {
    known: BTreeMap<SourceId, OpenSubscription>,
    /// Names of the subscriptions that gave way last.
    gone: VecDeque<SourceId>,
}

#[derive(Debug)]
struct OpenSubscription {
    kept: Subscription,
    leases: Leases,
    /// When it was made, or read from the disk.
    since: Instant,
}

/// The maker of a subscription, and the time.
#[derive(Clone, Copy, Debug)]
pub struct Creator {
    /// The client's address.
    pub by: ClientAddress,
    /// The time, by the collector's clock.
    pub at: Timestamp,
}

/// The result of creating a subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Created {
    /// It existed already.
    Known,
    /// It was created; an unread one may have given way to it.
    New {
        /// The one that gave way.
        gave_way: Option<SourceId>,
    },
}

/// Why an operation on a subscription is refused.
#[derive(Debug, thiserror::Error)]
pub enum SubscriptionError {
    /// There is no subscription of this name.
    #[error("there is no subscription {0}")]
    Unknown(SourceId),
    /// The existing subscription of this name is different.
    #[error("the subscription {0} exists with another filter or another number of shares")]
    Other(SourceId),
    /// It was unread and has given way to a new one.
    #[error("the subscription {0} no longer exists: nobody had read it, and it was dropped for another one")]
    GaveWay(SourceId),
    /// The largest number of subscriptions exists.
    #[error("there are {SUBSCRIPTIONS_MAX} subscriptions, which is the limit")]
    TooMany,
    /// One client address has made its largest number of subscriptions.
    #[error("your address has created {SUBSCRIPTIONS_OF_ONE_MAX} subscriptions, which is the limit")]
    TooManyOfOne,
    /// One client address has made its largest number of subscriptions that were never moved.
    #[error(
        "your address has created {SUBSCRIPTIONS_UNMOVED_OF_ONE_MAX} subscriptions of which nothing was ever \
         committed, which is the limit"
    )]
    TooManyUnmoved,
    /// The number of shares is out of range.
    #[error("a subscription cannot have {0} shares; it can have 1 to {SHARES_MAX}")]
    Shares(u32),
    /// The subscription has its largest number of members.
    #[error("{0} has its largest number of members")]
    TooManyMembers(SourceId),
    /// The cursor is of a lease that has ended, or of a share that was divided anew.
    #[error("the cursor is no longer valid: its lease has expired, or the shares were reassigned")]
    Fenced,
    /// The cursor is beyond the log's end.
    #[error("the cursor is beyond the log's end")]
    Beyond,
    /// Its place is of a different log, or of a different state of this one.
    #[error("the place of {0} no longer exists: {1}")]
    Lost(SourceId, PlaceError),
    /// The filter is refused.
    #[error(transparent)]
    Filter(#[from] FilterError),
    /// The disk failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The cursor to commit after a fetch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FetchCursor {
    run: u64,
    lease: u64,
    next: Offset,
}

/// The part of the log that a member reads next.
#[derive(Clone, Debug)]
pub struct MemberPortion {
    /// The first offset.
    pub from: Offset,
    filter: Filter,
    lease: Lease,
    cursors: Arc<[Offset]>,
    run: u64,
}

/// A subscription and its members.
#[derive(Clone, Debug)]
pub struct SubscriptionView {
    /// Its name.
    pub name: SourceId,
    /// Its stored filter and cursors.
    pub kept: Subscription,
    /// Its members.
    pub members: Vec<Member>,
}

impl Subscriptions {
    /// Reads the subscriptions in a directory, and creates it if it does not exist.
    ///
    /// # Errors
    /// When the disk fails. An unreadable file is moved aside.
    pub fn open(directory: &Path, run: u64) -> Result<Self, StoreError> {
        let store = SubscriptionFiles::open(directory)?;
        let named = store.read_all()?.into_iter();
        let since = Instant::now();
        let named =
            named.map(|(name, kept)| (name, OpenSubscription { leases: Leases::new(kept.shares()), kept, since }));
        let table = Table { known: named.collect(), gone: VecDeque::new() };
        Ok(Self { named: Mutex::new(table), store, run })
    }

    /// Creates a subscription that begins at `from`, or at a future time, unless it exists. If there are too many, an
    /// unread one may give way to it.
    pub fn create(
        &self,
        name: SourceId,
        from: Place,
        begins: Option<Timestamp>,
        filter: FilterText,
        shares: u32,
        maker: Creator,
    ) -> Result<Created, SubscriptionError> {
        if shares == 0 || shares > SHARES_MAX {
            return Err(SubscriptionError::Shares(shares));
        }
        filter.fresh()?;
        let mut named = self.lock();
        if let Some(known) = named.known.get(&name) {
            let same = known.kept.filter == filter && known.kept.shares() == shares;
            return if same { Ok(Created::Known) } else { Err(SubscriptionError::Other(name)) };
        }
        let since = Instant::now();
        let gave_way = room::to_displace(&named.taken(), maker.by, since)?;
        if let Some(gone) = gave_way {
            self.store.remove(&gone)?;
            named.displace(gone);
        }
        let begins = begins.map(Timestamp::micros);
        let made = Some(Creation { by: maker.by, at: maker.at.micros(), used: Use::Never });
        let kept = Subscription { filter, cursors: vec![PlaceText(from); shares as usize], begins, made };
        self.store.write(&name, &kept)?;
        named.known.insert(name, OpenSubscription { leases: Leases::new(shares), kept, since });
        Ok(Created::New { gave_way })
    }

    /// Whether the subscription is unread: then call [`Subscriptions::read`] before the first fetch.
    pub fn is_unread(&self, name: SourceId) -> Result<bool, SubscriptionError> {
        let mut named = self.lock();
        Ok(named.get(name)?.kept.made.is_some_and(|made| made.used == Use::Never))
    }

    /// Marks a subscription as read: it does not give way any more. Durable on return.
    pub fn read(&self, name: SourceId) -> Result<(), SubscriptionError> {
        let mut named = self.lock();
        let known = named.get(name)?;
        let mut kept = known.kept.clone();
        if kept.used(Use::Read) {
            self.store.write(&name, &kept)?;
            known.kept = kept;
        }
        Ok(())
    }

    /// Removes a subscription.
    pub fn delete(&self, name: SourceId) -> Result<(), SubscriptionError> {
        let mut named = self.lock();
        named.get(name)?;
        self.store.remove(&name)?;
        named.known.remove(&name);
        Ok(())
    }

    /// All subscriptions by name.
    pub fn views(&self) -> Vec<SubscriptionView> {
        let now = Instant::now();
        self.lock().known.iter_mut().map(|(name, named)| named.view(*name, now)).collect()
    }

    /// One subscription.
    pub fn view(&self, name: SourceId) -> Result<SubscriptionView, SubscriptionError> {
        let now = Instant::now();
        self.lock().get(name).map(|named| named.view(name, now))
    }

    /// The part that `member` reads now of a log with these terms, which ends at `end`; renews its lease. `None` while
    /// others have all shares.
    pub fn portion(
        &self,
        name: SourceId,
        member: &str,
        terms: &Terms,
        end: Offset,
    ) -> Result<Option<MemberPortion>, SubscriptionError> {
        let mut named = self.lock();
        let known = named.get(name)?;
        known.kept.check(terms, end).map_err(|error| SubscriptionError::Lost(name, error))?;
        let lease = known.leases.renew(member, Instant::now());
        let lease = lease.ok_or(SubscriptionError::TooManyMembers(name))?;
        let cursors: Vec<Offset> = known.kept.cursors.iter().map(|cursor| cursor.0.offset).collect();
        let from = lease.shares.iter().map(|share| cursors[*share as usize]).min();
        let filter = known.kept.filter.filter()?;
        let (cursors, run) = (cursors.into(), self.run);
        Ok(from.map(|from| MemberPortion { from, filter, lease, cursors, run }))
    }

    /// Moves the shares of a fetch to its end; durable on return.
    pub fn commit(
        &self,
        name: SourceId,
        cursor: FetchCursor,
        terms: &Terms,
        durable_end: Offset,
    ) -> Result<(), SubscriptionError> {
        if cursor.next > durable_end {
            return Err(SubscriptionError::Beyond);
        }
        let mut named = self.lock();
        let known = named.get(name)?;
        let lease = known.leases.of(cursor.lease, Instant::now()).filter(|_| cursor.run == self.run);
        let lease = lease.ok_or(SubscriptionError::Fenced)?;
        let mut kept = known.kept.clone();
        for share in &lease.shares {
            let place = &mut kept.cursors[*share as usize];
            if cursor.next > place.0.offset {
                *place = PlaceText(terms.place(cursor.next));
            }
        }
        kept.used(Use::Moved);
        if kept != known.kept {
            self.store.write(&name, &kept)?;
            known.kept = kept;
        }
        Ok(())
    }

    /// The partition that a subscription reads.
    pub fn partition(&self, name: SourceId) -> Result<Partition, SubscriptionError> {
        self.lock().get(name).map(|named| named.kept.partition())
    }

    /// The future time at which a subscription begins.
    pub fn begins(&self, name: SourceId) -> Result<Option<Timestamp>, SubscriptionError> {
        let mut named = self.lock();
        let known = named.get(name)?;
        Ok(known.kept.begins.map(Timestamp::clamped))
    }

    /// Sets the place at which a subscription begins, once its time has come.
    pub fn begin(&self, name: SourceId, at: Place) -> Result<(), SubscriptionError> {
        let mut named = self.lock();
        let known = named.get(name)?;
        if known.kept.begins.is_some() {
            known.moved(&self.store, name, at, None, Use::Never)?;
        }
        Ok(())
    }

    /// Moves the whole subscription; earlier cursors become invalid.
    pub fn reset(&self, name: SourceId, to: Place, begins: Option<Timestamp>) -> Result<(), SubscriptionError> {
        let mut named = self.lock();
        let known = named.get(name)?;
        known.moved(&self.store, name, to, begins, Use::Moved)?;
        known.leases = Leases::after(&known.leases);
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.named.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn get(&mut self, name: SourceId) -> Result<&mut OpenSubscription, SubscriptionError> {
        let is_gone = self.gone.contains(&name);
        let unknown = || if is_gone { SubscriptionError::GaveWay(name) } else { SubscriptionError::Unknown(name) };
        self.known.get_mut(&name).ok_or_else(unknown)
    }

    fn taken(&self) -> Vec<Occupant> {
        let taken = |(name, named): (&SourceId, &OpenSubscription)| Occupant {
            name: *name,
            made: named.kept.made,
            since: named.since,
        };
        self.known.iter().map(taken).collect()
    }

    /// Removes a subscription that gives way to a new one, and remembers its name for its readers.
    fn displace(&mut self, name: SourceId) {
        self.known.remove(&name);
        if self.gone.len() == SUBSCRIPTIONS_GONE_KEPT {
            self.gone.pop_front();
        }
        self.gone.push_back(name);
    }
}

impl From<NoRoom> for SubscriptionError {
    fn from(short: NoRoom) -> Self {
        match short {
            NoRoom::All => Self::TooMany,
            NoRoom::OfOne => Self::TooManyOfOne,
            NoRoom::UnmovedOfOne => Self::TooManyUnmoved,
        }
    }
}

impl OpenSubscription {
    fn moved(
        &mut self,
        store: &SubscriptionFiles,
        name: SourceId,
        to: Place,
        begins: Option<Timestamp>,
        used: Use,
    ) -> Result<(), SubscriptionError> {
        let mut kept = self.kept.clone();
        kept.used(used);
        kept.cursors.fill(PlaceText(to));
        kept.begins = begins.map(Timestamp::micros);
        store.write(&name, &kept)?;
        self.kept = kept;
        Ok(())
    }

    fn view(&mut self, name: SourceId, now: Instant) -> SubscriptionView {
        SubscriptionView { name, kept: self.kept.clone(), members: self.leases.members(now) }
    }
}

impl MemberPortion {
    /// A reading of this part, up to `end` and `limit` events.
    pub fn reading(&self, end: Offset, limit: u64) -> Reading {
        let (cursors, held) = (Arc::clone(&self.cursors), self.lease.shares.clone());
        let takes = move |source: &str, offset: Offset| {
            let share = share_of(source, cursors.len() as u32);
            held.contains(&share) && offset >= cursors[share as usize]
        };
        Reading::part(self.from, end.max(self.from), limit, self.filter.clone(), Format::Lines)
            .shared(SourceShare::of(takes))
    }

    /// The cursor to commit once all events before `next` are processed.
    pub fn cursor(&self, next: Offset) -> FetchCursor {
        FetchCursor { run: self.run, lease: self.lease.id, next }
    }
}

/// The share of a source's events. Stored cursors depend on it, so it must never change.
fn share_of(source: &str, shares: u32) -> u32 {
    (NameHash::source(source).get() % u64::from(shares)) as u32
}

impl std::fmt::Display for FetchCursor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "1.{:x}.{:x}.{:x}", self.run, self.lease, self.next.get())
    }
}

impl std::str::FromStr for FetchCursor {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let number = |part: &str| u64::from_str_radix(part, 16).ok().filter(|_| !part.starts_with('+')).ok_or(());
        let parts: Vec<&str> = text.split('.').collect();
        let ["1", run, lease, next] = parts[..] else { return Err(()) };
        Ok(Self { run: number(run)?, lease: number(lease)?, next: Offset::new(number(next)?) })
    }
}

#[cfg(test)]
mod tests;
