//! `check` finds what cannot start, all of it at once.

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use afferent_tests::process::{Authority, Folder, Mosquitto, Rig, free_address, run_in_pipe};

use super::collector;

/// A configuration that is valid, with more lines: before the tables, and of `[mqtt]`.
fn config(folder: &Folder, own: &str, mqtt: &str) -> PathBuf {
    let path = folder.join("collector.toml");
    let (data, endpoint, http) = (folder.join("data"), free_address(), free_address());
    let data = if own.contains("data = ") { String::new() } else { format!("data = {data:?}\n") };
    let http = if own.contains("[http]") { String::new() } else { format!("[http]\nlisten = \"{http}\"\n") };
    let mqtt = format!("[mqtt]\nlisten = \"{endpoint}\"\n{mqtt}");
    std::fs::write(&path, format!("{data}{own}\n{http}{mqtt}\n")).expect("the folder can be written");
    path
}

/// What `check` complains of, a line each.
fn complaints(path: &Path, more: &[&str]) -> Vec<String> {
    let said = run_in_pipe(collector(&["check", "--config"]).arg(path).args(more), b"");
    assert_eq!(said.status.success(), said.err.is_empty(), "{}{}", said.out, said.err);
    said.err.lines().map(str::to_owned).collect()
}

#[test]
fn check_names_everything_that_a_start_would_stumble_over() {
    let folder = Folder::new("check");
    let authority = Authority::new(&folder, "plant");
    let (good, other) = (authority.issue("collector"), authority.issue("other"));
    let old = authority.issue_for("old", 2001..2002);
    let tls = |cert: &Path, key: &Path| format!("tls = {{ cert = {cert:?}, key = {key:?} }}\n");
    let user = "[[mqtt.user]]\nname = \"a\"\npassword = { env = \"PATH\" }\n";
    assert_eq!(complaints(&config(&folder, "", &tls(&good.cert, &good.key)), &[]), [""; 0], "the control");

    let file = folder.join("a-file");
    std::fs::write(&file, "no folder").expect("the folder can be written");
    let taken = TcpListener::bind("127.0.0.1:0").expect("loopback has a port");
    let taken_http = format!("[http]\nlisten = \"{}\"\n", taken.local_addr().expect("it has an address"));
    let broker = "broker = \"mqtts://127.0.0.1\"\n[broker_client]\n";
    let cases: [(&str, String, String, &[&str]); 8] = [
        ("a CA that is not there", format!("{broker}ca = \"/nowhere/ca.pem\"\n"), String::new(), &["/nowhere/ca.pem"]),
        ("another key", String::new(), tls(&good.cert, &other.key), &["do not belong together"]),
        ("yesterday's certificate", String::new(), tls(&old.cert, &old.key), &["not today", "old.pem"]),
        (
            "a client's certificate that has expired",
            format!("{broker}cert = {:?}\nkey = {:?}\n", old.cert, old.key),
            String::new(),
            &["not today"],
        ),
        ("a folder that is none", format!("data = {:?}\n", file.join("data")), String::new(), &["a-file"]),
        ("a port that is taken", taken_http, String::new(), &["for HTTP", "another program"]),
        (
            "users that are ignored",
            String::new(),
            format!("tls = {{ cert = {:?}, key = {:?}, client_ca = {:?} }}\n{user}", good.cert, good.key, authority.ca),
            &["users would be ignored"],
        ),
        ("a secret that is not there", String::new(), user.replace("PATH", "AFFERENT_NOT_SET"), &["AFFERENT_NOT_SET"]),
    ];
    for (what, own, mqtt, words) in cases {
        let complained = complaints(&config(&folder, &own, &mqtt), &[]);
        assert_eq!(complained.len(), 1, "{what}: {complained:?}");
        assert!(words.iter().all(|word| complained[0].contains(word)), "{what}: {complained:?}");
    }

    // Two at once are told both.
    let own =
        format!("data = {:?}\n[http]\nlisten = \"{}\"\n", file.join("data"), taken.local_addr().expect("it has one"));
    assert_eq!(complaints(&config(&folder, &own, ""), &[]).len(), 2);
}

#[test]
fn a_directory_that_cannot_be_written_is_found_by_whoever_may_not_write_it() {
    let folder = Folder::new("check-unwritable");
    let data = folder.join("data");
    std::fs::create_dir(&data).expect("the folder can be written");
    std::fs::set_permissions(&data, PermissionsExt::from_mode(0o555)).expect("it is ours");
    let complained = complaints(&config(&folder, "", ""), &[]);
    // Root may write everywhere, and `check` says what is so.
    let may_write = std::fs::write(data.join("probe"), "x").is_ok();
    assert_eq!(complained.is_empty(), may_write, "{complained:?}");
    assert!(may_write || complained[0].contains("permissions"), "{complained:?}");
    let left: Vec<_> =
        std::fs::read_dir(&data).expect("it is there").map(|file| file.expect("a file").file_name()).collect();
    assert!(left.iter().all(|name| name == "probe"), "check leaves nothing behind: {left:?}");
}

#[test]
fn a_data_directory_in_use_is_found_and_a_check_for_a_reload_passes_over_it() {
    let rig = Rig::new("check-in-use");
    let running = rig.start_collector();
    let path = rig.folder.join("collector.toml");
    let complained = complaints(&path, &[]);
    assert_eq!(complained.len(), 3, "{complained:?}");
    assert!(complained[0].contains(&format!("in use by process {}", running.pid())), "{complained:?}");
    assert_eq!(complaints(&path, &["--reload"]), [""; 0]);
    running.terminate();
    assert_eq!(complaints(&path, &[]), [""; 0], "the control: nobody has them any more");
}

#[test]
fn check_connect_says_what_each_hop_to_the_broker_answers() {
    let folder = Folder::new("check-connect");
    let broker = Mosquitto::guarded(&folder, "user collector\ntopic read afferent/#\n", &[("collector", "right")]);
    let running = broker.start();
    let connect = |scheme: &str, password: &str| {
        let file = folder.join("password");
        std::fs::write(&file, password).expect("the folder can be written");
        let own = format!(
            "broker = \"{scheme}://{}\"\n[broker_client]\nuser = \"collector\"\npassword = {{ file = {file:?} }}\n",
            broker.address
        );
        run_in_pipe(collector(&["check", "--connect", "--config"]).arg(config(&folder, &own, "")), b"")
    };
    let said = connect("mqtt", "right").well();
    let hops = ["is 127.0.0.1", "accepts connections", "admits this collector", "accepts the subscription", "is valid"];
    assert!(hops.iter().zip(said.lines()).all(|(hop, line)| line.contains(hop)), "{said}");
    let said = connect("mqtt", "wrong");
    assert!(!said.status.success() && said.out.contains("accepts connections"), "{}{}", said.out, said.err);
    let said = connect("mqtts", "right");
    assert!(said.err.contains("does not speak TLS") || said.err.contains("TLS handshake"), "in words: {}", said.err);
    running.kill();
    let said = connect("mqtt", "right");
    assert!(said.err.contains("TCP: no connection to") && said.out.contains("refused"), "{}{}", said.out, said.err);
}
