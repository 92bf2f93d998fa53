//! `afferent-collector`: the command line.

mod cli;

use std::process::ExitCode;

use afferent_collector::limits::MEMORY_KEPT_MS;
use clap::{CommandFactory, Parser, Subcommand};
use tikv_jemalloc_ctl::{Access, AsName};

/// Returns the memory of a peak to the system within seconds; glibc would keep most of its arenas.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Collects the events of all agents in one unified log: immutable, ordered and replayable.
#[derive(Parser)]
#[command(name = "afferent-collector", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Start a collector, its log and an agent for this machine, to try Afferent; Ctrl-C stops them.
    #[cfg(feature = "up")]
    Up(cli::up::Up),
    /// Run the collector until SIGINT or SIGTERM.
    Run(cli::run::Where),
    /// Check the configuration, and the files and addresses that it names; report every mistake.
    Check(cli::run::Check),
    /// Follow the log: history from a given place on, then live events, until Ctrl-C.
    Sub(cli::sub::Sub),
    /// Watch new events as they arrive, until Ctrl-C.
    Tap(cli::tap::Tap),
    /// Replay a part of the log at its original speed, faster, or as fast as possible.
    Replay(cli::replay::Replay),
    /// Show how far subscriptions lag behind the log, and which members read them.
    Lag(cli::lag::Lag),
    /// Show how far other systems have the log; pause, resume or move a forward.
    #[command(subcommand)]
    Forward(cli::forward::Forward),
    /// Append an event to the log, or CloudEvents from standard input; exits 0 once they are on disk.
    Emit(cli::emit::Emit),
    /// Inspect the log's files, with or without a running collector.
    #[command(subcommand)]
    Log(cli::log::Log),
    /// Prove that no event of a source or a machine is missing from the log, or report what is.
    ///
    /// Exits 0 if the span is complete, 1 if something is missing or open, 3 if the log is refuted, and 2 if the command
    /// line is wrong or no log can be read. Reads the log's files, also beside a running collector; with --http it asks a
    /// running collector, which also knows what the agents have reported of their ring logs.
    Certificate(cli::certificate::Certify),
    /// Show or rotate the key that signs the log.
    #[command(subcommand)]
    Key(cli::key::Key),
    /// Show all agents (state, lag, losses); retire one, or replace its key.
    Agents(cli::agents::Agents),
    /// Query the models: states computed from the log, now, at an earlier time, or under assumptions.
    #[command(subcommand)]
    Models(cli::models::Models),
    /// Watch all agents live: state, rates, lag, losses.
    #[cfg(feature = "top")]
    Top(cli::top::Top),
    /// Write the completions of a shell to standard output.
    #[command(hide = true)]
    Completions(cli::completions::Completions),
    /// Write man pages, one for every command.
    #[command(hide = true)]
    Man(cli::completions::Man),
}

/// Makes the allocator return free memory soon: of the first arena, and of all later ones.
fn give_memory_back() {
    for arena in [&b"arenas.dirty_decay_ms\0"[..], b"arena.0.dirty_decay_ms\0"] {
        // An arena that refuses returns it later.
        let _ = arena.name().write(MEMORY_KEPT_MS);
    }
}

fn main() -> ExitCode {
    give_memory_back();
    let done = |outcome: anyhow::Result<()>| outcome.map(|()| ExitCode::SUCCESS);
    let outcome = match &Cli::parse().command {
        #[cfg(feature = "up")]
        Command::Up(args) => done(cli::up::up(args)),
        Command::Run(args) => done(cli::run::run(args)),
        Command::Check(args) => done(cli::run::check(args)),
        Command::Sub(args) => done(cli::sub::sub(args)),
        Command::Tap(args) => done(cli::tap::tap(args)),
        Command::Replay(args) => done(cli::replay::replay(args)),
        Command::Lag(args) => done(cli::lag::lag(args)),
        Command::Forward(command) => done(cli::forward::forward(command)),
        Command::Emit(args) => done(cli::emit::emit(args)),
        Command::Completions(args) => done(cli::completions::completions(args, Cli::command())),
        Command::Man(args) => done(cli::completions::man(args, Cli::command())),
        Command::Log(command) => cli::log::log(command),
        Command::Certificate(args) => cli::certificate::certificate(args),
        Command::Key(command) => done(cli::key::key(command)),
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
