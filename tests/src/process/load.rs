//! What makes a collector's memory grow: much log, visits of the page, readers that do not read.

use std::fmt::Write as _;
use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::time::{SystemTime, UNIX_EPOCH};

use super::{Rig, get, wait_for};
use crate::rng::Rng;

/// Machines of a small plant.
pub const MACHINES: usize = 20;
/// Sensors of each.
const SENSORS: usize = 10;
/// Bytes of a text that a sensor says.
const TEXT_BYTES: usize = 400;
/// Lines that are sent before it is looked whether they were accepted.
const LINES: u64 = 10_000;
/// Requests that a browser has under way to one server.
const AT_ONCE: usize = 6;

/// Has the agent write so many MiB of log: texts of all sensors of all machines, which no codec makes smaller.
///
/// # Panics
/// When the agent or the collector does not take them.
pub fn write_log(rig: &Rig, mib: u64) {
    let written = || rig.collector_figure("afferent_message_bytes_total");
    let goal = wait_for("the collector tells what it has taken", written) + (mib << 20);
    let lines = texts();
    let mut producer = rig.producer();
    for round in 1.. {
        producer.send(lines.as_bytes()).expect("the agent reads");
        producer.wait_accepted(round * LINES).expect("the agent answers");
        if wait_for("the collector tells what it has taken", written) >= goal {
            break;
        }
    }
    wait_for("the agent has shipped all of it", || rig.agent_lag().filter(|lag| *lag == 0));
}

fn texts() -> String {
    let mut rng = Rng::new(7);
    let mut lines = String::new();
    for number in 0..LINES as usize {
        let (machine, sensor) = (number % MACHINES, number / MACHINES % SENSORS);
        write!(lines, r#"{{"subject":"M-{machine:02}/s{sensor}","value":""#).expect("a string takes text");
        (0..TEXT_BYTES).for_each(|_| lines.push(char::from(b'a' + rng.below(26) as u8)));
        lines.push_str("\"}\n");
    }
    lines
}

/// Asks for what the page asks for that somebody opens and looks through: all machines, four of them with their samples of
/// a day, and the plant as it was at three earlier times.
///
/// # Panics
/// When something is not answered with 200.
pub fn visit_page(rig: &Rig) {
    let end = wait_for("the log has an end", || rig.log_end());
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is after 1970").as_secs() as i64;
    let time = |second: i64| jiff::Timestamp::from_second(second).expect("it is a time of today").to_string();
    let span = format!("from={}&until={}", time(now - 86_400), time(now + 60));
    let mut paths: Vec<String> = ["/", "/v1/agents"].map(str::to_owned).into();
    paths.extend(["states?intervals=0", "breakdowns", "alarms", "sources"].map(|model| format!("/v1/models/{model}")));
    for machine in (0..MACHINES).step_by(MACHINES / 4) {
        let models = ["states", "breakdowns", "alarms", "last", "kpi"];
        paths.extend(models.map(|model| format!("/v1/models/{model}?machine=M-{machine:02}")));
        let samples = format!("/v1/events?subject=M-{machine:02}/**&type=sample&time=event&{span}&limit=all");
        paths.push(samples);
    }
    for part in 1..4 {
        let as_of = end * part / 4;
        paths.extend(["states", "breakdowns", "alarms"].map(|model| format!("/v1/models/{model}?as_of={as_of}")));
    }
    for some in paths.chunks(AT_ONCE) {
        std::thread::scope(|scope| {
            for path in some {
                scope.spawn(move || {
                    let (status, body) = get(rig.http, path).expect("it is answered");
                    assert_eq!(status, 200, "{path}: {}", String::from_utf8_lossy(&body));
                });
            }
        });
    }
}

/// Readers of all of the log that have asked, and read nothing; half of them with a filter.
///
/// # Panics
/// When they cannot connect.
pub fn stalled_readers(http: SocketAddr, count: usize) -> Vec<TcpStream> {
    let paths = ["/v1/stream?from=first", "/v1/stream?from=first&subject=M-01/**"];
    let stalled = |number: usize| {
        let mut stream = wait_for("the collector takes a connection", || TcpStream::connect(http).ok());
        let request = format!("GET {} HTTP/1.1\r\nHost: {http}\r\n\r\n", paths[number % paths.len()]);
        stream.write_all(request.as_bytes()).expect("the collector reads");
        stream
    };
    (0..count).map(stalled).collect()
}
