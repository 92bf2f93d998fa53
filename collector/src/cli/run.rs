//! `run` and `check`: the collector as a service.

use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;

use afferent_collector::config::{Config, Overrides};
use afferent_collector::limits::EXIT_TIME_MAX;
use afferent_collector::{logging, run};
use anyhow::Context;

/// Where the configuration is, and what goes before it.
#[derive(Debug, clap::Args)]
pub struct Where {
    /// The configuration file (TOML).
    #[arg(long)]
    config: Option<PathBuf>,
    /// The directory of log and key.
    #[arg(long)]
    data: Option<PathBuf>,
    /// Address and port for agents.
    #[arg(long)]
    mqtt: Option<SocketAddr>,
    /// Address and port for readers.
    #[arg(long)]
    http: Option<SocketAddr>,
}

fn load(at: &Where) -> anyhow::Result<Config> {
    let overrides = Overrides { data: at.data.clone(), mqtt: at.mqtt, http: at.http };
    Ok(Config::load(at.config.as_deref(), &overrides)?)
}

/// Runs the collector until SIGINT or SIGTERM.
pub fn run(at: &Where) -> anyhow::Result<()> {
    let config = load(at)?;
    logging::begin(&config.log)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let outcome = runtime.block_on(async { run::run(&config, run::terminated()).await });
    // What hangs in a system call does not keep the process.
    runtime.shutdown_timeout(EXIT_TIME_MAX);
    Ok(outcome?)
}

/// Looks at the configuration and everything that it names.
pub fn check(at: &Where) -> anyhow::Result<()> {
    let config = load(at)?;
    logging::check(&config.log)?;
    run::check(&config)?;
    writeln!(std::io::stdout(), "the configuration is valid").context("writing to standard output failed")
}
