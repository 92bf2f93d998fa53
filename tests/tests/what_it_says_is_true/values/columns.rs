//! What columns hold is declared before the first row, and what does not fit is refused by number and reason, and counted.

use super::*;

const TIMED: [&str; 4] = ["--time-column", "t", "--value-column", "v"];

fn values(lines: &[String]) -> Vec<&str> {
    lines.iter().map(|line| member(line, "value")).collect()
}

#[test]
fn columns_are_declared_and_what_does_not_fit_is_refused_and_counted() {
    let Pair { rig, _collector, agent: _agent } = pair("value-columns");
    let mut rows: Vec<String> = (0..120).map(|second| format!("{},{second},00{second},x", at(second))).collect();
    for (row, cell) in [(103, "NaN"), (105, "inf"), (107, "1e999"), (109, "00123"), (111, "18446744073709551615")] {
        rows[row - 1] = format!("{},{cell},7,x", at(row));
    }
    rows[112] += ",one more";
    let text = format!("t,v,lot,left\n{}\n", rows.join("\n"));
    let said = replay(&rig, "c.csv", &text, &[&TIMED[..], &["--value-column", "lot"]].concat());
    let declared = "t: RFC 3339 · v: number · lot: text · left out: left";
    let (first, rest) = said.err.split_once('\n').expect("lines");
    assert!(first.ends_with(declared), "{first}");
    for (row, why) in [
        (103, "\"NaN\" is not a finite number"),
        (105, "\"inf\" is not a finite number"),
        (107, "\"1e999\" is too large"),
        (109, "\"00123\" is not a number"),
        (111, "18446744073709551615 is outside"),
        (113, "it has 5 cells, but the header line has 4"),
    ] {
        let told = rest.lines().find(|line| line.contains(&format!("row {row}:")));
        assert!(told.is_some_and(|told| told.contains(why)), "row {row}, {why}: {rest}");
    }
    assert!(!said.status.success() && rest.contains("6 rows were refused and all others accepted"), "{rest}");
    let lots = lines_about(&rig, "88-C/v/lot", 114);
    assert_eq!(member(&lots[5], "value"), "\"005\"");
    // The control: a reader that takes each cell as what it looks like makes a number of it, and none of NaN's infinity.
    assert!("005".parse::<i64>() == Ok(5) && "1e999".parse::<f64>().is_ok_and(f64::is_infinite));
    lines_about(&rig, "88-C/v/v", 114);
}

#[test]
fn a_strict_replay_stops_at_the_first_wrong_row() {
    let Pair { rig, _collector, agent: _agent } = pair("value-strict");
    let text = format!("t,v\n{},1\n{},NaN\n{},3\n", at(1), at(2), at(3));
    let said = replay(&rig, "s.csv", &text, &[&TIMED[..], &["--strict"]].concat());
    assert!(!said.status.success() && said.err.contains("row 2"), "{}", said.err);
    assert_eq!(values(&lines_about(&rig, "88-C/v", 1)), ["1"]);
    // The control: without it the rest go on, from where it stopped.
    let said = replay(&rig, "s.csv", &text, &TIMED);
    assert!(!said.status.success() && said.err.contains("1 rows were refused"), "{}", said.err);
    assert_eq!(values(&lines_about(&rig, "88-C/v", 2)), ["1", "3"]);
    // What is wrong in the socket's own lines is a wrong row as well.
    let own = "{\"subject\":\"88-C/own\",\"value\":1}\n{\"subject\":\"88-C/own\",\"value\":1,\"value\":2}\n{\"subject\":\"88-C/own\",\"value\":3}\n";
    let said = replay(&rig, "own.jsonl", own, &["--strict"]);
    assert!(!said.status.success() && said.err.contains("row 2") && said.err.contains("twice"), "{}", said.err);
    lines_about(&rig, "88-C/own", 1);
}

/// Two cells, the remedy that is named, what states it, and the values then.
type Stated = ([&'static str; 2], &'static str, &'static [&'static str], [&'static str; 2]);

#[test]
fn what_is_ambiguous_is_refused_before_the_run_until_it_is_stated() {
    let Pair { rig, _collector, agent: _agent } = pair("value-stated");
    let file = |cells: [&str; 2]| format!("t;v\n{};{}\n{};{}\n", at(1), cells[0], at(2), cells[1]);
    let cases: [Stated; 5] = [
        (["81,4", "82,5"], "--decimal ,", &["--decimal", ","], ["81.4", "82.5"]),
        (["1E5", "2E5"], "--number, --text", &["--text", "v"], ["\"1E5\"", "\"2E5\""]),
        (["123", "A7"], "--number, --text", &["--text", "v"], ["\"123\"", "\"A7\""]),
        (["true", "0"], "--number, --text", &["--text", "v"], ["\"true\"", "\"0\""]),
        (["1E5", "2E5"], "--number, --text", &["--number", "v"], ["100000.0", "200000.0"]),
    ];
    for (at, (cells, remedy, stated, expected)) in cases.iter().enumerate() {
        let begin = ["--delimiter", ";", "--time-column", "t", "--value-column", "v"];
        let subject = format!("88-C/{at}");
        let name = format!("{at}.csv");
        let said = replay(&rig, &name, &file(*cells), &begin);
        assert!(!said.status.success() && said.err.contains(remedy), "{cells:?}: {}", said.err);
        let path = rig.folder.join(&name).display().to_string();
        let stated = [&["replay", &path, "--subject", &subject, "--speed", "max"][..], &begin[..], *stated].concat();
        let said = agent(&rig, &stated, b"");
        assert!(said.status.success(), "{cells:?}: {}", said.err);
        assert_eq!(values(&lines_about(&rig, &subject, 2)), expected);
    }
    let said = replay(&rig, "twice.csv", &format!("t,v,v\n{},1,2\n", at(1)), &TIMED);
    assert!(!said.status.success() && said.err.contains("columns 2 and 3 are both named \"v\""), "{}", said.err);
    // The control: nothing of what was refused is in the log.
    assert_eq!(rig.events().iter().filter(|event| event["type"] == "afferent.sample.v1").count(), 2 * cases.len());
}

#[test]
fn outer_blanks_and_zeros_in_front_are_kept_or_not_by_one_rule() {
    let Pair { rig, _collector, agent: _agent } = pair("value-blanks");
    let cells = [" 00123 ", " 5 ", " true ", " a "];
    for cell in cells {
        assert!(agent(&rig, &["emit", "sample", "88-C/emitted", cell], b"").status.success());
    }
    for (at, cell) in cells.iter().enumerate() {
        let said = replay(&rig, &format!("{at}.csv"), &format!("v,w\n{cell},\n"), &["--value-column", "v"]);
        assert!(said.status.success(), "{}", said.err);
    }
    let expected = ["\" 00123 \"", "5", "true", "\" a \""];
    assert_eq!(values(&lines_about(&rig, "88-C/emitted", 4)), expected);
    assert_eq!(values(&lines_about(&rig, "88-C/v", 4)), expected);
    // The control: trimmed, two of the texts would be others.
    assert!(cells[0].trim() != cells[0] && cells[3].trim() != cells[3]);
}

/// A time so many seconds after midnight.
fn at(second: usize) -> String {
    format!("2021-09-13T00:{:02}:{:02}Z", second / 60, second % 60)
}
