//! Messages, their acks, and what holds them up.

use std::time::Duration;

use afferent_collector::endpoint::{Access, User};
use afferent_collector::intake::Storage;
use afferent_collector::limits::{COMMIT_BYTES_MAX, INTAKE_BYTES_MAX};
use afferent_protocol::session::Control;
use afferent_protocol::topic::Leaf;
use rumqttc::{mqttbytes, v5};
use tokio::io::AsyncWriteExt;

use crate::fake::{Plant, answer, settings};
use crate::raw::{BOTH, PINGRESP, PUBACK, PUBLISH, Raw, SUBACK, Version, name, puback, publish, topic, up};

#[tokio::test]
async fn a_puback_waits_for_the_commit_and_keeps_the_order() {
    for version in BOTH {
        let plant = Plant::open().await;
        let mut raw = Raw::join(plant.address, version, None).await;
        // The control: with commits going on the answer comes by itself.
        raw.publish(&up("press-88"), 1, b"first").await;
        assert_eq!(puback(&raw.next().await.unwrap()), (1, 0));

        plant.hand.shut();
        raw.publish(&up("press-88"), 2, b"second").await;
        raw.publish(&up("press-88"), 3, b"third").await;
        let begun = plant.hand.seen().commits_begun;
        plant.hand.until("a commit that waits", |seen| seen.commits_begun > begun || seen.commits_begun > 2).await;
        // The server reads, and can write; it has no reason to confirm anything.
        raw.ping().await;
        assert_eq!(raw.next().await.unwrap().0, PINGRESP, "a PUBACK overtook the commit");
        assert_eq!(plant.hand.seen().committed, 1);

        plant.hand.open();
        assert_eq!(puback(&raw.next().await.unwrap()), (2, 0));
        assert_eq!(puback(&raw.next().await.unwrap()), (3, 0));
        let seen = plant.stop().await;
        let payloads: Vec<&[u8]> = seen.received.iter().map(|(_, payload)| &payload[..]).collect();
        assert_eq!(payloads, [&b"first"[..], b"second", b"third"]);
    }
}

#[tokio::test]
async fn what_a_failed_commit_held_is_confirmed_only_after_one_that_succeeded() {
    let plant = Plant::open().await;
    let mut raw = Raw::join(plant.address, Version::V5, None).await;
    raw.publish(&up("press-88"), 1, b"first").await;
    assert_eq!(puback(&raw.next().await.unwrap()), (1, 0));

    plant.hand.fail(2);
    raw.publish(&up("press-88"), 2, b"second").await;
    plant.hand.until("a commit that failed", |seen| seen.commits_failed >= 1).await;
    assert_eq!(puback(&raw.next().await.unwrap()), (2, 0));
    let seen = plant.hand.until("it was committed", |seen| seen.committed == 2).await;
    assert_eq!(seen.commits_failed, 2, "it was confirmed although commits failed");
    assert_eq!(plant.health.counters.commits_failed.get(), 2);
    assert_eq!(plant.health.storage(), Storage::Working);
    assert_eq!(plant.health.counters.messages.get(), 2, "what is tried again is counted once");
    plant.stop().await;
}

#[tokio::test]
async fn a_client_of_version_5_publishes_and_hears_the_answer() {
    let plant = Plant::open().await;
    let mut options = v5::MqttOptions::new("press-88", "127.0.0.1", plant.address.port());
    options.set_keep_alive(Duration::from_secs(30));
    let will = v5::mqttbytes::v5::LastWill::new(
        topic("press-88", Leaf::State),
        "offline",
        v5::mqttbytes::QoS::AtLeastOnce,
        true,
        None,
    );
    options.set_last_will(will);
    let (client, mut events) = v5::AsyncClient::new(options, 10);
    client.subscribe(topic("press-88", Leaf::Down), v5::mqttbytes::QoS::AtLeastOnce).await.unwrap();
    client.publish(topic("press-88", Leaf::State), v5::mqttbytes::QoS::AtLeastOnce, true, "online").await.unwrap();
    client.publish(up("press-88"), v5::mqttbytes::QoS::AtLeastOnce, false, "hello").await.unwrap();
    let (mut pubacks, mut answered) = (0, false);
    while pubacks < 2 || !answered {
        let event = tokio::time::timeout(Duration::from_secs(60), events.poll()).await.unwrap().unwrap();
        match event {
            v5::Event::Incoming(v5::mqttbytes::v5::Packet::PubAck(ack)) => {
                assert_eq!(ack.reason, v5::mqttbytes::v5::PubAckReason::Success);
                pubacks += 1;
            }
            v5::Event::Incoming(v5::mqttbytes::v5::Packet::SubAck(ack)) => {
                let granted = v5::mqttbytes::v5::SubscribeReasonCode::Success(v5::mqttbytes::QoS::AtMostOnce);
                assert_eq!(ack.return_codes, [granted]);
            }
            v5::Event::Incoming(v5::mqttbytes::v5::Packet::Publish(publish)) => {
                assert_eq!(publish.topic, topic("press-88", Leaf::Down).as_bytes());
                assert_eq!(Control::decode(&publish.payload), Ok(answer()));
                answered = true;
            }
            _ => {}
        }
    }
    drop((client, events));
    let left = |seen: &crate::fake::Seen| seen.closed.contains_key("press-88");
    plant.hand.until("the agent has left", left).await;
    plant.stop().await;
}

#[tokio::test]
async fn a_client_of_version_3_1_1_publishes_and_hears_the_answer() {
    let plant = Plant::open().await;
    let mut options = rumqttc::MqttOptions::new("press-88", "127.0.0.1", plant.address.port());
    options.set_keep_alive(Duration::from_secs(30));
    let (client, mut events) = rumqttc::AsyncClient::new(options, 10);
    client.subscribe(topic("press-88", Leaf::Down), mqttbytes::QoS::AtLeastOnce).await.unwrap();
    client.publish(up("press-88"), mqttbytes::QoS::AtLeastOnce, false, "hello").await.unwrap();
    client.publish(up("press-88"), mqttbytes::QoS::AtMostOnce, false, "unconfirmed").await.unwrap();
    let (mut confirmed, mut answers) = (false, 0);
    while !confirmed || answers < 2 {
        let event = tokio::time::timeout(Duration::from_secs(60), events.poll()).await.unwrap().unwrap();
        match event {
            rumqttc::Event::Incoming(rumqttc::Packet::PubAck(_)) => confirmed = true,
            rumqttc::Event::Incoming(rumqttc::Packet::Publish(publish)) => {
                assert_eq!(Control::decode(&publish.payload), Ok(answer()));
                answers += 1;
            }
            _ => {}
        }
    }
    drop((client, events));
    assert_eq!(plant.stop().await.received.len(), 2);
}

#[tokio::test]
async fn answers_go_to_the_agent_that_asked_and_only_if_it_subscribed() {
    let users = vec![User::new(name("press-88"), b"a"), User::new(name("press-89"), b"b")];
    let plant = Plant::start(settings(Access::Users(users))).await;
    let mut asks = Raw::join(plant.address, Version::V5, Some(("press-88", "a"))).await;
    let mut hears = Raw::join(plant.address, Version::V5, Some(("press-89", "b"))).await;
    assert_eq!(hears.subscribe(&topic("press-89", Leaf::Down)).await.0, SUBACK);
    asks.publish(&up("press-88"), 1, b"x").await;
    assert_eq!(asks.next().await.unwrap().0, PUBACK);
    // Whatever was sent to the other one would come before what it asks for now.
    hears.ping().await;
    assert_eq!(hears.next().await.unwrap().0, PINGRESP);
    hears.publish(&up("press-89"), 1, b"y").await;
    let mut kinds = [hears.next().await.unwrap().0, hears.next().await.unwrap().0];
    kinds.sort_unstable();
    assert_eq!(kinds, [PUBLISH, PUBACK]);
    assert_eq!(plant.health.counters.answers_dropped.get(), 1, "the one without a subscription");
    plant.stop().await;
}

#[tokio::test]
async fn a_stalled_commit_stops_the_sockets_and_loses_nothing() {
    const MESSAGE: usize = 1 << 20;
    const COUNT: usize = 120;
    const _: () = assert!(MESSAGE * COUNT > INTAKE_BYTES_MAX + COMMIT_BYTES_MAX + (32 << 20));
    let plant = Plant::open().await;
    let mut raw = Raw::join(plant.address, Version::V4, None).await;
    plant.hand.shut();
    let message = publish(Version::V4, up("press-88").as_bytes(), None, &vec![7; MESSAGE]);
    let writing = tokio::spawn(async move {
        for _ in 0..COUNT {
            raw.stream.write_all(&message).await.unwrap();
        }
        raw
    });
    // No room for one more message: the connection waits for it too, and reads no further.
    let intake = plant.intake.clone().unwrap();
    loop {
        let room = std::pin::pin!(intake.room(MESSAGE));
        let full = tokio::select! { biased; _ = room => false, () = tokio::task::yield_now() => true };
        if full {
            break;
        }
        tokio::task::yield_now().await;
    }
    drop(intake);
    assert!(!writing.is_finished(), "everything was taken although nothing becomes durable");
    assert_eq!(plant.hand.seen().received.len(), 0);
    plant.hand.open();
    let raw = writing.await.unwrap();
    plant.hand.until("everything came", |seen| seen.received.len() == COUNT).await;
    drop(raw);
    plant.stop().await;
}
