//! Lines of a child or a file into the ring log: as the socket takes them, without answers. What is refused is counted
//! and reported.

use std::io;
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncReadExt};

use crate::clock::Clock;
use crate::intake::line::{LineError, LineParser};
use crate::intake::lines::{Line, LineBuffer};
use crate::intake::sink::{EventSink, Refusal, Ticket, Waiting};
use crate::metrics::{Counter, Registry};
use crate::trouble::Troubles;

/// What one such intake counts.
#[derive(Clone)]
pub struct LineMetrics {
    pub(super) taken: Counter,
    pub(super) refused: Counter,
    name: Arc<str>,
    pub(super) troubles: Troubles,
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

    /// Counts and reports a refused line, for inputs whose producer gets no answer.
    pub(super) fn refuse(&self, number: u64, error: &str) {
        self.refused.add(1);
        let name = &self.name;
        let text = format!(
            "line {number} of {name} was refused, and its event is lost: {error}; correct the program that writes it"
        );
        self.troubles.happened(&format!("lines of {name}"), text);
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
                Err(Refused::Unwritable(error) | Refused::Reason(error)) => metrics.refuse(number, &error),
            }
        }
    }
}

/// Why a line was not taken.
pub(super) enum Refused {
    /// The agent is stopping.
    Stopped,
    /// Writing to the disk fails at present.
    Unwritable(String),
    /// The line is invalid; the text states why.
    Reason(String),
}

/// Takes one line, when there is room for it; an empty one has no ticket.
pub(super) async fn take_line<S: EventSink>(
    line: &Line<'_>,
    parser: &mut LineParser,
    sink: &S,
    clock: &Arc<dyn Clock>,
) -> Result<Option<Ticket>, Refused> {
    let reason = |error: LineError| Refused::Reason(error.text());
    let line = match *line {
        Line::Whole(line) if line.iter().all(u8::is_ascii_whitespace) => return Ok(None),
        Line::Whole(line) => line,
        Line::TooLong => return Err(reason(LineError::TooLong)),
    };
    let parsed = parser.parse(line).map_err(reason)?;
    let event = parsed.event(clock.wall()).map_err(reason)?;
    loop {
        match sink.push(&event, Waiting::Nobody) {
            Ok(ticket) => return Ok(Some(ticket)),
            Err(Refusal::Full) => sink.room().await,
            Err(Refusal::Stopped | Refusal::Failed(_)) => return Err(Refused::Stopped),
            Err(unwritable @ Refusal::Unwritable(_)) => return Err(Refused::Unwritable(unwritable.to_string())),
            Err(other) => return Err(Refused::Reason(other.to_string())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SystemClock;
    use crate::intake::sink::fake::FakeSink;

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
