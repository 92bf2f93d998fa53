//! Many connections, slow ones, and two with the same name.

use std::time::Duration;

use afferent_collector::endpoint::{Access, User};
use afferent_collector::limits::{SILENCE_MAX, UNNAMED_MAX};
use afferent_protocol::topic::Leaf;
use bytes::Bytes;

use crate::fake::{Plant, settings};
/// The number of the first connection.
const FIRST: u64 = 1;

use crate::raw::{BOTH, CONNACK, DISCONNECT, Raw, Version, connect, name, puback, topic, up};

#[tokio::test]
async fn a_connection_over_which_a_run_proves_itself_ends_older_ones_of_that_run_and_no_others() {
    let plant = Plant::start(settings(Access::Users(vec![User::new(name("press-88"), b"x")]))).await;
    let login = Some(("press-88", "x"));
    let mut first = Raw::join(plant.address, Version::V5, login).await;
    first.publish(&up("press-88"), 1, b"run 1").await;
    assert_eq!(puback(&first.next().await.unwrap()), (1, 0));
    let mut second = Raw::join(plant.address, Version::V4, login).await;
    // It has the name, and may not have the key: whatever is taken of it moves nobody.
    for (packet_id, message) in [(1, &b"garbage"[..]), (2, b"a batch that was recorded")] {
        second.publish(&up("press-88"), packet_id, message).await;
        assert_eq!(puback(&second.next().await.unwrap()), (packet_id, 0));
    }
    second.publish(&topic("press-88", Leaf::State), 3, b"offline").await;
    assert_eq!(puback(&second.next().await.unwrap()), (3, 0));
    // Another machine with the same key.
    second.publish(&up("press-88"), 4, b"run 2").await;
    assert_eq!(puback(&second.next().await.unwrap()), (4, 0));
    first.publish(&up("press-88"), 2, b"still there").await;
    assert_eq!(puback(&first.next().await.unwrap()), (2, 0));
    assert_eq!(plant.health.counters.taken_over.get(), 0);
    // The first one again, whose connection has died without a word.
    let mut third = Raw::join(plant.address, Version::V5, login).await;
    third.publish(&up("press-88"), 1, b"run 1").await;
    assert_eq!(puback(&third.next().await.unwrap()), (1, 0));
    assert_eq!(first.next().await, Some((DISCONNECT, vec![0x8e])));
    assert_eq!(first.next().await, None);
    assert_eq!(plant.health.counters.taken_over.get(), 1);
    drop((second, third));
    plant.hand.until("all have left", |seen| seen.closed.get("press-88").is_some_and(|closed| closed.len() == 3)).await;
    plant.stop().await;
}

#[tokio::test]
async fn a_proof_that_comes_late_over_an_older_connection_ends_nobody() {
    let plant = Plant::open().await;
    let mut connections = Vec::new();
    for _ in 0..3 {
        connections.push(Raw::join(plant.address, Version::V5, None).await);
    }
    // The third one goes on, the second one ends for it; what was said over the first one comes last.
    for at in [1, 2, 0] {
        connections[at].publish(&up("press-88"), 1, b"run 1").await;
        assert_eq!(puback(&connections[at].next().await.unwrap()), (1, 0));
    }
    assert_eq!(connections[1].next().await, Some((DISCONNECT, vec![0x8e])));
    for at in [2, 0] {
        connections[at].publish(&up("press-88"), 2, b"still there").await;
        assert_eq!(puback(&connections[at].next().await.unwrap()), (2, 0));
    }
    assert_eq!(plant.health.counters.taken_over.get(), 1);
    // And one that has ended when its proof is judged.
    plant.hand.shut();
    let mut gone = Raw::join(plant.address, Version::V5, None).await;
    gone.publish(&up("press-88"), 1, b"run 1").await;
    drop(gone);
    plant.hand.until("a commit waits", |seen| seen.commits_begun > 5).await;
    while plant.health.counters.connections.get() > 2 {
        tokio::task::yield_now().await;
    }
    plant.hand.open();
    for at in [2, 0] {
        connections[at].publish(&up("press-88"), 3, b"still there").await;
        assert_eq!(puback(&connections[at].next().await.unwrap()), (3, 0));
    }
    plant.hand.until("two have left", |seen| seen.closed.get("press-88").is_some_and(|gone| gone.len() == 2)).await;
    plant.stop().await;
}

#[tokio::test]
async fn without_authentication_the_first_topic_ties_the_connection() {
    let plant = Plant::open().await;
    let mut raw = Raw::join(plant.address, Version::V5, None).await;
    let (_, granted) = raw.subscribe(&topic("press-88", Leaf::Down)).await;
    assert_eq!(granted.last(), Some(&0));
    raw.publish(&up("press-89"), 1, b"x").await;
    assert_eq!(puback(&raw.next().await.unwrap()), (1, 0x87));
    raw.publish(&up("press-88"), 2, b"x").await;
    // The answer to the message goes to the subscription; only the PUBACK is looked for.
    while let Some((kind, body)) = raw.next().await {
        if kind == crate::raw::PUBACK {
            assert_eq!(body[..2], [0, 2]);
            break;
        }
    }
    plant.stop().await;
}

#[tokio::test]
async fn who_does_not_finish_the_handshake_is_disconnected_and_holds_up_nobody() {
    let mut short = settings(Access::Open);
    short.handshake_max = Duration::from_millis(300);
    let plant = Plant::start(short).await;
    let whole = connect(Version::V5, "slow", 60, None);
    let mut slow = Vec::new();
    for sent in [0, 1, 2, whole.len() - 1] {
        let mut raw = Raw::open(plant.address, Version::V5).await;
        raw.send(&whole[..sent]).await;
        slow.push(raw);
    }
    // The control: whoever is quick is let in meanwhile, and may be idle afterwards.
    let mut quick = Raw::join(plant.address, Version::V5, None).await;
    for raw in &mut slow {
        assert_eq!(raw.next().await, None);
    }
    assert_eq!(plant.health.counters.handshakes_failed.get(), 4);
    quick.ping().await;
    assert_eq!(quick.next().await.unwrap().0, crate::raw::PINGRESP);
    plant.stop().await;
}

#[tokio::test]
async fn who_takes_no_name_leaves_soon_and_who_says_nothing_leaves_in_the_end() {
    let plant = Plant::open().await;
    let mut joined = Vec::new();
    for version in [Version::V5, Version::V5, Version::V4] {
        let mut raw = Raw::open(plant.address, version).await;
        // For ever, if nobody minds.
        raw.send(&connect(version, "", 0, None)).await;
        assert_eq!(raw.next().await.unwrap().0, CONNACK);
        joined.push(raw);
    }
    let [mut nameless, mut busy, mut named] = <[Raw; 3]>::try_from(joined).ok().unwrap();
    for (raw, agent) in [(&mut busy, "press-88"), (&mut named, "press-89")] {
        raw.publish(&up(agent), 1, b"here").await;
        assert_eq!(puback(&raw.next().await.unwrap()), (1, 0));
    }
    tokio::time::pause();
    let begun = tokio::time::Instant::now();
    nameless.ping().await;
    assert_eq!(nameless.next().await.unwrap().0, crate::raw::PINGRESP, "which is no name");
    assert_eq!(nameless.next_within(2 * UNNAMED_MAX).await, Some((DISCONNECT, vec![0x8d])));
    assert!(begun.elapsed() < SILENCE_MAX);
    // The control: with a name it may be silent for longer, and for ever as long as it says something.
    busy.ping().await;
    assert_eq!(busy.next().await.unwrap().0, crate::raw::PINGRESP);
    assert_eq!(named.next_within(2 * SILENCE_MAX).await, None);
    assert!(begun.elapsed() >= SILENCE_MAX - UNNAMED_MAX, "{:?}", begun.elapsed());
    tokio::time::resume();
    plant.stop().await;
}

#[tokio::test]
async fn one_connection_too_many_is_told_so() {
    let mut one = settings(Access::Open);
    one.connections_max = 1;
    let plant = Plant::start(one).await;
    let only = Raw::join(plant.address, Version::V5, None).await;
    for (version, reason) in [(Version::V4, 3), (Version::V5, 0x97)] {
        let mut raw = Raw::open(plant.address, version).await;
        raw.send(&connect(version, "another", 60, None)).await;
        let (kind, body) = raw.next().await.unwrap();
        assert_eq!((kind, body[1]), (CONNACK, reason));
        assert_eq!(raw.next().await, None);
    }
    assert_eq!(plant.health.counters.connections_refused.get(), 2);
    // Its place is free again once it has left; until then others are told to come later.
    drop(only);
    let mut let_in = false;
    while !let_in {
        let mut raw = Raw::open(plant.address, Version::V5).await;
        raw.send(&connect(Version::V5, "another", 60, None)).await;
        let_in = raw.next().await.unwrap().1[1] == 0;
    }
    plant.stop().await;
}

#[tokio::test]
async fn a_silent_client_is_gone_after_one_and_a_half_keep_alives() {
    let plant = Plant::open().await;
    for version in BOTH {
        let mut raw = Raw::open(plant.address, version).await;
        raw.send(&connect(version, "silent", 1, None)).await;
        assert_eq!(raw.next().await.unwrap().0, CONNACK);
        match version {
            Version::V4 => assert_eq!(raw.next().await, None),
            Version::V5 => assert_eq!(raw.next().await, Some((DISCONNECT, vec![0x8d]))),
        }
    }
    plant.stop().await;
}

#[tokio::test]
async fn who_does_not_read_what_it_is_sent_is_disconnected() {
    let plant = Plant::open().await;
    let mut raw = Raw::join(plant.address, Version::V5, None).await;
    assert_eq!(raw.subscribe(&topic("press-88", Leaf::Down)).await.1.last(), Some(&0));
    let message = Bytes::from(vec![7; 1400]);
    // It goes on until socket buffers, outgoing bytes and queue are full.
    raw.publish(&up("press-88"), 1, b"run 1").await;
    let seen = plant.hand.until("it is known", |seen| seen.committed == 1).await;
    assert!(seen.closed.is_empty());
    let number = FIRST;
    while plant.registry.send(&name("press-88"), number, message.clone()) {
        tokio::task::yield_now().await;
    }
    plant.hand.until("it has left", |seen| seen.closed.contains_key("press-88")).await;
    assert_eq!(plant.health.counters.connections.get(), 0);
    assert_eq!(plant.health.counters.slow_readers.get(), 1);
    plant.stop().await;
}

#[tokio::test]
async fn idle_connections_hold_up_nobody() {
    let plant = Plant::open().await;
    let mut idle = Vec::new();
    for at in 0..1000 {
        if at % 2 == 0 {
            idle.push(Raw::join(plant.address, Version::V5, None).await);
        } else {
            idle.push(Raw::open(plant.address, Version::V5).await);
        }
    }
    let mut busy = Raw::join(plant.address, Version::V5, None).await;
    for packet_id in 1..=200 {
        busy.publish(&up("press-88"), packet_id, b"x").await;
        assert_eq!(puback(&busy.next().await.unwrap()), (packet_id, 0));
    }
    drop(idle);
    assert_eq!(plant.stop().await.received.len(), 200);
}
