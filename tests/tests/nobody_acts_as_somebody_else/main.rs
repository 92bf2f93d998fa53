//! Promise 7: an agent can publish only as itself, and what it sent can be proved later.

mod broker;
mod expired;
mod former;
mod retained;
mod rules;
mod states;
mod successor;
mod takeover;

use std::path::{Path, PathBuf};
use std::process::Command;

use afferent_agent::ship::TlsFiles;
use afferent_collector::limits::SESSIONS_UNPROVED_MAX;
use afferent_protocol::batch::CHAIN_START;
use afferent_tests::process::{
    Authority, Certificate, Mqtt, Reason, Rig, Sealer, binary, down, get_text, run_to_end, up, wait_for,
    with_right_checksum,
};
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{ConnectReturnCode, Packet, PubAckReason, SubscribeReasonCode};
use rumqttc::v5::{AsyncClient, ConnectionError, Event, EventLoop, MqttOptions};
use rumqttc::{TlsConfiguration, Transport};

/// A standard MQTT client.
struct Client {
    client: AsyncClient,
    events: EventLoop,
}

impl Client {
    fn new(rig: &Rig, set: impl FnOnce(&mut MqttOptions)) -> Self {
        let mut options = MqttOptions::new("any", "127.0.0.1", rig.endpoint.port());
        options.set_keep_alive(std::time::Duration::from_secs(60));
        set(&mut options);
        let (client, events) = AsyncClient::new(options, 10);
        Self { client, events }
    }

    fn with_certificate(rig: &Rig, authority: &Authority, own: Option<&Certificate>) -> Self {
        Self::over(rig, transport(authority, own))
    }

    fn over(rig: &Rig, transport: Transport) -> Self {
        Self::new(rig, |options| {
            options.set_transport(transport);
        })
    }

    fn with_login(rig: &Rig, user: &str, password: &str) -> Self {
        Self::new(rig, |options| {
            options.set_credentials(user, password);
        })
    }

    /// What the PUBACK says.
    async fn publish(&mut self, topic: String, payload: Vec<u8>) -> Result<PubAckReason, ConnectionError> {
        self.client.publish(topic, QoS::AtLeastOnce, false, payload).await.expect("there is room for one");
        loop {
            if let Event::Incoming(Packet::PubAck(ack)) = self.events.poll().await? {
                return Ok(ack.reason);
            }
        }
    }

    /// What the SUBACK says.
    async fn subscribe(&mut self, topic: String) -> Result<SubscribeReasonCode, ConnectionError> {
        self.client.subscribe(topic, QoS::AtLeastOnce).await.expect("there is room for one");
        loop {
            if let Event::Incoming(Packet::SubAck(ack)) = self.events.poll().await? {
                return Ok(ack.return_codes[0]);
            }
        }
    }
}

/// TLS with this certificate. Whatever sessions of it could be resumed are known to all that are made of one.
fn transport(authority: &Authority, own: Option<&Certificate>) -> Transport {
    let own = own.map(|own| (own.cert.clone(), own.key.clone()));
    let tls = TlsFiles { ca: Some(authority.ca.clone()), own }.load().expect("the files are right");
    Transport::tls_with_config(TlsConfiguration::Rustls(tls))
}

fn within_a_runtime<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    runtime.expect("a runtime can be made").block_on(work)
}

/// What `client`, who is press-89, may do beside the agent press-88, and what not.
async fn only_press_89_is_its_own(client: &mut Client) {
    let hello = Sealer::new("press-89", 89).hello();
    let refused = client.publish(up("press-88"), hello.clone()).await.expect("the connection stays");
    assert_eq!(refused, PubAckReason::NotAuthorized, "it spoke as somebody else");
    let refused = client.subscribe(down("press-88")).await.expect("the connection stays");
    assert_eq!(refused, SubscribeReasonCode::NotAuthorized, "it listened as somebody else");
    // The controls: the same message on the own topic, and the own answers.
    assert_eq!(client.publish(up("press-89"), hello).await.expect("it stays"), PubAckReason::Success);
    let granted = client.subscribe(down("press-89")).await.expect("the connection stays");
    assert!(matches!(granted, SubscribeReasonCode::Success(_)), "{granted:?}");
}

/// Whether press-88 goes on, and nobody else has written anything in its name.
fn press_88_goes_on(rig: &Rig, code: &str) {
    rig.break_down(code);
    let event = rig.wait_logged(code);
    assert_eq!(event["source"].as_str().map(|source| source.ends_with("press-88")), Some(true), "{event}");
    assert_eq!(rig.collector_figure("afferent_taken_over_total"), Some(0), "its connection was taken away");
}

/// What `agents` says of this one; null where it is not known.
fn row_of(rig: &Rig, name: &str) -> serde_json::Value {
    let text = get_text(rig.http, "/v1/agents").expect("the API answers");
    let report: serde_json::Value = serde_json::from_str(&text).expect("it is JSON");
    let mut agents = report["agents"].as_array().expect("a list").iter();
    agents.find(|agent| agent["name"] == name).cloned().unwrap_or_default()
}

/// A rig in which clients have certificates, and the authority that issues them.
fn rig_with_certificates(name: &str) -> (Rig, Authority) {
    let mut rig = Rig::new(name);
    let authority = Authority::new(&rig.folder, "plant");
    let server = authority.issue("collector");
    rig.scheme = "mqtts";
    rig.collector_mqtt =
        format!("tls = {{ cert = {:?}, key = {:?}, client_ca = {:?} }}", server.cert, server.key, authority.ca);
    (rig, authority)
}

/// What an agent with this certificate needs to connect.
fn ship_with(authority: &Authority, own: &Certificate) -> String {
    format!("ca_file = {:?}\ncert_file = {:?}\nkey_file = {:?}", authority.ca, own.cert, own.key)
}

#[test]
fn a_certificate_is_good_for_the_topics_of_its_name_alone() {
    let (mut rig, authority) = rig_with_certificates("mtls");
    rig.agent_ship = ship_with(&authority, &authority.issue("press-88"));
    let _collector = rig.start_collector();
    let _agent = rig.start_agent();
    press_88_goes_on(&rig, "before");
    within_a_runtime(async {
        let other = authority.issue("press-89");
        only_press_89_is_its_own(&mut Client::with_certificate(&rig, &authority, Some(&other))).await;
        // Whoever has no certificate, or one that another authority has made for the right name, is not let in at all.
        let stranger = Authority::new(&rig.folder, "stranger");
        for own in [None, Some(stranger.issue("press-88"))] {
            let mut client = Client::with_certificate(&rig, &authority, own.as_ref());
            let refused = client.publish(up("press-88"), Sealer::new("press-88", 89).hello()).await;
            assert!(refused.is_err(), "let in with {own:?}");
        }
    });
    press_88_goes_on(&rig, "after");
}

#[test]
fn a_login_is_good_for_the_topics_of_its_name_alone() {
    let mut rig = Rig::new("login");
    let mut users = String::new();
    for name in ["press-88", "press-89"] {
        let file = rig.folder.join(name);
        std::fs::write(&file, format!("secret of {name}")).expect("the folder can be written");
        users += &format!("[[mqtt.user]]\nname = {name:?}\npassword = {{ file = {file:?} }}\n");
    }
    rig.collector_mqtt = users;
    rig.agent_ship = format!("username = \"press-88\"\npassword = {{ file = {:?} }}", rig.folder.join("press-88"));
    let _collector = rig.start_collector();
    let _agent = rig.start_agent();
    press_88_goes_on(&rig, "before");
    within_a_runtime(async {
        only_press_89_is_its_own(&mut Client::with_login(&rig, "press-89", "secret of press-89")).await;
        for (user, password) in
            [("press-88", "secret of press-89"), ("press-90", "secret of press-89"), ("press-88", "")]
        {
            let refused = Client::with_login(&rig, user, password).publish(up(user), vec![1]).await;
            let refused = refused.expect_err("let in with a wrong password");
            let code = ConnectReturnCode::BadUserNamePassword;
            assert!(matches!(&refused, ConnectionError::ConnectionRefused(why) if *why == code), "{refused:?}");
        }
    });
    assert_eq!(rig.collector_figure("afferent_logins_refused_total"), Some(3));
    press_88_goes_on(&rig, "after");
}

#[test]
fn an_agent_with_a_stolen_name_and_another_key_is_refused_and_the_one_whose_name_it_is_goes_on() {
    let rig = Rig::new("robbed");
    let mut thief_rig = Rig::new("thief");
    thief_rig.mqtt = rig.endpoint;
    thief_rig.agent_ship = "timeout_ms = 100".into();
    let _collector = rig.start_collector();
    let _agent = rig.start_agent();
    press_88_goes_on(&rig, "before");
    let thief = thief_rig.start_agent();
    thief_rig.break_down("stolen");
    let (_, words) = wait_for("the thief says why nothing is taken", || {
        thief_rig.agent_health().filter(|(healthy, words)| !healthy && words.contains("a different key"))
    });
    assert!(words.contains("identity.key"), "it says what to do: {words}");
    rig.wait_event("a hello came with another key", |event| {
        event["data"]["change"] == "refused"
            && event["data"]["source"] == "press-88"
            && event["data"]["reason"].as_str().is_some_and(|why| why.contains("uses the key"))
    });
    // It comes back again and again, and each time the first goes on as if nothing were.
    let connections = || rig.collector_figure("afferent_connections_taken_total").unwrap_or(0);
    let before = connections();
    wait_for("the thief has come again", || (connections() >= before + 2).then_some(()));
    press_88_goes_on(&rig, "after");
    assert!(rig.refused("press-88", "other-key") >= 2, "every hello is counted");
    let is_stolen = |event: &serde_json::Value| event["data"]["code"] == "stolen";
    assert!(!rig.events().iter().any(is_stolen), "the thief's event is in the log");
    // The control: under a name of its own the same agent is heard, with what it had.
    drop(thief);
    thief_rig.agent_name = "press-89".into();
    let _honest = thief_rig.start_agent();
    thief_rig.break_down("honest");
    rig.wait_logged("honest");
    assert!(!rig.events().iter().any(is_stolen), "what was written under a name is never sent under another");
}

#[test]
fn whoever_only_claims_a_name_keeps_nobody_out_and_hears_nothing_of_it() {
    let rig = Rig::new("squat");
    let _collector = rig.start_collector();
    // They are there first: they have the name, and never the key.
    let mut squatters: Vec<Mqtt> = (0..2 * SESSIONS_UNPROVED_MAX)
        .map(|_| {
            let mut squatter = Mqtt::connect(rig.endpoint).expect("the endpoint takes connections");
            squatter.subscribe(&down("press-88")).expect("a name that nobody has proved is free to listen to");
            let reason = squatter.publish(up("press-88"), b"nothing that is a message").expect("it is answered");
            assert_eq!(reason, Reason::PAYLOAD_FORMAT_INVALID);
            squatter
        })
        .collect();
    let mut first = squatters.remove(0);
    assert!(first.is_closed(), "any number of them may wait");
    let _agent = rig.start_agent();
    rig.break_down("back");
    rig.wait_logged("back");
    press_88_goes_on(&rig, "after");
    let mut last = squatters.pop().expect("there are some");
    last.publish(up("press-88"), b"again nothing").expect("who claims a name is heard, and not believed");
    assert!(last.has_no_message(), "it was given what is said to the agent");
}

/// Offers a batch as press-89; gives what the PUBACK says.
fn offer(mqtt: &mut Mqtt, batch: &[u8]) -> Reason {
    mqtt.publish(up("press-89"), batch).expect("it is answered")
}

#[test]
fn a_batch_that_was_altered_or_forged_or_is_out_of_its_chain_is_refused_and_counted() {
    let rig = Rig::new("forged");
    let _collector = rig.start_collector();
    let mut mqtt = Mqtt::connect(rig.endpoint).expect("the endpoint takes connections");
    let mut press = Sealer::new("press-89", 89);
    // A hello alone is a claim: nothing that is signed with its key is taken for it.
    assert_eq!(offer(&mut mqtt, &press.hello()), Reason::SUCCESS);
    assert_eq!(offer(&mut mqtt, &press.clone().seal("E0")), Reason::PAYLOAD_FORMAT_INVALID);
    let all_refused = || rig.collector_figure("afferent_messages_refused_total");
    wait_for("it is counted", || (all_refused() == Some(1)).then_some(()));
    press.prove(&mut mqtt);
    // The control: as it is made, it is taken.
    assert_eq!(offer(&mut mqtt, &press.seal("E0")), Reason::SUCCESS);
    let refused = |mqtt: &mut Mqtt, batch: &[u8], reason: &str| {
        let before = rig.refused("press-89", reason);
        assert_eq!(offer(mqtt, batch), Reason::PAYLOAD_FORMAT_INVALID, "taken: {reason}");
        wait_for(&format!("it is counted as {reason}"), || {
            (rig.refused("press-89", reason) == before + 1).then_some(())
        });
    };

    let genuine = press.clone().seal("E1");
    for at in [4, 40, 90, 160, genuine.len() - 1] {
        let mut altered = genuine.clone();
        altered[at] ^= 1;
        refused(&mut mqtt, &altered, "malformed");
        if at > 8 {
            refused(&mut mqtt, &with_right_checksum(altered), "signature");
        }
    }
    let mut forger = Sealer { identity: Sealer::new("press-89", 90).identity, ..press.clone() };
    refused(&mut mqtt, &forger.seal("E1"), "signature");
    let mut torn = press.clone();
    torn.lineage.previous = CHAIN_START;
    refused(&mut mqtt, &torn.seal("E1"), "conflict");
    let mut named = Sealer::new("press-90", 89);
    named.lineage = afferent_protocol::batch::Lineage { source: named.lineage.source, ..press.lineage };
    refused(&mut mqtt, &named.seal("E1"), "other-source");
    // The control: what all of these were made from is taken, and nothing of them is in the log.
    assert_eq!(offer(&mut mqtt, &press.seal("E1")), Reason::SUCCESS);
    let events = rig.events();
    let codes: Vec<_> = events.iter().filter_map(|event| event["data"]["code"].as_str()).collect();
    assert_eq!(codes, ["E0", "E1"]);
    let told: Vec<_> = events.iter().filter(|event| event["data"]["change"] == "refused").collect();
    for what in ["checksum", "not signed with the key", "contradicts", "may publish only under its own name"] {
        let says = |event: &&&serde_json::Value| event["data"]["reason"].as_str().is_some_and(|why| why.contains(what));
        assert_eq!(told.iter().filter(says).count(), 1, "the log says once that {what}: {told:?}");
    }
}

fn verify(data: &Path) -> (bool, String) {
    let mut command = Command::new(binary("afferent-collector"));
    let (status, printed) = run_to_end(command.args(["log", "verify", "--data"]).arg(data));
    (status.success(), printed)
}

/// The only segment of a log, and where the breakdown with this code stands in it.
fn place_of(data: &Path, code: &str) -> (PathBuf, usize) {
    let files = std::fs::read_dir(data.join("log").join("0")).expect("the log is there");
    let paths: Vec<PathBuf> = files.map(|file| file.expect("it can be listed").path()).collect();
    let [path] = &paths[..] else { panic!("one segment holds all: {paths:?}") };
    let bytes = std::fs::read(path).expect("the segment can be read");
    let at = bytes.windows(code.len()).position(|window| window == code.as_bytes());
    (path.clone(), at.expect("the code stands in the segment"))
}

/// The byte ranges of the file that the report calls damaged.
fn damaged_ranges(printed: &str, file: &str) -> Vec<(usize, usize)> {
    let lines = printed.lines().filter_map(|line| line.strip_prefix(&format!("damage: {file} from byte ")));
    let range = |line: &str| {
        let (from, rest) = line.split_once(" to ")?;
        Some((from.parse().ok()?, rest.split(':').next()?.parse().ok()?))
    };
    lines.map(|line| range(line).expect("it names two bytes")).collect()
}

#[test]
fn what_was_sent_can_be_proved_and_one_altered_byte_is_found_where_it_stands() {
    let mut rig = Rig::new("proof");
    rig.collector_extra = "[storage]\nsegment_mib = 1".into();
    let collector = rig.start_collector();
    let agent = rig.start_agent();
    for number in 0..5 {
        rig.break_down(&format!("CODE-{number}"));
        rig.wait_logged(&format!("CODE-{number}"));
    }
    assert!(agent.terminate().success());
    assert!(collector.terminate().success());
    let data = rig.collector_data();
    let (sound, printed) = verify(&data);
    assert!(sound && printed.contains("batches are as they were signed, chained and numbered"), "{printed}");

    for code in ["CODE-0", "CODE-2", "CODE-4"] {
        let (path, at) = place_of(&data, code);
        let genuine = std::fs::read(&path).expect("the segment can be read");
        let mut altered = genuine.clone();
        altered[at] ^= 1;
        std::fs::write(&path, &altered).expect("the segment can be written");
        let (sound, printed) = verify(&data);
        assert!(!sound && printed.contains("NOT as it was written"), "byte {at} was altered: {printed}");
        let file = path.file_name().and_then(|name| name.to_str()).expect("a plain name");
        let ranges = damaged_ranges(&printed, file);
        assert!(ranges.iter().any(|(from, to)| (*from..*to).contains(&at)), "byte {at} is not named: {printed}");
        std::fs::write(&path, &genuine).expect("the segment can be written");
    }
    let (sound, printed) = verify(&data);
    assert!(sound, "the control: as it was, it is proved again: {printed}");
}
