//! Verifies a log by its files: every checksum, and every batch against keys, chains and evidence kept outside.

use afferent_host::disk::Disk;
use afferent_protocol::ids::{Offset, SourceId};

use super::{CheckMaterial, Evidence, LogFindings};
use crate::log::inspect::{self, InspectReport};
use crate::log::{LostOffsets, OpenError};

/// The result of verifying a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// The report about the files.
    pub report: InspectReport,
    /// The verdict about the batches.
    pub findings: LogFindings,
}

impl Verified {
    /// Whether every byte is as written and every batch is verified.
    pub fn is_sound(&self) -> bool {
        self.report.is_sound() && self.findings.refuted.is_empty()
    }
}

/// As [`inspect::info`], and for every batch signature, chain, order and body, by the log alone.
///
/// # Errors
/// When the log cannot be read.
pub fn verify<D: Disk>(disk: &D, own: &SourceId) -> Result<Verified, OpenError> {
    verify_by(disk, own, CheckMaterial::default())
}

/// As [`inspect::info`], and for every batch signature, chain, order and body; the evidence of attestations, witnesses
/// and ring logs; whether sources have accepted events that are not there; and whether retention declared the removal
/// of the missing beginning. `own` is the collector's name: only its own batches declare which keys are pinned.
///
/// # Errors
/// As [`verify`].
pub fn verify_by<D: Disk>(disk: &D, own: &SourceId, means: CheckMaterial) -> Result<Verified, OpenError> {
    let mut evidence = Evidence::of_log(*own, means);
    inspect::dump(disk, &mut |head, batch| evidence.ahead(head, batch))?;
    let mut report = inspect::dump(disk, &mut |head, batch| evidence.batch(head, batch))?;
    let trimmed_until = evidence.trimmed_until();
    let mut findings = evidence.findings();
    report.suspects = std::mem::take(&mut findings.suspects);
    let begin = report.segments.first().map_or(Offset::ZERO, |segment| segment.first);
    if begin > trimmed_until {
        report.holes.insert(0, LostOffsets { first: trimmed_until, end: begin });
    }
    report.uncounted = inspect::uncounted_entries(disk, &report)?;
    Ok(Verified { report, findings })
}
