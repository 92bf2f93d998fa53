//! Who is refused is named, with the reason and what to do, and a disk that takes nothing is an answer.

use afferent_tests::process::{Mqtt, Rig, Sealer, SmallDisk, ask, up, wait_for};
use serde_json::Value;

use super::{collector, figure};

fn secrets(rig: &Rig, users: &[(&str, &str)]) -> String {
    let user = |(name, password): &(&str, &str)| {
        let file = rig.folder.join(&format!("{name}.password"));
        std::fs::write(&file, password).expect("the folder can be written");
        format!("[[mqtt.user]]\nname = \"{name}\"\npassword = {{ file = {file:?} }}\n")
    };
    users.iter().map(user).collect()
}

#[test]
fn who_is_refused_is_named_once_with_what_to_do_and_counted_every_time() {
    let mut rig = Rig::new("refused");
    rig.collector_mqtt = secrets(&rig, &[("press-88", "right")]);
    let process = rig.start_collector();
    let mut press = Mqtt::log_in(rig.endpoint, "any", "press-88", "right").expect("it is let in");
    let warnings = |kind: &str| {
        let printed = process.printed();
        let told = printed.lines().filter(|line| line.contains("WARN") && line.contains(&format!("kind=\"{kind}\"")));
        told.map(str::to_owned).collect::<Vec<_>>()
    };
    assert!(warnings("login").is_empty(), "the control: nobody was refused");

    for _ in 0..3 {
        assert!(Mqtt::log_in(rig.endpoint, "any", "press-77", "wrong").is_err());
    }
    let login = "afferent_refused_total{kind=\"login\"}";
    wait_for("all of them are counted", || figure(&rig, login).filter(|count| *count == 3));
    let told = warnings("login");
    assert_eq!(told.len(), 1, "the first one, and then one a minute: {told:?}");
    assert!(told[0].contains("press-77") && told[0].contains("[[mqtt.user]]"), "{}", told[0]);

    let foreign = up("press-99");
    let _ = press.publish(&foreign, b"x");
    wait_for("the topic is counted", || figure(&rig, "afferent_refused_total{kind=\"publish\"}"));
    let told = warnings("publish");
    assert!(told.len() == 1 && told[0].contains("press-88") && told[0].contains(&foreign), "{told:?}");
    let _ = press.publish(up("press-88"), &Sealer::new("press-66", 66).seal("X"));
    wait_for("the message is counted", || rig.collector_figure("afferent_messages_refused_total").filter(|n| *n > 0));

    let report: Value =
        serde_json::from_str(&super::get_text(rig.http, "/v1/agents").expect("it answers")).expect("JSON");
    let of = |kind: &str| report["refused"].as_array().and_then(|all| all.iter().find(|one| one["kind"] == kind));
    let login = of("login").expect("it is there");
    assert_eq!((&login["name"], &login["user"], &login["count"]), (&"press-77".into(), &"press-77".into(), &3.into()));
    assert_eq!(of("publish").expect("it is there")["topic"], foreign);
    let listed =
        afferent_tests::process::run_in_pipe(&mut collector(&["agents", "--http", &rig.http.to_string()]), b"");
    let listed = listed.well();
    assert!(listed.contains("refused 3 times") && listed.contains("press-77"), "{listed}");
}

#[test]
fn what_is_posted_to_a_full_disk_is_answered_with_the_reason() {
    let mut rig = Rig::new("post-full");
    let disk = SmallDisk::new(&rig.folder, 4 << 20);
    rig.data = disk.path().to_path_buf();
    rig.collector_extra = "[storage]\nsegment_mib = 1".into();
    let _collector = rig.start_collector();
    let mut number = 0;
    let mut post = || {
        let data = "x".repeat(20_000);
        let event = |number: u32| {
            format!(
                r#"{{"specversion":"1.0","id":"{number}","source":"/w","type":"com.example.w.v1","subject":"a","data":"{data}"}}"#
            )
        };
        let events: Vec<String> = (0..20)
            .map(|_| {
                number += 1;
                event(number)
            })
            .collect();
        ask(rig.http, "POST", "/v1/events", "application/x-ndjson", &events.join("\n")).expect("it is answered")
    };
    wait_for("the control: with room it is taken", || (post().status == 200).then_some(()));
    disk.fill();
    let refused = wait_for("it is refused", || Some(post()).filter(|answer| answer.status != 200));
    assert_eq!(refused.status, 503, "{}", refused.body);
    assert!(
        refused.body.contains("nothing becomes durable") && refused.body.contains("free space"),
        "{}",
        refused.body
    );
    assert!(refused.body.contains("send the same events again"), "{}", refused.body);
    let retired =
        ask(rig.http, "POST", "/v1/agents/press-88/retire", "application/json", r#"{"who":"me","why":"gone"}"#);
    assert_eq!(retired.expect("it is answered").status, 503, "everything that the writer is to write is answered");
    disk.clear();
    disk.resize(64 << 20);
    wait_for("it is taken when there is room again", || (post().status == 200).then_some(()));
}
