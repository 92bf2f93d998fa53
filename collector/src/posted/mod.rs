//! Events that producers and consumers post over HTTP; each of them is in the log once.
//!
//! - [`NewEvent`]: a checked CloudEvent, as the log takes it; [`Amended`]: the event that an amendment is about
//! - [`PostedIds`]: the offset of each `source` and `id`; derived from the log (`redb_ids`), forever
//!
//! The writer's thread looks an id up and appends, so that two posts of the same event at the same time are one event.
//! A thread of its own writes ids to the disk (`unwritten` is between the two).

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
pub use given::{EventRefusal, PostedJson};
pub use looks::look;
pub use redb_ids::RedbIds;

/// `source` and `id` of a posted event, hashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventKey(u128);

impl EventKey {
    /// Half of the SHA-256 of both, the first one with its length: it is written to disk, so it must never change.
    pub fn new(source: &str, id: &str) -> Self {
        let mut text = (source.len() as u64).to_le_bytes().to_vec();
        text.extend_from_slice(source.as_bytes());
        text.extend_from_slice(id.as_bytes());
        let half = *sha256(&text).first_chunk().expect("a hash has 32 bytes");
        Self(u128::from_le_bytes(half))
    }

    /// The number on disk.
    pub const fn get(self) -> u128 {
        self.0
    }
}

/// A posted event that was checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewEvent {
    /// Its maker: the `source` attribute.
    pub source: String,
    /// Its maker's name for it: the `id` attribute.
    pub id: String,
    /// Event time; `None` for now.
    pub time: Option<Timestamp>,
    /// Its checked subject.
    pub subject: String,
    /// The CloudEvents type.
    pub kind: String,
    /// All other attributes, a JSON object in one line; see [`crate::cloud_event::posted`].
    pub json: String,
}

impl NewEvent {
    /// Its key in the index of ids.
    pub fn key(&self) -> EventKey {
        EventKey::new(&self.source, &self.id)
    }

    /// Its approximate size in bytes.
    pub fn bytes(&self) -> usize {
        self.subject.len() + self.kind.len() + self.json.len()
    }
}

/// The result of a post.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PostedAt {
    /// Its offset.
    pub offset: Offset,
    /// Whether the log held it before.
    pub duplicate: bool,
}

/// Why posted events are refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PostRefusal {
    /// The index of ids is being built.
    #[error("the index of posted events is being built: {percent} % are done")]
    NotReady {
        /// How much of it is done.
        percent: u8,
    },
    /// The index of ids cannot be used.
    #[error("the index of posted events cannot be used: {0}")]
    Broken(String),
}

/// The offset of every posted event. Used on the writer's thread.
pub trait PostedIds: Send + fmt::Debug {
    /// The offset of the event, if it is in the log.
    fn find(&mut self, key: EventKey) -> Result<Option<Offset>, PostRefusal>;
    /// These ids are durable, and so is everything before `end`.
    fn keep(&mut self, events: &[(EventKey, Offset)], end: Offset);
}

/// For logs without posts.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoPostedIds;

impl PostedIds for NoPostedIds {
    fn find(&mut self, _: EventKey) -> Result<Option<Offset>, PostRefusal> {
        Err(PostRefusal::Broken("this collector has none".to_owned()))
    }

    fn keep(&mut self, _: &[(EventKey, Offset)], _: Offset) {}
}
