//! What arrives, to the bit and the nanosecond, and the configurations of the README.

use std::process::Command;

use afferent_tests::process::{Folder, INFLUX_LOGIN, Influx, Metric, Rig, VictoriaMetrics, run_to_end, wait_for};

use super::super::plant::{configuration, wait_delivered};
use super::expected::{check_points, of_event};
use super::{NAME, rig};

const README: &str = include_str!("../../../../collector/src/forward/influx/README.md");

/// Every kind of value, and texts that would end a line or a tag.
const LINES: &str = concat!(
    "{\"subject\":\"88-C/temperature\",\"value\":81.4,\"unit\":\"Cel\"}\n",
    "{\"subject\":\"88-C/temperature\",\"value\":-0.0,\"unit\":\"Cel\"}\n",
    "{\"subject\":\"88-C/temperature\",\"value\":5e-324,\"unit\":\"Cel\"}\n",
    "{\"subject\":\"88-C/temperature\",\"value\":1.7976931348623157e308,\"unit\":\"Cel\",\"quality\":\"bad\"}\n",
    "{\"subject\":\"88-C/temperature\",\"value\":0.1,\"unit\":\"%,=\\\\\",\"quality\":\"uncertain\"}\n",
    "{\"subject\":\"88-C/count\",\"value\":9223372036854775807,\"unit\":\"1\"}\n",
    "{\"subject\":\"88-C/count\",\"value\":-9223372036854775808,\"unit\":\"1\"}\n",
    "{\"subject\":\"77-A/door\",\"value\":true}\n",
    "{\"subject\":\"77-A/recipe\",\"value\":\"Ä \\\"x\\\", a=b \\\\\"}\n",
    "{\"subject\":\"Halle 3, Öl=\\\"x\\\"/1\",\"type\":\"breakdown\",\"code\":\"E 42,a=\",\"message\":\"Riß \\\\\"}\n",
    "{\"subject\":\"88-C\",\"type\":\"recovery\"}\n",
    "{\"subject\":\"88-C\",\"type\":\"state\",\"state\":\"executing\",\"reason\":\"begun\"}\n",
    "{\"subject\":\"88-C\",\"type\":\"alarm\",\"condition\":\"hot\",\"transition\":\"raised\",\"priority\":700}\n",
    "{\"subject\":\"88-C\",\"type\":\"alarm\",\"condition\":\"hot\",\"transition\":\"acknowledged\",\"priority\":700}\n",
    "{\"subject\":\"88-C\",\"type\":\"alarm\",\"condition\":\"hot\",\"transition\":\"cleared\",\"priority\":700}\n",
    "{\"subject\":\"88-C\",\"type\":\"breakdown\",\"code\":\"LAST\"}\n",
);

fn send_lines(rig: &Rig, lines: &str) {
    let mut producer = rig.producer();
    producer.send(lines.as_bytes()).expect("the agent reads");
    producer.wait_accepted(lines.lines().count() as u64).expect("the agent answers");
}

#[test]
fn points_are_the_events_of_the_log_to_the_bit() {
    let folder = Folder::new("influx-form");
    let influx = Influx::new(&folder);
    let _server = influx.start();
    influx.create();
    let rig = rig("influx-form-rig", &influx, "", "");
    let _collector = rig.start_collector();
    let _agent = rig.start_agent();
    send_lines(&rig, LINES);
    rig.wait_logged("LAST");
    // A subject and a code that look like the end of a tag, and a message that looks like another line.
    let hostile =
        r#"{"subject":"88-C\\","type":"breakdown","code":"a\\,b\\","message":"x\nfake,machine=88-C value=1"}"#;
    send_lines(&rig, &format!("{hostile}\n"));
    wait_for("it is in the log", || rig.events().into_iter().find(|event| event["subject"] == "88-C\\"));
    wait_delivered(&rig, NAME);
    let logged = rig.events();
    let (of_hostile, others): (Vec<_>, Vec<_>) = logged.iter().cloned().partition(|event| event["subject"] == "88-C\\");
    assert_eq!(of_hostile.len(), 1);
    let shown = influx.query("SELECT * FROM breakdown WHERE machine = '88-C⧵'");
    let text = shown[0].to_string();
    assert!(text.contains("\"a⧵,b⧵\"") && text.contains("x␊fake,machine=88-C value=1"), "{text}");
    assert_eq!(shown[0]["values"].as_array().map(Vec::len), Some(1));
    assert!(!influx.measurements().contains(&"fake".to_owned()));
    influx.query("DROP SERIES FROM breakdown WHERE machine = '88-C⧵'");
    check_points(&influx, &others);
}

#[test]
fn equal_times_of_one_series_are_all_there_and_without_digits_one_would_be() {
    const SAME: usize = 500;
    let folder = Folder::new("influx-digits");
    let influx = Influx::new(&folder);
    let _server = influx.start();
    influx.create();
    let rig = rig("influx-digits-rig", &influx, "filter = { type = \"sample\" }", "");
    let _collector = rig.start_collector();
    let _agent = rig.start_agent();
    let line = |value: usize| {
        format!("{{\"subject\":\"88-C/t\",\"time\":\"2021-09-13T23:54:31.000042Z\",\"value\":{value}.5}}\n")
    };
    send_lines(&rig, &(0..SAME).map(line).collect::<String>());
    let samples = |rig: &Rig| -> Vec<serde_json::Value> {
        rig.events().into_iter().filter(|event| event["subject"] == "88-C/t").collect()
    };
    wait_for("all are in the log", || (samples(&rig).len() == SAME).then_some(()));
    wait_delivered(&rig, NAME);
    let logged: Vec<_> = samples(&rig);
    let points = influx.points("sample");
    assert_eq!(points.iter().filter(|point| point["subject"] == "88-C/t").count(), SAME);
    let of_samples: Vec<_> = rig.events().into_iter().filter(|event| event["type"] == "afferent.sample.v1").collect();
    check_points(&influx, &of_samples);
    // The control: the same points at the microseconds of the log.
    for event in &logged {
        let (_, point) = of_event(event);
        let micros = point["time"].parse::<i64>().expect("a time") / 1000;
        let value = event["data"]["value"].as_f64().expect("a number");
        assert_eq!(influx.write(&format!("control,subject=88-C/t value={value} {}", micros * 1000)), 204);
    }
    assert_eq!(influx.points("control").len(), 1, "points of one series and time overwrite each other");
}

#[test]
fn the_readmes_configurations_work_as_they_are() {
    let folder = Folder::new("influx-readme");
    let (influx, victoria) = (Influx::guarded(&folder), VictoriaMetrics::new(&folder));
    let (_influx, _victoria) = (influx.start(), victoria.start());
    let (user, password) = INFLUX_LOGIN;
    influx.query(&format!("CREATE USER {user} WITH PASSWORD '{password}' WITH ALL PRIVILEGES"));
    influx.create();
    let mut rig = Rig::new("influx-readme-rig");
    let (token, secret) = (rig.folder.join("token"), rig.folder.join("password"));
    std::fs::write(&token, "a token").expect("the folder can be written");
    std::fs::write(&secret, password).expect("the folder can be written");
    let [token, secret] = [&token, &secret].map(|path| path.to_str().expect("a text").to_owned());
    let [influx_url, victoria_url] = [influx.address, victoria.address].map(|address| format!("http://{address}"));
    let allow = "allow = [\"127.0.0.1\"]\n";
    rig.collector_extra = [
        configuration(README, 0, &[("https://influx.example:8086", &victoria_url), ("/run/secrets/influx", &token)]),
        allow.to_owned(),
        configuration(README, 1, &[("https://influx-1.example:8086", &influx_url), ("/run/secrets/plant", &secret)]),
        allow.to_owned(),
        configuration(README, 2, &[("http://victoria.example:8428", &victoria_url)]),
        allow.to_owned(),
    ]
    .concat();
    let run = rig.collector_command();
    let config: Vec<_> = run.get_args().skip(1).collect();
    let (status, said) =
        run_to_end(Command::new(run.get_program()).args(["check", "--connect", "--reload"]).args(config));
    assert!(status.success() && said.matches("answers, and would take points").count() == 3, "{said}");
    let _collector = rig.start_collector();
    let _agent = rig.start_agent();
    send_lines(&rig, LINES);
    rig.wait_logged("LAST");
    for name in ["grafana", "historian", "numbers"] {
        wait_delivered(&rig, name);
    }
    let logged = rig.events();
    let is_of_machine =
        |event: &serde_json::Value| event["subject"].as_str().is_some_and(|subject| subject.starts_with("88-C"));
    check_points(&influx, &logged.iter().filter(|event| is_of_machine(event)).cloned().collect::<Vec<_>>());
    let has = |series: &[Metric], name: &str| series.iter().any(|metric| metric.labels["__name__"] == name);
    let expected = ["sample_value", "breakdown_severitynumber", "state_statenumber", "afferent_sample_value"];
    // VictoriaMetrics shows what it has taken after a while.
    let series = wait_for("VictoriaMetrics shows all", || {
        Some(victoria.series(".+")).filter(|series| expected.iter().all(|name| has(series, name)))
    });
    assert!(has(&series, "breakdown_id") && !has(&series, "afferent_breakdown_id"), "{series:?}");
}
