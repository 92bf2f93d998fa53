use std::collections::BTreeSet;

use super::super::Page;
use super::*;
use crate::limits::LEASE_TIME;
use crate::log::ReadLog;
use crate::log::memory::{MemoryLog, sample};

fn name(text: &str) -> SourceId {
    SourceId::new(text).unwrap()
}

fn maker() -> Creator {
    Creator { by: ClientAddress::of([10, 0, 0, 1].into()), at: Timestamp::default() }
}

fn opened(directory: &Path, shares: u32) -> Subscriptions {
    let subscriptions = Subscriptions::open(directory, 7).unwrap();
    subscriptions.create(name("wear"), Place::default(), None, FilterText::default(), shares, maker()).unwrap();
    subscriptions
}

/// Forty sources with one batch each.
fn log() -> MemoryLog {
    let log = MemoryLog::default();
    (0..40).for_each(|source| log.append(&format!("press-{source}"), &[sample("88-C/a", source)], source));
    log
}

fn fetched(subscriptions: &Subscriptions, log: &MemoryLog, member: &str) -> (BTreeSet<u64>, FetchCursor) {
    let portion = subscriptions
        .portion(name("wear"), member, &Terms::default(), Offset::new(u64::MAX))
        .unwrap()
        .expect("it has a share");
    let mut reading = portion.reading(log.kept().end, u64::MAX);
    let mut out = Vec::new();
    while reading.page(log, &mut out).unwrap() == Page::More {}
    let offset = |line: &[u8]| {
        let event: serde_json::Value = serde_json::from_slice(line).unwrap();
        event["offset"].as_str().unwrap().parse::<u64>().unwrap()
    };
    let offsets = out.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).map(offset).collect();
    (offsets, portion.cursor(reading.next()))
}

#[test]
fn a_place_is_kept_over_restarts_and_only_a_commit_moves_it() {
    let (directory, log) = (tempfile::tempdir().unwrap(), log());
    let subscriptions = opened(directory.path(), 4);
    let (first, cursor) = fetched(&subscriptions, &log, "a");
    assert_eq!((first.len(), fetched(&subscriptions, &log, "a").0), (40, first));
    subscriptions.commit(name("wear"), cursor, &Terms::default(), log.kept().end).unwrap();
    let again = Subscriptions::open(directory.path(), 8).unwrap();
    let known = again.create(name("wear"), Place::default(), None, FilterText::default(), 4, maker());
    assert_eq!(known.unwrap(), Created::Known);
    log.append("press-1", &[sample("88-C/a", 1)], 99);
    assert_eq!(fetched(&again, &log, "a").0, BTreeSet::from([40]));
    let fenced = again.commit(name("wear"), cursor, &Terms::default(), log.kept().end);
    assert!(matches!(fenced, Err(SubscriptionError::Fenced)), "a cursor of another run");
    again.reset(name("wear"), Place { offset: Offset::new(39), ..Place::default() }, None).unwrap();
    assert_eq!(fetched(&again, &log, "a").0, BTreeSet::from([39, 40]));
    again.delete(name("wear")).unwrap();
    assert!(Subscriptions::open(directory.path(), 9).unwrap().views().is_empty());
}

#[test]
fn members_share_the_sources_and_nobody_commits_for_another() {
    let (directory, log) = (tempfile::tempdir().unwrap(), log());
    let subscriptions = opened(directory.path(), 16);
    let (all, cursor_of_all) = fetched(&subscriptions, &log, "a");
    assert!(
        subscriptions.portion(name("wear"), "b", &Terms::default(), Offset::new(u64::MAX)).unwrap().is_none(),
        "one has everything until it comes by"
    );
    let (of_a, cursor_a) = fetched(&subscriptions, &log, "a");
    let (of_b, cursor_b) = fetched(&subscriptions, &log, "b");
    assert!(of_a.is_disjoint(&of_b) && !of_a.is_empty() && !of_b.is_empty());
    assert_eq!(&of_a | &of_b, all);
    let end = log.kept().end;
    let fenced = subscriptions.commit(name("wear"), cursor_of_all, &Terms::default(), end);
    assert!(matches!(fenced, Err(SubscriptionError::Fenced)), "its share was divided since");
    subscriptions.commit(name("wear"), cursor_a, &Terms::default(), end).unwrap();
    assert!(fetched(&subscriptions, &log, "a").0.is_empty());
    assert_eq!(fetched(&subscriptions, &log, "b").0, of_b, "what b has not committed comes again");
    subscriptions.commit(name("wear"), cursor_b, &Terms::default(), end).unwrap();
    assert_eq!(subscriptions.view(name("wear")).unwrap().kept.place(), end);
    let beyond = FetchCursor { next: Offset::new(41), ..cursor_b };
    assert!(matches!(
        subscriptions.commit(name("wear"), beyond, &Terms::default(), end),
        Err(SubscriptionError::Beyond)
    ));
}

#[test]
fn a_lease_that_is_not_renewed_is_over_and_its_share_goes_to_others() {
    let (mut leases, now) = (Leases::new(4), Instant::now());
    let of_a = leases.renew("a", now).unwrap();
    assert_eq!(of_a.shares, [0, 1, 2, 3]);
    assert!(leases.renew("b", now).unwrap().shares.is_empty());
    let later = now + LEASE_TIME;
    assert!(leases.of(of_a.id, later).is_none());
    assert_eq!(leases.renew("b", later).unwrap().shares, [0, 1, 2, 3]);
    assert_ne!(leases.renew("a", later).unwrap().id, of_a.id);
}

#[test]
fn shares_are_fair_and_no_partition_is_had_twice() {
    let (mut leases, now) = (Leases::new(16), Instant::now());
    let members = ["a", "b", "c", "d", "e"];
    for _ in 0..3 {
        members.iter().for_each(|member| drop(leases.renew(member, now)));
    }
    let shares: Vec<_> = leases.members(now).into_iter().map(|member| member.shares).collect();
    assert_eq!(shares.iter().map(Vec::len).collect::<Vec<_>>(), [4, 3, 3, 3, 3]);
    assert_eq!(shares.concat().into_iter().collect::<BTreeSet<_>>().len(), 16);
}

#[test]
fn a_file_that_cannot_be_read_is_set_aside_and_the_others_go_on() {
    let directory = tempfile::tempdir().unwrap();
    opened(directory.path(), 2);
    for (file, text) in [("a.json", "{"), ("b.json", r#"{"cursors":[]}"#), ("c.json", r#"{"cursors":[1],"x":1}"#)] {
        std::fs::write(directory.path().join(file), text).unwrap();
    }
    let names: Vec<_> = Subscriptions::open(directory.path(), 1).unwrap().views().into_iter().map(|v| v.name).collect();
    assert_eq!(names, [name("wear")]);
    assert!(directory.path().join("a.json.bad").exists());
}

#[test]
fn cursors_are_read_back_and_nothing_else_is() {
    let cursor = FetchCursor { run: u64::MAX, lease: 3, next: Offset::new(1042) };
    assert_eq!(cursor.to_string().parse(), Ok(cursor));
    for wrong in ["", "1", "1.1.1", "1.1.1.1.1", "2.1.1.1", "1.+1.1.1", "1.x.1.1"] {
        assert!(wrong.parse::<FetchCursor>().is_err(), "{wrong}");
    }
}

#[test]
fn an_unread_subscription_gives_way_to_another_one_and_its_readers_learn_why() {
    let directory = tempfile::tempdir().unwrap();
    let subscriptions = Subscriptions::open(directory.path(), 7).unwrap();
    let create = |text: &str, maker: Creator| {
        let filter = FilterText::default();
        subscriptions.create(name(text), Place::default(), None, filter, 1, maker)
    };
    let other = Creator { by: ClientAddress::of([10, 0, 0, 2].into()), ..maker() };
    for number in 0..SUBSCRIPTIONS_UNMOVED_OF_ONE_MAX {
        create(&format!("s-{number}"), maker()).unwrap();
    }
    assert!(matches!(create("more", maker()), Err(SubscriptionError::TooManyUnmoved)));
    assert_eq!(create("other", other).unwrap(), Created::New { gave_way: None }, "another client has room");
    // The first one is read and the second one moved: both stay.
    assert!(subscriptions.is_unread(name("s-0")).unwrap());
    subscriptions.read(name("s-0")).unwrap();
    subscriptions.reset(name("s-1"), Place::default(), None).unwrap();
    assert_eq!(create("room", maker()).unwrap(), Created::New { gave_way: None }, "one that was moved does not count");
    let long_ago = Instant::now().checked_sub(2 * crate::limits::SUBSCRIPTION_IDLE_TIME).expect("it runs for longer");
    subscriptions.lock().known.values_mut().for_each(|named| named.since = long_ago);
    let Created::New { gave_way: Some(gone) } = create("more", maker()).unwrap() else { panic!("one gives way") };
    assert!(![name("s-0"), name("s-1"), name("other")].contains(&gone), "{gone}");
    assert!(matches!(subscriptions.view(gone), Err(SubscriptionError::GaveWay(_))));
    assert!(matches!(subscriptions.is_unread(name("nobody")), Err(SubscriptionError::Unknown(_))));
    // The use of each is on disk.
    let again = Subscriptions::open(directory.path(), 8).unwrap();
    let used = |text: &str| again.view(name(text)).unwrap().kept.made.unwrap().used;
    assert_eq!([used("s-0"), used("s-1"), used("more")], [Use::Read, Use::Moved, Use::Never]);
    assert!(matches!(again.view(gone), Err(SubscriptionError::Unknown(_))));
}
