//! With the endpoint of its own.

use std::path::Path;

use afferent_collector::config::{Config, Overrides};
use afferent_collector::run::Collector;
use afferent_protocol::ids::Sequence;
use afferent_protocol::session::Control;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::agent::{Agent, LANE, name, within};

fn config(data: &Path) -> Config {
    let free = Some("127.0.0.1:0".parse().unwrap());
    let overrides = Overrides { data: Some(data.to_owned()), mqtt: free, http: free };
    Config::load(None, &overrides).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_agent_sends_is_acked_once_durable_and_known_after_the_next_start() {
    let directory = tempfile::tempdir().unwrap();
    let config = config(directory.path());
    let collector = Collector::start(&config).await.unwrap();
    let refused = Collector::start(&config).await.err().expect("the directory is in use").to_string();
    assert!(refused.contains(&std::process::id().to_string()), "{refused}");

    let mut agent = Agent::connect(collector.mqtt.unwrap().port()).await;
    assert_eq!(agent.welcomed(5).await, Sequence::ZERO);
    let before = *collector.durable().borrow();
    agent.publish(agent.batch()).await;
    let Control::Ack(ack) = agent.control().await.unwrap() else { panic!("an ack answers a batch") };
    assert_eq!((ack[0].lane, ack[0].end), (LANE, Sequence::new(1)));
    within(collector.durable().wait_for(|end| *end > before)).await.unwrap();

    let mut http = tokio::net::TcpStream::connect(collector.http).await.unwrap();
    http.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    within(http.read_to_string(&mut answer)).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let key = agent.identity.public_key();
    drop(agent);
    within(collector.stop()).await.unwrap();

    let collector = Collector::start(&config).await.unwrap();
    let sources = collector.state.partitions.first().sources.borrow().clone();
    let press = sources.iter().find(|view| view.source == name()).expect("it is known from the log");
    assert_eq!(press.key, Some(key));
    let lane = press.lanes.iter().find(|lane| lane.epoch == LANE.epoch).unwrap();
    assert_eq!(lane.durable_end, Sequence::new(1));
    within(collector.stop()).await.unwrap();
}
