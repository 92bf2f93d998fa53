//! Lines from a child's standard output, or from the agent's own standard input: the socket's lines, without answers. What
//! a child writes to its standard error goes into the agent's log, see `stderr` beside this.

use std::io;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use afferent_host::stop::Stop;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, Command};
use tokio::time::Instant;

use crate::clock::Clock;
use crate::intake::line::{LineError, LineParser};
use crate::intake::lines::{Line, LineBuffer};
use crate::intake::sink::{EventSink, Refusal, Ticket, Waiting};
use crate::intake::stderr;
use crate::limits::{LAST_WORDS_MS, RESTART_PROVEN_MS, RESTART_WAIT_MS_MAX, RESTART_WAIT_MS_MIN};
use crate::metrics::{Counter, Registry};
use crate::trouble::Troubles;

/// A child to watch.
#[derive(Clone, Debug)]
pub struct ExecSettings {
    /// Stands in logs and metrics.
    pub name: String,
    /// The program and its arguments; no shell is between.
    pub command: Vec<String>,
}

/// What one such intake counts.
#[derive(Clone)]
pub struct LineMetrics {
    pub(super) taken: Counter,
    pub(super) refused: Counter,
    name: Arc<str>,
    troubles: Troubles,
}

impl LineMetrics {
    /// The counters of the intake `name` in `registry`.
    pub fn new(registry: &Registry, name: &str) -> Self {
        let labels = [("intake", name)];
        Self {
            taken: registry.counter(
                "afferent_intake_lines_total",
                "Lines of children and files that were taken.",
                &labels,
            ),
            refused: registry.counter(
                "afferent_intake_lines_refused_total",
                "Lines of these that were refused.",
                &labels,
            ),
            name: name.into(),
            troubles: registry.troubles().clone(),
        }
    }

    /// A line was refused, and nobody else is told.
    pub(super) fn refuse(&self, number: u64, error: &str) {
        self.refused.add(1);
        let name = &self.name;
        let text = format!("line {number} of {name} was refused, and its event is lost: {error}; mend what writes it");
        self.troubles.happened(&format!("lines of {name}"), text);
    }
}

/// Runs the child until the agent stops; starts it again, each time later, when it ends.
pub async fn run<S: EventSink>(
    settings: ExecSettings,
    sink: S,
    clock: Arc<dyn Clock>,
    metrics: LineMetrics,
    mut stop: Stop,
) {
    let name = &settings.name;
    let kind = format!("child {name}");
    let mut wait_ms = RESTART_WAIT_MS_MIN;
    loop {
        let started = Instant::now();
        let mut child = std::pin::pin!(one_run(&settings, &sink, &clock, &metrics));
        let ended = tokio::select! {
            () = stop.requested() => return,
            ended = &mut child => ended,
            () = tokio::time::sleep(Duration::from_millis(RESTART_PROVEN_MS)) => {
                metrics.troubles.ends(&kind);
                tokio::select! {
                    () = stop.requested() => return,
                    ended = child => ended,
                }
            }
        };
        let seconds = wait_ms / 1000;
        match ended {
            // As programs do that look once and end.
            Ok(status) if status.success() => {
                metrics.troubles.ends(&kind);
                metrics.troubles.log(&kind, format!("the child {name} has ended, and is started again in {seconds} s"));
            }
            Ok(status) => metrics.troubles.begins(
                &kind,
                format!("the child {name} has ended ({status}), and is started again in {seconds} s; see what it says"),
            ),
            Err(error) => metrics.troubles.begins(
                &kind,
                format!(
                    "the child {name} cannot be run: {}: {error}; mend `intake.exec.command`, it is tried again in \
                     {seconds} s",
                    settings.command.first().map_or("", String::as_str)
                ),
            ),
        }
        if started.elapsed() >= Duration::from_millis(RESTART_WAIT_MS_MAX) {
            wait_ms = RESTART_WAIT_MS_MIN;
        }
        tokio::select! {
            () = stop.requested() => return,
            () = tokio::time::sleep(Duration::from_millis(wait_ms)) => {}
        }
        wait_ms = (wait_ms * 2).min(RESTART_WAIT_MS_MAX);
    }
}

async fn one_run<S: EventSink>(
    settings: &ExecSettings,
    sink: &S,
    clock: &Arc<dyn Clock>,
    metrics: &LineMetrics,
) -> io::Result<std::process::ExitStatus> {
    let (program, arguments) =
        settings.command.split_first().ok_or_else(|| io::Error::other("`command` is empty; name a program"))?;
    let mut child: Child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let output = child.stdout.take().expect("the child's output was piped above");
    let errors = child.stderr.take().expect("so were its errors");
    let mut lines = std::pin::pin!(async {
        take_lines(output, sink, clock, metrics).await?;
        child.wait().await
    });
    let mut errors = std::pin::pin!(stderr::log(&settings.name, errors));
    tokio::select! {
        ended = &mut lines => {
            // Why it has ended is often the last that it writes. A child of the child may hold that end open.
            let _ = tokio::time::timeout(Duration::from_millis(LAST_WORDS_MS), errors).await;
            ended
        }
        () = &mut errors => lines.await,
    }
}

/// Takes all lines of `reader`; refused ones are counted and logged. Returns at its end, or when the agent stops.
pub async fn take_lines<S: EventSink, R: AsyncRead + Unpin>(
    mut reader: R,
    sink: &S,
    clock: &Arc<dyn Clock>,
    metrics: &LineMetrics,
) -> io::Result<()> {
    let mut parser = LineParser::default();
    let mut lines = LineBuffer::default();
    let mut number = 0_u64;
    loop {
        let count = reader.read(lines.space()).await?;
        lines.filled(count);
        loop {
            let line = match lines.next_line() {
                Some(line) => line,
                None if count == 0 => match lines.last_line() {
                    Some(line) => line,
                    None => return Ok(()),
                },
                None => break,
            };
            number += 1;
            match take_line(&line, &mut parser, sink, clock).await {
                Ok(_) => metrics.taken.add(1),
                Err(Refused::Stopped) => return Ok(()),
                Err(Refused::Unwritable(error) | Refused::Said(error)) => metrics.refuse(number, &error),
            }
        }
    }
}

/// Why a line was not taken.
pub(super) enum Refused {
    /// The agent is stopping.
    Stopped,
    /// The disk does not take anything now.
    Unwritable(String),
    /// It says something that cannot be taken.
    Said(String),
}

/// Takes one line, when there is room for it; an empty one has no ticket.
pub(super) async fn take_line<S: EventSink>(
    line: &Line<'_>,
    parser: &mut LineParser,
    sink: &S,
    clock: &Arc<dyn Clock>,
) -> Result<Option<Ticket>, Refused> {
    let said = |error: LineError| Refused::Said(error.text());
    let line = match *line {
        Line::Whole(line) if line.iter().all(u8::is_ascii_whitespace) => return Ok(None),
        Line::Whole(line) => line,
        Line::TooLong => return Err(said(LineError::TooLong)),
    };
    let parsed = parser.parse(line).map_err(said)?;
    let event = parsed.event(clock.wall()).map_err(said)?;
    loop {
        match sink.push(&event, Waiting::Nobody) {
            Ok(ticket) => return Ok(Some(ticket)),
            Err(Refusal::Full) => sink.room().await,
            Err(Refusal::Stopped | Refusal::Failed(_)) => return Err(Refused::Stopped),
            Err(unwritable @ Refusal::Unwritable(_)) => return Err(Refused::Unwritable(unwritable.to_string())),
            Err(other) => return Err(Refused::Said(other.to_string())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SystemClock;
    use crate::intake::sink::fake::FakeSink;

    fn settings(script: &str) -> ExecSettings {
        ExecSettings { name: "probe".to_owned(), command: ["sh", "-c", script].map(str::to_owned).to_vec() }
    }

    #[tokio::test]
    async fn a_childs_lines_are_taken_and_bad_ones_counted() {
        let sink = FakeSink::committing();
        let registry = Registry::default();
        let metrics = LineMetrics::new(&registry, "probe");
        let (sender, stop) = afferent_host::stop::channel();
        let script =
            r#"echo '{"subject":"a","value":1}'; echo bad; echo; printf '{"subject":"a","value":2}'; exec sleep 1000"#;
        let running =
            tokio::spawn(run(settings(script), sink.clone(), Arc::new(SystemClock::new()), metrics.clone(), stop));
        sink.taken(1).await;
        sender.stop();
        running.await.unwrap();
        assert_eq!(sink.events()[0].1, Waiting::Nobody);
    }

    #[tokio::test(start_paused = true)]
    async fn a_child_that_ends_is_started_again() {
        let sink = FakeSink::committing();
        let metrics = LineMetrics::new(&Registry::default(), "probe");
        let (sender, stop) = afferent_host::stop::channel();
        let script = r#"echo '{"subject":"a","value":1}'"#;
        let running = tokio::spawn(run(settings(script), sink.clone(), Arc::new(SystemClock::new()), metrics, stop));
        sink.taken(3).await;
        sender.stop();
        running.await.unwrap();
    }

    #[tokio::test]
    async fn standard_input_is_read_to_its_end() {
        let sink = FakeSink::committing();
        let metrics = LineMetrics::new(&Registry::default(), "stdin");
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let input = &b"{\"subject\":\"a\",\"value\":1}\nbad\n\n{\"subject\":\"a\",\"value\":2}"[..];
        take_lines(input, &sink, &clock, &metrics).await.unwrap();
        assert_eq!((sink.events().len(), metrics.refused.get()), (2, 1));
    }
}
