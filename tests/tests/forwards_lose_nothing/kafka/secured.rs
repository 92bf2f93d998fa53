//! TLS on both sides and a login by SCRAM, as clusters beyond a test have them; records compressed with Zstandard.

use afferent_tests::process::{Authority, Certificate, Folder, Isolation, Kafka, wait_for};

use super::super::plant::{Promise, check, order, wait_delivered, wait_error};
use super::{CREATE, arrived, codes, configured, rig};

const USER: &str = "afferent";
const PASSWORD: &str = "right-password";

/// The lines of a destination with this CA, this certificate and the password in a file.
fn login(folder: &Folder, ca: &Authority, own: Option<&Certificate>, mechanism: &str) -> String {
    let own = own.map_or_else(String::new, |Certificate { cert, key }| format!(", cert = {cert:?}, key = {key:?}"));
    let (ca, password) = (&ca.ca, folder.join("password"));
    format!(
        "timeout_s = 5\n{CREATE}compression = \"zstd\"\ntls = {{ ca = {ca:?}{own} }}\n\
         sasl = {{ mechanism = \"{mechanism}\", user = \"{USER}\", password = {{ file = {password:?} }} }}"
    )
}

#[test]
fn events_arrive_over_tls_with_a_login_and_what_is_wrong_with_either_is_told_and_costs_no_event() {
    let folder = Folder::new("kafka-secured");
    let plant = Authority::new(&folder, "plant");
    let foreign = Authority::new(&folder, "foreign");
    let kafka = Kafka::secured(&folder, &plant, USER, PASSWORD);
    let _broker = kafka.start();
    let (own, others) = (plant.issue("collector"), foreign.issue("collector"));
    std::fs::write(folder.join("password"), "wrong-password\n").expect("the folder can be written");

    let mut rig = rig("kafka-secured-rig", &kafka, "", &login(&folder, &foreign, Some(&own), "SCRAM-SHA-512"));
    let _agent = rig.start_agent();
    let mut printed = String::new();
    let mut expect = |rig: &afferent_tests::process::Rig, error: &str| {
        let collector = rig.start_collector();
        wait_error(rig, "kafka", error);
        printed += &collector.printed();
        collector.kill();
    };
    expect(&rig, "check `tls`");
    for (ca, own, mechanism, error) in [
        // The broker wants a certificate of the plant.
        (&plant, None, "SCRAM-SHA-512", "check `tls`"),
        (&plant, Some(&others), "SCRAM-SHA-512", "check `tls`"),
        (&plant, Some(&own), "SCRAM-SHA-512", "check `sasl`: mechanism, user and password"),
        (&plant, Some(&own), "SCRAM-SHA-256", "check `sasl`: mechanism, user and password"),
    ] {
        rig.collector_extra = configured(&kafka, "", &login(&folder, ca, own, mechanism));
        expect(&rig, error);
    }
    assert!(!printed.contains("wrong-password"), "{printed}");

    std::fs::write(folder.join("password"), PASSWORD).expect("the folder can be written");
    rig.collector_extra = configured(&kafka, "", &login(&folder, &plant, Some(&own), "SCRAM-SHA-512"));
    let collector = rig.start_collector();
    rig.break_down("E1");
    rig.wait_logged("E1");
    wait_delivered(&rig, "kafka");
    wait_for("the breakdown is there", || codes(&kafka).contains(&"E1".to_owned()).then_some(()));
    check(&rig.events(), &arrived(&kafka, Isolation::Committed), Promise::Once);

    // It goes on after an order, over a new connection.
    order(&rig, "kafka", "pause", None);
    rig.break_down("E2");
    rig.wait_logged("E2");
    order(&rig, "kafka", "resume", None);
    wait_delivered(&rig, "kafka");
    check(&rig.events(), &arrived(&kafka, Isolation::Committed), Promise::Once);
    assert!(!collector.printed().contains(PASSWORD), "{}", collector.printed());
}
