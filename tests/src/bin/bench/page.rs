//! The page with a thousand machines and a day of their samples, by the browser's own clock.

use std::fmt::Write;
use std::time::{SystemTime, UNIX_EPOCH};

use afferent_tests::process::{Browser, Rig, get_text, wait_for};
use serde_json::Value;

use crate::table::{Must, Table, median};

const MACHINES: u64 = 1000;
const DAY_S: u64 = 86_400;
/// From sample to sample of one machine.
const STEP_S: u64 = 60;
/// One machine in so many has broken down today.
const BROKEN_EVERY: u64 = 20;
/// How often everything is done; the median is shown.
const TIMES: usize = 5;

/// The grid is there, and nothing is loaded any more.
const GRID: &str = "document.querySelector('.grid .card') && !document.querySelector('[aria-busy=true]')";
/// A machine's page is there, with its samples.
const MACHINE: &str = "document.querySelector('.lane canvas') && !document.querySelector('[aria-busy=true]')";

pub fn measure(table: &mut Table) {
    let rig = Rig::new("bench-page");
    let _collector = rig.start_collector();
    let _agent = rig.start_agent();
    fill(&rig);
    let browser = Browser::start("bench-page-browser", rig.folder.path());
    browser.forget_files();
    let url = |view: &str| format!("http://{}/{view}", rig.http);

    let (mut paints, mut shown) = (Vec::new(), Vec::new());
    for _ in 0..TIMES {
        browser.go(&url("#/machines"));
        browser.wait(GRID);
        wait_for("the grid is measured", || measured(&browser, "machines").last().copied().map(|ms| shown.push(ms)));
        let paint = browser.run("return performance.getEntriesByName('first-contentful-paint')[0].startTime");
        paints.push(paint.as_f64().expect("the browser has painted"));
    }
    let figure = format!("page with {MACHINES} machines and a day of samples: first paint");
    table.add(figure, median(paints), "ms", Must::Most(1000.0));
    table.add("… all machines shown", median(shown), "ms", Must::Most(1000.0));

    for (name, act) in [
        ("filter", "document.querySelectorAll('.filters button')[1].click()"),
        (
            "search",
            "const i = document.querySelector('input[type=search]'); i.value = i.value === '77' ? '7' : '77'; \
                    i.dispatchEvent(new InputEvent('input', { bubbles: true }))",
        ),
        (
            "as of",
            "const i = document.querySelector('input[type=range]'); i.value = Number(i.max) - 1 - (window.moved = (window.moved ?? 0) + 1); \
                   i.dispatchEvent(new InputEvent('input', { bubbles: true }))",
        ),
    ] {
        interaction(table, &browser, name, act);
    }
    browser.go(&url("#/machines/M-0100?span=1d"));
    browser.wait(MACHINE);
    let spans = "const b = [...document.querySelectorAll('.filters button[aria-pressed]')]; \
                 b[(window.pressed = (window.pressed ?? 0) + 1) % b.length].click()";
    interaction(table, &browser, "span", spans);
}

/// Does something again and again, and adds how long the browser says that it took to show it.
fn interaction(table: &mut Table, browser: &Browser, name: &str, act: &str) {
    for time in 1..=TIMES {
        browser.run(act);
        wait_for(&format!("{name} is measured"), || (measured(browser, name).len() >= time).then_some(()));
    }
    table.add(format!("… {name}"), median(measured(browser, name)), "ms", Must::Most(100.0));
}

/// What the page has measured under this name, in milliseconds.
fn measured(browser: &Browser, name: &str) -> Vec<f64> {
    let entries = format!("return performance.getEntriesByName('afferent {name}').map((entry) => entry.duration)");
    browser.run(&entries).as_array().expect("a list").iter().filter_map(Value::as_f64).collect()
}

/// A day of a plant, up to now.
fn fill(rig: &Rig) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is after 1970").as_secs();
    let begin_us = |second: u64| (now - DAY_S + second) * 1_000_000;
    let mut producer = rig.producer();
    let (mut sent, mut lines) = (0, String::new());
    for machine in 0..MACHINES {
        let time = begin_us(0);
        writeln!(lines, r#"{{"subject":"M-{machine:04}","type":"state","state":"executing","time":{time}}}"#)
            .expect("a string takes text");
        sent += 1;
    }
    for second in (0..DAY_S).step_by(STEP_S as usize) {
        let time = begin_us(second);
        for machine in 0..MACHINES {
            let value = 60.0 + ((second / STEP_S + machine) % 100) as f64 / 10.0;
            writeln!(
                lines,
                r#"{{"subject":"M-{machine:04}/spindle/temperature","value":{value:.1},"unit":"Cel","time":{time}}}"#
            )
            .expect("a string takes text");
        }
        sent += MACHINES;
        if lines.len() >= 1 << 20 {
            producer.send(lines.as_bytes()).expect("the agent reads");
            producer.wait_accepted(sent).expect("the agent answers");
            lines.clear();
        }
    }
    for machine in (0..MACHINES).step_by(BROKEN_EVERY as usize) {
        let time = begin_us(DAY_S - 3600 + machine);
        writeln!(
            lines,
            r#"{{"subject":"M-{machine:04}","type":"breakdown","code":"E{machine}","severity":"error","time":{time}}}"#
        )
        .expect("a string takes text");
        sent += 1;
    }
    producer.send(lines.as_bytes()).expect("the agent reads");
    producer.wait_accepted(sent).expect("the agent answers");
    wait_for("the day is in the log", || (rig.log_end()? > sent && rig.agent_lag()? == 0).then_some(()));
    wait_for("the models have seen it", || {
        let models: Value = serde_json::from_str(&get_text(rig.http, "/v1/models")?).ok()?;
        models.as_array()?.iter().all(|model| model["state"] == "live" && model["behind"] == 0).then_some(())
    });
}
