//! Times are what they say, by one rule at every door, and never behind what they follow.

use super::*;

fn times(lines: &[String]) -> Vec<String> {
    lines.iter().map(|line| json(line)["time"].as_str().expect("a time").to_owned()).collect()
}

fn sample(subject: &str, time: &str) -> String {
    format!("{{\"subject\":\"{subject}\",\"value\":1,\"time\":{time}}}\n")
}

#[test]
fn a_leap_second_is_not_stored_before_what_it_follows_and_fractions_are_cut() {
    let Pair { rig, _collector, agent: _agent } = pair("value-leap");
    let given = ["2016-12-31T23:59:59.9Z", "2016-12-31T23:59:60.2Z", "2017-01-01T00:00:00.1234569Z"];
    let lines: String = given.iter().map(|time| sample("88-C/leap", &format!("\"{time}\""))).collect();
    assert!(agent(&rig, &["emit", "lines"], lines.as_bytes()).status.success());
    let told = times(&lines_about(&rig, "88-C/leap", 3));
    assert!(told.is_sorted(), "{told:?}");
    assert_eq!(told[1..], ["2016-12-31T23:59:59.999999Z", "2017-01-01T00:00:00.123456Z"]);
    // The control: second 60 read as 59 with its own fraction lies before 59.9.
    assert!("2016-12-31T23:59:59.2Z" < given[0]);
    let rows: String = given.iter().map(|time| format!("{time},1\n")).collect();
    let said = replay(&rig, "leap.csv", &format!("t,v\n{rows}"), &["--time-column", "t", "--value-column", "v"]);
    assert!(said.status.success(), "{}", said.err);
    assert_eq!(times(&lines_about(&rig, "88-C/v", 3)), told, "a file is read as the socket is");
}

#[test]
fn no_number_is_a_time_by_its_size() {
    let Pair { rig, _collector, agent: _agent } = pair("value-times");
    let options = ["--time-column", "t", "--value-column", "v"];
    for time in ["20240101120000", "20240102", "45292.5", "1704110400", "1704110400000"] {
        let said = replay(&rig, "t.csv", &format!("t,v\n{time},1\n"), &options);
        assert!(
            !said.status.success() && said.err.contains(time) && said.err.contains("--time-format"),
            "{}",
            said.err
        );
    }
    let said = replay(&rig, "t.csv", "t,v\n2024-01-01 12:00:00,1\n", &options);
    assert!(!said.status.success() && said.err.contains("--time-zone"), "{}", said.err);
    for time in ["1704110400", "1704110400000", "1704110400000000000"] {
        let said = agent(&rig, &["emit", "lines"], sample("88-C/v", time).as_bytes());
        assert!(!said.status.success() && said.err.contains("microseconds"), "{}", said.err);
    }
    // The control: stated, each of them is that noon.
    let stated: [(&str, &[&str]); 6] = [
        ("20240101120000", &["--time-format", "%Y%m%d%H%M%S", "--time-zone", "UTC"]),
        ("45292.5", &["--time-format", "excel", "--time-zone", "UTC"]),
        ("1704110400", &["--time-format", "unix"]),
        ("1704110400000", &["--time-format", "unix_ms"]),
        ("2024-01-01 12:00:00", &["--time-zone", "UTC"]),
        ("2024-01-01 07:00:00", &["--time-zone", "-05:00"]),
    ];
    for (at, (time, more)) in stated.iter().enumerate() {
        let said = replay(&rig, &format!("{at}.csv"), &format!("t,v\n{time},1\n"), &[&options[..], *more].concat());
        assert!(said.status.success(), "{time}: {}", said.err);
    }
    let micros = agent(&rig, &["emit", "lines"], sample("88-C/v", "1704110400000000").as_bytes());
    assert!(micros.status.success(), "{}", micros.err);
    let told = times(&lines_about(&rig, "88-C/v", stated.len() + 1));
    assert!(told.iter().all(|time| time == "2024-01-01T12:00:00.000000Z"), "{told:?}");
}

#[test]
fn a_file_of_the_configuration_is_read_by_the_same_rule() {
    let mut rig = Rig::new("value-file");
    let path = rig.folder.join("noon.csv");
    std::fs::write(&path, "t;v\n01.01.2024 12:00;81,4\n01.01.2024 12:01;NaN\n01.01.2024 12:02;82,5\n")
        .expect("it is written");
    rig.agent_extra = format!(
        "[[intake.file]]\npath = {path:?}\nsubject = \"88-C/v\"\ntime_column = \"t\"\nvalue_columns = [\"v\"]\nspeed = \"max\"\n\
         time_format = \"%d.%m.%Y %H:%M\"\ntime_zone = \"+01:00\"\ndecimal = \",\"\ndelimiter = \";\"\n"
    );
    let _collector = rig.start_collector();
    let agent = rig.start_agent();
    let told = lines_about(&rig, "88-C/v", 2);
    assert_eq!(times(&told), ["2024-01-01T11:00:00.000000Z", "2024-01-01T11:02:00.000000Z"]);
    assert_eq!((member(&told[0], "value"), member(&told[1], "value")), ("81.4", "82.5"));
    let refused = || rig.agent_figure("afferent_intake_lines_refused_total").filter(|refused| *refused == 1);
    wait_for("the cell that is no number is counted", refused);
    let said = agent.printed();
    assert!(said.contains("v: number") && said.contains("is not a finite number"), "{said}");
}

#[test]
fn a_mark_of_the_byte_order_costs_no_line_and_p_h_is_no_picohenry() {
    let Pair { rig, _collector, agent: _agent } = pair("value-marks");
    let line = "\u{feff}{\"subject\":\"88-C/bom\",\"value\":7,\"unit\":\"[pH]\"}\n";
    let said = agent(&rig, &["emit", "lines"], line.as_bytes());
    assert!(said.status.success(), "{}", said.err);
    assert_eq!(member(&lines_about(&rig, "88-C/bom", 1)[0], "value"), "7");
    let said = replay(&rig, "bom.csv", "\u{feff}v\n7\n", &["--value-column", "v"]);
    assert!(said.status.success(), "{}", said.err);
    let said = agent(&rig, &["emit", "sample", "88-C/p", "7", "--unit", "pH"], b"");
    assert!(!said.status.success() && said.err.contains("[pH]"), "{}", said.err);
    // The control: a code that is meant is taken.
    assert!(agent(&rig, &["emit", "sample", "88-C/p", "7", "--unit", "nH"], b"").status.success());
}
