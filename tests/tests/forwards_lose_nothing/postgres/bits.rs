//! Every column, as psql prints it, against the log and against what was sent.

use afferent_tests::process::ask;
use serde_json::{Value, json};

use super::super::plant::doubles;
use super::{arrived, rig, wait_written};

/// Doubles that change when a digit is lost, or the last bit.
const FLOATS: [f64; 8] = [0.1, -0.0, 5e-324, f64::MAX, f64::MIN_POSITIVE, 81.4, -1e-7, 1.000_000_000_000_000_2];
/// Whole numbers, the last ones beyond what a double holds.
const WHOLES: [i64; 5] = [0, -1, 9_007_199_254_740_993, i64::MAX, i64::MIN];

/// Posts an event; returns it as it was posted.
fn post(http: std::net::SocketAddr, id: &str, data: &str) -> String {
    let event = format!(
        "{{\"specversion\":\"1.0\",\"source\":\"/mes/7\",\"id\":\"{id}\",\"type\":\"com.example.order\",\"subject\":\
         \"88-C/Größe\",\"traceparent\":\"00-ab\",\"shift\":3,\"data\":{data}}}"
    );
    let answer = ask(http, "POST", "/v1/events", "application/cloudevents+json", &event).expect("the API answers");
    assert!((200..300).contains(&answer.status), "{answer:?}");
    event
}

#[test]
fn rows_are_the_events_to_the_bit() {
    let (rig, server) = rig("pg-bits");
    let _postgres = server.start();
    let (_collector, _agent) = (rig.start_collector(), rig.start_agent());
    let mut producer = rig.producer();
    let sample = |value: &str| format!("{{\"subject\":\"88-C/bits\",\"value\":{value},\"unit\":\"mm/s\"}}\n");
    let mut lines: Vec<String> = FLOATS.iter().map(|value| sample(&format!("{value:e}"))).collect();
    lines.extend(WHOLES.iter().map(|value| sample(&value.to_string())));
    lines.extend([sample("true"), sample("\"öl 1 \\\\N\\t\"")]);
    producer.send(lines.concat().as_bytes()).expect("the agent reads");
    producer.wait_accepted(lines.len() as u64).expect("the agent answers");
    rig.break_down("E42");
    let data = "{\"b\": 1.50, \"a\": \"zero \\u0000 and \\u00f6\", \"b\": 12345678901234567890.0}";
    post(rig.http, "1", data);
    post(rig.http, "2", "null");
    rig.wait_logged("E42");
    wait_written(&rig, &server, 0);
    let logged = rig.events();
    assert_eq!((arrived(&server).len(), doubles(&arrived(&server))), (logged.len(), 0));
    check_attributes(&logged, &server.sql(ATTRIBUTES));
    let of = |what: &str| {
        let select = format!("SELECT {what} FROM afferent.events WHERE subject = '88-C/bits' ORDER BY \"offset\"");
        server.sql(&select).lines().map(str::to_owned).collect::<Vec<_>>()
    };
    let (bits, wholes) = (of("encode(float8send(value), 'hex')"), of("wholevalue"));
    for (at, value) in FLOATS.iter().enumerate() {
        assert_eq!((&*bits[at], &*wholes[at]), (&*format!("{:016x}", value.to_bits()), ""), "{value:e}");
    }
    for (at, value) in WHOLES.iter().enumerate().map(|(at, value)| (at + FLOATS.len(), value)) {
        let nearest = format!("{:016x}", (*value as f64).to_bits());
        assert_eq!((&*bits[at], &*wholes[at]), (&*nearest, &*value.to_string()));
    }
    let posted = server.sql("SELECT data FROM afferent.events WHERE source = '/mes/7' AND id = '1'");
    assert_eq!(posted, data, "the text itself, with its zero character, escapes, number forms and doubles");
    let rest = server.sql("SELECT extensions FROM afferent.events WHERE source = '/mes/7' AND id = '1'");
    let rest: Value = serde_json::from_str(&rest).expect("it is JSON");
    assert_eq!(rest, json!({ "traceparent": "00-ab", "shift": 3 }));
}

/// All columns that are attributes, as the log's API writes them.
const ATTRIBUTES: &str = "\
    SET TIME ZONE 'UTC'; SELECT json_build_object('partition', partition, 'offset', \"offset\"::text, 'source', \
    source, 'id', id, 'type', type, 'subject', subject, 'machine', machine, 'time', to_char(time, \
    'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"'), 'correctedtime', to_char(correctedtime, \
    'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"'), 'recordedtime', to_char(recordedtime, \
    'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"'), 'ingesttime', to_char(ingesttime, 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"'), \
    'stream', stream, 'epoch', epoch, 'sequence', lpad(sequence::text, 20, '0'), 'severitynumber', severitynumber, \
    'datacontenttype', datacontenttype, 'data', CASE WHEN source = '/mes/7' THEN NULL ELSE data END, 'unit', unit, \
    'quality', quality) FROM afferent.events ORDER BY \"offset\"";

fn check_attributes(logged: &[Value], rows: &str) {
    let rows: Vec<Value> = rows.lines().map(|row| serde_json::from_str(row).expect("it is JSON")).collect();
    assert_eq!(rows.len(), logged.len());
    for (row, event) in rows.iter().zip(logged) {
        for name in [
            "partition",
            "offset",
            "source",
            "id",
            "type",
            "subject",
            "time",
            "correctedtime",
            "recordedtime",
            "ingesttime",
            "stream",
            "epoch",
            "sequence",
            "severitynumber",
        ] {
            assert_eq!(row[name], event[name], "{name} of {event}");
        }
        let content_type = event.get("datacontenttype").unwrap_or(&json!("application/json")).clone();
        assert_eq!(row["datacontenttype"], content_type, "{event}");
        let machine = event["subject"].as_str().and_then(|subject| subject.split('/').next());
        assert_eq!(row["machine"].as_str(), machine);
        if event["source"] == "/mes/7" {
            continue;
        }
        assert_eq!(row["data"], event["data"], "{event}");
        if event["type"] == "afferent.sample.v1" {
            assert_eq!((&row["unit"], &row["quality"]), (&event["data"]["unit"], &event["data"]["quality"]));
        }
    }
}
