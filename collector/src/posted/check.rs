//! Checks a posted CloudEvent, and turns it into an event that the log takes.

use afferent_protocol::ids::{Subject, Timestamp};
use afferent_protocol::limits::{MESSAGE_BYTES_MAX, TEXT_BYTES_MAX};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::given::{EventRefusal, NAME_BYTES_MAX, PostedJson, refused};
use super::looks::is_masked;
use super::{Amended, NewEvent};
use crate::cloud_event::posted::OF_THE_LOG;
use crate::models::amendment::AMENDMENT;

/// The default where the event has no severity: information, on OpenTelemetry's scale.
const SEVERITY: u8 = 9;

/// Checks one CloudEvent. `is_taken` returns whether a source has its own way into the log, or looks like one that has.
pub fn check(given: PostedJson<'_>, is_taken: impl Fn(&str) -> bool) -> Result<NewEvent, EventRefusal> {
    if given.is_no_object {
        return Err(EventRefusal::NoObject);
    }
    Amended::of(&given)?;
    let PostedJson { attributes: mut event, data, .. } = given;
    match event.remove("specversion") {
        Some(Value::String(version)) if version == "1.0" => {}
        None => return Err(EventRefusal::Missing("specversion")),
        Some(_) => return Err(refused("specversion", "is not \"1.0\", the only supported version")),
    }
    let kind = text(&mut event, "type")?.ok_or(EventRefusal::Missing("type"))?;
    if kind.starts_with("afferent.") && kind != AMENDMENT {
        return Err(refused("type", format!("is reserved for the log; use a type of your own, or {AMENDMENT}")));
    }
    let subject = text(&mut event, "subject")?.ok_or(EventRefusal::Missing("subject"))?;
    Subject::new(&subject).map_err(|error| refused("subject", error.to_string()))?;
    let time = text(&mut event, "time")?.map(|text| time(&text)).transpose()?;
    let source = text(&mut event, "source")?.ok_or(EventRefusal::Missing("source"))?;
    if is_taken(&source) {
        return Err(refused(
            "source",
            "is the name of an agent, or looks like one: only the agent itself may send its events",
        ));
    }
    if is_masked(&source) {
        let why = "has letters other than ASCII's and could be taken for an agent's name; write it as /WORD";
        return Err(refused("source", why));
    }
    let id = text(&mut event, "id")?.ok_or(EventRefusal::Missing("id"))?;
    let json = document(&source, &id, event, data)?;
    Ok(NewEvent { source, id, time, subject, kind, json })
}

/// All other attributes, in one line; `data` as it was written, but for the ends of lines between its tokens.
fn document(
    source: &str,
    id: &str,
    mut event: Map<String, Value>,
    data: Option<&RawValue>,
) -> Result<String, EventRefusal> {
    let base64 = event.remove("data_base64");
    if data.is_some() && base64.is_some() {
        return Err(refused("data_base64", "and `data` exclude each other; give one of them"));
    }
    if base64.as_ref().is_some_and(|data| !data.is_string()) {
        return Err(refused("data_base64", "is not a text"));
    }
    let mut document = Map::new();
    document.insert("source".to_owned(), source.into());
    document.insert("id".to_owned(), id.into());
    document.insert("severitynumber".to_owned(), SEVERITY.into());
    if data.is_some() && !event.contains_key("datacontenttype") {
        document.insert("datacontenttype".to_owned(), "application/json".into());
    }
    for (name, value) in event {
        attribute(&name, &value)?;
        // JSON's null means that the attribute is absent.
        if !value.is_null() {
            document.insert(name, value);
        }
    }
    if let Some(base64) = base64 {
        document.insert("data_base64".to_owned(), base64);
    }
    let mut json = Value::Object(document).to_string();
    if let Some(data) = data {
        json.pop();
        json.push_str(r#","data":"#);
        // An unescaped control character can only be between tokens.
        json.extend(data.get().chars().map(|character| if character < ' ' { ' ' } else { character }));
        json.push('}');
    }
    let bytes = json.len();
    if bytes > MESSAGE_BYTES_MAX {
        return Err(EventRefusal::TooLarge { bytes });
    }
    match serde_json::from_str::<Value>(&json) {
        Ok(_) => Ok(json),
        Err(error) => Err(refused("data", format!("is not valid JSON: {error}"))),
    }
}

/// An attribute that is optional in the specification, or an extension of the event's maker.
fn attribute(name: &str, value: &Value) -> Result<(), EventRefusal> {
    let is_name = name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    if name.is_empty() || name.len() > NAME_BYTES_MAX || !is_name {
        return Err(refused(name, "is not a valid attribute name (lower-case letters and digits)"));
    }
    if OF_THE_LOG.contains(&name) {
        return Err(refused(name, "is set by the log; leave it out"));
    }
    match value {
        Value::Null | Value::Bool(_) if name != "severitynumber" => Ok(()),
        Value::Number(number) if name == "severitynumber" => {
            let is_severity = number.as_u64().is_some_and(|number| (1..=24).contains(&number));
            if is_severity { Ok(()) } else { Err(refused(name, "is not on OpenTelemetry's scale, 1 to 24")) }
        }
        Value::Number(number) if number.as_i64().is_some_and(|number| i32::try_from(number).is_ok()) => Ok(()),
        Value::String(text) if name != "severitynumber" => plain(name, text),
        _ => Err(refused(name, "is not a text, a 32-bit whole number, or true or false")),
    }
}

fn text(event: &mut Map<String, Value>, name: &'static str) -> Result<Option<String>, EventRefusal> {
    match event.remove(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) if text.is_empty() => Err(refused(name, "is empty")),
        Some(Value::String(text)) => plain(name, &text).map(|()| Some(text)),
        Some(_) => Err(refused(name, "is not a text")),
    }
}

fn plain(name: &str, text: &str) -> Result<(), EventRefusal> {
    if text.len() > TEXT_BYTES_MAX {
        return Err(refused(name, format!("has {} bytes; the limit is {TEXT_BYTES_MAX}", text.len())));
    }
    if text.chars().any(char::is_control) {
        return Err(refused(name, "has a control character"));
    }
    Ok(())
}

fn time(text: &str) -> Result<Timestamp, EventRefusal> {
    afferent_host::time::parse(text, None)
        .ok_or_else(|| refused("time", "is not an RFC 3339 time of the years 1970 to 9999"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn least() -> Value {
        json!({"specversion": "1.0", "id": "1", "source": "/wear", "type": "com.example.wear.v1", "subject": "88-C"})
    }

    fn taken(json: &str) -> Result<NewEvent, EventRefusal> {
        check(serde_json::from_str(json).unwrap(), |source| source == "press-88")
    }

    fn with(name: &str, value: Value) -> Result<NewEvent, EventRefusal> {
        let mut event = least();
        event[name] = value;
        taken(&event.to_string())
    }

    #[test]
    fn data_is_kept_as_it_was_written() {
        let with_data = |data: &str| {
            taken(&format!(r#"{{"data":{data},"id":"1","source":"/w","type":"t","subject":"a","specversion":"1.0"}}"#))
        };
        for data in [
            r#"{"z":1.10,"a":18446744073709551616,"e":123456789012345678901234567890}"#,
            r#"[1E5,-0.0,0.10, 1e-7, "\u00e4\/", {"b":1,"a":2,"b":3}]"#,
            "null",
            r#""ä\u2028""#,
        ] {
            let json = with_data(data).unwrap().json;
            assert!(json.ends_with(&format!(r#","data":{data}}}"#)), "{json}");
        }
        assert!(with_data("{\n\t\"a\":1\r\n}").unwrap().json.ends_with(r#""data":{  "a":1  }}"#));
        for data in ["1e999".to_owned(), r#""\ud800""#.to_owned(), "[".repeat(200) + &"]".repeat(200)] {
            let refusal = with_data(&data).unwrap_err().to_string();
            assert!(refusal.starts_with("`data` is not valid JSON"), "{refusal}");
        }
    }

    #[test]
    fn a_member_that_stands_there_twice_is_refused() {
        for twice in [r#"{"id":"1","id":"2"}"#, r#"{"data":1,"data":2}"#] {
            let refusal = serde_json::from_str::<PostedJson<'_>>(twice).unwrap_err().to_string();
            assert!(refusal.contains("occurs twice"), "{refusal}");
        }
    }

    #[test]
    fn an_event_is_taken_with_all_attributes_of_its_producer() {
        let event = with("data", json!({"left": 3, "text": "a\nb"})).unwrap();
        assert_eq!((event.source.as_str(), event.id.as_str(), event.time), ("/wear", "1", None));
        let document: Value = serde_json::from_str(&event.json).unwrap();
        assert_eq!(document["data"], json!({"left": 3, "text": "a\nb"}));
        assert!(!event.json.contains('\n'), "it stays one line");
        let event = with("traceparent", "00-1".into()).unwrap();
        assert!(event.json.contains(r#""traceparent":"00-1""#), "{}", event.json);
        for (text, micros) in [("1970-01-01T00:00:01Z", 1_000_000), ("1970-01-01T00:00:01.9999999Z", 1_999_999)] {
            assert_eq!(with("time", text.into()).unwrap().time, Timestamp::new(micros), "fractions are cut");
        }
        assert!(with("severitynumber", 17.into()).unwrap().json.contains(r#""severitynumber":17"#));
        let amendment =
            r#"{"specversion":"1.0","id":"1","source":"/w","type":"afferent.amendment.v1","subject":"a","data":"#;
        assert!(taken(&format!(r#"{amendment}{{"of":"1","action":"note","note":"n","by":"Ada"}}}}"#)).is_ok());
        let nobody = taken(&format!(r#"{amendment}{{"of":"1","action":"note","note":"n"}}}}"#)).unwrap_err();
        assert!(nobody.to_string().contains("give the name of the person who amends the log"), "{nobody}");
    }

    #[test]
    fn what_is_wrong_is_named() {
        let long = "x".repeat(TEXT_BYTES_MAX + 1);
        for (name, value) in [
            ("specversion", json!("0.3")),
            ("id", json!("")),
            ("id", json!(7)),
            ("id", json!(long)),
            ("source", json!("press-88")),
            ("source", json!("a\u{7}")),
            ("source", json!("pr\u{435}ss-88")),
            ("type", json!("afferent.breakdown.v1")),
            ("subject", json!("/88-C")),
            ("time", json!("yesterday")),
            ("time", json!("1950-01-01T00:00:00Z")),
            ("offset", json!("1")),
            ("ingesttime", json!("1")),
            ("Upper", json!("1")),
            ("extension", json!({})),
            ("extension", json!(1_u64 << 40)),
            ("severitynumber", json!(25)),
            ("severitynumber", json!("9")),
            ("data_base64", json!(1)),
        ] {
            let refusal = with(name, value.clone()).unwrap_err().to_string();
            assert!(refusal.contains(name), "{name} {value}: {refusal}");
        }
        for name in ["specversion", "id", "source", "type", "subject"] {
            let mut event = least();
            event.as_object_mut().unwrap().remove(name);
            assert_eq!(taken(&event.to_string()), Err(EventRefusal::Missing(name)));
        }
        for other in ["[1,[2]]", "null", "true", "-1", "1", "1.5", r#""a""#] {
            assert_eq!(taken(other), Err(EventRefusal::NoObject), "{other}");
        }
        let large = with("data", json!("x".repeat(MESSAGE_BYTES_MAX)));
        assert!(matches!(large, Err(EventRefusal::TooLarge { .. })));
    }
}
