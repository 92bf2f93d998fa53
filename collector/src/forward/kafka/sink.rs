//! Transactions: the events of a part and the checkpoint behind them.

use super::super::checkpoint::Checkpoint;
use super::super::event::ForwardEvent;
use super::super::sink::{DeliverError, PartLimits, Rejection, Sink, SinkContext, Unavailable};
use super::client::Settings;
use super::fault::{is_of_event, longest};
use super::part::RecordPart;
use super::record;
use super::session::{NotSent, Session};
use crate::limits::{FORWARD_PART_BYTES, KAFKA_EVENTS_MAX, KAFKA_IN_FLIGHT_MAX, KAFKA_WAIT};

/// Writes events to one topic.
pub(super) struct KafkaSink {
    settings: Settings,
    session: Option<Session>,
    part: RecordPart,
    /// Whether a test has the checkpoint written outside of the transaction.
    is_outside: bool,
    /// Then, the one that is still to be written.
    outside: Option<Checkpoint>,
}

impl KafkaSink {
    pub fn new(settings: Settings) -> Self {
        let is_outside = cfg!(debug_assertions) && std::env::var_os(super::PLANTED_CHECKPOINT_OUTSIDE).is_some();
        Self { settings, session: None, part: RecordPart::default(), is_outside, outside: None }
    }

    /// Opens a session; returns the newest checkpoint.
    fn connect(&mut self, context: &SinkContext) -> Result<Option<Checkpoint>, Unavailable> {
        self.session = None;
        let doing = format!("opening {}", self.settings.target);
        let opening = Session::open(&self.settings, &context.runtime, &context.key);
        let (session, checkpoint) = context.wait(4 * longest(self.settings.timeout), &doing, opening)??;
        self.session = Some(session);
        Ok(checkpoint)
    }

    /// Sends the part and `checkpoint` in one transaction.
    fn transact(&mut self, context: &SinkContext, checkpoint: Option<&Checkpoint>) -> Result<(), DeliverError> {
        let session = self.session.as_mut().expect("the sink is opened before it delivers, and after each error");
        let (time, target) = (session.longest(), &self.settings.target);
        let doing = format!("sending events to {target}");
        session.begin()?;
        let mut not_sent = None;
        for index in 0..self.part.len() {
            if session.reports.in_flight() >= KAFKA_IN_FLIGHT_MAX {
                context.wait(time, &doing, session.reports.at_most(KAFKA_IN_FLIGHT_MAX / 2))?;
            }
            if session.reports.has_failed() {
                break;
            }
            if let Err(NotSent(code)) = session.send(self.part.get(index), index) {
                not_sent = Some((index, code));
                break;
            }
        }
        if let Some(checkpoint) = checkpoint.filter(|_| not_sent.is_none()) {
            let sent = session.send_checkpoint(checkpoint, self.part.len());
            not_sent = sent.err().map(|NotSent(code)| (self.part.len(), code));
        }
        context.wait(time, &doing, session.reports.at_most(0))?;
        let mut failures = session.reports.take_failures();
        failures.extend(not_sent);
        if !failures.is_empty() {
            return Err(self.failed(context, &failures));
        }
        context.wait(time, &format!("committing to {target}"), session.commit())??;
        Ok(())
    }

    /// Records have failed: ends the transaction. Events that the brokers refuse themselves are told from all else.
    fn failed(
        &mut self,
        context: &SinkContext,
        failures: &[(usize, rdkafka::error::RDKafkaErrorCode)],
    ) -> DeliverError {
        let session = self.session.as_mut().expect("it was opened");
        let of_events = failures.iter().filter(|(index, code)| *index < self.part.len() && is_of_event(*code));
        let Some((index, code)) = of_events.min_by_key(|(index, _)| *index).copied() else {
            // What was purged failed because of another record.
            let purged = ["Purged in queue", "Purged in flight"];
            let of_itself =
                failures.iter().find(|(_, code)| !purged.iter().any(|text| code.to_string().contains(text)));
            return session.fault_of_record(of_itself.unwrap_or(&failures[0]).1).into();
        };
        let bytes = self.part.record_bytes(index);
        let limit = session.facts.batch_bytes_max.map(|max| format!("; the topic's max.message.bytes is {max}"));
        let reason = format!(
            "the topic {} refuses a record of {bytes} bytes before compression: {code}{}",
            self.settings.topic,
            limit.unwrap_or_default()
        );
        match context.wait(session.longest(), "aborting a transaction", session.abort()) {
            Ok(Ok(())) => DeliverError::Refused { index: Some(index), taken: 0, reason },
            Ok(Err(error)) | Err(error) => error.into(),
        }
    }

    /// As a destination that knows no transactions over both would have it: the checkpoint follows its events.
    fn transact_outside(&mut self, context: &SinkContext, checkpoint: &Checkpoint) -> Result<(), DeliverError> {
        let events = std::mem::take(&mut self.part);
        if let Some(before) = self.outside.take() {
            self.transact(context, Some(&before))?;
        }
        self.part = events;
        self.transact(context, None)?;
        self.outside = Some(*checkpoint);
        Ok(())
    }
}

impl Sink for KafkaSink {
    fn limits(&self) -> PartLimits {
        PartLimits { events_max: KAFKA_EVENTS_MAX, bytes_max: FORWARD_PART_BYTES, wait: KAFKA_WAIT }
    }

    fn open(&mut self, context: &SinkContext) -> Result<Option<Checkpoint>, Unavailable> {
        self.connect(context)
    }

    fn probe(&mut self, context: &SinkContext) -> Result<String, Unavailable> {
        let probing = Session::probe(&self.settings, &context.runtime);
        context.wait(longest(self.settings.timeout), "asking for the topics", probing)?
    }

    fn add(&mut self, event: &ForwardEvent<'_>) -> Result<(), Rejection> {
        record::put(&mut self.part, event, self.settings.mode)
    }

    fn bytes(&self) -> usize {
        self.part.memory()
    }

    fn deliver(&mut self, context: &SinkContext, checkpoint: &Checkpoint) -> Result<(), DeliverError> {
        let delivered = if self.is_outside {
            self.transact_outside(context, checkpoint)
        } else {
            self.transact(context, Some(checkpoint))
        };
        match &delivered {
            Ok(()) => self.part.clear(),
            Err(DeliverError::Refused { .. }) => {}
            // The next session finds out what the brokers have.
            Err(DeliverError::Unavailable(_)) => self.session = None,
        }
        delivered
    }

    fn drop_part(&mut self) {
        self.part.clear();
    }

    fn close(&mut self) {
        self.session = None;
    }
}
