//! `afferent-agent`: the command line.

use std::io::{IsTerminal, Write};
use std::process::ExitCode;

use afferent_agent::cli::{CheckArgs, ConfigArgs, ConfigCommand, EmitArgs, ReplayArgs, RingArgs};
use afferent_agent::config::{LogConfig, LogFormat};
use afferent_agent::run::ConfigSource;
use afferent_agent::ship::words::once;
use clap::{Parser, Subcommand};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// Captures a machine's events into a crash-safe ring log and ships them over MQTT.
#[derive(Debug, Parser)]
#[command(name = "afferent-agent", version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the agent until SIGINT or SIGTERM; SIGHUP reads the configuration again
    Run(ConfigArgs),
    /// Check the configuration, and the files, ports and devices that it names
    Check(CheckArgs),
    /// Print the configuration's schema or its defaults
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Send one event to a running agent; exits 0 once the event is on the agent's disk
    Emit(EmitArgs),
    /// Send the rows of a CSV file or the lines of a JSON lines file to a running agent
    Replay(ReplayArgs),
    /// List, verify or print a ring log
    Ring(RingArgs),
}

fn main() -> ExitCode {
    match carry_out(Cli::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // A reader that went away, as `head` does, is no failure.
            if let Some(io) = error.root_cause().downcast_ref::<std::io::Error>()
                && io.kind() == std::io::ErrorKind::BrokenPipe
            {
                return ExitCode::SUCCESS;
            }
            eprintln!("afferent-agent: {}", once(&*error));
            ExitCode::FAILURE
        }
    }
}

fn carry_out(command: Command) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    match command {
        Command::Run(args) => {
            drop(out);
            let (config, fell_back) = args.load_or_last_working()?;
            log_to_stderr(&config.log);
            let source = ConfigSource { path: args.config.clone(), fell_back };
            runtime()?.block_on(afferent_agent::run::run(config, source, || args.load()))?;
        }
        Command::Check(args) => args.run(&mut out)?,
        Command::Config(command) => write!(out, "{}", command.text())?,
        Command::Emit(args) => {
            args.run()?;
        }
        Command::Replay(args) => {
            args.run()?;
        }
        Command::Ring(args) => args.run(&mut out)?,
    }
    Ok(())
}

/// Two threads: one reads producers while the other serves the collector.
fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()
}

fn log_to_stderr(log: &LogConfig) {
    let filter = Targets::new().with_default(log.level.filter()).with_target("rumqttc", LevelFilter::ERROR);
    let to_stderr = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(takes_colours());
    let to_stderr = match log.format {
        LogFormat::Text => to_stderr.with_target(false).boxed(),
        LogFormat::Json => to_stderr.json().boxed(),
    };
    tracing_subscriber::registry().with(to_stderr.with_filter(filter)).init();
}

/// Whether standard error is a terminal and `NO_COLOR` is not set (<https://no-color.org>).
fn takes_colours() -> bool {
    std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|wish| wish.is_empty())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
