//! `up`: a collector and an agent for this machine in one process, to try both.
//!
//! Both are the same as in production, joined by MQTT over loopback. Events of the unified log are shown as they
//! arrive.

use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use afferent_agent::config as agent_config;
use afferent_agent::run::Running;
use afferent_host::url::BrokerUrl;
use afferent_protocol::ids::Offset;

use crate::config::{Config, Http};
use crate::line::LineRenderer;
use crate::run::{Collector, RunError, terminated};
use crate::subscribe::{Filter, Format, Reading};

/// Directory and addresses.
#[derive(Clone, Debug)]
pub struct UpSettings {
    /// The directory of both.
    pub data: PathBuf,
    /// The address for agents.
    pub mqtt: SocketAddr,
    /// The address for readers.
    pub http: SocketAddr,
}

/// Why `up` fails.
#[derive(Debug, thiserror::Error)]
pub enum UpError {
    /// The collector does not run.
    #[error(transparent)]
    Collector(#[from] RunError),
    /// The agent does not run.
    #[error(transparent)]
    Agent(#[from] afferent_agent::run::RunError),
}

/// Runs both until SIGINT or SIGTERM, and shows arriving events.
pub async fn up(config: &Config, settings: &UpSettings) -> Result<(), UpError> {
    let terminated = terminated();
    let collector = Collector::start(config).await?;
    let begin = *collector.durable().borrow();
    let mqtt = collector.mqtt.unwrap_or(settings.mqtt);
    let agent = match Running::start(agent(settings, mqtt)).await {
        Ok(agent) => agent,
        Err(error) => {
            collector.stop().await?;
            return Err(error.into());
        }
    };
    print(&welcome(settings, mqtt, collector.http));
    let mut failed = None;
    let ended = tokio::select! {
        () = terminated => None,
        ended = collector.part_ended() => Some(ended),
        () = show(&collector, begin) => None,
        reason = agent.failed() => {
            failed = Some(reason);
            None
        }
    };
    print("stopping; the next start continues from here\n");
    agent.stop("up was stopped").await;
    collector.stop_after(ended).await?;
    failed.map_or(Ok(()), |reason| Err(afferent_agent::run::RunError::Died(reason).into()))
}

/// The configuration of the agent for this machine.
fn agent(settings: &UpSettings, mqtt: SocketAddr) -> agent_config::Config {
    let mut config = agent_config::Config::default();
    config.agent.data_dir = settings.data.join("agent");
    config.intake.socket.path = Some(socket(&settings.data));
    config.ship.url = BrokerUrl::plain(mqtt);
    config
}

fn socket(data: &Path) -> PathBuf {
    data.join("agent.sock")
}

/// Prints a line; an error is ignored: without a terminal it runs and ends all the same.
fn print(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

fn welcome(settings: &UpSettings, mqtt: SocketAddr, http: SocketAddr) -> String {
    let socket = socket(&settings.data);
    let socket = socket.display();
    // The commands use the default address of a collector.
    let at = if http == Http::default().listen { String::new() } else { format!(" --http {http}") };
    format!(
        "Afferent is up. Data: {}   agents: mqtt://{mqtt}   readers: http://{http}\n\
         This machine's events appear below. Try in another terminal:\n\
         \n    cargo run --release -p afferent-agent -- emit --socket {socket} breakdown 88-C --code E42 --message \
         \"Belt torn\"\
         \n    echo '{{\"subject\":\"88-C/spindle/temperature\",\"value\":81.4,\"unit\":\"Cel\"}}' | nc -q1 -U {socket}\
         \n    curl -s 'http://{http}/v1/events?from=0&limit=10'      # any offset, as often as you like\
         \n    cargo run --release -- agents{at}                        # who sends, and whether anything is missing\
         \n    cargo run --release -- top{at}\
         \n\nOr look at http://{http}/ in a browser. Ctrl-C stops it.\n\n",
        settings.data.display(),
    )
}

/// Shows every event of the log from `begin` on.
async fn show(collector: &Collector, begin: Offset) {
    let mut durable = collector.durable();
    let reader = Arc::clone(&collector.state.partitions.first().reader);
    let mut reading = Reading::follow(begin, Filter::default(), Format::Lines);
    let mut lines = LineRenderer::default();
    loop {
        let log = reader.clone();
        let read = tokio::task::spawn_blocking(move || {
            let mut text = Vec::new();
            let page = reading.page(&*log, &mut text);
            (reading, page, text)
        });
        let Ok((after, page, text)) = read.await else { return };
        reading = after;
        let shown = write_lines(&mut lines, &text);
        let caught_up = reading.next() >= *durable.borrow_and_update();
        if shown.is_err() || page.is_err() || (caught_up && durable.changed().await.is_err()) {
            // The terminal is gone, or the log is: it keeps running without output.
            std::future::pending::<()>().await;
        }
    }
}

/// Writes the events of a page as lines for people.
fn write_lines(lines: &mut LineRenderer, page: &[u8]) -> std::io::Result<()> {
    let mut out = anstream::stdout().lock();
    for json in page.split(|byte| *byte == b'\n').filter(|json| !json.is_empty()) {
        writeln!(out, "{}", lines.line(&String::from_utf8_lossy(json)))?;
    }
    out.flush()
}
