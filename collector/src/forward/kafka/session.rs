//! One producer, from its opening to its first doubtful outcome.
//!
//! Opening it under its transactional id ends what an earlier producer of this forward had open, and fences it: only
//! then the newest checkpoint is read. After an outcome that nobody knows the session is dropped and opened again.

use std::sync::Arc;

use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseRecord, Producer, ThreadedProducer};
use tokio::runtime::Handle;

use super::super::checkpoint::Checkpoint;
use super::super::sink::{ForwardKey, Unavailable};
use super::checkpoints::{self, PARTITION};
use super::client::{Reports, Settings};
use super::fault::{Faults, longest};
use super::part::SentRecord;
use super::topics::{TopicFacts, Topics};
use crate::limits::KAFKA_ABORT_TIME;

/// Bytes of a batch, where the topic's limit is unknown: Kafka's default.
const BATCH_BYTES_MAX: usize = 1_000_000;
/// What a batch has beside its records.
const BATCH_OVERHEAD_BYTES: usize = 1_000;

pub(super) struct Session {
    producer: Arc<ThreadedProducer<Reports>>,
    pub reports: Reports,
    pub faults: Faults,
    pub facts: TopicFacts,
    settings: Settings,
    runtime: Handle,
    /// The key of its checkpoints.
    key: String,
    is_in_transaction: bool,
}

/// Why a record was not handed over.
pub(super) struct NotSent(pub RDKafkaErrorCode);

impl Session {
    /// Checks the topics, opens the producer, and reads the newest checkpoint.
    pub async fn open(
        settings: &Settings,
        runtime: &Handle,
        of: &ForwardKey,
    ) -> Result<(Self, Option<Checkpoint>), Unavailable> {
        let reports = Reports::default();
        let faults = Faults::new(settings, reports.clone());
        let topics = Topics::new(settings, &faults, runtime, reports.clone())?;
        let facts = topics.events().await?;
        topics.checkpoints().await?;
        drop(topics);

        let batch_bytes = facts.batch_bytes_max.map_or(BATCH_BYTES_MAX, |max| max.saturating_sub(BATCH_OVERHEAD_BYTES));
        let config = settings.producer(&transactional_id(of), batch_bytes.max(1));
        let made = config.create_with_context::<_, ThreadedProducer<Reports>>(reports.clone());
        let producer = Arc::new(made.map_err(|error| faults.of("setting up the producer", &error))?);
        let (opened, timeout) = (Arc::clone(&producer), settings.timeout);
        let opened = runtime.spawn_blocking(move || opened.init_transactions(timeout)).await;
        let opened = opened.expect("opening does not panic");
        opened.map_err(|error| faults.of("opening transactions", &error))?;

        let (settings, runtime, key) = (settings.clone(), runtime.clone(), of.to_string());
        let reading = (settings.clone(), faults.clone(), reports.clone(), key.clone());
        let read = runtime.spawn_blocking(move || {
            let (settings, faults, reports, key) = reading;
            checkpoints::newest(&settings, &faults, &reports, &key)
        });
        let checkpoint = read.await.expect("reading does not panic")?;
        Ok((Self { producer, reports, faults, facts, settings, runtime, key, is_in_transaction: false }, checkpoint))
    }

    /// Looks at the topics, and makes nothing; returns what is there.
    pub async fn probe(settings: &Settings, runtime: &Handle) -> Result<String, Unavailable> {
        let reports = Reports::default();
        let faults = Faults::new(settings, reports.clone());
        Topics::new(settings, &faults, runtime, reports)?.describe().await
    }

    /// Begins a transaction.
    pub fn begin(&mut self) -> Result<(), Unavailable> {
        assert!(!self.is_in_transaction, "a transaction ends before the next one begins");
        let begun = self.producer.begin_transaction();
        begun.map_err(|error| self.fault("beginning a transaction", &error))?;
        self.is_in_transaction = true;
        Ok(())
    }

    /// Hands a record of the events over; its outcome is reported under `index`.
    pub fn send(&self, record: SentRecord<'_>, index: usize) -> Result<(), NotSent> {
        let SentRecord { key, value, headers, timestamp_ms } = record;
        let record = BaseRecord::with_opaque_to(&self.settings.topic, index).key(key).headers(headers);
        let record = BaseRecord { payload: value, timestamp: timestamp_ms, ..record };
        self.hand_over(record)
    }

    /// Hands the checkpoint over.
    pub fn send_checkpoint(&self, checkpoint: &Checkpoint, index: usize) -> Result<(), NotSent> {
        let value = checkpoint.to_text();
        let record = BaseRecord::with_opaque_to(&self.settings.checkpoint_topic, index).partition(PARTITION);
        self.hand_over(record.key(self.key.as_bytes()).payload(value.as_bytes()))
    }

    fn hand_over(&self, record: BaseRecord<'_, [u8], [u8], usize>) -> Result<(), NotSent> {
        self.reports.sent();
        self.producer.send(record).map_err(|(error, _)| {
            self.reports.not_sent();
            NotSent(error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Unknown))
        })
    }

    /// Commits. After an error the outcome is unknown.
    pub async fn commit(&mut self) -> Result<(), Unavailable> {
        assert_eq!(self.reports.in_flight(), 0, "a transaction is committed once all its records are there");
        self.is_in_transaction = false;
        let (producer, timeout) = (Arc::clone(&self.producer), self.settings.timeout);
        let done = self.runtime.spawn_blocking(move || producer.commit_transaction(timeout)).await;
        let doing = "committing a transaction (whether it was is looked up before delivery goes on)";
        done.expect("committing does not panic").map_err(|error| self.fault(doing, &error))
    }

    /// Aborts, and waits for the outcome of all records.
    pub async fn abort(&mut self) -> Result<(), Unavailable> {
        self.is_in_transaction = false;
        let (producer, timeout) = (Arc::clone(&self.producer), self.settings.timeout);
        let done = self.runtime.spawn_blocking(move || producer.abort_transaction(timeout)).await;
        done.expect("aborting does not panic").map_err(|error| self.fault("aborting a transaction", &error))?;
        self.reports.at_most(0).await;
        self.reports.take_failures();
        Ok(())
    }

    /// An error; what ended the producer says more than what came of it.
    fn fault(&self, doing: &str, error: &KafkaError) -> Unavailable {
        match self.producer.client().fatal_error() {
            Some((code, text)) => self.faults.of_code(doing, code, Some(&text)),
            None => self.faults.of(doing, error),
        }
    }

    /// An error of a record.
    pub fn fault_of_record(&self, code: RDKafkaErrorCode) -> Unavailable {
        let doing = "sending events";
        match self.producer.client().fatal_error() {
            Some((code, text)) => self.faults.of_code(doing, code, Some(&text)),
            None => self.faults.of_code(doing, code, None),
        }
    }

    /// The longest time that an outcome may take.
    pub fn longest(&self) -> std::time::Duration {
        longest(self.settings.timeout)
    }
}

/// The name under which the cluster knows the producers of one forward: a new one ends what an old one has open.
fn transactional_id(of: &ForwardKey) -> String {
    format!("afferent-{}", of.to_string().replace('/', "-"))
}

impl Drop for Session {
    fn drop(&mut self) {
        // Readers wait for an open transaction: nobody ends this one before the next session, or its timeout.
        if self.is_in_transaction {
            let _ = self.producer.abort_transaction(KAFKA_ABORT_TIME);
        }
    }
}
