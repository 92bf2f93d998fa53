//! What is posted comes back byte for byte, and no answer tears at a line end that is none.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use afferent_tests::process::ask;

use super::*;

/// Keys out of order, a zero at the end, numbers that no 64 bits hold.
const DATA: &str = r#"{"z":1.10,"a":18446744073709551616,"e":123456789012345678901234567890}"#;

/// Posts as soon as the collector takes what is posted, and gives its answer's status.
fn post(rig: &Rig, kind: &str, body: &str) -> u16 {
    wait_for("the collector takes what is posted", || {
        let answer = ask(rig.http, "POST", "/v1/events", kind, body).expect("it answers");
        (answer.status != 503).then_some(answer.status)
    })
}

fn event(id: &str, subject: &str, data: &str) -> String {
    format!(
        "{{\"specversion\":\"1.0\",\"id\":\"{id}\",\"source\":\"/test\",\"type\":\"a.v1\",\"subject\":\"{subject}\",\"data\":{data}}}"
    )
}

#[test]
fn posted_data_comes_back_byte_for_byte_in_every_mode() {
    let rig = Rig::new("value-posted");
    let _collector = rig.start_collector();
    assert_eq!(post(&rig, "application/cloudevents+json", &event("one", "88-C/one", DATA)), 200);
    let batch = format!("[{},{}]", event("two", "88-C/two", DATA), event("three", "88-C/three", "[1.0, 1e2 ]"));
    assert_eq!(post(&rig, "application/cloudevents-batch+json", &batch), 200);
    for (subject, data) in [("88-C/one", DATA), ("88-C/two", DATA), ("88-C/three", "[1.0, 1e2 ]")] {
        let line = &lines_about(&rig, subject, 1)[0];
        assert!(line.contains(&format!("\"data\":{data}")), "{line}");
    }

    // The binary mode of CloudEvents: attributes in headers, the data alone in the body.
    let mut stream = TcpStream::connect(rig.http).expect("it listens");
    stream.set_read_timeout(Some(Duration::from_secs(60))).expect("a socket has a timeout");
    let request = format!(
        "POST /v1/events HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nContent-Type: application/json\r\nce-specversion: 1.0\r\n\
         ce-id: four\r\nce-source: /test\r\nce-type: a.v1\r\nce-subject: 88-C/four\r\nContent-Length: {}\r\n\r\n{DATA}",
        rig.http,
        DATA.len()
    );
    stream.write_all(request.as_bytes()).expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let line = &lines_about(&rig, "88-C/four", 1)[0];
    assert!(line.contains(&format!("\"data\":{DATA}")), "{line}");

    // And from the command line.
    let mut command = Command::new(binary("afferent-collector"));
    command.args(["emit", "--type", "a.v1", "--subject", "88-C/five", "--data", DATA]);
    let said = run_in_pipe(command.arg("--http").arg(rig.http.to_string()), b"");
    assert!(said.status.success(), "{}", said.err);
    let line = &lines_about(&rig, "88-C/five", 1)[0];
    assert!(line.contains(&format!("\"data\":{DATA}")), "{line}");

    // The control: read as JSON and written again it is not what it was.
    let again = json(DATA).to_string();
    assert!(again != DATA && !again.contains("123456789012345678901234567890"), "{again}");
}

#[test]
fn what_some_readers_take_for_a_line_end_is_escaped() {
    let Pair { rig, _collector, agent: _agent } = pair("value-lines");
    let text = "a\u{2028}b\u{2029}c\u{85}d\u{feff}e";
    let line = format!("{{\"subject\":\"88-C/l\",\"value\":\"{text}\"}}\n");
    assert!(agent(&rig, &["emit", "lines"], line.as_bytes()).status.success());
    assert_eq!(post(&rig, "application/cloudevents+json", &event("l", "88-C/posted", &format!("\"{text}\""))), 200);
    let torn = |line: &str| line.contains(['\u{2028}', '\u{2029}', '\u{85}']);
    let (own, posted) = (&lines_about(&rig, "88-C/l", 1)[0], &lines_about(&rig, "88-C/posted", 1)[0]);
    assert!(!torn(own) && !torn(posted), "{own}\n{posted}");
    assert_eq!((&json(own)["data"]["value"], &json(posted)["data"]), (&text.into(), &text.into()));
    // The control: the text itself has them.
    assert!(torn(text));
}

#[test]
fn the_first_block_of_a_stream_has_an_event() {
    let rig = Rig::new("value-sse");
    let _collector = rig.start_collector();
    assert_eq!(post(&rig, "application/cloudevents+json", &event("one", "88-C/one", DATA)), 200);
    let mut stream = TcpStream::connect(rig.http).expect("it listens");
    stream.set_read_timeout(Some(Duration::from_secs(60))).expect("a socket has a timeout");
    let request = format!("GET /v1/stream?from=0&subject=88-C/one HTTP/1.1\r\nHost: {}\r\n\r\n", rig.http);
    stream.write_all(request.as_bytes()).expect("it reads");
    let (mut text, mut bytes) = (String::new(), [0; 4096]);
    while !text.contains("}\n\n") {
        let count = stream.read(&mut bytes).expect("it streams");
        assert!(count > 0, "it ended: {text}");
        text.push_str(&String::from_utf8_lossy(&bytes[..count]));
    }
    let (_, body) = text.split_once("\r\n\r\n").expect("a head");
    let first = body.split("\n\n").next().expect("a block");
    assert!(first.contains("retry: ") && first.contains("data: {"), "{first}");
    // The control: a block with `retry` alone would be one without data.
    assert!(!"retry: 1000".contains("data: {"));
}
