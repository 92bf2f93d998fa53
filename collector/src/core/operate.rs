//! What an operator says about sources.

use afferent_protocol::batch::ClockReading;
use afferent_protocol::ids::SourceId;
use afferent_protocol::sign::PublicKey;

use super::{Core, Notice};
use crate::log::UnifiedLog;

/// Something that an operator says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Nothing more is to be expected of a source.
    Retire {
        /// The source.
        source: SourceId,
        /// Who says so.
        who: String,
        /// Why.
        why: String,
    },
    /// A source comes with this key from now on, and not with the one before.
    ReplaceKey {
        /// The source.
        source: SourceId,
        /// Its new key.
        key: PublicKey,
        /// Who says so.
        who: String,
    },
}

/// Why it is not done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotOperated {
    /// There is no such source.
    #[error("there is no source {0}; `afferent-collector agents` lists them")]
    Unknown(SourceId),
    /// The collector speaks for itself.
    #[error("{0} is the collector itself, whose key and end are no operator's to say")]
    Own(SourceId),
    /// It is held to this key already.
    #[error("{0} is held to this key already")]
    SameKey(SourceId),
    /// The key is no point of the curve, so that nothing can be signed with it.
    #[error("the key is no Ed25519 public key")]
    NoKey,
    /// Whoever takes messages here does not take this one.
    #[error("nothing can be said about sources here")]
    Nowhere,
}

impl<L: UnifiedLog> Core<L> {
    /// Does what an operator says, and says so in the log with the next commit.
    pub fn operate(&mut self, operation: &Operation, clock: &ClockReading) -> Result<(), NotOperated> {
        match operation {
            Operation::Retire { source, who, why } => self.retire(*source, who, why, clock),
            Operation::ReplaceKey { source, key, who } => self.replace_key(*source, *key, who, clock),
        }
    }

    /// Nothing more is to be expected of this source.
    pub fn retire(&mut self, source: SourceId, who: &str, why: &str, clock: &ClockReading) -> Result<(), NotOperated> {
        self.check_operable(source)?;
        self.say(Notice::Retired { source, who: who.to_owned(), why: why.to_owned() }, clock);
        Ok(())
    }

    /// The old key ends at once; what it has signed before stays proved.
    pub fn replace_key(
        &mut self,
        source: SourceId,
        key: PublicKey,
        who: &str,
        clock: &ClockReading,
    ) -> Result<(), NotOperated> {
        self.check_operable(source)?;
        if key.verifier().is_none() {
            return Err(NotOperated::NoKey);
        }
        if self.sources.key(&source) == Some(key) {
            return Err(NotOperated::SameKey(source));
        }
        self.say(Notice::KeyReplaced { source, key, who: who.to_owned() }, clock);
        Ok(())
    }

    fn check_operable(&self, source: SourceId) -> Result<(), NotOperated> {
        if source == self.own.source() {
            return Err(NotOperated::Own(source));
        }
        self.sources.get(&source).map(|_| ()).ok_or(NotOperated::Unknown(source))
    }
}
