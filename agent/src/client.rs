//! The producer's side of the socket: lines out, answers in, and what became of every line.

use std::collections::BTreeSet;
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::mpsc;
use std::time::Duration;

use serde::Deserialize;

use crate::limits::{CLIENT_LINES_AHEAD, LINE_BYTES_MAX};

/// Where an agent listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A Unix socket.
    Unix(PathBuf),
    /// A TCP address.
    Tcp(SocketAddr),
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unix(path) => path.display().fmt(f),
            Self::Tcp(address) => address.fmt(f),
        }
    }
}

/// Why lines could not be handed over.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// No agent listens at the target.
    #[error("cannot reach the agent at {target}: {error}; is it running, and is this its `intake.socket`?")]
    Connect {
        /// The socket or address.
        target: Target,
        /// The error of the operating system.
        error: io::Error,
    },
    /// The connection broke, or the agent did not answer in time.
    #[error("the agent did not answer all lines: {0}; send the lines that were not accepted again")]
    Answer(io::Error),
    /// An answer of a newer version.
    #[error("the agent answered {0:?}, which this version does not understand")]
    Unknown(String),
}

/// How many lines were sent, accepted and refused.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Number of lines sent.
    pub sent: u64,
    /// Number of lines that are on the agent's disk.
    pub durable: u64,
    /// Number of refused lines.
    pub refused: u64,
}

impl Report {
    /// Whether every line is on the agent's disk.
    pub fn is_complete(&self) -> bool {
        self.durable == self.sent
    }
}

/// What has been answered so far.
#[derive(Debug, Default)]
struct Answered {
    accepted: u64,
    refused: u64,
    refused_above: BTreeSet<u64>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum AnswerLine {
    Accepted { accepted: u64 },
    Refused { line: u64, error: String },
    Taken { taken: u64, known: bool },
}

/// One answer of the agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer<'a> {
    /// The lines up to this one, from 1, are on its disk, save for refused ones.
    Accepted(u64),
    /// This line was refused, and why.
    Refused(u64, &'a str),
    /// So many lines of a replay were taken; none when the agent does not know that replay.
    Taken(Option<u64>),
}

impl Answered {
    fn take(&mut self, text: &str, on_answer: &mut dyn FnMut(Answer<'_>)) -> Result<(), ClientError> {
        match serde_json::from_str(text).map_err(|_| ClientError::Unknown(text.trim_end().to_owned()))? {
            AnswerLine::Accepted { accepted } => {
                self.accepted = self.accepted.max(accepted);
                self.refused_above = self.refused_above.split_off(&(self.accepted + 1));
                on_answer(Answer::Accepted(self.accepted));
            }
            AnswerLine::Refused { line: 0, error } => return Err(ClientError::Answer(io::Error::other(error))),
            AnswerLine::Refused { line, error } => {
                self.refused += 1;
                if line > self.accepted {
                    self.refused_above.insert(line);
                }
                on_answer(Answer::Refused(line, &error));
            }
            AnswerLine::Taken { taken, known } => on_answer(Answer::Taken(known.then_some(taken))),
        }
        Ok(())
    }

    /// Whether lines are neither accepted nor refused.
    fn owes(&self, sent: u64) -> bool {
        sent > self.accepted + self.refused_above.len() as u64
    }

    fn report(&self, sent: u64) -> Report {
        let below = self.refused - self.refused_above.len() as u64;
        Report { sent, durable: self.accepted.saturating_sub(below), refused: self.refused }
    }
}

enum Wire {
    Unix(UnixStream),
    Tcp(TcpStream),
}

impl Wire {
    fn connect(target: &Target, timeout: Duration) -> Result<Self, ClientError> {
        let connected = match target {
            Target::Unix(path) => UnixStream::connect(path).and_then(|stream| {
                stream.set_read_timeout(Some(timeout))?;
                stream.set_write_timeout(Some(timeout))?;
                Ok(Self::Unix(stream))
            }),
            Target::Tcp(address) => TcpStream::connect_timeout(address, timeout).and_then(|stream| {
                stream.set_read_timeout(Some(timeout))?;
                stream.set_write_timeout(Some(timeout))?;
                Ok(Self::Tcp(stream))
            }),
        };
        connected.map_err(|error| ClientError::Connect { target: target.clone(), error })
    }

    fn reader(&self) -> io::Result<Box<dyn Read + Send>> {
        Ok(match self {
            Self::Unix(stream) => Box::new(stream.try_clone()?),
            Self::Tcp(stream) => Box::new(stream.try_clone()?),
        })
    }

    fn writer(&self) -> io::Result<Box<dyn Write + Send>> {
        Ok(match self {
            Self::Unix(stream) => Box::new(stream.try_clone()?),
            Self::Tcp(stream) => Box::new(stream.try_clone()?),
        })
    }

    /// Wakes the writing thread.
    fn abort(&self) {
        // A connection that is gone already is what was wanted.
        let _ = match self {
            Self::Unix(stream) => stream.shutdown(Shutdown::Both),
            Self::Tcp(stream) => stream.shutdown(Shutdown::Both),
        };
    }

    fn end(&self) -> io::Result<()> {
        match self {
            Self::Unix(stream) => stream.shutdown(Shutdown::Write),
            Self::Tcp(stream) => stream.shutdown(Shutdown::Write),
        }
    }
}

/// Sends all `lines`, which have no line ends, and returns when every one is answered.
///
/// Lines go out as soon as they come, and many at once when they come fast. `timeout` is the longest silence while an
/// answer is awaited. `on_refusal` gets the number of a refused line, from 1, and why.
pub fn send(
    target: &Target,
    timeout: Duration,
    mut lines: impl Iterator<Item = io::Result<Vec<u8>>>,
    mut on_refusal: impl FnMut(u64, &str) + Send,
) -> Result<Report, ClientError> {
    send_and_watch(target, timeout, &mut lines, &mut |answer| {
        if let Answer::Refused(line, error) = answer {
            on_refusal(line, error);
        }
    })
}

/// As [`send`], and gives every answer to `on_answer` as it comes. One function for all callers: the agent's size
/// counts.
pub fn send_and_watch(
    target: &Target,
    timeout: Duration,
    lines: &mut dyn Iterator<Item = io::Result<Vec<u8>>>,
    on_answer: &mut (dyn FnMut(Answer<'_>) + Send),
) -> Result<Report, ClientError> {
    let wire = Wire::connect(target, timeout)?;
    let reader = BufReader::new(wire.reader().map_err(ClientError::Answer)?);
    let writer = wire.writer().map_err(ClientError::Answer)?;
    let sent = AtomicU64::new(0);
    std::thread::scope(|scope| {
        let (queue, queued) = mpsc::sync_channel(CLIENT_LINES_AHEAD);
        let writing = scope.spawn(|| {
            let written = write_lines(writer, queued, &sent);
            written.and(wire.end())
        });
        let reading = scope.spawn(|| {
            let answered = read_answers(reader, &sent, on_answer);
            if answered.is_err() {
                wire.abort();
            }
            answered
        });
        let mut failed = Ok(());
        for line in lines {
            match line {
                // The writer ends when the connection breaks; its error is more precise.
                Ok(line) => {
                    if queue.send(line).is_err() {
                        break;
                    }
                }
                Err(error) => {
                    failed = Err(error);
                    break;
                }
            }
        }
        drop(queue);
        let written = writing.join().expect("writing lines does not panic");
        // The agent's answer before it closed is more precise than the broken pipe that followed.
        let answered = reading.join().expect("reading answers does not panic")?;
        failed.and(written).map_err(ClientError::Answer)?;
        Ok(answered.report(sent.load(SeqCst)))
    })
}

fn write_lines(writer: impl Write, queued: mpsc::Receiver<Vec<u8>>, sent: &AtomicU64) -> io::Result<()> {
    let mut writer = io::BufWriter::with_capacity(LINE_BYTES_MAX, writer);
    while let Ok(first) = queued.recv() {
        let mut next = Some(first);
        while let Some(line) = next {
            // Counted first: an answer must never be ahead of the count.
            sent.fetch_add(1, SeqCst);
            writer.write_all(&line)?;
            writer.write_all(b"\n")?;
            next = queued.try_recv().ok();
        }
        writer.flush()?;
    }
    Ok(())
}

fn read_answers(
    mut reader: impl BufRead,
    sent: &AtomicU64,
    on_answer: &mut dyn FnMut(Answer<'_>),
) -> Result<Answered, ClientError> {
    let mut answered = Answered::default();
    let mut text = Vec::new();
    loop {
        // The agent's answers are short; a longer one is not from an agent.
        match (&mut reader).take(LINE_BYTES_MAX as u64).read_until(b'\n', &mut text) {
            Ok(0) => return Ok(answered),
            Ok(_) => {
                answered.take(&String::from_utf8_lossy(&text), on_answer)?;
                text.clear();
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                if answered.owes(sent.load(SeqCst)) {
                    return Err(ClientError::Answer(error));
                }
            }
            Err(error) => return Err(ClientError::Answer(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(texts: &[&str]) -> Answered {
        let mut answered = Answered::default();
        texts.iter().for_each(|text| answered.take(text, &mut |_| {}).unwrap());
        answered
    }

    #[test]
    fn refused_lines_are_not_durable_wherever_they_stand() {
        let answered = answered(&[
            r#"{"line":2,"error":"x"}"#,
            r#"{"accepted":1}"#,
            r#"{"accepted":3}"#,
            r#"{"line":4,"error":"x"}"#,
        ]);
        assert_eq!(answered.report(4), Report { sent: 4, durable: 2, refused: 2 });
        assert!(!answered.report(4).is_complete());
        assert_eq!(answered.report(5).durable, 2);
    }

    #[test]
    fn an_answer_that_is_not_understood_is_an_error() {
        let mut answered = Answered::default();
        assert!(matches!(answered.take("hello\n", &mut |_| {}), Err(ClientError::Unknown(text)) if text == "hello"));
        assert!(answered.take(r#"{"line":0,"error":"too many"}"#, &mut |_| {}).is_err());
    }

    #[test]
    fn nobody_listening_is_told_with_the_place() {
        let target = Target::Unix("/nonexistent/agent.sock".into());
        let error = send(&target, Duration::from_secs(1), std::iter::empty(), |_, _| {}).unwrap_err().to_string();
        assert!(error.contains("/nonexistent/agent.sock"), "{error}");
    }

    #[test]
    fn an_agent_that_owes_nothing_may_be_silent() {
        let answered = answered(&[r#"{"line":2,"error":"x"}"#, r#"{"accepted":1}"#]);
        assert!(!answered.owes(2) && answered.owes(3));
    }

    #[test]
    fn a_line_goes_out_although_no_other_follows() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("agent.sock");
        let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
        let (arriving, arrived) = mpsc::channel();
        let agent = std::thread::spawn(move || {
            let (stream, _) = listener.accept().unwrap();
            let mut lines = BufReader::new(&stream).lines();
            for at in 1..=2 {
                lines.next().unwrap().unwrap();
                // Nobody waits for the second.
                let _ = arriving.send(());
                writeln!(&stream, "{{\"accepted\":{at}}}").unwrap();
            }
        });
        // The second line comes only after the first has reached the agent.
        let mut arrived = Some(arrived);
        let lines = (0..2).map(|at| {
            if at == 1 {
                arrived.take().expect("asked once").recv().unwrap();
            }
            Ok(b"line".to_vec())
        });
        let report = send(&Target::Unix(path), Duration::from_secs(60), lines, |_, _| {}).unwrap();
        assert!(report.is_complete());
        agent.join().unwrap();
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn lines_go_to_an_agent_and_come_back_answered() {
        use std::sync::Arc;

        use crate::intake::sink::fake::FakeSink;
        use crate::intake::socket::{Listeners, SocketMetrics, SocketSettings, serve};

        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("agent.sock");
        let settings = SocketSettings {
            path: Some(path.clone()),
            mode: 0o600,
            tcp: None,
            tcp_beyond_loopback: false,
            connections_max: 2,
        };
        let listeners = Listeners::bind(&settings).await.unwrap();
        let metrics = SocketMetrics::new(&crate::metrics::Registry::default());
        let (_sender, stop) = afferent_host::stop::channel();
        let clock = Arc::new(crate::clock::SystemClock::new());
        tokio::spawn(serve(listeners, FakeSink::committing(), clock, metrics, stop));
        let sending = tokio::task::spawn_blocking(move || {
            let lines = (0..10_000).map(|at| {
                Ok(if at == 5000 {
                    b"bad".to_vec()
                } else {
                    format!("{{\"subject\":\"a\",\"value\":{at}}}").into_bytes()
                })
            });
            let mut refused = vec![];
            let report = send(&Target::Unix(path), Duration::from_secs(60), lines, |line, _| refused.push(line));
            (report.unwrap(), refused)
        });
        let (report, refused) = sending.await.unwrap();
        assert_eq!(report, Report { sent: 10_000, durable: 9_999, refused: 1 });
        assert_eq!(refused, [5001]);
    }
}
