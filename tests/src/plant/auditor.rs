//! Who asks the collector's log for certificates: what they call complete, the judge must find complete.

use std::collections::BTreeMap;

use afferent_collector::certificate::{About, Cause, Certificate, CheckMaterial, Evidence, Span, Verdict};
use afferent_collector::log::{Trust, inspect};
use afferent_protocol::ids::{SourceId, Timestamp};

use super::{Failure, World};
use crate::oracle::LogView;
use crate::planted::Planted;
use crate::rng::Rng;
use crate::sim_disk::SimDisk;

/// The longest span that is asked about, in microseconds, but for that from the beginning on.
const SPAN_US_MAX: u64 = 5_000_000;

/// Asks for a certificate of somebody, and of some time.
pub fn ask(world: &mut World, files: &[(String, Vec<u8>)], rng: &mut Rng) -> Result<(), Failure> {
    let Some(asked) = a_question(world, rng) else { return Ok(()) };
    let (source, span) = asked;
    let Ok(certificate) = certificate(world, files, source, span, rng) else { return Ok(()) };
    let (from, until) = (span.from, span.until);
    world.tell(format_args!(
        "{source} from {} until {} µs: {:?} {:?}",
        from.micros(),
        until.micros(),
        certificate.verdict,
        certificate.causes
    ));
    if certificate.verdict == Verdict::Refuted {
        return Err(Failure(format!("an honest log is refuted: {:?}", certificate.refuted)));
    }
    let view = LogView::unified(files, &BTreeMap::new()).map_err(Failure)?;
    if certificate.complete || is_called_complete(world.settings.planted, &certificate, &view) {
        let events = world.oracle.is_complete(&view, source, (from, until)).map_err(Failure)?;
        world.certified += u64::from(events > 0);
    }
    Ok(())
}

/// About whom, and when: some time before somebody said how far he had come.
fn a_question(world: &World, rng: &mut Rng) -> Option<(SourceId, Span)> {
    let beats = &world.oracle.beats;
    let beat = beats.get(rng.index(beats.len().max(1)))?;
    let until = beat.time.micros() - rng.below(SPAN_US_MAX / 10) as i64;
    let from = if rng.coin() { i64::MIN } else { until - 1 - rng.below(SPAN_US_MAX) as i64 };
    let span = Span { from: Timestamp::clamped(from), until: Timestamp::clamped(until) };
    Some((world.names[beat.agent], span))
}

fn certificate(
    world: &World,
    files: &[(String, Vec<u8>)],
    source: SourceId,
    span: Span,
    rng: &mut Rng,
) -> Result<Certificate, String> {
    let disk = SimDisk::of_files(files, rng.fork());
    let trust = Trust::Named(vec![world.collector_key.public_key()]);
    let own = SourceId::new("collector").expect("it is a name");
    let means = CheckMaterial { trust, ..CheckMaterial::default() };
    let mut evidence = Evidence::new(About::Source(source), span, own, means).map_err(|error| error.to_string())?;
    let text = |error: afferent_collector::log::OpenError| error.to_string();
    inspect::dump(&disk, &mut |head, batch| evidence.ahead(head, batch)).map_err(text)?;
    let report = inspect::dump(&disk, &mut |head, batch| evidence.batch(head, batch)).map_err(text)?;
    report.holes.iter().for_each(|hole| evidence.hole(hole.first, hole.end));
    evidence.certificate().map_err(|error| error.to_string())
}

/// What a bug would call complete.
fn is_called_complete(planted: Planted, certificate: &Certificate, view: &LogView) -> bool {
    let reaches = |until| {
        let sources = || certificate.sources.iter().map(|known| known.source);
        view.times.iter().any(|(source, time)| *time >= until && sources().any(|known| known == *source))
    };
    planted == Planted::KnownByEventTime && certificate.causes == [Cause::Open] && reaches(certificate.span.until)
}
