//! The page, in a browser: what it paints, what it calls live, and what it lets people say.

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use afferent_protocol::batch::ClockReading;
use afferent_protocol::ids::Timestamp;
use afferent_tests::process::{Browser, Mqtt, Process, Reason, Rig, Sealer, Sse, ask, get_text, up, wait_for};
use rustix::process::Signal;
use serde_json::{Value, json};

use super::clocks::{clock_of_machine, prove, seal};

const HOUR_MS: i64 = 3_600_000;
const MINUTE_MS: i64 = 60_000;

struct Plant {
    rig: Rig,
    collector: Process,
    _agent: Process,
}

impl Plant {
    fn start(name: &str, models: &str) -> Self {
        let mut rig = Rig::new(name);
        rig.collector_extra = models.to_owned();
        let (collector, agent) = (rig.start_collector(), rig.start_agent());
        Self { rig, collector, _agent: agent }
    }

    fn tell(&self, lines: &[Value]) {
        let mut producer = self.rig.producer();
        for line in lines {
            producer.send(format!("{line}\n").as_bytes()).expect("the agent reads");
        }
        producer.wait_accepted(lines.len() as u64).expect("the agent accepts");
    }

    fn url(&self, view: &str) -> String {
        format!("http://{}/{view}", self.rig.http)
    }
}

fn browser(name: &str) -> Browser {
    Browser::start(name, &Path::new(env!("CARGO_TARGET_TMPDIR")).join("page"))
}

fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is after 1970").as_millis() as i64
}

fn state(subject: &str, state: &str, at_ms: i64) -> Value {
    json!({ "subject": subject, "type": "state", "state": state, "time": at_ms * 1000 })
}

fn alarm(condition: &str, transition: &str, at_ms: i64) -> Value {
    let time = at_ms * 1000;
    json!({ "subject": "88-C/belt", "type": "alarm", "condition": condition, "transition": transition, "time": time })
}

/// Gives where colours begin and end on a line of pixels through the states of the first timeline, as shares of its
/// width: `[[name, from, until], …]`, without what is thinner than four pixels.
const STATES_PAINTED: &str = r"
    const canvas = document.querySelector('.timeline canvas');
    if (!canvas) return null;
    const scale = canvas.width / canvas.getBoundingClientRect().width;
    const [left, right] = [Math.round(84 * scale), Math.round(canvas.width - 40 * scale)];
    const row = canvas.getContext('2d').getImageData(left, Math.round(22 * scale), right - left, 1).data;
    const style = getComputedStyle(document.documentElement);
    const probe = document.createElement('canvas').getContext('2d');
    const rgb = (name) => {
      probe.fillStyle = style.getPropertyValue(`--${name}`).trim();
      probe.fillRect(0, 0, 1, 1);
      return [...probe.getImageData(0, 0, 1, 1).data];
    };
    const names = ['executing', 'not-executing', 'not-available', 'out-of-service', 'no-data'];
    const colours = names.map((name) => [name, rgb(name)]);
    // What is hatched has other pixels in between.
    const at = (x) => {
      const pixel = [...row.slice(4 * x, 4 * x + 4)];
      const is = (rgba) => pixel[3] > 200 && rgba.slice(0, 3).every((part, at) => Math.abs(part - pixel[at]) < 6);
      return colours.find(([, rgba]) => is(rgba))?.[0];
    };
    const runs = [];
    for (let x = 0; x < right - left; x += 1) {
      const name = at(x);
      const last = runs[runs.length - 1];
      if (name && last?.[0] === name && x - last[2] < 12 * scale) last[2] = x + 1;
      else if (name) runs.push([name, x, x + 1]);
    }
    const share = (x) => x / (right - left);
    return runs.filter(([, from, until]) => until - from > 4).map(([name, from, until]) => [name, share(from), share(until)]);
";

#[test]
fn nothing_is_painted_right_of_now_and_a_silent_machine_has_no_data_from_the_end_of_its_period_on() {
    let plant = Plant::start(
        "page-now",
        "[[model]]\nname = \"states\"\nversion = 2\nof = \"states\"\nsettings = { no_data_s = 120 }\n",
    );
    let now = now_ms();
    // It speaks every minute, and then no more: two minutes later nobody knows its state.
    let words = (20..=45).rev().map(|ago| state("88-C", "executing", now - ago * MINUTE_MS));
    plant.tell(&words.collect::<Vec<_>>());
    let silent = now - 18 * MINUTE_MS;
    let browser = browser("page-now-browser");
    // Of the hour that is shown the last half has not been yet.
    let until = now + HOUR_MS / 2;
    browser.go(&plant.url(&format!("#/machines/88-C?span=1h&until={until}")));
    let share = |at: i64| (at - (until - HOUR_MS)) as f64 / HOUR_MS as f64;
    let painted = wait_for("what the machine said, and that it says nothing any more, is painted", || {
        let runs = browser.run(STATES_PAINTED);
        let last = runs.as_array()?.last()?.clone();
        (last[0] == "no-data" && (share(silent) - last[1].as_f64()?).abs() < 0.02).then_some(runs)
    });
    let last = painted.as_array().and_then(|runs| runs.last()).expect("something is painted");
    let end = last[2].as_f64().expect("a number");
    assert!(end <= share(now_ms()) + 0.003, "{painted} goes beyond now, {}", share(now_ms()));
    assert!(end > share(now) - 0.02, "{painted} ends before now, {}", share(now));
    // The control: without now, the same intervals go on to the end of the chart.
    let ends = browser.run(&format!(
        "return import('/assets/parts/timeline.js').then(({{ intervalsOf }}) => {{
            const machine = {{ state: 'executing', since: new Date({now} - 1000).toISOString(),
                intervals: [{{ state: 'executing', from: new Date({now} - 1000).toISOString(), until: null }}] }};
            const end = (now) => intervalsOf(machine, {now} - 5000, {until}, now).at(-1).end;
            return [end(undefined), end({now})]; }})"
    ));
    assert_eq!(ends, json!([until, now]));
    // That pixels are read back is this test's own doing.
    let faults: Vec<String> =
        browser.complaints().into_iter().filter(|fault| !fault.starts_with("rendering:")).collect();
    assert!(faults.is_empty(), "{faults:#?}");
}

#[test]
fn a_collector_that_has_stopped_speaking_is_not_called_live() {
    let plant = Plant::start("page-silent", "");
    let browser = browser("page-silent-browser");
    browser.go(&plant.url("#/machines"));
    browser.wait("document.querySelector('.stream.live')");
    // The control: a stream of which only the connection is looked at.
    browser.run(
        "window.other = new EventSource('/v1/stream'); window.went = null; \
        new MutationObserver(() => { window.went ??= performance.now(); }) \
            .observe(document.querySelector('.stream'), { attributes: true })",
    );
    browser.wait("window.other.readyState === EventSource.OPEN");
    // It stays live while nothing happens but heartbeats.
    let begun = browser.run("return performance.now()");
    browser.wait(&format!("performance.now() - {begun} > 13000"));
    assert_eq!(browser.run("return document.querySelector('.stream').className"), "stream live");
    plant.collector.signal(Signal::STOP);
    browser.wait("document.querySelector('.stream.reconnecting')");
    assert_eq!(browser.run("return window.other.readyState === EventSource.OPEN"), true);
    plant.collector.signal(Signal::CONT);
    browser.wait("document.querySelector('.stream.live')");
}

#[test]
fn a_stream_that_leaves_out_what_happens_says_that_it_is_alive_all_the_same() {
    let plant = Plant::start("page-heartbeat", "");
    let mut stream = Sse::open(plant.rig.http, "/v1/stream?type=breakdown&heartbeat=1").expect("the stream opens");
    let producer = plant.rig.producer();
    let stop = std::sync::atomic::AtomicBool::new(false);
    let beats: Vec<Value> = std::thread::scope(|scope| {
        scope.spawn(|| {
            // The log grows more often than the stream says anything.
            let mut writer = producer.writer().expect("the socket can be written");
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                std::io::Write::write_all(
                    &mut writer,
                    b"{\"subject\":\"88-C\",\"type\":\"state\",\"state\":\"executing\"}\n",
                )
                .ok();
                std::thread::sleep(std::time::Duration::from_millis(50));
            }
        });
        let beats = (0..3).map(|_| stream.next_data().map(|data| serde_json::from_str(&data).expect("it is JSON")));
        let beats = beats.collect::<Result<_, _>>();
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        beats.expect("the stream goes on")
    });
    assert!(beats.iter().all(|beat| beat["time"].is_string() && beat["type"].is_null()), "{beats:?}");
    let (status, _) = afferent_tests::process::get(plant.rig.http, "/v1/stream?heartbeat=0").expect("the API answers");
    assert_eq!(status, 400);
}

#[test]
fn whole_numbers_have_all_their_digits() {
    let plant = Plant::start("page-digits", "");
    let now = now_ms() * 1000;
    plant.tell(&[
        json!({ "subject": "88-C/produced", "value": 1_234_567, "time": now }),
        json!({ "subject": "88-C/large", "value": 9_007_199_254_740_993_i64, "time": now }),
        json!({ "subject": "88-C/temperature", "value": 81.234_567_89, "unit": "Cel", "time": now }),
    ]);
    let browser = browser("page-digits-browser");
    browser.go(&plant.url("#/machines/88-C?span=1h"));
    browser.wait("document.querySelectorAll('.lane').length === 3 && !document.querySelector('[aria-busy=true]')");
    browser.wait("document.querySelectorAll('[aria-labelledby=values] tbody tr').length === 3");
    let values = browser.run(
        "return Object.fromEntries([...document.querySelectorAll('[aria-labelledby=values] tbody tr')].map((row) => \
         [row.querySelector('th').textContent, row.querySelector('.number').textContent]))",
    );
    assert_eq!(values["produced"], "1,234,567", "{values}");
    assert_eq!(
        values["large"].as_str().map(|text| text.replace(',', "")).as_deref(),
        Some("9007199254740993"),
        "{values}"
    );
    assert_eq!(values["temperature"], "81.2346\u{a0}°C");
    let lanes = browser
        .run("return [...document.querySelectorAll('.lane figcaption')].map((lane) => lane.textContent)")
        .to_string();
    assert!(lanes.contains("1,234,567") && lanes.contains("9,007,199,254,740,993"), "{lanes}");
    // The control: six digits, and a double, are others.
    let rounded = "return [new Intl.NumberFormat('en', { maximumSignificantDigits: 6 }).format(1234567), \
                   String(JSON.parse('9007199254740993'))]";
    assert_eq!(browser.run(rounded), json!(["1,234,570", "9007199254740992"]));
}

#[test]
fn a_time_is_found_in_history_that_came_later() {
    // A word of 2013 is to count until today.
    let settings =
        "[[model]]\nname = \"states\"\nversion = 2\nof = \"states\"\nsettings = { no_data_s = 4000000000 }\n";
    let plant = Plant::start("page-history", settings);
    // What happened now came first, and what was years ago came after it.
    plant.tell(&[state("77-A", "executing", now_ms())]);
    let begin = 1_385_892_000_000;
    plant.tell(&[
        state("88-C", "executing", begin),
        state("88-C", "not_executing", begin + 2 * HOUR_MS),
        state("88-C", "executing", begin + 4 * HOUR_MS),
    ]);
    plant.rig.wait_event("the history", |event| {
        event["time"].as_str().is_some_and(|time| time.starts_with("2013-12-01T14"))
    });
    let browser = browser("page-history-browser");
    browser.go(&plant.url("#/machines/88-C?span=8h"));
    browser.wait("document.querySelector('.lead .state') && document.querySelector('.go-to form')");
    let go = |at: i64| {
        browser.run(&format!(
            "document.querySelector('.go-to').open = true; const field = document.querySelector('.go-to input'); \
             return import('/assets/parts/time.js').then(({{ fieldOf }}) => {{ field.value = fieldOf({at}); \
             field.dispatchEvent(new InputEvent('input', {{ bubbles: true }})); }})"
        ));
        browser.wait("document.querySelector('.go-to input').value.startsWith('2013')");
        browser.run("document.querySelector('.go-to button').click()");
    };
    go(begin + 3 * HOUR_MS);
    browser.wait("document.querySelector('.as-of .banner') && document.querySelector('.lead .state.not_executing')");
    browser.wait(&format!("location.hash.includes('until={}')", begin + 3 * HOUR_MS));
    go(begin + HOUR_MS);
    browser.wait("document.querySelector('.as-of .banner') && document.querySelector('.lead .state.executing')");
    // The control: when it was appended, nothing of it had been by then.
    let by_ingest = get_text(plant.rig.http, "/v1/models/states?as_of=2013-12-01T11:00:00Z").expect("the API answers");
    let by_ingest: Value = serde_json::from_str(&by_ingest).expect("it is JSON");
    assert_eq!((&by_ingest["offset"], &by_ingest["state"]["machines"]), (&json!("0"), &json!({})));
}

#[test]
fn a_certificate_is_asked_for_up_to_the_last_attestation() {
    let plant = Plant::start("page-attested", "");
    let attested = plant.rig.wait_event("an attestation", |event| !event["data"]["attestation"].is_null());
    let attested = attested["time"].as_str().expect("a time is a text").to_owned();
    // The control: by now it is another second.
    let browser = browser("page-attested-browser");
    browser.go(&plant.url("#/sources"));
    browser.wait(&format!("Date.now() - Date.parse('{attested}') > 2000"));
    browser.go(&plant.url("#/sources?source=press-88"));
    let fields = "[...document.querySelectorAll('form.amend input[type=datetime-local]')].map((field) => field.value)";
    browser.wait(&format!("{fields}.length === 2 && {fields}.every(Boolean)"));
    let found = browser.run(&format!("return {fields}.map((field) => Math.floor(Date.parse(field) / 1000))"));
    // Another one may have come meanwhile.
    let events = plant.rig.events();
    let times: Vec<&Value> =
        events.iter().filter(|event| !event["data"]["attestation"].is_null()).map(|event| &event["time"]).collect();
    let all = browser.run(&format!("return {}.map((time) => Math.floor(Date.parse(time) / 1000))", json!(times)));
    let until = found[1].as_i64().expect("a number");
    assert!(all.as_array().is_some_and(|all| all.contains(&until.into())), "{until} is not among {all}");
    assert_eq!(found[0], until - 86_400);
}

#[test]
fn nobody_amends_the_log_without_a_name() {
    let plant = Plant::start("page-name", "");
    plant.tell(&[alarm("SLIP", "raised", now_ms())]);
    let raised = plant.rig.wait_event("the alarm", |event| event["data"]["condition"] == "SLIP")["offset"].clone();
    let browser = browser("page-name-browser");
    browser.go(&plant.url("#/machines/88-C"));
    let button = "document.querySelector('button[aria-label=\"Acknowledge SLIP\"]')";
    browser.wait(button);
    browser.run(&format!("{button}.click()"));
    browser.wait("document.querySelector('.problem')?.textContent.includes('Nobody would know who said this')");
    browser.wait("document.activeElement.matches('input[autocomplete=name]')");
    // The API says the same to whoever asks it by other means.
    let event = |by: &str| {
        json!({ "specversion": "1.0", "id": "1", "source": "curl", "type": "afferent.amendment.v1", "subject": "88-C",
                "data": { "of": raised, "action": "acknowledge", "by": by } })
        .to_string()
    };
    let post = |by: &str| {
        ask(plant.rig.http, "POST", "/v1/events", "application/cloudevents+json", &event(by)).expect("the API answers")
    };
    let refused = post("");
    assert!(
        refused.status == 422 && refused.body.contains("give the name of the person who amends the log"),
        "{refused:?}"
    );
    assert!(!plant.rig.events().iter().any(|event| event["type"] == "afferent.amendment.v1"));
    // The control: with a name it is taken.
    browser.press("Ada");
    browser.run(&format!("{button}.click()"));
    let told = plant.rig.wait_event("the acknowledgement", |event| event["data"]["action"] == "acknowledge");
    assert_eq!(told["data"]["by"], "Ada");
    browser.wait(&format!("!{button}"));
}

#[test]
fn around_a_breakdown_everything_is_listed_in_order_and_one_that_lasts_is_seen_up_to_now() {
    let plant = Plant::start("page-around", "");
    let begun = now_ms() - 10 * MINUTE_MS;
    plant.tell(&[
        alarm("AFTER", "raised", begun + 21_000),
        alarm("BLIP", "cleared", begun - 7 * MINUTE_MS),
        json!({ "subject": "88-C/belt", "type": "breakdown", "code": "E1", "severity": "error", "time": begun * 1000 }),
        state("88-C", "not_executing", begun - MINUTE_MS),
        alarm("BLIP", "raised", begun - 8 * MINUTE_MS),
        alarm("CAUSE", "raised", begun - 30_000),
        alarm("LONG AGO", "raised", begun - 40 * MINUTE_MS),
        alarm("LONG AGO", "cleared", begun - 39 * MINUTE_MS),
    ]);
    let id = plant.rig.wait_logged("E1")["offset"].as_str().expect("a text").to_owned();
    plant.rig.wait_event("the last line", |event| {
        event["data"]["transition"] == "cleared" && event["data"]["condition"] == "LONG AGO"
    });
    let browser = browser("page-around-browser");
    browser.go(&plant.url(&format!("#/breakdowns/{id}")));
    let rows = "[...document.querySelectorAll('[aria-labelledby=order] tbody tr')].map((row) => row.querySelector('th').textContent.trim())";
    browser.wait(&format!("{rows}.length === 6"));
    let order = [
        "Alarm BLIP raised",
        "Alarm BLIP cleared",
        "Not executing",
        "Alarm CAUSE raised",
        "Breakdown E1",
        "Alarm AFTER raised",
    ];
    let found = browser.run(&format!("return {rows}"));
    let found: Vec<&str> = found.as_array().expect("a list").iter().map(|row| row.as_str().expect("a text")).collect();
    for (row, expected) in found.iter().zip(order) {
        assert!(row.ends_with(expected), "{found:?}");
    }
    let part = |at: usize| {
        browser.run(&format!("return document.querySelectorAll('[aria-labelledby=order] tbody tr')[{at}].textContent"))
    };
    assert!(part(3).as_str().is_some_and(|row| row.contains("First out")), "{}", part(3));
    assert!(
        part(5).as_str().is_some_and(|row| row.contains("consequence") && !row.contains("First out")),
        "{}",
        part(5)
    );
    // They are drawn too: as rows of the timeline's table.
    let drawn = browser.run("return document.querySelector('.timeline details').textContent");
    assert!(
        ["BLIP", "CAUSE", "AFTER"].iter().all(|name| drawn.as_str().is_some_and(|text| text.contains(name))),
        "{drawn}"
    );
    // The window ends now, and not 15 minutes after the beginning.
    let end = browser.run("return Date.parse(document.querySelector('[aria-labelledby=order] .filters .quiet').textContent.split(' to ')[1])");
    let end = end.as_i64().expect("a number");
    assert!(end <= now_ms() && end > now_ms() - 2 * MINUTE_MS && end < begun + 15 * MINUTE_MS, "{end}");
    // The control: an alarm that was over before is none of those that the breakdown followed from.
    let model: Value =
        serde_json::from_str(&get_text(plant.rig.http, "/v1/models/breakdowns").expect("the API answers"))
            .expect("it is JSON");
    let known = model["state"]["episodes"][0]["alarms"].as_array().expect("alarms");
    let role = |condition: &str| {
        let alarm = known.iter().find(|alarm| alarm["condition"] == condition);
        alarm.map(|alarm| alarm["role"].as_str().expect("a role"))
    };
    let roles = ["BLIP", "CAUSE", "AFTER"].map(role);
    assert_eq!(roles, [Some("before"), Some("first_out"), Some("consequence")], "{known:?}");
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

/// What the page says of the lag and the clock of press-88.
const LAG_AND_CLOCK: &str = "[...document.querySelectorAll('tbody tr')]\
    .filter((row) => row.querySelector('th').textContent === 'press-88')\
    .map((row) => ['Lag', 'Clock off by'].map((title) => row.querySelector(`[data-title=\"${title}\"]`).textContent))[0]";

#[test]
fn the_past_shows_the_lag_and_the_clock_that_the_present_showed_then() {
    let rig = Rig::new("page-lag");
    let _collector = rig.start_collector();
    let mut sealer = Sealer::new("press-88", 5);
    let mut mqtt = Mqtt::connect_as(rig.mqtt, "press-88").expect("it is let in");
    let (second_us, day_us) = (1_000_000, 86_400_000_000);
    let booted = now_ms() * 1000 - 9000 * second_us;
    prove(&sealer, &mut mqtt, || clock_of_machine(booted, -10 * day_us));
    let browser = browser("page-lag-browser");
    let url = |view: &str| format!("http://{}/{view}", rig.http);
    let agent = || {
        let report: Value = serde_json::from_str(&get_text(rig.http, "/v1/agents")?).ok()?;
        let agent = report["agents"].as_array()?.iter().find(|agent| agent["name"] == "press-88")?.clone();
        Some((agent["lag_s"].clone(), agent["clock_offset_s"].clone()))
    };
    let mut seen = Vec::new();
    // Two batches that were kept back for so long, with a clock that somebody set in between.
    for (code, late_s, off_us) in [("first", 2000, -10 * day_us), ("second", 7000, -3 * day_us)] {
        let clock = clock_of_machine(booted, off_us);
        let clock = ClockReading {
            wall: Timestamp::clamped(clock.wall.micros() - late_s * second_us),
            monotonic_us: clock.monotonic_us - late_s.unsigned_abs() * 1_000_000,
            ..clock
        };
        let batch = seal(&mut sealer, code, &clock);
        assert_eq!(mqtt.publish(up("press-88"), &batch).expect("it is answered"), Reason::SUCCESS);
        rig.wait_logged(code);
        browser.go(&url("#/sources"));
        browser.wait(&format!("{LAG_AND_CLOCK}?.every((text) => text !== '–')"));
        let shown = browser.run(&format!("return {LAG_AND_CLOCK}"));
        let told = agent().expect("it is known");
        assert!((told.0.as_f64().expect("it is measured") - late_s as f64).abs() < 100.0, "{told:?}");
        // The control: by its own clock the batch would be days old.
        let by_its_clock = (now_ms() * 1000 - clock.wall.micros()) / second_us;
        assert!(by_its_clock > 3 * 86_400 + late_s - 100, "{by_its_clock}");
        seen.push((rig.log_end().expect("the log has an end"), shown, told));
    }
    assert!(seen[0].1 != seen[1].1, "{seen:?}");
    for (offset, shown, told) in &seen {
        let past = get_text(rig.http, &format!("/v1/models/sources?as_of={offset}")).expect("the API answers");
        let past: Value = serde_json::from_str(&past).expect("it is JSON");
        let source = &past["state"]["sources"]["press-88"];
        assert_eq!((&source["lag_s"], &source["clock_offset_s"]), (&told.0, &told.1), "{past}");
        browser.go(&url(&format!("#/sources?as_of={offset}")));
        browser.wait(&format!("document.querySelector('.as-of .banner') && {LAG_AND_CLOCK}"));
        assert_eq!(browser.run(&format!("return {LAG_AND_CLOCK}")), *shown, "as of {offset}");
    }
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

#[test]
fn beside_figures_it_says_how_much_is_known_from_where_they_count_and_what_came_too_late() {
    let mut rig = Rig::new("page-counted");
    rig.collector_extra = "storage.segment_mib = 1\n".into();
    let collector = rig.start_collector();
    let _agent = rig.start_agent();
    let mut producer = rig.producer();
    let mut accepted = 0;
    let mut tell = |lines: Vec<Value>| {
        let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
        producer.send(text.as_bytes()).expect("the agent reads");
        accepted += lines.len() as u64;
        producer.wait_accepted(accepted).expect("the agent accepts");
    };
    // As much as retention is to remove.
    tell(vec![state("77-A", "executing", now_ms()); 2]);
    let words = "x".repeat(1000);
    tell((0..6000).map(|_| json!({ "subject": "77-A/note", "value": words })).collect());
    wait_for("all of it is in the log", || (rig.log_end()? > 6000 && rig.agent_lag()? == 0).then_some(()));
    collector.terminate();
    rig.collector_extra += "retention.size_mib = 3\n";
    let _collector = rig.start_collector();
    wait_for("the oldest segments are gone", || {
        rig.collector_figure("afferent_log_first_offset").filter(|first| *first > 0)
    });
    let browser = browser("page-counted-browser");
    let url = |view: &str| format!("http://{}/{view}", rig.http);
    let text_of = |section: &str| {
        let found = browser.run(&format!(
            "return document.querySelector('[aria-labelledby={section}]')?.textContent.replace(/\\s+/g, ' ') ?? ''"
        ));
        found.as_str().expect("a text").to_owned()
    };
    browser.go(&url("#/machines/77-A"));
    browser.wait("document.querySelector('[aria-labelledby=figures] .kpi')");
    let from_the_beginning = text_of("figures");
    assert!(!from_the_beginning.contains("Counts from"), "the control: {from_the_beginning}");
    let model = |name: &str| -> Option<Value> {
        serde_json::from_str(&get_text(rig.http, &format!("/v1/models/{name}"))?).ok()
    };
    for name in ["kpi", "states", "breakdowns"] {
        let asked = ask(rig.http, "POST", &format!("/v1/models/{name}/recompute"), "text/plain", "");
        assert_eq!(asked.expect("the API answers").status, 202);
        wait_for("it is made again", || (model(name)?["counts_from"]["offset"] != "0").then_some(()));
    }

    // Something is known of 6 h 12 min of 8 h: its words hold for 15 min.
    let begin = now_ms() - 8 * HOUR_MS;
    let heard = (0..36).map(|step| step * 10).chain([357, 480]);
    tell(heard.map(|minute| state("88-C", "executing", begin + minute * MINUTE_MS)).collect());
    let many = (0..400).flat_map(|number| {
        let code = format!("{number}-{}", "code".repeat(20));
        let at = begin + HOUR_MS + number * 5000;
        ["breakdown", "recovery"]
            .map(|kind| json!({ "subject": "88-C", "type": kind, "code": code, "time": at * 1000 }))
    });
    tell(many.collect());
    let late = (0..3).map(|number| {
        json!({ "subject": "88-C", "type": "recovery", "code": "LATE", "time": (begin + 5000 + number) * 1000 })
    });
    tell(late.collect());
    wait_for("the models have seen it", || {
        ["kpi", "states", "breakdowns"]
            .iter()
            .all(|name| model(name).is_some_and(|model| model["state"]["machines"]["88-C"]["late"] == 3))
            .then_some(())
    });
    browser.go(&url("#/machines/88-C"));
    for section in ["figures", "time", "breakdowns"] {
        browser.wait(&format!("document.querySelector('[aria-labelledby={section}] .late')"));
        let text = text_of(section);
        assert!(text.contains("3 events came too late to be counted: recompute"), "{section}: {text}");
        assert!(text.contains("Events that come late are counted back to 2"), "{section}: {text}");
        assert!(text.contains("Counts from 2") && text.contains(", older events were removed."), "{section}: {text}");
    }
    let figures = text_of("figures");
    assert!(figures.contains("Known for 6 h 12 min of 8 h, from"), "{figures}");
    assert!(figures.contains("Unknown1 h 48 min"), "{figures}");
    browser.go(&url("#/breakdowns"));
    browser.wait("document.querySelector('main .late') && document.querySelector('main .counts-from')");
    // The control: nothing of another machine came late.
    browser.go(&url("#/machines/77-A"));
    browser.wait("document.querySelector('[aria-labelledby=figures] .counts-from')");
    assert!(!text_of("figures").contains("too late"), "{}", text_of("figures"));
    browser.go(&url("#/what-if"));
    browser.wait("document.querySelector('form.amend button.main')");
    browser.run("document.querySelector('form.amend button.main').click()");
    browser.wait("[...document.querySelectorAll('.counts-from')].some((text) => text.textContent.startsWith('kpi@1: Counts from'))");
    assert_eq!(browser.complaints(), Vec::<String>::new());
}
