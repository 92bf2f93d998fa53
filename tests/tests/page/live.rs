//! What happens while people look: events come, alarms are acknowledged, the collector goes and comes back.

use rustix::process::Signal;
use serde_json::json;

use crate::SETTLED;
use crate::plant::{Plant, browser};

#[test]
fn what_happens_is_shown_without_loading_anew_and_takes_neither_focus_nor_place() {
    let plant = Plant::start("page-live");
    let more: Vec<String> =
        (0..60).map(|at| format!(r#"{{"subject":"M-{at:02}","type":"state","state":"executing"}}"#)).collect();
    plant.tell(&more);
    let browser = browser("page-live-browser");
    browser.go(&plant.url("#/machines"));
    browser.wait("document.querySelectorAll('.card.executing').length > 10 && document.querySelector('.stream.live')");
    browser.run("window.same = true; const all = document.querySelectorAll('.card.executing'); window.held = all[8]; held.focus(); scrollTo(0, 260)");
    let place = browser.run("return scrollY");
    assert_ne!(place, 0);
    plant.tell(&[r#"{"subject":"M-59","type":"breakdown","code":"E42","severity":"error"}"#.to_owned()]);
    browser.wait(
        "[...document.querySelectorAll('.card.not_available')].some((card) => card.textContent.startsWith('M-59'))",
    );
    assert_eq!(
        browser.run("return [window.same, document.activeElement === window.held, scrollY]"),
        json!([true, true, place])
    );
    browser.wait("document.getElementById('aloud').textContent.includes('M-59: Not available')");
}

#[test]
fn an_alarm_is_acknowledged_by_keyboard_in_somebodys_name_and_the_keyboard_goes_on_from_there() {
    let plant = Plant::start("page-alarm");
    let browser = browser("page-alarm-browser");
    browser.go(&plant.url("#/machines/88-C"));
    let button = |name: &str| format!("document.querySelector('button[aria-label=\"{name} BELT_SLIP\"]')");
    browser.wait(&button("Acknowledge"));
    browser.run("document.querySelector('.amend input[autocomplete=name]').focus()");
    browser.press("Ada");
    browser.run(&format!("{}.focus()", button("Acknowledge")));
    browser.press("\u{e007}");
    let told = plant.rig.wait_event("the acknowledgement", |event| event["data"]["action"] == "acknowledge");
    assert_eq!(told["data"]["by"], "Ada");
    // Its row has moved below the one that nobody has acknowledged, and the button is gone.
    browser.wait(&format!("!{}", button("Acknowledge")));
    browser.wait(&format!("document.activeElement === {}", button("Shelve 8 h")));
    browser.wait("document.getElementById('aloud').textContent.includes('BELT_SLIP')");
    browser.press("\u{e007}");
    browser.wait(&format!("document.activeElement === {}", button("Unshelve")));
    let faults = browser.complaints();
    assert!(faults.is_empty(), "{faults:#?}");
}

#[test]
fn all_curves_are_read_off_at_one_time_by_keyboard() {
    let plant = Plant::start("page-read");
    let browser = browser("page-read-browser");
    browser.go(&plant.url("#/breakdowns/OFFSET?minutes=1440"));
    browser.wait("document.querySelector('.lane canvas')");
    browser.wait(SETTLED);
    assert_eq!(browser.run("return document.querySelectorAll('.read-off').length"), 0);
    browser.run("document.querySelector('.read input').focus()");
    browser.press("\u{e00f}");
    browser.wait("/^[−0-9.]+\\u00a0°C$/.test(document.querySelector('.lane .read-off')?.textContent)");
    browser.wait("document.querySelector('.read input').getAttribute('aria-valuetext').includes('temperature')");
    browser.shoot("read-off");
}

#[test]
fn a_page_that_lost_its_collector_says_so_without_good_colours_and_comes_back_with_it() {
    let mut plant = Plant::start("page-reconnect");
    let browser = browser("page-reconnect-browser");
    browser.go(&plant.url("#/machines"));
    browser.wait("document.querySelector('.stream.live') && document.querySelector('.card.executing')");
    let colours = "return getComputedStyle(document.querySelector('.card.executing')).filter";
    assert_eq!(browser.run(colours), "none");
    plant.collector.take().expect("it runs").kill();
    browser.wait("document.querySelector('.stream.reconnecting')");
    browser.wait("document.querySelector('.banner')?.textContent.includes('What is shown is old')");
    assert_eq!(browser.run(colours), "grayscale(1)");
    browser.shoot("reconnecting");
    plant.collector = Some(plant.rig.start_collector());
    browser.wait("document.querySelector('.stream.live')");
    browser.wait("!document.querySelector('.banner')");
    // The states are folded again first.
    browser.wait("document.querySelector('.card.executing')");
    assert_eq!(browser.run(colours), "none");
}

#[test]
fn what_is_not_told_is_not_shown_as_none() {
    let plant = Plant::start("page-not-told");
    let browser = browser("page-not-told-browser");
    browser.go(&plant.url("#/machines"));
    browser.wait("document.querySelector('.card .figures')?.textContent.includes('in 24 h')");
    browser.run(
        "const { fetch } = window; window.fetch = (path, options) => (String(path).includes('/v1/models/breakdowns') \
         ? Promise.resolve(new Response('{\"detail\":\"broken\",\"remedy\":\"mend it\"}', { status: 500 })) : fetch(path, options)); \
         location.hash += `?as_of=${document.querySelector('.as-of input').max - 1}`",
    );
    browser.wait("document.querySelector('.card .figures')?.textContent.includes('? breakdowns')");
    browser
        .wait("document.querySelector('main .banner')?.textContent === 'A part of this is not known: broken. mend it'");
    browser.wait("!document.querySelector('main').textContent.includes('0 breakdowns')");
}

#[test]
fn a_collector_that_says_nothing_at_all_is_noticed() {
    let plant = Plant::start("page-frozen");
    let browser = browser("page-frozen-browser");
    browser.go(&plant.url("#/machines"));
    browser.wait("document.querySelector('.stream.live') && document.querySelector('.card.executing')");
    let collector = plant.collector.as_ref().expect("it runs");
    // Its connections stay open, and nothing comes through them.
    collector.signal(Signal::STOP);
    browser.wait("document.querySelector('.old .card') && document.querySelector('main .banner')");
    collector.signal(Signal::CONT);
    browser.wait("!document.querySelector('.old') && !document.querySelector('main .banner')");
}
