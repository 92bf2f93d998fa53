//! Messages to agents: signed, each over the nonce of the connection that it is for.

use afferent_protocol::attestation::{ATTESTATION_LEN, Attestation};
use afferent_protocol::batch::ClockReading;
use afferent_protocol::ids::SourceId;
use afferent_protocol::limits::LANES_MAX;
use afferent_protocol::session::signed::{Down, Nonce};
use afferent_protocol::session::{Control, Resume};

use super::Core;
use crate::log::UnifiedLog;

/// A message for an agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The agent that it is for.
    pub agent: SourceId,
    /// The number of the connection that it is for; `None` behind a broker.
    pub connection: Option<u64>,
    /// Its content.
    pub control: Control,
    /// The encoded and signed message.
    pub message: Vec<u8>,
}

impl<L: UnifiedLog> Core<L> {
    /// Signs a message over one connection's nonce. `is_proved`: whether the hello that it answers was proved.
    pub(super) fn answer_over(
        &mut self,
        agent: SourceId,
        nonce: Nonce,
        control: Control,
        is_proved: bool,
        clock: &ClockReading,
    ) -> Option<Answer> {
        let runs = self.sessions.runs(&agent);
        let number = |bytes: &[u8; ATTESTATION_LEN]| Attestation::read(bytes).map_or(0, |known| known.claim().number);
        let (place, newest) = (self.place(), self.newest_attestation().map(|bytes| (number(&bytes), bytes)));
        let session = self.sessions.with(&agent, nonce)?;
        // The session keeps the number of the next attestation to send.
        let attestation = newest.filter(|(number, _)| session.is_proved && *number >= session.attested);
        session.attested = attestation.map_or(session.attested, |(number, _)| number + 1);
        let connection = session.connection.map(|connection| connection.number);
        let identity = self.own.identity();
        let endorsements = self.sources.leading_to(identity.public_key());
        let down = Down {
            nonce,
            answer: self.challenges.make(&agent, nonce, runs, clock.monotonic_us),
            key: identity.public_key(),
            place,
            time: clock.wall,
            is_proved,
            endorsements,
            attestation: attestation.map(|(_, bytes)| bytes),
            content: control,
        };
        let message = down.sign(&agent, identity);
        Some(Answer { agent, connection, control: down.content, message })
    }

    /// Signs a message for every run of the agent that is connected.
    fn answer_all(&mut self, agent: SourceId, control: &Control, clock: &ClockReading, answers: &mut Vec<Answer>) {
        let there = self.sessions.of(&agent).filter(|session| session.is_there());
        let there: Vec<(Nonce, bool)> = there.map(|session| (session.nonce, session.is_proved)).collect();
        for (nonce, is_proved) in there {
            answers.extend(self.answer_over(agent, nonce, control.clone(), is_proved, clock));
        }
    }

    /// The messages that follow from what is on disk now: acks, one message for each run of an agent and as many lanes
    /// as it takes, and nacks for what is missing.
    pub(super) fn answers(&mut self, clock: &ClockReading) -> Vec<Answer> {
        let mut answers = Vec::new();
        let acks: Vec<_> = std::mem::take(&mut self.acks).into_iter().collect();
        for of_agent in acks.chunk_by(|(one, _), (other, _)| one == other) {
            let agent = of_agent[0].0;
            for lanes in of_agent.chunks(LANES_MAX) {
                let lanes = lanes.iter().map(|(agent, lane)| self.sources.resume(agent, *lane));
                let control = Control::Ack(lanes.collect::<heapless::Vec<Resume, LANES_MAX>>());
                self.answer_all(agent, &control, clock, &mut answers);
            }
        }
        for ((agent, lane), from) in std::mem::take(&mut self.nacks) {
            self.answer_all(agent, &Control::Nack { lane, from }, clock, &mut answers);
        }
        for ((agent, nonce), control) in std::mem::take(&mut self.common) {
            answers.extend(self.answer_over(agent, nonce, control, true, clock));
        }
        answers
    }
}
