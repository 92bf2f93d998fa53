//! Promise 8: configuration never touches storage, and one that cuts an agent off is rolled back by the agent.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use afferent_tests::process::{Authority, Process, Rig, free_address, run_to_end, wait_for};
use rustix::process::Signal;

/// What the agent has said in the log about configurations, in this order.
fn told(rig: &Rig) -> Vec<String> {
    let events = rig.events();
    let about = events.iter().filter(|event| event["data"]["change"] == "configured");
    about.filter_map(|event| event["data"]["message"].as_str()).map(str::to_owned).collect()
}

/// Gives a running agent the configuration of the rig; gives how much the agent had told before.
fn reload(rig: &Rig, agent: &Process) -> usize {
    let before = told(rig).len();
    rig.write_agent_config();
    agent.signal(Signal::HUP);
    before
}

/// Waits until the agent has told this, after so much that it had told before.
fn wait_told(rig: &Rig, before: usize, what: &str) -> String {
    wait_for(&format!("the agent tells: {what}"), || {
        told(rig).into_iter().skip(before).find(|said| said.contains(what))
    })
}

/// Whether a breakdown that comes now arrives.
fn goes_on(rig: &Rig, code: &str) {
    rig.break_down(code);
    rig.wait_logged(code);
}

#[test]
fn a_wrong_file_changes_nothing_and_the_refusal_names_the_place() {
    let mut rig = Rig::new("wrong-file");
    let _collector = rig.start_collector();
    let mut agent = rig.start_agent();
    goes_on(&rig, "before");
    for (number, (ship, says)) in [
        ("ulr = \"mqtt://127.0.0.1\"", "did you mean `ship.url`?"),
        ("timeout_ms = 1", "`ship.timeout_ms`"),
        ("username = 88", "line 7"),
        ("ca_file = \"/nowhere/ca.pem\"", "`ship.ca_file`"),
        ("this is no TOML", "line 7"),
    ]
    .into_iter()
    .enumerate()
    {
        rig.agent_ship = ship.into();
        let before = reload(&rig, &agent);
        let said = wait_told(&rig, before, says);
        assert!(said.contains("refused, the previous one stays"), "{said}");
        goes_on(&rig, &format!("after-{number}"));
        // A start with it is refused for the same reason, and touches nothing.
        let config = rig.write_agent_config();
        let mut check = std::process::Command::new(afferent_tests::process::binary("afferent-agent"));
        let (status, printed) = run_to_end(check.arg("check").arg("--config").arg(config));
        assert!(!status.success() && printed.contains(says), "{printed}");
    }
    // The control: a right one is taken.
    rig.agent_ship = "confirm_s = 30".into();
    let before = reload(&rig, &agent);
    wait_told(&rig, before, "the new configuration is in use");
    goes_on(&rig, "after");
    assert!(agent.is_running());
}

#[test]
fn a_way_to_nowhere_is_rolled_back_by_the_agent_and_events_keep_arriving() {
    let mut rig = Rig::new("rolled-back");
    rig.agent_ship = "confirm_s = 5".into();
    let _collector = rig.start_collector();
    let agent = rig.start_agent();
    goes_on(&rig, "before");
    let right = rig.mqtt;
    // Nobody listens; somebody listens and says nothing; the collector listens, and speaks no TLS.
    let silent = TcpListener::bind("127.0.0.1:0").expect("loopback has free ports");
    let silent_address = silent.local_addr().expect("it is bound");
    let authority = Authority::new(&rig.folder, "plant");
    let tls = format!("confirm_s = 5\nca_file = {:?}", authority.ca);
    for (number, (scheme, nowhere)) in
        [("mqtt", free_address()), ("mqtt", silent_address), ("mqtts", right)].into_iter().enumerate()
    {
        rig.wait_healthy();
        (rig.scheme, rig.mqtt) = (scheme, nowhere);
        rig.agent_ship = if scheme == "mqtts" { tls.clone() } else { "confirm_s = 5".into() };
        let before = reload(&rig, &agent);
        // What comes in meanwhile is accepted, and arrives once the agent has gone back.
        rig.break_down(&format!("meanwhile-{number}"));
        let said = wait_told(&rig, before, "does not work");
        assert!(said.contains("the previous one is used again"), "{said}");
        rig.wait_logged(&format!("meanwhile-{number}"));
        goes_on(&rig, &format!("after-{number}"));
    }
    // The control: another way that does lead to the collector is kept.
    rig.wait_healthy();
    (rig.scheme, rig.mqtt) = ("mqtt", right);
    rig.agent_ship = "confirm_s = 5".into();
    let before = told(&rig).len();
    let config = rig.write_agent_config();
    let text = std::fs::read_to_string(&config).expect("it was just written");
    let other = text.replace(&format!("mqtt://{right}"), &format!("mqtt://localhost:{}", right.port()));
    assert_ne!(text, other, "it is another way");
    std::fs::write(&config, other).expect("the folder can be written");
    agent.signal(Signal::HUP);
    wait_told(&rig, before, "the new connection to the collector works");
    goes_on(&rig, "kept");
    assert!(!told(&rig)[before..].iter().any(|said| said.contains("does not work")), "it was rolled back");
}

/// The control of the roll-back: an agent that is started with such a way has none to go back to.
#[test]
fn an_agent_that_is_started_with_a_way_to_nowhere_stays_cut_off_and_keeps_what_it_accepts() {
    let mut rig = Rig::new("cut-off");
    rig.agent_ship = "confirm_s = 5".into();
    let _collector = rig.start_collector();
    let right = std::mem::replace(&mut rig.mqtt, free_address());
    let agent = rig.start_agent();
    let started = Instant::now();
    rig.break_down("cut off");
    wait_for("a probation would long be over", || (started.elapsed() > Duration::from_secs(12)).then_some(()));
    let (healthy, words) = rig.agent_health().expect("the agent runs");
    assert!(!healthy && words.contains("not connected"), "{words}");
    assert!(!rig.events().iter().any(|event| event["data"]["code"] == "cut off"), "it arrived by what way?");
    // The right way, given while it runs: the event was kept for it.
    rig.mqtt = right;
    rig.write_agent_config();
    agent.signal(Signal::HUP);
    rig.wait_logged("cut off");
}

#[test]
fn what_waits_survives_another_size_and_another_name_of_the_ring() {
    let mut rig = Rig::new("resized");
    let megabytes = |mib: u32, kib: u32| format!("[ring]\npool_bytes = \"{mib}MiB\"\nsegment_bytes = \"{kib}KiB\"\n");
    let mut codes = Vec::new();
    // Nobody is there to send to: everything waits.
    for (number, (mib, kib, name)) in
        [(8, 256, "press-88"), (1, 64, "press-88"), (32, 1024, "press-88"), (2, 128, "press-89"), (1, 64, "press-88")]
            .into_iter()
            .enumerate()
    {
        rig.agent_extra = megabytes(mib, kib);
        rig.agent_name = name.into();
        let agent = rig.start_agent();
        for event in 0..50 {
            let code = format!("{name}:{number}:{event}");
            rig.break_down(&code);
            codes.push(code);
        }
        // A running agent leaves its ring alone and says so.
        rig.agent_extra = megabytes(mib + 1, kib);
        let refusals = || agent.printed().matches("`[ring]` changes only when the agent starts").count();
        let before = refusals();
        rig.write_agent_config();
        agent.signal(Signal::HUP);
        wait_for("the running agent refuses", || (refusals() > before).then_some(()));
        if number % 2 == 0 {
            agent.kill();
        } else {
            assert!(agent.terminate().success());
        }
    }
    let _collector = rig.start_collector();
    // Each name sends what was written under it; neither loses what the other wrote.
    for name in ["press-88", "press-89"] {
        rig.agent_name = name.into();
        rig.agent_extra = megabytes(1, 64);
        let agent = rig.start_agent();
        let arrived = || {
            let events = rig.events();
            let has = |code: &&String| events.iter().any(|event| event["data"]["code"] == code.as_str());
            codes.iter().filter(|code| code.starts_with(name)).all(|code| has(&code)).then_some(())
        };
        wait_for(&format!("everything of {name} arrives"), arrived);
        assert!(agent.terminate().success());
    }
    let events = rig.events();
    for code in &codes {
        let found: Vec<_> = events.iter().filter(|event| event["data"]["code"] == code.as_str()).collect();
        let [event] = found[..] else { panic!("{code} is in the log {} times", found.len()) };
        let name = code.split(':').next().expect("a code begins with a name");
        assert!(event["source"].as_str().is_some_and(|source| source.ends_with(name)), "{event}");
    }
    assert!(!events.iter().any(|event| event["type"] == "afferent.loss.v1"), "nothing had to be given up");
}
