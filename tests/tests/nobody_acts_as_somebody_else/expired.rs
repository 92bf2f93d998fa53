//! A connection is worth as long as the certificate that it was opened with.

use std::time::Duration;

use afferent_tests::process::{Process, Rig, up, wait_for};
use rumqttc::v5::Event;
use rumqttc::v5::mqttbytes::v5::{Packet, PubAckReason};

use super::{Client, press_88_goes_on, rig_with_certificates, ship_with, transport, within_a_runtime};

/// Long enough to start an agent and to connect.
const BRIEF: Duration = Duration::from_secs(20);

/// Waits until the connection of this client ends, and makes no new one.
async fn wait_ended(client: &mut Client) {
    loop {
        match client.events.poll().await {
            Ok(Event::Incoming(Packet::Disconnect(_))) | Err(_) => return,
            Ok(_) => {}
        }
    }
}

fn connections_of(agent: &Process) -> usize {
    agent.printed().matches("INFO connected to").count()
}

/// Whether a message is judged: so the connection stands.
async fn is_heard(client: &mut Client, name: &str) -> bool {
    let answer = client.publish(up(name), b"no message".to_vec()).await;
    matches!(answer, Ok(PubAckReason::PayloadFormatInvalid))
}

#[test]
fn a_standing_connection_ends_when_its_clients_certificate_expires_and_nobody_comes_back_with_it() {
    let (mut rig, authority) = rig_with_certificates("expiring");
    let _collector = rig.start_collector();
    let lasting = authority.issue("press-89");
    let brief = authority.issue_briefly("press-88", BRIEF);
    rig.agent_ship = ship_with(&authority, &brief);
    let agent = rig.start_agent();
    press_88_goes_on(&rig, "before");
    assert_eq!(connections_of(&agent), 1);
    within_a_runtime(async {
        let sessions = transport(&authority, Some(&brief));
        let mut expiring = Client::over(&rig, sessions.clone());
        let mut staying = Client::with_certificate(&rig, &authority, Some(&lasting));
        assert!(is_heard(&mut expiring, "press-88").await && is_heard(&mut staying, "press-89").await);
        wait_ended(&mut expiring).await;
        // With what it knows of its session as well as without, it does not come in again.
        for transport in [sessions, transport(&authority, Some(&brief))] {
            let back = Client::over(&rig, transport).publish(up("press-88"), b"no message".to_vec()).await;
            assert!(back.is_err(), "it came in with a certificate that has expired: {back:?}");
        }
        // The control: who came at the same time with one that lasts is still there, over the same connection.
        assert!(is_heard(&mut staying, "press-89").await);
    });
    the_agent_comes_back_with_a_new_one(&rig, &agent, || drop(authority.issue("press-88")));
}

/// The agent keeps what comes meanwhile, says what is wrong, and takes a certificate that is renewed at the same path.
fn the_agent_comes_back_with_a_new_one(rig: &Rig, agent: &Process, renew: impl FnOnce()) {
    let says_why = |(healthy, words): &(bool, String)| !healthy && words.contains("certificate");
    let (_, words) = wait_for("the agent says why it is not connected", || rig.agent_health().filter(says_why));
    assert!(words.contains("expired"), "{words}");
    rig.break_down("meanwhile");
    assert_eq!(connections_of(agent), 1);
    renew();
    rig.wait_logged("meanwhile");
    assert_eq!(connections_of(agent), 2);
    rig.wait_healthy();
}
