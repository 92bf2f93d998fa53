//! The newest committed checkpoint of a forward.
//!
//! The topic is shared: an open transaction of another forward hides what was committed behind its first record. So the
//! end of the topic is asked for without regard to transactions, and read up to there once all that were open have
//! ended, which the brokers see to. It is read from its end backwards, in steps that grow: a checkpoint of this forward
//! is mostly near.

use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::{Message, Offset as KafkaOffset, TopicPartitionList};

use super::super::checkpoint::Checkpoint;
use super::super::sink::Unavailable;
use super::client::{Reports, Settings};
use super::fault::{Faults, is_of_network};
use crate::limits::{KAFKA_CHECKPOINT_BYTES_MAX, KAFKA_CHECKPOINTS_READ};

/// All checkpoints are in one partition: their order is that of their transactions.
pub(super) const PARTITION: i32 = 0;
const DOING: &str = "reading checkpoints";
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Reads the newest committed checkpoint under a key, if there is one. Blocks, for some requests.
pub(super) fn newest(
    settings: &Settings,
    faults: &Faults,
    reports: &Reports,
    key: &str,
) -> Result<Option<Checkpoint>, Unavailable> {
    let deadline = Instant::now() + settings.timeout;
    let made = |isolation| {
        let made = settings.reader(isolation).create_with_context::<_, BaseConsumer<Reports>>(reports.clone());
        made.map_err(|error| faults.of(DOING, &error))
    };
    let (all, committed) = (made("read_uncommitted")?, made("read_committed")?);
    let topic = &*settings.checkpoint_topic;
    let marks = |reader: &BaseConsumer<Reports>| {
        let marks = reader.fetch_watermarks(topic, PARTITION, settings.timeout);
        marks.map_err(|error| faults.of(DOING, &error))
    };
    let (start, end) = marks(&all)?;
    while marks(&committed)?.1 < end {
        if Instant::now() >= deadline {
            let what = format!("a transaction of another producer is open in the topic {topic}");
            return Err(faults.wrong(what, "wait until the brokers abort it after its transaction.timeout.ms"));
        }
        std::thread::sleep(LOOK_EVERY);
    }
    let reading = Reading { reader: &committed, faults, topic, key, deadline };
    let mut back = KAFKA_CHECKPOINTS_READ;
    loop {
        let from = end.saturating_sub(back).max(start);
        if from >= end {
            return Ok(None);
        }
        let found = reading.last_in(from, end)?;
        if found.is_some() || from == start {
            return Ok(found);
        }
        back = back.saturating_mul(8);
    }
}

struct Reading<'a> {
    reader: &'a BaseConsumer<Reports>,
    faults: &'a Faults,
    topic: &'a str,
    key: &'a str,
    deadline: Instant,
}

impl Reading<'_> {
    /// The last checkpoint from an offset on; `end` is where the topic ended.
    fn last_in(&self, from: i64, end: i64) -> Result<Option<Checkpoint>, Unavailable> {
        let failed = |error: &KafkaError| self.faults.of(DOING, error);
        let mut place = TopicPartitionList::new();
        let added = place.add_partition_offset(self.topic, PARTITION, KafkaOffset::Offset(from));
        added.and_then(|()| self.reader.assign(&place)).map_err(|error| failed(&error))?;
        let mut last = None;
        loop {
            let left = self.deadline.saturating_duration_since(Instant::now());
            match self.reader.poll(left) {
                None => return Err(self.faults.of_code(DOING, RDKafkaErrorCode::OperationTimedOut, None)),
                Some(Ok(record)) => {
                    if record.key() == Some(self.key.as_bytes()) {
                        // Without a value it is removed.
                        let value = record.payload().map(|value| self.read(value, record.offset()));
                        last = value.transpose()?;
                    }
                    if record.offset() >= end - 1 {
                        return Ok(last);
                    }
                }
                Some(Err(KafkaError::PartitionEOF(_))) => return Ok(last),
                // The group is only a name: nothing is asked of it. And another broker may answer in time.
                Some(Err(error)) if is_of_group(&error) || is_passing(&error) => {}
                Some(Err(error)) => return Err(failed(&error)),
            }
        }
    }

    fn read(&self, value: &[u8], offset: i64) -> Result<Checkpoint, Unavailable> {
        let text = std::str::from_utf8(value).ok().filter(|text| text.len() <= KAFKA_CHECKPOINT_BYTES_MAX);
        let read = text.ok_or("it is not a text of that length".to_owned()).and_then(Checkpoint::from_text);
        read.map_err(|why| {
            let (topic, key) = (self.topic, self.key);
            let what = format!("the checkpoint {key} at offset {offset} of the topic {topic} cannot be read: {why}");
            let remedy = "see who else writes to the topic; choose another `checkpoint_topic` and say where to go on with \
                          `forward rewind`";
            self.faults.wrong(what, remedy)
        })
    }
}

fn is_of_group(error: &KafkaError) -> bool {
    use RDKafkaErrorCode::{CoordinatorNotAvailable, GroupAuthorizationFailed, NotCoordinator, WaitingForCoordinator};
    let of_group = [GroupAuthorizationFailed, CoordinatorNotAvailable, NotCoordinator, WaitingForCoordinator];
    error.rdkafka_error_code().is_some_and(|code| of_group.contains(&code))
}

fn is_passing(error: &KafkaError) -> bool {
    error.rdkafka_error_code().is_some_and(is_of_network)
}
