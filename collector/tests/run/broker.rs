//! With Mosquitto between agents and collector.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use afferent_collector::config::{Config, Overrides};
use afferent_collector::run::Collector;
use afferent_collector::sources::LinkState;
use afferent_protocol::ids::Sequence;
use afferent_protocol::session::Control;

use crate::agent::{Agent, LANE, name, within};

struct Mosquitto(Child);

impl Mosquitto {
    fn start(directory: &Path, port: u16) -> Self {
        let file = directory.join("mosquitto.conf");
        std::fs::write(&file, format!("listener {port} 127.0.0.1\nallow_anonymous true\n")).unwrap();
        let started = ["mosquitto", "/usr/sbin/mosquitto"].iter().find_map(|program| {
            Command::new(program).arg("-c").arg(&file).stdout(Stdio::null()).stderr(Stdio::null()).spawn().ok()
        });
        Self(started.expect("this test needs mosquitto (apt-get install mosquitto)"))
    }
}

impl Drop for Mosquitto {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_is_killed_and_forgets_everything_costs_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let file = directory.path().join("collector.toml");
    std::fs::write(&file, format!("broker = \"mqtt://127.0.0.1:{port}\"\n")).unwrap();
    let http = Some("127.0.0.1:0".parse().unwrap());
    let overrides = Overrides { data: Some(directory.path().join("data")), mqtt: None, http };
    let collector = Collector::start(&Config::load(Some(&file), &overrides).unwrap()).await.unwrap();
    assert_eq!(collector.mqtt, None);
    assert!(collector.state.health.verdict().is_err(), "there is no broker yet");

    let broker = Mosquitto::start(directory.path(), port);
    let mut agent = Agent::connect(port).await;
    assert_eq!(within(agent.welcomed(1)).await, Sequence::ZERO);
    assert_eq!(collector.state.health.verdict(), Ok(()));
    agent.publish(agent.batch()).await;
    loop {
        // Earlier hellos may have been answered as well.
        if let Control::Ack(ack) = agent.control().await.unwrap() {
            assert_eq!((ack[0].lane, ack[0].end), (LANE, Sequence::new(1)));
            break;
        }
    }
    let mut sources = collector.state.partitions.first().sources.clone();
    let online = |link: LinkState| {
        move |views: &std::sync::Arc<Vec<afferent_collector::sources::SourceView>>| {
            views.iter().any(|view| view.source == name() && view.link == link)
        }
    };
    within(sources.wait_for(online(LinkState::Online))).await.unwrap();

    drop(broker);
    assert!(agent.control().await.is_err());
    let broker = Mosquitto::start(directory.path(), port);
    let mut agent = Agent::connect(port).await;
    assert_eq!(within(agent.welcomed(2)).await, Sequence::new(1), "what was acked is known");
    drop(agent);
    within(sources.wait_for(online(LinkState::Offline))).await.unwrap();
    within(collector.stop()).await.unwrap();
    drop(broker);
}
