//! What is said to agents: signed, each message over the nonce of the connection that it is for.

use afferent_protocol::batch::ClockReading;
use afferent_protocol::ids::SourceId;
use afferent_protocol::session::Control;
use afferent_protocol::session::signed::{Down, Nonce};

use super::Core;
use crate::log::UnifiedLog;

/// A message for an agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The agent.
    pub agent: SourceId,
    /// What it says.
    pub control: Control,
    /// The message's bytes.
    pub message: Vec<u8>,
}

impl<L: UnifiedLog> Core<L> {
    /// Signs a message for an agent.
    pub(super) fn answer(&self, agent: SourceId, control: Control, clock: &ClockReading) -> Answer {
        let identity = self.own.identity();
        let down = Down {
            nonce: self.nonces.get(&agent).copied().unwrap_or(Nonce::NONE),
            answer: Nonce::NONE,
            key: identity.public_key(),
            place: self.place(),
            time: clock.wall,
            is_proved: true,
            endorsements: Vec::new(),
            attestation: None,
            content: control.clone(),
        };
        Answer { agent, control, message: down.sign(&agent, identity) }
    }
}
