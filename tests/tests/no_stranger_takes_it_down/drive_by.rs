//! Pages of other origins, in a browser: what they ask for changes nothing, and what they read is refused.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::thread;

use afferent_tests::process::{Browser, Process, Rig, ask, get_text, wait_for};
use serde_json::Value;

/// A web server that has one empty page for everybody; it ends with the test program.
fn page() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    let address = listener.local_addr().expect("it is bound");
    thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { continue };
            thread::spawn(move || {
                let _ = stream.read(&mut [0; 4096]);
                let head = "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 6\r\nConnection: close\r\n\r\n<html>";
                let _ = stream.write_all(head.as_bytes());
            });
        }
    });
    address
}

/// A collector with an event, and a subscription that has dealt with it.
fn start(name: &str) -> (Rig, Process) {
    let rig = Rig::new(name);
    let collector = rig.start_collector();
    let event = r#"{"specversion":"1.0","id":"1","source":"/wear","type":"com.example.wear.v1","subject":"88-C"}"#;
    wait_for("an event is posted", || {
        let posted = ask(rig.http, "POST", "/v1/events", "application/cloudevents+json", event).ok()?;
        (posted.status == 200).then_some(())
    });
    let made = ask(rig.http, "PUT", "/v1/subscriptions/erp", "application/json", r#"{"from":"first"}"#);
    assert_eq!(made.expect("it answers").status, 201);
    (rig, collector)
}

fn lag(rig: &Rig) -> String {
    let report = get_text(rig.http, "/v1/subscriptions/erp").expect("it is there");
    let report: Value = serde_json::from_str(&report).expect("JSON");
    report["lag"].as_str().expect("it has a lag").to_owned()
}

/// What becomes of a `fetch` in the page.
fn fetched(browser: &Browser, url: &str, options: &str) -> Value {
    browser.run("delete window.told");
    browser.run(&format!(
        "fetch('{url}', {options}).then((answer) => answer.text().then((text) => {{ \
         window.told = {{ status: answer.status, type: answer.type, text }}; }}), \
         (error) => {{ window.told = {{ error: String(error) }}; }})"
    ));
    browser.wait("window.told");
    browser.run("return window.told")
}

fn refused(rig: &Rig, kind: &str) -> u64 {
    let metrics = get_text(rig.http, "/metrics").expect("they are told");
    let key = format!("afferent_refused_total{{kind=\"{kind}\"}} ");
    metrics.lines().find_map(|line| line.strip_prefix(&key)?.parse().ok()).unwrap_or(0)
}

fn browser(name: &str, arguments: &[&str]) -> Browser {
    Browser::start_with(name, std::path::Path::new(env!("CARGO_TARGET_TMPDIR")), arguments)
}

#[test]
fn a_page_of_another_origin_resets_no_subscription_and_posts_nothing() {
    let (rig, _collector) = start("drive-by");
    let other = page();
    let browser = browser("drive-by-browser", &[]);
    browser.go(&format!("http://localhost:{}/", other.port()));
    let before = (lag(&rig), rig.log_end());
    assert_ne!(before.0, "0", "there is something to miss");
    let reset = format!("http://{}/v1/subscriptions/erp/reset", rig.http);
    let fetch = format!("http://{}/v1/subscriptions/erp/fetch?member=stranger", rig.http);
    let events = format!("http://{}/v1/events", rig.http);
    for (url, body, kind) in [
        (&reset, r#"'{"to":"end"}'"#, "text/plain"),
        (&reset, r#"'{"to":"end"}'"#, "application/x-www-form-urlencoded"),
        (&reset, r#"new Blob(['{"to":"end"}'])"#, ""),
        (&fetch, "undefined", ""),
        (&events, "'{}'", "text/plain"),
    ] {
        let headers = if kind.is_empty() { String::new() } else { format!("headers: {{ 'content-type': '{kind}' }},") };
        let options = format!("{{ method: 'POST', mode: 'no-cors', {headers} body: {body} }}");
        let refused_before = refused(&rig, "http-origin");
        let told = fetched(&browser, url, &options);
        // The control: the browser has sent it, without asking for permission, and it came here.
        assert_eq!(told["type"], "opaque", "{told}");
        assert_eq!(refused(&rig, "http-origin"), refused_before + 1, "{url} {kind}");
    }
    // What is no plain request, the browser does not send at all: nobody gives it permission.
    let told = fetched(
        &browser,
        &reset,
        r#"{ method: 'POST', headers: { 'content-type': 'application/json' }, body: '{"to":"end"}' }"#,
    );
    assert!(told["error"].is_string(), "{told}");
    let told = fetched(&browser, &format!("http://{}/v1/agents", rig.http), "{}");
    assert!(told["error"].is_string(), "it cannot read: {told}");
    assert_eq!((lag(&rig), rig.log_end()), before);
    // Another control: a program does the same, and it happens.
    let done = ask(rig.http, "POST", "/v1/subscriptions/erp/reset", "application/json", r#"{"to":"end"}"#);
    assert_eq!(done.expect("it answers").status, 204);
    assert_eq!(lag(&rig), "0");
}

#[test]
fn a_name_that_is_rebound_to_this_machine_neither_reads_nor_posts() {
    let (rig, _collector) = start("rebinding");
    let browser = browser("rebinding-browser", &["--host-resolver-rules=MAP evil.example 127.0.0.1"]);
    let port = rig.http.port();
    browser.go(&format!("http://evil.example:{port}/"));
    let text = browser.run("return document.body.textContent");
    assert!(text.as_str().is_some_and(|text| text.contains("not a name of this collector")), "{text}");
    // By now the page is of the origin that it asks: no rule of the browser is in its way.
    let told = fetched(&browser, "/v1/events", "{}");
    assert_eq!(told["status"], 421, "{told}");
    let post = r#"{ method: 'POST', headers: { 'content-type': 'application/json' }, body: '{"to":"end"}' }"#;
    let told = fetched(&browser, "/v1/subscriptions/erp/reset", post);
    assert_eq!(told["status"], 421, "{told}");
    assert!(refused(&rig, "http-host") >= 3);
    assert_ne!(lag(&rig), "0");
    // The control: under its own name the same page does both.
    browser.go(&format!("http://localhost:{port}/"));
    let told = fetched(&browser, "/v1/events", "{}");
    assert!(told["status"] == 200 && told["text"].as_str().is_some_and(|text| text.contains("/wear")), "{told}");
    let told = fetched(&browser, "/v1/subscriptions/erp/reset", post);
    assert_eq!(told["status"], 204, "{told}");
    wait_for("it is reset", || (lag(&rig) == "0").then_some(()));
}
