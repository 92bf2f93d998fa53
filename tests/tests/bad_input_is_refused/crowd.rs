//! Many clients that want nothing, and clients that never finish.

use afferent_tests::process::{Load, Mqtt, Rig, wait_for};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

const CROWD: usize = 10_000;

/// Every connection is an open file of this process too.
fn raise_open_files() {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum }).expect("up to the maximum");
    let files = limit.maximum.unwrap_or(u64::MAX);
    assert!(files > CROWD as u64 + 1500, "{files} open files are not enough: raise the hard limit (ulimit -Hn)");
}

#[test]
fn ten_thousand_idle_connections_do_not_keep_an_agent_from_shipping() {
    raise_open_files();
    let rig = Rig::new("crowd");
    let _collector = rig.start_collector();
    let _agent = rig.start_agent();
    let load = Load::start(&rig);
    let shipped_more = || {
        let before = wait_for("the collector tells its end", || rig.log_end());
        wait_for("more events are in the log", || rig.log_end().filter(|end| *end >= before + 100));
    };
    shipped_more();
    let crowd: Vec<Mqtt> = (0..CROWD).map(|_| Mqtt::connect(rig.endpoint).expect("there is room for it")).collect();
    let open = rig.collector_figure("afferent_connections").expect("the collector tells it");
    assert_eq!(open, CROWD as u64 + 1, "all of them are connected, and the agent");
    shipped_more();
    assert_eq!(rig.agent_health().map(|(healthy, _)| healthy), Some(true));
    drop(crowd);
    wait_for("all of them are gone", || rig.collector_figure("afferent_connections").filter(|open| *open == 1));
    let ledger = load.stop();
    wait_for("everything accepted is in the log", || (ledger.missing(&rig.events()) == 0).then_some(()));
    ledger.check(&rig.events());
    assert_eq!(
        rig.collector_figure("afferent_connections_taken_total"),
        Some(CROWD as u64 + 1),
        "the agent had to come again"
    );
}

#[test]
fn clients_that_never_finish_their_handshake_are_sent_away_and_hold_up_nobody() {
    let mut rig = Rig::new("handshakes");
    rig.collector_mqtt = "handshake_s_max = 1\nconnections_max = 64".into();
    let _collector = rig.start_collector();
    let _agent = rig.start_agent();
    rig.break_down("before");
    rig.wait_logged("before");
    let connect = [0x10, 13, 0, 4, b'M', b'Q', b'T', b'T', 5, 2, 0, 0, 0, 0, 0];
    let mut unfinished: Vec<Mqtt> = (0..60)
        .map(|number: usize| {
            let mut mqtt = Mqtt::open(rig.endpoint).expect("the endpoint takes connections");
            mqtt.send(&connect[..number % connect.len()]).expect("the socket takes it");
            mqtt
        })
        .collect();
    rig.break_down("meanwhile");
    rig.wait_logged("meanwhile");
    assert!(unfinished.iter_mut().all(Mqtt::is_closed), "one of them may stay");
    assert_eq!(rig.collector_figure("afferent_handshakes_failed_total"), Some(60));
    // The control: whoever finishes may stay as long as it likes.
    let mut idle = Mqtt::open(rig.endpoint).expect("the endpoint takes connections");
    idle.send(&connect).expect("the socket takes it");
    assert_eq!(idle.next_packet().expect("a CONNACK").0, 0x20);
    assert_eq!(rig.collector_figure("afferent_connections"), Some(2));
}
