//! Every view, as people come to it: at a desk, at night, on a phone.

use std::net::SocketAddr;

use afferent_tests::process::{HookServer, LOOKS, free_address, order_forward};
use serde_json::Value;

use crate::SETTLED;
use crate::plant::{AHEAD, Plant, SILENT, browser};

/// A view: its name, its address (`OFFSET` is the breakdown's), and what must be there.
const VIEWS: [(&str, &str, &str); 9] = [
    ("machines", "#/machines", ".card.not_available"),
    ("machine", "#/machines/88-C?span=7d", ".lane canvas"),
    ("machine-ahead", "#/machines/42-A", ".banner"),
    ("machine-silent", "#/machines/13-S", ".state.no_data"),
    ("breakdowns", "#/breakdowns", "tbody a"),
    ("breakdown", "#/breakdowns/OFFSET?minutes=1440", ".lane canvas"),
    ("sources", "#/sources", "#forwards + * tbody strong"),
    ("what-if", "#/what-if", "textarea"),
    ("nothing", "#/nowhere", ".empty"),
];

/// Gives what people would stumble over.
const FAULTS: &str = include_str!("faults.js");

#[test]
fn every_view_is_shown_at_a_desk_at_night_and_on_a_phone_and_nobody_stumbles() {
    let plant = Plant::start_with("page-walk", &forward_to(free_address()));
    let browser = browser("page-walk-browser");
    for look in LOOKS {
        browser.look(look);
        for (name, view, shown) in VIEWS {
            browser.go(&plant.url(view));
            browser.wait(SETTLED);
            browser.wait(&format!("document.querySelector('{shown}')"));
            browser.wait("document.querySelector('.stream.live')");
            browser.shoot(&format!("{name}-{}", look.name));
            let faults = browser.run(FAULTS);
            assert_eq!(faults, Value::Array(Vec::new()), "{name}, {}", look.name);
            assert_eq!(
                browser.run("return window.breached === undefined && !document.querySelector('main img, main script')"),
                true
            );
            let faults = browser.complaints();
            assert!(faults.is_empty(), "{name}, {}: {faults:#?}", look.name);
        }
    }
}

/// A forward to this address.
fn forward_to(address: SocketAddr) -> String {
    format!("[[forward]]\nname = \"erp\"\n[forward.webhook]\nurl = \"http://{address}/\"\nallow = [\"127.0.0.1\"]\n")
}

#[test]
fn a_forward_is_seen_with_what_keeps_it_and_without_alarm_once_it_delivers() {
    let mut server = HookServer::start();
    server.kill();
    let plant = Plant::start_with("page-forwards", &forward_to(server.address));
    let browser = browser("page-forwards-browser");
    browser.go(&plant.url("#/sources"));
    let row = "(document.querySelector('#forwards + * tbody tr')?.textContent ?? '')";
    browser.wait(&format!("{row}.includes('retrying') && {row}.includes('refused')"));
    assert_eq!(browser.run("return document.querySelectorAll('#forwards + * tbody strong').length"), 1);
    server.listen();
    order_forward(&plant.rig, "erp", "resume", None);
    browser.wait(&format!("{row}.includes('● running') && document.querySelector('#forwards + * tbody .quiet time')"));
    assert_eq!(browser.run("return document.querySelectorAll('#forwards + * tbody strong').length"), 0);
}

#[test]
fn what_people_stumble_over_is_found() {
    let plant = Plant::start("page-faults");
    let browser = browser("page-faults-browser");
    browser.look(LOOKS[2]);
    browser.go(&plant.url("#/nowhere"));
    browser.wait(SETTLED);
    assert_eq!(browser.run(FAULTS), Value::Array(Vec::new()));
    let add = |inner: &str, class: &str| {
        browser.run(&format!("const e = document.createElement('div'); e.innerHTML = '{inner}'; e.className = '{class}'; document.querySelector('main').append(e)"));
    };
    add(&"x".repeat(200).replace('x', "x&nbsp;"), "state");
    add("<h4>deep</h4><section aria-label=\"Views\"></section><i id=\"app\"></i>", "");
    add("<button></button><div role=\"img\">picture</div>", "");
    browser.run("const e = document.createElement('p'); e.textContent = 'pale'; e.style.color = '#999'; document.querySelector('main').append(e)");
    browser.run("document.title = 'other'");
    let found = browser.run(FAULTS).to_string();
    for fault in [
        "too wide",
        "h4 comes after",
        "Views is there twice",
        "app is there twice",
        "no name",
        "no words",
        "contrast of 2",
    ] {
        assert!(found.contains(fault), "{fault} is not in {found}");
    }
}

#[test]
fn a_clock_that_is_ahead_is_said_and_a_silent_machine_has_no_good_colour() {
    let plant = Plant::start("page-no-data");
    let browser = browser("page-no-data-browser");
    browser.go(&plant.url("#/machines"));
    let card = |name: &str| {
        format!("[...document.querySelectorAll('.card')].find((card) => card.textContent.startsWith('{name}'))")
    };
    browser.wait(&format!("/clock (ahead by|wrong)/.test({}?.textContent)", card(AHEAD)));
    browser.wait(&card(SILENT));
    let colour = |name: &str| browser.run(&format!("return getComputedStyle({}).borderLeftColor", card(name)));
    let (silent, executing) = (colour(SILENT), colour(AHEAD));
    assert_ne!(silent, executing, "no data has the colour of a machine that is well");
    assert_eq!(browser.run(&format!("return {}.classList.contains('no_data')", card(SILENT))), true);
    let green = "return [...document.querySelectorAll('.card.executing')].every((card) => card.textContent.includes('Executing'))";
    assert_eq!(browser.run(green), true);
}
