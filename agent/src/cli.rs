//! The command line's parts that stand on their own: `emit`, `replay`, `check`, `config`.

mod emit;
mod replay;
mod resume;
mod ring;

use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use afferent_host::lock::holder_of;
use clap::{Args, Subcommand};

use crate::check::{self, Problems};
use crate::client::{ClientError, Report, Target};
use crate::config::last_working::FellBack;
use crate::config::{self, ConfigError};
use crate::keep::{Kept, LOCK_FILE};
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

    /// Reads the configuration; one that is wrong gives way to the last that has worked, if there is one.
    pub fn load_or_last_working(&self) -> Result<(config::Config, Option<FellBack>), ConfigError> {
        match &self.config {
            Some(path) => config::last_working::load_or_last_working(path),
            None => Ok((config::Config::default(), None)),
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

/// `check`
#[derive(Clone, Debug, Args)]
pub struct CheckArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// Try the way to the collector too, and say what each hop has answered
    #[arg(long)]
    connect: bool,
}

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// It is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Something that it names is not as it must be.
    #[error(transparent)]
    Problems(#[from] Problems),
    /// The collector is not reached.
    #[error("{0}")]
    Way(String),
    /// Nobody reads what is printed.
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

impl CheckArgs {
    /// Looks for everything that is wrong, and tells what it has found.
    pub fn run(&self, out: &mut impl Write) -> Result<(), CheckError> {
        let config = self.config.load()?;
        check::everything(&config)?;
        writeln!(out, "the configuration of {} is valid", config.agent.name)?;
        let data = &config.agent.data_dir;
        if let Some(holder) = holder_of(data, LOCK_FILE) {
            writeln!(
                out,
                "an agent runs in {} ({holder}), which holds its ports: they were not tried",
                data.display()
            )?;
        }
        if config.ship.collector_keys.is_empty() && !config.trusts_first() && Kept::read(data).pins.is_empty() {
            let remedy = "nothing is shipped until `ship.collector_keys` names its key, or `ship.trust_first` is set \
                          for the first contact";
            writeln!(out, "but it believes no collector: {remedy}")?;
        }
        if self.connect {
            check::connect(&config, &mut |said| drop(writeln!(out, "{said}"))).map_err(CheckError::Way)?;
        }
        Ok(())
    }
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
    Checkpoint(PathBuf, std::io::Error),
    /// Nobody says where places are kept.
    #[error(
        "there is no directory to keep in how far the file is replayed, as HOME is not set; name one with --places"
    )]
    NoCheckpoints,
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
