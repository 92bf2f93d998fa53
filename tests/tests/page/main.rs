//! The page, in a browser, on top of a real collector that a recorded machine speaks to.
//!
//! Whatever the console is told (errors, breaches of the content security policy) fails the walk. Pictures of all views
//! are left in the target folder, `tmp/page`, to be looked at.

mod recording;

use std::path::Path;

use afferent_tests::process::{Browser, LOOKS, Process, Rig, wait_for};

/// What must not become a part of the document, wherever it is shown.
const HOSTILE: &str =
    r#"<img src=x onerror=window.breached=1><script>window.breached=1</script>\u0000\u001b[31m\u202e"#;

/// A browser whose pictures go to the target folder.
fn browser(name: &str) -> Browser {
    Browser::start(name, &Path::new(env!("CARGO_TARGET_TMPDIR")).join("page"))
}

/// A machine with a recorded past, a state, an alarm and a breakdown.
struct Plant {
    rig: Rig,
    /// Of the breakdown, as text.
    breakdown: String,
    collector: Option<Process>,
    _agent: Process,
}

impl Plant {
    fn start(name: &str) -> Self {
        let mut rig = Rig::new(name);
        let (recorded, rows) = recording::recording(rig.folder.path());
        rig.agent_extra = format!(
            "[[intake.file]]\npath = {recorded:?}\nsubject = \"88-C/temperature\"\ntime_column = \"timestamp\"\n\
             value_columns = [\"value\"]\nunit = \"Cel\"\nspeed = \"max\"\n"
        );
        let collector = rig.start_collector();
        let agent = rig.start_agent();
        wait_for("the recording is in the log", || rig.log_end().filter(|end| *end >= rows as u64));
        let lines = [
            r#"{"subject":"88-C","type":"state","state":"executing","time":"2014-02-08T06:00:00Z"}"#.to_owned(),
            r#"{"subject":"88-C/belt","type":"alarm","condition":"BELT_SLIP","transition":"raised","priority":700,"time":"2014-02-08T14:29:30Z"}"#.to_owned(),
            format!(r#"{{"subject":"88-C","type":"breakdown","code":"BELT-7","severity":"error","message":"{HOSTILE}","time":"2014-02-08T14:30:00Z"}}"#),
        ];
        let mut producer = rig.producer();
        producer.send(format!("{}\n", lines.join("\n")).as_bytes()).expect("the agent reads");
        producer.wait_accepted(lines.len() as u64).expect("the agent accepts");
        let breakdown = rig.wait_logged("BELT-7")["offset"].as_str().expect("an offset is a text").to_owned();
        Self { rig, breakdown, collector: Some(collector), _agent: agent }
    }

    fn url(&self, view: &str) -> String {
        format!("http://{}/{view}", self.rig.http)
    }
}

/// A view has all that it asked for, or says what is missing.
const SETTLED: &str = "document.querySelector('h1') && document.fonts.status === 'loaded' \
    && !document.querySelector('[aria-busy=true]') && !document.querySelector('main').textContent.includes('Loading…')";

/// A view: its name, its address (`OFFSET` is the breakdown's), and what must be there.
const VIEWS: [(&str, &str, &str); 7] = [
    ("machines", "#/machines", ".card.not_available"),
    ("machine", "#/machines/88-C?span=7d", ".lane canvas"),
    ("breakdowns", "#/breakdowns", "tbody a"),
    ("breakdown", "#/breakdowns/OFFSET?minutes=1440", ".lane canvas"),
    ("sources", "#/sources", "tbody tr"),
    ("what-if", "#/what-if", "textarea"),
    ("nothing", "#/nowhere", ".empty"),
];

#[test]
fn every_view_is_shown_at_a_desk_at_night_and_on_a_phone_and_the_console_stays_silent() {
    let plant = Plant::start("page-walk");
    let browser = browser("page-walk-browser");
    for look in LOOKS {
        browser.look(look);
        for (name, view, shown) in VIEWS {
            browser.go(&plant.url(&view.replace("OFFSET", &plant.breakdown)));
            browser.wait(SETTLED);
            browser.wait(&format!("document.querySelector('{shown}')"));
            browser.wait("document.querySelector('.stream.live')");
            let overflow = browser.run("return document.documentElement.scrollWidth - innerWidth");
            assert_eq!(overflow, 0, "{name} is wider than {}", look.name);
            browser.shoot(&format!("{name}-{}", look.name));
            assert_eq!(
                browser.run("return window.breached === undefined && !document.querySelector('main img')"),
                true
            );
            let faults = browser.complaints();
            assert!(faults.is_empty(), "{name}, {}: {faults:#?}", look.name);
        }
    }
}

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

#[test]
fn a_page_that_lost_its_collector_says_so_and_comes_back_with_it() {
    let mut plant = Plant::start("page-reconnect");
    let browser = browser("page-reconnect-browser");
    browser.go(&plant.url("#/sources"));
    browser.wait("document.querySelector('.stream.live')");
    plant.collector.take().expect("it runs").kill();
    browser.wait("document.querySelector('.stream.reconnecting')");
    browser.wait("document.querySelector('.problem')");
    browser.shoot("reconnecting");
    plant.collector = Some(plant.rig.start_collector());
    browser.wait("document.querySelector('.stream.live')");
    browser.wait("!document.querySelector('.problem')");
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
