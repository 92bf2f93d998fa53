//! The completeness certificate: which events of a source or a machine are in the log for a span of time, verified.
//!
//! - [`certify()`]: by the extracts of a log if they give an answer (`extracts`), else by one pass over all of it, in
//!   order
//! - [`Evidence`]: reads every batch; checks signature, chain and order, and the bounds of attestations and witnesses
//! - `learned`: evidence from single events
//! - `lanes`: per source, stream and epoch: present, declared as lost, missing
//! - [`About`]: the subject of a certificate
//! - `checks`: the history of a lane that a statement belongs to
//! - `source`: how far a source had come by which time, and when that is unknown
//! - [`Rings`]: ring logs of agents as evidence
//! - [`mod@verify`]: the same evidence for a log as a whole, with its files
//! - `verdict`: the verdict by all of it; [`text`]: the certificate as a page to print
//!
//! COMPLETE means: all events that the sources had accepted by K (printed per source) with a time in the span are in
//! the log, and K is at or behind the span's end for each source that was not retired. K is signed by the agent itself:
//! a heartbeat with its clock and the ends of all its lanes, all of which have come. An event accepted later with an
//! older time does not contradict it. `README.md` beside this file has the argument: who can forge which part.
//!
//! Event times are those of the sources' clocks. A span takes in every batch that has an event in it.

mod about;
mod certify;
mod checks;
mod evidence;
mod extracts;
mod lanes;
mod learned;
mod rings;
mod source;
mod spoken;
pub mod text;
mod verdict;
pub mod verify;

#[cfg(test)]
pub(crate) mod tests;

use std::borrow::Borrow;
use std::collections::BTreeSet;

use afferent_protocol::event::LossReason;
use afferent_protocol::ids::{Epoch, Offset, Sequence, SourceId, Stream, Timestamp};
use serde::{Serialize, Serializer};
use utoipa::ToSchema;

use crate::cloud_event::names::loss_reason;
use crate::log::inspect::Suspect;
use crate::log::{Bound, KeyOrigin, ReadLog};
use crate::sources::{RangeView, SourceView};
use crate::whole;
pub use about::About;
pub use certify::{ProveError, certify, certify_whole_log};
pub use evidence::{CheckMaterial, Evidence};
use extracts::CertificateRequest;
pub use rings::{RingError, Rings};

/// A span of event time, its end exclusive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Span {
    /// Start of the span, inclusive.
    #[serde(serialize_with = "rfc3339")]
    #[schema(value_type = String)]
    pub from: Timestamp,
    /// End of the span, exclusive.
    #[serde(serialize_with = "rfc3339")]
    #[schema(value_type = String)]
    pub until: Timestamp,
}

/// A certificate of completeness.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Certificate {
    /// The certified agent or machine.
    pub about: About,
    /// The span.
    pub span: Span,
    /// The verdict.
    pub verdict: Verdict,
    /// The causes, if it is not complete.
    pub causes: Vec<Cause>,
    /// Whether it is [`Verdict::Complete`].
    pub complete: bool,
    /// The evidence, in a sentence.
    pub rests_on: String,
    /// What the evidence does not cover, for people; some of it may be covered later.
    pub open: Vec<String>,
    /// The contradictions, for people.
    pub refuted: Vec<String>,
    /// The log and its evidence.
    pub log: LogEvidence,
    /// The state of each source.
    pub sources: Vec<SourceCertificate>,
    /// The sequences of each source, stream and epoch.
    pub lanes: Vec<LaneCertificate>,
    /// Events that the sources report to be in their ring logs and that have not arrived; only a running collector
    /// knows them.
    pub in_ring: Vec<InRing>,
}

/// The state of a source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct SourceCertificate {
    /// The source.
    #[schema(value_type = String)]
    pub source: SourceId,
    /// The source's public key, hexadecimal; null for the collector itself.
    pub key: Option<String>,
    /// Everything that the source had accepted by this time, by its own clock, is accounted for.
    #[serde(serialize_with = "some_rfc3339")]
    #[schema(value_type = Option<String>)]
    pub known_until: Option<Timestamp>,
    /// The operator who retired the source, unless it has sent events since.
    pub retired: Option<RetiredBy>,
    /// Events that the source reports as accepted and that have not arrived.
    pub awaited: Vec<Awaited>,
}

/// An operator's statement that a source sends no more events.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct RetiredBy {
    /// The operator's name; unverified if no login was required.
    pub who: String,
    /// Why.
    pub why: String,
    /// The time of the statement, by the collector's clock.
    #[serde(serialize_with = "rfc3339")]
    #[schema(value_type = String)]
    pub time: Timestamp,
}

/// Sequences that a source reports as accepted and that have not arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Awaited {
    /// The stream.
    #[serde(serialize_with = "stream_name")]
    #[schema(value_type = String)]
    pub stream: Stream,
    /// The epoch.
    #[serde(serialize_with = "epoch_text")]
    #[schema(value_type = String)]
    pub epoch: Epoch,
    /// The first sequence.
    #[serde(serialize_with = "whole::sequence")]
    #[schema(schema_with = whole::schema)]
    pub first: Sequence,
    /// The sequence after the last one.
    #[serde(serialize_with = "whole::sequence")]
    #[schema(schema_with = whole::schema)]
    pub end: Sequence,
}

/// Sequences that were in a source's ring log when it last connected and that have not arrived since.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct InRing {
    /// The source.
    #[schema(value_type = String)]
    pub source: SourceId,
    /// The stream.
    #[serde(serialize_with = "stream_name")]
    #[schema(value_type = String)]
    pub stream: Stream,
    /// The epoch.
    #[serde(serialize_with = "epoch_text")]
    #[schema(value_type = String)]
    pub epoch: Epoch,
    /// The first sequence.
    #[serde(serialize_with = "whole::sequence")]
    #[schema(schema_with = whole::schema)]
    pub first: Sequence,
    /// The sequence after the last one.
    #[serde(serialize_with = "whole::sequence")]
    #[schema(schema_with = whole::schema)]
    pub end: Sequence,
}

impl Certificate {
    /// Adds the state of these sources' ring logs, for the sources that the certificate is about. Events held in a ring
    /// log that have not come are open.
    pub fn with_rings<V: Borrow<SourceView>>(mut self, sources: &[V]) -> Self {
        let is_about = |source: &SourceId| self.sources.iter().any(|known| known.source == *source);
        let lanes = sources.iter().map(V::borrow).filter(|view| is_about(&view.source));
        let lanes = lanes.flat_map(|view| view.lanes.iter().map(move |lane| (view.source, lane)));
        self.in_ring = lanes
            .filter_map(|(source, lane)| {
                let RangeView { first, end } = lane.in_ring?;
                Some(InRing { source, stream: lane.stream, epoch: lane.epoch, first, end })
            })
            .collect();
        self.judged()
    }
}

/// The verdict, from good to bad.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Everything is in the log.
    Complete,
    /// Something is missing or uncertain; see [`Cause`].
    Incomplete,
    /// Something was changed, moved or removed after it was written, or was forged.
    Refuted,
}

impl Verdict {
    /// The exit code of a command with this verdict; 2 is reserved for a wrong command line.
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Complete => 0,
            Self::Incomplete => 1,
            Self::Refuted => 3,
        }
    }

    /// The name in JSON and in HTTP headers.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::Incomplete => "incomplete",
            Self::Refuted => "refuted",
        }
    }
}

/// Why a certificate is not complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// Something is missing and was not declared lost.
    Missing,
    /// The source has declared a loss.
    DeclaredLoss,
    /// Retention has removed something.
    Removed,
    /// The evidence does not cover everything, or has not arrived yet.
    Open,
}

/// The log behind a certificate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct LogEvidence {
    /// The collector that wrote it.
    #[schema(value_type = String)]
    pub collector: SourceId,
    /// The partition of the log to which all offsets refer.
    pub partition: u32,
    /// Its public keys, hexadecimal: the trusted ones, and those that they have endorsed.
    pub keys: Vec<String>,
    /// The origin of the first key; a key that was found in the log was chosen by whoever wrote the log.
    pub key_origin: KeyOrigin,
    /// The oldest kept offset.
    #[serde(serialize_with = "whole::offset")]
    #[schema(value_type = String)]
    pub first: Offset,
    /// The first offset after the newest batch.
    #[serde(serialize_with = "whole::offset")]
    #[schema(value_type = String)]
    pub end: Offset,
    /// Number of attestations that agree with the log.
    pub attestations: u64,
    /// The first offset that attestations bind.
    #[serde(serialize_with = "whole::some_offset")]
    #[schema(value_type = Option<String>)]
    pub attested_from: Option<Offset>,
    /// The end of what attestations bind.
    pub attested: Option<Bound>,
    /// The newest witness from outside with which the log agrees.
    pub witnessed: Option<Bound>,
    /// Number of witnesses of entries that are no longer kept.
    pub witnesses_passed: u64,
    /// Time at which the newest batch was appended, by the collector's clock.
    #[serde(serialize_with = "rfc3339")]
    #[schema(value_type = String)]
    pub time: Timestamp,
}

/// The verdict about a whole log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogFindings {
    /// Contradictions within the log or with a witness, for people.
    pub refuted: Vec<String>,
    /// Missing events that may be on their way, for people.
    pub open: Vec<String>,
    /// Batches in doubt.
    pub suspects: Vec<Suspect>,
    /// Number of batches that were checked.
    pub entries: u64,
    /// Number of ring log batches that were compared with the log.
    pub ring_batches: usize,
    /// How far the log is bound, and by which evidence.
    pub log: LogEvidence,
}

/// The sequences of one stream and epoch of one source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct LaneCertificate {
    /// The source.
    #[schema(value_type = String)]
    pub source: SourceId,
    /// The stream.
    #[serde(serialize_with = "stream_name")]
    #[schema(value_type = String)]
    pub stream: Stream,
    /// The epoch.
    #[serde(serialize_with = "epoch_text")]
    #[schema(value_type = String)]
    pub epoch: Epoch,
    /// The sequences within the span, without gaps between the ranges.
    pub ranges: Vec<Range>,
}

/// Consecutive sequences of the same fate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Range {
    /// The first sequence.
    #[serde(serialize_with = "whole::sequence")]
    #[schema(schema_with = whole::schema)]
    pub first: Sequence,
    /// The sequence after the last one.
    #[serde(serialize_with = "whole::sequence")]
    #[schema(schema_with = whole::schema)]
    pub end: Sequence,
    /// The fate of these sequences.
    #[serde(flatten)]
    pub fate: Fate,
}

/// The fate of a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case", tag = "fate")]
pub enum Fate {
    /// All are in the log, signed and chained.
    Present,
    /// They were in the log, signed and chained; retention has removed them.
    Removed,
    /// Their source has declared them lost.
    Lost {
        /// Why.
        #[serde(serialize_with = "reason_name")]
        #[schema(value_type = String)]
        reason: LossReason,
        /// When it was declared, by the source's clock.
        #[serde(serialize_with = "rfc3339")]
        #[schema(value_type = String)]
        declared: Timestamp,
    },
    /// They are not in the log and were not declared lost.
    Missing,
}

/// Why there is no certificate.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    /// The log has no event of the subject.
    #[error("the log has no event of {0}; `afferent-collector agents` lists the sources")]
    Unknown(String),
    /// The span is empty.
    #[error("the span ends before it starts; give `from` before `until`")]
    Span,
}

fn rfc3339<S: Serializer>(time: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&time_text(*time))
}

fn some_rfc3339<S: Serializer>(time: &Option<Timestamp>, serializer: S) -> Result<S::Ok, S::Error> {
    match time {
        Some(time) => rfc3339(time, serializer),
        None => serializer.serialize_none(),
    }
}

fn time_text(time: Timestamp) -> String {
    let mut text = Vec::with_capacity(27);
    crate::cloud_event::put_rfc3339(&mut text, time);
    String::from_utf8(text).expect("a time is ASCII")
}

fn stream_name<S: Serializer>(stream: &Stream, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(stream.name())
}

fn epoch_text<S: Serializer>(epoch: &Epoch, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(epoch)
}

fn reason_name<S: Serializer>(reason: &LossReason, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(loss_reason(*reason))
}

/// The certificate of a log that is being written, by its extracts; `None` when the caller must read the log.
pub(crate) fn by_extracts(
    log: &dyn ReadLog,
    about: &About,
    span: Span,
    own: SourceId,
    means: &CheckMaterial,
) -> Option<Result<Certificate, CertificateError>> {
    let mut made = None;
    log.with_extracts(&own, &mut |extracts| {
        made = extracts::certificate(extracts, &CertificateRequest { about, span, own, means });
    });
    made
}

/// A bounded set of texts.
#[derive(Debug, Default)]
struct TextSet(BTreeSet<String>);

impl TextSet {
    fn insert(&mut self, text: String) {
        if self.0.len() < crate::limits::CERTIFICATE_TEXTS_MAX {
            self.0.insert(text);
        }
    }

    fn extend(&mut self, texts: impl IntoIterator<Item = String>) {
        texts.into_iter().for_each(|text| self.insert(text));
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn into_texts(self) -> Vec<String> {
        self.0.into_iter().collect()
    }
}
