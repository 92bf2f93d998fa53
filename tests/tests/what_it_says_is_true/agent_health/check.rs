//! `check` finds what would keep a configuration from working; `check --connect` tries the way, hop by hop.

use std::net::TcpListener;
use std::path::Path;
use std::process::Command;

use afferent_tests::process::{Authority, Rig, SmallDisk, binary, free_address, run_to_end};
use rcgen::{CertificateParams, DnType, KeyPair};

/// What `check` says of the agent's configuration, and whether it is content.
fn check(rig: &Rig, arguments: &[&str]) -> (bool, String) {
    let config = rig.write_agent_config();
    let mut command = Command::new(binary("afferent-agent"));
    let (status, said) = run_to_end(command.arg("check").args(arguments).arg("--config").arg(config));
    (status.success(), said)
}

fn finds(rig: &Rig, parts: &[&str]) {
    let (is_content, said) = check(rig, &[]);
    assert!(!is_content, "nothing was found: {said}");
    for part in parts {
        assert!(said.contains(part), "{part:?} is not in: {said}");
    }
}

/// A certificate of its own authority, which is not good any more.
fn expired(rig: &Rig) -> (std::path::PathBuf, std::path::PathBuf) {
    let key = KeyPair::generate().expect("a key can be made");
    let mut params = CertificateParams::new(Vec::new()).expect("no names are valid names");
    params.distinguished_name.push(DnType::CommonName, "press-88");
    (params.not_before, params.not_after) = (rcgen::date_time_ymd(2019, 1, 1), rcgen::date_time_ymd(2020, 1, 1));
    let (cert, secret) = (rig.folder.join("expired.pem"), rig.folder.join("expired.key"));
    std::fs::write(&cert, params.self_signed(&key).expect("it can sign itself").pem()).expect("it can be written");
    std::fs::write(&secret, key.serialize_pem()).expect("it can be written");
    (cert, secret)
}

#[test]
fn check_finds_certificates_that_are_missing_expired_or_of_somebody_else() {
    let mut rig = Rig::new("check-tls");
    let authority = Authority::new(&rig.folder, "plant");
    let (own, other) = (authority.issue("press-88"), authority.issue("press-89"));
    rig.scheme = "mqtts";
    let with =
        |cert: &Path, key: &Path| format!("ca_file = {:?}\ncert_file = {cert:?}\nkey_file = {key:?}", authority.ca);
    // The control: with what is right nothing is found.
    rig.agent_ship = with(&own.cert, &own.key);
    let (is_content, said) = check(&rig, &[]);
    assert!(is_content && said.contains("is valid"), "{said}");
    rig.agent_ship = with(&own.cert, &other.key);
    finds(&rig, &["press-88.pem", "press-89.key", "do not belong together"]);
    rig.agent_ship = with(&other.cert, &other.key);
    finds(&rig, &["its common name is \"press-89\"", "\"press-88\""]);
    let (cert, key) = expired(&rig);
    rig.agent_ship = with(&cert, &key);
    finds(&rig, &["`ship.cert_file`", "expired.pem", "the certificate has expired"]);
    rig.agent_ship = format!("ca_file = {:?}", rig.folder.join("nowhere.pem"));
    finds(&rig, &["nowhere.pem", "No such file"]);
    rig.agent_ship = format!("ca_file = {cert:?}");
    finds(&rig, &["`ship.ca_file`", "the certificate has expired"]);
    rig.agent_ship = "username = \"press-88\"\npassword = { file = \"/nowhere/secret\" }".into();
    finds(&rig, &["/nowhere/secret"]);
}

#[test]
fn check_finds_what_is_missing_or_taken_on_the_machine_and_all_of_it_at_once() {
    let mut rig = Rig::new("check-machine");
    let taken = TcpListener::bind("127.0.0.1:0").expect("loopback has a port");
    let address = taken.local_addr().expect("it listens");
    rig.agent_http = address;
    rig.agent_extra = format!(
        "[intake.socket]\ntcp = \"{address}\"\n[[intake.exec]]\nname = \"plc\"\ncommand = [\"/nowhere/read-plc\"]\n\
         [[intake.exec]]\nname = \"cnc\"\ncommand = [\"no-such-program-at-all\"]\n\
         [[intake.file]]\npath = \"/nowhere/recorded.csv\"\nsubject = \"a\"\n\
         [[intake.serial]]\nport = \"/dev/no-such-port\"\ndevice = \"spindle-1\"\n[ring]\npool_bytes = \"900TB\"\n\
         segment_bytes = \"256MiB\"\n"
    );
    let address = address.to_string();
    let parts = [
        "7 problems",
        "`intake.socket.tcp`",
        "`http.address`",
        address.as_str(),
        "/nowhere/read-plc",
        "no-such-program-at-all",
        "/nowhere/recorded.csv",
        "/dev/no-such-port",
        "`ring.pool_bytes` is 900000000000000, but the disk of",
    ];
    finds(&rig, &parts);
    // A directory that is none, and one that cannot be written.
    let mut rig = Rig::new("check-directory");
    rig.data = rig.folder.join("a-file");
    std::fs::write(&rig.data, "").expect("the folder can be written");
    finds(&rig, &["`agent.data_dir`", "is not a directory"]);
    let disk = SmallDisk::new(&rig.folder, 1 << 20);
    disk.make_read_only();
    rig.data = disk.path().to_path_buf();
    rig.agent_extra = "[ring]\npool_bytes = \"512KiB\"\n".into();
    finds(&rig, &["`agent.data_dir`", "cannot be written: Read-only file system"]);
}

#[test]
fn check_does_not_take_the_ports_of_the_agent_that_runs_for_taken() {
    let mut rig = Rig::new("check-running");
    rig.agent_extra = format!("[intake.socket]\ntcp = \"{}\"\n", free_address());
    let _agent = rig.start_agent();
    let (is_content, said) = check(&rig, &[]);
    assert!(is_content && said.contains("an agent runs in") && said.contains("were not checked"), "{said}");
}

#[test]
fn check_connect_says_what_each_hop_has_answered() {
    let mut rig = Rig::new("check-connect");
    let authority = Authority::new(&rig.folder, "plant");
    let server = authority.issue("collector");
    let (right, wrong) = (rig.folder.join("right"), rig.folder.join("wrong"));
    std::fs::write(&right, "right").expect("the folder can be written");
    std::fs::write(&wrong, "wrong").expect("the folder can be written");
    rig.collector_mqtt = format!(
        "tls = {{ cert = {:?}, key = {:?} }}\n[[mqtt.user]]\nname = \"press-88\"\npassword = {{ file = {right:?} }}\n",
        server.cert, server.key
    );
    let way = |ca: &Path, password: &Path| {
        format!("ca_file = {ca:?}\nusername = \"press-88\"\npassword = {{ file = {password:?} }}")
    };
    rig.scheme = "mqtts";
    rig.agent_ship = way(&authority.ca, &right);
    let (is_content, said) = check(&rig, &["--connect"]);
    assert!(!is_content && said.contains("TCP: ") && said.contains("no program listens there"), "{said}");
    let _collector = rig.start_collector();
    let (is_content, said) = check(&rig, &["--connect"]);
    assert!(is_content, "{said}");
    for hop in
        ["name: 127.0.0.1 is 127.0.0.1", "TCP: 127.0.0.1:", "TLS: TLSv1_3", "MQTT: CONNACK, this agent is admitted"]
    {
        assert!(said.contains(hop), "{hop:?} is not in {said}");
    }
    rig.agent_ship = way(&authority.ca, &wrong);
    let (is_content, said) = check(&rig, &["--connect"]);
    assert!(!is_content && said.contains("CONNACK 0x86, it rejects user name or password"), "{said}");
    rig.agent_ship = way(&Authority::new(&rig.folder, "stranger").ca, &right);
    let (is_content, said) = check(&rig, &["--connect"]);
    assert!(!is_content && said.contains("TLS: ") && said.contains("name it in `ship.ca_file`"), "{said}");
    rig.scheme = "mqtt";
    rig.agent_ship = format!("username = \"press-88\"\npassword = {{ file = {right:?} }}");
    let (is_content, said) = check(&rig, &["--connect"]);
    assert!(!is_content && said.contains("mqtts:// in `ship.url`"), "{said}");
}
