//! The clock offsets in entries.

use afferent_protocol::ids::{Offset, Timestamp};
use afferent_protocol::session::signed::UpContent;

use super::*;
use crate::certificate::verify::verify;
use crate::models::order::{Correction, corrected};
use crate::sources::LinkState;

const DAY_US: i64 = 86_400_000_000;

/// The collector's clocks when those of agents show so many seconds: it has run for longer, and its wall clock is ten
/// days ahead.
fn collector(seconds: u64) -> ClockReading {
    let ClockReading { wall, monotonic_us, .. } = clock(seconds);
    let wall = Timestamp::clamped(wall.micros() + 10 * DAY_US);
    ClockReading { wall, monotonic_us: monotonic_us + 77_000_000, boot: [1; 16], synchronised: false }
}

/// For every entry of a source: its clock offset, and the correction of a time that its batch's clock shows.
fn offsets(core: &TestCore, name: &str) -> Vec<(Option<i64>, Correction, Timestamp)> {
    let (reader, mut scratch) = (core.log().reader(), Vec::new());
    let (mut at, mut found) = (Offset::ZERO, Vec::new());
    while at < reader.durable_end() {
        let chunk = reader.read(at, 4096, &mut scratch).unwrap();
        for entry in chunk.entries().filter(|entry| entry.batch.header().source == source(name)) {
            let (head, header) = (entry.head, entry.batch.header());
            let (time, how) = corrected(header.clock.wall, header, head.stamp, head.clock_offset_us());
            found.push((head.clock_offset_us(), how, time));
        }
        at = chunk.next();
    }
    found
}

#[test]
fn a_batch_of_a_clock_that_is_ten_days_slow_is_moved_by_them_however_late_it_comes() {
    let disk = SimDisk::of_seed(1);
    let mut press = Agent::new("press", Stream::Samples, 1);
    let mut core = start_at(&disk, &collector(0));
    let held = press.samples(30);
    greet(&mut core, &press, 0, &collector(30)).unwrap();
    assert_eq!(core.receive(press.name, &held, None, &collector(5000)).accepted, 1);
    core.commit(&collector(5000)).unwrap();
    assert_eq!(offsets(&core, "press"), [(Some(10 * DAY_US), Correction::Moved, collector(0).wall)]);
    let own = offsets(&core, "collector");
    assert!(!own.is_empty() && own.iter().all(|(offset, how, _)| (*offset, *how) == (Some(0), Correction::None)));
    assert!(verify(&disk, &source("collector")).unwrap().is_sound());
    // Ingest time minus the batch's clock would be off by the time that the batch travelled.
    assert_ne!(collector(5000).wall.micros() - clock(0).wall.micros(), 10 * DAY_US);
}

#[test]
fn until_an_agent_has_proved_itself_to_this_collector_nothing_is_known_of_its_clock() {
    let disk = SimDisk::of_seed(1);
    let mut press = Agent::new("press", Stream::Samples, 1);
    let mut core = start_at(&disk, &collector(0));
    greet(&mut core, &press, 0, &collector(1)).unwrap();
    core.receive(press.name, &press.samples(5), None, &collector(5));
    core.commit(&collector(5)).unwrap();
    let mut core = start_at(&disk, &collector(6));
    let batch = press.samples(5);
    assert_eq!(core.receive(press.name, &batch, None, &collector(10)).accepted, 1, "its key is known");
    core.commit(&collector(10)).unwrap();
    greet(&mut core, &press, 0, &collector(11)).unwrap();
    core.receive(press.name, &press.samples(5), None, &collector(15));
    core.commit(&collector(15)).unwrap();
    let found: Vec<_> = offsets(&core, "press").into_iter().map(|(offset, ..)| offset).collect();
    assert_eq!((found[0].is_some(), found[1], found[2].is_some()), (true, None, true), "{found:?}");
}

#[test]
fn a_lag_is_no_wrong_clock_and_grows_once_nothing_comes() {
    let disk = SimDisk::of_seed(1);
    let mut press = Agent::new("press", Stream::Samples, 1);
    let mut core = start_at(&disk, &collector(0));
    let held = press.samples(10);
    greet(&mut core, &press, 0, &collector(10)).unwrap();
    core.receive(press.name, &held, None, &collector(12));
    core.commit(&collector(12)).unwrap();
    let lag_s = |core: &TestCore, at: u64| view(core, "press").lag_us(collector(at).wall).map(|lag| lag / 1_000_000);
    assert_eq!(view(&core, "press").link, LinkState::Online);
    assert_eq!((lag_s(&core, 12), lag_s(&core, 100)), (Some(12), Some(12)), "as old as it was when it came");
    assert_eq!(lag_s(&core, 1000), Some(1000), "it is connected, and silent");
    assert_eq!(view(&core, "collector").lag_us(collector(1000).wall), Some(0));
    let left = press.said(UpContent::State { online: false });
    core.state(press.name, &left, &collector(13)).unwrap();
    assert_eq!(view(&core, "press").link, LinkState::Offline);
    assert_eq!((lag_s(&core, 13), lag_s(&core, 86_400)), (Some(13), Some(86_400)), "of one that is gone");
    // A restart knows the offset from the log.
    let core = start_at(&disk, &collector(14));
    assert_eq!(lag_s(&core, 100), Some(100));
}

#[test]
fn the_lag_of_a_clock_that_nobody_measured_is_unknown_or_at_least_the_silence() {
    let view =
        SourceView { link: LinkState::Online, last_ingest: Some(clock(100).wall), ..SourceView::new(source("press")) };
    assert_eq!(view.lag_us(clock(101).wall), None);
    let gone = SourceView { link: LinkState::Offline, ..view };
    assert_eq!(gone.lag_us(clock(160).wall), Some(60_000_000));
    assert_eq!(SourceView::new(source("mill")).lag_us(clock(1).wall), None, "nothing ever came");
}
