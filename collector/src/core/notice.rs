//! The collector's own events.

use afferent_protocol::event::PreviousStop;
use afferent_protocol::ids::{SequenceRange, SourceId};
use afferent_protocol::session::Lane;
use afferent_protocol::sign::PublicKey;

/// An event of the collector itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// The collector began.
    Started {
        /// How it had stopped the time before.
        previous: PreviousStop,
        /// The version of its software.
        version: String,
        /// What the start had to mend, for people.
        repairs: String,
    },
    /// The collector ends on purpose.
    Stopped {
        /// Why.
        reason: String,
    },
    /// A source is held to this key from now on.
    KeyPinned {
        /// The source.
        source: SourceId,
        /// Its key.
        key: PublicKey,
    },
    /// Something that came in this source's name was refused.
    Refused {
        /// The source.
        source: SourceId,
        /// Why.
        reason: String,
    },
    /// These will not come, and nobody has declared them yet.
    Gap {
        /// The source.
        source: SourceId,
        /// The lane that has the hole.
        lane: Lane,
        /// What is missing.
        range: SequenceRange,
    },
    /// The disk of the log refused something, or gave back something else than what was written.
    DiskTrouble {
        /// What happened and what was done.
        message: String,
    },
}
