//! Where histories have diverged: an agent asks which of its batches the log holds too.
//!
//! The answer is read from the log, which takes long where the log is long: the thread that drives the core takes the
//! questions out ([`Core::take_questions`]), has them answered beside it ([`common`]) and brings the answers back.

use std::ops::ControlFlow;

use afferent_protocol::ids::{Sequence, SourceId};
use afferent_protocol::limits::LANES_MAX;
use afferent_protocol::session::signed::{Nonce, Up};
use afferent_protocol::session::{Check, Control, Lane, Resume};

use super::{Core, Reason, Refusal};
use crate::limits::QUESTIONS_MAX;
use crate::log::{NameHash, ReadLog, ReadLogError, UnifiedLog, Wanted};

/// An agent's question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentQuestion {
    /// The agent that asks.
    pub agent: SourceId,
    /// The nonce of its connection.
    pub nonce: Nonce,
    /// The lane in which its history and the log's differ.
    pub lane: Lane,
    /// The ends of its batches, with their checks.
    pub ends: Vec<(Sequence, Check)>,
}

impl AgentQuestion {
    /// The answer that the log has none of them: the check of the largest end identifies the question.
    fn none(&self) -> Resume {
        let largest = self.ends.iter().max_by_key(|(end, _)| *end);
        Resume { lane: self.lane, end: Sequence::ZERO, check: largest.map(|(_, check)| *check) }
    }

    /// The answer that the log has this end.
    fn found(&self, end: Sequence, check: Check) -> Resume {
        Resume { lane: self.lane, end, check: Some(check) }
    }
}

/// The largest of the ends that the log has with the same check. Blocks.
///
/// # Errors
/// When a part of the log behind the first batch of the agent cannot be read: the agent asks again.
pub fn common(log: &dyn ReadLog, question: &AgentQuestion) -> Result<Resume, ReadLogError> {
    let wanted = Wanted { sources: vec![NameHash::source(question.agent.as_str())], ..Wanted::default() };
    let kept = log.kept();
    let (mut at, mut found, mut scratch) = (kept.start, question.none(), Vec::new());
    while let Some(stretch) = log.next_range(at, &wanted) {
        at = stretch.end;
        log.read_part(stretch.start, stretch.end, &mut scratch, &mut |_, batch| {
            let header = batch.header();
            let is_of_lane =
                header.source == question.agent && Lane { stream: header.stream, epoch: header.epoch } == question.lane;
            if is_of_lane && header.end() > found.end {
                let check = Check::of(&batch.chain_hash());
                if question.ends.contains(&(header.end(), check)) {
                    found = question.found(header.end(), check);
                }
            }
            ControlFlow::Continue(())
        })?;
    }
    Ok(found)
}

impl<L: UnifiedLog> Core<L> {
    /// Takes an agent's question, if its key is proved over this connection.
    pub(super) fn take_question(
        &mut self,
        agent: SourceId,
        up: &Up,
        ends: &heapless::Vec<Resume, LANES_MAX>,
    ) -> Result<(), Refusal> {
        let Some(lane) = ends.first().map(|first| first.lane) else { return Ok(()) };
        if ends.iter().any(|end| end.lane != lane) {
            let message = "the agent asks for the ends of several lanes at once".to_owned();
            return Err(Refusal::new(Reason::Malformed, message));
        }
        if !self.has_proved(&agent, up.nonce) {
            return Ok(());
        }
        let ends = ends.iter().filter_map(|end| Some((end.end, end.check?))).collect();
        let question = AgentQuestion { agent, nonce: up.nonce, lane, ends };
        // The lane's remembered ends need no reading: the largest common end is nearly always among them.
        let record = self.sources.lane(&agent, &lane);
        let recent = |(end, check): &&(Sequence, Check)| {
            record.is_some_and(|record| record.receiver.recent_check(*end) == Some(*check))
        };
        let largest = question.ends.iter().filter(recent).max_by_key(|(end, _)| *end).copied();
        if let Some((end, check)) = largest {
            self.found_common(agent, up.nonce, question.found(end, check));
        } else if self.questions.len() < QUESTIONS_MAX {
            // One question of a run at a time.
            self.questions.retain(|known| (known.agent, known.nonce) != (agent, up.nonce));
            self.questions.push(question);
        }
        Ok(())
    }

    /// Takes out the questions that must be answered from the log; see [`common`].
    pub fn take_questions(&mut self) -> Vec<AgentQuestion> {
        std::mem::take(&mut self.questions)
    }

    /// The answer to a question goes out with the next commit.
    pub fn found_common(&mut self, agent: SourceId, nonce: Nonce, found: Resume) {
        self.common.insert((agent, nonce), Control::Common(found));
    }
}
