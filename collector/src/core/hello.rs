//! Control messages of agents.
//!
//! A hello that does not answer a challenge is a claim: the collector answers it with a challenge and changes nothing.
//! A sender that repeats it with the answer holds the key now.

use afferent_protocol::ids::{Sequence, SourceId, Stream};
use afferent_protocol::session::signed::{Instance, Nonce, Unverified, Up, UpContent, is_down};
use afferent_protocol::session::{Control, ControlError, Hello, Lane, Welcome};
use afferent_protocol::sign::PublicKey;

use super::admit::SAY_HELLO;
use super::gaps::WaitsFor;
use super::sessions::{Clones, MessageConnection, Session};
use super::{Core, Notice, Origin, Reason, Refusal};
use crate::log::UnifiedLog;
use crate::sources::LinkState;

/// A hello that waits to be answered.
#[derive(Clone, Debug)]
pub(super) struct PendingHello {
    pub hello: Hello,
    pub is_proved: bool,
}

impl<L: UnifiedLog> Core<L> {
    /// Takes a signed message; returns the run of the agent that has proved its key over this connection with it.
    pub(super) fn take_control(&mut self, origin: Origin<'_>, payload: &[u8]) -> Result<Option<Instance>, Refusal> {
        let Origin { agent, clock, .. } = origin;
        if is_down(payload) {
            return self.take_receipt(agent, payload, clock).map(|_| None);
        }
        let said = read_up(payload)?;
        self.check_guest(origin, said.claim().key)?;
        let up = self.check_key(agent, said)?;
        match up.content.clone() {
            UpContent::Control(Control::Hello(hello)) => self.take_hello(origin, &up, hello),
            UpContent::Control(Control::Ask(ends)) => self.take_question(agent, &up, &ends).map(|()| None),
            UpContent::Control(_) => {
                let message = "only a collector sends this control message: two collectors use one broker, or the \
                               agent has a fault";
                Err(Refusal::new(Reason::Malformed, message.to_owned()))
            }
            UpContent::State { .. } => {
                self.take_state(agent, &up, clock);
                Ok(None)
            }
        }
    }

    fn take_hello(&mut self, origin: Origin<'_>, up: &Up, hello: Hello) -> Result<Option<Instance>, Refusal> {
        let Origin { agent, connection, clock } = origin;
        if let Some(held) = hello.lanes.iter().find(|held| held.end < held.first) {
            let message =
                format!("the hello names a range that ends before it starts: {} up to {}", held.first, held.end);
            return Err(Refusal::new(Reason::Malformed, message));
        }
        let runs = self.sessions.runs(&agent);
        let is_proved = self.challenges.is_answered(&agent, up.nonce, runs, clock.monotonic_us, up.answer);
        if is_proved {
            self.accept_proof(origin, up, &hello)?;
        } else {
            self.check_first_contact(origin)?;
            self.sessions.claimed(agent, up, connection);
            if let Some(session) = self.sessions.with(&agent, up.nonce) {
                session.heard_us.get_or_insert(clock.monotonic_us);
            }
        }
        let known = self.hellos.insert((agent, up.nonce), PendingHello { hello, is_proved });
        if known.is_some_and(|known| known.is_proved && !is_proved) {
            // The same connection has proved its key with an earlier message: that counts.
            self.hellos.entry((agent, up.nonce)).and_modify(|greeting| greeting.is_proved = true);
        }
        // A hello overheard on one connection and repeated over another proves nothing over the latter.
        let is_over_it = self.sessions.with(&agent, up.nonce).is_some_and(|session| session.connection == connection);
        Ok((is_proved && is_over_it).then_some(up.instance))
    }

    /// Checks an agent that speaks over a connection of a different name, which it had before: it must have the key
    /// that the name is held to, and pins none. A different key is no news about the name: the refusal names the guest.
    fn check_guest(&mut self, origin: Origin<'_>, key: PublicKey) -> Result<(), Refusal> {
        let Origin { agent, .. } = origin;
        let pinned = self.sources.key(&agent);
        match (origin.guest(), pinned) {
            (None, Some(pinned)) if pinned != key => {
                if let Some(source) = self.sources.get_or_add(agent) {
                    source.other_key = Some(key);
                }
                Ok(())
            }
            (None, _) => Ok(()),
            (Some(_), Some(pinned)) if pinned == key => Ok(()),
            (Some(guest), Some(pinned)) => {
                let message = format!(
                    "{guest} with the key {key} uses the name {agent}, which has the key {pinned}: an agent may use a \
                     former name only with the key of that name"
                );
                Err(Refusal::new(Reason::OtherKey, message))
            }
            (Some(guest), None) => {
                let message = format!("{guest} uses the name {agent}, which has no key yet");
                Err(Refusal::new(Reason::OtherKey, message))
            }
        }
    }

    /// An agent's message, if it is signed with the key that its name is held to, or brings a key where the name has
    /// none.
    pub(super) fn check_key(&self, agent: SourceId, up: Unverified<Up>) -> Result<Up, Refusal> {
        let key = up.claim().key;
        match self.sources.key(&agent) {
            Some(pinned) if pinned != key => {
                let message = format!(
                    "{agent} uses the key {key}, but its key is {pinned}; if that key was lost: `afferent-collector \
                     agents replace {agent} --key {key} --why …`"
                );
                return Err(Refusal::new(Reason::OtherKey, message));
            }
            None if key.verifier().is_none() => {
                let message = format!("{agent} has no usable key; agents must sign what they send");
                return Err(Refusal::new(Reason::OtherKey, message));
            }
            _ => {}
        }
        up.verify_own_key(&agent).ok_or_else(|| {
            let message = format!("a message of {agent} is not signed with its key {key}: somebody else sent it");
            Refusal::new(Reason::Signature, message)
        })
    }

    /// Accepts the proof of a key by a run of an agent. The first key that is proved under a name is pinned to it.
    fn accept_proof(&mut self, origin: Origin<'_>, up: &Up, hello: &Hello) -> Result<(), Refusal> {
        let Origin { agent, connection, clock } = origin;
        if self.sources.key(&agent).is_none() {
            self.admit_new_name(origin)?;
            self.sources.pin(agent, up.key).ok_or_else(|| Refusal::too_many(&agent))?;
            self.own.queue_always(Notice::KeyPinned { source: agent, key: up.key }, clock);
        }
        if origin.is_vouched() {
            self.sources.vouched(agent);
        }
        let runs = self.sessions.runs(&agent);
        let heard_us = self.sessions.with(&agent, up.nonce).and_then(|session| session.heard_us);
        let shown = self.sessions.record_proof(agent, up, hello.session, connection);
        if let Some(session) = self.sessions.with(&agent, up.nonce) {
            session.heard_us = heard_us;
            session.lanes = hello.lanes.iter().map(|held| held.lane).collect();
        }
        if self.sessions.runs(&agent) > runs {
            self.ask_runs_beside(agent, up.nonce);
        }
        let known = self.sources.get(&agent);
        let in_conflict = known.is_some_and(|source| source.conflict.is_some());
        // A former name is only the agent's claim, but its own name is held to its key, so the claim is signed.
        let is_new = |former: &&SourceId| {
            let is_its_own = **former != agent && self.sources.key(former) == Some(up.key);
            is_its_own && known.is_none_or(|source| !source.aliases.contains(former))
        };
        let aliases: Vec<SourceId> = up.former.iter().filter(is_new).copied().collect();
        if let Some(Clones { boots, addresses }) = shown.clones.filter(|_| !in_conflict) {
            tracing::error!(%agent, addresses, "two machines use one name with the same key");
            self.record(Notice::Conflict { source: agent, boots, addresses }, clock);
        }
        for former in aliases {
            self.record(Notice::Alias { source: agent, former }, clock);
        }
        if let Some(source) = self.sources.get_or_add(agent).filter(|_| shown.is_new) {
            source.other_key = None;
            source.linked(LinkState::Online, clock.wall);
            source.clock_heard(&up.clock, clock);
            let age_us = heard_us.map(|heard_us| clock.monotonic_us.saturating_sub(heard_us));
            self.clocks.measure(agent, &up.clock, clock, age_us);
            self.sources.heard_of(agent);
        }
        Ok(())
    }

    /// A run has proved its key for the first time: asks the earlier ones to say hello. A run that has ended will not;
    /// one that does shows that there are two machines.
    fn ask_runs_beside(&mut self, agent: SourceId, nonce: Nonce) {
        for session in self.sessions.beside(&agent, nonce) {
            let nack = |lane: &Lane| (agent, session.nonce, Control::Nack { lane: *lane, from: SAY_HELLO });
            self.again.extend(session.lanes.iter().map(nack));
        }
    }

    /// The answer to a hello. Call it with everything on disk. A proved hello may let a lane continue behind what will
    /// never come; that counts once the batch behind it is in the log. The welcome asks for what the log has lost of a
    /// lane and the agent may still hold.
    pub(super) fn welcome(&mut self, agent: SourceId, nonce: Nonce, greeting: &PendingHello) -> Control {
        let PendingHello { hello, is_proved } = greeting;
        let mut welcome = Welcome { session: hello.session, lanes: heapless::Vec::new() };
        let critical = hello.lanes.iter().filter(|held| held.lane.stream == Stream::Critical);
        let critical: Vec<(Lane, Sequence)> = critical.map(|held| (held.lane, held.end)).collect();
        if *is_proved {
            self.gaps.holds(agent, &critical);
            self.gaps.expect_only(&agent, |lane| self.sources.lane(&agent, lane).is_some());
        }
        for held in &hello.lanes {
            let lane = held.lane;
            if *is_proved && let Some(record) = self.sources.lane_to_judge(agent, lane) {
                record.set_held_end(held.end);
                self.again.extend(record.lost_of(held).map(|range| (agent, nonce, Control::Again { lane, range })));
                if held.first > record.receiver.end() {
                    record.receiver.may_skip_to(held.first);
                    self.gaps.expect(agent, lane, WaitsFor { critical: critical.clone() });
                }
            }
            welcome.lanes.push(self.sources.resume(&agent, lane)).expect("as many as the hello has");
        }
        Control::Welcome(welcome)
    }

    /// Whether a run of the agent has proved its key over this connection; behind a broker, over any.
    pub(super) fn has_proved_over(&self, agent: &SourceId, connection: Option<MessageConnection>) -> bool {
        let number = |connection: MessageConnection| connection.number;
        let is_here =
            |session: &Session| connection.is_none() || session.connection.map(number) == connection.map(number);
        self.sessions.of(agent).any(|session| session.is_proved && session.is_there() && is_here(session))
    }

    /// Whether a message over this nonce comes from a run that has proved its key.
    pub(super) fn has_proved(&self, agent: &SourceId, nonce: Nonce) -> bool {
        self.sessions.of(agent).any(|session| session.is_proved && session.nonce == nonce)
    }
}

/// Reads a signed message of an agent, whose signature must still be checked.
pub(super) fn read_up(payload: &[u8]) -> Result<Unverified<Up>, Refusal> {
    Up::read(payload).map_err(|error| {
        let reason = if error == ControlError::Content { Reason::Newer } else { Reason::Malformed };
        Refusal::new(reason, format!("a control message: {error}"))
    })
}
