//! Every way in which a server refuses, hangs or is not there.

use std::time::Instant;

use afferent_tests::process::{Folder, Hook, HookServer, INFLUX_DATABASE, INFLUX_LOGIN, Influx, Rig, wait_for};
use serde_json::Value;

use super::super::plant::{order, report, wait_delivered, wait_error};
use super::expected::check_log;
use super::{NAME, configured, rig, rig_with_bucket};

#[test]
fn every_way_to_misbehave_is_an_error_with_a_remedy_and_costs_no_event() {
    let server = HookServer::start();
    let mut rig = Rig::new("influx-faults");
    let token = rig.folder.join("token");
    std::fs::write(&token, "hush\n").expect("the folder can be written");
    let of_influx =
        format!("timeout_s = 1\norg = \"works\"\nbucket = \"machines\"\ntoken = {{ file = \"{}\" }}", token.display());
    rig.collector_extra = configured(&server.address.to_string(), "", &of_influx);
    server.decide(|_| Hook::Hang);
    let _collector = rig.start_collector();
    let _agent = rig.start_agent();
    rig.break_down("E1");
    let answer = |head: &str, body: &str| Hook::Answer(head.to_owned(), body.to_owned());
    let redirect = "302 Found\r\nlocation: http://169.254.169.254/latest/meta-data/";
    let not_found = r#"{"code":"not found","message":"bucket \"machines\" not found"}"#;
    for (hook, error) in [
        (Hook::Hang, "no answer"),
        (Hook::Half, "no answer"),
        (Hook::Drip, "no answer"),
        (Hook::Huge, "500 Internal Server Error"),
        (answer("503 Service Unavailable\r\nretry-after: 1", "full\r\n up"), "503 Service Unavailable: full up"),
        (answer("429 Too Many Requests\r\nretry-after: 1", ""), "429 Too Many Requests"),
        (answer(redirect, ""), "302 Found, a redirect, which is not followed; set `url`"),
        (answer("401 Unauthorized", r#"{"code":"unauthorized"}"#), "; check `token`"),
        (answer("404 Not Found", not_found), "not found\"}; check `url`, `org`, `bucket` and `database`"),
        (answer("400 Bad Request", "<html>plain HTTP to an HTTPS port"), "it does not answer as InfluxDB does"),
    ] {
        let begun = Instant::now();
        server.decide(move |_| hook.clone());
        order(&rig, NAME, "resume", None);
        let report = wait_error(&rig, NAME, error);
        let text = report["last_error"].as_str().expect("an error");
        let target = format!("http://{} bucket works/machines: ", server.address);
        assert!(report["state"] == "retrying" && text.starts_with(&target) && !text.contains("hush"), "{report}");
        assert!(begun.elapsed().as_secs() < 60, "{error}");
    }
    assert!(server.taken().is_empty());
    // An answer that gets lost: the points were taken, and come again.
    let mut lost = 0;
    server.decide(move |_| {
        lost += 1;
        if lost == 1 { Hook::TakeAndReset } else { Hook::Take }
    });
    order(&rig, NAME, "resume", None);
    wait_delivered(&rig, NAME);
    let taken = server.taken();
    let first = &taken[0];
    assert_eq!(first.path, "/api/v2/write?org=works&bucket=machines&precision=ns");
    assert_eq!(first.header("authorization"), Some("Token hush"));
    let of = |number: usize| String::from_utf8(taken[number].body.clone()).expect("lines");
    let (again, before) = (of(1), of(0));
    assert!(before.lines().any(|line| line.starts_with("breakdown,code=E1,machine=88-C,")), "{before}");
    let repeated = before.lines().filter(|line| again.lines().any(|other| other == *line)).count();
    assert_eq!(repeated, before.lines().count(), "byte for byte, so that they overwrite themselves");
    assert!(report(&rig, NAME).is_some_and(|report| report["dead_letters"] == 0));
}

#[test]
fn a_server_that_is_down_a_wrong_login_and_a_missing_database_are_waited_for() {
    let folder = Folder::new("influx-login");
    let influx = Influx::guarded(&folder);
    let (user, password) = INFLUX_LOGIN;
    let mut rig = Rig::new("influx-login-rig");
    let secret = rig.folder.join("password");
    std::fs::write(&secret, "hush, not this one").expect("the folder can be written");
    let login = format!("user = \"{user}\"\npassword = {{ file = \"{}\" }}", secret.display());
    let of_influx = format!("database = \"{INFLUX_DATABASE}\"\n{login}");
    rig.collector_extra = configured(&influx.address.to_string(), "", &of_influx);
    let collector = rig.start_collector();
    let _agent = rig.start_agent();
    rig.break_down("E1");
    let down = wait_error(&rig, NAME, "no answer");
    assert!(down["last_error"].as_str().unwrap().contains("check that it runs"), "{down}");
    let _server = influx.start();
    influx.query(&format!("CREATE USER {user} WITH PASSWORD '{password}' WITH ALL PRIVILEGES"));
    order(&rig, NAME, "resume", None);
    let refused = wait_error(&rig, NAME, "401 Unauthorized");
    let text = refused["last_error"].as_str().unwrap();
    assert!(text.contains("`user` and `password`") && !text.contains("hush"), "{text}");
    std::fs::write(&secret, password).expect("the folder can be written");
    collector.kill();
    let _collector = rig.start_collector();
    let missing = wait_error(&rig, NAME, "database not found");
    assert!(missing["last_error"].as_str().unwrap().contains("create what is missing"), "{missing}");
    influx.create();
    order(&rig, NAME, "resume", None);
    check_log(&rig, &influx);
}

fn letters(rig: &Rig) -> Vec<Value> {
    rig.events().into_iter().filter(|event| event["type"] == "afferent.deadletter.v1").collect()
}

#[test]
fn a_refused_line_is_a_dead_letter_and_can_be_sent_again() {
    let folder = Folder::new("influx-dead");
    let influx = Influx::new(&folder);
    let _server = influx.start();
    influx.create();
    // Somebody else has written a number where the message goes: it counts for the week of 2021-09-13.
    assert_eq!(influx.write("breakdown,machine=77-A message=1 1631577271000000000"), 204);
    let rig = rig("influx-dead-rig", &influx, "filter = { type = \"breakdown\" }", "");
    let collector = rig.start_collector();
    let _agent = rig.start_agent();
    let send = |code: &str, more: &str| {
        let line =
            format!("{{\"subject\":\"88-C\",\"type\":\"breakdown\",\"code\":\"{code}\",\"message\":\"x\"{more}}}\n");
        let mut producer = rig.producer();
        producer.send(line.as_bytes()).expect("the agent reads");
        producer.wait_accepted(1).expect("the agent answers");
    };
    send("E1", "");
    send("POISON", ",\"time\":\"2021-09-13T23:54:31Z\"");
    send("E2", "");
    let codes = |influx: &Influx| -> Vec<String> {
        let points = influx.points("breakdown");
        let mut codes: Vec<_> =
            points.iter().filter_map(|point| point.get("code")?.as_str().map(str::to_owned)).collect();
        codes.sort();
        codes
    };
    wait_for("the others arrive", || (codes(&influx) == ["E1", "E2"]).then_some(()));
    let letter = wait_for("a dead letter is in the log", || letters(&rig).pop());
    let poison = rig.wait_logged("POISON");
    assert_eq!(letter["data"]["offset"], poison["offset"], "{letter}");
    assert!(letter["data"]["reason"].as_str().unwrap().contains("field type conflict"), "{letter}");
    collector.kill();
    let _collector = rig.start_collector();
    influx.query("DROP SHARD 1");
    order(&rig, NAME, "replay-dead", None);
    wait_for("it arrives", || codes(&influx).contains(&"POISON".to_owned()).then_some(()));
    wait_delivered(&rig, NAME);
    assert_eq!(letters(&rig).len(), 1);
}

#[test]
fn what_is_older_than_the_retention_is_no_dead_letter_and_holds_nobody_up() {
    let folder = Folder::new("influx-retention");
    let influx = Influx::new(&folder);
    let _server = influx.start();
    influx.query(&format!("CREATE DATABASE {INFLUX_DATABASE} WITH DURATION 1d"));
    let rig = rig("influx-retention-rig", &influx, "filter = { subject = \"88-C/*\" }", "");
    let _collector = rig.start_collector();
    let _agent = rig.start_agent();
    let mut producer = rig.producer();
    let lines = concat!(
        "{\"subject\":\"88-C/t\",\"time\":\"2021-09-13T23:54:31Z\",\"value\":1.5}\n",
        "{\"subject\":\"88-C/t\",\"value\":2.5}\n",
    );
    producer.send(lines.as_bytes()).expect("the agent reads");
    producer.wait_accepted(2).expect("the agent answers");
    wait_for("both are in the log", || {
        (rig.events().iter().filter(|event| event["subject"] == "88-C/t").count() == 2).then_some(())
    });
    wait_delivered(&rig, NAME);
    let values: Vec<_> = influx.points("sample").iter().map(|point| point["value"].clone()).collect();
    assert_eq!(values, [2.5]);
    assert!(report(&rig, NAME).is_some_and(|report| report["dead_letters"] == 0));
}

#[test]
fn a_server_that_takes_small_requests_only_gets_them() {
    let server = HookServer::start();
    let rig = rig_with_bucket("influx-small", &server.address.to_string(), "");
    server.decide(|request| {
        if request.body.len() > 2000 {
            Hook::Answer("413 Payload Too Large".to_owned(), String::new())
        } else {
            Hook::Take
        }
    });
    let _collector = rig.start_collector();
    let _agent = rig.start_agent();
    let lines: String = (0..200).map(|value| format!("{{\"subject\":\"88-C/t\",\"value\":{value}.5}}\n")).collect();
    let mut producer = rig.producer();
    producer.send(lines.as_bytes()).expect("the agent reads");
    producer.wait_accepted(200).expect("the agent answers");
    let values = || -> Vec<String> {
        let bodies = server.taken().into_iter().map(|request| String::from_utf8(request.body).expect("lines"));
        let lines: Vec<_> = bodies.flat_map(|body| body.lines().map(str::to_owned).collect::<Vec<_>>()).collect();
        lines.into_iter().filter(|line| line.contains("subject=88-C/t ")).collect()
    };
    wait_for("all arrive", || (values().len() == 200).then_some(()));
    wait_delivered(&rig, NAME);
    assert!(report(&rig, NAME).is_some_and(|report| report["dead_letters"] == 0));
}
