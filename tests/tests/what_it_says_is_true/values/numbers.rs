//! Doubles come out bit by bit, and whole numbers digit by digit, whichever way they went in.

use afferent_tests::process::{Sse, ask};

use super::*;

/// Doubles that were read wrong once, those at the borders, and random ones.
fn doubles() -> Vec<f64> {
    let mut all = vec![
        59.375844799999996,
        9_007_199_254_740_993.0,
        0.1,
        -0.0,
        5e-324,
        2.225_073_858_507_201_4e-308,
        f64::MAX,
        f64::MIN,
        f64::EPSILON,
        1e23,
        100_000.0,
    ];
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    while all.len() < 400 {
        // xorshift64*: every bit pattern may come.
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        let value = f64::from_bits(state.wrapping_mul(0x2545_F491_4F6C_DD1D));
        if value.is_finite() {
            all.push(value);
        }
        // As sensors give them.
        all.push((state % 1_000_000) as f64 / 7919.0);
    }
    all
}

/// The nearest double, as most simple readers make it: digits, times a power of ten.
fn naive(text: &str) -> f64 {
    let (mantissa, exponent) = text.split_once('e').unwrap_or((text, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits: f64 = format!("{whole}{fraction}").parse().expect("digits");
    digits * 10_f64.powi(exponent.parse::<i32>().expect("an exponent") - fraction.len() as i32)
}

fn bits(lines: &[String]) -> Vec<u64> {
    lines.iter().map(|line| member(line, "value").parse::<f64>().expect("a number").to_bits()).collect()
}

#[test]
fn doubles_come_out_bit_by_bit_from_every_door_to_every_reader() {
    let Pair { rig, _collector, agent: _agent } = pair("value-bits");
    let all = doubles();
    let wanted: Vec<u64> = all.iter().map(|value| value.to_bits()).collect();
    // The control: a reader that multiplies by powers of ten gets others.
    let texts: Vec<String> = all.iter().map(|value| format!("{value:?}")).collect();
    assert!(texts.iter().zip(&all).any(|(text, value)| naive(text).to_bits() != value.to_bits()));

    let rows: String = texts.iter().map(|text| format!("2021-09-13T23:54:31Z,{text}\n")).collect();
    let options = ["--time-column", "t", "--value-column", "v", "--number", "v"];
    let said = replay(&rig, "bits.csv", &format!("t,v\n{rows}"), &options);
    assert!(said.status.success(), "{}", said.err);
    let replayed = lines_about(&rig, "88-C/v", all.len());
    assert!(bits(&replayed) == wanted, "replayed");

    let lines: String = texts.iter().map(|text| format!("{{\"subject\":\"88-C/s\",\"value\":{text}}}\n")).collect();
    let said = agent(&rig, &["emit", "lines"], lines.as_bytes());
    assert!(said.status.success(), "{}", said.err);
    assert!(bits(&lines_about(&rig, "88-C/s", all.len())) == wanted, "emitted");

    let offset = json(&replayed[0])["offset"].as_str().expect("an offset").to_owned();
    let mut stream = Sse::open(rig.http, &format!("/v1/stream?from={offset}&subject=88-C/v")).expect("it streams");
    let streamed: Vec<String> = all.iter().map(|_| stream.next_data().expect("an event")).collect();
    assert!(bits(&streamed) == wanted, "streamed");

    let data = format!("[{}]", texts.join(","));
    let event = format!(
        "{{\"specversion\":\"1.0\",\"id\":\"bits\",\"source\":\"/test\",\"type\":\"a.v1\",\"subject\":\"88-C/p\",\"data\":{data}}}"
    );
    let answer = ask(rig.http, "POST", "/v1/events", "application/cloudevents+json", &event).expect("it answers");
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert!(lines_about(&rig, "88-C/p", 1)[0].contains(&data), "posted");
}

#[test]
fn whole_numbers_are_exact_or_refused_and_no_reader_rounds_them() {
    let Pair { rig, _collector, agent: _agent } = pair("value-whole");
    let border = 1_i64 << 53;
    let numbers = [0, -5, border, border + 1, -border - 1, i64::MAX, i64::MIN];
    let lines: String =
        numbers.iter().map(|number| format!("{{\"subject\":\"88-C/i\",\"value\":{number}}}\n")).collect();
    assert!(agent(&rig, &["emit", "lines"], lines.as_bytes()).status.success());
    let told = lines_about(&rig, "88-C/i", numbers.len());
    for (line, number) in told.iter().zip(numbers) {
        let is_text = number.unsigned_abs() > 1 << 53;
        let expected = if is_text { format!("\"{number}\"") } else { number.to_string() };
        assert_eq!(member(line, "value"), expected);
        assert_eq!(json(line)["data"]["valuetype"], if is_text { "integer".into() } else { Value::Null }, "{line}");
    }
    // The control: a reader that takes them for doubles takes two of them for one.
    assert!((border + 1) as f64 == border as f64);
    // A text of digits stays told from them.
    assert!(agent(&rig, &["emit", "sample", "88-C/t", "9007199254740993", "--text"], b"").status.success());
    let text = &lines_about(&rig, "88-C/t", 1)[0];
    assert_eq!((member(text, "value"), &json(text)["data"]["valuetype"]), ("\"9007199254740993\"", &Value::Null));
    let lowest = i64::MIN.to_string();
    let last = wait_for("the model of last values has it", || {
        let state = json(&get_text(rig.http, "/v1/models/last")?);
        Some(state["state"]["subjects"]["88-C/i"].clone()).filter(|last| last["value"] == *lowest)
    });
    assert_eq!(last["valuetype"], "integer", "{last}");

    for beyond in
        ["9223372036854775808", "18446744073709551615", "-9223372036854775809", "123456789012345678901234567890"]
    {
        let line = format!("{{\"subject\":\"88-C/i\",\"value\":{beyond}}}\n");
        let said = agent(&rig, &["emit", "lines"], line.as_bytes());
        assert!(!said.status.success() && said.err.contains(beyond) && said.err.contains("as a text"), "{}", said.err);
        let said = agent(&rig, &["emit", "sample", "88-C/i", beyond], b"");
        assert!(!said.status.success() && said.err.contains("--text"), "{}", said.err);
    }
    lines_about(&rig, "88-C/i", numbers.len());
}

#[test]
fn sequences_are_numbers_and_offsets_texts_wherever_they_stand() {
    let Pair { rig, _collector, agent: _agent } = pair("value-forms");
    rig.break_down("E42");
    rig.wait_logged("E42");
    let events = rig.events();
    let of = |change: &str| {
        let found = events.iter().find(|event| event["data"]["change"] == change);
        &found.unwrap_or_else(|| panic!("no {change} among {events:#?}"))["data"]
    };
    assert!(of("term_begun")["first"].is_string());
    for event in &events {
        assert!(event["offset"].is_string() && event["sequence"].is_string(), "{event}");
    }
    let agents = get_text(rig.http, "/v1/agents").map(|text| json(&text)).expect("the API answers");
    assert!(agents["log"]["end"].is_string() && agents["log"]["first"] == "0", "{}", agents["log"]);
    assert!(agents["agents"][0]["lanes"][0]["end"].is_u64(), "{}", agents["agents"][0]);
    let path = "/v1/certificate?source=press-88&from=2021-09-13T00:00:00Z&until=2021-09-14T00:00:00Z";
    let certificate = get_text(rig.http, path).map(|text| json(&text)).expect("the API certifies");
    assert!(certificate["log"]["end"].is_string() && certificate["log"]["first"].is_string(), "{}", certificate["log"]);
}
