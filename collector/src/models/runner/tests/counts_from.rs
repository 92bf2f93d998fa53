//! Figures name the first offset that they count from.

use afferent_protocol::ids::Stream;

use super::*;
use crate::models::CountedFrom;

fn counted(started: &Started, as_of: AsOf) -> BTreeMap<String, CountedFrom> {
    let of = |definition: &Definition| {
        let state = started.models.state(definition, as_of, Span::default(), &Cancel::default()).unwrap();
        (definition.id.to_string(), state.counts_from)
    };
    started.models.definitions().iter().map(of).collect()
}

/// The stamp of each entry, one event each.
fn stamps(log: &MemoryLog) -> Vec<Timestamp> {
    let mut stamps = Vec::new();
    log.read(Offset::ZERO, &mut Vec::new(), &mut |head, _| {
        stamps.push(head.stamp);
        std::ops::ControlFlow::Continue(())
    })
    .unwrap();
    stamps
}

fn recompute_all(started: &Started, log: &MemoryLog) {
    for definition in started.models.definitions().to_vec() {
        started.models.recompute(&definition, None).unwrap();
        started.caught_up(log);
    }
}

#[test]
fn a_model_that_is_made_again_after_retention_says_that_it_counts_from_what_was_kept() {
    let runtime = Runtime::new().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let log = MemoryLog::default();
    append(&log, &[60]);
    let started = Started::new(&runtime, &log, Some(directory.path().into()));
    started.caught_up(&log);
    started.stop();
    let stamps = stamps(&log);
    let from =
        |offset: u64| CountedFrom { time: Some(stamps[offset as usize]), ..CountedFrom::at(Offset::new(offset)) };

    let log = log.trimmed(40);
    let started = Started::new(&runtime, &log, Some(directory.path().into()));
    started.caught_up(&log);
    let now = AsOf::Now(at(900));
    assert!(counted(&started, now).values().all(|found| *found == from(0)), "a state from before is whole");
    let kpi = started.models.find("kpi").unwrap().clone();
    let state = |started: &Started| started.models.state(&kpi, now, Span::default(), &Cancel::default()).unwrap().state;
    let whole = state(&started);
    recompute_all(&started, &log);
    assert_ne!(state(&started), whole, "the control: it tells less now");
    assert!(counted(&started, now).values().all(|found| *found == from(40)), "{:?}", counted(&started, now));
    assert!(started.models.list().iter().all(|status| status.counts_from == Some(from(40))));
    // Also in the past, after a restart, and once more events have come.
    started.stop();
    append(&log, &[10]);
    let started = Started::new(&runtime, &log, Some(directory.path().into()));
    started.caught_up(&log);
    for as_of in [now, AsOf::Offset(Offset::new(50)), AsOf::Offset(Offset::new(65))] {
        assert!(counted(&started, as_of).values().all(|found| *found == from(40)), "as of {as_of:?}");
    }
    started.stop();
}

#[test]
fn a_model_that_is_made_again_says_from_where_on_it_has_seen_the_samples() {
    let runtime = Runtime::new().unwrap();
    let log = MemoryLog::default();
    append(&log, &[60]);
    let started = Started::new(&runtime, &log, None);
    started.caught_up(&log);
    let mut samples = Vec::new();
    log.read(Offset::ZERO, &mut Vec::new(), &mut |head, batch| {
        if batch.header().stream == Stream::Samples && head.ordinal < 30 {
            samples.push((head.ordinal, head.stamp));
        }
        std::ops::ControlFlow::Continue(())
    })
    .unwrap();
    samples.iter().for_each(|(offset, _)| log.empty(*offset as usize));
    let now = AsOf::Now(at(900));
    assert!(counted(&started, now).values().all(|found| found.samples.is_none()), "it has seen them");
    recompute_all(&started, &log);
    let (last, stamp) = *samples.last().unwrap();
    let expected = Some((Offset::new(last + 1), stamp));
    for found in counted(&started, now).values() {
        assert_eq!((found.offset, found.samples), (Offset::ZERO, expected));
        assert_eq!(found.view().samples.unwrap().offset, (last + 1).to_string());
    }
    started.stop();
}
