//! The page, in a browser, on top of a real collector that a recorded machine speaks to.
//!
//! Whatever the console is told (errors, breaches of the content security policy) fails the walk. Pictures of all views
//! are left in the target folder, `tmp/page`, to be looked at.

mod live;
mod past;
mod picture;
mod plant;
mod recording;
mod walk;

use afferent_tests::process::wait_for;
use plant::{Plant, browser};

/// A view has all that it asked for, or says what is missing.
const SETTLED: &str = "document.querySelector('h1') && document.fonts.status === 'loaded' \
    && !document.querySelector('[aria-busy=true]') && !document.querySelector('main').textContent.includes('Loading…')";

#[test]
fn the_sources_view_tells_what_the_collector_knows() {
    let plant = Plant::start("page-sources");
    let browser = browser("page-sources-browser");
    browser.go(&plant.url("#/sources"));
    browser.wait("document.querySelector('tbody tr')");
    let row = browser.run("return [...document.querySelectorAll('tbody tr')].map((row) => row.textContent).find((text) => text.includes('press-88'))");
    assert!(row.as_str().is_some_and(|row| row.contains("online")), "{row}");
}

#[test]
fn what_people_say_of_a_breakdown_is_an_event_of_its_own_and_hostile_text_is_text() {
    let plant = Plant::start("page-amend");
    let browser = browser("page-amend-browser");
    browser.go(&plant.url(&format!("#/breakdowns/{}", plant.breakdown)));
    browser.wait("document.querySelector('form.amend input[list=reasons]')");
    browser.run("document.querySelector('form.amend input[autocomplete=name]').focus()");
    browser.press("Ada");
    browser.wait("document.querySelector('main').textContent.includes('<script>window.breached=1</script>')");
    browser.run("document.querySelector('form.amend input[list=reasons]').focus()");
    browser.press("Belt worn");
    browser.run("document.querySelector('form.amend button').click()");
    browser.wait("[...document.querySelectorAll('.said li')].some((said) => said.textContent.includes('Belt worn'))");
    let label = plant.rig.wait_event("the label", |event| event["data"]["reason"] == "Belt worn");
    assert_eq!(
        (&label["type"], &label["data"]["of"]),
        (&"afferent.amendment.v1".into(), &plant.breakdown.clone().into())
    );
    assert_eq!(browser.run("return window.breached === undefined"), true);
    let faults = browser.complaints();
    assert!(faults.is_empty(), "{faults:#?}");
}

#[test]
fn a_certificate_and_an_alternative_are_asked_for_on_the_page() {
    let plant = Plant::start("page-ask");
    let browser = browser("page-ask-browser");
    browser.go(&plant.url("#/sources"));
    browser.wait("document.querySelector('form.amend input[list=sources]')");
    browser.run("document.querySelector('form.amend input[list=sources]').focus()");
    browser.press("press-88");
    browser.run("document.querySelector('form.amend button').click()");
    browser.wait("document.querySelector('.certificate pre')?.textContent.includes('source press-88')");
    browser.shoot("certificate");
    browser.go(&plant.url("#/what-if"));
    browser.wait("document.querySelector('textarea')");
    browser.run("document.querySelector('form.amend button').click()");
    browser.wait("document.querySelector('main').textContent.includes('1 event dropped')");
    browser.wait("document.querySelector('.pair canvas')");
    browser.shoot("alternative");
    let faults = browser.complaints();
    assert!(faults.is_empty(), "{faults:#?}");
}

#[test]
fn the_keyboard_reaches_the_content_and_every_view() {
    let plant = Plant::start("page-keyboard");
    let browser = browser("page-keyboard-browser");
    browser.go(&plant.url(""));
    browser.wait(SETTLED);
    browser.press("\u{e004}");
    browser.wait("document.activeElement.matches('.skip')");
    let is_seen = "document.activeElement.getBoundingClientRect().top >= 0 && getComputedStyle(document.activeElement).outlineStyle !== 'none'";
    browser.wait(is_seen);
    browser.press("\u{e007}");
    browser.wait("document.activeElement.id === 'main'");
    let links = browser.run("return [...document.querySelectorAll('nav a')].map((link) => link.tabIndex)");
    assert_eq!(links, serde_json::json!([0, 0, 0, 0]));
    browser.run("document.querySelectorAll('nav a')[2].focus()");
    browser.press("\u{e007}");
    browser.wait("document.querySelector('h1').textContent === 'Sources' && document.activeElement.id === 'main'");
}

#[test]
fn a_script_that_gets_into_the_document_does_not_run_and_is_complained_of() {
    let plant = Plant::start("page-control");
    let browser = browser("page-control-browser");
    browser.go(&plant.url("#/sources"));
    browser.wait(SETTLED);
    assert!(browser.complaints().is_empty(), "nothing is wrong yet");
    browser.run("document.querySelector('main').insertAdjacentHTML('beforeend', '<img src=x onerror=window.breached=1><p style=color:red>')");
    let found = wait_for("the breach is complained of", || {
        Some(browser.complaints()).filter(|found| found.iter().any(|fault| fault.contains("Content Security Policy")))
    });
    assert!(!found.is_empty());
    assert_eq!(browser.run("return window.breached === undefined"), true, "it ran");
    browser.run("setTimeout(() => { throw new Error('a fault'); })");
    wait_for("a script's fault is complained of", || {
        browser.complaints().into_iter().find(|fault| fault.contains("a fault"))
    });
}
