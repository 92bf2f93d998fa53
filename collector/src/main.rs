//! `afferent-collector`: the command line.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use afferent_collector::config::{Config, Overrides};
use afferent_collector::{logging, run};
use clap::{Args, Parser, Subcommand};

/// One unified, immutable, replayable log of what all agents sent.
#[derive(Parser)]
#[command(name = "afferent-collector", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the collector until SIGINT or SIGTERM.
    Run(Where),
    /// Look at the configuration and everything that it names, and say what is wrong.
    Check(Where),
}

#[derive(Args)]
struct Where {
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

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Run(at) => collect(&at),
        Command::Check(at) => check(&at),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("afferent-collector: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn load(at: &Where) -> anyhow::Result<Config> {
    let overrides = Overrides { data: at.data.clone(), mqtt: at.mqtt, http: at.http };
    Ok(Config::load(at.config.as_deref(), &overrides)?)
}

fn collect(at: &Where) -> anyhow::Result<()> {
    let config = load(at)?;
    logging::begin(&config.log)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    Ok(runtime.block_on(run::run(&config, run::terminated()))?)
}

fn check(at: &Where) -> anyhow::Result<()> {
    let config = load(at)?;
    logging::check(&config.log)?;
    run::check(&config)?;
    println!("the configuration is valid");
    Ok(())
}
