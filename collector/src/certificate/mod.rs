//! The completeness certificate: what of a source or a machine is in the log for a span of time, proved.
//!
//! One pass over the log, in order:
//! - [`Evidence`]: takes every batch; checks signature, chain and order, and what the seals bind
//! - `seals`: which offsets are bound by seals of the collector
//! - `lanes`: per source, stream and epoch: present, declared as lost, missing
//! - [`text`]: the certificate as people print it
//!
//! What it can promise, and why:
//! - A batch that was edited breaks its signature; one that was taken out breaks the chain of its lane, or shows as missing
//!   sequences; one that was moved breaks the seal of its stretch. What a seal binds cannot be changed by who does not have
//!   the collector's key, which is no part of the log's files.
//! - An agent's key is pinned by an event of the collector, which the collector's key has signed.
//! - Of samples that retention has removed the chain hash is left, which chain, signature and seal bind as before. Their
//!   times are bound no more: they are taken to lie within the span unless the batches before and behind prove otherwise.
//! - A log whose newest part was cut off is an older log: it proves nothing about what came later. Whatever the evidence
//!   does not reach is said to be open, and a certificate is complete only when nothing is open.
//!
//! Event times are those of the sources' clocks. A span takes in every batch that has an event in it.

mod evidence;
mod lanes;
mod seals;
pub mod text;

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use afferent_protocol::event::LossReason;
use afferent_protocol::ids::{Epoch, Offset, Sequence, SourceId, Stream, Timestamp};
use serde::{Serialize, Serializer};

use crate::cloud_event::names::loss_reason;
use crate::sources::{RangeView, SourceView};
pub use evidence::Evidence;

/// Whom a certificate is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum About {
    /// An agent: all of its streams.
    Source(SourceId),
    /// A machine (the first level of subjects): all streams of every source that spoke of it.
    Machine(String),
}

/// A span of event time, its end exclusive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Span {
    /// Its first instant.
    #[serde(serialize_with = "rfc3339")]
    pub from: Timestamp,
    /// The first one after it.
    #[serde(serialize_with = "rfc3339")]
    pub until: Timestamp,
}

/// What the log proves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Certificate {
    /// Whom it is about.
    pub about: About,
    /// The span.
    pub span: Span,
    /// The answer.
    pub verdict: Verdict,
    /// Whether it is [`Verdict::Complete`] and nothing is open.
    pub complete: bool,
    /// What the evidence does not reach, for people. Ask again later, where it says so.
    pub open: Vec<String>,
    /// What contradicts itself, for people.
    pub refuted: Vec<String>,
    /// What the log is that proves it.
    pub log: LogEvidence,
    /// Lane by lane, by source, stream, and time.
    pub lanes: Vec<LaneCertificate>,
    /// What the sources have said that their ring logs hold, and has not come: known to a running collector alone.
    pub in_ring: Vec<InRing>,
}

/// What a source's ring log held of a stream when it last said hello, and has not come since.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct InRing {
    /// The source.
    pub source: SourceId,
    /// The stream.
    #[serde(serialize_with = "stream_name")]
    pub stream: Stream,
    /// The epoch.
    #[serde(serialize_with = "epoch_text")]
    pub epoch: Epoch,
    /// The first sequence.
    pub first: Sequence,
    /// The first one after them.
    pub end: Sequence,
}

impl Certificate {
    /// With what the collector has heard of these sources' ring logs: of those that it is about.
    pub fn with_rings(mut self, sources: &[SourceView]) -> Self {
        let is_about = |source: &SourceId| self.lanes.iter().any(|lane| lane.source == *source);
        let lanes = sources.iter().filter(|view| is_about(&view.source));
        let lanes = lanes.flat_map(|view| view.lanes.iter().map(move |lane| (view.source, lane)));
        self.in_ring = lanes
            .filter_map(|(source, lane)| {
                let RangeView { first, end } = lane.in_ring?;
                Some(InRing { source, stream: lane.stream, epoch: lane.epoch, first, end })
            })
            .collect();
        self
    }
}

/// The answer, from good to bad.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Every sequence that the span takes in is there.
    Complete,
    /// What is not there was in the log, and retention has removed it.
    Removed,
    /// What is not there was declared lost by its source, or removed by retention.
    DeclaredLoss,
    /// Something is missing, and nobody has said why.
    Incomplete,
    /// Something was changed, moved or taken out after it was written, or never was what it says.
    Refuted,
}

/// The log behind a certificate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LogEvidence {
    /// The collector that wrote it.
    pub collector: SourceId,
    /// Its public key, hexadecimal.
    pub key: String,
    /// The oldest offset that is kept.
    pub first: Offset,
    /// The first offset after the newest batch.
    pub end: Offset,
    /// Everything before this offset is bound by seals.
    pub sealed_until: Offset,
    /// When the newest batch was appended, by the collector's clock.
    #[serde(serialize_with = "rfc3339")]
    pub time: Timestamp,
}

/// What is known of one stream and epoch of one source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LaneCertificate {
    /// The source.
    pub source: SourceId,
    /// The stream.
    #[serde(serialize_with = "stream_name")]
    pub stream: Stream,
    /// The epoch.
    #[serde(serialize_with = "epoch_text")]
    pub epoch: Epoch,
    /// The sequences that the span takes in, end to end.
    pub ranges: Vec<Range>,
    /// The latest event time that is known of it.
    #[serde(serialize_with = "rfc3339")]
    pub known_until: Timestamp,
}

/// Consecutive sequences of the same fate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Range {
    /// The first one.
    pub first: Sequence,
    /// The first one after them.
    pub end: Sequence,
    /// What became of them.
    #[serde(flatten)]
    pub fate: Fate,
}

/// What became of a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "fate")]
pub enum Fate {
    /// All are in the log, signed and chained.
    Present,
    /// They were in the log, signed and chained, and retention has removed them.
    Removed,
    /// Their source has declared that they will not come.
    Lost {
        /// Why.
        #[serde(serialize_with = "reason_name")]
        reason: LossReason,
        /// When it was declared, by the source's clock.
        #[serde(serialize_with = "rfc3339")]
        declared: Timestamp,
    },
    /// They are not in the log, and nobody has said why.
    Missing,
}

/// Why there is no certificate.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    /// The log has never heard of it.
    #[error("the log has no event of {0}; `afferent-collector agents` lists the sources")]
    Unknown(String),
    /// The span has no instant in it.
    #[error("the span ends before it begins; give `from` before `until`")]
    Span,
}

fn rfc3339<S: Serializer>(time: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&time_text(*time))
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

/// Texts that are told once, and not without end.
#[derive(Debug, Default)]
struct Told(BTreeSet<String>);

impl Told {
    fn say(&mut self, text: String) {
        if self.0.len() < crate::limits::CERTIFICATE_TEXTS_MAX {
            self.0.insert(text);
        }
    }

    fn extend(&mut self, texts: impl IntoIterator<Item = String>) {
        texts.into_iter().for_each(|text| self.say(text));
    }

    fn into_texts(self) -> Vec<String> {
        self.0.into_iter().collect()
    }
}
