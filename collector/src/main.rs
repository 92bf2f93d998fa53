//! `afferent-collector`: the command line.

mod cli;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// One unified, immutable, replayable log of what all agents sent.
#[derive(Parser)]
#[command(name = "afferent-collector", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Everything at once, to begin with: a collector, its log, and an agent for this machine, until Ctrl-C.
    Up(cli::up::Up),
    /// Run the collector until SIGINT or SIGTERM.
    Run(cli::run::Where),
    /// Look at the configuration and everything that it names, and say what is wrong.
    Check(cli::run::Where),
    /// Follow the log: what was, and then what comes, until Ctrl-C.
    Sub(cli::sub::Sub),
    /// Look at the log's files, without a collector or beside a running one.
    #[command(subcommand)]
    Log(cli::log::Log),
    /// Prove that nothing of a source or a machine is missing, or say what is.
    Certificate(cli::certificate::Certify),
    /// Show all agents: state, lag, losses.
    Agents(cli::agents::Agents),
    /// Look at states that are folded from the log: now, as of any place, corrected, and under assumptions.
    #[command(subcommand)]
    Models(cli::models::Models),
    /// Watch all agents: state, rates, lag, losses.
    #[cfg(feature = "top")]
    Top(cli::top::Top),
}

fn main() -> ExitCode {
    let done = |outcome: anyhow::Result<()>| outcome.map(|()| ExitCode::SUCCESS);
    let outcome = match &Cli::parse().command {
        Command::Up(args) => done(cli::up::up(args)),
        Command::Run(args) => done(cli::run::run(args)),
        Command::Check(args) => done(cli::run::check(args)),
        Command::Sub(args) => done(cli::sub::sub(args)),
        Command::Log(command) => cli::log::log(command),
        Command::Certificate(args) => cli::certificate::certificate(args),
        Command::Agents(args) => done(cli::agents::agents(args)),
        Command::Models(command) => done(cli::models::models(command)),
        #[cfg(feature = "top")]
        Command::Top(args) => done(cli::top::top(args)),
    };
    match outcome {
        Ok(code) => code,
        Err(error) if cli::is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("afferent-collector: {error:#}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_sound() {
        super::Cli::command().debug_assert();
    }
}
