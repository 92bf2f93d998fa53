//! Webhooks: at least once, in order, whatever the server does.

use std::process::Command;
use std::time::Instant;

use afferent_tests::process::{Hook, HookServer, Hooked, Load, Rig, run_to_end, wait_for};
use serde_json::{Value, json};

use super::plant::{
    Arrived, Promise, accepted_more, check, configuration, doubles, order, report, wait_delivered, wait_error,
};

mod connection;

/// Kills of each kind.
const KILLS: usize = 20;

fn configured(server: &HookServer, more: &str) -> String {
    format!(
        "[[forward]]\nname = \"hook\"\n{}\n[forward.webhook]\nurl = \"http://{}/events\"\nallow = [\"127.0.0.1\"]\n{}\n",
        more.split_once("---").map_or("", |(before, _)| before),
        server.address,
        more.split_once("---").map_or(more, |(_, after)| after),
    )
}

fn rig(name: &str, server: &HookServer, more: &str) -> Rig {
    let mut rig = Rig::new(name);
    rig.collector_extra = configured(server, more);
    rig
}

fn arrived(server: &HookServer) -> Vec<Arrived> {
    server.events().iter().map(Arrived::of).collect()
}

#[test]
fn kills_of_collector_agent_and_server_lose_nothing_and_change_no_order() {
    let mut server = HookServer::start();
    let rig = rig("hook-kills", &server, "");
    let (mut collector, mut agent) = (rig.start_collector(), rig.start_agent());
    let load = Load::start(&rig);
    for _ in 0..KILLS {
        accepted_more(&load);
        collector.kill();
        collector = rig.start_collector();
        accepted_more(&load);
        agent.kill();
        agent = rig.start_agent();
        server.kill();
        accepted_more(&load);
        server.listen();
        order(&rig, "hook", "resume", None);
        let before = server.taken().len();
        wait_for("the server takes more", || (server.taken().len() > before).then_some(()));
    }
    let ledger = load.stop();
    wait_for("everything accepted is in the log", || (ledger.missing(&rig.events()) == 0).then_some(()));
    wait_delivered(&rig, "hook");
    collector.kill();
    let _collector = rig.start_collector();
    wait_delivered(&rig, "hook");
    let logged = rig.events();
    ledger.check(&logged);
    check(&logged, &arrived(&server), Promise::AtLeastOnce);
}

#[test]
fn every_way_to_misbehave_is_an_error_with_a_remedy_and_costs_no_event() {
    let server = HookServer::start();
    let rig = rig("hook-faults", &server, "timeout_s = 1");
    server.decide(|_| Hook::Hang);
    let _collector = rig.start_collector();
    let _agent = rig.start_agent();
    rig.break_down("E1");
    let answer = |head: &str, body: &str| Hook::Answer(head.to_owned(), body.to_owned());
    let redirect = "302 Found\r\nlocation: http://169.254.169.254/latest/meta-data/";
    for (hook, error) in [
        (Hook::Hang, "no answer"),
        (Hook::Half, "no answer"),
        (Hook::Drip, "no answer"),
        (Hook::Huge, "500 Internal Server Error"),
        (answer("503 Service Unavailable\r\nretry-after: 1", "full\r\n up"), "503 Service Unavailable: full up"),
        (answer(redirect, ""), "302 Found, a redirect, which is not followed; set `url`"),
        (answer("401 Unauthorized", ""), "401 Unauthorized; check the login"),
        (answer("404 Not Found", ""), "404 Not Found; check `url`"),
    ] {
        let begun = Instant::now();
        server.decide(move |_| hook.clone());
        order(&rig, "hook", "resume", None);
        let report = wait_error(&rig, "hook", error);
        assert_eq!(report["state"], "retrying", "{report}");
        assert!(begun.elapsed().as_secs() < 60, "{error}");
    }
    let healthy = rig.collector_health().expect("it answers");
    assert!(healthy.0 && healthy.1.contains("hook cannot deliver"), "{healthy:?}");
    assert!(rig.collector_figure("afferent_forward_lag_events").is_some_and(|lag| lag > 0));
    assert!(server.taken().is_empty());
    // An answer that gets lost: the event was taken, and comes again under the same key.
    let mut lost = 0;
    server.decide(move |_| {
        lost += 1;
        if lost == 1 { Hook::TakeAndReset } else { Hook::Take }
    });
    order(&rig, "hook", "resume", None);
    wait_delivered(&rig, "hook");
    check(&rig.events(), &arrived(&server), Promise::AtLeastOnce);
    assert!(doubles(&arrived(&server)) > 0, "the control: the lost answer was one");
}

/// Refuses events with this code, by the status for content that cannot be processed.
fn refuse(request: &Hooked, code: &str) -> Hook {
    let text = String::from_utf8_lossy(&request.body);
    if text.contains(code) {
        Hook::Answer("422 Unprocessable Content".to_owned(), "bad code".to_owned())
    } else {
        Hook::Take
    }
}

#[test]
fn an_event_that_the_server_will_never_take_is_a_dead_letter_and_can_be_sent_again() {
    let server = HookServer::start();
    let rig = rig("hook-dead", &server, "filter = { type = \"breakdown\" }\n---");
    server.decide(|request| refuse(request, "POISON"));
    let collector = rig.start_collector();
    let _agent = rig.start_agent();
    for code in ["E1", "POISON", "E2", "E3"] {
        rig.break_down(code);
    }
    // In the order of their first arrival: the kill below may repeat what was under way.
    let codes = |server: &HookServer| -> Vec<String> {
        let mut codes = Vec::new();
        for event in server.events() {
            let code = event["data"]["code"].as_str().unwrap_or_default().to_owned();
            if !codes.contains(&code) {
                codes.push(code);
            }
        }
        codes
    };
    wait_for("the others arrive", || (codes(&server) == ["E1", "E2", "E3"]).then_some(()));
    let poison = rig.wait_logged("POISON");
    let letters = |rig: &Rig| -> Vec<Value> {
        rig.events().into_iter().filter(|event| event["type"] == "afferent.deadletter.v1").collect()
    };
    let letter = wait_for("a dead letter is in the log", || letters(&rig).pop());
    assert_eq!(letter["data"]["offset"], poison["offset"], "{letter}");
    assert_eq!((&letter["data"]["id"], &letter["data"]["source"]), (&poison["id"], &poison["source"]), "{letter}");
    assert!(letter["data"]["reason"].as_str().unwrap().contains("422 Unprocessable Entity: bad code"), "{letter}");

    // A kill does not repeat it, and it is sent again when the operator asks for that.
    collector.kill();
    let _collector = rig.start_collector();
    order(&rig, "hook", "replay-dead", None);
    wait_for("it is refused again, as a new dead letter", || (letters(&rig).len() == 2).then_some(()));
    server.decide(|_| Hook::Take);
    order(&rig, "hook", "replay-dead", None);
    wait_for("it arrives", || (codes(&server) == ["E1", "E2", "E3", "POISON"]).then_some(()));
    wait_delivered(&rig, "hook");
    assert_eq!(letters(&rig).len(), 2);
}

#[test]
fn an_operator_pauses_moves_and_resumes_and_a_restart_remembers_it() {
    let server = HookServer::start();
    let rig = rig("hook-orders", &server, "filter = { type = \"breakdown\" }\n---mode = \"structured\"");
    let collector = rig.start_collector();
    let _agent = rig.start_agent();
    rig.break_down("E1");
    let delivered = |count: u64| {
        wait_for("it is delivered", || report(&rig, "hook").filter(|report| report["delivered"] == count));
        // An order that comes before the answer would repeat it.
        wait_delivered(&rig, "hook");
    };
    delivered(1);
    assert_eq!(order(&rig, "hook", "pause", None)["state"], "paused");
    rig.break_down("E2");
    rig.wait_logged("E2");
    collector.kill();
    let collector = rig.start_collector();
    rig.wait_logged("E2");
    let paused = report(&rig, "hook").expect("the API answers");
    assert_eq!((paused["state"].as_str(), server.events().len()), (Some("paused"), 1), "{paused}");
    order(&rig, "hook", "resume", None);
    delivered(1);
    assert_eq!(server.events().len(), 2);
    let beyond =
        ureq::post(format!("http://{}/v1/forwards/hook/rewind", rig.http)).config().http_status_as_error(false);
    let refused = beyond.build().content_type("application/json").send(r#"{"to": "1000000"}"#);
    let refused = refused.expect("it answers").body_mut().read_to_string().expect("a text");
    assert!(refused.contains("to=end") && !refused.contains("from="), "{refused}");
    order(&rig, "hook", "rewind", Some(json!({ "to": "first" })));
    delivered(3);
    assert_eq!(server.events().len(), 4, "both came again");
    // Another address, the same name: it goes on where it was.
    collector.kill();
    let other = HookServer::start();
    let mut moved = rig;
    moved.collector_extra = configured(&other, "filter = { type = \"breakdown\" }\n---mode = \"structured\"");
    let _collector = moved.start_collector();
    moved.break_down("E3");
    wait_for("it arrives at the new address", || other.events().pop().filter(|event| event["data"]["code"] == "E3"));
    assert_eq!((other.events().len(), server.events().len()), (1, 4), "changing the configuration resets nothing");
}

#[test]
fn one_work_order_is_made_for_each_breakdown_however_often_it_is_reported() {
    let server = HookServer::start();
    let body =
        r#"body = '{"title": {{ (event.subject ~ " " ~ event.data.code) | tojson }}, "key": {{ event.id | tojson }}}'"#;
    let rig = rig("hook-episodes", &server, &format!("episodes = true\n{body}"));
    let collector = rig.start_collector();
    let _agent = rig.start_agent();
    let recover = || {
        let mut producer = rig.producer();
        producer.send(b"{\"subject\":\"88-C\",\"type\":\"recovery\",\"code\":\"E1\"}\n").expect("the agent reads");
        producer.wait_accepted(1).expect("the agent answers");
    };
    for code in ["E1", "E1", "E2", "E1"] {
        rig.break_down(code);
    }
    wait_delivered(&rig, "hook");
    collector.kill();
    let _collector = rig.start_collector();
    rig.break_down("E1");
    recover();
    rig.break_down("E1");
    let titles = || -> Vec<String> {
        server.events().iter().map(|order| order["title"].as_str().unwrap_or_default().to_owned()).collect()
    };
    wait_for("three work orders", || (titles().len() >= 3).then_some(()));
    wait_delivered(&rig, "hook");
    assert_eq!(titles(), ["88-C E1", "88-C E2", "88-C E1"], "also across a restart");
    let opening = rig.events().into_iter().find(|event| event["data"]["code"] == "E1").expect("it is in the log");
    assert_eq!(server.events()[0]["key"], opening["id"]);
    let key = server.taken()[0].header("idempotency-key").map(str::to_owned);
    assert_eq!(key, Some(format!("press-88:{}", opening["id"].as_str().unwrap())));
}

const README: &str = include_str!("../../../collector/src/forward/webhook/README.md");
/// The example of Standard Webhooks' own libraries.
const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// The signature of a request, computed here from what the README says.
fn signature(request: &Hooked) -> String {
    use base64::Engine as _;
    let standard = base64::engine::general_purpose::STANDARD;
    let header =
        |name: &str| request.header(name).unwrap_or_else(|| panic!("the header {name}: {request:?}")).as_bytes();
    let text = [header("webhook-id"), b".", header("webhook-timestamp"), b".", &request.body].concat();
    let key = standard.decode(&SECRET[6..]).expect("base64");
    format!("v1,{}", standard.encode(hmac_sha256(&key, &text)))
}

/// HMAC-SHA-256 by its definition (RFC 2104).
fn hmac_sha256(key: &[u8], text: &[u8]) -> Vec<u8> {
    use sha2::{Digest, Sha256};
    assert!(key.len() <= 64, "longer keys are hashed first");
    let pad = |with: u8| (0..64).map(|at| key.get(at).unwrap_or(&0) ^ with).collect::<Vec<u8>>();
    let inner = Sha256::digest([&pad(0x36)[..], text].concat());
    Sha256::digest([&pad(0x5C)[..], &inner].concat()).to_vec()
}

#[test]
fn the_readmes_configurations_work_as_they_are_and_requests_are_signed() {
    let server = HookServer::start();
    let mut rig = Rig::new("hook-readme");
    let (secret, token) = (rig.folder.join("hook"), rig.folder.join("cmms"));
    std::fs::write(&secret, format!("{SECRET}\n")).expect("the folder can be written");
    std::fs::write(&token, "a token").expect("the folder can be written");
    let url = format!("http://{}/hooks", server.address);
    let [secret, token] = [&secret, &token].map(|path| path.to_str().expect("a text").to_owned());
    let allow = "allow = [\"127.0.0.1\"]\n";
    rig.collector_extra = [
        configuration(README, 0, &[("https://cmms.example/hooks/afferent", &url), ("/run/secrets/hook", &secret)]),
        allow.to_owned(),
        configuration(README, 1, &[("https://cmms.example/v1/workorders", &url), ("/run/secrets/cmms", &token)]),
        allow.to_owned(),
    ]
    .concat();
    let _collector = rig.start_collector();
    let _agent = rig.start_agent();
    let run = rig.collector_command();
    let config = run.get_args().skip(1).collect::<Vec<_>>();
    let (status, said) =
        run_to_end(Command::new(run.get_program()).args(["check", "--connect", "--reload"]).args(config));
    assert!(status.success() && said.contains("answers OPTIONS"), "{said}");
    rig.break_down("E42");
    rig.break_down("E42");
    wait_for("both are in the log", || {
        let events = rig.events();
        (events.iter().filter(|event| event["data"]["code"] == "E42").count() == 2).then_some(())
    });
    wait_delivered(&rig, "work-orders");
    wait_delivered(&rig, "maintenance");
    let requests = server.taken();
    let (signed, orders): (Vec<_>, Vec<_>) =
        requests.iter().partition(|request| request.header("webhook-signature").is_some());
    for request in &signed {
        assert_eq!(request.header("webhook-signature"), Some(&*signature(request)));
        assert_eq!(request.header("content-type"), Some("application/cloudevents-batch+json; charset=utf-8"));
    }
    let codes: usize =
        signed.iter().map(|request| String::from_utf8_lossy(&request.body).matches("\"code\":\"E42\"").count()).sum();
    assert_eq!((codes, orders.len()), (2, 1));
    assert_eq!(orders[0].header("authorization"), Some("Bearer a token"));
    let order: Value = serde_json::from_slice(&orders[0].body).expect("the work order is JSON");
    assert_eq!((&order["title"], &order["priority"]), (&json!("88-C E42"), &json!("HIGH")), "{order}");
}
