//! Whether agents are connected.
//!
//! An agent is connected while a connection is open over which it has proved its key. A state message, or the last
//! will, which is one, counts for the connection whose nonce it has and for no other: a message that a broker has
//! retained counts for none.

use afferent_protocol::batch::ClockReading;
use afferent_protocol::ids::SourceId;
use afferent_protocol::session::signed::{Up, UpContent};

use super::hello::read_up;
use super::{Core, Refusal};
use crate::log::UnifiedLog;
use crate::sources::LinkState;

impl<L: UnifiedLog> Core<L> {
    /// A message came on the agent's state topic. One that cannot be read, or is not signed with the agent's key, is
    /// counted, as on its other topic.
    pub fn state(&mut self, agent: SourceId, payload: &[u8], clock: &ClockReading) -> Result<(), Refusal> {
        let read = read_up(payload);
        // An agent without a proved key has no connection that counts.
        if agent == self.own.source() || self.sources.key(&agent).is_none() {
            return read.map(drop);
        }
        let judged = read.and_then(|up| self.check_key(agent, up));
        let up = judged.inspect_err(|refusal| self.refuse(agent, refusal, clock))?;
        self.take_state(agent, &up, clock);
        Ok(())
    }

    pub(super) fn take_state(&mut self, agent: SourceId, up: &Up, clock: &ClockReading) {
        if up.content == (UpContent::State { online: false }) && self.sessions.left(&agent, up.nonce) {
            self.is_gone(agent, clock);
        }
    }

    /// A connection of the agent has ended.
    pub fn closed(&mut self, agent: SourceId, connection: u64, clock: &ClockReading) {
        if self.sessions.closed(&agent, connection) {
            self.is_gone(agent, clock);
        }
    }

    fn is_gone(&mut self, agent: SourceId, clock: &ClockReading) {
        if let Some(source) = self.sources.get_or_add(agent) {
            source.linked(LinkState::Offline, clock.wall);
            self.sources.heard_of(agent);
        }
    }
}
