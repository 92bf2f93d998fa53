//! Posted events: finds those that the log already holds, and appends the others.

use afferent_protocol::batch::ClockReading;
use afferent_protocol::ids::Offset;

use super::Core;
use crate::log::UnifiedLog;
use crate::posted::{NewEvent, PostRefusal, PostedAt};

impl<L: UnifiedLog> Core<L> {
    /// Returns the addresses of posted events. Those that the log does not hold yet go into the next commit.
    pub fn post(&mut self, events: &[NewEvent], clock: &ClockReading) -> Result<Vec<PostedAt>, PostRefusal> {
        assert!(self.is_begun, "a term begins before anything is taken");
        let mut places = Vec::with_capacity(events.len());
        let mut fresh = Vec::new();
        for event in events {
            let key = event.key();
            let known = match self.posted.get(&key) {
                Some(offset) => Some(*offset),
                None => self.posted_ids.find(key)?,
            };
            let again = fresh.iter().position(|(fresh_key, _)| *fresh_key == key);
            if known.is_none() && again.is_none() {
                fresh.push((key, event));
            }
            let place = again.unwrap_or(fresh.len().saturating_sub(1));
            places.push((known, place, known.is_some() || again.is_some()));
        }
        let new: Vec<&NewEvent> = fresh.iter().map(|(_, event)| *event).collect();
        let offsets = self.own.post(&new, &mut self.log, &mut self.sources, clock);
        assert_eq!(offsets.len(), fresh.len(), "every event has its offset");
        self.posted.extend(fresh.iter().map(|(key, _)| *key).zip(offsets.iter().copied()));
        let offset = |known: Option<Offset>, place: usize| known.unwrap_or_else(|| offsets[place]);
        Ok(places
            .into_iter()
            .map(|(known, place, duplicate)| PostedAt { offset: offset(known, place), duplicate })
            .collect())
    }
}
