//! A collector's key that is rotated, and one that nobody has endorsed.

use std::process::Command;

use afferent_tests::process::{Process, Rig, binary, run_to_end, wait_for};

/// `key rotate`, or `key show`: whether it went well, and the key.
fn key(rig: &Rig, what: &str) -> (bool, String) {
    let mut command = Command::new(binary("afferent-collector"));
    let (status, printed) = run_to_end(command.args(["key", what, "--data"]).arg(rig.collector_data()));
    let key = printed.split_whitespace().find(|word| word.len() == 64 && word.bytes().all(|b| b.is_ascii_hexdigit()));
    (status.success(), key.unwrap_or(&printed).to_owned())
}

fn rotate(rig: &Rig) -> String {
    let (is_done, new) = key(rig, "rotate");
    assert!(is_done, "{new}");
    new
}

/// Two agents of one collector. One has believed the first collector on this machine, the other one is told a key.
struct Plant {
    press_88: Rig,
    press_89: Rig,
}

impl Plant {
    /// Starts the collector and both agents; gives the collector's key as well.
    fn start(&mut self) -> (Process, [Process; 2], String) {
        let collector = self.press_88.start_collector();
        let (_, first) = key(&self.press_88, "show");
        self.press_89.mqtt = self.press_88.endpoint;
        self.press_89.agent_name = "press-89".into();
        self.press_89.agent_ship = format!("collector_keys = [{first:?}]");
        (collector, [self.press_88.start_agent(), self.press_89.start_agent()], first)
    }

    fn agents(&self) -> [&Rig; 2] {
        [&self.press_88, &self.press_89]
    }

    /// Both accept a breakdown; gives the codes.
    fn break_down(&self, code: &str) -> [String; 2] {
        self.agents().map(|agent| {
            let code = format!("{code}-{}", agent.agent_name);
            agent.break_down(&code);
            code
        })
    }

    /// They arrive, and are acknowledged by a collector that both believe.
    fn arrive(&self, codes: &[String]) {
        codes.iter().for_each(|code| drop(self.press_88.wait_logged(code)));
        for agent in self.agents() {
            wait_for("everything is acknowledged", || (agent.agent_lag() == Some(0)).then_some(()));
            agent.wait_healthy();
        }
    }
}

#[test]
fn agents_follow_a_rotated_key_by_its_endorsement_and_no_other_key_and_nothing_is_lost() {
    let (press_88, press_89) = (Rig::new("successor"), Rig::new("successor-named"));
    let mut plant = Plant { press_88, press_89 };
    let (collector, [_agent, agent_89], first) = plant.start();
    let rig = &plant.press_88;
    plant.arrive(&plant.break_down("before"));
    let (is_done, said) = key(rig, "rotate");
    assert!(!is_done && said.contains("in use by process"), "it rotates under a running collector: {said}");

    // While agents are at work, and nobody answers for a while.
    assert!(collector.terminate().success());
    let held = plant.break_down("meanwhile");
    let second = rotate(rig);
    assert_ne!(second, first);
    let collector = rig.start_collector();
    plant.arrive(&held);
    assert_eq!(key(rig, "show"), (true, second.clone()));
    for agent in plant.agents() {
        let pin = std::fs::read_to_string(agent.agent_data().join("collector.pin")).expect("it has learned a key");
        assert!(pin.contains(&format!("{second} by {first}")), "{}: {pin}", agent.agent_name);
    }

    // Twice, while one of them is away.
    agent_89.terminate();
    assert!(collector.terminate().success());
    let third = rotate(rig);
    let fourth = rotate(rig);
    let collector = rig.start_collector();
    let _agent_89 = plant.press_89.start_agent();
    plant.arrive(&plant.break_down("twice"));
    for agent in plant.agents() {
        let pin = std::fs::read_to_string(agent.agent_data().join("collector.pin")).expect("it has learned a key");
        assert!(pin.contains(&format!("{fourth} by {third}")), "{}: {pin}", agent.agent_name);
    }
    assert!(collector.terminate().success());
    let mut verify = Command::new(binary("afferent-collector"));
    let verify = verify.args(["log", "verify", "--key", &first, "--data"]).arg(rig.collector_data());
    let (status, said) = run_to_end(verify);
    assert!(status.success(), "the first key leads to all others: {said}");

    // The key is lost, and the one that is drawn in its place nobody has endorsed.
    let (path, aside) = (rig.collector_data().join("collector.key"), rig.folder.join("collector.key"));
    std::fs::rename(&path, &aside).expect("it can be moved");
    let collector = rig.start_collector();
    let (_, stranger) = key(rig, "show");
    assert_ne!(stranger, fourth);
    let held = plant.break_down("stranger");
    for agent in plant.agents() {
        let line = format!("collector_keys = [\"{stranger}\"]");
        wait_for("it says whom it does not believe", || {
            agent.agent_health().filter(|(healthy, words)| !healthy && words.contains(&line))
        });
        assert!(agent.agent_lag() > Some(0), "it has let go of what a stranger has acknowledged");
    }
    let is_held = |event: &serde_json::Value| held.iter().any(|code| event["data"]["code"] == **code);
    assert!(!rig.events().iter().any(is_held), "something was shipped to a stranger");
    assert!(collector.terminate().success());

    // The backup of the key is put back.
    std::fs::rename(&aside, &path).expect("it can be moved back");
    let _collector = rig.start_collector();
    plant.arrive(&held);
    assert!(!rig.events().iter().any(|event| event["type"] == "afferent.loss.v1"), "something was declared lost");
}
