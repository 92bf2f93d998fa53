//! The collector's endpoint: topics, batches and packets that no agent makes.

use afferent_protocol::topic::TOPIC_BYTES_MAX;
use afferent_tests::process::{Mqtt, Reason, Rig, Sealer, up, wait_for, with_right_checksum};

/// The agent's events go on arriving, and the collector is well.
fn goes_on(rig: &Rig, code: &str) {
    rig.break_down(code);
    rig.wait_logged(code);
    assert_eq!(rig.collector_health().map(|(healthy, _)| healthy), Some(true));
}

#[test]
fn topics_that_are_nobodys_are_refused_and_nothing_of_them_is_taken() {
    let rig = Rig::new("bad-topics");
    let _collector = rig.start_collector();
    let _agent = rig.start_agent();
    let hello = Sealer::new("press-89", 89).hello();
    let long = "a".repeat(TOPIC_BYTES_MAX + 1);
    let own = up("press-89");
    let shardless = own.replacen(|c: char| c.is_ascii_digit(), "x", 2);
    let topics: [&[u8]; 16] = [
        b"#",
        b"+",
        b"afferent/v1/+/press-89/up",
        b"afferent/v1/#",
        b"afferent/v1/00/+/up",
        b"$SYS/broker",
        b"$share/a/afferent/v1/00/a/up",
        b"a\0b",
        b"\0",
        "ä/b".as_bytes(),
        "\u{1f600}".as_bytes(),
        b"\xff\xfe",
        b"\xed\xa0\x80",
        b"",
        long.as_bytes(),
        shardless.as_bytes(),
    ];
    for topic in topics {
        let mut mqtt = Mqtt::connect(rig.endpoint).expect("the endpoint takes connections");
        // What the standard forbids ends the connection; what it allows is answered.
        if let Ok(reason) = mqtt.publish(topic, &hello) {
            assert_eq!(reason, Reason::TOPIC_NAME_INVALID, "{:?}", String::from_utf8_lossy(topic));
        } else {
            assert!(mqtt.is_closed());
        }
    }
    assert_eq!(rig.collector_figure("afferent_messages_refused_total"), Some(0), "one of them reached the writer");
    // The control: the same message on a topic that exists.
    let mut mqtt = Mqtt::connect(rig.endpoint).expect("the endpoint takes connections");
    assert_eq!(mqtt.publish(own, &hello).expect("it is answered"), Reason::SUCCESS);
    goes_on(&rig, "after");
}

#[test]
fn batches_that_lie_about_count_or_length_are_refused_and_counted() {
    let rig = Rig::new("lying-batches");
    let _collector = rig.start_collector();
    let _agent = rig.start_agent();
    let mut mqtt = Mqtt::connect(rig.endpoint).expect("the endpoint takes connections");
    let mut press = Sealer::new("press-89", 89);
    press.prove(&mut mqtt);
    let mut offer = |payload: &[u8]| mqtt.publish(up("press-89"), payload).expect("it is answered");
    let genuine = press.seal("E1");
    // Offsets of the header's fields: see the table of bytes in the protocol's README.
    let with = |at: usize, value: u32| {
        let mut batch = genuine.clone();
        batch[at..at + 4].copy_from_slice(&value.to_le_bytes());
        with_right_checksum(batch)
    };
    let (body_len, decoded_len, count) = (76, 80, 84);
    let mut lies = Vec::new();
    for value in [0, 1, 2, 0x7fff_ffff, u32::MAX] {
        lies.extend([body_len, decoded_len].map(|at| (at, value, with(at, value))));
        if value != 1 {
            lies.push((count, value, with(count, value)));
        }
    }
    let mut refused: u64 = 0;
    for (at, value, lie) in &lies {
        assert_eq!(offer(lie), Reason::PAYLOAD_FORMAT_INVALID, "the field at {at} says {value}");
        refused += 1;
    }
    for len in [1, 8, 255, genuine.len() - 1] {
        assert_eq!(offer(&genuine[..len]), Reason::PAYLOAD_FORMAT_INVALID, "{len} bytes of it");
        refused += 1;
    }
    // Count and length that lie under a good signature: the content is looked at.
    for field in [decoded_len, count] {
        // It has the lineage that `genuine` has: the next one to be taken.
        let lie = Sealer::new("press-89", 89).seal_with("E1", |header| match field == count {
            true => header.count = 2,
            false => header.decoded_len += 1,
        });
        assert_eq!(offer(&lie), Reason::PAYLOAD_FORMAT_INVALID, "signed, the field at {field} lies");
        refused += 1;
    }
    // A message with a good batch in front of a bad one keeps the good one.
    let mut second = press.clone();
    let both = [genuine.clone(), second.seal("E2")[..260].to_vec()].concat();
    assert_eq!(offer(&both), Reason::PAYLOAD_FORMAT_INVALID);
    refused += 1;
    let counted =
        || ["malformed", "signature", "oversized", "newer"].map(|why| rig.refused("press-89", why)).iter().sum::<u64>();
    wait_for("all of them are counted", || (refused == counted()).then_some(()));
    assert_eq!(offer(&press.seal("E2")), Reason::SUCCESS, "the control: what does not lie is taken");
    goes_on(&rig, "after");
    let events = rig.events();
    let codes: Vec<_> = events.iter().filter_map(|event| event["data"]["code"].as_str()).collect();
    assert_eq!(codes, ["E1", "E2", "after"]);
}

#[test]
fn packets_that_are_too_large_or_none_of_mqtt_end_their_connection_alone() {
    let rig = Rig::new("bad-packets");
    let collector = rig.start_collector();
    let _agent = rig.start_agent();
    goes_on(&rig, "before");
    let memory_before = afferent_tests::process::peak_rss_kib(collector.pid());
    // A PUBLISH of 200 MiB, as far as its own length.
    let announced = [0x32, 0x80, 0x80, 0x80, 0x64];
    let firsts: [&[u8]; 5] =
        [b"GET / HTTP/1.1\r\n\r\n", &[0x16, 3, 1, 2, 0], &[0; 64], &[0x10, 0xff, 0xff, 0xff, 0x7f], &[0xff; 64]];
    for first in firsts {
        let mut stranger = Mqtt::open(rig.endpoint).expect("the endpoint takes connections");
        stranger.send(first).expect("the socket takes it");
        assert!(stranger.is_closed(), "{first:x?}");
    }
    // Announced, and never sent: nothing may be reserved for it, by any number of connections.
    let mut announcing: Vec<Mqtt> = (0..50)
        .map(|_| {
            let mut mqtt = Mqtt::connect(rig.endpoint).expect("the endpoint takes connections");
            mqtt.send(&announced).expect("the socket takes it");
            mqtt
        })
        .collect();
    assert!(announcing.iter_mut().all(Mqtt::is_closed), "a packet over the limit is waited for");
    for bad in
        [&[0x32, 0x80, 0x80, 0x80, 0x80, 0x01][..], &[0x00, 0x00], &[0xf0, 0x00], &[0x82, 0x02, 0, 1], &[0x36, 0]]
    {
        let mut mqtt = Mqtt::connect(rig.endpoint).expect("the endpoint takes connections");
        mqtt.send(bad).expect("the socket takes it");
        assert!(mqtt.is_closed(), "{bad:x?}");
    }
    goes_on(&rig, "after");
    let memory = afferent_tests::process::peak_rss_kib(collector.pid()) - memory_before;
    assert!(memory < 100 << 10, "{memory} KiB more were taken for 10 GB that were only announced");
    // The control: a client that keeps to the standard stays connected.
    let mut mqtt = Mqtt::connect(rig.endpoint).expect("the endpoint takes connections");
    mqtt.send(&[0xc0, 0]).expect("the socket takes it");
    assert_eq!(mqtt.next_packet().expect("a PINGRESP").0, 0xd0);
}
