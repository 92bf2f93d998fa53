//! A real collector and agent, with a recorded machine and what else a plant has: silence, wrong clocks, hostile texts.

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use afferent_tests::process::{Browser, Process, Rig, wait_for};

use crate::recording;

/// What must not become a part of the document, wherever it is shown.
pub const HOSTILE: &str =
    r#"<img src=x onerror=window.breached=1><script>window.breached=1</script>\u0000\u001b[31m\u202e"#;

/// The same as a subject, which has no control characters.
const HOSTILE_NAME: &str = "<img src=x onerror=window.breached=1>\\\"'";

/// A machine whose clock is a month ahead.
pub const AHEAD: &str = "42-A";
/// A machine that measures, and has told no state.
pub const SILENT: &str = "13-S";

const DAY_US: u128 = 86_400_000_000;

/// A browser whose pictures go to the target folder.
pub fn browser(name: &str) -> Browser {
    Browser::start(name, &Path::new(env!("CARGO_TARGET_TMPDIR")).join("page"))
}

/// A machine with a recorded past, a state, an alarm and a breakdown, and others beside it.
pub struct Plant {
    pub rig: Rig,
    /// Of the breakdown, as text.
    pub breakdown: String,
    pub collector: Option<Process>,
    _agent: Process,
}

impl Plant {
    pub fn start(name: &str) -> Self {
        Self::start_with(name, "")
    }

    /// Starts one with more lines of the collector's configuration.
    pub fn start_with(name: &str, collector: &str) -> Self {
        let mut rig = Rig::new(name);
        collector.clone_into(&mut rig.collector_extra);
        let (recorded, rows) = recording::recording(rig.folder.path());
        rig.agent_extra = format!(
            "[[intake.file]]\npath = {recorded:?}\nsubject = \"88-C/temperature\"\ntime_column = \"timestamp\"\n\
             {}value_columns = [\"value\"]\nunit = \"Cel\"\nspeed = \"max\"\n",
            recording::times(&recorded),
        );
        let collector = rig.start_collector();
        let agent = rig.start_agent();
        wait_for("the recording is in the log", || rig.log_end().filter(|end| *end >= rows as u64));
        let plant = Self { rig, breakdown: String::new(), collector: Some(collector), _agent: agent };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is after 1970").as_micros();
        plant.tell(&[
            r#"{"subject":"88-C","type":"state","state":"executing","time":"2014-02-08T06:00:00Z"}"#.to_owned(),
            r#"{"subject":"88-C/belt","type":"alarm","condition":"BELT_SLIP","transition":"raised","priority":700,"time":"2014-02-08T14:29:30Z"}"#.to_owned(),
            r#"{"subject":"88-C/oil","type":"alarm","condition":"OIL_HOT","transition":"raised","priority":500,"time":"2014-02-08T14:29:40Z"}"#.to_owned(),
            format!(r#"{{"subject":"{AHEAD}","type":"state","state":"executing","time":{}}}"#, now + 30 * DAY_US),
            format!(r#"{{"subject":"{SILENT}/temperature","value":21.5,"unit":"Cel","time":{now}}}"#),
            format!(r#"{{"subject":"{HOSTILE_NAME}","type":"breakdown","code":"<b>E</b>","message":"{}","time":{now}}}"#, "W".repeat(600)),
            format!(r#"{{"subject":"88-C","type":"breakdown","code":"BELT-7","severity":"error","message":"{HOSTILE}","time":"2014-02-08T14:30:00Z"}}"#),
        ]);
        let breakdown = plant.rig.wait_logged("BELT-7")["offset"].as_str().expect("an offset is a text").to_owned();
        Self { breakdown, ..plant }
    }

    /// Sends lines as a producer, and waits until they are accepted.
    pub fn tell(&self, lines: &[String]) {
        let mut producer = self.rig.producer();
        producer.send(format!("{}\n", lines.join("\n")).as_bytes()).expect("the agent reads");
        producer.wait_accepted(lines.len() as u64).expect("the agent accepts");
    }

    pub fn url(&self, view: &str) -> String {
        format!("http://{}/{}", self.rig.http, view.replace("OFFSET", &self.breakdown))
    }
}
