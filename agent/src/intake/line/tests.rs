use super::*;

fn parsed(line: &str) -> String {
    let mut parser = LineParser::default();
    match parser.parse(line.as_bytes()) {
        Ok(line) => format!("{:?}", line.event(Timestamp::clamped(7)).unwrap()),
        Err(error) => panic!("{line}: {error}"),
    }
}

fn outcome(line: &[u8]) -> Result<(), LineError> {
    LineParser::default().parse(line)?.check()
}

fn refused(line: impl AsRef<[u8]>) -> String {
    match outcome(line.as_ref()) {
        Ok(()) => panic!("{} was taken", String::from_utf8_lossy(line.as_ref())),
        Err(error) => error.to_string(),
    }
}

fn expected(time: i64, subject: &str, body: Body<'_>) -> String {
    format!("{:?}", Event { time: Timestamp::new(time).unwrap(), subject: Subject::new(subject).unwrap(), body })
}

fn sample(value: Value<'_>) -> Body<'_> {
    Body::Sample(Sample { value, unit: "", quality: Quality::Good })
}

#[test]
fn a_sample_is_read() {
    let line = r#"{"subject":"88-C/spindle/temperature","value":81.4,"unit":"Cel","time":"2021-09-13T23:54:31Z","quality":"bad"}"#;
    let body = Body::Sample(Sample { value: Value::Float(81.4), unit: "Cel", quality: Quality::Bad });
    assert_eq!(parsed(line), expected(1_631_577_271_000_000, "88-C/spindle/temperature", body));
}

#[test]
fn integers_stay_integers_and_the_time_is_now_where_none_is_given() {
    assert_eq!(parsed(r#"{"subject":"a","value":3}"#), expected(7, "a", sample(Value::Integer(3))));
    assert_eq!(
        parsed(r#"{"subject":"a","value":-3,"time":946771200000000}"#),
        expected(946_771_200_000_000, "a", sample(Value::Integer(-3)))
    );
    assert_eq!(parsed(r#"{"subject":"a","value":3.0}"#), expected(7, "a", sample(Value::Float(3.0))));
    assert_eq!(parsed(r#"{"subject":"a","value":true}"#), expected(7, "a", sample(Value::Bool(true))));
    assert_eq!(parsed("\u{feff}{\"subject\":\"a\",\"value\":-0}"), expected(7, "a", sample(Value::Float(-0.0))));
    let large = r#"{"subject":"a","value":18446744073709551616.0}"#;
    assert_eq!(parsed(large), expected(7, "a", sample(Value::Float(18_446_744_073_709_551_616.0))));
    assert_eq!(parsed(r#" {"value":"auf\u00e4","subject":"a"} "#), expected(7, "a", sample(Value::Text("aufä"))));
}

#[test]
fn every_type_that_a_producer_may_send_is_read() {
    let breakdown = Breakdown { code: "E42", severity: Severity::Fatal, message: "stuck \"hard\"" };
    assert_eq!(
        parsed(r#"{"subject":"88-C","type":"breakdown","code":"E42","severity":"fatal","message":"stuck \"hard\""}"#),
        expected(7, "88-C", Body::Breakdown(breakdown))
    );
    let recovery = Recovery { code: "E42", message: "" };
    assert_eq!(
        parsed(r#"{"subject":"88-C","type":"afferent.recovery.v1","code":"E42"}"#),
        expected(7, "88-C", Body::Recovery(recovery))
    );
    let state = State { state: MachineState::Executing, reason: "shift" };
    assert_eq!(
        parsed(r#"{"subject":"88-C","type":"state","state":"executing","reason":"shift"}"#),
        expected(7, "88-C", Body::State(state))
    );
    let alarm = Alarm { condition: "oil", transition: AlarmTransition::Raised, priority: 900, message: "low" };
    assert_eq!(
        parsed(
            r#"{"subject":"88-C","type":"alarm","condition":"oil","transition":"raised","priority":900,"message":"low"}"#
        ),
        expected(7, "88-C", Body::Alarm(alarm))
    );
    let derived = Derived { kind: "com.example.wear.v1", json: r#"{"hours": [1, 2.50]}"# };
    assert_eq!(
        parsed(r#"{"subject":"88-C","type":"derived","kind":"com.example.wear.v1","data":{"hours": [1, 2.50]}}"#),
        expected(7, "88-C", Body::Derived(derived))
    );
}

#[test]
fn a_refusal_names_the_field_and_the_remedy() {
    for (line, parts) in [
        (r#"{"subject":"a","value":NaN}"#, &["value", "quality \"bad\""][..]),
        (r#"{"subject":"a","value":-Infinity}"#, &["no infinity"]),
        (r#"{"subject":"a","value":1e999}"#, &["no infinity"]),
        (r#"{"subject":"a","value":null}"#, &["`value`", "null", "a number"]),
        (r#"{"subject":"a","value":[1]}"#, &["`value`", "sequence", "a number"]),
        (r#"{"subject":"a","value":9223372036854775808}"#, &["`value`", ".0"]),
        (r#"{"subject":"a","value":1,"unit":"degC"}"#, &["unit", "degC", "Cel"]),
        (r#"{"subject":"a","value":1,"units":"Cel"}"#, &["units", "`unit`"]),
        (r#"{"subject":"a","value":1,"colour":"red"}"#, &["colour", "the fields are subject"]),
        (r#"{"subject":"a","value":1,"value":2}"#, &["`value`", "twice"]),
        (r#"{"subject":"a","value":1,"message":"x"}"#, &["`message`", "a sample", "value, unit, quality"]),
        (r#"{"subject":"a","type":"breakdown","value":1}"#, &["`value`", "a breakdown", "code, severity"]),
        (r#"{"subject":"a"}"#, &["`value`", "missing", "a sample"]),
        (r#"{"value":1}"#, &["`subject`", "missing"]),
        (r#"{"subject":"a","type":"state"}"#, &["`state`", "missing"]),
        (r#"{"subject":"a","type":"alarm","condition":"x"}"#, &["`transition`", "missing"]),
        (r#"{"subject":"a","type":"loss"}"#, &["loss", "only an agent itself"]),
        (r#"{"subject":"a","type":"afferent.progress.v1"}"#, &["afferent.progress.v1", "only an agent itself"]),
        (r#"{"subject":"a","type":"brakedown"}"#, &["`type`", "brakedown", "breakdown"]),
        (r#"{"subject":"a","type":"breakdown","severity":"bad"}"#, &["`severity`", "fatal"]),
        (r#"{"subject":"a","type":"alarm","condition":"x","transition":"up"}"#, &["`transition`", "raised"]),
        (r#"{"subject":"a","type":"alarm","condition":"x","transition":"raised","priority":0}"#, &["priority", "1000"]),
        (
            r#"{"subject":"a","type":"alarm","condition":"x","transition":"raised","priority":-1}"#,
            &["`priority`", "-1"],
        ),
        (r#"{"subject":"a//b","value":1}"#, &["subject", "empty level"]),
        (r#"{"subject":"a\u0000","value":1}"#, &["subject", "character"]),
        (r#"{"subject":7,"value":1}"#, &["`subject`", "a text in quotes"]),
        (r#"{"subject":"a","value":1,"time":"yesterday"}"#, &["`time`", "yesterday", "RFC 3339"]),
        (r#"{"subject":"a","value":1,"time":-1}"#, &["`time`", "-1"]),
        (r#"{"subject":"a","value":18446744073709551616}"#, &["`value`", ".0"]),
        (r#"{"subject":"a","value":-9223372036854775809}"#, &["`value`", "the least"]),
        (r#"{"subject":"a","value":123456789012345678901234567890}"#, &["`value`", ".0"]),
        (r#"{"subject":"a","value":1,"time":0}"#, &["`time`", "microseconds", "1970-01-01T00:00:00Z"]),
        (r#"{"subject":"a","value":1,"time":1386018900}"#, &["`time`", "seconds"]),
        (r#"{"subject":"a","value":1,"time":1386018900000}"#, &["`time`", "milliseconds"]),
        (r#"{"subject":"a","value":1,"time":1386018900000000000}"#, &["`time`", "9999"]),
        (r#"{"subject":"a","value":1,"time":1.5}"#, &["`time`", "RFC 3339"]),
        (r#"{"subject":"a","value":1,"time":253402300800000000}"#, &["`time`", "9999"]),
        (r#"{"subject":"a","value":1,"quality":"ok"}"#, &["`quality`", "uncertain"]),
        (r#"[1]"#, &["one JSON object"]),
        (r#"{"subject":"a","value":1"#, &["ends too early"]),
        (r#"{"subject":"a","value":1}{"#, &["one JSON object", "trailing"]),
        ("hello", &["one JSON object"]),
    ] {
        let message = refused(line);
        for part in parts {
            assert!(message.contains(part), "{line}\n  {message}\n  lacks {part}");
        }
        assert!(!message.contains("at line"), "{message}");
    }
}

#[test]
fn bytes_that_are_no_text_and_lines_that_are_too_long_are_refused() {
    assert!(refused(b"{\"subject\":\"\xff\",\"value\":1}").starts_with("byte 13 of the line is not UTF-8"));
    let long = format!(r#"{{"subject":"a","value":"{}"}}"#, "x".repeat(LINE_BYTES_MAX));
    assert!(refused(long).contains("65536 bytes"));
    let text = format!(r#"{{"subject":"a","value":"{}"}}"#, "x".repeat(2000));
    assert!(refused(text).contains("`value` has 2000 bytes"));
}

#[test]
fn a_refusal_is_never_longer_than_its_limit() {
    let line = format!(r#"{{"subject":"a","value":1,"{}":1}}"#, "ä".repeat(5000));
    let error = LineParser::default().parse(line.as_bytes()).unwrap_err();
    assert!(error.text().len() <= REFUSAL_BYTES_MAX);
    assert_eq!(cut("äää".to_owned(), 5), "ä…");
}

#[test]
fn texts_without_escapes_are_borrowed() {
    let mut parser = LineParser::default();
    let line = br#"{"subject":"88-C","value":1}"#.to_vec();
    let parsed = parser.parse(&line).unwrap();
    let subject = parsed.event(Timestamp::default()).unwrap().subject.as_str();
    assert!(line.as_ptr_range().contains(&subject.as_ptr()));
}

proptest::proptest! {
    #[test]
    fn no_line_makes_it_panic(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200), text in "[\"{}:,a-z0-9.\\\\u-]{0,60}") {
        let _ = outcome(&bytes);
        let _ = outcome(text.as_bytes());
        let _ = outcome(format!("{{\"subject\":\"a\",{text}}}").as_bytes());
    }
}

proptest::proptest! {
    #[test]
    fn a_number_is_the_nearest_double_however_it_is_written(bits: u64, digits in 0..30_usize) {
        let value = f64::from_bits(bits);
        proptest::prop_assume!(value.is_finite());
        let written = [format!("{value:?}"), format!("{value:e}"), format!("{value:.digits$e}"), format!("{value:.1}")];
        for text in written {
            let line = format!(r#"{{"subject":"a","value":{text}}}"#);
            let mut parser = LineParser::default();
            let line = parser.parse(line.as_bytes()).unwrap();
            let event = line.event(Timestamp::default()).unwrap();
            let Body::Sample(Sample { value: Value::Float(read), .. }) = event.body else { panic!("{event:?}") };
            let nearest: f64 = text.parse().unwrap();
            proptest::prop_assert_eq!(read.to_bits(), nearest.to_bits(), "{}", text);
        }
    }
}

#[test]
fn the_refusal_of_a_type_lists_those_that_producers_may_send() {
    let taken = event::Kind::ALL.into_iter().filter(|kind| Kind::of(*kind).is_some());
    assert_eq!(taken.map(event::Kind::name).collect::<Vec<_>>().join(", "), TYPES);
}

#[test]
fn a_value_of_a_wrong_type_is_refused_by_its_field() {
    const TEXT: &str = "expected a text in quotes";
    const TIME: &str = "expected RFC 3339 in quotes or whole microseconds since 1970";
    const SAMPLE: &str = "expected a number, true, false or a short text";
    for (field, value, wrong, expected) in [
        ("subject", "-7", "invalid type: integer `-7`", TEXT),
        ("unit", "1e300", "invalid type: floating point `1e+300`", TEXT),
        ("code", "true", "invalid type: boolean `true`", TEXT),
        ("message", "null", "invalid type: null", TEXT),
        ("reason", "[1]", "invalid type: sequence", TEXT),
        ("kind", "{}", "invalid type: map", TEXT),
        ("time", "1.5", "invalid type: floating point `1.5`", TIME),
        ("time", "18446744073709551615", "invalid value: integer `18446744073709551615`", TIME),
        ("time", "18446744073709551616", "invalid type: floating point `1.8446744073709552e+19`", TIME),
        ("value", "null", "invalid type: null", SAMPLE),
        ("value", "[\"is over\"]", "invalid type: sequence", SAMPLE),
        ("priority", "70000", "invalid value: integer `70000`", "expected u16"),
        ("priority", "-1", "invalid value: integer `-1`", "expected u16"),
        ("priority", "\"x\"", "invalid type: string \"x\"", "expected u16"),
    ] {
        let message = refused(format!("{{\"{field}\":{value}}}"));
        assert!(
            message.starts_with(&format!("`{field}`: {wrong}, {expected} (at byte ")),
            "{field} {value}: {message}"
        );
    }
    // What is no JSON has no field.
    for line in [r#"{"subject":nope}"#, r#"{"subject":"\ud800"}"#, r#"{"time":1e999}"#, r#"{"priority":}"#] {
        assert!(refused(line).starts_with("the line is not one JSON object: "), "{line}");
    }
}
