//! New names: how many one client address may bring, and which names are dropped to make room for them.
//!
//! A name costs a stranger a key pair and nothing else. So each client address has a bucket of tokens for unknown
//! names, and the number of names that have delivered nothing is limited. A login or a certificate vouches for a name:
//! an operator has assigned it. An event in the log records each dropped name, so that a start finds the same names.

use std::collections::BTreeSet;

use afferent_protocol::batch::ClockReading;
use afferent_protocol::ids::SourceId;
use afferent_protocol::session::signed::Nonce;

use super::{Core, Notice, Origin, Reason, Refusal};
use crate::limits::{
    NAMES_ADDRESSES_MAX, NAMES_FILL_TIME, NAMES_NEW_MAX, NAMES_NEW_OF_ONE, NAMES_REFUSED_MAX, SOURCES_MAX,
};
use crate::log::UnifiedLog;
use crate::shares::{Buckets, ClientAddress};

/// The limits on new names, and the names that were dropped.
#[derive(Debug)]
pub(super) struct NewNames {
    buckets: Buckets,
    /// Client addresses that have spent tokens since the last commit.
    taken: Vec<Option<ClientAddress>>,
    /// Names that were dropped since the last call of `take_gave_way`.
    dropped: BTreeSet<SourceId>,
}

impl NewNames {
    /// One client address may bring `new_of_one` new names at once.
    pub fn new(new_of_one: u32) -> Self {
        let buckets = Buckets::new(new_of_one, NAMES_FILL_TIME, NAMES_ADDRESSES_MAX);
        Self { buckets, taken: Vec::new(), dropped: BTreeSet::new() }
    }

    /// Keeps the spent tokens spent: the events that they paid for are on disk.
    pub fn mark_committed(&mut self) {
        self.taken.clear();
    }

    /// The commit failed: gives the tokens back, because the same messages come again.
    pub fn roll_back(&mut self) {
        self.taken.drain(..).for_each(|of| self.buckets.give_back(of));
    }
}

impl Default for NewNames {
    fn default() -> Self {
        Self::new(NAMES_NEW_OF_ONE)
    }
}

impl<L: UnifiedLog> Core<L> {
    /// Lets one client address bring `of_one` new names at once.
    pub fn with_new_names(self, of_one: u32) -> Self {
        Self { names: NewNames::new(of_one), ..self }
    }

    /// The names that were dropped since the last call.
    pub fn take_dropped_names(&mut self) -> BTreeSet<SourceId> {
        std::mem::take(&mut self.names.dropped)
    }

    /// Checks that a claimed name may answer the challenge: an unknown name needs a token.
    pub(super) fn check_first_contact(&self, origin: Origin<'_>) -> Result<(), Refusal> {
        if self.sources.key(&origin.agent).is_some() || origin.is_vouched() {
            return Ok(());
        }
        let has_token = self.names.buckets.has(origin.address(), origin.clock.monotonic_us);
        if has_token { Ok(()) } else { Err(self.too_many_first_contacts(origin)) }
    }

    /// Admits an unknown name that has proved a key: spends a token on it, and makes room.
    pub(super) fn admit_new_name(&mut self, origin: Origin<'_>) -> Result<(), Refusal> {
        if !origin.is_vouched() {
            if !self.names.buckets.take(origin.address(), origin.clock.monotonic_us) {
                return Err(self.too_many_first_contacts(origin));
            }
            self.names.taken.push(origin.address());
        }
        while self.sources.new_names() >= NAMES_NEW_MAX {
            let first = self.sources.first_to_drop(true).expect("there are some");
            self.drop_name(first, origin.clock);
        }
        self.make_room_for(&origin.agent, origin.clock)
    }

    /// Makes room in the table of names.
    fn make_room_for(&mut self, agent: &SourceId, clock: &ClockReading) -> Result<(), Refusal> {
        while self.sources.len() >= SOURCES_MAX && self.sources.get(agent).is_none() {
            let first = self.sources.first_to_drop(false).ok_or_else(|| Refusal::too_many(agent))?;
            self.drop_name(first, clock);
        }
        Ok(())
    }

    /// Adds a name that is known only by a refusal, to count it; it may replace others of that kind.
    pub(super) fn note_refused_name(&mut self, agent: SourceId, reason: Reason) {
        if self.sources.get(&agent).is_some() || matches!(reason, Reason::FirstContacts | Reason::TooMany) {
            return;
        }
        while self.sources.refused_names() >= NAMES_REFUSED_MAX {
            let first = self.sources.first_refused().expect("there are some");
            self.sources.forget(&first);
        }
        if self.sources.get_or_add(agent).is_some() {
            self.sources.heard_of(agent);
        }
    }

    /// Drops a name that has delivered nothing, with everything that is kept for it.
    fn drop_name(&mut self, name: SourceId, clock: &ClockReading) {
        let was_pinned = self.sources.forget(&name);
        self.sessions.forget(&name);
        self.clocks.forget(&name);
        self.gaps.forget(&name);
        self.early.forget(&name);
        self.acks.retain(|(agent, _)| *agent != name);
        self.nacks.retain(|(agent, _), _| *agent != name);
        let of_name = (name, Nonce([0; 16]))..=(name, Nonce([u8::MAX; 16]));
        let hellos: Vec<_> = self.hellos.range(of_name).map(|(key, _)| *key).collect();
        hellos.iter().for_each(|key| drop(self.hellos.remove(key)));
        if was_pinned {
            self.own.queue_always(Notice::Forgotten { source: name }, clock);
            self.names.dropped.insert(name);
        }
    }

    fn too_many_first_contacts(&self, origin: Origin<'_>) -> Refusal {
        let agent = origin.agent;
        let (most, minutes) = (self.names.buckets.tokens_max(), NAMES_FILL_TIME.as_secs() / 60);
        let who = match origin.address() {
            Some(address) => format!("{address} has used {most} new names"),
            None => format!("{most} new names have come through the broker"),
        };
        let message = format!(
            "{agent} is a new name, and {who} within {minutes} minutes; the agent retries by itself and is admitted \
             later; raise `names.new_max` if so many new agents are expected"
        );
        Refusal::new(Reason::FirstContacts, message)
    }
}
