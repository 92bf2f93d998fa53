//! More names than there is room for.

use super::*;
use crate::limits::SOURCES_MAX;

#[test]
fn names_of_which_only_refusals_are_known_leave_room_for_who_proves_itself() {
    let disk = MemoryDisk::new(1);
    let mut core = start(&disk);
    for number in 0..SOURCES_MAX {
        let stranger = source(&format!("stranger-{number}"));
        let received = core.receive(stranger, b"no message", None, &clock(1));
        assert_eq!(refused(&received), Some(Reason::Malformed));
    }
    assert_eq!(core.sources().len(), SOURCES_MAX / 2, "they are bounded");
    let mut press = Agent::new("press", Stream::Samples, 1);
    greet(&mut core, &press, 0, &clock(2)).expect("there is room");
    let batch = press.samples(5);
    assert_eq!(give(&mut core, &press, &batch).accepted, 1);
    assert_eq!(acked_end(&core.commit(&clock(2)).unwrap()), Some(5));
    // What is refused of who has a place is counted there, and of who has none it is refused all the same.
    let malformed = |core: &TestCore, name| view(core, name).refused.into_iter().find(|(why, _)| *why == "malformed");
    assert_eq!(refused(&give(&mut core, &press, b"no message")), Some(Reason::Malformed));
    assert_eq!(malformed(&core, "press"), Some(("malformed", 1)));
    assert_eq!(malformed(&core, "stranger-0"), Some(("malformed", 1)));
    let last = source(&format!("stranger-{}", SOURCES_MAX - 1));
    assert!(core.sources().view(&last).is_none());
}

#[test]
fn sources_are_bounded_and_those_that_are_known_go_on() {
    let disk = MemoryDisk::new(1);
    let mut press = Agent::new("press", Stream::Samples, 1);
    let mut core = greeted(&disk, &press);
    let key = press.identity.public_key();
    while core.sources().len() < SOURCES_MAX {
        let name = source(&format!("machine-{}", core.sources().len()));
        core.sources.pin(name, key).expect("there is room");
    }
    let late = greet(&mut core, &Agent::new("late", Stream::Samples, 2), 0, &clock(2)).unwrap_err();
    assert_eq!(late.reason, Reason::TooMany);
    assert_eq!(core.sources().len(), SOURCES_MAX);
    let batch = press.samples(5);
    assert_eq!(give(&mut core, &press, &batch).accepted, 1);
}
