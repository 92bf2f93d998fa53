//! The API over real sockets, and a log in memory. Every answer is held against the OpenAPI document.

mod document;
mod partitions;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;

use afferent_protocol::ids::{Offset, SourceId};
use afferent_protocol::session::signed::Place;
use afferent_protocol::sign::Identity;
use tokio::sync::watch;

use super::*;
use crate::intake::Health;
use crate::log::ReadLog;
use crate::log::address::Partition;
use crate::log::memory::{MemoryLog, breakdown, sample};
use crate::partitions::{PartitionHandles, Partitions};
use crate::sources::{SourceView, SourceViews};
use crate::subscribe::named::Subscriptions;
use crate::terms::PlaceText;

/// A served API; it stops when this is dropped.
struct Served {
    log: MemoryLog,
    durable: watch::Sender<Offset>,
    sources: SourceViews,
    stopping: afferent_host::stop::StopSender,
    health: Arc<Health>,
    address: SocketAddr,
    served: tokio::task::JoinHandle<()>,
    /// Where subscriptions are.
    kept: tempfile::TempDir,
}

/// An answer: status, headers, body.
type Answer = (u16, ureq::http::HeaderMap, String);

impl Served {
    async fn new(log: MemoryLog) -> Self {
        let kept = tempfile::tempdir().unwrap();
        let subscriptions = Arc::new(Subscriptions::open(kept.path(), 1).unwrap());
        Self::of(log, subscriptions, kept).await
    }

    /// With the subscriptions that are kept in this directory.
    async fn with_subscriptions(log: MemoryLog, directory: &std::path::Path) -> Self {
        let subscriptions = Arc::new(Subscriptions::open(directory, 2).unwrap());
        Self::of(log, subscriptions, tempfile::tempdir().unwrap()).await
    }

    /// With another partition beside the log.
    async fn beside(other: MemoryLog, log: MemoryLog) -> Self {
        let kept = tempfile::tempdir().unwrap();
        let subscriptions = Arc::new(Subscriptions::open(kept.path(), 1).unwrap());
        Self::holding(Some(other), log, subscriptions, kept).await
    }

    async fn of(log: MemoryLog, subscriptions: Arc<Subscriptions>, kept: tempfile::TempDir) -> Self {
        Self::holding(None, log, subscriptions, kept).await
    }

    async fn holding(
        other: Option<MemoryLog>,
        log: MemoryLog,
        subscriptions: Arc<Subscriptions>,
        kept: tempfile::TempDir,
    ) -> Self {
        let (durable, durable_view) = watch::channel(log.kept().end);
        let sources = SourceViews::default();
        let (stopping, stopping_view) = afferent_host::stop::channel();
        let health = Arc::new(Health::default());
        let own = (SourceId::new("collector").unwrap(), Identity::from_seed(&[9; 32]).public_key());
        let settings = crate::models::runner::Settings {
            definitions: crate::models::with_built_ins(&[]),
            snapshots: None,
            log: Arc::new(log.clone()),
            durable: durable_view.clone(),
            stopping: stopping_view.clone(),
            supervisor: crate::supervise::Supervisor::new(health.clone(), stopping_view.clone()),
            commits: Default::default(),
        };
        let (models, _) = crate::models::runner::Models::start(settings).unwrap();
        let held = |log: MemoryLog| PartitionHandles {
            reader: Arc::new(log),
            durable: durable_view.clone(),
            sources: sources.clone(),
            intake: crate::intake::Intake::new().0.downgrade(),
        };
        let held = std::iter::once(log.clone()).chain(other).map(held);
        let state = ApiState {
            own,
            models,
            partitions: Partitions::new(held.collect()),
            subscriptions,
            health: health.clone(),
            forwards: Default::default(),
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let served = tokio::spawn(serve(listener, state, AllowedHosts::default(), 100, stopping_view));
        Self { log, durable, sources, stopping, health, address, served, kept }
    }

    /// Six events from offset 10 on.
    async fn with_six_events() -> Self {
        let log = MemoryLog::beginning_at(10);
        log.append("press-88", &[sample("88-C/a", 1), sample("88-C/b", 2), sample("90-A/a", 3)], 1_000_000);
        log.append("press-90", &[breakdown("90-A", "E1"), breakdown("88-C", "E2")], 2_000_000);
        log.append("press-88", &[sample("88-C/a", 4)], 3_000_000);
        Self::new(log).await
    }

    fn append(&self, subject: &str) {
        self.log.append("press-88", &[sample(subject, 0)], 9_000_000);
        self.durable.send_replace(self.log.kept().end);
    }

    async fn get(&self, path: &str) -> Answer {
        let (url, path) = (format!("http://{}{path}", self.address), path.to_owned());
        tokio::task::spawn_blocking(move || {
            let agent: ureq::Agent = ureq::config::Config::builder().http_status_as_error(false).build().into();
            let mut answer = agent.get(&url).call().unwrap();
            let body = answer.body_mut().read_to_string().unwrap();
            document::check("get", &path, answer.status().as_u16(), answer.headers(), &body);
            (answer.status().as_u16(), answer.headers().clone(), body)
        })
        .await
        .unwrap()
    }

    async fn put(&self, path: &str, body: &'static str) -> (u16, String) {
        self.send("PUT", path, body).await
    }

    async fn post(&self, path: &str, body: &'static str) -> (u16, String) {
        self.send("POST", path, body).await
    }

    async fn send(&self, method: &'static str, path: &str, body: &'static str) -> (u16, String) {
        let (url, path) = (format!("http://{}{path}", self.address), path.to_owned());
        tokio::task::spawn_blocking(move || {
            let agent: ureq::Agent = ureq::config::Config::builder().http_status_as_error(false).build().into();
            let request = if method == "PUT" { agent.put(&url) } else { agent.post(&url) };
            let mut answer = request.content_type("application/json").send(body).unwrap();
            let (status, text) = (answer.status().as_u16(), answer.body_mut().read_to_string().unwrap());
            document::check(&method.to_ascii_lowercase(), &path, status, answer.headers(), &text);
            (status, text)
        })
        .await
        .unwrap()
    }

    async fn offsets(&self, path: &str) -> Vec<u64> {
        let (status, _, body) = self.get(path).await;
        assert_eq!(status, 200, "{body}");
        body.lines().map(offset_of).collect()
    }

    /// A connection that has asked for a stream, past its head and its opening.
    async fn stream(&self, path: &str, headers: &str) -> Lines {
        let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n{headers}\r\n");
        let address = self.address;
        tokio::task::spawn_blocking(move || {
            let mut socket = std::net::TcpStream::connect(address).unwrap();
            socket.write_all(request.as_bytes()).unwrap();
            let mut lines = Lines(BufReader::new(socket));
            assert_eq!(lines.read(), "HTTP/1.1 200 OK");
            while lines.read() != ": afferent" {}
            lines
        })
        .await
        .unwrap()
    }
}

struct Lines(BufReader<std::net::TcpStream>);

impl Lines {
    fn read(&mut self) -> String {
        let mut line = String::new();
        assert!(self.0.read_line(&mut line).unwrap() > 0, "the stream has ended");
        line.trim_end().to_owned()
    }

    /// The offset of the next event, whose `id` must be the same.
    fn offset(&mut self) -> u64 {
        let id = std::iter::repeat_with(|| self.read()).find_map(|line| Some(line.strip_prefix("id: ")?.to_owned()));
        let line = self.read();
        let offset = offset_of(line.strip_prefix("data: ").expect("data follows the id"));
        assert!(id.is_some_and(|id| id.starts_with(&format!("{offset}@"))));
        offset
    }

    async fn offsets(mut self, count: usize) -> (Vec<u64>, Self) {
        let read = move || ((0..count).map(|_| self.offset()).collect(), self);
        tokio::task::spawn_blocking(read).await.unwrap()
    }
}

fn offset_of(json: &str) -> u64 {
    let event: serde_json::Value = serde_json::from_str(json).unwrap();
    event["offset"].as_str().unwrap().parse().unwrap()
}

#[tokio::test]
async fn events_are_read_from_an_offset_or_a_time_and_say_where_to_go_on() {
    let served = Served::with_six_events().await;
    assert_eq!(served.offsets("/v1/events").await, [10, 11, 12, 13, 14, 15]);
    assert_eq!(served.offsets("/v1/events?from=12&limit=2").await, [12, 13]);
    assert_eq!(served.offsets("/v1/events?from=1970-01-01T00:00:02Z").await, [13, 14, 15]);
    assert_eq!(served.offsets("/v1/events?from=2999-01-01T00:00:00Z").await, [0; 0]);
    assert_eq!(served.offsets("/v1/events?from=16").await, [0; 0]);
    assert_eq!(served.offsets("/v1/events?limit=all&from=end").await, [0; 0]);

    let (_, headers, _) = served.get("/v1/events?from=12&limit=2").await;
    assert_eq!(headers["content-type"], "application/x-ndjson");
    assert_eq!(headers[&events::FIRST_OFFSET], "10");
    assert_eq!(headers[&events::NEXT_OFFSET], "14");
    assert_eq!(headers[&events::END_OFFSET], "16");
    let (_, headers, _) = served.get("/v1/events?from=15&limit=all").await;
    assert_eq!(headers[&events::NEXT_OFFSET], "16");
}

#[tokio::test]
async fn events_can_be_filtered() {
    let served = Served::with_six_events().await;
    assert_eq!(served.offsets("/v1/events?subject=88-C/*").await, [10, 11, 15]);
    assert_eq!(served.offsets("/v1/events?type=breakdown&limit=1").await, [13]);
    assert_eq!(served.offsets("/v1/events?source=press-88&subject=**/a").await, [10, 12, 15]);
    let (_, headers, _) = served.get("/v1/events?type=breakdown&limit=1").await;
    assert_eq!(headers[&events::NEXT_OFFSET], "14");
    let (_, headers, _) = served.get("/v1/events?type=breakdown&limit=all").await;
    assert!(headers.get(events::NEXT_OFFSET).is_none(), "it is not known when the answer begins");
}

#[tokio::test]
async fn a_span_of_ingest_times_has_what_was_ingested_in_it_although_the_clock_was_set() {
    let log = MemoryLog::beginning_at(10);
    for second in [1, 2, 9000, 3, 40, 22, 23] {
        log.append("press-88", &[sample("88-C/a", second)], second * 1_000_000);
    }
    let served = Served::new(log).await;
    for (from, until, offsets) in [
        ("", "00:00:03", &[10, 11][..]),
        ("from=1970-01-01T00:00:02Z&", "00:00:04", &[11, 13]),
        ("from=1970-01-01T00:00:22Z&", "00:00:24", &[15, 16]),
        ("from=1970-01-01T00:00:24Z&", "00:00:30", &[]),
        ("from=14&", "00:00:30", &[15, 16]),
    ] {
        for limit in ["all", "2", "1"] {
            let query = format!("{from}until=1970-01-01T{until}Z&limit={limit}");
            let (mut came, mut cursor) = (Vec::new(), String::new());
            loop {
                let (status, headers, body) = served.get(&format!("/v1/events?{query}{cursor}")).await;
                assert_eq!(status, 200, "{body}");
                came.extend(body.lines().map(offset_of));
                let Some(next) = headers.get("afferent-next-cursor").filter(|_| !body.is_empty()) else { break };
                cursor = format!("&cursor={}", next.to_str().unwrap());
            }
            assert_eq!(came, offsets, "{query}");
        }
    }
}

#[tokio::test]
async fn a_part_ends_where_it_was_said_to_by_offset_by_either_time_and_by_severity() {
    let served = Served::with_six_events().await;
    assert_eq!(served.offsets("/v1/events?from=11&until=14").await, [11, 12, 13]);
    assert_eq!(served.offsets("/v1/events?until=1970-01-01T00:00:02Z").await, [10, 11, 12]);
    assert_eq!(served.offsets("/v1/events?from=11&until=999").await, [11, 12, 13, 14, 15]);
    assert_eq!(served.offsets("/v1/events?severity=warning..").await, [13, 14]);
    let time = served.get("/v1/events?limit=1").await.2;
    let event: serde_json::Value = serde_json::from_str(&time).unwrap();
    let time = event["time"].as_str().unwrap();
    assert!(!served.offsets(&format!("/v1/events?time=event&from={time}")).await.is_empty());
    assert_eq!(served.offsets("/v1/events?time=event&until=1970-01-01T00:00:00Z").await, [0; 0]);
}

#[tokio::test]
async fn pages_follow_each_other_by_cursor_whatever_is_filtered() {
    let served = Served::with_six_events().await;
    for query in ["", "&type=sample", "&source=press-88&subject=88-C/*", "&severity=error"] {
        let expected = served.offsets(&format!("/v1/events?limit=all{query}")).await;
        let (mut found, mut cursor) = (Vec::new(), String::new());
        loop {
            let (status, headers, body) = served.get(&format!("/v1/events?limit=1{query}{cursor}")).await;
            assert_eq!(status, 200, "{body}");
            if body.is_empty() {
                break;
            }
            found.extend(body.lines().map(offset_of));
            cursor = format!("&cursor={}", headers[&events::NEXT_CURSOR].to_str().unwrap());
        }
        assert_eq!(found, expected, "{query}");
        // Where the log ended, what comes is found by the same cursor.
        served.append("88-C/a");
        let more = served.offsets(&format!("/v1/events?limit=9{query}{cursor}")).await;
        assert_eq!(more.len(), usize::from(query != "&severity=error"), "{query}");
    }
    let (_, headers, _) = served.get("/v1/events?until=12").await;
    assert!(headers.get(events::NEXT_CURSOR).is_none(), "everything that was asked for has come");
}

#[tokio::test]
async fn a_batch_of_cloud_events_is_one_json_document_and_answers_can_be_compressed() {
    let served = Served::with_six_events().await;
    let address = served.address;
    let ask = |path: &'static str, name: &'static str, value: &'static str| {
        tokio::task::spawn_blocking(move || {
            let agent: ureq::Agent = ureq::config::Config::builder().http_status_as_error(false).build().into();
            let mut answer = agent.get(format!("http://{address}{path}")).header(name, value).call().unwrap();
            let headers = answer.headers().clone();
            (answer.status().as_u16(), headers, answer.body_mut().read_to_vec().unwrap())
        })
    };
    for (path, count) in [("/v1/events", 6), ("/v1/events?limit=all", 6), ("/v1/events?from=end", 0)] {
        let (_, headers, body) = ask(path, "accept", "application/cloudevents-batch+json").await.unwrap();
        assert_eq!(headers["content-type"], "application/cloudevents-batch+json");
        let events: Vec<serde_json::Value> = serde_json::from_slice(&body).unwrap();
        assert_eq!(events.len(), count, "{path}");
    }
    assert_eq!(ask("/v1/events", "accept", "text/html").await.unwrap().0, 406);
    for encoding in ["gzip", "zstd"] {
        let (_, headers, _) = ask("/v1/events", "accept-encoding", encoding).await.unwrap();
        assert_eq!(headers["content-encoding"], encoding);
        let vary: Vec<_> = headers.get_all("vary").iter().collect();
        assert_eq!(vary, ["accept", "accept-encoding"], "a cache tells them apart");
    }
    let stream = served.stream("/v1/stream?from=first", "accept-encoding: gzip\r\n").await;
    assert_eq!(stream.offsets(1).await.0, [10], "a stream is never compressed");
}

#[tokio::test]
async fn clients_get_the_media_type_that_they_want_most() {
    let served = Served::with_six_events().await;
    let press = SourceId::new("press-88").unwrap();
    served.sources.publish(vec![(press, Some(SourceView::new(press)))]);
    let certificate = "/v1/certificate?source=press-88&from=1970-01-01T00:00:00Z&until=1970-01-02T00:00:00Z";
    let (lines, array, json, text) = (events::NDJSON, events::BATCH, "application/json", "text/plain; charset=utf-8");
    let java = "text/html, image/gif, image/jpeg, *; q=.2, */*; q=.2";
    let firefox = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";
    for (path, accept, expected) in [
        ("/v1/events", "*/*", Some(lines)),
        ("/v1/events", java, Some(lines)),
        ("/v1/events", firefox, Some(lines)),
        ("/v1/events", "application/json, text/plain, */*", Some(lines)),
        ("/v1/events", "application/cloudevents-batch+json, application/x-ndjson;q=0.9", Some(array)),
        ("/v1/events?limit=all", "application/cloudevents-batch+json;q=0.5, application/x-ndjson;q=0.1", Some(array)),
        ("/v1/events", "application/x-ndjson;q=0, */*;q=0.1", Some(array)),
        ("/v1/events", "application/x-ndjson;q=0", None),
        ("/v1/events", "*/*;q=0", None),
        (certificate, firefox, Some(json)),
        (certificate, "text/plain", Some(text)),
        (certificate, "application/json;q=0.1, text/plain;q=0.2", Some(text)),
        (certificate, "text/plain;q=0.1, application/json;q=0.2", Some(json)),
        (certificate, "application/json, text/plain, */*", Some(json)),
        (certificate, "text/html", None),
    ] {
        let url = format!("http://{}{path}", served.address);
        let answer = tokio::task::spawn_blocking(move || {
            let agent: ureq::Agent = ureq::config::Config::builder().http_status_as_error(false).build().into();
            let mut answer = agent.get(url).header("accept", accept).call().unwrap();
            let body = answer.body_mut().read_to_string().unwrap();
            let status = answer.status().as_u16();
            document::check("get", path, status, answer.headers(), &body);
            (status, answer.headers()["content-type"].to_str().unwrap().to_owned(), body)
        });
        let (status, kind, body) = answer.await.unwrap();
        match expected {
            Some(expected) => assert_eq!((status, kind.as_str()), (200, expected), "{path} {accept}"),
            None => {
                assert!(status == 406 && body.contains(r#""remedy":"accept application/"#), "{path} {accept}: {body}")
            }
        }
    }
}

#[tokio::test]
async fn a_long_answer_comes_whole() {
    let log = MemoryLog::default();
    let many: Vec<_> = (0..3000).map(|value| sample("a/long/enough/subject", value)).collect();
    log.append("a", &many, 1);
    let served = Served::new(log).await;
    let expected: Vec<u64> = (0..3000).collect();
    assert_eq!(served.offsets("/v1/events?limit=all").await, expected);
}

#[tokio::test]
async fn refusals_name_what_where_and_the_remedy() {
    let served = Served::with_six_events().await;
    for (path, status, told) in [
        ("/v1/events?from=9", 410, "goes from 10 up to 16"),
        ("/v1/events?from=17", 416, "goes from 10 up to 16"),
        ("/v1/stream?from=17", 416, "goes from 10 up to 16"),
        ("/v1/events?from=soon", 400, "RFC 3339"),
        ("/v1/stream?limit=1", 400, "limit"),
        ("/v1/events?subject=%5B", 400, "subject"),
        ("/v2", 404, "/v2"),
    ] {
        let (given, headers, body) = served.get(path).await;
        assert_eq!((given, &headers["content-type"]), (status, &"application/problem+json".parse().unwrap()), "{path}");
        let problem: serde_json::Value = serde_json::from_str(&body).unwrap();
        assert_eq!(problem["status"], status);
        assert!(problem["detail"].as_str().unwrap().contains(told), "{path}: {body}");
        assert!(!problem["remedy"].as_str().unwrap().is_empty());
    }
}

#[tokio::test]
async fn no_block_of_a_stream_is_without_an_event() {
    let served = Served::with_six_events().await;
    let mut lines = served.stream("/v1/stream?from=10", "").await;
    let read = move || {
        // Lines of chunks' lengths stand between those of the stream.
        let is_of_stream = |line: &String| line.is_empty() || line.contains(':');
        std::iter::repeat_with(|| lines.read()).filter(is_of_stream).skip(1).take(4).collect::<Vec<_>>()
    };
    let lines = tokio::task::spawn_blocking(read).await.unwrap();
    assert_eq!(lines[0], "retry: 1000", "in the block of the first event: {lines:?}");
    assert!(lines[1].starts_with("id: 10@") && lines[2].starts_with("data: ") && lines[3].is_empty(), "{lines:?}");
}

#[tokio::test]
async fn a_stream_gives_the_past_and_then_what_comes_without_a_seam() {
    let served = Served::with_six_events().await;
    let stream = served.stream("/v1/stream?from=first", "").await;
    let (offsets, stream) = stream.offsets(6).await;
    assert_eq!(offsets, [10, 11, 12, 13, 14, 15]);
    for _ in 0..3 {
        served.append("88-C/a");
    }
    let (offsets, stream) = stream.offsets(3).await;
    assert_eq!(offsets, [16, 17, 18]);
    served.append("88-C/a");
    assert_eq!(stream.offsets(1).await.0, [19]);
}

#[tokio::test]
async fn a_stream_begins_at_the_end_or_after_the_last_event_that_the_reader_has() {
    let served = Served::with_six_events().await;
    let live = served.stream("/v1/stream", "").await;
    let back = served.stream("/v1/stream?from=first", "last-event-id: 13\r\n").await;
    let filtered = served.stream("/v1/stream?from=10&subject=90-A/a", "").await;
    served.append("90-A/a");
    assert_eq!(live.offsets(1).await.0, [16]);
    assert_eq!(back.offsets(3).await.0, [14, 15, 16]);
    assert_eq!(filtered.offsets(2).await.0, [12, 16]);
}

/// Six events from offset 10 on, the last one in a term of its own: the log before and after it was put back to 13.
fn put_back() -> (MemoryLog, MemoryLog) {
    let before = MemoryLog::beginning_at(10);
    before.append("press-88", &[sample("88-C/a", 1), sample("88-C/b", 2), sample("90-A/a", 3)], 1_000_000);
    let mut after = before.copy();
    let mut before = before;
    before.append("press-88", &[sample("88-C/a", 4), sample("88-C/a", 5), sample("88-C/a", 6)], 3_000_000);
    after.append("press-90", &[sample("88-C/a", 7), sample("88-C/a", 8), sample("88-C/a", 9)], 3_000_000);
    let terms = |log: &mut MemoryLog, second: Option<(u64, u64)>| {
        log.terms.named([7; 16]);
        log.terms.add_term(1, Offset::new(10));
        second.into_iter().for_each(|(term, first)| log.terms.add_term(term, Offset::new(first)));
    };
    terms(&mut before, None);
    terms(&mut after, Some((2, 13)));
    (before, after)
}

#[tokio::test]
async fn a_cursor_of_a_state_that_the_log_was_put_back_from_is_refused_with_the_remedy() {
    let (before, after) = put_back();
    let cursor = |headers: &ureq::http::HeaderMap| headers["afferent-next-cursor"].to_str().unwrap().to_owned();
    let served = Served::new(before).await;
    let (_, headers, _) = served.get("/v1/events?from=first&limit=2").await;
    let (_, late, _) = served.get("/v1/events?from=first&limit=5").await;
    let (_, _, lines) = served.get("/v1/events?from=14&limit=1").await;
    assert!(lines.contains("\"offset\":\"14\""), "{lines}");
    let mut stream = served.stream("/v1/stream?from=14", "").await;
    let id = tokio::task::spawn_blocking(move || stream.read()).await.unwrap();
    let id = if id.is_empty() { String::new() } else { id };
    let served = Served::new(after).await;
    let again = |cursor: String, limit: u32| format!("/v1/events?from=first&limit={limit}&cursor={cursor}");
    let (status, _, _) = served.get(&again(cursor(&headers), 2)).await;
    assert_eq!(status, 200, "what both states have in common can be gone on with");
    let (status, _, problem) = served.get(&again(cursor(&late), 5)).await;
    assert_eq!(status, 409);
    for word in ["restored to an earlier state", "ends at offset 13", "from=13"] {
        assert!(problem.contains(word), "{word}: {problem}");
    }
    // The control: an offset is not checked, and means another event than before.
    let (status, _, lines) = served.get("/v1/events?from=14&limit=1").await;
    assert!(status == 200 && lines.contains("press-90"), "{lines}");
    if let Some(id) = id.strip_prefix("id: ") {
        let (status, _, _) = served.get(&format!("/v1/events?from={id}")).await;
        assert_eq!(status, 409, "the id of an event is its place");
    }
}

#[tokio::test]
async fn a_subscription_of_a_state_that_the_log_was_put_back_from_is_in_error_and_gives_nothing() {
    let (before, after) = put_back();
    let served = Served::new(before).await;
    served.put("/v1/subscriptions/wear", r#"{"from": "15"}"#).await;
    let (_, _, report) = served.get("/v1/subscriptions/wear").await;
    assert!(report.contains(r#""lag":"1""#) && report.contains(r#""error":null"#), "{report}");
    let other = Served::with_subscriptions(after, served.kept.path()).await;
    let (_, _, report) = other.get("/v1/subscriptions/wear").await;
    assert!(report.contains(r#""lag":null"#) && report.contains("restored to an earlier state"), "{report}");
    let (status, problem) = other.post("/v1/subscriptions/wear/fetch?member=a", "").await;
    assert!(status == 409 && problem.contains("reset"), "{problem}");
    assert_eq!(other.post("/v1/subscriptions/wear/reset", r#"{"to": "13"}"#).await.0, 204);
    let (status, lines) = other.post("/v1/subscriptions/wear/fetch?member=a", "").await;
    assert!(status == 200 && lines.lines().count() == 3, "{lines}");
}

#[tokio::test]
async fn streams_end_when_the_collector_stops() {
    let served = Served::with_six_events().await;
    let mut stream = served.stream("/v1/stream", "").await;
    served.stopping.stop();
    tokio::task::spawn_blocking(move || stream.0.read_to_end(&mut Vec::new()).unwrap()).await.unwrap();
    served.served.await.unwrap();
}

#[tokio::test]
async fn agents_and_metrics_tell_of_every_source() {
    let served = Served::with_six_events().await;
    let now = afferent_host::clock::wall();
    let view = SourceView {
        link: crate::sources::LinkState::Online,
        duplicates: 2,
        refused: vec![("signature", 3)],
        last_ingest: Some(now),
        last_made: Some(afferent_protocol::ids::Timestamp::clamped(now.micros() - 1_500_000)),
        ..SourceView::new(SourceId::new("press-88").unwrap())
    };
    served.sources.publish(vec![(view.source, Some(view))]);
    let (_, _, body) = served.get("/v1/agents").await;
    let report: agents::AgentsReport = serde_json::from_str(&body).unwrap();
    assert_eq!(report.log, agents::LogReport { partition: 0, first: 10, end: 16 });
    let agent = &report.agents[0];
    assert_eq!((agent.name.as_str(), agent.state.as_str()), ("press-88", "online"));
    assert_eq!((agent.lag_s, agent.refused), (Some(1.5), 3));

    let (_, _, text) = served.get("/metrics").await;
    for line in [
        "afferent_log_end_offset 16",
        "afferent_agent_online{agent=\"press-88\"} 1",
        "afferent_agent_lag_seconds{agent=\"press-88\"} 1.5",
        "afferent_agent_refused_total{agent=\"press-88\"} 3",
        "afferent_agent_events_total{agent=\"press-88\",stream=\"samples\"} 0",
    ] {
        assert!(text.lines().any(|given| given == line), "{line} is not in\n{text}");
    }
}

#[tokio::test]
async fn health_says_why_nothing_becomes_durable() {
    let served = Served::with_six_events().await;
    served.health.set_agent_access(crate::intake::AgentAccess::Open);
    assert_eq!(served.get("/healthz").await.0, 200);
    served.health.commit_failed(Default::default(), "no space left on device".into());
    let (status, _, body) = served.get("/healthz").await;
    assert_eq!(status, 503);
    assert!(body.contains("no space left on device"), "{body}");
    served.health.committed();
    assert_eq!(served.get("/healthz").await.0, 200);
}
