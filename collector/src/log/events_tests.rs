//! The items of a walk, for everything that a log can hold.

use std::ops::ControlFlow;

use afferent_protocol::ids::{Offset, Stream, Timestamp};
use afferent_protocol::segment::EntryHead;

use super::Wanted;
use super::events::{Item, Retention, Walk};
use super::memory::{MemoryLog, breakdown, sample};
use super::read_log::ReadLog;
use super::records::Decoder;
use crate::simulated::{Agent, parse};

/// The kind of an item, and its offsets.
fn told(item: &Item<'_, '_>) -> (&'static str, u64, u64) {
    let (kind, addresses) = match item {
        Item::Event(event) => return ("event", event.address.offset.get(), event.address.offset.get() + 1),
        Item::Unreadable(unreadable) => ("unreadable", &unreadable.addresses),
        Item::Hole(hole) => ("hole", &hole.addresses),
        Item::Removed(removed) if removed.by == Retention::Trimmed => ("trimmed", &removed.addresses),
        Item::Removed(removed) => ("emptied", &removed.addresses),
    };
    (kind, addresses.offsets.start.get(), addresses.offsets.end.get())
}

fn walked(log: &MemoryLog, from: u64, until: u64, wanted: Option<&Wanted>) -> Vec<(&'static str, u64, u64)> {
    let (mut found, mut decoder) = (Vec::new(), Decoder::default());
    let walk = Walk::over(log, Offset::new(from)..Offset::new(until));
    let walk = if let Some(wanted) = wanted { walk.wanting(wanted) } else { walk };
    let end = walk.run(&mut Vec::new(), &mut |part| {
        part.each(&mut decoder, |item| {
            found.push(told(&item));
            ControlFlow::Continue(())
        });
        ControlFlow::Continue(())
    });
    assert!(end.unwrap().is_continue(), "nobody has broken");
    found
}

/// From offset 10 on: two events, three that were emptied, four offsets without an entry, an event, a batch of an
/// unknown codec, two events.
fn log() -> MemoryLog {
    let log = MemoryLog::beginning_at(10);
    log.append("a", &[sample("x", 1), sample("y", 2)], 1);
    log.append("a", &[sample("x", 3), sample("x", 4), sample("x", 5)], 2);
    log.empty(1);
    log.append("b", &[breakdown("x", "E1")], 3);
    log.skip(4);
    let newer = Agent::new("b", Stream::Critical, 1).lie(3, 77);
    log.push(EntryHead::new(parse(&newer).header(), 20, 0, Timestamp::default()), newer);
    log.append("a", &[sample("x", 6), sample("x", 7)], 4);
    log
}

#[test]
fn every_offset_is_in_one_item_and_each_way_of_not_being_readable_has_its_own() {
    let expected = [
        ("trimmed", 5, 10),
        ("event", 10, 11),
        ("event", 11, 12),
        ("emptied", 12, 15),
        ("hole", 15, 19),
        ("event", 19, 20),
        ("unreadable", 20, 23),
        ("event", 23, 24),
        ("event", 24, 25),
    ];
    assert_eq!(walked(&log(), 5, u64::MAX, None), expected);
    assert_eq!(
        walked(&log(), 5, u64::MAX, Some(&Wanted::default())).len(),
        9,
        "an index that knows nothing passes nothing over"
    );
    let mut rotten = log();
    rotten.damaged = Some(19..21);
    let found = walked(&rotten, 12, u64::MAX, None);
    assert_eq!(found[..3], [("emptied", 12, 15), ("hole", 15, 23), ("event", 23, 24)]);
}

#[test]
fn a_walk_over_any_part_of_a_log_leaves_no_offset_out_and_passes_none_twice() {
    let log = log();
    let end = ReadLog::kept(&log).end.get();
    for from in 0..=end {
        for until in from..=end + 3 {
            let mut at = from;
            // An entry that begins before the walk, or ends behind it, passes all its items.
            for (_, first, item_end) in walked(&log, from, until, None).into_iter().filter(|(_, _, end)| *end > from) {
                assert!(first <= at && item_end > at, "{from} to {until}: at {at} comes {first}..{item_end}");
                at = item_end;
            }
            assert!(at >= until.min(end), "{from} to {until} ends at {at}");
        }
    }
}

#[test]
fn who_breaks_gets_nothing_more() {
    let log = log();
    for parts in 1..6 {
        let mut passed = 0;
        let walk = Walk::over(&log, Offset::ZERO..Offset::new(u64::MAX));
        let end = walk.run(&mut Vec::new(), &mut |_| {
            passed += 1;
            if passed == parts { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        assert_eq!((passed, end.unwrap()), (parts, ControlFlow::Break(())));
    }
}
