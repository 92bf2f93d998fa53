//! Controller, cable, agent and collector, put together.

use afferent_tests::process::{Process, Rig, get_text, wait_for};
use serde_json::Value;

use crate::demo::Demo;
use crate::line::Line;

/// All of them, running.
pub struct Plant {
    pub demo: Demo,
    pub line: Line,
    pub rig: Rig,
    agent: Option<Process>,
    _collector: Process,
    /// What was read of the log so far: each event, and the exact text of its value.
    log: Vec<(Value, String)>,
}

impl Plant {
    /// Starts all of them, and waits until the device was heard.
    pub fn start(name: &str) -> Self {
        let mut rig = Rig::new(&format!("firmware-{name}"));
        let demo = Demo::new(rig.folder.path());
        let line = Line::new(rig.folder.join("line"), demo.line());
        rig.agent_extra =
            format!("[[intake.serial]]\nport = \"unix:{}\"\ndevice = \"spindle-1\"\n", line.path.display());
        let collector = rig.start_collector();
        let agent = Some(rig.start_agent());
        let mut plant = Self { demo, line, rig, agent, _collector: collector, log: Vec::new() };
        plant.demo.power_on();
        plant.wait_event("the device is there", |event| {
            event["subject"] == "spindle-1" && event["data"]["change"] == "link_up"
        });
        plant
    }

    /// SIGKILL for the agent.
    pub fn kill_agent(&mut self) {
        self.agent.take().expect("it runs").kill();
    }

    /// Starts it again.
    pub fn start_agent(&mut self) {
        self.agent = Some(self.rig.start_agent());
    }

    /// Reads what is new in the log.
    fn read_on(&mut self) {
        let path = format!("/v1/events?from={}&limit=50000", self.log.len());
        let Some(text) = get_text(self.rig.http, &path) else { return };
        for line in text.lines() {
            let event = serde_json::from_str(line).expect("every line is an event");
            // A reader of JSON may round a number: the text does not.
            let value = line.split_once("\"value\":").map_or("", |(_, rest)| rest);
            let value = value.split([',', '}']).next().unwrap_or_default().to_owned();
            self.log.push((event, value));
        }
    }

    /// Waits for a condition of the log.
    pub fn wait_for(&mut self, what: &str, mut condition: impl FnMut(&Self) -> bool) {
        wait_for(what, || {
            self.read_on();
            condition(self).then_some(())
        });
    }

    /// Waits until the log has so many of the spindle's events in a stream.
    pub fn wait_logged(&mut self, stream: &str, count: usize) {
        self.wait_for(&format!("{count} events of {stream} are logged"), |plant| plant.logged(stream).len() >= count);
    }

    /// Waits for an event.
    pub fn wait_event(&mut self, what: &str, fits: impl Fn(&Value) -> bool) -> Value {
        self.wait_for(what, |plant| plant.log.iter().any(|(event, _)| fits(event)));
        self.log.iter().map(|(event, _)| event).find(|event| fits(event)).expect("it was there").clone()
    }

    /// All events that were read.
    pub fn events(&self) -> Vec<Value> {
        self.log.iter().map(|(event, _)| event.clone()).collect()
    }

    /// The spindle's events in a stream, as the ledger writes them without ticks.
    pub fn logged(&self, stream: &str) -> Vec<String> {
        let of_stream = self.log.iter().filter(|(event, _)| event["stream"] == stream);
        of_stream.filter_map(|(event, value)| as_ledger(event, value)).collect()
    }

    /// How many events of critical and samples the device has declared as lost.
    pub fn declared_lost(&self) -> [u64; 2] {
        let losses = self.log.iter().map(|(event, _)| event).filter(|event| event["type"] == "afferent.loss.v1");
        let mut lost = [0; 2];
        for event in losses {
            assert_eq!(event["subject"], "spindle-1", "nobody but the device has lost anything: {event}");
            let number = |key: &str| event["data"][key].as_u64().expect("a number");
            lost[usize::from(event["data"]["stream"] == "samples")] += number("end") - number("first");
        }
        lost
    }
}

fn as_ledger(event: &Value, value: &str) -> Option<String> {
    let subject = event["subject"].as_str()?;
    let data = &event["data"];
    let text = match event["type"].as_str()? {
        _ if subject == "spindle-1" => return None,
        "afferent.sample.v1" if data["value"].is_f64() => {
            let value: f64 = value.parse().expect("a float");
            format!("float {:016x}", value.to_bits())
        }
        "afferent.sample.v1" => format!("integer {value}"),
        "afferent.alarm.v1" => format!("alarm {}", data["priority"]),
        "afferent.breakdown.v1" => format!("breakdown {}", data["code"].as_str()?),
        _ => return None,
    };
    Some(format!("{subject} {text}"))
}
