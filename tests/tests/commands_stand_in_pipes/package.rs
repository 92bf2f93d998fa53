//! What a package puts beside the program: completions and man pages that know every command.

use std::path::Path;

use afferent_tests::process::{Folder, run_in_pipe};

use super::*;

/// The commands that the help of these words names; options are told by `options`.
fn commands(words: &str) -> Vec<String> {
    let help = run_in_pipe(&mut collector(&format!("{words} --help")), b"").well();
    let listed = help.split_once("Commands:\n").map_or("", |(_, rest)| rest.split("\n\n").next().unwrap_or_default());
    let name = |line: &str| line.strip_prefix("  ")?.split_whitespace().next().map(str::to_owned);
    // Longer texts go on in the next line, which begins further right.
    let begins = |line: &&str| line.starts_with("  ") && !line.starts_with("   ");
    listed.lines().filter(begins).filter_map(name).filter(|name| name != "help").collect()
}

/// All commands, each with those that it is in.
fn all_commands() -> Vec<String> {
    let top = commands("");
    let below = top.iter().flat_map(|name| commands(name).into_iter().map(move |below| format!("{name} {below}")));
    let all: Vec<String> = top.iter().cloned().chain(below).collect();
    for known in ["up", "run", "replay", "emit", "log verify", "models what-if"] {
        assert!(all.iter().any(|name| name == known), "the help was understood: {all:?}");
    }
    all
}

fn long_options(words: &str) -> Vec<String> {
    let help = run_in_pipe(&mut collector(&format!("{words} --help")), b"").well();
    let options = help.split_once("Options:\n").expect("it has options").1;
    let option = |line: &str| {
        let line = line.trim_start();
        let line = line.strip_prefix("-h, ").or(line.strip_prefix("-V, ")).unwrap_or(line);
        line.starts_with("--").then(|| line.split_whitespace().next().unwrap_or_default().to_owned())
    };
    options.lines().filter_map(option).collect()
}

#[test]
fn completions_know_every_command_and_bash_completes_it() {
    let folder = Folder::new("completions");
    let top = commands("");
    for (shell, begin) in [("bash", "_afferent"), ("zsh", "#compdef afferent-collector"), ("fish", "#")] {
        let text = run_in_pipe(&mut collector(&format!("completions {shell}")), b"").well();
        assert!(text.starts_with(begin), "{shell}: {text:.80}");
        for name in all_commands().iter().flat_map(|name| name.split(' ')) {
            assert!(text.contains(name), "{shell} does not know {name}");
        }
        std::fs::write(folder.join(shell), text).expect("the folder can be written");
    }
    let bash = |script: &str| {
        let mut bash = Command::new("bash");
        run_in_pipe(bash.arg("-c").arg(script).arg("bash").arg(folder.join("bash")), b"").well()
    };
    bash("bash -n \"$1\"");
    // As bash asks when somebody presses the key behind these words.
    let completed = |before: &[&str], word: &str| -> Vec<String> {
        let words = ["afferent-collector"].iter().chain(before).copied().collect::<Vec<_>>();
        let script = format!(
            "source \"$1\"; COMP_WORDS=({all} '{word}'); COMP_CWORD={count}; \
             function=$(complete -p afferent-collector | sed 's/.*-F \\([^ ]*\\).*/\\1/'); \
             \"$function\" afferent-collector '{word}' '{last}'; printf '%s\\n' \"${{COMPREPLY[@]}}\"",
            all = words.join(" "),
            count = words.len(),
            last = words[words.len() - 1],
        );
        bash(&script).lines().map(str::to_owned).collect()
    };
    for name in &top {
        assert!(completed(&[], &name[..name.len() - 1]).contains(name), "{name}");
        for option in long_options(name) {
            assert!(completed(&[name], "--").contains(&option), "{name} {option}");
        }
    }
    assert_eq!(completed(&["log"], "ver"), ["verify"]);
    assert_eq!(completed(&["replay", "--output"], "cl"), ["cloudevents"]);
    assert!(completed(&[], "nonsense").iter().all(String::is_empty), "what no command begins with");
}

/// A page as it is shown, without breaks in its words.
fn rendered(page: &Path) -> String {
    let mut man = Command::new("man");
    man.args(["--warnings=w", "--no-hyphenation", "--no-justification", "-E", "ascii", "-l"]).arg(page);
    run_in_pipe(man.env("MANWIDTH", "200").env("MANROFFOPT", "-c"), b"").well()
}

#[test]
fn every_command_has_a_man_page_that_man_shows_with_all_its_options() {
    let folder = Folder::new("man");
    let pages = folder.join("pages");
    run_in_pipe(collector("man").arg(&pages), b"").well();
    let mut found: Vec<String> = std::fs::read_dir(&pages)
        .expect("it was made")
        .map(|entry| entry.expect("it can be read").file_name().into_string().expect("a name"))
        .collect();
    for words in [String::new()].into_iter().chain(all_commands()) {
        let page = format!("afferent-collector {words}").trim().replace(' ', "-") + ".1";
        let at = found.iter().position(|name| *name == page).unwrap_or_else(|| panic!("no {page} in {found:?}"));
        found.remove(at);
        let text = rendered(&pages.join(&page));
        for part in ["NAME", "SYNOPSIS", "OPTIONS"] {
            assert!(text.lines().any(|line| line == part), "{page} has no {part}: {text}");
        }
        for option in long_options(&words) {
            assert!(text.contains(&option), "{page} does not tell of {option}: {text}");
        }
    }
    // Help has pages of its own; nothing else has.
    found.retain(|name| !name.contains("-help"));
    assert!(found.is_empty(), "pages of no command: {found:?}");
    // The control: what is no man page is complained of.
    std::fs::write(folder.join("broken.1"), ".TH A 1\n.SH NAME\n.nosuchrequest\n").expect("the folder can be written");
    let mut man = Command::new("man");
    let broken = run_in_pipe(man.args(["--warnings=w", "-l"]).arg(folder.join("broken.1")), b"");
    assert!(!broken.err.is_empty(), "man says nothing of what it does not know");
}
