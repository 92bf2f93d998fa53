//! Nothing is stranded: not by a name, a key, a slow line or a broker's limit.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::Command;
use std::time::{Duration, Instant};

use afferent_tests::process::{Mosquitto, Process, Proxy, Rig, binary, down, get_text, run_to_end, up, wait_for};
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

/// An agent that is connected over a line of so many bytes a second and has accepted so many samples; how many bytes had
/// passed by then is given as well.
fn over_slow_line(name: &str, bytes_per_s: u64, count: u64) -> (Rig, Proxy, [Process; 2], u64) {
    let mut rig = Rig::new(name);
    let proxy = Proxy::slow(rig.endpoint, bytes_per_s);
    rig.mqtt = proxy.address;
    let processes = [rig.start_collector(), rig.start_agent()];
    rig.wait_healthy();
    let passed = proxy.passed_on();
    samples(&rig, count);
    (rig, proxy, processes, passed)
}

#[test]
fn samples_arrive_over_a_line_of_1000_bytes_a_second_and_a_breakdown_overtakes_them() {
    // The line needs about half a minute for them: longer than any session that sends them as a whole waits.
    let count = 3000;
    let (rig, proxy, _processes, before) = over_slow_line("slow-line", 1000, count);
    // More than is said beside them, and much less than they are: from then on they fill the line.
    wait_for("samples pass", || (proxy.passed_on() >= before + 5000).then_some(()));
    rig.break_down("E-88");
    rig.wait_logged("E-88");
    assert_eq!(samples_arrived(&rig), 0, "the breakdown did not wait for them");
    let at_breakdown = proxy.passed_on();
    wait_for("all samples are in the log", || (samples_arrived(&rig) as u64 >= count).then_some(()));
    // The control: they still had to pass when the breakdown was there.
    let behind = proxy.passed_on() - at_breakdown;
    assert!(behind > 5000, "only {behind} bytes came behind the breakdown");
    assert_eq!(samples_arrived(&rig) as u64, count, "each once");
    assert_eq!(changes(&rig, "link_down"), 0, "one connection was enough");
}

#[test]
fn a_batch_that_no_connection_lives_long_enough_for_arrives_nevertheless() {
    // One batch, for which the line needs longer than it is ever left alone: the control is the unit test of what is sent,
    // in which whoever begins again never arrives.
    let count = 3000;
    let (rig, proxy, _processes, _) = over_slow_line("cut-line", 2000, count);
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

/// What the collector says of an agent.
fn agent(rig: &Rig, name: &str) -> Value {
    let text = get_text(rig.http, "/v1/agents").expect("the API answers");
    let report: Value = serde_json::from_str(&text).expect("it is JSON");
    let mut agents = report["agents"].as_array().expect("a list").iter();
    agents.find(|agent| agent["name"] == name).cloned().unwrap_or_default()
}

#[test]
fn what_was_accepted_under_a_former_name_arrives_under_it() {
    let mut rig = Rig::new("renamed");
    let collector = rig.start_collector();
    let running = rig.start_agent();
    rig.break_down("E-1");
    rig.wait_logged("E-1");
    collector.terminate();
    // Nobody hears these.
    rig.break_down("E-2");
    samples(&rig, 100);
    running.terminate();
    rig.agent_name = "press-89".into();
    let _agent = rig.start_agent();
    rig.break_down("E-3");
    let held = rig.agent_figure("afferent_agent_held_events").expect("it is a figure");
    assert!(held >= 101, "{held} events are held under the former name");
    let _collector = rig.start_collector();
    let [old, new] = ["E-2", "E-3"].map(|code| rig.wait_logged(code));
    // The control: the new name's events go under the new one, so that the source is not simply a constant.
    assert_eq!((old["source"].as_str(), new["source"].as_str()), (Some("press-88"), Some("press-89")));
    wait_for("the samples are there", || (samples_arrived(&rig) == 100).then_some(()));
    wait_for("nothing is held", || rig.agent_figure("afferent_agent_held_events").filter(|held| *held == 0));
    let alias = rig.wait_event("the names are one machine's", |event| event["data"]["change"] == "alias");
    assert_eq!((&alias["data"]["source"], &alias["data"]["former"]), (&"press-89".into(), &"press-88".into()));
    assert_eq!(agent(&rig, "press-88")["missing_events"], 0);
}

#[test]
fn a_former_name_that_a_broker_forbids_is_held_counted_and_named() {
    let mut rig = Rig::new("renamed-forbidden");
    let strict = "user collector\ntopic readwrite afferent/#\npattern write afferent/v1/+/%u/up\n\
                  pattern write afferent/v1/+/%u/state\npattern read afferent/v1/+/%u/down\n";
    let wide = format!("{strict}user press-89\ntopic write {}\ntopic read {}\n", up("press-88"), down("press-88"));
    let logins = [("collector", "c"), ("press-88", "p"), ("press-89", "p")];
    let mosquitto = Mosquitto::guarded(&rig.folder, strict, &logins);
    let broker = mosquitto.start();
    rig.mqtt = mosquitto.address;
    let secret = |name: &str| {
        let path = rig.folder.join(name);
        std::fs::write(&path, name).expect("the folder can be written");
        path
    };
    let (of_collector, of_agent) = (secret("c"), secret("p"));
    rig.collector_extra = format!(
        "broker = \"mqtt://{}\"\n[broker_client]\nuser = \"collector\"\npassword = {{ file = {of_collector:?} }}\n",
        mosquitto.address
    );
    let login = |name: &str| format!("username = {name:?}\npassword = {{ file = {of_agent:?} }}\n");
    rig.agent_ship = login("press-88");
    let collector = rig.start_collector();
    let running = rig.start_agent();
    rig.break_down("E-1");
    rig.wait_logged("E-1");
    collector.terminate();
    rig.break_down("E-2");
    running.terminate();
    rig.agent_name = "press-89".into();
    rig.agent_ship = login("press-89");
    let _collector = rig.start_collector();
    let running = rig.start_agent();
    rig.break_down("E-3");
    rig.wait_logged("E-3");
    wait_for("it says what is held and what to do", || {
        let printed = running.printed();
        (printed.contains("former name press-88") && printed.contains(&up("press-88"))).then_some(())
    });
    assert!(rig.agent_figure("afferent_agent_held_events").is_some_and(|held| held >= 1));
    assert!(rig.events().iter().all(|event| event["data"]["code"] != "E-2"));
    // The control: once the rules let it, it arrives.
    broker.terminate();
    std::fs::write(rig.folder.join("mosquitto.acl"), wide).expect("the folder can be written");
    let _broker = mosquitto.start();
    assert_eq!(rig.wait_logged("E-2")["source"], "press-88");
}

#[test]
fn a_lost_data_directory_is_said_on_both_sides_and_a_command_takes_the_new_key() {
    let rig = Rig::new("lost-directory");
    let collector = rig.start_collector();
    let running = rig.start_agent();
    rig.break_down("E-1");
    rig.wait_logged("E-1");
    running.terminate();
    let old = rig.folder.join("old");
    std::fs::rename(rig.agent_data(), &old).expect("it is there");
    let running = rig.start_agent();
    rig.break_down("E-2");
    let key = wait_for("the agent says what to do", || {
        let printed = running.printed();
        let (_, rest) = printed.split_once("agents replace press-88 --key ")?;
        Some(rest[..64].to_owned())
    });
    assert!(running.printed().lines().any(|line| line.contains("WARN") && line.contains(&key)));
    wait_for("the collector says it as well", || {
        let printed = collector.printed();
        printed.lines().any(|line| line.contains("WARN") && line.contains(&key)).then_some(())
    });
    let refused = |said: &Value| said["state"] == "refused: other key";
    let said = wait_for("`agents` says so", || Some(agent(&rig, "press-88")).filter(refused));
    assert_eq!(said["other_key"], *key);
    let http = rig.http.to_string();
    let replace = |key: &str| {
        let arguments = ["agents", "replace", "press-88", "--key", key, "--why", "its disk died", "--http", &http];
        run_to_end(Command::new(binary("afferent-collector")).args(arguments))
    };
    let (status, printed) = replace(&key);
    assert!(status.success(), "{printed}");
    rig.wait_logged("E-2");
    let replaced = rig.wait_event("it is an event", |event| event["data"]["change"] == "key_replaced");
    assert_eq!(replaced["data"]["key"], *key);
    let (who, why) = (&replaced["data"]["who"], &replaced["data"]["why"]);
    assert!(why == "its disk died" && who.as_str().is_some_and(|who| !who.contains("died")), "{replaced}");
    wait_for("it is online", || (agent(&rig, "press-88")["state"] == "online").then_some(()));
    // The control: now the old key is the other one.
    running.terminate();
    std::fs::remove_dir_all(rig.agent_data()).expect("it is there");
    std::fs::rename(&old, rig.agent_data()).expect("it is there");
    let _old = rig.start_agent();
    wait_for("the old key is refused", || Some(agent(&rig, "press-88")).filter(refused));
}

/// Lets a client in, grants its subscription, and closes; gives when it came.
fn let_in_and_close(listener: &TcpListener) -> Instant {
    let (mut stream, _) = listener.accept().expect("loopback takes connections");
    let came = Instant::now();
    stream.set_read_timeout(Some(Duration::from_secs(60))).expect("it is a socket");
    let mut packet = || {
        let mut head = [0; 2];
        stream.read_exact(&mut head).ok()?;
        // Packets of more than 127 bytes have another byte of length.
        let mut long = [0; 1];
        if head[1] >= 128 {
            stream.read_exact(&mut long).ok()?;
        }
        let mut body = vec![0; usize::from(head[1] & 127) + 128 * usize::from(long[0])];
        stream.read_exact(&mut body).ok()?;
        let answer = match head[0] >> 4 {
            1 => vec![0x20, 3, 0, 0, 0],
            8 => vec![0x90, 4, body[0], body[1], 0, 1],
            _ => return None,
        };
        stream.write_all(&answer).ok()
    };
    packet().and_then(|()| packet());
    came
}

#[test]
fn a_broker_that_lets_the_agent_in_and_closes_is_come_back_to_ever_later() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has free ports");
    let mut rig = Rig::new("closing-broker");
    rig.mqtt = listener.local_addr().expect("it is bound");
    let _agent = rig.start_agent();
    let came: Vec<Instant> = (0..5).map(|_| let_in_and_close(&listener)).collect();
    let gaps: Vec<Duration> = came.windows(2).map(|pair| pair[1] - pair[0]).collect();
    // Who took every answer for a success would be back within half a second each time.
    assert!(gaps[3] >= Duration::from_secs(2), "{gaps:?}");
}
