//! Strangers that make up names and subscriptions: who is known goes on, who is new and works comes in.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;

use afferent_tests::process::{Answer, Mqtt, Reason, Rig, Sealer, ask, ask_over, get_text, up, wait_for};
use serde_json::Value;

use crate::siege::{Siege, connect_from};

/// What one address may bring at once, names that have delivered nothing, and subscriptions of one address that nobody moved.
const NEW_OF_ONE: usize = 1024;
const NEW_MAX: usize = 4096;
const UNMOVED_OF_ONE: usize = 250;

/// Thousands of names are thousands of commits: what takes how long there says nothing about another test.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner)
}

fn stranger(last: u8, number: usize) -> Sealer {
    Sealer::new(&format!("stranger-{last}-{number}"), last)
}

/// Comes from an address under this name, proves a key, and goes; gives what was answered.
fn come(siege: &Siege, last: u8, name: &Sealer) -> Reason {
    let mut mqtt = Mqtt::connect_over(connect_from(last, siege.rig.mqtt)).expect("it is let in");
    name.try_to_prove(&mut mqtt)
}

/// One address brings names until one is refused; gives how many were let in.
fn strangers_come(siege: &Siege, last: u8) -> usize {
    let is_let_in = |number: &usize| match come(siege, last, &stranger(last, *number)) {
        Reason::SUCCESS => true,
        reason => {
            assert_eq!(reason, Reason::QUOTA_EXCEEDED);
            false
        }
    };
    (0..2 * NEW_OF_ONE).take_while(is_let_in).count()
}

/// All names that are held to a key, and the key.
fn pinned(rig: &Rig) -> BTreeMap<String, String> {
    let report: Value = serde_json::from_str(&get_text(rig.http, "/v1/agents").expect("it answers")).expect("JSON");
    let agents = report["agents"].as_array().expect("a list");
    let key = |agent: &Value| Some((agent["name"].as_str()?.to_owned(), agent["key"].as_str()?.to_owned()));
    agents.iter().filter_map(key).collect()
}

#[test]
fn who_makes_up_thousands_of_names_keeps_out_nobody_and_they_give_way_to_newer_ones() {
    let _alone = alone();
    let siege = Siege::start("names");
    let addresses = 11..=15;
    let let_in: Vec<usize> = thread::scope(|scope| {
        let siege = &siege;
        let come = |last| scope.spawn(move || strangers_come(siege, last));
        let crowds: Vec<_> = addresses.clone().map(come).collect();
        siege.holds("while strangers make up names");
        // A new agent at another address comes in and delivers.
        let mut other = Rig::new("names-other");
        (other.mqtt, other.agent_name) = (siege.rig.mqtt, "press-89".to_owned());
        let _agent = other.start_agent();
        other.break_down("N1");
        siege.rig.wait_logged("N1");
        crowds.into_iter().map(|crowd| crowd.join().expect("it ran to its end")).collect()
    });
    // Some tokens come back meanwhile. The control: without a limit, twice as many would be in.
    assert!(let_in.iter().all(|count| (NEW_OF_ONE..2 * NEW_OF_ONE).contains(count)), "{let_in:?}");
    assert_eq!(siege.refused("first-contacts"), let_in.len() as u64);
    let gone = siege.refused("name-gave-way");
    assert!(gone as usize >= let_in.iter().sum::<usize>() - NEW_MAX, "{gone} of {let_in:?}");
    assert!(siege.figure("afferent_names_new ").is_some_and(|count| count as usize <= NEW_MAX));
    siege.holds("with as many names as are kept");
    let (_, health) = siege.rig.collector_health().expect("it answers");
    assert!(
        health == "ok\n" || health.contains("names.new_max") || health.contains("was dropped for a newer one"),
        "{health}"
    );
    siege.is_as_before();

    // What gave way is free for whoever proves a key; what has delivered is not, and neither is what is still held.
    let known = pinned(&siege.rig);
    let all: Vec<String> =
        addresses.flat_map(|last| (0..NEW_OF_ONE).map(move |n| format!("stranger-{last}-{n}"))).collect();
    let free = all.iter().find(|name| !known.contains_key(*name)).expect("some have given way");
    // The newest one: who comes under a free name pushes out the oldest.
    let held = all.iter().rev().find(|name| known.contains_key(*name)).expect("some are kept");
    assert_eq!(come(&siege, 21, &Sealer::new(free, 77)), Reason::SUCCESS);
    for name in [held, "press-88", "press-89"] {
        assert_eq!(come(&siege, 21, &Sealer::new(name, 77)), Reason::NOT_AUTHORIZED, "{name}");
    }
    // A start finds the same names in the log.
    // What readers see of it may be a moment old.
    let known = wait_for("it is shown", || Some(pinned(&siege.rig)).filter(|known| known.contains_key(free)));
    let Siege { rig, collector, .. } = siege;
    collector.terminate();
    let _collector = rig.start_collector();
    assert_eq!(pinned(&rig), known);
}

#[test]
fn a_login_brings_its_own_name_whatever_strangers_have_used_up() {
    let mut rig = Rig::new("names-of-users");
    let user = |name: &str| format!("[[mqtt.user]]\nname = \"{name}\"\npassword = {{ env = \"PATH\" }}\n");
    (rig.collector_mqtt, rig.collector_extra) = (user("a") + &user("b") + &user("c"), "names.new_max = 1".to_owned());
    let _collector = rig.start_collector();
    let password = std::env::var("PATH").expect("there is one");
    for name in ["a", "b", "c"] {
        let mut mqtt = Mqtt::log_in(rig.endpoint, name, name, &password).expect("it is let in");
        let mut sealer = Sealer::new(name, 5);
        assert_eq!(sealer.try_to_prove(&mut mqtt), Reason::SUCCESS, "{name}");
        assert_eq!(mqtt.publish(up(name), &sealer.seal("E1")).expect("it is answered"), Reason::SUCCESS);
    }
    // The control: where nobody vouches for a name, the second one waits.
    let mut open = Rig::new("names-of-nobody");
    open.collector_extra = "names.new_max = 1".to_owned();
    let _collector = open.start_collector();
    let come = |name: &str| {
        let mut mqtt = Mqtt::connect(open.endpoint).expect("it is let in");
        Sealer::new(name, 5).try_to_prove(&mut mqtt)
    };
    assert_eq!([come("a"), come("b")], [Reason::SUCCESS, Reason::QUOTA_EXCEEDED]);
}

#[test]
fn a_name_that_delivers_nothing_takes_no_makers_name_away() {
    let siege = Siege::start("names-of-makers");
    assert_eq!(come(&siege, 9, &Sealer::new("erp", 9)), Reason::SUCCESS);
    let post = |source: &str| {
        let event = format!(
            "{{\"specversion\":\"1.0\",\"id\":\"1\",\"source\":\"{source}\",\"type\":\"com.example.a.v1\",\"subject\":\"88-C\"}}"
        );
        // The index of posted events is made first.
        wait_for("it is answered", || {
            let answer = ask(siege.rig.http, "POST", "/v1/events", "application/cloudevents+json", &event).ok()?;
            (answer.status != 503).then_some(answer.status)
        })
    };
    wait_for("the stranger is known", || pinned(&siege.rig).contains_key("erp").then_some(()));
    assert_eq!(post("erp"), 200);
    assert_eq!(post("press-88"), 422, "the control: the name of an agent that has delivered");
}

/// Asks from an address of this machine.
fn ask_from(siege: &Siege, last: u8, method: &str, path: &str, body: &str) -> Answer {
    let stream = connect_from(last, siege.rig.http);
    ask_over(stream, method, path, "application/json", body).expect("it answers")
}

fn make(siege: &Siege, last: u8, name: &str) -> u16 {
    ask_from(siege, last, "PUT", &format!("/v1/subscriptions/{name}"), "{}").status
}

#[test]
fn a_thousand_subscriptions_of_one_client_leave_room_for_anothers_which_is_made_and_used() {
    let _alone = alone();
    let siege = Siege::start("subscriptions");
    let made = (0..1000).filter(|number| make(&siege, 3, &format!("s-3-{number}")) == 201).count();
    assert_eq!(made, UNMOVED_OF_ONE, "the control: there is room for a thousand");
    let refused = ask_from(&siege, 3, "PUT", "/v1/subscriptions/more", "{}");
    assert_eq!((refused.status, refused.header("retry-after")), (429, Some("60")), "{refused:?}");
    for words in ["your address has created 250 subscriptions of which nothing was ever committed", "DELETE"] {
        assert!(refused.body.contains(words), "{}", refused.body);
    }
    let (_, health) = siege.rig.collector_health().expect("it answers");
    assert!(health.contains("http-subscriptions: your address has created 250"), "{health}");
    siege.holds("while one client wants a thousand subscriptions");

    // Another client makes one and works with it.
    assert_eq!(make(&siege, 2, "erp"), 201);
    let fetched = ask_from(&siege, 2, "POST", "/v1/subscriptions/erp/fetch?member=a", "");
    let cursor = fetched.header("afferent-cursor").expect("it has read to somewhere").to_owned();
    assert_eq!(fetched.status, 200);
    assert!(!fetched.body.is_empty(), "the agent has delivered something");
    let committed = format!("{{\"cursor\":\"{cursor}\"}}");
    assert_eq!(ask_from(&siege, 2, "POST", "/v1/subscriptions/erp/commit", &committed).status, 204);
    let unread = |name: &str| {
        let report = get_text(siege.rig.http, &format!("/v1/subscriptions/{name}")).expect("it is there");
        serde_json::from_str::<Value>(&report).expect("JSON")["unread"].as_bool()
    };
    assert_eq!((unread("erp"), unread("s-3-0")), (Some(false), Some(true)));

    // Who deletes one has room for another; as many clients as it takes fill the table, and then all are told so.
    assert_eq!(ask_from(&siege, 3, "DELETE", "/v1/subscriptions/s-3-0", "").status, 204);
    assert_eq!(make(&siege, 3, "more"), 201);
    for last in 4..=6 {
        let made =
            (0..UNMOVED_OF_ONE).filter(|number| make(&siege, last, &format!("s-{last}-{number}")) == 201).count();
        assert!(made >= UNMOVED_OF_ONE - 1, "{made} of client {last}");
    }
    assert_eq!(make(&siege, 7, "late"), 409, "all of them are younger than a minute");
    siege.holds("with as many subscriptions as there can be");
    siege.is_as_before();
}
