//! Bugs between admission and the log's engine.

use afferent_collector::log::address::Partition;
use afferent_collector::log::{CommitError, LogDamage, UnifiedLog};
use afferent_collector::terms::Terms;
use afferent_protocol::batch::Batch;
use afferent_protocol::codec;
use afferent_protocol::event::{Body, LifeCycle};
use afferent_protocol::ids::{Offset, Timestamp};
use afferent_protocol::session::signed::LogId;

use super::Planted;

/// A log that does what a bug in admission or commit would do.
pub struct CheatingLog<L> {
    log: L,
    planted: Planted,
    /// Appended and not committed.
    uncommitted: u64,
    /// A batch that is made to come late.
    late: Option<(Vec<u8>, Timestamp, Option<i64>)>,
}

impl<L: UnifiedLog> CheatingLog<L> {
    /// The log, with this bug.
    pub fn new(log: L, planted: Planted) -> Self {
        Self { log, planted, uncommitted: 0, late: None }
    }

    /// The log under the bug.
    pub fn inner(&self) -> &L {
        &self.log
    }

    fn append_late(&mut self) {
        if let Some((bytes, ingest, offset)) = self.late.take() {
            let (batch, _) = Batch::parse(&bytes).expect("it was one when it came");
            self.log.append_measured(&batch, ingest, offset);
        }
    }
}

impl<L: UnifiedLog> UnifiedLog for CheatingLog<L> {
    fn partition(&self) -> Partition {
        self.log.partition()
    }

    fn append_measured(&mut self, batch: &Batch<'_>, ingest: Timestamp, clock_offset_us: Option<i64>) -> Offset {
        let offset = Offset::new(self.log.durable_end().get() + self.uncommitted);
        match self.planted {
            Planted::GapUnsaid if says_gap(batch) => offset,
            Planted::EarlyAppended => {
                self.uncommitted += u64::from(batch.header().count);
                if self.late.is_none() {
                    self.late = Some((batch.bytes().to_vec(), ingest, clock_offset_us));
                } else {
                    self.log.append_measured(batch, ingest, clock_offset_us);
                    self.append_late();
                }
                offset
            }
            _ => self.log.append_measured(batch, ingest, clock_offset_us),
        }
    }

    fn commit(&mut self) -> Result<Offset, CommitError> {
        self.append_late();
        self.uncommitted = 0;
        match self.log.commit() {
            Err(_) if self.planted == Planted::CommitErrorIgnored => Ok(self.log.durable_end()),
            committed => committed,
        }
    }

    fn durable_end(&self) -> Offset {
        self.log.durable_end()
    }

    fn log_id(&self) -> LogId {
        self.log.log_id()
    }

    fn term(&self) -> u64 {
        if self.planted == Planted::TermReused { 1 } else { self.log.term() }
    }

    fn publish_terms(&mut self, terms: Terms) {
        self.log.publish_terms(terms);
    }

    fn take_damage(&mut self) -> Vec<LogDamage> {
        self.log.take_damage()
    }

    fn has_damage(&self) -> bool {
        self.log.has_damage()
    }

    fn buffered_bytes(&self) -> usize {
        self.log.buffered_bytes() + self.late.as_ref().map_or(0, |(bytes, ..)| bytes.len())
    }
}

fn says_gap(batch: &Batch<'_>) -> bool {
    let mut scratch = vec![0; batch.header().decoded_len as usize];
    let Ok(records) = codec::records(batch, &mut scratch) else { return false };
    let is_gap = |body: &Body<'_>| matches!(body, Body::LifeCycle(LifeCycle::Gap { .. }));
    records.flatten().any(|record| is_gap(&record.event.body))
}
