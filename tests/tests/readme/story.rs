//! The commands of the guides, run from the first to the last, print what is shown below them.

use std::collections::BTreeMap;
use std::num::NonZero;
use std::time::{Duration, Instant};

use afferent_tests::process::{Folder, Producer, free_address, get_text, run_to_end, wait_for};

use super::commands::{HTTP, Live, MQTT, Shell};
use super::shown::{Shown, shown};
use super::*;

/// How a command ends.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ends {
    /// By itself.
    Itself,
    /// When somebody ends it.
    Interrupted,
    /// The same, in a terminal.
    InTerminal,
}

impl Ends {
    fn of(command: &str) -> Self {
        match command {
            _ if command.contains("-- top") => Self::InTerminal,
            _ if ["-- up", "curl -sN", "-- sub --from", "-- tap"].iter().any(|part| command.contains(part)) => {
                Self::Interrupted
            }
            _ => Self::Itself,
        }
    }
}

/// Whether it adds to the log, so that it is run once, whatever it prints.
fn adds(command: &str) -> bool {
    command.contains("-- emit ") || command.contains("-- replay tests/data/88-C.jsonl") || command.contains(" -d '")
}

/// The fenced block of README with this head.
fn block(head: &str) -> String {
    let text = guides();
    let (_, rest) = text.split_once(&format!("```{head}\n")).unwrap_or_else(|| panic!("README has no block {head}"));
    rest.split("```").next().expect("split gives at least one").to_owned()
}

/// What stands on the screen of a terminal.
fn screen(written: &str) -> String {
    let [rows, columns] = [40, 160].map(|size| NonZero::new(size).expect("a terminal has a size"));
    let mut terminal = vt100::Parser::new(rows, columns, 0);
    terminal.process(written.as_bytes());
    terminal.screen().contents()
}

/// README's files in the folder in which its commands are run.
fn write_files(folder: &Folder) {
    let write = |name: &str, text: &str| std::fs::write(folder.join(name), text).expect("the folder can be written");
    write("plan.toml", &configurations("plan")[0]);
    let with_model = configurations("collector").into_iter().find(|text| text.contains("[[model]]"));
    write("collector.toml", &with_model.expect("README adds a model"));
}

/// The lines that README has a producer write, into the socket.
fn produce(folder: &Folder) {
    let lines = block("json lines");
    assert_eq!(lines.lines().count(), 2, "{lines}");
    let socket = folder.join("afferent-data").join("agent.sock");
    let mut producer = Producer::connect(&socket).expect("the agent listens");
    producer.send(lines.as_bytes()).expect("the agent reads");
    producer.wait_accepted(2).expect("it answers as README says");
    assert!(producer.refused().is_empty(), "{:?}", producer.refused());
}

/// What a command has printed, with the command where it goes on.
type Printed = (String, Option<Live>);

/// Runs a command until it has printed what is shown; else what is wrong.
fn run(shell: &Shell, shown: &Shown) -> Result<Printed, String> {
    let command = &shown.command;
    let ends = Ends::of(command);
    let wrong =
        |printed: &str| format!("$ {command}\nprints\n{printed}\nand README shows\n{}\n", shown.output.join("\n"));
    // A heartbeat and the attestation after it come within two minutes.
    let patience = Duration::from_secs(if command.contains("-- certificate") { 150 } else { 30 });
    if ends == Ends::Itself {
        let mut printed = String::new();
        let mut once = || {
            let (status, said) = shell.run(command);
            printed = said;
            status.success() && shown.is(&printed)
        };
        // What was added a moment ago may be on its way.
        let is_shown = once() || (!adds(command) && within(patience, &mut once));
        return if is_shown { Ok((printed, None)) } else { Err(wrong(&printed)) };
    }
    let live = if ends == Ends::InTerminal { shell.start_in_terminal(command) } else { shell.start(command) };
    let printed = || if ends == Ends::InTerminal { screen(&live.printed()) } else { live.printed() };
    if !within(patience, &mut || shown.is(&printed())) {
        return Err(wrong(&printed()));
    }
    Ok((printed(), Some(live)))
}

/// Whether it comes true in so much time.
fn within(patience: Duration, condition: &mut dyn FnMut() -> bool) -> bool {
    let begun = Instant::now();
    while begun.elapsed() < patience {
        if condition() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    false
}

#[test]
fn every_command_shows_what_is_written_below_it() {
    let folder = Folder::new("readme-story");
    let (http, mqtt) = (free_address(), free_address());
    let shell = Shell::new(folder.path(), http, mqtt);
    write_files(&folder);
    let mut words = BTreeMap::from([(HTTP.to_owned(), http.to_string()), (MQTT.to_owned(), mqtt.to_string())]);
    let (mut up, mut wrong) = (None, Vec::new());
    let all = shown(&guides());
    assert!(all.len() > 20, "the commands were found: {all:?}");
    for shown in &all {
        let shown = shown.with(&words);
        assert!(shown.says_something(), "README shows nothing of {}", shown.command);
        let (printed, live) = match run(&shell, &shown) {
            Ok(printed) => printed,
            Err(said) => {
                wrong.push(said);
                continue;
            }
        };
        words.extend(shown.number(&printed));
        let mut control = shown.clone();
        control.output.push("something that is not printed".into());
        assert!(!control.is(&printed), "the control: it is noticed what is not printed: {}", shown.command);
        if shown.command.contains("-- up") {
            up = live;
        } else if shown.command.contains("breakdown 88-C") {
            produce(&folder);
        }
    }

    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    up.expect("README begins with it").interrupt();
    let (status, printed) = shell.run("cargo run --release -- agents");
    assert!(!status.success() && printed.contains("is it running?"), "the control: a command that fails is noticed");
    let up = all.iter().find(|shown| shown.command.contains("-- up")).expect("README begins with it");
    let again = shell.start(&up.with(&words).command);
    wait_for("it goes on where it was", || {
        get_text(http, "/v1/events?subject=88-C&type=breakdown")
            .filter(|text| text.contains("Machine 88-C breaks down"))
    });
    again.interrupt();
}

#[test]
fn every_command_of_readme_is_in_a_block_whose_output_is_compared() {
    let text = guides();
    // Fenced blocks are commands with their outputs, configurations, files and pictures.
    let prose: String = text.split("```").step_by(2).collect();
    let commands: Vec<_> = prose.lines().filter_map(|line| line.strip_prefix("    ")).collect();
    assert_eq!(commands, ["tests/run"]);
    let kinds = text.split("```").skip(1).step_by(2).map(|block| block.lines().next().unwrap_or_default());
    let known = ["", "console", "json lines", "toml agent", "toml collector", "toml plan"];
    for kind in kinds {
        assert!(known.contains(&kind), "nothing checks a block of the kind {kind:?}");
    }
}

#[test]
fn the_agents_defaults_are_a_configuration_that_it_takes() {
    let mut command = Command::new(binary("afferent-agent"));
    let (status, printed) = run_to_end(command.args(["config", "default"]));
    assert!(status.success(), "{printed}");
    check("afferent-agent", &printed).unwrap_or_else(|said| panic!("{said}\n{printed}"));
}
