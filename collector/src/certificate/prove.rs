//! A certificate by the files of a log: by its extracts, or, where they do not lead to one, by all of it.

use afferent_host::disk::Disk;
use afferent_protocol::batch::Batch;
use afferent_protocol::ids::{Offset, SourceId};
use afferent_protocol::segment::EntryHead;

use super::extracts::{self, Asked};
use super::{About, Certificate, CertificateError, Evidence, Means, Span};
use crate::log::inspect::{self, Report};
use crate::log::{Beside, OpenError};

/// Why nothing is proved.
#[derive(Debug, thiserror::Error)]
pub enum ProveError {
    /// The log cannot be read.
    #[error(transparent)]
    Log(#[from] OpenError),
    /// There is no certificate of it.
    #[error(transparent)]
    None(#[from] CertificateError),
}

/// Proves what of a source or a machine is in the log on this disk. `own` is the collector's name.
///
/// # Errors
/// When the log cannot be read, or has nothing of whom it is about.
pub fn prove<D: Disk>(
    disk: &D,
    about: &About,
    span: Span,
    own: SourceId,
    means: &Means,
) -> Result<Certificate, ProveError> {
    Evidence::new(about.clone(), span, own, Means::default())?;
    let log = Beside::load(disk, &own, Offset::new(u64::MAX))?;
    match extracts::certificate(&log, &Asked { about, span, own, means }) {
        Some(certificate) => Ok(certificate?),
        None => whole(disk, about, span, own, means),
    }
}

/// By all of the log. It is read once, unless what stands behind a batch may tell by which key or name it counts.
pub fn whole<D: Disk>(
    disk: &D,
    about: &About,
    span: Span,
    own: SourceId,
    means: &Means,
) -> Result<Certificate, ProveError> {
    let begun = || Evidence::new(about.clone(), span, own, means.clone());
    let taken = |evidence: &mut Evidence, report: &Report| {
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
