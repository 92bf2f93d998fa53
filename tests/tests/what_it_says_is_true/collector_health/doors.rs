//! Who may come in can change while the collector runs, and a crowd at one door starves no other.

use std::fs::File;
use std::io::Write as _;
use std::net::TcpStream;
use std::os::unix::fs::OpenOptionsExt as _;
use std::process::Command;

use afferent_tests::process::{Authority, Mqtt, Process, Rig, get, wait_for};
use rustix::fs::OFlags;
use rustix::process::{Resource, Rlimit, Signal, getrlimit, setrlimit};

fn user(rig: &Rig, name: &str, password: &str) -> String {
    let file = rig.folder.join(&format!("{name}-{password}"));
    std::fs::write(&file, password).expect("the folder can be written");
    format!("[[mqtt.user]]\nname = \"{name}\"\npassword = {{ file = {file:?} }}\n")
}

fn comes_in(rig: &Rig, name: &str, password: &str) -> bool {
    Mqtt::log_in(rig.endpoint, "any", name, password).is_ok()
}

/// Writes the configuration anew, and has the collector read it.
fn reload(rig: &Rig, collector: &Process) {
    rig.collector_command();
    collector.signal(Signal::HUP);
}

fn wait_says(collector: &Process, times: usize, words: &str) {
    wait_for(&format!("the collector says {words:?}"), || {
        (collector.printed().matches(words).count() >= times).then_some(())
    });
}

#[test]
fn users_change_on_sighup_as_a_whole_or_not_at_all() {
    let mut rig = Rig::new("reload-users");
    rig.collector_mqtt = user(&rig, "press-88", "one") + &user(&rig, "press-89", "two");
    let collector = rig.start_collector();
    let mut changed = Mqtt::log_in(rig.endpoint, "any", "press-88", "one").expect("it is let in");
    let mut kept = Mqtt::log_in(rig.endpoint, "any", "press-89", "two").expect("it is let in");
    assert!(!comes_in(&rig, "press-90", "three"), "the control: it is not known yet");

    rig.collector_mqtt =
        user(&rig, "press-88", "1") + &user(&rig, "press-89", "two") + &user(&rig, "press-90", "three");
    reload(&rig, &collector);
    wait_says(&collector, 1, "reloaded users and certificates");
    assert!(comes_in(&rig, "press-90", "three") && comes_in(&rig, "press-88", "1"));
    assert!(!comes_in(&rig, "press-88", "one"), "the password of before is none any more");
    assert!(changed.is_closed(), "who came in by it is let go");
    kept.subscribe(&afferent_tests::process::down("press-89")).expect("who has not changed stays");

    // One of three is wrong: none of them changes.
    rig.collector_mqtt =
        user(&rig, "press-91", "four") + "[[mqtt.user]]\nname = \"press-92\"\npassword = { file = \"/nowhere\" }\n";
    reload(&rig, &collector);
    wait_says(&collector, 1, "the previous users, passwords and certificates stay in use");
    assert!(collector.printed().contains("/nowhere"), "it says what is wrong");
    assert!(comes_in(&rig, "press-90", "three") && !comes_in(&rig, "press-91", "four"));
    rig.collector_mqtt = "nonsense = 1\n".to_owned();
    reload(&rig, &collector);
    wait_says(&collector, 2, "the previous users, passwords and certificates stay in use");
    assert!(comes_in(&rig, "press-90", "three"));
}

#[test]
fn an_expired_certificate_of_the_server_is_refused_on_sighup_and_at_the_start() {
    let mut rig = Rig::new("reload-expired");
    let authority = Authority::new(&rig.folder, "plant");
    let server = authority.issue("collector");
    rig.collector_mqtt =
        format!("tls = {{ cert = {:?}, key = {:?} }}\n", server.cert, server.key) + &user(&rig, "press-88", "one");
    let collector = rig.start_collector();
    authority.issue_for("collector", 2001..2002);
    collector.signal(Signal::HUP);
    wait_says(&collector, 1, "the previous users, passwords and certificates stay in use");
    assert!(collector.printed().contains("2002-01-01") && collector.printed().contains("not today"));

    rig.scheme = "mqtts";
    let password = rig.folder.join("press-88-one");
    rig.agent_ship = format!(
        "username = \"press-88\"\npassword = {{ file = {password:?} }}\nca_file = {:?}\ntrust_first = true\n",
        authority.ca
    );
    let _agent = rig.start_agent();
    rig.wait_healthy();
    collector.terminate();
    let mut again = rig.collector_command();
    let refused = Process::start("collector", &mut again, &rig.folder.join("refused.log"));
    assert!(!refused.wait().success(), "a start with it is refused");
    authority.issue("collector");
    let collector = rig.start_collector();
    authority.issue("collector");
    collector.signal(Signal::HUP);
    wait_says(&collector, 1, "reloaded users and certificates");
}

#[test]
fn a_sighup_while_the_collector_starts_is_answered_once_it_runs() {
    let mut rig = Rig::new("reload-early");
    // A password comes out of a pipe: the start waits for it as long as the test wants.
    let pipe = rig.folder.join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().expect("there is a mkfifo").success());
    rig.collector_mqtt = format!("[[mqtt.user]]\nname = \"press-88\"\npassword = {{ file = {pipe:?} }}\n");
    let mut command = rig.collector_command();
    let mut collector = Process::start("collector", &mut command, &rig.folder.join("collector.log"));
    let mut writing = File::options();
    writing.write(true).custom_flags(OFlags::NONBLOCK.bits().cast_signed());
    // A pipe can be opened so only while somebody reads it.
    let mut password = wait_for("the collector reads the password", || writing.open(&pipe).ok());
    rig.collector_mqtt = user(&rig, "press-89", "two");
    reload(&rig, &collector);
    writeln!(password, "one").expect("the collector reads");
    drop(password);
    wait_says(&collector, 1, "reloaded users and certificates");
    assert_eq!(collector.ended(), None);
    assert!(comes_in(&rig, "press-89", "two") && !comes_in(&rig, "press-88", "one"));
}

#[test]
fn a_crowd_of_silent_connections_leaves_readers_and_the_log_their_open_files() {
    let limit = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: limit, maximum: limit }).expect("it may be raised so far");
    let rig = Rig::new("crowd");
    let plain = rig.collector_command();
    let mut limited = Command::new("bash");
    limited.args(["-c", "ulimit -n 1024; exec \"$0\" \"$@\""]).arg(plain.get_program()).args(plain.get_args());
    let collector = Process::start("collector", &mut limited, &rig.folder.join("collector.log"));
    wait_for("the API answers", || get(rig.http, "/healthz").ok());
    assert!(collector.printed().contains("fewer connections than configured"), "{}", collector.printed());
    let crowd: Vec<TcpStream> =
        (0..1100).map(|_| TcpStream::connect(rig.endpoint).expect("the system takes it")).collect();
    // Who is one too many is told so, once all places are taken: so they are.
    wait_for("the places for agents are taken", || {
        rig.collector_figure("afferent_connections_refused_total").filter(|refused| *refused > 0)
    });
    for _ in 0..20 {
        let (status, words) = get(rig.http, "/healthz").expect("a reader is answered");
        assert_eq!(status, 200, "{}", String::from_utf8_lossy(&words));
    }
    assert!(!collector.printed().contains("cannot accept connections"), "the limit itself is not reached");
    drop(crowd);
    wait_for("agents come in again", || Mqtt::connect(rig.endpoint).ok());
}
