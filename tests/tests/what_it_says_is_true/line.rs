//! Nothing is stranded: not by a name, a key, a slow line or a broker's limit.

use std::time::{Duration, Instant};

use afferent_tests::process::{Mosquitto, Proxy, Rig, wait_for};
use serde_json::Value;

/// Gives the agent so many samples, and waits until they are accepted.
fn samples(rig: &Rig, count: u64) {
    let mut producer = rig.producer();
    let line = |at| format!("{{\"subject\":\"88-C/force\",\"value\":{at}.25,\"unit\":\"N\"}}\n");
    producer.send((0..count).map(line).collect::<String>().as_bytes()).expect("the agent reads");
    producer.wait_accepted(count).expect("the agent answers");
}

fn is_sample(event: &Value) -> bool {
    event["type"] == "afferent.sample.v1" && event["subject"] == "88-C/force"
}

fn samples_arrived(rig: &Rig) -> usize {
    rig.events().iter().filter(|event| is_sample(event)).count()
}

fn changes(rig: &Rig, change: &str) -> usize {
    rig.events().iter().filter(|event| event["data"]["change"] == change).count()
}

#[test]
fn samples_arrive_over_a_line_of_1000_bytes_a_second_and_a_breakdown_overtakes_them() {
    let mut rig = Rig::new("slow-line");
    let proxy = Proxy::slow(rig.endpoint, 1000);
    rig.mqtt = proxy.address;
    let _collector = rig.start_collector();
    let _agent = rig.start_agent();
    rig.wait_healthy();
    // The line needs about half a minute for them: longer than any session that sends them as a whole waits.
    let count = 3000;
    samples(&rig, count);
    let began = Instant::now();
    std::thread::sleep(Duration::from_secs(5));
    rig.break_down("E-88");
    rig.wait_logged("E-88");
    assert_eq!(samples_arrived(&rig), 0, "the breakdown did not wait for them");
    wait_for("all samples are in the log", || (samples_arrived(&rig) as u64 >= count).then_some(()));
    println!("{count} samples took {} s", began.elapsed().as_secs());
    assert_eq!(samples_arrived(&rig) as u64, count, "each once");
    assert_eq!(changes(&rig, "link_down"), 0, "one connection was enough");
}

#[test]
fn a_batch_that_no_connection_lives_long_enough_for_arrives_nevertheless() {
    let mut rig = Rig::new("cut-line");
    let proxy = Proxy::slow(rig.endpoint, 2000);
    rig.mqtt = proxy.address;
    let _collector = rig.start_collector();
    let _agent = rig.start_agent();
    rig.wait_healthy();
    // One batch, for which the line needs longer than it is ever left alone: the control is the unit test of what is sent,
    // in which whoever begins again never arrives.
    let count = 3000;
    samples(&rig, count);
    let mut cuts = 0;
    wait_for("all samples are in the log", || {
        let began = Instant::now();
        while began.elapsed() < Duration::from_secs(8) {
            if samples_arrived(&rig) as u64 >= count {
                return Some(());
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        proxy.cut();
        cuts += 1;
        None
    });
    assert!(cuts >= 2, "the line was cut only {cuts} times: one connection was enough");
    assert_eq!(samples_arrived(&rig) as u64, count, "each once");
}

#[test]
fn batches_larger_than_a_brokers_packet_limit_pass_through_it() {
    let mut rig = Rig::new("packet-limit");
    let limit = 16_384;
    let mosquitto = Mosquitto::new(&rig.folder, &format!("max_packet_size {limit}"));
    let broker = mosquitto.start();
    rig.mqtt = mosquitto.address;
    rig.collector_extra = format!("broker = \"mqtt://{}\"\n", mosquitto.address);
    let _collector = rig.start_collector();
    let _agent = rig.start_agent();
    let text = "x".repeat(40_000);
    let mut producer = rig.producer();
    let alarm = |at| {
        format!(
            "{{\"subject\":\"88-C\",\"type\":\"breakdown\",\"code\":\"E-{at}\",\"message\":\"{text}\"}}\n\
             {{\"subject\":\"88-C/force\",\"value\":{at}}}\n"
        )
    };
    producer.send((0..10).map(alarm).collect::<String>().as_bytes()).expect("the agent reads");
    producer.wait_accepted(20).expect("the agent answers");
    samples(&rig, 12_000);
    wait_for("all samples are in the log", || (samples_arrived(&rig) >= 12_010).then_some(()));
    for at in 0..10 {
        let event = rig.wait_logged(&format!("E-{at}"));
        assert_eq!(event["data"]["message"].as_str().map(str::len), Some(text.len()));
    }
    // The control: the broker does refuse whoever sends more at once.
    let connections = broker.printed().lines().filter(|line| line.contains("press-88.")).count();
    assert!((1..=4).contains(&connections), "{connections} lines about the agent's connections");
    assert_eq!(changes(&rig, "link_down"), 0);
    let refused = oversized(&mosquitto, limit);
    assert!(refused, "a packet of more than {limit} bytes ends a connection");
}

/// Whether the broker ends a connection for a packet larger than its limit.
fn oversized(mosquitto: &Mosquitto, limit: usize) -> bool {
    let mut client = afferent_tests::process::Mqtt::connect_as(mosquitto.address, "too-large").expect("it lets us in");
    client.publish("somewhere", &vec![0; limit]).is_err()
}

#[test]
fn a_line_that_is_cut_again_and_again_becomes_few_events() {
    let mut rig = Rig::new("flapping");
    let proxy = Proxy::start(rig.endpoint);
    rig.mqtt = proxy.address;
    let _collector = rig.start_collector();
    let _agent = rig.start_agent();
    let began = Instant::now();
    let mut ups = 0;
    while ups < 12 || began.elapsed() < Duration::from_secs(20) {
        rig.wait_healthy();
        ups += 1;
        proxy.cut();
        wait_for("the agent notices", || rig.agent_health().filter(|(healthy, _)| !healthy));
    }
    rig.break_down("after");
    rig.wait_logged("after");
    let events = changes(&rig, "link_up") + changes(&rig, "link_down");
    // Two for each time that the connection stood would be this many.
    let naive = 2 * ups;
    assert!((1..=6).contains(&events) && naive >= 24, "{events} events about the connection, which stood {ups} times");
}
