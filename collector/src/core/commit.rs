//! Making durable what was accepted, and answering.

use afferent_protocol::batch::ClockReading;

use super::{Answer, Core, Notice};
use crate::log::{CommitError, UnifiedLog};

impl<L: UnifiedLog> Core<L> {
    /// Makes durable what was accepted, answers hellos, and returns the messages to send.
    ///
    /// # Errors
    /// When nothing since the last commit counts, or when that is unknown ([`Core::is_lost`]): no message that waits
    /// for it may be confirmed.
    pub fn commit(&mut self, clock: &ClockReading) -> Result<Vec<Answer>, CommitError> {
        assert!(self.is_begun, "a term begins before anything is taken");
        self.make_durable(clock)?;
        let mut answers = self.answers(clock);
        for ((agent, nonce), greeting) in std::mem::take(&mut self.hellos) {
            let welcome = self.welcome(agent, nonce, &greeting);
            answers.extend(self.answer_over(agent, nonce, welcome, greeting.is_proved, clock));
        }
        for (agent, nonce, again) in std::mem::take(&mut self.again) {
            let is_proved = self.has_proved(&agent, nonce);
            answers.extend(self.answer_over(agent, nonce, again, is_proved, clock));
        }
        self.queue_gaps(clock);
        Ok(answers)
    }

    /// Queues an event for every gap that will not be declared any more, for the next commit.
    fn queue_gaps(&mut self, clock: &ClockReading) {
        if self.gaps.is_empty() {
            return;
        }
        for (source, lane) in self.gaps.take_ended(&self.sources) {
            let Some(record) = self.sources.lane_to_judge(source, lane) else { continue };
            let untold = record.unreported_gaps();
            for range in untold.iter() {
                record.report_gap(range);
                self.own.queue_always(Notice::Gap { source, lane, range }, clock);
            }
        }
    }

    pub(super) fn make_durable(&mut self, clock: &ClockReading) -> Result<(), CommitError> {
        assert!(!self.is_lost, "after a commit of unknown outcome the log is reopened");
        self.report_damage(clock);
        self.own.attest_due(&self.place(), clock);
        self.own.flush(&mut self.log, &mut self.sources, clock);
        let before = self.log.durable_end();
        match self.log.commit() {
            Ok(end) => {
                assert!(before <= end, "the durable end cannot go back");
                assert_eq!(end, self.log.durable_end(), "a commit returns the durable end");
                assert_eq!(self.log.buffered_bytes(), 0, "what is acked is on disk, and nothing waits behind it");
                self.sources.mark_committed();
                self.names.mark_committed();
                self.pieces.committed();
                self.own.mark_committed(clock);
                let posted: Vec<_> = std::mem::take(&mut self.posted).into_iter().collect();
                self.posted_ids.keep(&posted, self.log.durable_end());
                Ok(())
            }
            Err(error) => {
                self.is_lost = error.is_unknown();
                let is_kept = self.is_lost || self.log.durable_end() == before;
                assert!(is_kept, "of an aborted commit nothing is durable");
                self.sources.roll_back();
                self.names.roll_back();
                self.own.roll_back(&self.sources);
                self.posted.clear();
                self.acks.clear();
                self.hellos.clear();
                self.own.queue(Notice::DiskTrouble { message: error.to_string() }, clock);
                Err(error)
            }
        }
    }
}
