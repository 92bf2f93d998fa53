//! Kills of every part, and connections that are cut.

use std::collections::HashSet;

use afferent_tests::process::{Folder, Influx, Load, Proxy, Rig, VictoriaMetrics, wait_for};

use super::super::plant::{accepted_more, order, report, wait_delivered};
use super::expected::check_log;
use super::{NAME, rig, rig_with_bucket, values};

/// Kills of each kind.
const KILLS: usize = 20;

fn wait_some_delivered(rig: &Rig) {
    wait_for(&format!("more is delivered: {:?}", report(rig, NAME)), || {
        report(rig, NAME).filter(|report| report["delivered"].as_u64().is_some_and(|delivered| delivered > 0))
    });
}

#[test]
fn kills_of_collector_agent_and_server_lose_nothing_and_what_is_repeated_overwrites_itself() {
    let folder = Folder::new("influx-kills");
    let influx = Influx::new(&folder);
    let mut server = influx.start();
    influx.create();
    let rig = rig("influx-kills-rig", &influx, "", "");
    let (mut collector, mut agent) = (rig.start_collector(), rig.start_agent());
    let load = Load::start(&rig);
    for round in 0..KILLS {
        accepted_more(&load);
        server.kill();
        agent.kill();
        agent = rig.start_agent();
        accepted_more(&load);
        server = influx.start();
        collector.kill();
        collector = rig.start_collector();
        order(&rig, NAME, "resume", None);
        wait_some_delivered(&rig);
        if round % 2 == 0 {
            // While it delivers.
            collector.kill();
            collector = rig.start_collector();
            accepted_more(&load);
        }
    }
    let ledger = load.stop();
    wait_for("everything accepted is in the log", || (ledger.missing(&rig.events()) == 0).then_some(()));
    wait_delivered(&rig, NAME);
    let before = rig.log_end();
    // Everything once more: what is there already is overwritten by itself.
    order(&rig, NAME, "rewind", Some(serde_json::json!({ "to": "first" })));
    wait_for("all of it was sent again", || {
        report(&rig, NAME).filter(|report| report["delivered"].as_u64() >= before && report["lag"] == "0")
    });
    ledger.check(&check_log(&rig, &influx));
    drop((collector, server));
}

#[test]
fn cut_connections_lose_nothing_at_a_server_that_has_numbers_and_milliseconds() {
    let folder = Folder::new("victoria-cuts");
    let victoria = VictoriaMetrics::new(&folder);
    let _server = victoria.start();
    let proxy = Proxy::start(victoria.address);
    let rig = rig_with_bucket("victoria-cuts-rig", &proxy.address.to_string(), "texts = false\nevents_max = 100");
    let (mut collector, mut agent) = (rig.start_collector(), rig.start_agent());
    let load = Load::start(&rig);
    for _ in 0..KILLS {
        accepted_more(&load);
        proxy.cut();
        order(&rig, NAME, "resume", None);
        accepted_more(&load);
        collector.kill();
        collector = rig.start_collector();
        wait_some_delivered(&rig);
        agent.kill();
        proxy.cut();
        order(&rig, NAME, "resume", None);
        agent = rig.start_agent();
    }
    let ledger = load.stop();
    wait_for("everything accepted is in the log", || (ledger.missing(&rig.events()) == 0).then_some(()));
    order(&rig, NAME, "resume", None);
    wait_delivered(&rig, NAME);
    let logged = rig.events();
    ledger.check(&logged);
    let samples = logged.iter().filter(|event| event["subject"] == "88-C/load" && event["data"]["value"].is_number());
    let point = |event: &serde_json::Value| {
        let number = event["data"]["value"].as_u64().expect("the load sends whole numbers");
        (super::expected::nanosecond(event) / 1_000_000, number)
    };
    let expected: HashSet<(i64, u64)> = samples.map(point).collect();
    let whole = |(time, value): (i64, f64)| (time, value as u64);
    let arrived = || values(&victoria, "88-C/load").into_iter().map(whole).collect::<HashSet<_>>();
    assert!(expected.len() > 1000, "{}", expected.len());
    // VictoriaMetrics shows what it has taken after a while.
    wait_for("everything of the log is there", || expected.is_subset(&arrived()).then_some(()));
    assert_eq!(arrived().difference(&expected).next(), None, "what is there is of the log");
    drop(collector);
}
