//! Receipts: an agent sends back the newest acknowledgement that it has, and so reveals a log that was restored from an
//! older copy.

use afferent_protocol::batch::ClockReading;
use afferent_protocol::ids::{Offset, SourceId, Timestamp};
use afferent_protocol::session::signed::Down;

use super::{Core, Notice, Reason, Refusal};
use crate::cloud_event::put_rfc3339;
use crate::log::UnifiedLog;
use crate::terms::PlaceError;

/// The log was restored to an earlier state.
const ROLLED_BACK: &str = "rolled-back";

/// The result of checking a receipt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Receipt {
    /// It holds: the log still has everything up to its end.
    Holds,
    /// It is too old to be checked.
    TooOld,
    /// The log was restored to an earlier state.
    RolledBack,
}

impl<L: UnifiedLog> Core<L> {
    /// Checks an acknowledgement that an agent sends back unchanged. If a key of this log has signed it and its end
    /// does not hold here, the log was restored to an earlier state: an event and the health report that.
    ///
    /// # Errors
    /// When it is not a collector's message about this agent, signed with this log's key or a key that leads to it.
    pub fn take_receipt(&mut self, agent: SourceId, message: &[u8], clock: &ClockReading) -> Result<Receipt, Refusal> {
        let malformed = |text: String| Refusal::new(Reason::Malformed, text);
        let unverified = Down::read(message).map_err(|error| malformed(format!("a receipt: {error}")))?;
        let trusted = self.sources.log_keys(self.own.identity().public_key());
        let down =
            unverified.verify_own_key(&agent).filter(|down| down.trusted_by(&trusted).is_some()).ok_or_else(|| {
                Refusal::new(Reason::Signature, format!("a receipt of {agent} is not signed with a key of this log"))
            })?;
        let until = match self.sources.terms().check(&down.place, self.log.durable_end()) {
            Ok(()) => return Ok(Receipt::Holds),
            Err(PlaceError::Forgotten | PlaceError::OtherPartition { .. }) => return Ok(Receipt::TooOld),
            Err(PlaceError::Beyond { until, .. }) => until,
            Err(PlaceError::OtherLog | PlaceError::LostTerm { .. }) => Offset::ZERO,
        };
        let (term, end, time) = (down.place.term, down.place.offset, down.time);
        let (acked, since) = (text_of(time), text_of(self.opened_at));
        let text = format!(
            "the log was restored to an earlier state: {agent} holds an acknowledgement of {acked}, of offset {end} in \
             the term {term:016x}, but the term ends at {until} here; events are missing until the agents have sent \
             them again; posts between {since} and {acked} are lost"
        );
        let notice = Notice::RolledBack { source: agent, term, until, end, time };
        if self.sources.is_rollback_new(agent, term, end) {
            self.record(notice, clock);
            self.report_trouble(ROLLED_BACK, text);
        } else {
            self.troubles.entry(ROLLED_BACK).or_insert(text);
        }
        Ok(Receipt::RolledBack)
    }
}

/// A time for people to read.
fn text_of(time: Timestamp) -> String {
    let mut text = Vec::new();
    put_rfc3339(&mut text, time);
    String::from_utf8_lossy(&text).into_owned()
}
