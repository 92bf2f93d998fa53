//! `run` and `check`: the collector as a service.

use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;

use afferent_collector::config::{Config, ConfigError, Overrides};
use afferent_collector::limits::EXIT_TIME_MAX;
use afferent_collector::run::Scope;
use afferent_collector::{logging, run};
use anyhow::Context;

/// Where the configuration is, and what goes before it.
#[derive(Debug, clap::Args)]
pub struct Where {
    /// The configuration file (TOML).
    #[arg(long)]
    config: Option<PathBuf>,
    /// Data directory of the log and its key; overrides the configuration.
    #[arg(long)]
    data: Option<PathBuf>,
    /// Address and port for agents (MQTT); overrides the configuration.
    #[arg(long)]
    mqtt: Option<SocketAddr>,
    /// Address and port for readers (HTTP); overrides the configuration.
    #[arg(long)]
    http: Option<SocketAddr>,
}

fn load(at: &Where) -> Result<Config, ConfigError> {
    let overrides = Overrides { data: at.data.clone(), mqtt: at.mqtt, http: at.http };
    Config::load(at.config.as_deref(), &overrides)
}

/// What is looked at, and how.
#[derive(Debug, clap::Args)]
pub struct Check {
    #[command(flatten)]
    at: Where,
    /// Skip the ports and the data directory, which a running collector holds; for a configuration that it will reload
    /// on SIGHUP.
    #[arg(long)]
    reload: bool,
    /// Connect to the broker and to the destinations of forwards too, and report the result of each step.
    #[arg(long)]
    connect: bool,
}

/// Runs the collector until SIGINT or SIGTERM.
pub fn run(at: &Where) -> anyhow::Result<()> {
    let config = load(at)?;
    logging::begin(&config.log)?;
    let runtime = super::runtime()?;
    let again = || load(at);
    let outcome = runtime.block_on(async { run::run(config, again, run::terminated()).await });
    // What hangs in a system call does not keep the process.
    runtime.shutdown_timeout(EXIT_TIME_MAX);
    Ok(outcome?)
}

/// Looks at the configuration and everything that it names; all that is wrong is told, a line each.
pub fn check(args: &Check) -> anyhow::Result<()> {
    let config = load(&args.at)?;
    logging::check(&config.log)?;
    for warning in config.warnings() {
        // Who does not read it wants the verdict alone.
        let _ = writeln!(std::io::stderr(), "afferent-collector: warning: {warning}");
    }
    let wrong = run::check(&config, if args.reload { Scope::Reload } else { Scope::Start });
    let mut wrong: Vec<String> = wrong.iter().map(ToString::to_string).collect();
    if args.connect && wrong.is_empty() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let say = |text: &str| {
            // Who does not read it wants the verdict alone.
            let _ = writeln!(std::io::stdout(), "{text}");
        };
        wrong = runtime.block_on(run::connect(&config, say));
    }
    if wrong.is_empty() {
        return writeln!(std::io::stdout(), "the configuration is valid").context("writing to standard output failed");
    }
    anyhow::bail!("{}", wrong.join("\nafferent-collector: "))
}
