//! A file is replayed once: a rerun goes on where the run before it was, however that ended.

use std::process::Command;

use super::*;

const OPTIONS: [&str; 2] = ["--value-column", "v"];

fn file(rows: std::ops::Range<u64>) -> String {
    let rows: String = rows.map(|row| format!("{row}\n")).collect();
    format!("v\n{rows}")
}

fn numbers(lines: &[String]) -> Vec<u64> {
    lines.iter().map(|line| member(line, "value").parse().expect("a number")).collect()
}

#[test]
fn a_rerun_appends_nothing_and_a_file_that_grew_goes_on() {
    let Pair { rig, _collector, agent: _agent } = pair("replay-again");
    let said = replay(&rig, "r.csv", &file(0..300), &OPTIONS);
    assert!(said.status.success() && !said.err.contains("before"), "{}", said.err);
    let said = replay(&rig, "r.csv", &file(0..300), &OPTIONS);
    assert!(said.status.success(), "{}", said.err);
    assert!(
        said.err.contains("rows 1 to 300 were replayed before; nothing is left to replay; --again"),
        "{}",
        said.err
    );
    let said = replay(&rig, "r.csv", &file(0..310), &OPTIONS);
    assert!(said.status.success() && said.err.contains("rows 1 to 300 were replayed before; the rest"), "{}", said.err);
    assert!(numbers(&lines_about(&rig, "88-C/v", 310)).into_iter().eq(0..310));
    // A file that has lost its end is another one, or was cut.
    let said = replay(&rig, "r.csv", &file(0..200), &OPTIONS);
    assert!(!said.status.success() && said.err.contains("--again"), "{}", said.err);
    // Another file of this name is replayed from its beginning.
    let said = replay(&rig, "r.csv", &file(5000..5400), &OPTIONS);
    assert!(said.status.success() && !said.err.contains("before"), "{}", said.err);
    lines_about(&rig, "88-C/v", 710);
    // The control: asked for, all of it comes once more.
    let said = replay(&rig, "r.csv", &file(5000..5400), &[&OPTIONS[..], &["--again"]].concat());
    assert!(said.status.success(), "{}", said.err);
    lines_about(&rig, "88-C/v", 1110);
}

#[test]
fn a_replay_that_is_killed_loses_nothing_and_doubles_nothing() {
    let Pair { rig, _collector, agent: _agent } = pair("replay-killed");
    let rows = 60_000;
    let path = rig.folder.join("k.csv");
    std::fs::write(&path, file(0..rows)).expect("the folder can be written");
    let command_about = |subject: &str| {
        let mut command = Command::new(binary("afferent-agent"));
        command.arg("replay").arg(&path).args(["--subject", subject, "--speed", "max"]).args(OPTIONS);
        command.arg("--socket").arg(rig.socket());
        command
    };
    let command = || command_about("88-C/v");
    let mut killed = 0;
    for kill in 1..=4 {
        let mut process = Process::start("the replay", &mut command(), &rig.folder.join("replay.log"));
        let taken = || rig.agent_figure("afferent_socket_lines_total").filter(|taken| *taken >= kill * 3000);
        wait_for("lines are under way", || taken().or_else(|| (!process.is_running()).then_some(0)));
        killed += u64::from(process.is_running());
        process.kill();
    }
    assert!(killed > 0, "it was still running");
    let said = run_in_pipe(&mut command(), b"");
    assert!(said.status.success() && said.err.contains("were replayed before"), "{}", said.err);
    assert!(numbers(&lines_about(&rig, "88-C/v", rows as usize)).into_iter().eq(0..rows));

    // The control: who goes on at the recorded place, and does not ask what was under way, sends some of it twice.
    let before = rig.agent_figure("afferent_socket_lines_total").expect("the agent counts");
    let mut process = Process::start("the replay", &mut command_about("88-C/w"), &rig.folder.join("replay.log"));
    let taken = || rig.agent_figure("afferent_socket_lines_total").filter(|taken| *taken >= before + 3000);
    wait_for("lines are under way", || taken().or_else(|| (!process.is_running()).then_some(0)));
    assert!(process.is_running(), "it was still running");
    process.kill();
    for place in std::fs::read_dir(rig.agent_data().join("replayed")).expect("places are kept there") {
        let path = place.expect("it can be listed").path();
        if path.extension().is_some_and(|ending| ending == "json") {
            let mut place = json(&std::fs::read_to_string(&path).expect("it can be read"));
            place["run"] = "".into();
            std::fs::write(&path, place.to_string()).expect("it can be written");
        }
    }
    assert!(run_in_pipe(&mut command_about("88-C/w"), b"").status.success());
    wait_for("more lines are in the log than the file has rows", || {
        let lines = get_text(rig.http, "/v1/events?from=0&limit=all&subject=88-C/w")?.lines().count();
        (lines > rows as usize).then_some(())
    });
}

#[test]
fn a_row_that_was_half_of_one_is_named_when_the_file_has_grown() {
    let Pair { rig, _collector, agent: _agent } = pair("replay-half");
    assert!(replay(&rig, "h.csv", "v\n1\n8", &OPTIONS).status.success());
    let said = replay(&rig, "h.csv", "v\n1\n81\n3\n", &OPTIONS);
    assert!(!said.status.success() && said.err.contains("row 2: it had no line end"), "{}", said.err);
    assert_eq!(numbers(&lines_about(&rig, "88-C/v", 3)), [1, 8, 3]);
    // The control: a last row that was whole is none of these.
    assert!(replay(&rig, "w.csv", "v\n1\n8", &OPTIONS).status.success());
    let said = replay(&rig, "w.csv", "v\n1\n8\n3\n", &OPTIONS);
    assert!(said.status.success(), "{}", said.err);
}

#[test]
fn a_place_is_of_one_agent() {
    let first = pair("replay-first");
    let second = pair("replay-second");
    let path = first.rig.folder.join("a.csv").display().to_string();
    assert!(replay(&first.rig, "a.csv", &file(0..10), &OPTIONS).status.success());
    let said =
        agent(&second.rig, &["replay", &path, "--subject", "88-C/v", "--speed", "max", "--value-column", "v"], b"");
    assert!(said.status.success() && !said.err.contains("before"), "{}", said.err);
    lines_about(&second.rig, "88-C/v", 10);
    // The control: the first one has it.
    let said = replay(&first.rig, "a.csv", &file(0..10), &OPTIONS);
    assert!(said.err.contains("before"), "{}", said.err);
}
