//! What is refused, how the client hears of it, and that it is counted.

use afferent_collector::endpoint::{Access, Endpoint, Registry, User};
use afferent_collector::intake::{Health, Intake};
use afferent_host::stop;
use afferent_protocol::topic::Leaf;
use std::sync::Arc;

use crate::fake::{Plant, settings};
use crate::raw::{
    BOTH, CONNACK, DISCONNECT, PUBACK, Raw, SUBACK, Version, connect, name, packet, puback, publish, topic, up,
};

const LOGIN: Option<(&str, &str)> = Some(("press-88", "secret"));

async fn plant() -> Plant {
    let users = vec![User::new(name("press-88"), b"secret"), User::new(name("press-89"), b"other")];
    Plant::start(settings(Access::Users(users))).await
}

#[tokio::test]
async fn nobody_publishes_as_somebody_else() {
    let plant = plant().await;
    let mut raw = Raw::join(plant.address, Version::V5, LOGIN).await;
    for (packet_id, leaf) in [(1, Leaf::Up), (2, Leaf::State), (3, Leaf::Down)] {
        raw.publish(&topic("press-89", leaf), packet_id, b"online").await;
        assert_eq!(puback(&raw.next().await.unwrap()), (packet_id, 0x87));
    }
    raw.publish(&topic("press-88", Leaf::Down), 4, b"x").await;
    assert_eq!(puback(&raw.next().await.unwrap()), (4, 0x87), "its own down is not for it to write");
    // The control: the connection stands, and as itself it may.
    raw.publish(&up("press-88"), 5, b"mine").await;
    assert_eq!(puback(&raw.next().await.unwrap()), (5, 0));
    assert_eq!(plant.health.counters.publishes_refused.get(), 4);

    // Version 3.1.1 has no word for it, and neither has quality of service 0.
    for (version, packet_id) in [(Version::V4, Some(1)), (Version::V4, None), (Version::V5, None)] {
        let mut raw = Raw::join(plant.address, version, LOGIN).await;
        raw.send(&publish(version, up("press-89").as_bytes(), packet_id, b"forged")).await;
        match version {
            Version::V4 => assert_eq!(raw.next().await, None),
            Version::V5 => assert_eq!(raw.next().await, Some((DISCONNECT, vec![0x87]))),
        }
    }
    let seen = plant.stop().await;
    assert_eq!(seen.received, [("press-88".to_owned(), b"mine".to_vec())]);
    assert!(!seen.closed.contains_key("press-89"));
}

#[tokio::test]
async fn topics_that_do_not_exist_are_refused_whatever_they_are_made_of() {
    let plant = plant().await;
    let long = "x".repeat(60_000);
    let mut topics: Vec<Vec<u8>> =
        ["a", "/", "+", "#", "ä/b", "afferent/v1/00/press-88/up", "afferent/v1/+/press-88/up"]
            .map(|topic| topic.as_bytes().to_vec())
            .to_vec();
    topics.extend([long.into_bytes(), b"a\0b".to_vec(), vec![0xff, 0xfe], Vec::new()]);
    for topic in topics {
        for version in BOTH {
            let mut raw = Raw::join(plant.address, version, LOGIN).await;
            raw.send(&publish(version, &topic, Some(1), b"x")).await;
            match raw.next().await {
                None => {}
                Some((PUBACK, body)) => {
                    assert_eq!((version, body.as_slice()), (Version::V5, &[0, 1, 0x90, 0][..4.min(body.len())]))
                }
                Some((kind, body)) => assert_eq!((version, kind), (Version::V5, DISCONNECT), "{body:?}"),
            }
        }
    }
    assert_eq!(plant.stop().await.received, []);
}

#[tokio::test]
async fn readers_read_their_own_answers_only() {
    let plant = plant().await;
    for (version, refused) in [(Version::V4, 0x80), (Version::V5, 0x87)] {
        let mut raw = Raw::join(plant.address, version, LOGIN).await;
        for filter in [
            topic("press-89", Leaf::Down),
            topic("press-88", Leaf::Up),
            "#".to_owned(),
            "afferent/v1/+/+/down".to_owned(),
            "afferent/v1/19/+/down".to_owned(),
        ] {
            let (kind, body) = raw.subscribe(&filter).await;
            assert_eq!((kind, *body.last().unwrap()), (SUBACK, refused), "{filter}");
        }
        let (kind, body) = raw.subscribe(&topic("press-88", Leaf::Down)).await;
        assert_eq!((kind, *body.last().unwrap()), (SUBACK, 0));
    }
    assert_eq!(plant.health.counters.subscriptions_refused.get(), 10);
    plant.stop().await;
}

#[tokio::test]
async fn a_wrong_login_is_refused_with_its_reason() {
    let plant = plant().await;
    for login in [None, Some(("press-88", "other")), Some(("press-90", "secret")), Some(("", ""))] {
        for (version, reason) in [(Version::V4, 4), (Version::V5, 0x86)] {
            let mut raw = Raw::open(plant.address, version).await;
            raw.send(&connect(version, "press-88", 60, login)).await;
            let (kind, body) = raw.next().await.unwrap();
            assert_eq!((kind, body[1]), (CONNACK, reason), "{login:?}");
            assert_eq!(raw.next().await, None);
        }
    }
    assert_eq!(plant.health.counters.logins_refused.get(), 8);
    plant.stop().await;
}

#[tokio::test]
async fn a_packet_that_says_it_is_too_large_ends_the_connection_before_it_comes() {
    let plant = plant().await;
    let mut raw = Raw::join(plant.address, Version::V5, LOGIN).await;
    raw.send(&[0x32, 0xff, 0xff, 0xff, 0x7f]).await;
    assert_eq!(raw.next().await, Some((DISCONNECT, vec![0x95])));
    assert_eq!(raw.next().await, None);
    let mut raw = Raw::join(plant.address, Version::V4, LOGIN).await;
    raw.send(&[0x32, 0xff, 0xff, 0xff, 0x7f]).await;
    assert_eq!(raw.next().await, None);
    // A CONNECT may be much smaller still: nobody is known yet.
    let mut raw = Raw::open(plant.address, Version::V5).await;
    raw.send(&[0x10, 0xff, 0xff, 0x7f]).await;
    assert_eq!(raw.next().await, None);
    assert_eq!(plant.health.counters.protocol_errors.get(), 2);
    plant.stop().await;
}

#[tokio::test]
async fn what_admission_refuses_is_said_to_a_client_that_can_hear_it() {
    let plant = plant().await;
    let mut raw = Raw::join(plant.address, Version::V5, LOGIN).await;
    raw.publish(&up("press-88"), 1, b"garbage").await;
    assert_eq!(puback(&raw.next().await.unwrap()), (1, 0x99));
    raw.publish(&topic("press-88", Leaf::State), 2, b"perhaps").await;
    assert_eq!(puback(&raw.next().await.unwrap()), (2, 0), "not read: its connection tells whether an agent is there");
    assert_eq!(plant.health.counters.messages_refused.get(), 1);
    plant.stop().await;
}

#[tokio::test]
async fn a_last_will_speaks_for_nobody_else() {
    let plant = plant().await;
    for (will, reason) in
        [(topic("press-89", Leaf::State), 0x87), (up("press-88"), 0x87), (topic("press-88", Leaf::State), 0)]
    {
        let mut body = b"\0\x04MQTT\x05\xe6\0\x3c\0\0\x03abc\0".to_vec();
        for text in [will.as_str(), "offline", "press-88", "secret"] {
            body.extend((text.len() as u16).to_be_bytes());
            body.extend(text.as_bytes());
        }
        let mut raw = Raw::open(plant.address, Version::V5).await;
        raw.send(&packet(0x10, &body)).await;
        let (kind, body) = raw.next().await.unwrap();
        assert_eq!((kind, body[1]), (CONNACK, reason), "{will}");
    }
    plant.stop().await;
}

#[tokio::test]
async fn quality_of_service_2_and_foreign_protocols_are_refused() {
    let plant = plant().await;
    for (version, last) in [(Version::V4, None), (Version::V5, Some((DISCONNECT, vec![0x9b])))] {
        let mut raw = Raw::join(plant.address, version, LOGIN).await;
        let mut twice = publish(version, up("press-88").as_bytes(), Some(1), b"x");
        twice[0] = 0x34;
        raw.send(&twice).await;
        assert_eq!(raw.next().await, last);
    }
    for bytes in
        [&b"GET / HTTP/1.1\r\n\r\n"[..], b"\x16\x03\x01\x02\x00", b"\x30\x00", &[0x10, 0xff, 0xff, 0xff, 0xff, 1]]
    {
        let mut raw = Raw::open(plant.address, Version::V4).await;
        raw.send(bytes).await;
        while raw.next().await.is_some() {}
    }
    assert_eq!(plant.health.counters.handshakes_failed.get(), 4);
    plant.stop().await;
}

#[tokio::test]
async fn an_address_that_others_can_reach_needs_authentication() {
    let mut open = settings(Access::Open);
    open.listen = "0.0.0.0:0".parse().unwrap();
    let (intake, _incoming) = Intake::new();
    let (_switch, stopping) = stop::channel();
    let refused =
        Endpoint::bind(open, intake, Arc::new(Registry::default()), Arc::new(Health::default()), stopping).await;
    let message = refused.unwrap_err().to_string();
    assert!(message.contains("0.0.0.0") && message.contains("[[mqtt.user]]"), "{message}");
}
