//! Events that producers and consumers post over HTTP, and how each of them stands in the log once.
//!
//! - [`NewEvent`]: a CloudEvent that was checked, as the log takes it; [`Amended`]: what it is about when it is an amendment
//! - [`PostedIds`]: which `source` and `id` have which offset; derived from the log (`redb_ids`), forever
//!
//! The writer's thread asks for the id and appends, so that two posts of the same event at the same time are one event.
//! Writing ids, and their way to the disk, is a thread's of its own (`unwritten` stands between the two).

mod amended;
mod check;
mod given;
mod looks;
mod redb_ids;
#[cfg(test)]
mod tests;
mod unwritten;

use std::fmt;

use afferent_protocol::ids::{Offset, Timestamp};
use afferent_protocol::sign::sha256;

pub use amended::Amended;
pub use check::check;
pub use given::{EventRefusal, Given};
pub use looks::look;
pub use redb_ids::RedbIds;

/// `source` and `id` of a posted event, hashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventKey(u128);

impl EventKey {
    /// Half of the SHA-256 of both, the first one with its length: it is written to disk, so that it never changes.
    pub fn new(source: &str, id: &str) -> Self {
        let mut text = (source.len() as u64).to_le_bytes().to_vec();
        text.extend_from_slice(source.as_bytes());
        text.extend_from_slice(id.as_bytes());
        let half = *sha256(&text).first_chunk().expect("a hash has 32 bytes");
        Self(u128::from_le_bytes(half))
    }

    /// The number that stands on disk.
    pub const fn get(self) -> u128 {
        self.0
    }
}

/// A posted event that was checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewEvent {
    /// Its maker.
    pub source: String,
    /// Its maker's name for it.
    pub id: String,
    /// When it happened; `None` for now.
    pub time: Option<Timestamp>,
    /// What it is about: a checked subject.
    pub subject: String,
    /// The CloudEvents type.
    pub kind: String,
    /// Everything else, a JSON object in one line; see [`crate::cloud_event::posted`].
    pub json: String,
}

impl NewEvent {
    /// What it is known by.
    pub fn key(&self) -> EventKey {
        EventKey::new(&self.source, &self.id)
    }

    /// Bytes that it takes, about.
    pub fn bytes(&self) -> usize {
        self.subject.len() + self.kind.len() + self.json.len()
    }
}

/// Where a posted event stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placed {
    /// Its offset.
    pub offset: Offset,
    /// It was there before.
    pub duplicate: bool,
}

/// Why posted events are not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PostRefusal {
    /// The index of ids is being made.
    #[error("the index of posted events is being made, and has come to {percent} %")]
    NotReady {
        /// How far it is.
        percent: u8,
    },
    /// The index of ids cannot be used.
    #[error("the index of posted events cannot be used: {0}")]
    Broken(String),
}

/// Which posted event has which offset. It is asked on the writer's thread.
pub trait PostedIds: Send + fmt::Debug {
    /// The offset of the event, if it is in the log.
    fn find(&mut self, key: EventKey) -> Result<Option<Offset>, PostRefusal>;
    /// These are durable, and so is everything before `end`.
    fn keep(&mut self, events: &[(EventKey, Offset)], end: Offset);
}

/// For logs that nobody posts to.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoPostedIds;

impl PostedIds for NoPostedIds {
    fn find(&mut self, _: EventKey) -> Result<Option<Offset>, PostRefusal> {
        Err(PostRefusal::Broken("this collector keeps none".to_owned()))
    }

    fn keep(&mut self, _: &[(EventKey, Offset)], _: Offset) {}
}
