//! Breakdown episodes: the event that opens one is delivered, its repetitions are not.
//!
//! A breakdown is open under its subject and code until its recovery, or until its subject or one above it executes: the
//! rule of the models. It is applied in the order of the log.

use std::collections::HashMap;

use afferent_protocol::event::{Body, MachineState};

use super::super::event::ForwardEvent;
use crate::limits::WEBHOOK_EPISODES_MAX;
use crate::models::covers;

/// The open episodes, by subject and code.
#[derive(Clone, Debug, Default)]
pub(super) struct Episodes {
    open: HashMap<(String, String), u64>,
    /// Number of the next one: the longest open ones give way.
    next: u64,
}

impl Episodes {
    /// Whether an event opens an episode; takes it into account.
    pub fn opens(&mut self, event: &ForwardEvent<'_>) -> bool {
        let subject = event.subject.unwrap_or_default();
        match event.body() {
            Some(Body::Breakdown(breakdown)) => {
                let key = (subject.to_owned(), breakdown.code.to_owned());
                if self.open.contains_key(&key) {
                    return false;
                }
                self.make_room();
                self.open.insert(key, self.next);
                self.next += 1;
                true
            }
            Some(Body::Recovery(recovery)) => {
                let is_over = |code: &str| recovery.code.is_empty() || recovery.code == code;
                self.open.retain(|(of, code), _| !(covers(subject, of) && is_over(code)));
                false
            }
            Some(Body::State(state)) if state.state == MachineState::Executing => {
                self.open.retain(|(of, _), _| !covers(subject, of));
                false
            }
            _ => false,
        }
    }

    fn make_room(&mut self) {
        if self.open.len() >= WEBHOOK_EPISODES_MAX {
            let oldest = self.open.iter().min_by_key(|(_, number)| **number).map(|(key, _)| key.clone());
            oldest.map(|key| self.open.remove(&key));
        }
    }
}
