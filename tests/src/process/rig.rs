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
    /// Where agents connect to; another address than the collector's when a broker or proxy is between.
    pub mqtt: SocketAddr,
    /// Where the collector's endpoint listens.
    pub endpoint: SocketAddr,
    /// The collector's API.
    pub http: SocketAddr,
    /// The agent's metrics and health.
    pub agent_http: SocketAddr,
    /// More sections for the agent's configuration.
    pub agent_extra: String,
    /// More lines for the collector's configuration, before its first table.
    pub collector_extra: String,
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
            mqtt,
            endpoint: mqtt,
            http: free_address(),
            agent_http: free_address(),
            agent_extra: String::new(),
            collector_extra: String::new(),
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

    /// Starts the collector and waits until its API answers.
    pub fn start_collector(&self) -> Process {
        let config = self.folder.join("collector.toml");
        let text = format!(
            "data = {:?}\n{}\n[mqtt]\nlisten = \"{}\"\n[http]\nlisten = \"{}\"\n",
            self.collector_data(),
            self.collector_extra,
            self.endpoint,
            self.http,
        );
        std::fs::write(&config, text).expect("the folder can be written");
        let mut command = Command::new(binary("afferent-collector"));
        command.arg("run").arg("--config").arg(&config);
        let process = Process::start("collector", &mut command, &self.folder.join("collector.log"));
        wait_for("the collector's API answers", || get(self.http, "/healthz").ok());
        process
    }

    /// Writes the agent's configuration; gives its path.
    pub fn write_agent_config(&self) -> PathBuf {
        let config = self.folder.join("agent.toml");
        let text = format!(
            "[agent]\nname = \"press-88\"\ndata_dir = {:?}\n[ship]\nurl = \"mqtt://{}\"\n[http]\naddress = \"{}\"\n\
             [intake.host]\nenabled = false\n{}\n",
            self.agent_data(),
            self.mqtt,
            self.agent_http,
            self.agent_extra,
        );
        std::fs::write(&config, text).expect("the folder can be written");
        config
    }

    /// Starts the agent and waits until its socket takes connections.
    pub fn start_agent(&self) -> Process {
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
        let process = Process::start("agent", &mut command, &self.folder.join("agent.log"));
        wait_for("the agent's socket takes connections", || Producer::connect(&self.socket()).ok());
        process
    }

    /// A new connection of a producer.
    pub fn producer(&self) -> Producer {
        wait_for("the agent's socket takes connections", || Producer::connect(&self.socket()).ok())
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
        let mut events = Vec::new();
        while events.len() < self.log_end().expect("the collector tells its end") as usize {
            let path = format!("/v1/events?from={}&limit=50000", events.len());
            let text = get_text(self.http, &path).expect("the API answers");
            let before = events.len();
            events.extend(text.lines().map(|line| serde_json::from_str(line).expect("every line is an event")));
            assert!(events.len() > before, "the API gives what the log holds");
        }
        events
    }
}

/// The sum of a metric over all its labels.
fn sum_of(metrics: &str, name: &str) -> Option<u64> {
    let values =
        metrics.lines().filter(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with([' ', '{'])));
    values.map(|line| line.rsplit(' ').next()?.parse::<f64>().ok().map(|value| value as u64)).sum()
}
