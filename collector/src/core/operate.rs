//! An operator's decisions about sources.

use afferent_protocol::batch::ClockReading;
use afferent_protocol::ids::SourceId;
use afferent_protocol::sign::PublicKey;

use super::{Core, Notice};
use crate::log::UnifiedLog;

/// A decision of an operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    /// No more is expected of a source.
    Retire {
        /// The source to retire.
        source: SourceId,
        /// The operator's name.
        who: String,
        /// The operator's reason.
        why: String,
    },
    /// A source uses this key from now on, instead of the one before.
    ReplaceKey {
        /// The source whose key is replaced.
        source: SourceId,
        /// Its new key.
        key: PublicKey,
        /// The operator's name.
        who: String,
    },
}

/// Why a decision was not carried out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotOperated {
    /// The source does not exist.
    #[error("there is no source {0}; `afferent-collector agents` lists them")]
    Unknown(SourceId),
    /// The source is the collector itself.
    #[error("{0} is the collector itself; an operator can neither retire it nor replace its key")]
    Own(SourceId),
    /// The source already has this key.
    #[error("{0} already has this key")]
    SameKey(SourceId),
    /// The key is not a point of the curve, so that no signature can be checked with it.
    #[error("the key is not an Ed25519 public key")]
    NoKey,
    /// The receiver of messages here takes no decisions of operators.
    #[error("this collector cannot change sources")]
    Nowhere,
}

impl<L: UnifiedLog> Core<L> {
    /// Carries out an operator's decision, and logs it with the next commit.
    pub fn operate(&mut self, operation: &Operation, clock: &ClockReading) -> Result<(), NotOperated> {
        match operation {
            Operation::Retire { source, who, why } => self.retire(*source, who, why, clock),
            Operation::ReplaceKey { source, key, who } => self.replace_key(*source, *key, who, clock),
        }
    }

    /// Retires a source: no more of it is expected.
    pub fn retire(&mut self, source: SourceId, who: &str, why: &str, clock: &ClockReading) -> Result<(), NotOperated> {
        self.check_operable(source)?;
        self.record(Notice::Retired { source, who: who.to_owned(), why: why.to_owned() }, clock);
        Ok(())
    }

    /// Replaces the key of a source. The old key ends at once; its earlier signatures stay valid.
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
        self.record(Notice::KeyReplaced { source, key, who: who.to_owned() }, clock);
        Ok(())
    }

    fn check_operable(&self, source: SourceId) -> Result<(), NotOperated> {
        if source == self.own.source() {
            return Err(NotOperated::Own(source));
        }
        self.sources.get(&source).map(|_| ()).ok_or(NotOperated::Unknown(source))
    }
}
