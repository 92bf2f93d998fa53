//! Named subscriptions: a reader's place that is kept here, and work that several readers of one name share.
//!
//! - [`Subscription`]: what a name stands for, and how far each of its shares is: on disk (`store`)
//! - `room`: how many there may be, and which one gives way to another
//! - `leases`: which member has which shares now: in memory, since every member asks again within seconds
//!
//! A fetch gives what lies behind the committed place and changes nothing; a commit moves the place, and is on disk when
//! it is answered. So every event comes at least once to some member, and after a crash those come again that were not
//! committed.

mod leases;
mod room;
mod store;

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use afferent_protocol::ids::{Offset, SourceId, Timestamp};
use afferent_protocol::session::signed::Place;

use super::share::Share;
use super::{Filter, FilterError, Format, Reading};
use crate::limits::{
    SHARES_MAX, SUBSCRIPTIONS_GONE_KEPT, SUBSCRIPTIONS_MAX, SUBSCRIPTIONS_OF_ONE_MAX, SUBSCRIPTIONS_UNMOVED_OF_ONE_MAX,
};
use crate::log::NameHash;
use crate::log::address::Partition;
use crate::shares::Address;
use crate::terms::{PlaceError, PlaceText, Terms};
pub use leases::Member;
use leases::{Lease, Leases};
pub(crate) use room::AGAIN_AFTER;
use room::{Short, Taken};
use store::Store;
pub use store::{FilterText, Made, StoreError, Subscription, Use};

/// All subscriptions.
#[derive(Debug)]
pub struct Subscriptions {
    store: Store,
    named: Mutex<Table>,
    /// A random number of this run: no cursor of another run is taken for one of this.
    run: u64,
}

#[derive(Debug, Default)]
struct Table {
    known: BTreeMap<SourceId, Named>,
    /// Those that gave way last.
    gone: VecDeque<SourceId>,
}

#[derive(Debug)]
struct Named {
    kept: Subscription,
    leases: Leases,
    /// When it was made, or read from the disk.
    since: Instant,
}

/// Who makes a subscription, and when.
#[derive(Clone, Copy, Debug)]
pub struct Maker {
    /// The client's address.
    pub by: Address,
    /// The time, by the collector's clock.
    pub at: Timestamp,
}

/// What became of a wish for a subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Created {
    /// It was there.
    Known,
    /// It was made; another one, that nobody had read, may have given way to it.
    New {
        /// That one.
        gave_way: Option<SourceId>,
    },
}

/// Why something with a subscription is refused.
#[derive(Debug, thiserror::Error)]
pub enum SubscriptionError {
    /// There is none of this name.
    #[error("there is no subscription {0}")]
    Unknown(SourceId),
    /// There is one of this name, and it is another one.
    #[error("the subscription {0} is there, with another filter or another number of shares")]
    Other(SourceId),
    /// It was there, nobody had read it, and it gave way to another one.
    #[error("there is no subscription {0} any more: nobody had read it, and it gave way to another one")]
    GaveWay(SourceId),
    /// There are as many as may be.
    #[error("there are {SUBSCRIPTIONS_MAX} subscriptions, and no more are taken")]
    TooMany,
    /// One client address has made as many as it may.
    #[error("your address has made {SUBSCRIPTIONS_OF_ONE_MAX} subscriptions, and no more of one are taken")]
    TooManyOfOne,
    /// One client address has made as many as it may that were never moved.
    #[error(
        "your address has made {SUBSCRIPTIONS_UNMOVED_OF_ONE_MAX} subscriptions that nobody has committed anything of, and no \
         more of these are taken"
    )]
    TooManyUnmoved,
    /// The number of shares is none.
    #[error("{0} shares are not to be had; there can be 1 to {SHARES_MAX}")]
    Shares(u32),
    /// As many members as there can be are at work.
    #[error("{0} has as many members as it takes")]
    TooManyMembers(SourceId),
    /// The cursor was given to somebody whose lease is over, or for a share that was divided anew.
    #[error("the cursor is not valid any more: its lease is over, or the work was divided anew")]
    Fenced,
    /// The cursor lies beyond the log's end.
    #[error("the cursor lies beyond the log's end")]
    Beyond,
    /// Its place is of another log, or of another state of this one.
    #[error("the place of {0} is not what it was: {1}")]
    Lost(SourceId, PlaceError),
    /// The filter says nothing.
    #[error(transparent)]
    Filter(#[from] FilterError),
    /// The disk refuses.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Where a member that has fetched something may be moved to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FetchCursor {
    run: u64,
    lease: u64,
    next: Offset,
}

/// What a member is to read.
#[derive(Clone, Debug)]
pub struct Portion {
    /// From here on.
    pub from: Offset,
    filter: Filter,
    lease: Lease,
    cursors: Arc<[Offset]>,
    run: u64,
}

/// A subscription and who works on it.
#[derive(Clone, Debug)]
pub struct View {
    /// Its name.
    pub name: SourceId,
    /// What is kept of it.
    pub kept: Subscription,
    /// Its members.
    pub members: Vec<Member>,
}

impl Subscriptions {
    /// Reads what is kept in a directory, which is made when it is not there.
    ///
    /// # Errors
    /// When the disk refuses. A file that cannot be read is set aside.
    pub fn open(directory: &Path, run: u64) -> Result<Self, StoreError> {
        let store = Store::open(directory)?;
        let named = store.read_all()?.into_iter();
        let since = Instant::now();
        let named = named.map(|(name, kept)| (name, Named { leases: Leases::new(kept.shares()), kept, since }));
        let table = Table { known: named.collect(), gone: VecDeque::new() };
        Ok(Self { named: Mutex::new(table), store, run })
    }

    /// Makes a subscription that begins at `from`, or at a time that has not come, unless it is there. Where there are too
    /// many, another one may give way to it.
    pub fn create(
        &self,
        name: SourceId,
        from: Place,
        begins: Option<Timestamp>,
        filter: FilterText,
        shares: u32,
        maker: Maker,
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
        let gave_way = room::gives_way(&named.taken(), maker.by, since)?;
        if let Some(gone) = gave_way {
            self.store.remove(&gone)?;
            named.gave_way(gone);
        }
        let begins = begins.map(Timestamp::micros);
        let made = Some(Made { by: maker.by, at: maker.at.micros(), used: Use::Never });
        let kept = Subscription { filter, cursors: vec![PlaceText(from); shares as usize], begins, made };
        self.store.write(&name, &kept)?;
        named.known.insert(name, Named { leases: Leases::new(shares), kept, since });
        Ok(Created::New { gave_way })
    }

    /// Whether nobody has read a subscription so far: then [`Subscriptions::read`] is to be called before somebody does.
    pub fn is_unread(&self, name: SourceId) -> Result<bool, SubscriptionError> {
        let mut named = self.lock();
        Ok(named.get(name)?.kept.made.is_some_and(|made| made.used == Use::Never))
    }

    /// Somebody reads a subscription, which does not give way to others any more; durable when this returns.
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

    /// All of them by name.
    pub fn views(&self) -> Vec<View> {
        let now = Instant::now();
        self.lock().known.iter_mut().map(|(name, named)| named.view(*name, now)).collect()
    }

    /// One of them.
    pub fn view(&self, name: SourceId) -> Result<View, SubscriptionError> {
        let now = Instant::now();
        self.lock().get(name).map(|named| named.view(name, now))
    }

    /// What `member` is to read now of a log with these terms, which ends at `end`; its lease is renewed. `None` while
    /// others have everything.
    pub fn portion(
        &self,
        name: SourceId,
        member: &str,
        terms: &Terms,
        end: Offset,
    ) -> Result<Option<Portion>, SubscriptionError> {
        let mut named = self.lock();
        let known = named.get(name)?;
        known.kept.check(terms, end).map_err(|error| SubscriptionError::Lost(name, error))?;
        let lease = known.leases.renew(member, Instant::now());
        let lease = lease.ok_or(SubscriptionError::TooManyMembers(name))?;
        let cursors: Vec<Offset> = known.kept.cursors.iter().map(|cursor| cursor.0.offset).collect();
        let from = lease.shares.iter().map(|share| cursors[*share as usize]).min();
        let filter = known.kept.filter.filter()?;
        let (cursors, run) = (cursors.into(), self.run);
        Ok(from.map(|from| Portion { from, filter, lease, cursors, run }))
    }

    /// Moves the shares of a fetch to its end; durable when this returns.
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

    /// The time to come at which a subscription begins.
    pub fn begins(&self, name: SourceId) -> Result<Option<Timestamp>, SubscriptionError> {
        let mut named = self.lock();
        let known = named.get(name)?;
        Ok(known.kept.begins.map(Timestamp::clamped))
    }

    /// The time has come at which a subscription begins, which is here.
    pub fn begin(&self, name: SourceId, at: Place) -> Result<(), SubscriptionError> {
        let mut named = self.lock();
        let known = named.get(name)?;
        if known.kept.begins.is_some() {
            known.moved(&self.store, name, at, None, Use::Never)?;
        }
        Ok(())
    }

    /// Moves the whole subscription; cursors that were given before are not valid any more.
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
    fn get(&mut self, name: SourceId) -> Result<&mut Named, SubscriptionError> {
        let is_gone = self.gone.contains(&name);
        let unknown = || if is_gone { SubscriptionError::GaveWay(name) } else { SubscriptionError::Unknown(name) };
        self.known.get_mut(&name).ok_or_else(unknown)
    }

    fn taken(&self) -> Vec<Taken> {
        let taken =
            |(name, named): (&SourceId, &Named)| Taken { name: *name, made: named.kept.made, since: named.since };
        self.known.iter().map(taken).collect()
    }

    fn gave_way(&mut self, name: SourceId) {
        self.known.remove(&name);
        if self.gone.len() == SUBSCRIPTIONS_GONE_KEPT {
            self.gone.pop_front();
        }
        self.gone.push_back(name);
    }
}

impl From<Short> for SubscriptionError {
    fn from(short: Short) -> Self {
        match short {
            Short::All => Self::TooMany,
            Short::OfOne => Self::TooManyOfOne,
            Short::UnmovedOfOne => Self::TooManyUnmoved,
        }
    }
}

impl Named {
    fn moved(
        &mut self,
        store: &Store,
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

    fn view(&mut self, name: SourceId, now: Instant) -> View {
        View { name, kept: self.kept.clone(), members: self.leases.members(now) }
    }
}

impl Portion {
    /// Reads it, up to `end` and `limit` events.
    pub fn reading(&self, end: Offset, limit: u64) -> Reading {
        let (cursors, held) = (Arc::clone(&self.cursors), self.lease.shares.clone());
        let takes = move |source: &str, offset: Offset| {
            let share = share_of(source, cursors.len() as u32);
            held.contains(&share) && offset >= cursors[share as usize]
        };
        Reading::part(self.from, end.max(self.from), limit, self.filter.clone(), Format::Lines).shared(Share::of(takes))
    }

    /// What to commit once everything before `next` is dealt with.
    pub fn cursor(&self, next: Offset) -> FetchCursor {
        FetchCursor { run: self.run, lease: self.lease.id, next }
    }
}

/// The share of a source's events. Places on disk depend on it, so that it never changes.
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
