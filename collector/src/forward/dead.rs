//! Dead letters: events of the log for events that a destination will never take.

use afferent_protocol::ids::{Offset, SourceId};
use serde::{Deserialize, Serialize};

use super::feed::Rejected;
use crate::cloud_event::data::JSON;
use crate::intake::WeakIntake;
use crate::kinds::DEAD_LETTER;
use crate::limits::DEAD_LETTER_REASON_CHARS_MAX;
use crate::posted::NewEvent;

/// The `data` of a dead letter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct DeadLetter {
    /// The forward.
    pub forward: String,
    /// The kind of its destination.
    pub sink: String,
    /// The partition of the event.
    pub partition: u32,
    /// The offset of the event, decimal.
    pub offset: String,
    /// The source of the event.
    pub source: String,
    /// The id of the event.
    pub id: String,
    /// The answer of the destination.
    pub reason: String,
}

impl DeadLetter {
    pub fn of(forward: &SourceId, sink: &str, rejected: &Rejected) -> Self {
        Self {
            forward: forward.to_string(),
            sink: sink.to_owned(),
            partition: rejected.address.partition.get(),
            offset: rejected.address.offset.to_string(),
            source: rejected.source.clone(),
            id: rejected.id.clone(),
            reason: rejected.reason.chars().take(DEAD_LETTER_REASON_CHARS_MAX).collect(),
        }
    }

    /// The source of a forward's dead letters.
    pub fn source_of(forward: &SourceId) -> String {
        format!("/forwards/{forward}")
    }

    /// The event for the log. `round` tells the deliveries of one event apart: the same event in the same round is one
    /// dead letter, also if the collector is killed in between.
    pub fn event(&self, forward: &SourceId, own: &SourceId, round: &str) -> NewEvent {
        let (source, id) = (Self::source_of(forward), format!("{}-{}-{round}", self.partition, self.offset));
        let json = serde_json::json!({
            "source": source, "id": id, "severitynumber": 17, "datacontenttype": JSON, "data": self,
        });
        let json = json.to_string();
        NewEvent { source, id, time: None, subject: own.to_string(), kind: DEAD_LETTER.to_owned(), json }
    }

    /// Reads the document of a dead letter.
    pub fn read(json: &str) -> Option<(Self, Offset)> {
        #[derive(Deserialize)]
        struct Document {
            data: DeadLetter,
        }
        let data = serde_json::from_str::<Document>(json).ok()?.data;
        let offset = data.offset.parse().ok().map(Offset::new)?;
        Some((data, offset))
    }
}

/// Appends a dead letter to the log; it is durable on return.
pub(super) async fn append(intake: &WeakIntake, event: NewEvent) -> Result<(), String> {
    let intake = intake.upgrade().map_err(|error| error.to_string())?;
    let placed = intake.post(vec![event]).await.map_err(|error| error.to_string())?;
    drop(intake);
    match placed.await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(refusal)) => Err(refusal.to_string()),
        Err(_) => Err("the collector is stopping".to_owned()),
    }
}
