//! `completions` and `man`: what a package puts beside the program.

use std::io::Write;
use std::path::PathBuf;

use anyhow::Context;

/// Write the completions of a shell to standard output.
#[derive(Debug, clap::Args)]
pub struct Completions {
    /// Name of the shell.
    shell: clap_complete::Shell,
}

/// Write man pages, one for every command.
#[derive(Debug, clap::Args)]
pub struct Man {
    /// The directory to write them to.
    directory: PathBuf,
}

/// Writes completions.
pub fn completions(args: &Completions, mut command: clap::Command) -> anyhow::Result<()> {
    let name = command.get_name().to_owned();
    let mut text = Vec::new();
    clap_complete::generate(args.shell, &mut command, &name, &mut text);
    let mut text = String::from_utf8(text).context("the completions are not UTF-8")?;
    if args.shell == clap_complete::Shell::Bash {
        // The script calls one and the same state by two names when the program's name has a hyphen, and then knows no
        // command any more (https://github.com/clap-rs/clap/issues/6421).
        text = text.replace(&name.replace('-', "__subcmd__"), &name.replace('-', "__"));
    }
    std::io::stdout().write_all(text.as_bytes()).context("writing to standard output failed")
}

/// Writes man pages.
pub fn man(args: &Man, command: clap::Command) -> anyhow::Result<()> {
    let directory = args.directory.display();
    std::fs::create_dir_all(&args.directory).with_context(|| format!("cannot create {directory}"))?;
    clap_mangen::generate_to(command, &args.directory).with_context(|| format!("cannot write to {directory}"))
}
