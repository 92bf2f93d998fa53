//! The command line's parts that stand on their own: `emit`, `replay`, `check`, `config`.

mod emit;
mod replay;
mod resume;
mod ring;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};

use crate::client::{ClientError, Report, Target};
use crate::config::{self, ConfigError};
use crate::keep::Kept;
pub use emit::EmitArgs;
pub use replay::ReplayArgs;
pub use ring::{RingArgs, RingCommand, RingError};

/// Where an agent listens that was begun in this directory: by `afferent-collector up`, by `afferent-agent run`.
const SOCKETS: [&str; 2] = ["afferent-data/agent.sock", "afferent-data/agent/agent.sock"];

/// Where the agent listens.
#[derive(Clone, Debug, Args)]
pub struct TargetArgs {
    /// The agent's Unix socket; without it that of an agent begun here, by `up` or with the default configuration
    #[arg(long, value_name = "PATH", global = true)]
    pub socket: Option<PathBuf>,
    /// The agent's TCP address, instead of its Unix socket
    #[arg(long, value_name = "ADDRESS", global = true)]
    pub tcp: Option<SocketAddr>,
    /// Longest silence of the agent, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 30, global = true)]
    pub timeout: u64,
}

impl TargetArgs {
    fn target(&self) -> Target {
        match (self.tcp, &self.socket) {
            (Some(tcp), _) => Target::Tcp(tcp),
            (None, Some(socket)) => Target::Unix(socket.clone()),
            (None, None) => {
                let [of_up, of_run] = SOCKETS.map(PathBuf::from);
                Target::Unix(if !of_up.exists() && of_run.exists() { of_run } else { of_up })
            }
        }
    }

    fn timeout(&self) -> Duration {
        Duration::from_secs(self.timeout.max(1))
    }
}

/// The configuration file and those beside it.
#[derive(Clone, Debug, Args)]
pub struct ConfigArgs {
    /// The configuration file; conf.d/*.toml beside it is read too
    #[arg(long, short, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

impl ConfigArgs {
    /// Reads the configuration; the defaults where no file is named.
    pub fn load(&self) -> Result<config::Config, ConfigError> {
        match &self.config {
            Some(path) => config::load(path),
            None => Ok(config::Config::default()),
        }
    }
}

/// `config …`
#[derive(Clone, Copy, Debug, Subcommand)]
pub enum ConfigCommand {
    /// Print the JSON Schema of the configuration
    Schema,
    /// Print the configuration with all defaults, as TOML with comments
    Default,
}

impl ConfigCommand {
    /// What it prints.
    pub fn text(self) -> String {
        match self {
            Self::Schema => config::schema(),
            Self::Default => config::default_toml(),
        }
    }
}

/// `check`: reads the configuration and its secrets, and says what it found.
pub fn check(args: &ConfigArgs) -> Result<String, ConfigError> {
    let config = args.load()?;
    config.check_secrets()?;
    let mut text = format!("the configuration of {} is valid\n", config.agent.name);
    if config.ship.collector_keys.is_empty()
        && !config.trusts_first()
        && Kept::read(&config.agent.data_dir).pins.is_empty()
    {
        text.push_str(
            "but it believes no collector: nothing is shipped until `ship.collector_keys` names its key, or \
             `ship.trust_first` is set for the first contact\n",
        );
    }
    Ok(text)
}

/// Why `emit` or `replay` failed.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// The agent was not reached or did not answer.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The file cannot be replayed.
    #[error(transparent)]
    Replay(#[from] crate::intake::file::ReplayError),
    /// A value that is no number, and that nobody means as a text.
    #[error("the value {0}; {1}")]
    Value(String, &'static str),
    /// The place of a file cannot be read or kept.
    #[error("cannot keep in {} how far the file is replayed: {_1}; --places names another directory", _0.display())]
    Place(PathBuf, std::io::Error),
    /// Nobody says where places are kept.
    #[error(
        "there is no directory to keep in how far the file is replayed, as HOME is not set; name one with --places"
    )]
    NoPlace,
    /// A file that was replayed and has lost its end since.
    #[error("{} had {_1} bytes when it was replayed, and has {_2} now; if it is another file, --again replays it", _0.display())]
    Shrunk(PathBuf, u64, u64),
    /// The agent still takes lines of the replay before.
    #[error("the agent refuses: {0}")]
    Busy(String),
    /// Some rows of the file are wrong, and all others were sent.
    #[error("{refused} rows were refused and all others accepted; the first: {first}")]
    Rows {
        /// Rows that were refused.
        refused: u64,
        /// The first refusal.
        first: crate::intake::file::ReplayError,
    },
    /// Some lines were not accepted.
    #[error("{refused} of {sent} lines were refused{}", .first.as_ref().map(|first| format!("; the first: {first}")).unwrap_or_default())]
    Refused {
        /// Lines that were refused.
        refused: u64,
        /// Lines that were sent.
        sent: u64,
        /// The first refusal.
        first: Option<String>,
    },
    /// The agent ended before it had answered.
    #[error("the agent closed the connection with {0} lines unanswered; they may be sent again")]
    Unanswered(u64),
}

fn outcome(report: Report, first: Option<String>) -> Result<Report, SendError> {
    if report.is_complete() {
        Ok(report)
    } else if report.refused > 0 {
        Err(SendError::Refused { refused: report.refused, sent: report.sent, first })
    } else {
        Err(SendError::Unanswered(report.sent - report.durable))
    }
}
