//! The producer's side of the socket: lines out, answers in, and what became of every line.

use std::collections::BTreeSet;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use crate::limits::LINE_BYTES_MAX;

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
    /// Nobody listens.
    #[error("cannot reach the agent at {target}: {error}; is it running, and is this its `intake.socket`?")]
    Connect {
        /// Where.
        target: Target,
        /// What the operating system said.
        error: io::Error,
    },
    /// The connection broke, or nothing was answered in time.
    #[error("the agent did not answer everything: {0}; what was not accepted may be sent again")]
    Answer(io::Error),
    /// An answer that this version does not understand.
    #[error("the agent answered {0:?}, which this version does not understand")]
    Unknown(String),
}

/// What became of the lines.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Lines that were sent.
    pub sent: u64,
    /// Lines that are on the agent's disk.
    pub durable: u64,
    /// Lines that were refused.
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
enum Answer {
    Accepted { accepted: u64 },
    Refused { line: u64, error: String },
}

impl Answered {
    fn take(&mut self, text: &str, on_refusal: &mut dyn FnMut(u64, &str)) -> Result<(), ClientError> {
        match serde_json::from_str(text).map_err(|_| ClientError::Unknown(text.trim_end().to_owned()))? {
            Answer::Accepted { accepted } => {
                self.accepted = self.accepted.max(accepted);
                self.refused_above = self.refused_above.split_off(&(self.accepted + 1));
            }
            Answer::Refused { line: 0, error } => return Err(ClientError::Answer(io::Error::other(error))),
            Answer::Refused { line, error } => {
                self.refused += 1;
                if line > self.accepted {
                    self.refused_above.insert(line);
                }
                on_refusal(line, &error);
            }
        }
        Ok(())
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

    fn end(&self) -> io::Result<()> {
        match self {
            Self::Unix(stream) => stream.shutdown(Shutdown::Write),
            Self::Tcp(stream) => stream.shutdown(Shutdown::Write),
        }
    }
}

/// Sends all `lines`, which have no line ends, and returns when every one is answered.
///
/// `timeout` is the longest silence while answers are awaited. `on_refusal` gets the number of a refused line, from 1, and
/// why. It must be longer than the pauses between `lines`.
pub fn send(
    target: &Target,
    timeout: Duration,
    lines: impl Iterator<Item = io::Result<Vec<u8>>>,
    mut on_refusal: impl FnMut(u64, &str) + Send,
) -> Result<Report, ClientError> {
    let wire = Wire::connect(target, timeout)?;
    let reader = BufReader::new(wire.reader().map_err(ClientError::Answer)?);
    let writer = wire.writer().map_err(ClientError::Answer)?;
    std::thread::scope(|scope| {
        let answers = scope.spawn(move || read_answers(reader, &mut on_refusal));
        let written = write_lines(writer, lines);
        let ended = wire.end();
        let answered = answers.join().expect("reading answers does not panic");
        // What the agent said before it closed tells more than the broken pipe that the close made.
        let answered = answered?;
        let sent = written.and_then(|sent| ended.map(|()| sent)).map_err(ClientError::Answer)?;
        Ok(answered.report(sent))
    })
}

fn write_lines(writer: impl Write, lines: impl Iterator<Item = io::Result<Vec<u8>>>) -> io::Result<u64> {
    let mut writer = io::BufWriter::with_capacity(LINE_BYTES_MAX, writer);
    let mut sent = 0;
    for line in lines {
        writer.write_all(&line?)?;
        writer.write_all(b"\n")?;
        sent += 1;
    }
    writer.flush()?;
    Ok(sent)
}

fn read_answers(mut reader: impl BufRead, on_refusal: &mut dyn FnMut(u64, &str)) -> Result<Answered, ClientError> {
    let mut answered = Answered::default();
    let mut text = String::new();
    loop {
        text.clear();
        // The agent's answers are short; a longer one is not from an agent.
        match (&mut reader).take(LINE_BYTES_MAX as u64).read_line(&mut text).map_err(ClientError::Answer)? {
            0 => return Ok(answered),
            _ => answered.take(&text, on_refusal)?,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(texts: &[&str]) -> Answered {
        let mut answered = Answered::default();
        texts.iter().for_each(|text| answered.take(text, &mut |_, _| {}).unwrap());
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
        assert!(matches!(answered.take("hello\n", &mut |_, _| {}), Err(ClientError::Unknown(text)) if text == "hello"));
        assert!(answered.take(r#"{"line":0,"error":"too many"}"#, &mut |_, _| {}).is_err());
    }

    #[test]
    fn nobody_listening_is_told_with_the_place() {
        let target = Target::Unix("/nonexistent/agent.sock".into());
        let error = send(&target, Duration::from_secs(1), std::iter::empty(), |_, _| {}).unwrap_err().to_string();
        assert!(error.contains("/nonexistent/agent.sock"), "{error}");
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
        let (_sender, stop) = crate::stop::channel();
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
