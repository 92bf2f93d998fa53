//! A collector and an agent, and what must hold of them while somebody attacks.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use afferent_tests::process::{Answer, Process, Rig, Sse, ask, get_text, rss_kib, wait_for};
use rustix::net::{AddressFamily, SocketType};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// The most resident memory that a collector may have during any attack.
pub const RSS_KIB_MAX: u64 = 256 << 10;
/// By then all is as before.
const AS_BEFORE: Duration = Duration::from_secs(10);

/// Connections that the collector takes outside its reserve, and of these those of one client; and streams of one client.
pub const CONNECTIONS_OF_ONE: usize = (2048 - 64) * 3 / 4;
pub const STREAMS_OF_ONE: usize = (2048 - 64) * 5 / 8;

/// A collector and an agent.
pub struct Siege {
    pub rig: Rig,
    pub collector: Process,
    _agent: Process,
    shipped: AtomicU32,
}

impl Siege {
    pub fn start(name: &str) -> Self {
        Self::start_with(name, "")
    }

    /// With more lines in the collector's configuration.
    pub fn start_with(name: &str, configured: &str) -> Self {
        let files = getrlimit(Resource::Nofile).maximum;
        setrlimit(Resource::Nofile, Rlimit { current: files, maximum: files }).expect("the limit can be raised");
        let rig = Rig { collector_extra: configured.to_owned(), ..Rig::new(name) };
        let (collector, agent) = (rig.start_collector(), rig.start_agent());
        rig.wait_healthy();
        let siege = Self { rig, collector, _agent: agent, shipped: AtomicU32::new(0) };
        siege.holds("before the attack");
        siege
    }

    /// What must hold at any time: agents ship, health and metrics answer, and memory is bounded.
    pub fn holds(&self, when: &str) {
        let number = self.shipped.fetch_add(1, Ordering::Relaxed);
        let shipped = || self.rig.collector_figure("afferent_agent_events_total");
        let before = wait_for(&format!("metrics answer {when}"), shipped);
        self.rig.break_down(&format!("E{number}"));
        wait_for(&format!("an event arrives {when}"), || shipped().filter(|events| *events > before));
        let (healthy, words) = wait_for(&format!("health answers {when}"), || self.rig.collector_health());
        assert!(healthy, "{when}: {words}");
        let rss = self.rss_kib();
        assert!(rss <= RSS_KIB_MAX, "{when}: {rss} KiB are resident");
    }

    /// Waits until all is as before.
    pub fn is_as_before(&self) {
        let begun = Instant::now();
        wait_for("health has nothing to tell any more", || {
            self.rig.collector_health().filter(|(_, words)| words == "ok\n")
        });
        wait_for("what clients hold has been given back", || {
            // One is the one that asks.
            let is_free = self.held("connections")? <= 1;
            let all = ["streams", "long_answers", "body_bytes"].map(|what| self.held(what));
            (is_free && all == [Some(0); 3]).then_some(())
        });
        assert_eq!(self.post("after").expect("it answers").status, 200);
        assert!(Sse::open(self.rig.http, "/v1/stream").is_ok());
        self.holds("after the attack");
        assert!(begun.elapsed() < AS_BEFORE, "it took {:?}", begun.elapsed());
    }

    pub fn rss_kib(&self) -> u64 {
        rss_kib(self.collector.pid())
    }

    /// How often something of this kind was refused.
    pub fn refused(&self, kind: &str) -> u64 {
        self.figure(&format!("afferent_refused_total{{kind=\"{kind}\"}} ")).unwrap_or(0)
    }

    /// How much of this HTTP clients hold.
    pub fn held(&self, what: &str) -> Option<u64> {
        self.figure(&format!("afferent_http_held{{what=\"{what}\"}} "))
    }

    /// A figure of the metrics: what stands behind this.
    pub fn figure(&self, key: &str) -> Option<u64> {
        let metrics = get_text(self.rig.http, "/metrics")?;
        metrics.lines().find_map(|line| line.strip_prefix(key)?.parse().ok())
    }

    /// Posts an event of this id.
    pub fn post(&self, id: &str) -> std::io::Result<Answer> {
        ask(self.rig.http, "POST", "/v1/events", "application/cloudevents+json", &event(id, ""))
    }

    /// Posts so many bulks of large events, so that the log has something to be read.
    pub fn fill(&self, bulks: usize, bytes: usize) {
        for bulk in 0..bulks {
            let lines: Vec<String> =
                (0..1000).map(|n| event(&format!("{bulk}-{n}"), &"x".repeat(bytes / 1000))).collect();
            // The index of posted events is made first.
            wait_for("a bulk is posted", || {
                let answer =
                    ask(self.rig.http, "POST", "/v1/events", "application/x-ndjson", &lines.join("\n")).ok()?;
                (answer.status == 200).then_some(())
            });
        }
    }

    /// A connection that has sent this, and then does nothing.
    pub fn sent(&self, request: &[u8]) -> TcpStream {
        let mut stream = connect(self.rig.http);
        // One that was turned away at once may not take it.
        let _ = stream.write_all(request);
        stream
    }
}

/// A connection to the collector from another address of this machine: another client.
pub fn connect_as_other(to: SocketAddr) -> TcpStream {
    connect_from(2, to)
}

/// A connection to the collector from the address 127.0.0.`last` of this machine.
pub fn connect_from(last: u8, to: SocketAddr) -> TcpStream {
    let socket = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None).expect("there are sockets");
    rustix::net::bind(&socket, &SocketAddr::from(([127, 0, 0, last], 0))).expect("all of 127/8 is this machine");
    rustix::net::connect(&socket, &to).expect("the collector takes it");
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(Duration::from_secs(60))).expect("it is not zero");
    stream
}

/// A connection to the collector; its queue may be full for a moment.
pub fn connect(address: SocketAddr) -> TcpStream {
    let stream = wait_for("the collector takes a connection", || TcpStream::connect(address).ok());
    stream.set_read_timeout(Some(Duration::from_secs(60))).expect("it is not zero");
    stream.set_write_timeout(Some(Duration::from_secs(60))).expect("it is not zero");
    stream
}

/// What is answered until the connection ends, as far as it is text.
pub fn answer(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes);
    String::from_utf8_lossy(&bytes).into_owned()
}

fn event(id: &str, text: &str) -> String {
    format!(
        "{{\"specversion\":\"1.0\",\"id\":\"{id}\",\"source\":\"/bulk\",\"type\":\"com.example.bulk.v1\",\"subject\":\"88-C\",\
         \"data\":\"{text}\"}}"
    )
}
