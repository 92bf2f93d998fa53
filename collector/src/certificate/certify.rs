//! A certificate by the files of a log: by its extracts, or, if they give no answer, by the whole log.

use afferent_host::disk::Disk;
use afferent_protocol::batch::Batch;
use afferent_protocol::ids::{Offset, SourceId};
use afferent_protocol::segment::EntryHead;

use super::extracts::{self, CertificateRequest};
use super::{About, Certificate, CertificateError, CheckMaterial, Evidence, Span};
use crate::log::inspect::{self, InspectReport};
use crate::log::{Beside, OpenError};

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub enum ProveError {
    /// The log cannot be read.
    #[error(transparent)]
    Log(#[from] OpenError),
    /// The log has no answer about the subject.
    #[error(transparent)]
    None(#[from] CertificateError),
}

/// Makes the certificate of a source or a machine from the log on this disk. `own` is the collector's name.
///
/// # Errors
/// When the log cannot be read, or has no event of the subject.
pub fn certify<D: Disk>(
    disk: &D,
    about: &About,
    span: Span,
    own: SourceId,
    means: &CheckMaterial,
) -> Result<Certificate, ProveError> {
    Evidence::new(about.clone(), span, own, CheckMaterial::default())?;
    let log = Beside::load(disk, &own, Offset::new(u64::MAX))?;
    match extracts::certificate(&log, &CertificateRequest { about, span, own, means }) {
        Some(certificate) => Ok(certificate?),
        None => certify_whole_log(disk, about, span, own, means),
    }
}

/// Certifies by the whole log. It is read once, unless a later batch may declare the key or name of an earlier one.
pub fn certify_whole_log<D: Disk>(
    disk: &D,
    about: &About,
    span: Span,
    own: SourceId,
    means: &CheckMaterial,
) -> Result<Certificate, ProveError> {
    let begun = || Evidence::new(about.clone(), span, own, means.clone());
    let taken = |evidence: &mut Evidence, report: &InspectReport| {
        report.holes.iter().for_each(|hole| evidence.hole(hole.first, hole.end));
    };
    if inspect::first(disk)? == Offset::ZERO {
        let (mut evidence, mut names) = (begun()?, begun()?);
        let report = inspect::dump(disk, &mut |head, batch| {
            names.learn_names(batch);
            evidence.batch(head, batch);
        })?;
        taken(&mut evidence, &report);
        let is_renamed = !names.aliases.is_empty();
        let certificate = evidence.certificate();
        if !is_renamed && certificate.as_ref().is_ok_and(|certificate| certificate.refuted.is_empty()) {
            return Ok(certificate?);
        }
    }
    let mut evidence = begun()?;
    let mut ahead = |head: &EntryHead, batch: &Batch<'_>| evidence.ahead(head, batch);
    inspect::dump(disk, &mut ahead)?;
    let report = inspect::dump(disk, &mut |head, batch| evidence.batch(head, batch))?;
    taken(&mut evidence, &report);
    Ok(evidence.certificate()?)
}
