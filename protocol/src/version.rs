//! What may change in the formats, and how a reader detects it.
//!
//! - The batch format has one version byte. A reader knows every version that was ever released; a writer writes the
//!   newest that its receivers are known to read. A version that a reader does not know is refused with a message that
//!   names the side to update, and nothing is lost: the sender keeps it.
//! - Codecs are numbered and never reused.
//! - Enums of [`crate::event`] and of the control messages grow at their end only.
//! - The topic root carries the version of the conversation (`afferent/v1`).

/// Version of the batch format.
pub const BATCH_VERSION: u8 = 1;
/// Version of the segment format of both logs.
pub const SEGMENT_VERSION: u8 = 2;
/// Version of the control messages.
pub const CONTROL_VERSION: u8 = 2;
