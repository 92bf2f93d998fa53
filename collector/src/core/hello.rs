//! Control messages of agents.

use afferent_protocol::batch::ClockReading;
use afferent_protocol::ids::SourceId;
use afferent_protocol::session::signed::{Unverified, Up, UpContent};
use afferent_protocol::session::{Control, ControlError, Hello, Welcome};

use super::{Core, Notice, Reason, Refusal};
use crate::log::UnifiedLog;

impl<L: UnifiedLog> Core<L> {
    pub(super) fn take_control(
        &mut self,
        agent: SourceId,
        payload: &[u8],
        clock: &ClockReading,
    ) -> Result<(), Refusal> {
        let up = Up::read(payload).map_err(|error| {
            let reason = if error == ControlError::Content { Reason::Newer } else { Reason::Malformed };
            Refusal::new(reason, format!("a control message: {error}"))
        })?;
        let UpContent::Control(control) = up.claim().content.clone() else { return Ok(()) };
        let Control::Hello(hello) = control else {
            let message =
                "a control message that only a collector sends: two collectors at one broker, or an agent's fault";
            return Err(Refusal::new(Reason::Malformed, message.to_owned()));
        };
        if let Some(held) = hello.lanes.iter().find(|held| held.end < held.first) {
            let message = format!("its hello holds {} up to {}, which is before it", held.first, held.end);
            return Err(Refusal::new(Reason::Malformed, message));
        }
        let nonce = up.claim().nonce;
        self.check_key(agent, up, clock)?;
        self.nonces.insert(agent, nonce);
        self.hellos.insert(agent, hello);
        Ok(())
    }

    /// The first key that a name comes with is the one that it is held to. Whoever says hello proves to have it: a hello
    /// can move a lane.
    fn check_key(&mut self, agent: SourceId, up: Unverified<Up>, clock: &ClockReading) -> Result<(), Refusal> {
        let key = up.claim().key;
        let is_signed = || up.verify_own_key(&agent).is_some();
        match self.sources.key(&agent) {
            Some(pinned) if pinned != key => {
                let message = format!("{agent} comes with the key {key} and is held to {pinned}");
                Err(Refusal::new(Reason::OtherKey, message))
            }
            None if key.0 == [0; 32] || key.verifier().is_none() => {
                let message = format!("{agent} comes without a usable key; agents sign what they send");
                Err(Refusal::new(Reason::OtherKey, message))
            }
            _ if !is_signed() => {
                let message =
                    format!("a hello of {agent} that is not signed with its key {key}: somebody else said it");
                Err(Refusal::new(Reason::Signature, message))
            }
            Some(_) => Ok(()),
            None => {
                self.sources.pin(agent, key).ok_or_else(|| Refusal::too_many(&agent))?;
                self.own.tell_now(Notice::KeyPinned { source: agent, key }, clock);
                Ok(())
            }
        }
    }

    /// The answer to a hello. To be called with everything on disk; it holds once what it tells is, too.
    pub(super) fn welcome(&mut self, agent: SourceId, hello: &Hello, clock: &ClockReading) -> Control {
        let mut welcome = Welcome { session: hello.session, lanes: heapless::Vec::new() };
        for held in &hello.lanes {
            let lane = held.lane;
            let end = self.sources.lane(&agent, &lane).map(|record| record.receiver.end());
            if held.first > end.unwrap_or_default()
                && let Some(record) = self.sources.lane_to_change(agent, lane)
            {
                let missing = record.resume_at(held.first);
                for range in missing.iter() {
                    record.tell(range);
                    self.own.tell_now(Notice::Gap { source: agent, lane, range }, clock);
                }
            }
            if let Some(record) = self.sources.lane_to_judge(agent, lane) {
                record.held(held.end);
            }
            welcome.lanes.push(self.sources.resume(&agent, lane)).expect("as many as the hello has");
        }
        Control::Welcome(welcome)
    }
}
