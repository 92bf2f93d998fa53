//! Figures: whatever order events come in, and whatever a clock shows, they are those of what happened.

use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use afferent_tests::process::{Process, Rig, binary, get_text, run_to_end, wait_for};
use serde_json::{Value, json};

/// A collector, an agent, and a moment some hours ago, in seconds.
struct Plant {
    rig: Rig,
    begin: u64,
    sent: u64,
    _running: (Process, Process),
}

impl Plant {
    fn start(name: &str, hours_ago: u64) -> Self {
        let rig = Rig::new(name);
        let running = (rig.start_collector(), rig.start_agent());
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is after 1970").as_secs();
        Self { rig, begin: now - hours_ago * 3600, sent: 0, _running: running }
    }

    /// An event so many seconds after the beginning.
    fn event(&self, second: u64, subject: &str, rest: &str) -> String {
        format!("{{\"subject\":\"{subject}\",\"time\":{},{rest}}}\n", (self.begin + second) * 1_000_000)
    }

    fn executing(&self, second: u64, subject: &str) -> String {
        self.event(second, subject, r#""type":"state","state":"executing""#)
    }

    fn broken(&self, second: u64, subject: &str, code: &str) -> String {
        self.event(second, subject, &format!(r#""type":"breakdown","code":"{code}","severity":"error""#))
    }

    fn recovered(&self, second: u64, subject: &str, code: &str) -> String {
        self.event(second, subject, &format!(r#""type":"recovery","code":"{code}""#))
    }

    /// Sends lines one after the other: each part is accepted before the next is sent.
    fn tell(&mut self, parts: &[String]) {
        let mut producer = self.rig.producer();
        let mut lines = 0;
        for part in parts {
            producer.send(part.as_bytes()).expect("the agent reads");
            lines += part.lines().count() as u64;
            producer.wait_accepted(lines).expect("the agent answers");
        }
        assert!(producer.refused().is_empty(), "{:?}", producer.refused());
        self.sent += lines;
        let sent = self.sent;
        wait_for("the models have seen what was sent", || {
            let events = self.rig.log_end().filter(|end| *end >= sent)?;
            let list: Value = serde_json::from_str(&get_text(self.rig.http, "/v1/models")?).ok()?;
            let offset = |model: &Value| model["offset"].as_str().and_then(|offset| offset.parse::<u64>().ok());
            list.as_array()?.iter().all(|model| offset(model).is_some_and(|seen| seen >= events)).then_some(())
        });
    }

    /// What the command prints of a model.
    fn shown(&self, model: &str) -> Value {
        self.answer(model)["state"].clone()
    }

    fn answer(&self, model: &str) -> Value {
        let printed = self.print(&["show", model, "--output", "json"]);
        serde_json::from_str(&printed).unwrap_or_else(|error| panic!("{error}: {printed}"))
    }

    fn print(&self, arguments: &[&str]) -> String {
        let mut command = Command::new(binary("afferent-collector"));
        command.arg("models").args(arguments).args(["--http", &self.rig.http.to_string()]);
        let (status, printed) = run_to_end(&mut command);
        assert!(status.success(), "{printed}");
        printed
    }

    /// A second after the beginning, as the API takes times.
    fn text(&self, second: u64) -> String {
        let second = i64::try_from(self.begin + second).expect("a time of this century");
        jiff::Timestamp::from_second(second).expect("a time of this century").to_string()
    }

    /// The key figures of 88-C in a span, as the API has them; the command line must say the same.
    fn kpi_within(&self, from: Option<u64>, until: Option<u64>) -> Value {
        let given = [("from", from), ("until", until)];
        let given: Vec<(&str, String)> =
            given.iter().filter_map(|(name, second)| Some((*name, self.text((*second)?)))).collect();
        let query: String = given.iter().map(|(name, time)| format!("&{name}={time}")).collect();
        let told = get_text(self.rig.http, &format!("/v1/models/kpi?machine=88-C{query}")).expect("the API answers");
        let told: Value = serde_json::from_str(&told).expect("it is JSON");
        let options: Vec<String> = given.into_iter().flat_map(|(name, time)| [format!("--{name}"), time]).collect();
        let mut arguments = vec!["show", "kpi", "--output", "json", "--machine", "88-C", "--limit", "1"];
        arguments.extend(options.iter().map(String::as_str));
        let printed: Value = serde_json::from_str(&self.print(&arguments)).expect("it is JSON");
        assert_eq!((&printed["state"], &printed["counts_from"]), (&told["state"], &told["counts_from"]));
        assert_eq!(told["counts_from"]["offset"], "0");
        told["state"]["machines"]["88-C"].clone()
    }

    fn second(&self, time: &Value) -> Option<u64> {
        Some(seconds_of(time.as_str()?) - self.begin)
    }

    /// From when until when the breakdowns of a machine were, as `breakdowns` tells it.
    fn breakdowns(&self, machine: &str) -> Vec<(u64, Option<u64>)> {
        let state = self.shown("breakdowns");
        let of_machine = state["episodes"].as_array().expect("a list").iter().filter(|one| one["machine"] == machine);
        of_machine.map(|one| (self.second(&one["from"]).expect("a time"), self.second(&one["until"]))).collect()
    }

    /// The same as `states` tells it.
    fn not_available(&self, machine: &str) -> Vec<(u64, Option<u64>)> {
        let state = self.shown("states");
        let intervals = state["machines"][machine]["intervals"].as_array().expect("a list").iter();
        let down = intervals.filter(|one| one["state"] == "not_available");
        down.map(|one| (self.second(&one["from"]).expect("a time"), self.second(&one["until"]))).collect()
    }

    fn kpi(&self, machine: &str) -> Value {
        self.shown("kpi")["machines"][machine].clone()
    }
}

/// Seconds since the Unix epoch of a time as RFC 3339 writes it.
fn seconds_of(text: &str) -> u64 {
    let number = |range: std::ops::Range<usize>| text[range].parse::<u64>().expect("a time has digits there");
    let (year, month, day) = (number(0..4), number(5..7), number(8..10));
    // Years that begin in March have their leap day at their end.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = 365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 1 - 719_468;
    days * 86_400 + number(11..13) * 3600 + number(14..16) * 60 + number(17..19)
}

#[test]
fn breakdowns_are_the_same_in_all_models_whatever_order_their_events_come_in() {
    let mut plant = Plant::start("figures-order", 2);
    let p = &plant;
    let repeated: String = (0..3600).map(|second| p.executing(second, "every-second")).collect();
    let parts = [
        repeated,
        p.broken(600, "every-second", "E1"),
        p.recovered(900, "every-second", "E1"),
        // Late, after what ends it.
        p.executing(0, "late") + &p.executing(300, "late") + &p.executing(900, "late"),
        p.broken(60, "late", "E1"),
        p.recovered(300, "turned", "E1"),
        p.broken(60, "turned", "E1"),
        p.executing(900, "turned"),
        p.broken(600, "twice", "E1"),
        p.broken(60, "twice", "E1"),
        p.recovered(120, "twice", "E1"),
        p.recovered(660, "twice", "E1"),
        // About one part, and about another.
        p.executing(0, "parts"),
        p.broken(120, "parts/pump", "E1"),
        p.broken(100, "parts/belt", "E1"),
        p.recovered(200, "parts/belt", ""),
        p.executing(210, "parts/feeder"),
        p.recovered(300, "parts/pump", "E1"),
    ];
    plant.tell(&parts);
    for (machine, episodes, failures, down_s) in [
        ("every-second", vec![(600, Some(601))], 1, 1.0),
        ("late", vec![(60, Some(300))], 1, 240.0),
        ("turned", vec![(60, Some(300))], 1, 240.0),
        ("twice", vec![(60, Some(120)), (600, Some(660))], 2, 120.0),
    ] {
        assert_eq!(plant.breakdowns(machine), episodes, "{machine}");
        assert_eq!(plant.not_available(machine), episodes, "{machine}");
        let kpi = plant.kpi(machine);
        assert_eq!((&kpi["failures"], &kpi["down_s"]), (&json!(failures), &json!(down_s)), "{machine}: {kpi}");
        assert_eq!(kpi["late"], 0, "{machine}");
    }
    assert_eq!(plant.breakdowns("parts"), [(100, Some(200)), (120, Some(300))]);
    let kpi = plant.kpi("parts");
    assert_eq!((&kpi["failures"], &kpi["down_s"]), (&json!(1), &json!(200.0)), "{kpi}");
    let states = plant.shown("states");
    assert_eq!(plant.second(&states["machines"]["every-second"]["intervals"][0]["from"]), Some(0));

    // The control: followed as they stand in the log, the breakdown of `late` would have no end, and that of `turned` another.
    let events = plant.rig.events();
    let subjects = |event: &&Value| event["subject"] == "late" || event["subject"] == "turned";
    let (mut open, mut ended) = (std::collections::BTreeSet::new(), Vec::new());
    for event in events.iter().filter(subjects) {
        let subject = event["subject"].as_str().expect("a text");
        match event["type"].as_str().expect("a text") {
            "afferent.breakdown.v1" => _ = open.insert(subject),
            _ if open.remove(subject) => ended.push((subject, plant.second(&event["time"]))),
            _ => {}
        }
    }
    assert_eq!((open.into_iter().collect::<Vec<_>>(), ended), (vec!["late"], vec![("turned", Some(900))]));
}

#[test]
fn a_clock_that_is_decades_ahead_spoils_no_figure() {
    let mut plant = Plant::start("figures-clock", 1);
    let p = &plant;
    let ahead = |subject: &str, value: u32| {
        format!("{{\"subject\":\"{subject}\",\"time\":\"2099-01-01T00:00:00Z\",\"value\":{value}}}\n")
    };
    let count = |second, subject: &str, value: u32| p.event(second, subject, &format!("\"value\":{value}"));
    let now = 3600;
    let parts = [
        p.executing(now - 600, "88-C") + &p.event(now, "88-C", r#""type":"state","state":"not_executing""#),
        ahead("88-C/x", 1),
        count(0, "77-A/st1/produced", 100),
        count(0, "77-A/st2/produced", 5000),
        count(10, "77-A/st1/produced", 110) + &count(10, "77-A/st2/produced", 5010),
        count(20, "77-A/st2/produced", 5020) + &count(20, "77-A/st1/produced", 120),
        // Of a counter that stood at 130 now, 129 in between is jitter.
        count(30, "77-A/st1/produced", 130) + &count(30, "77-A/st1/produced", 129),
        ahead("77-A/st1/produced", 131),
    ];
    plant.tell(&parts);
    let kpi = plant.kpi("88-C");
    let idle = kpi["idle_s"].as_f64().expect("a number");
    assert!((0.0..300.0).contains(&idle) && kpi["operating_s"] == 600.0, "only until the sample came: {kpi}");
    assert_eq!(kpi["corrected"]["ingest"], 1, "and it is counted: {kpi}");
    assert_eq!(plant.kpi("77-A")["produced"], 51.0, "30 + 20 and one more now");
    let states = plant.shown("states");
    assert_eq!(states["machines"]["88-C"]["state"], "not_executing");
    // The control: the events stand in the log with the times that they came with.
    let is_ahead = |event: &&Value| event["time"].as_str().is_some_and(|time| time.starts_with("2099-01-01T00:00:00"));
    assert_eq!(plant.rig.events().iter().filter(is_ahead).count(), 2);
}

#[test]
fn silence_is_unknown_and_the_gateways_word_is_none_of_its_machines() {
    let mut plant = Plant::start("figures-silence", 20);
    let p = &plant;
    let begun = p.executing(0, "88-C") + &p.event(54_000, "88-C", r#""type":"state","state":"not_executing""#);
    let now = p.executing(72_000, "77-A") + &p.event(72_000, "press-88/cpu/usage", "\"value\":7");
    plant.tell(&[begun, now]);
    let kpi = plant.kpi("88-C");
    assert_eq!((&kpi["operating_s"], &kpi["unknown_s"]), (&json!(900.0), &json!(53_100.0)), "{kpi}");
    assert_eq!((plant.second(&kpi["from"]), plant.second(&kpi["until"])), (Some(0), Some(54_000)));
    let states = plant.shown("states");
    let machines = states["machines"].as_object().expect("machines").keys().collect::<Vec<_>>();
    assert_eq!(machines, ["77-A", "88-C"], "the agent's own computer is none");
    let shown: Vec<_> = (states["machines"]["88-C"]["intervals"].as_array().expect("a list").iter())
        .map(|interval| (interval["state"].as_str().expect("a text"), plant.second(&interval["until"])))
        .collect();
    let silent = ("no_data", Some(54_000));
    assert_eq!(shown, [("executing", Some(900)), silent, ("not_executing", Some(54_900)), ("no_data", None)]);
    // The control: its agent is heard, and tells of another machine that is at work.
    assert_eq!(
        (&states["machines"]["88-C"]["state"], &states["machines"]["77-A"]["state"]),
        (&json!("no_data"), &json!("executing"))
    );
    let sources: Value = plant.shown("sources");
    assert_eq!(sources["sources"]["press-88"]["online"], true);
}

#[test]
fn what_came_too_late_is_named_and_a_recompute_mends_it() {
    let mut plant = Plant::start("figures-late", 5);
    let p = &plant;
    let many: String = (0..600)
        .map(|number| {
            let code = format!("{number}-{}", "code".repeat(20));
            p.broken(3600 + number * 10, "88-C", &code) + &p.recovered(3605 + number * 10, "88-C", &code)
        })
        .collect();
    let late = p.broken(60, "88-C/belt", "E1") + &p.recovered(90, "88-C/belt", "E1");
    plant.tell(&[many, late]);
    let kpi = plant.kpi("88-C");
    assert!(plant.second(&kpi["horizon"]).expect("something has left it") > 3600, "{kpi}");
    assert_eq!((&kpi["failures"], &kpi["late"]), (&json!(600), &json!(2)), "the control: they are not counted");
    assert_eq!(
        (&kpi["late_first"]["subject"], plant.second(&kpi["late_first"]["time"])),
        (&json!("88-C/belt"), Some(60))
    );
    let late_at = kpi["late_last"]["offset"].as_str().expect("an offset");
    let events = plant.rig.events();
    let named = events.iter().find(|event| event["offset"] == late_at).expect("it is in the log");
    assert_eq!((&named["subject"], &named["type"]), (&json!("88-C/belt"), &json!("afferent.recovery.v1")));

    // A span that begins before the horizon: its figures are those from there on, and the row says so.
    let (horizon, asked) = (plant.second(&kpi["horizon"]).expect("a time"), 3600 + 1000);
    let within = plant.kpi_within(Some(asked), None);
    assert_eq!((&within["begins_late"], &within["ends_early"]), (&json!("horizon"), &Value::Null), "{within}");
    let from = plant.second(&within["from"]).expect("a time");
    assert!(from >= horizon && from > asked, "{within}");
    let begun = (0..600).filter(|number| 3600 + number * 10 > from).count();
    assert_eq!((&within["failures"], &within["down_s"]), (&json!(begun), &json!(begun as f64 * 5.0)), "{within}");

    plant.print(&["recompute", "kpi@1"]);
    let mended = plant.kpi("88-C");
    assert_eq!(
        (&mended["failures"], &mended["late"], plant.second(&mended["from"])),
        (&json!(601), &json!(0), Some(60))
    );
    assert_eq!(plant.answer("kpi")["counts_from"]["offset"], "0");
}

#[test]
fn the_key_figures_of_shifts_are_those_of_their_time_and_add_up() {
    let mut plant = Plant::start("figures-spans", 5);
    let p = &plant;
    let count = |second, value: u64| p.event(second, "88-C/st1/produced", &format!("\"value\":{value}"));
    let heard: String = (0..=12).map(|number| count(number * 600, number * 10)).collect();
    let parts = [
        p.executing(0, "88-C") + &p.executing(0, "77-A"),
        heard,
        // The first one lasts beyond the end of the first shift.
        p.broken(3400, "88-C", "E1") + &p.recovered(3700, "88-C", "E1"),
        p.broken(5000, "88-C/belt", "E2") + &p.recovered(5100, "88-C/belt", "E2"),
    ];
    plant.tell(&parts);
    let is_second = |event: &Value| event["type"] == "afferent.breakdown.v1" && event["data"]["code"] == "E2";
    let offset = plant.rig.wait_event("the second breakdown", is_second)["offset"].clone();
    let offset = offset.as_str().expect("an offset").to_owned();
    let [first, second] = [plant.kpi_within(Some(0), Some(3600)), plant.kpi_within(Some(3600), Some(7200))];
    let of = |row: &Value| {
        let figure = |name: &str| row[name].as_f64().expect("a number");
        (figure("failures"), figure("down_s"), figure("operating_s"), figure("produced"))
    };
    assert_eq!(of(&first), (1.0, 200.0, 3400.0, 50.0), "{first}");
    assert_eq!(of(&second), (1.0, 200.0, 3400.0, 60.0), "{second}");
    // It was restored in the second shift, and took 300 s; between it and the next one the machine operated for 1300 s.
    assert_eq!((&first["mttr_s"], &first["mtbf_s"]), (&Value::Null, &Value::Null), "{first}");
    assert_eq!((&second["mttr_s"], &second["mtbf_s"]), (&json!(200.0), &json!(1300.0)), "{second}");
    assert_eq!((plant.second(&first["from"]), plant.second(&first["until"])), (Some(0), Some(3600)));
    assert_eq!((&first["begins_late"], &first["ends_early"]), (&Value::Null, &Value::Null));
    let (whole, last) = (plant.kpi("88-C"), plant.kpi_within(Some(7200), None));
    let add = |name: &str| [&first, &second, &last].iter().filter_map(|row| row[name].as_f64()).sum::<f64>();
    for name in ["failures", "down_s", "operating_s", "planned_s", "unknown_s", "produced"] {
        assert_eq!(Some(add(name)), whole[name].as_f64(), "{name}");
    }
    // The control: a failure that counted in each shift that it touches would be counted three times.
    let touched = [(3400, 3700), (5000, 5100)].map(|(from, until)| until / 3600 - from / 3600 + 1);
    assert_eq!((touched.iter().sum::<u64>(), whole["failures"].as_u64()), (3, Some(2)));

    // More than there is: the row covers what is known, and says why that is less.
    let more = plant.kpi_within(Some(0), Some(20_000));
    assert_eq!((&more["ends_early"], plant.second(&more["until"])), (&json!("last_word"), Some(7200)));
    let earlier = plant.text(0).parse::<jiff::Timestamp>().expect("a time").as_second() - 3600;
    let earlier = jiff::Timestamp::from_second(earlier).expect("a time");
    let before = get_text(plant.rig.http, &format!("/v1/models/kpi?machine=88-C&from={earlier}")).expect("it answers");
    let before: Value = serde_json::from_str(&before).expect("it is JSON");
    let before = &before["state"]["machines"]["88-C"];
    assert_eq!((&before["begins_late"], plant.second(&before["from"])), (&json!("first_report"), Some(0)), "{before}");

    // As of a place, and under assumptions.
    let (from, until) = (plant.text(3600), plant.text(7200));
    let known =
        plant.print(&["show", "kpi", "--as-of", &offset, "--from", &from, "--until", &until, "--output", "json"]);
    let known: Value = serde_json::from_str(&known).expect("it is JSON");
    assert_eq!(known["state"]["machines"]["88-C"]["failures"], 0, "the second breakdown was not known yet");
    let plan = format!(
        "models = [\"kpi\"]\nspan = {{ from = \"{from}\", until = \"{until}\" }}\n[[alternative]]\nname = \"no belt\"\n\
         [[alternative.rule]]\naction = \"drop\"\ntype = \"breakdown\"\nsubject = \"88-C/belt\"\n"
    );
    let file = plant.rig.folder.path().join("plan.toml");
    std::fs::write(&file, plan).expect("it can be written");
    let printed = plant.print(&["what-if", file.to_str().expect("a path of letters")]);
    assert!(printed.lines().nth(1).is_some_and(|line| line.starts_with("counted from offset 0, ")), "{printed}");
    let row = |figure: &str| {
        let line = printed.lines().find(|line| line.starts_with(figure)).unwrap_or_else(|| panic!("{printed}"));
        line.split_whitespace().skip(1).collect::<Vec<_>>().join(" ")
    };
    assert_eq!((row("88-C/down_s"), row("88-C/failures")), ("200 100 -100".into(), "1 0 -1".into()));
}
