//! The page as of a place in the log.

use serde_json::Value;

use crate::SETTLED;
use crate::plant::{Plant, browser};

#[test]
fn the_past_is_shown_with_a_banner_and_without_live_updates_until_somebody_goes_back() {
    let plant = Plant::start("page-as-of");
    let browser = browser("page-as-of-browser");
    browser.go(&plant.url("#/sources"));
    browser.wait("document.querySelector('.stream.live') && document.querySelector('input[type=range]')");
    browser.run("document.querySelector('input[type=range]').focus()");
    browser.press("\u{e011}");
    browser.wait("location.hash.includes('as_of=0') && document.querySelector('.as-of .banner')");
    browser.wait("document.querySelector('.stream.off')");
    browser.shoot("as-of");
    browser.run("document.querySelector('.as-of .banner button').click()");
    browser.wait("!location.hash.includes('as_of') && !document.querySelector('.as-of .banner')");
    browser.wait("document.querySelector('.stream.live')");
    let faults = browser.complaints();
    assert!(faults.is_empty(), "{faults:#?}");
}

/// What a view shows now, and must not show as of the event before the breakdown, and what it says instead.
const MOVED: [(&str, &str, &str); 5] = [
    ("#/machines", "document.querySelector('.card.not_available')", "document.querySelector('.card.executing')"),
    (
        "#/machines/88-C?span=7d&until=1391990400000",
        "document.querySelector('main').textContent.includes('BELT-7')",
        "document.querySelector('.lead .state') && document.querySelector('main').textContent.includes('BELT_SLIP')",
    ),
    (
        "#/breakdowns",
        "document.querySelector('main').textContent.includes('BELT-7')",
        "document.querySelector('.empty, tbody tr')",
    ),
    (
        "#/breakdowns/OFFSET",
        "document.querySelector('form.amend')",
        "document.querySelector('.empty')?.textContent.includes('not known by then')",
    ),
    (
        "#/sources",
        "document.querySelector('.lead').textContent.includes('Nothing is missing')",
        "document.querySelector('.lead')?.textContent.includes('a certificate tells')",
    ),
];

#[test]
fn as_of_moves_every_view() {
    let plant = Plant::start("page-moves");
    let browser = browser("page-moves-browser");
    for (view, now, then) in MOVED {
        browser.go(&plant.url(view));
        browser.wait(SETTLED);
        browser.wait(now);
        let mark = if view.contains('?') { '&' } else { '?' };
        // The breakdown of a hostile machine comes just before it: two events back there was none.
        let before = plant.breakdown.parse::<u64>().expect("an offset is a number") - 1;
        browser.go(&plant.url(&format!("{view}{mark}as_of={before}")));
        browser.wait(SETTLED);
        browser.wait(&format!("document.querySelector('.as-of .banner') && ({then})"));
        assert_eq!(browser.run(&format!("return Boolean({now})")), false, "{view} shows what was not known by then");
    }
    let faults = browser.complaints();
    assert!(faults.iter().all(|fault| fault.starts_with("network:")), "{faults:#?}");
}

#[test]
fn a_time_leads_to_the_offset_that_the_log_had_then() {
    let plant = Plant::start("page-go-to");
    let browser = browser("page-go-to-browser");
    browser.go(&plant.url("#/machines"));
    browser.wait("document.querySelector('.go-to form')");
    browser.run("document.querySelector('.go-to').open = true; const i = document.querySelector('.go-to input'); i.value = '2001-01-01T00:00:00'; \
                 i.dispatchEvent(new InputEvent('input', { bubbles: true }))");
    browser.wait("document.querySelector('.go-to input').value.startsWith('2001')");
    browser.run("document.querySelector('.go-to button').click()");
    browser.wait("location.hash.includes('as_of=0') && document.querySelector('.as-of .banner')");
}

#[test]
fn on_paper_there_is_the_certificate_and_nothing_around_it() {
    let plant = Plant::start("page-paper");
    let browser = browser("page-paper-browser");
    browser.go(&plant.url("#/sources?source=press-88"));
    browser.wait("document.querySelector('form.amend input[list=sources]')?.value === 'press-88'");
    // Its span is known once the last attestation is.
    browser
        .wait("[...document.querySelectorAll('form.amend input[type=datetime-local]')].every((field) => field.value)");
    browser.run("document.querySelector('form.amend button').click()");
    browser.wait("document.querySelector('.certificate pre')");
    let seen = "return ['header', '.as-of', 'main > .lead', 'main table', 'form.amend', '.certificate pre', '.verdict'] \
                .filter((part) => document.querySelector(part).getClientRects().length > 0)";
    let on_screen = browser.run(seen);
    assert_eq!(on_screen.as_array().map(Vec::len), Some(7), "{on_screen}");
    browser.on_paper();
    assert_eq!(browser.run(seen), Value::from(vec![".certificate pre", ".verdict"]));
}
