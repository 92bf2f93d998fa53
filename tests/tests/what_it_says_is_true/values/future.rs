//! What begins at a time to come begins then.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use afferent_tests::process::{Piped, Sse, ask};

use super::*;

fn post(rig: &Rig, id: &str) {
    let event = format!(
        "{{\"specversion\":\"1.0\",\"id\":\"{id}\",\"source\":\"/test\",\"type\":\"a.v1\",\"subject\":\"88-C/f\",\"data\":null}}"
    );
    wait_for("the collector takes what is posted", || {
        let answer = ask(rig.http, "POST", "/v1/events", "application/cloudevents+json", &event).expect("it answers");
        assert!(answer.status == 200 || answer.status == 503, "{}", answer.body);
        (answer.status == 200).then_some(())
    });
}

/// A time so far from now, as RFC 3339, and the wait until the clock has passed it.
fn in_a_while(seconds: u64) -> (String, impl Fn()) {
    let at = SystemTime::now() + Duration::from_secs(seconds);
    let micros = at.duration_since(UNIX_EPOCH).expect("the clock is after 1970").as_micros();
    let text = afferent_host::time::rfc3339(afferent_protocol::ids::Timestamp::clamped(micros as i64));
    (text, move || wait_for("the time comes", || (SystemTime::now() > at).then_some(())))
}

fn id(line: &str) -> String {
    json(line)["id"].as_str().expect("an id").to_owned()
}

#[test]
fn a_stream_a_subscription_and_a_page_from_a_time_to_come_begin_then() {
    let rig = Rig::new("value-future");
    let _collector = rig.start_collector();
    let (begin, comes) = in_a_while(4);
    let mut stream = Sse::open(rig.http, &format!("/v1/stream?from={begin}&subject=88-C/f")).expect("it streams");
    let mut control = Sse::open(rig.http, "/v1/stream?from=end&subject=88-C/f").expect("it streams");
    let new = format!("{{\"from\":\"{begin}\",\"filter\":{{\"subject\":\"88-C/f\"}}}}");
    let made = ask(rig.http, "PUT", "/v1/subscriptions/later", "application/json", &new).expect("it answers");
    assert_eq!(made.status, 201, "{}", made.body);
    assert_eq!((&json(&made.body)["begins"], &json(&made.body)["lag"]), (&begin.as_str().into(), &"0".into()));
    let mut command = Command::new(binary("afferent-collector"));
    command.args(["sub", "--from", &begin, "--subject", "88-C/f", "--limit", "1", "--output", "json"]);
    command.arg("--http").arg(rig.http.to_string());
    let mut sub = Piped::start("sub", &mut command, &rig.folder.join("sub.log"));
    let page = |more: &str| {
        let path = format!("/v1/events?from={begin}&subject=88-C/f{more}");
        ask(rig.http, "GET", &path, "text/plain", "").expect("it answers")
    };
    let first = page("");
    let cursor = first.header("afferent-next-cursor").expect("more may come").to_owned();
    assert_eq!(first.body, "");

    post(&rig, "early");
    let fetch = || {
        let path = "/v1/subscriptions/later/fetch?member=a";
        ask(rig.http, "POST", path, "text/plain", "").expect("it answers").body
    };
    assert_eq!(fetch(), "");
    comes();
    post(&rig, "then");
    // The control: who begins at the end of that moment gets the early one.
    assert_eq!(id(&control.next_data().expect("an event")), "early");
    assert_eq!(id(&stream.next_data().expect("an event")), "then");
    assert_eq!(id(&sub.read_lines(1)[0]), "then");
    let fetched = wait_for("the subscription has begun", || Some(fetch()).filter(|body| !body.is_empty()));
    assert_eq!(fetched.lines().map(id).collect::<Vec<_>>(), ["then"]);
    let later = page(&format!("&cursor={cursor}"));
    assert_eq!(later.body.lines().map(id).collect::<Vec<_>>(), ["then"], "{}", later.body);
    let shown = get_text(rig.http, "/v1/subscriptions/later").map(|text| json(&text)).expect("it is there");
    assert_eq!(shown["begins"], Value::Null);
}

#[test]
fn a_subscription_that_waits_for_its_time_waits_over_a_restart() {
    let rig = Rig::new("value-future-restart");
    let collector = rig.start_collector();
    let (begin, comes) = in_a_while(5);
    let new = format!("{{\"from\":\"{begin}\",\"filter\":{{\"subject\":\"88-C/f\"}}}}");
    assert_eq!(
        ask(rig.http, "PUT", "/v1/subscriptions/later", "application/json", &new).expect("it answers").status,
        201
    );
    post(&rig, "early");
    collector.kill();
    let _collector = rig.start_collector();
    comes();
    post(&rig, "then");
    let fetch =
        || ask(rig.http, "POST", "/v1/subscriptions/later/fetch?member=a", "text/plain", "").ok().map(|it| it.body);
    let fetched = wait_for("the subscription has begun", || fetch().filter(|body| !body.is_empty()));
    assert_eq!(fetched.lines().map(id).collect::<Vec<_>>(), ["then"]);
    // The control: set back to the beginning it has both.
    let reset = ask(rig.http, "POST", "/v1/subscriptions/later/reset", "application/json", "{\"to\":\"first\"}");
    assert_eq!(reset.expect("it answers").status, 204);
    let fetched = wait_for("it is set back", || fetch().filter(|body| !body.is_empty()));
    assert_eq!(fetched.lines().map(id).collect::<Vec<_>>(), ["early", "then"]);
}
