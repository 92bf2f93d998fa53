//! What InfluxDB should have, made from the log as its API returns it and from what the README says.

use std::collections::BTreeMap;

use afferent_tests::process::{Influx, Rig, wait_for};
use serde_json::{Map, Value, json};

use super::super::plant::wait_delivered;
use super::NAME;

/// Tags and fields of a point, and its time in nanoseconds. Numbers are the digits of their bits.
pub type Point = BTreeMap<String, String>;

/// The nanosecond of an event.
pub fn nanosecond(event: &Value) -> i64 {
    let micros = |name: &str| {
        let time: jiff::Timestamp = event[name].as_str()?.parse().expect("a time");
        Some(time.as_microsecond())
    };
    let time = micros("correctedtime").or_else(|| micros("time")).expect("every event of these tests has a time");
    let text = |name: &str| event[name].as_str().map(str::to_owned).or_else(|| Some(event[name].as_u64()?.to_string()));
    let number: i64 = text("sequence").or_else(|| text("offset")).expect("it has a number").parse().expect("digits");
    time * 1000 + if Some(time) == micros("ingesttime") { number % 1_000_000 } else { number % 1000 }
}

/// A number by its bits: `-0` is not `0`.
fn bits(value: f64) -> String {
    format!("{:016x}", value.to_bits())
}

fn of_number(value: &Value) -> String {
    bits(value.as_f64().unwrap_or_else(|| panic!("{value} is no number")))
}

/// The measurement of an event, and its point.
pub fn of_event(event: &Value) -> (String, Point) {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let kind = text(&event["type"]);
    let measurement = kind.strip_prefix("afferent.").and_then(|rest| rest.strip_suffix(".v1")).unwrap_or(&kind);
    let subject = text(&event["subject"]);
    let data = &event["data"];
    let machine = subject.split('/').next().unwrap_or_default().to_owned();
    let mut named = vec![
        ("time", nanosecond(event).to_string()),
        ("machine", machine),
        ("source", text(&event["source"])),
        ("subject", subject),
    ];
    if measurement == "sample" {
        named.extend([("unit", text(&data["unit"])), ("quality", text(&data["quality"]))]);
        let whole = data["value"].as_i64().or_else(|| text(&data["value"]).parse().ok());
        let whole =
            whole.filter(|_| data["valuetype"] == "integer" || data["value"].is_i64() || data["value"].is_u64());
        match (&data["value"], whole) {
            (_, Some(whole)) => named.extend([("value", bits(whole as f64)), ("wholevalue", whole.to_string())]),
            (Value::Number(_), None) => named.push(("value", of_number(&data["value"]))),
            (Value::Bool(value), None) => named.push(("boolean", value.to_string())),
            (value, None) => named.push(("text", text(value))),
        }
    } else {
        named.extend([("id", text(&event["id"])), ("offset", text(&event["offset"]))]);
        named.push(("severitynumber", event["severitynumber"].to_string()));
        named.extend(of_data(measurement, data));
    }
    let present = named.into_iter().filter(|(_, value)| !value.is_empty());
    (measurement.to_owned(), present.map(|(name, value)| (name.to_owned(), value)).collect())
}

/// Tags and fields of all but samples.
fn of_data(measurement: &str, data: &Value) -> Vec<(&'static str, String)> {
    let member = |name: &'static str| (name, data[name].as_str().map_or_else(|| data[name].to_string(), str::to_owned));
    match measurement {
        "breakdown" => vec![member("code"), member("severity"), member("message")],
        "recovery" => vec![member("code"), member("message")],
        "state" => {
            let states = ["not_available", "out_of_service", "not_executing", "executing"];
            let number = states.iter().position(|state| data["state"] == *state).expect("a state");
            vec![member("state"), ("statenumber", number.to_string()), member("reason")]
        }
        "alarm" => {
            let mut named = ["condition", "transition", "priority", "message"].map(member).to_vec();
            match data["transition"].as_str() {
                Some("raised") => named.push(("active", "true".to_owned())),
                Some("cleared") => named.push(("active", "false".to_owned())),
                _ => {}
            }
            named
        }
        _ => vec![("data", data.to_string())],
    }
}

/// A point of InfluxDB in the same form.
fn of_point(point: &Map<String, Value>) -> Point {
    let text = |(name, value): (&String, &Value)| {
        let text = match (name.as_str(), value) {
            ("value", number) => of_number(number),
            // The members of an object have no order.
            ("data", Value::String(data)) => serde_json::from_str::<Value>(data).expect("data is JSON").to_string(),
            (_, Value::String(text)) => text.clone(),
            (_, other) => other.to_string(),
        };
        (name.clone(), text)
    };
    point.iter().map(text).collect()
}

/// Every point that InfluxDB has, by measurement.
pub fn stored(influx: &Influx) -> Vec<(String, Point)> {
    let of = |name: String| -> Vec<(String, Point)> {
        influx.points(&name).iter().map(|point| (name.clone(), of_point(point))).collect()
    };
    let mut all: Vec<_> = influx.measurements().into_iter().flat_map(of).collect();
    all.sort();
    all
}

/// Holds InfluxDB against the log: every event is there once, with all that the README says of it, and nothing else is.
///
/// # Panics
/// When it is otherwise.
pub fn check_points(influx: &Influx, logged: &[Value]) {
    compare(&stored(influx), logged);
}

fn compare(stored: &[(String, Point)], logged: &[Value]) {
    let mut expected: Vec<_> = logged.iter().map(of_event).collect();
    expected.sort();
    assert!(expected.windows(2).all(|pair| pair[0] != pair[1]), "the control: no event looks like another");
    let missing = expected.iter().filter(|point| stored.binary_search(point).is_err());
    let missing: Vec<_> = missing.collect();
    let strange: Vec<_> = stored.iter().filter(|point| expected.binary_search(point).is_err()).collect();
    assert!(
        missing.is_empty() && strange.is_empty(),
        "{} of {} are missing, as {:#?}; {} are not of the log, as {:#?}",
        missing.len(),
        expected.len(),
        missing.first(),
        strange.len(),
        strange.first()
    );
    assert_eq!(stored.len(), expected.len(), "nothing is there twice");
}

/// [`check_points`] with all events of the log, at a moment when it rests.
pub fn check_log(rig: &Rig, influx: &Influx) -> Vec<Value> {
    let (logged, points) = wait_for("the log rests", || {
        let end = rig.log_end()?;
        wait_delivered(rig, NAME);
        let (logged, points) = (rig.events(), stored(influx));
        (logged.len() as u64 == end).then_some((logged, points))
    });
    compare(&points, &logged);
    logged
}

#[test]
fn bits_tell_numbers_apart_that_look_alike() {
    assert_ne!(of_number(&json!(-0.0)), of_number(&json!(0)));
    assert_eq!(of_number(&serde_json::from_str("-0").expect("a number")), bits(-0.0));
    assert_eq!(of_number(&json!(5)), of_number(&json!(5.0)));
}
