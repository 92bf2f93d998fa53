//! What is told of alarms does not depend on the order in which it came, and what people do about one takes effect or
//! is refused.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use afferent_tests::process::{Process, Rig, ask, get_text, wait_for};
use serde_json::{Value, json};

/// A collector and an agent.
struct Plant {
    rig: Rig,
    _collector: Process,
    _agent: Process,
}

impl Plant {
    fn start(name: &str) -> Self {
        let rig = Rig::new(name);
        let (collector, agent) = (rig.start_collector(), rig.start_agent());
        Self { rig, _collector: collector, _agent: agent }
    }

    /// Sends lines as a producer; gives the offset of the last of them, once the models have seen it.
    fn tell(&self, lines: &[Value]) -> String {
        let mut producer = self.rig.producer();
        // Only the last line of this call has this message.
        static CALLS: AtomicU64 = AtomicU64::new(0);
        let mark = format!("mark {}", CALLS.fetch_add(1, Ordering::Relaxed));
        for (at, line) in lines.iter().enumerate() {
            let mut line = line.clone();
            if at + 1 == lines.len() {
                line["message"] = mark.clone().into();
            }
            producer.send(format!("{line}\n").as_bytes()).expect("the agent reads");
        }
        producer.wait_accepted(lines.len() as u64).expect("the agent accepts");
        let offset =
            self.rig.wait_event("the last line", |event| event["data"]["message"] == mark.as_str())["offset"].clone();
        let offset = offset.as_str().expect("an offset is a text").to_owned();
        self.wait_seen(&offset);
        offset
    }

    /// Waits until the model has seen the event at this offset.
    fn wait_seen(&self, offset: &str) {
        let offset: u64 = offset.parse().expect("an offset is a number");
        wait_for("the model has seen the event", || {
            let told: Value = serde_json::from_str(&get_text(self.rig.http, "/v1/models/alarms")?).ok()?;
            (told["offset"].as_str()?.parse::<u64>().ok()? > offset).then_some(())
        });
    }

    fn view(&self) -> Value {
        let text = get_text(self.rig.http, "/v1/models/alarms").expect("the API answers");
        serde_json::from_str::<Value>(&text).expect("it is JSON")["state"].clone()
    }

    fn alarm(&self, condition: &str) -> Option<Value> {
        let view = self.view();
        let active = view["active"].as_array().expect("a list");
        active.iter().find(|alarm| alarm["condition"] == condition).cloned()
    }

    fn state(&self, condition: &str) -> Option<String> {
        self.alarm(condition).map(|alarm| alarm["state"].as_str().expect("a text").to_owned())
    }

    /// Posts an amendment; gives status and answer. When it is taken the model has seen it.
    fn amend(&self, id: &str, data: &Value) -> (u16, Value) {
        let event = json!({
            "specversion": "1.0", "id": id, "source": "people", "type": "afferent.amendment.v1", "subject": "88-C",
            "data": data,
        });
        let kind = "application/cloudevents+json";
        let answer = ask(self.rig.http, "POST", "/v1/events", kind, &event.to_string()).expect("the API answers");
        let body: Value = serde_json::from_str(&answer.body).expect("it is JSON");
        if let Some(offset) = body["events"][0]["offset"].as_str() {
            self.wait_seen(offset);
        }
        (answer.status, body)
    }
}

fn alarm(condition: &str, transition: &str, time_s: i64) -> Value {
    json!({
        "subject": "88-C/belt", "type": "alarm", "condition": condition, "transition": transition, "priority": 500,
        "time": time_s * 1_000_000,
    })
}

fn now_s() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is after 1970").as_secs() as i64
}

fn acknowledge(of: &str) -> Value {
    json!({ "of": of, "action": "acknowledge", "by": "Ada" })
}

#[test]
fn an_alarm_whose_clear_came_before_it_is_not_active() {
    let plant = Plant::start("alarms-late");
    let at = now_s() - 600;
    plant.tell(&[alarm("late", "cleared", at + 20), alarm("again", "cleared", at + 10)]);
    plant.tell(&[alarm("late", "raised", at + 10), alarm("again", "raised", at + 20)]);
    assert_eq!(plant.state("late").as_deref(), Some("unacked_cleared"));
    // The control: the same with the times the other way round.
    assert_eq!(plant.state("again").as_deref(), Some("unacked_active"));
}

#[test]
fn an_alarm_that_a_wrong_clock_raised_in_2099_can_be_cleared() {
    let plant = Plant::start("alarms-2099");
    let raised = plant.tell(&[alarm("wrong clock", "raised", 4_070_908_800)]);
    let told = plant.alarm("wrong clock").expect("it is active");
    assert_eq!((&told["corrected"], told["raised"].as_str().map(|time| &time[..2])), (&json!(true), Some("20")));
    assert!(told["raised"].as_str() < Some("2099"), "{told}");
    // A moment after the alarm, by the corrected time that it has.
    plant.tell(&[alarm("wrong clock", "cleared", now_s() + 60)]);
    assert_eq!(plant.state("wrong clock").as_deref(), Some("unacked_cleared"));
    assert_eq!(plant.amend("1", &acknowledge(&raised)).0, 200);
    assert_eq!(plant.state("wrong clock"), None);
}

#[test]
fn a_repeated_raise_takes_no_acknowledgement_back_and_an_acknowledgement_takes_effect_or_is_refused() {
    let plant = Plant::start("alarms-repeated");
    let at = now_s() - 600;
    let first = plant.tell(&[alarm("slip", "raised", at)]);
    let second = plant.tell(&[alarm("slip", "raised", at + 60)]);
    assert_eq!(plant.amend("1", &acknowledge(&first)).0, 200);
    let third = plant.tell(&[alarm("slip", "raised", at + 120)]);
    let told = plant.alarm("slip").expect("it is active");
    assert_eq!((told["state"].as_str(), told["offset"].as_str()), (Some("acked_active"), Some(&*first)), "{told}");
    // The control: after a clear the next raise is a new alarm, and what was said of the old one is no word on it.
    let fourth = plant.tell(&[alarm("slip", "cleared", at + 180), alarm("slip", "raised", at + 240)]);
    assert_eq!(plant.state("slip").as_deref(), Some("unacked_active"));
    for old in [&first, &second, &third] {
        let (status, refusal) = plant.amend(&format!("of {old}"), &acknowledge(old));
        assert_eq!(status, 409, "{refusal}");
        assert!(
            refusal["detail"]
                .as_str()
                .is_some_and(|detail| detail.contains(&format!("raised again at offset {fourth}")))
        );
        assert!(refusal["remedy"].as_str().is_some_and(|remedy| remedy.contains(&fourth)), "{refusal}");
    }
    assert_eq!(plant.state("slip").as_deref(), Some("unacked_active"));
    assert_eq!(plant.amend("2", &acknowledge(&fourth)).0, 200);
    assert_eq!(plant.state("slip").as_deref(), Some("acked_active"));
    // The same post again, as after an answer that got lost, is no other one.
    let (status, again) = plant.amend("2", &acknowledge(&fourth));
    assert_eq!((status, &again["events"][0]["duplicate"]), (200, &json!(true)));
}

#[test]
fn an_amendment_of_nothing_or_of_nobody_is_refused_in_words() {
    let plant = Plant::start("alarms-refused");
    let raised = plant.tell(&[alarm("slip", "raised", now_s() - 60)]);
    let no_alarm = plant.tell(&[json!({ "subject": "88-C", "type": "breakdown", "code": "E1" })]);
    for (data, status, why) in [
        (acknowledge(&no_alarm), 409, "raised no alarm"),
        (acknowledge("999999"), 409, "the log ends at"),
        (json!({ "of": raised, "action": "acknowledge" }), 422, "no name in `by`"),
        (json!({ "of": raised, "action": "shelve", "by": "  " }), 422, "no name in `by`"),
        (json!({ "of": no_alarm, "action": "label", "by": "Ada" }), 422, "an empty `reason`"),
        (json!({ "of": raised, "action": "burn", "by": "Ada" }), 422, "is not an amendment"),
    ] {
        let (given, refusal) = plant.amend(&data.to_string(), &data);
        assert_eq!(given, status, "{data}: {refusal}");
        assert!(refusal["detail"].as_str().is_some_and(|detail| detail.contains(why)), "{data}: {refusal}");
        assert_eq!(refusal["event"], 1, "{refusal}");
    }
    let is_amendment = |event: &Value| event["type"] == "afferent.amendment.v1";
    assert!(!plant.rig.events().iter().any(is_amendment), "what was refused is in the log");
    // The control: the same in somebody's name.
    assert_eq!(plant.amend("1", &json!({ "of": raised, "action": "shelve", "by": "Ada" })).0, 200);
    assert_eq!(plant.state("slip").as_deref(), Some("shelved"));
    assert!(plant.rig.events().iter().any(is_amendment));
}

#[test]
fn of_too_many_alarms_the_least_important_are_left_out_and_counted() {
    // A quarter of the room: a source has no more.
    const KEPT: u64 = 16_384 / 4;
    let plant = Plant::start("alarms-many");
    let at = now_s() - 3600;
    let lines: Vec<Value> = (0..20_000_u32)
        .map(|number| {
            let mut line = alarm(&format!("c{number}"), "raised", at + i64::from(number / 100));
            line["priority"] = if number >= 19_001 { 900 } else { 100 }.into();
            line
        })
        .collect();
    plant.tell(&lines);
    let view = plant.view();
    let active = view["active"].as_array().expect("a list");
    let urgent = active.iter().filter(|alarm| alarm["priority"] == 900).count();
    assert_eq!((active.len() as u64, urgent), (KEPT, 999));
    let dropped = 20_000 - KEPT;
    assert_eq!(view["dropped"], json!({ "count": dropped, "by_priority": { "100": dropped } }));
    // The control: whoever keeps the first ones to come has none of the urgent ones.
    assert!(lines.iter().take(KEPT as usize).all(|line| line["priority"] == 100));
}
