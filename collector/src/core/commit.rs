//! Making durable what was accepted, and answering.

use afferent_protocol::batch::ClockReading;
use afferent_protocol::session::Control;

use super::{Answer, Core, Notice};
use crate::log::{CommitError, UnifiedLog};

impl<L: UnifiedLog> Core<L> {
    /// Makes durable what was accepted, answers hellos, and gives the messages to send. After an error nothing since the
    /// last commit counts: no message that waits for it may be confirmed.
    pub fn commit(&mut self, clock: &ClockReading) -> Result<Vec<Answer>, CommitError> {
        assert!(self.is_begun, "a term begins before anything is taken");
        self.make_durable(clock)?;
        let mut answers = Vec::new();
        for (source, lane) in std::mem::take(&mut self.acks) {
            let lanes = [self.sources.resume(&source, lane)].into_iter().collect();
            answers.push(self.answer(source, Control::Ack(lanes), clock));
        }
        for ((source, lane), from) in std::mem::take(&mut self.nacks) {
            answers.push(self.answer(source, Control::Nack { lane, from }, clock));
        }
        let hellos = std::mem::take(&mut self.hellos);
        if hellos.is_empty() {
            return Ok(answers);
        }
        let welcomes: Vec<_> =
            hellos.into_iter().map(|(source, hello)| (source, self.welcome(source, &hello, clock))).collect();
        // Gaps that a hello has shown must be in the log before it is answered. When that fails the hellos go
        // unanswered and come again; what was made durable before is acked all the same.
        if self.make_durable(clock).is_ok() {
            answers.extend(welcomes.into_iter().map(|(source, welcome)| self.answer(source, welcome, clock)));
        }
        Ok(answers)
    }

    pub(super) fn make_durable(&mut self, clock: &ClockReading) -> Result<(), CommitError> {
        self.tell_damage(clock);
        self.own.attest_due(self.log.log_id(), self.sources.drawn_term(), clock);
        self.own.flush(&mut self.log, &mut self.sources, clock);
        match self.log.commit() {
            Ok(_) => {
                self.sources.settle();
                self.own.settle(clock);
                let posted: Vec<_> = std::mem::take(&mut self.posted).into_iter().collect();
                self.posted_ids.keep(&posted, self.log.durable_end());
                Ok(())
            }
            Err(error) => {
                self.sources.roll_back();
                self.own.roll_back(&self.sources);
                self.posted.clear();
                self.acks.clear();
                self.hellos.clear();
                self.own.tell(Notice::DiskTrouble { message: error.to_string() }, clock);
                Err(error)
            }
        }
    }
}
