//! The picture of README: a machine two minutes after it broke down, in a plant of six. It is left in the target folder,
//! `tmp/page/readme.png`.

use std::time::{SystemTime, UNIX_EPOCH};

use afferent_tests::process::{LOOKS, Rig};

use crate::SETTLED;
use crate::plant::browser;

const MINUTE_US: u128 = 60_000_000;
/// How long the plant has been at work.
const MINUTES: u128 = 120;

/// The machines, and how many minutes ago their belts tore.
const MACHINES: [(&str, &[u128]); 6] =
    [("88-C", &[96, 61]), ("88-D", &[]), ("Press 3", &[80]), ("Oven 1", &[]), ("Lathe 12", &[44]), ("Robot 7", &[])];

/// What the plant's machines report, in order of time.
fn lines() -> Vec<String> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is after 1970").as_micros();
    let mut all = Vec::new();
    let mut add = |minutes_ago: f64, subject: &str, rest: &str| {
        let time = now - (minutes_ago * MINUTE_US as f64) as u128;
        all.push((time, format!(r#"{{"subject":"{subject}","time":{time},{rest}}}"#)));
    };
    for (at, (machine, torn)) in MACHINES.iter().enumerate() {
        add(MINUTES as f64, machine, r#""type":"state","state":"executing""#);
        for minutes_ago in *torn {
            let breakdown = r#""type":"breakdown","code":"BELT-1","severity":"error","message":"Belt torn""#;
            add(*minutes_ago as f64, machine, breakdown);
            add(*minutes_ago as f64 - 6.0, machine, r#""type":"recovery","code":"BELT-1""#);
        }
        for step in 0..MINUTES * 2 {
            let minutes_ago = MINUTES as f64 - step as f64 / 2.0;
            // What broke is felt before: 88-C gets hot, and then it shakes.
            let fever = if *machine == "88-C" { (22.0 - minutes_ago).max(0.0).powi(2) / 9.0 } else { 0.0 };
            let swing = (step as f64 / 9.0 + at as f64).sin() + (step as f64 * 7.3).sin() / 4.0;
            let heat = 66.0 + 4.0 * swing + fever;
            let shake = 2.4 + (step as f64 * 3.1).sin() / 3.0 + (heat - 80.0).max(0.0) / 6.0;
            add(minutes_ago, &format!("{machine}/spindle/temperature"), &format!(r#""value":{heat:.1},"unit":"Cel""#));
            add(minutes_ago, &format!("{machine}/spindle/vibration"), &format!(r#""value":{shake:.2},"unit":"mm/s""#));
        }
    }
    add(3.0, "88-C", r#""type":"alarm","condition":"overtemp","transition":"raised","priority":700"#);
    add(2.0, "88-C", r#""type":"breakdown","code":"E42","severity":"error","message":"Machine 88-C breaks down""#);
    all.sort_by_key(|(time, _)| *time);
    all.into_iter().map(|(_, line)| line).collect()
}

#[test]
fn the_picture_of_readme_shows_what_broke_and_what_it_felt_before() {
    let rig = Rig::new("page-picture");
    let (_collector, _agent) = (rig.start_collector(), rig.start_agent());
    let lines = lines();
    let mut producer = rig.producer();
    producer.send(format!("{}\n", lines.join("\n")).as_bytes()).expect("the agent reads");
    producer.wait_accepted(lines.len() as u64).expect("the agent accepts");
    let breakdown = rig.wait_logged("E42")["offset"].as_str().expect("an offset is a text").to_owned();

    let browser = browser("page-picture-browser");
    browser.look(LOOKS[0]);
    browser.go(&format!("http://{}/#/breakdowns/{breakdown}", rig.http));
    browser.wait(SETTLED);
    browser.wait("document.querySelectorAll('.lane canvas').length >= 2");
    browser.wait("document.querySelector('.stream.live')");
    let shown = browser.run("return document.querySelector('main').textContent");
    let shown = shown.as_str().expect("a text");
    for word in ["88-C", "E42", "Machine 88-C breaks down", "overtemp", "spindle/temperature", "spindle/vibration"] {
        assert!(shown.contains(word), "{word} is not in the picture: {shown}");
    }
    browser.shoot("readme");
}
