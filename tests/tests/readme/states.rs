//! States: rebuilt, corrected and assumed, as README tells it.

use afferent_tests::process::{Rig, get_text, wait_for};

use super::commands::Told;
use super::*;

/// Whether it is one of the commands about states.
pub fn is_of_states(command: &str) -> bool {
    command.contains("-- models ") || command.contains("-- replay --socket")
}

/// Three failures of 100 s in 1000 s, the second one a planned stop: README's recording.
fn break_down_thrice(rig: &Rig, told: &mut Told) {
    told.run("-- replay --socket");
    wait_for("the models have seen the last of it", || {
        let kpi: serde_json::Value = serde_json::from_str(&get_text(rig.http, "/v1/models/kpi")?).ok()?;
        (kpi["state"]["machines"]["88-C"]["planned_s"] == 1000.0).then_some(())
    });
}

#[test]
fn the_stories_of_states_run_as_they_are_told() {
    let rig = Rig::new("readme-models");
    let _collector = rig.start_collector();
    let _agent = rig.start_agent();
    let folder = rig.folder.path();
    let write = |name: &str, text: &str| std::fs::write(folder.join(name), text).expect("the folder can be written");
    write("plan.toml", &configurations("plan")[0]);
    let with_model = configurations("collector").into_iter().find(|text| text.contains("[[model]]"));
    write("collector.toml", &with_model.expect("README adds a model"));
    let link = |from: &Path, to: &Path| std::os::unix::fs::symlink(from, to).expect("the folder can be written");
    link(&rig.collector_data(), &folder.join("afferent-data"));
    link(&rig.socket(), &rig.collector_data().join("agent.sock"));

    let mut told = Told::new(folder, rig.http, rig.mqtt, is_of_states);
    break_down_thrice(&rig, &mut told);
    let list = told.run("-- models list");
    assert!(list.contains("kpi@1") && list.contains("live"), "{list}");
    for command in ["-- models show kpi --as-of", "-- models show kpi"] {
        let show = told.run(command);
        assert!(show.contains("88-C") && show.contains("0.7"), "{show}");
    }
    let recomputed = told.run("-- models recompute");
    assert!(recomputed.contains("made again"), "{recomputed}");
    // The planned stop is no failure, or the belt's failure is away.
    for command in ["-- models diff", "-- models what-if"] {
        let said = told.run(command);
        let line = said.lines().find(|line| line.contains("88-C/availability")).unwrap_or_else(|| panic!("{said}"));
        let words: Vec<_> = line.split_whitespace().collect();
        assert_eq!(words, ["88-C/availability", "0.7", "0.8", "+0.1"], "{command}");
    }
    assert!(told.left().is_empty(), "every command about models was run");
}
