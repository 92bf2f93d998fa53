//! Where an agent was silent: the first failure of each kind is a warning that says why and what to do, and health
//! tells it.

use std::io::Write;
use std::os::unix::net::UnixListener;

use afferent_tests::process::{Authority, Rig, wait_for};

use super::{wait_told, wait_warned, warnings};

#[test]
fn an_agent_that_was_never_connected_says_why_at_once_and_not_again_and_again() {
    // Nobody listens there.
    let rig = Rig::new("wrong-port");
    let agent = rig.start_agent();
    wait_warned(&agent, "no program listens there");
    wait_told(&rig, "no program listens there");
    wait_for("it was tried some times", || {
        (agent.printed().matches("WARN").count() > 0).then_some(())?;
        rig.agent_figure("afferent_agent_connection_failures_total").filter(|failures| *failures >= 4)
    });
    assert_eq!(warnings(&agent, "no program listens there").len(), 1, "{}", agent.printed());
    // There is no such host.
    let rig = Rig::new("wrong-host");
    let command = &mut rig.agent_command();
    let config = rig.folder.join("agent.toml");
    let text = std::fs::read_to_string(&config).expect("it was written");
    std::fs::write(&config, text.replace(&rig.mqtt.to_string(), "no-such-host.invalid:1883"))
        .expect("it can be written");
    let agent = afferent_tests::process::Process::start("agent", command, &rig.folder.join("agent.log"));
    wait_warned(&agent, "there is no such host");
}

#[test]
fn a_port_that_speaks_tls_is_told_in_words() {
    let mut rig = Rig::new("tls-port");
    let authority = Authority::new(&rig.folder, "plant");
    let server = authority.issue("collector");
    let secret = rig.folder.join("secret");
    std::fs::write(&secret, "x").expect("the folder can be written");
    rig.collector_mqtt = format!(
        "tls = {{ cert = {:?}, key = {:?} }}\n[[mqtt.user]]\nname = \"press-88\"\npassword = {{ file = {secret:?} }}\n",
        server.cert, server.key
    );
    let _collector = rig.start_collector();
    let agent = rig.start_agent();
    wait_warned(&agent, "write mqtts:// in `ship.url`");
}

#[test]
fn a_ring_that_gives_events_up_says_so_in_log_and_health() {
    let mut rig = Rig::new("evicting");
    rig.agent_extra = "[ring]\npool_bytes = \"512KiB\"\nsegment_bytes = \"64KiB\"\n".into();
    let agent = rig.start_agent();
    let mut producer = rig.producer();
    let text = "x".repeat(1000);
    let mut send = |count: u64| {
        for number in 0..count {
            let line = format!("{{\"subject\":\"88-C/note\",\"value\":\"{number} {text}\"}}\n");
            producer.send(line.as_bytes()).expect("the agent reads");
        }
    };
    // The control: as long as there is room nothing is given up, and nothing said.
    send(50);
    assert_eq!(warnings(&agent, "were given up").len(), 0);
    send(1500);
    wait_warned(&agent, "the ring log has no room");
    let words = wait_told(&rig, "were given up");
    assert!(words.contains("raise `ring.pool_bytes`"), "{words}");
    assert_eq!(warnings(&agent, "were given up").len(), 1, "once a minute");
}

#[test]
fn lines_of_a_child_that_are_refused_are_told_once_and_counted() {
    let mut rig = Rig::new("refused-lines");
    let script = "while :; do echo '{\\\"subject\\\":\\\"a\\\"'; sleep 0.02; done";
    rig.agent_extra = format!("[[intake.exec]]\nname = \"plc\"\ncommand = [\"sh\", \"-c\", \"{script}\"]\n");
    let agent = rig.start_agent();
    let words = wait_told(&rig, "of plc was refused");
    assert!(words.contains("its event is lost"), "{words}");
    wait_for("there are many", || {
        rig.agent_figure("afferent_intake_lines_refused_total").filter(|refused| *refused > 50)
    });
    assert_eq!(warnings(&agent, "of plc was refused").len(), 1, "{}", agent.printed());
}

#[test]
fn a_child_that_is_missing_or_fails_is_told() {
    let mut rig = Rig::new("no-child");
    rig.agent_extra = "[[intake.exec]]\nname = \"plc\"\ncommand = [\"/nowhere/read-plc\"]\n\
                       [[intake.exec]]\nname = \"failing\"\ncommand = [\"false\"]\n"
        .into();
    let agent = rig.start_agent();
    wait_warned(&agent, "the child plc cannot be run: /nowhere/read-plc");
    wait_warned(&agent, "the child failing has exited (exit status: 1)");
    wait_told(&rig, "the child plc cannot be run");
}

#[test]
fn a_serial_port_that_is_missing_and_one_that_is_noisy_are_told() {
    let mut rig = Rig::new("serial");
    let noisy = rig.folder.join("noisy");
    let listener = UnixListener::bind(&noisy).expect("the folder can be written");
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            // Ten pieces between delimiters that are no frames.
            let _ = (0..10).try_for_each(|_| stream.write_all(b"\x07noise\x00"));
            std::mem::forget(stream);
        }
    });
    rig.agent_extra = format!(
        "[[intake.serial]]\nport = \"/dev/no-such-port\"\ndevice = \"spindle-1\"\n\
         [[intake.serial]]\nport = \"unix:{}\"\ndevice = \"spindle-2\"\n",
        noisy.display()
    );
    let agent = rig.start_agent();
    wait_warned(&agent, "nothing comes from spindle-1 on /dev/no-such-port: it cannot be opened");
    wait_told(&rig, "nothing comes from spindle-1");
    wait_warned(&agent, "check the cabling");
    wait_told(&rig, "are damaged, and spindle-2 sends them again");
}

#[test]
fn a_damaged_record_of_a_replays_place_makes_no_row_come_twice() {
    let mut rig = Rig::new("damaged-place");
    let recorded = rig.folder.join("recorded.csv");
    std::fs::write(&recorded, "t,v\n2024-01-01T00:00:00Z,1\n2024-01-01T00:00:01Z,2\n").expect("it can be written");
    rig.agent_extra = format!(
        "[[intake.file]]\npath = {recorded:?}\nsubject = \"88-C/t\"\ntime_column = \"t\"\nvalue_columns = [\"v\"]\n\
         speed = \"max\"\n"
    );
    let _collector = rig.start_collector();
    let rows = || rig.events().iter().filter(|event| event["subject"] == "88-C/t").count();
    let agent = rig.start_agent();
    wait_for("the file is replayed", || (rows() == 2).then_some(()));
    let places = rig.agent_data().join("replay");
    let recorded = || std::fs::read_dir(&places).map(|files| files.flatten().count()).unwrap_or(0);
    wait_for("its place is recorded", || (recorded() > 0).then_some(()));
    // While it runs, a file may be there under the name of one that is not written to its end yet.
    agent.terminate();
    let place = std::fs::read_dir(&places).expect("it is there").flatten().next().expect("its place is recorded");
    let right = std::fs::read(place.path()).expect("it is a file");
    std::fs::write(place.path(), &right[..right.len() / 2]).expect("it can be written");
    let agent = rig.start_agent();
    wait_warned(&agent, "is damaged; nothing is replayed");
    wait_told(&rig, "Remove that file to replay it from its beginning");
    rig.break_down("behind");
    rig.wait_logged("behind");
    assert_eq!(rows(), 2);
    // The control: without the record they do come again.
    std::fs::remove_file(place.path()).expect("it is there");
    wait_for("the file is replayed again", || (rows() == 4).then_some(()));
}

#[test]
fn a_redirected_log_has_no_colours_and_an_error_is_said_once() {
    let rig = Rig::new("plain-log");
    let agent = rig.start_agent();
    wait_warned(&agent, "no program listens there");
    assert!(!agent.printed().contains('\u{1b}'), "{}", agent.printed());
    agent.terminate();
    // A ring log in place of whose directory there is a file.
    let (_, printed) = {
        let mut command = rig.agent_command();
        std::fs::remove_dir_all(rig.agent_data().join("ring")).expect("it is there");
        std::fs::write(rig.agent_data().join("ring"), "").expect("it can be written");
        afferent_tests::process::run_to_end(&mut command)
    };
    let last = printed.lines().last().unwrap_or_default();
    assert!(last.starts_with("afferent-agent: "), "{printed}");
    for part in last.split(": ").skip(1) {
        assert_eq!(last.matches(part).count(), 1, "{part:?} is said twice: {last}");
    }
}

/// Prometheus' own linter takes what the agent's metrics say.
#[test]
fn promtool_finds_nothing_wrong_with_the_metrics() {
    let mut rig = Rig::new("promtool");
    silent_everything(&mut rig);
    let _agent = rig.start_agent();
    let text = wait_for("the agent has metrics", || afferent_tests::process::get_text(rig.agent_http, "/metrics"));
    let lint = |text: &str| {
        let mut command = std::process::Command::new("promtool");
        afferent_tests::process::run_in_pipe(command.args(["check", "metrics"]), text.as_bytes())
    };
    assert_eq!(lint(&text).well(), "");
    // The control: a gauge with a counter's name is found.
    let wrong = lint(&format!("{text}# HELP x_total X\n# TYPE x_total gauge\nx_total 1\n"));
    assert!(!wrong.status.success() && wrong.err.contains("x_total"), "{wrong:?}");
}

/// Intakes of every kind, so that all of the metrics are there.
fn silent_everything(rig: &mut Rig) {
    let recorded = rig.folder.join("recorded.csv");
    std::fs::write(&recorded, "v\n1\n").expect("it can be written");
    rig.agent_extra = format!(
        "[[intake.exec]]\nname = \"plc\"\ncommand = [\"sleep\", \"1000\"]\n\
         [[intake.serial]]\nport = \"/dev/no-such-port\"\ndevice = \"spindle-1\"\n\
         [[intake.file]]\npath = {recorded:?}\nsubject = \"88-C/t\"\nvalue_columns = [\"v\"]\n"
    );
}
