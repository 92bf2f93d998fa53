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

/// Default sockets of an agent started in this directory: by `afferent-collector up`, by `afferent-agent run`.
const SOCKETS: [&str; 2] = ["afferent-data/agent.sock", "afferent-data/agent/agent.sock"];

/// Where the agent listens.
#[derive(Clone, Debug, Args)]
pub struct TargetArgs {
    /// The agent's Unix socket [default: the socket of an agent that was started in this directory]
    #[arg(long, value_name = "PATH", global = true)]
    pub socket: Option<PathBuf>,
    /// The agent's TCP address, used instead of its Unix socket
    #[arg(long, value_name = "ADDRESS", global = true)]
    pub tcp: Option<SocketAddr>,
    /// Give up after the agent has not answered for so many seconds
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

/// The configuration file, and the files in `conf.d` beside it.
#[derive(Clone, Debug, Args)]
pub struct ConfigArgs {
    /// The configuration file; the files conf.d/*.toml beside it are read too
    #[arg(long, short, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

impl ConfigArgs {
    /// Reads the configuration. Without a file it returns the defaults.
    pub fn load(&self) -> Result<config::Config, ConfigError> {
        match &self.config {
            Some(path) => config::load(path),
            None => Ok(config::Config::default()),
        }
    }

    /// Reads the configuration. If it is wrong, reads the last one that has worked, if there is one.
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
    /// The text that the command prints.
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
    /// Also connect to the collector, and print the result of each step
    #[arg(long)]
    connect: bool,
}

/// Why `check` failed.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// The configuration cannot be read or has wrong values.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A file, port or device that the configuration names cannot be used.
    #[error(transparent)]
    Problems(#[from] Problems),
    /// The collector cannot be reached. The text names the step that failed.
    #[error("{0}")]
    Connection(String),
    /// The output cannot be written.
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

impl CheckArgs {
    /// Runs all checks and prints their results to `out`.
    pub fn run(&self, out: &mut impl Write) -> Result<(), CheckError> {
        let config = self.config.load()?;
        check::everything(&config)?;
        writeln!(out, "the configuration of {} is valid", config.agent.name)?;
        let data = &config.agent.data_dir;
        if let Some(holder) = holder_of(data, LOCK_FILE) {
            writeln!(
                out,
                "an agent runs in {} ({holder}) and holds its ports: the ports were not checked",
                data.display()
            )?;
        }
        if config.ship.collector_keys.is_empty() && !config.trusts_first() && Kept::read(data).pins.is_empty() {
            let remedy = "nothing is shipped until `ship.collector_keys` names its key, or `ship.trust_first` is set \
                          for the first contact";
            writeln!(out, "but the agent trusts no collector: {remedy}")?;
        }
        if self.connect {
            check::connect(&config, &mut |result| drop(writeln!(out, "{result}"))).map_err(CheckError::Connection)?;
        }
        Ok(())
    }
}

/// Why `emit` or `replay` failed.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// The agent cannot be reached or did not answer.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The file cannot be replayed.
    #[error(transparent)]
    Replay(#[from] crate::intake::file::ReplayError),
    /// A value that is not a number, while the command line does not declare it a text.
    #[error("the value {0}; {1}")]
    Value(String, &'static str),
    /// The checkpoint of a file cannot be read or written.
    #[error(
        "cannot record in {} how far the file is replayed: {_1}; name a different directory with --places",
        _0.display()
    )]
    Checkpoint(PathBuf, std::io::Error),
    /// There is no directory for checkpoints: neither `--places` nor `HOME` is set.
    #[error("there is no directory to record how far the file is replayed, as HOME is not set; name one with --places")]
    NoCheckpoints,
    /// A file that is shorter now than when it was replayed.
    #[error(
        "{} had {_1} bytes when it was replayed and has {_2} now; if this is a different file, replay it with --again",
        _0.display()
    )]
    Shrunk(PathBuf, u64, u64),
    /// The agent is still accepting lines of the previous replay.
    #[error("the agent refuses: {0}")]
    Busy(String),
    /// Some rows of the file are wrong. All other rows were accepted.
    #[error("{refused} rows were refused and all others accepted; the first refused row: {first}")]
    Rows {
        /// Number of refused rows.
        refused: u64,
        /// The first refusal.
        first: crate::intake::file::ReplayError,
    },
    /// Some lines were not accepted.
    #[error(
        "{refused} of {sent} lines were refused{}",
        .first.as_ref().map(|first| format!("; the first: {first}")).unwrap_or_default()
    )]
    Refused {
        /// Number of refused lines.
        refused: u64,
        /// Number of lines sent.
        sent: u64,
        /// The first refusal.
        first: Option<String>,
    },
    /// The agent closed the connection before it had answered.
    #[error("the agent closed the connection before it answered {0} lines; send them again")]
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
