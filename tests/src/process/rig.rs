//! A real agent and a real collector in a folder of their own, on free ports.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;

use super::{Folder, Process, Producer, binary, free_address, get, get_text, wait_for};

/// Where things are, and what runs.
#[derive(Debug)]
pub struct Rig {
    /// Holds data, configuration and what the processes print.
    pub folder: Folder,
    /// Holds the data directories.
    pub data: PathBuf,
    /// The agent's name.
    pub agent_name: String,
    /// How the agent speaks to `mqtt`: `mqtt`, or `mqtts` for TLS.
    pub scheme: &'static str,
    /// Where agents connect to; another address than the collector's when a broker or proxy is between.
    pub mqtt: SocketAddr,
    /// Where the collector's endpoint listens.
    pub endpoint: SocketAddr,
    /// The collector's API.
    pub http: SocketAddr,
    /// The agent's metrics and health.
    pub agent_http: SocketAddr,
    /// More lines for the `[agent]` section of the agent's configuration.
    pub agent_own: String,
    /// More lines for the `[ship]` section of the agent's configuration.
    pub agent_ship: String,
    /// More sections for the agent's configuration.
    pub agent_extra: String,
    /// More lines for the collector's configuration, before its first table.
    pub collector_extra: String,
    /// More lines for the `[mqtt]` section of the collector's configuration, and tables of it.
    pub collector_mqtt: String,
    /// Put before the agent's command: a wrapper such as strace.
    pub agent_wrapper: Vec<String>,
}

impl Rig {
    /// A rig with nothing running.
    pub fn new(name: &str) -> Self {
        let mqtt = free_address();
        let folder = Folder::new(name);
        Self {
            data: folder.path().to_path_buf(),
            folder,
            agent_name: "press-88".into(),
            scheme: "mqtt",
            mqtt,
            endpoint: mqtt,
            http: free_address(),
            agent_http: free_address(),
            agent_own: String::new(),
            agent_ship: String::new(),
            agent_extra: String::new(),
            collector_extra: String::new(),
            collector_mqtt: String::new(),
            agent_wrapper: Vec::new(),
        }
    }

    /// The agent's socket for producers.
    pub fn socket(&self) -> PathBuf {
        self.agent_data().join("agent.sock")
    }

    /// The agent's data directory.
    pub fn agent_data(&self) -> PathBuf {
        self.data.join("agent")
    }

    /// The collector's data directory.
    pub fn collector_data(&self) -> PathBuf {
        self.data.join("collector")
    }

    /// The collector's command, with its configuration written.
    pub fn collector_command(&self) -> Command {
        let config = self.folder.join("collector.toml");
        let text = format!(
            "data = {:?}\n{}\n[mqtt]\nlisten = \"{}\"\n{}\n[http]\nlisten = \"{}\"\n",
            self.collector_data(),
            self.collector_extra,
            self.endpoint,
            self.collector_mqtt,
            self.http,
        );
        std::fs::write(&config, text).expect("the folder can be written");
        let mut command = Command::new(binary("afferent-collector"));
        command.arg("run").arg("--config").arg(&config);
        command
    }

    /// Starts the collector and waits until its API answers.
    pub fn start_collector(&self) -> Process {
        let process = Process::start("collector", &mut self.collector_command(), &self.folder.join("collector.log"));
        wait_for("the collector's API answers", || get(self.http, "/healthz").ok());
        process
    }

    /// Writes the agent's configuration; gives its path.
    pub fn write_agent_config(&self) -> PathBuf {
        let config = self.folder.join("agent.toml");
        let text = format!(
            "[agent]\nname = {:?}\ndata_dir = {:?}\n{}\n[ship]\nurl = \"{}://{}\"\n{}\n[http]\naddress = \"{}\"\n\
             [intake.host]\nenabled = false\n{}\n",
            self.agent_name,
            self.agent_data(),
            self.agent_own,
            self.scheme,
            self.mqtt,
            self.agent_ship,
            self.agent_http,
            self.agent_extra,
        );
        std::fs::write(&config, text).expect("the folder can be written");
        config
    }

    /// The agent's command, with its configuration written.
    pub fn agent_command(&self) -> Command {
        let config = self.write_agent_config();
        let program = binary("afferent-agent");
        let mut command = match self.agent_wrapper.split_first() {
            None => Command::new(program),
            Some((wrapper, arguments)) => {
                let mut command = Command::new(wrapper);
                command.args(arguments).arg(program);
                command
            }
        };
        command.arg("run").arg("--config").arg(&config);
        command
    }

    /// Starts the agent and waits until its socket takes connections.
    pub fn start_agent(&self) -> Process {
        let process = Process::start("agent", &mut self.agent_command(), &self.folder.join("agent.log"));
        wait_for("the agent's socket takes connections", || Producer::connect(&self.socket()).ok());
        process
    }

    /// A new connection of a producer.
    pub fn producer(&self) -> Producer {
        wait_for("the agent's socket takes connections", || Producer::connect(&self.socket()).ok())
    }

    /// What the agent says of its health: whether all is well, and its words.
    pub fn agent_health(&self) -> Option<(bool, String)> {
        health(self.agent_http)
    }

    /// What the collector says of its health: whether all is well, and its words.
    pub fn collector_health(&self) -> Option<(bool, String)> {
        health(self.http)
    }

    /// Waits until the agent says that events are becoming durable at the collector.
    pub fn wait_healthy(&self) {
        wait_for("the agent is healthy", || self.agent_health().filter(|(healthy, _)| *healthy));
    }

    /// How often the collector has refused something in this agent's name, for this reason.
    pub fn refused(&self, agent: &str, reason: &str) -> u64 {
        let Some(text) = get_text(self.http, "/v1/agents") else { return 0 };
        let report: serde_json::Value = serde_json::from_str(&text).expect("the API answers with JSON");
        let agents = report["agents"].as_array().expect("a list of agents");
        let known = agents.iter().find(|known| known["name"] == agent);
        known.and_then(|known| known["refused_by_reason"][reason].as_u64()).unwrap_or(0)
    }

    /// A figure of the collector, summed over its labels.
    pub fn collector_figure(&self, name: &str) -> Option<u64> {
        sum_of(&get_text(self.http, "/metrics")?, name)
    }

    /// A figure of the agent, summed over its labels.
    pub fn agent_figure(&self, name: &str) -> Option<u64> {
        sum_of(&get_text(self.agent_http, "/metrics")?, name)
    }

    /// Sends one breakdown with this code as a producer, and waits until it is accepted.
    pub fn break_down(&self, code: &str) {
        let line = format!("{{\"subject\":\"88-C\",\"type\":\"breakdown\",\"code\":\"{code}\"}}\n");
        let mut producer = self.producer();
        producer.send(line.as_bytes()).expect("the agent reads");
        producer.wait_accepted(1).expect("the agent answers");
    }

    /// Waits until the breakdown with this code is in the collector's log; gives the event.
    ///
    /// # Panics
    /// When it is there more than once.
    pub fn wait_logged(&self, code: &str) -> serde_json::Value {
        wait_for(&format!("the breakdown {code} is in the log"), || {
            let mut found = self.events().into_iter().filter(|event| event["data"]["code"] == code);
            let event = found.next()?;
            assert!(found.next().is_none(), "the breakdown {code} is in the log twice");
            Some(event)
        })
    }

    /// Waits for an event in the collector's log that fits.
    pub fn wait_event(&self, what: &str, fits: impl Fn(&serde_json::Value) -> bool) -> serde_json::Value {
        wait_for(&format!("the log says: {what}"), || self.events().into_iter().find(|event| fits(event)))
    }

    /// How many events the collector's log holds.
    pub fn log_end(&self) -> Option<u64> {
        sum_of(&get_text(self.http, "/metrics")?, "afferent_log_end_offset")
    }

    /// How many events the agent holds that the collector has not acknowledged.
    pub fn agent_lag(&self) -> Option<u64> {
        sum_of(&get_text(self.agent_http, "/metrics")?, "afferent_agent_unacked_events")
    }

    /// Every event in the collector's log, as the API tells it.
    ///
    /// # Panics
    /// When the API does not answer with JSON lines.
    pub fn events(&self) -> Vec<serde_json::Value> {
        let first = self.collector_figure("afferent_log_first_offset").expect("the collector tells its first offset");
        let mut events = Vec::new();
        while first + (events.len() as u64) < self.log_end().expect("the collector tells its end") {
            let path = format!("/v1/events?from={}&limit=50000", first + events.len() as u64);
            let text = get_text(self.http, &path).expect("the API answers");
            let before = events.len();
            events.extend(text.lines().map(|line| serde_json::from_str(line).expect("every line is an event")));
            assert!(events.len() > before, "the API gives what the log holds");
        }
        events
    }
}

fn health(address: SocketAddr) -> Option<(bool, String)> {
    let (status, body) = get(address, "/healthz").ok()?;
    Some((status == 200, String::from_utf8_lossy(&body).into_owned()))
}

/// The sum of a metric over all its labels.
fn sum_of(metrics: &str, name: &str) -> Option<u64> {
    let values =
        metrics.lines().filter(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with([' ', '{'])));
    values.map(|line| line.rsplit(' ').next()?.parse::<f64>().ok().map(|value| value as u64)).sum()
}
