use std::time::Duration;

use afferent_host::stop::StopSender;
use afferent_protocol::ids::Stream;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::task::JoinHandle;

use super::*;
use crate::clock::SystemClock;
use crate::intake::sink::Refusal;
use crate::intake::sink::fake::FakeSink;

struct Running {
    directory: tempfile::TempDir,
    stop: StopSender,
    server: JoinHandle<()>,
    registry: Registry,
}

fn settings(directory: &tempfile::TempDir) -> SocketSettings {
    SocketSettings {
        path: Some(directory.path().join("agent.sock")),
        mode: 0o600,
        tcp: None,
        tcp_beyond_loopback: false,
        connections_max: 2,
    }
}

async fn start(sink: &FakeSink) -> Running {
    let directory = tempfile::tempdir().unwrap();
    let listeners = Listeners::bind(&settings(&directory)).await.unwrap();
    let (sender, stop) = afferent_host::stop::channel();
    let registry = Registry::default();
    let metrics = SocketMetrics::new(&registry);
    let server = tokio::spawn(serve(listeners, sink.clone(), Arc::new(SystemClock::new()), metrics, stop));
    Running { directory, stop: sender, server, registry }
}

impl Running {
    async fn connect(&self) -> BufReader<UnixStream> {
        BufReader::new(UnixStream::connect(self.directory.path().join("agent.sock")).await.unwrap())
    }
}

async fn answer(client: &mut BufReader<UnixStream>) -> String {
    let mut line = String::new();
    client.read_line(&mut line).await.unwrap();
    line
}

const SAMPLE: &[u8] = b"{\"subject\":\"88-C\",\"value\":1}\n";
const BREAKDOWN: &[u8] = b"{\"subject\":\"88-C\",\"type\":\"breakdown\"}\n";

#[tokio::test]
async fn accepted_is_said_only_after_the_commit_of_both_streams() {
    let sink = FakeSink::holding();
    let running = start(&sink).await;
    let mut client = running.connect().await;
    client.write_all(&[SAMPLE, BREAKDOWN, SAMPLE].concat()).await.unwrap();
    sink.taken(3).await;
    sink.commit_stream(Stream::Critical);
    sink.commit_stream(Stream::Samples);
    assert_eq!(answer(&mut client).await, "{\"accepted\":3}\n");
    client.write_all(SAMPLE).await.unwrap();
    sink.taken(4).await;
    sink.commit();
    assert_eq!(answer(&mut client).await, "{\"accepted\":4}\n");
}

#[tokio::test]
async fn a_bad_line_is_refused_and_the_lines_around_it_are_taken() {
    let sink = FakeSink::committing();
    let running = start(&sink).await;
    let mut client = running.connect().await;
    client.write_all(&[SAMPLE, b"nonsense\n", &[b'x'; 70_000], b"\n\xff\n", SAMPLE].concat()).await.unwrap();
    client.get_mut().shutdown().await.unwrap();
    let mut answers = String::new();
    client.read_to_string(&mut answers).await.unwrap();
    assert!(answers.contains("{\"line\":2,\"error\":\"the line is not one JSON object"), "{answers}");
    assert!(answers.contains("{\"line\":3,\"error\":\"the line has over 65536 bytes"), "{answers}");
    assert!(answers.contains("{\"line\":4,\"error\":\"byte 1 of the line is not UTF-8"), "{answers}");
    assert!(answers.ends_with("{\"accepted\":5}\n"), "{answers}");
    assert_eq!(sink.events().len(), 2);
    assert!(running.registry.text().contains("afferent_socket_lines_refused_total 3\n"));
}

#[tokio::test]
async fn a_producer_that_has_closed_its_side_gets_all_its_answers() {
    let sink = FakeSink::holding();
    let running = start(&sink).await;
    let mut client = running.connect().await;
    // The last line has no end.
    client.write_all(&[SAMPLE, &SAMPLE[..SAMPLE.len() - 1]].concat()).await.unwrap();
    client.get_mut().shutdown().await.unwrap();
    sink.taken(2).await;
    sink.commit();
    let mut answers = String::new();
    client.read_to_string(&mut answers).await.unwrap();
    assert_eq!(answers, "{\"accepted\":2}\n");
}

#[tokio::test]
async fn a_full_sink_pushes_back_and_loses_nothing() {
    let sink = FakeSink::committing();
    sink.set_room(10);
    let running = start(&sink).await;
    let mut client = running.connect().await;
    for at in 0..100 {
        client.write_all(format!("{{\"subject\":\"a\",\"value\":{at}}}\n").as_bytes()).await.unwrap();
    }
    client.get_mut().shutdown().await.unwrap();
    sink.taken(10).await;
    assert_eq!(sink.events().len(), 10);
    sink.set_room(usize::MAX);
    let mut answers = String::new();
    client.read_to_string(&mut answers).await.unwrap();
    assert!(answers.ends_with("{\"accepted\":100}\n"), "{answers}");
    let values: Vec<_> = sink.events().iter().map(|(event, _)| event.clone()).collect();
    assert!((0..100).all(|at| values[at].contains(&format!("Integer({at})"))));
}

#[tokio::test]
async fn what_the_disk_does_not_take_is_refused() {
    let sink = FakeSink::committing();
    sink.refuse(Some(Refusal::Unwritable("no space left".into())));
    let running = start(&sink).await;
    let mut client = running.connect().await;
    client.write_all(SAMPLE).await.unwrap();
    let refusal = answer(&mut client).await;
    assert!(refusal.starts_with("{\"line\":1,\"error\":") && refusal.contains("no space left"), "{refusal}");
    sink.refuse(None);
    client.write_all(SAMPLE).await.unwrap();
    assert_eq!(answer(&mut client).await, "{\"accepted\":2}\n");
}

#[tokio::test]
async fn a_producer_that_never_reads_its_refusals_is_not_read_either() {
    let sink = FakeSink::committing();
    let running = start(&sink).await;
    let mut client = running.connect().await;
    let bad = b"x\n".repeat(4096);
    let flood = async {
        loop {
            client.write_all(&bad).await.unwrap();
        }
    };
    // The flood must come to rest: the limit of time only ends a wait that would never end.
    let _ = tokio::time::timeout(Duration::from_millis(300), flood).await;
    let refused = running.registry.counter("afferent_socket_lines_refused_total", "", &[]).get();
    let read = running.registry.counter("afferent_socket_read_bytes_total", "", &[]).get();
    assert!(refused < 100_000 && read < 8 << 20, "{refused} lines refused, {read} bytes read");
}

#[tokio::test]
async fn a_connection_too_many_is_told_why() {
    let sink = FakeSink::committing();
    let running = start(&sink).await;
    let mut first = running.connect().await;
    let mut second = running.connect().await;
    for client in [&mut first, &mut second] {
        client.write_all(SAMPLE).await.unwrap();
        assert_eq!(answer(client).await, "{\"accepted\":1}\n");
    }
    let mut third = running.connect().await;
    assert!(answer(&mut third).await.contains("2 producers are connected"));
    drop(first);
    loop {
        let mut fourth = running.connect().await;
        if fourth.write_all(SAMPLE).await.is_ok() && answer(&mut fourth).await.contains("accepted") {
            break;
        }
    }
}

#[tokio::test]
async fn a_stop_answers_what_was_taken_and_removes_the_socket() {
    let sink = FakeSink::holding();
    let running = start(&sink).await;
    let mut client = running.connect().await;
    client.write_all(SAMPLE).await.unwrap();
    sink.taken(1).await;
    running.stop.stop();
    sink.commit();
    assert_eq!(answer(&mut client).await, "{\"accepted\":1}\n");
    running.server.await.unwrap();
    assert!(!running.directory.path().join("agent.sock").exists());
}

#[tokio::test]
async fn a_stale_socket_is_replaced_and_a_living_one_is_not() {
    let directory = tempfile::tempdir().unwrap();
    let settings = settings(&directory);
    let path = settings.path.clone().unwrap();
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    assert!(path.exists());
    let listeners = Listeners::bind(&settings).await.unwrap();
    assert!(matches!(Listeners::bind(&settings).await, Err(BindError::InUse(_))));
    drop(listeners);
    std::fs::write(&path, "precious").unwrap();
    assert!(matches!(Listeners::bind(&settings).await, Err(BindError::NotASocket(_))));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");
}

#[tokio::test]
async fn tcp_serves_loopback_and_nothing_else_unless_allowed() {
    let directory = tempfile::tempdir().unwrap();
    let beyond = SocketSettings { path: None, tcp: Some("0.0.0.0:0".parse().unwrap()), ..settings(&directory) };
    assert!(matches!(Listeners::bind(&beyond).await, Err(BindError::BeyondLoopback(_))));
    Listeners::bind(&SocketSettings { tcp_beyond_loopback: true, ..beyond.clone() }).await.unwrap();
    let loopback = SocketSettings { tcp: Some("127.0.0.1:0".parse().unwrap()), ..beyond };
    let listeners = Listeners::bind(&loopback).await.unwrap();
    let address = listeners.tcp_address().unwrap();
    let (_sender, stop) = afferent_host::stop::channel();
    let metrics = SocketMetrics::new(&Registry::default());
    tokio::spawn(serve(listeners, FakeSink::committing(), Arc::new(SystemClock::new()), metrics, stop));
    let mut client = tokio::net::TcpStream::connect(address).await.unwrap();
    client.write_all(SAMPLE).await.unwrap();
    client.shutdown().await.unwrap();
    let mut answers = String::new();
    client.read_to_string(&mut answers).await.unwrap();
    assert_eq!(answers, "{\"accepted\":1}\n");
}
