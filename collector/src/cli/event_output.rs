//! How events are written: for people, line by line for programs, or as one CloudEvents batch.

use std::io::{self, Write};

use afferent_collector::line::LineRenderer;

/// How events are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum EventOutput {
    /// One line per event, for people.
    #[default]
    Table,
    /// One CloudEvent per line (NDJSON).
    Json,
    /// One JSON array of CloudEvents (application/cloudevents-batch+json), closed when the command ends by itself.
    Cloudevents,
}

/// Writes events one after the other.
#[derive(Debug)]
pub struct EventWriter {
    output: EventOutput,
    lines: LineRenderer,
    written: u64,
}

impl EventWriter {
    pub fn new(output: EventOutput) -> Self {
        Self { output, lines: LineRenderer::default(), written: 0 }
    }

    /// Writes an event, given as its CloudEvent.
    pub fn write(&mut self, out: &mut impl Write, json: &str) -> io::Result<()> {
        self.written += 1;
        match self.output {
            EventOutput::Table => writeln!(out, "{}", self.lines.line(json)),
            EventOutput::Json => writeln!(out, "{json}"),
            EventOutput::Cloudevents => write!(out, "{}{json}", if self.written == 1 { "[" } else { ",\n" }),
        }
    }

    /// Writes what follows the last event.
    pub fn finish(&self, out: &mut impl Write) -> io::Result<()> {
        if self.output == EventOutput::Cloudevents {
            out.write_all(if self.written == 0 { b"[]\n" } else { b"]\n" })?;
        }
        out.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(output: EventOutput, events: &[&str]) -> String {
        let (mut out, mut writer) = (Vec::new(), EventWriter::new(output));
        events.iter().for_each(|event| writer.write(&mut out, event).unwrap());
        writer.finish(&mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_batch_is_one_document_and_lines_are_one_each() {
        let events = [r#"{"a":1}"#, r#"{"a":2}"#];
        for count in 0..=2 {
            let batch = written(EventOutput::Cloudevents, &events[..count]);
            let batch: Vec<serde_json::Value> = serde_json::from_str(&batch).unwrap();
            assert_eq!(batch.len(), count);
        }
        assert_eq!(written(EventOutput::Json, &events), "{\"a\":1}\n{\"a\":2}\n");
    }
}
