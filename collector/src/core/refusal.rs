//! Why something was refused.

use serde::Serialize;

/// Kinds of refusals, as they are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    /// Neither whole batches nor a control message, or one that says impossible things.
    Malformed,
    /// More bytes than a message may have.
    Oversized,
    /// A version, codec or message that only newer software knows.
    Newer,
    /// The batch names another source than the topic.
    OtherSource,
    /// The collector's own name.
    OwnName,
    /// Batches of a source that has not said hello yet; it is asked to.
    NoHello,
    /// Another key than the one that the name is held to, or none.
    OtherKey,
    /// The signature is not of the pinned key.
    Signature,
    /// It contradicts what is in the log: two writers share a name.
    Conflict,
    /// More sources or epochs than are kept.
    TooMany,
}

impl Reason {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Malformed,
        Self::Oversized,
        Self::Newer,
        Self::OtherSource,
        Self::OwnName,
        Self::NoHello,
        Self::OtherKey,
        Self::Signature,
        Self::Conflict,
        Self::TooMany,
    ];

    /// The name that metrics and people see.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::Oversized => "oversized",
            Self::Newer => "newer",
            Self::OtherSource => "other-source",
            Self::OwnName => "own-name",
            Self::NoHello => "no-hello",
            Self::OtherKey => "other-key",
            Self::Signature => "signature",
            Self::Conflict => "conflict",
            Self::TooMany => "too-many",
        }
    }
}

/// Something that was refused, and why, in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The kind.
    pub reason: Reason,
    /// What is wrong, and what to do.
    pub message: String,
}
