//! `emit`: sends one event, or lines from standard input, to the agent and returns once they are on its disk.

use std::io::{self, BufRead};

use afferent_protocol::event::Kind;
use clap::{Args, Subcommand};
use serde_json::{Map, Value};

use super::{SendError, TargetArgs, outcome};
use crate::client::{self, Report};
use crate::intake::cell::{self, Look};

/// Send one event to a running agent; exits 0 once the event is on the agent's disk
#[derive(Clone, Debug, Args)]
pub struct EmitArgs {
    #[command(flatten)]
    target: TargetArgs,
    /// When it happened, in RFC 3339 [default: now]
    #[arg(long, value_name = "TIME", global = true)]
    time: Option<String>,
    #[command(subcommand)]
    event: EmitEvent,
}

#[derive(Clone, Debug, Subcommand)]
enum EmitEvent {
    /// A sample: one value of a sensor
    Sample {
        /// The subject, such as 88-C/spindle/temperature
        subject: String,
        /// A number, true, false or text
        #[arg(allow_hyphen_values = true)]
        value: String,
        /// Send the value as text, even if it looks like a number
        #[arg(long)]
        text: bool,
        /// The unit, a UCUM code such as Cel
        #[arg(long)]
        unit: Option<String>,
        /// The quality of the value: good, uncertain or bad
        #[arg(long)]
        quality: Option<String>,
    },
    /// A machine broke down
    Breakdown {
        /// What it is about, as 88-C
        subject: String,
        /// The code that the machine gives the breakdown
        #[arg(long)]
        code: Option<String>,
        /// How severe it is: debug, info, warning, error or fatal
        #[arg(long)]
        severity: Option<String>,
        /// For people
        #[arg(long)]
        message: Option<String>,
    },
    /// A machine works again: a breakdown has ended
    Recovery {
        /// What it is about, as 88-C
        subject: String,
        /// The code of the breakdown that has ended
        #[arg(long)]
        code: Option<String>,
        /// For people
        #[arg(long)]
        message: Option<String>,
    },
    /// The state of a machine has changed
    State {
        /// What it is about, as 88-C
        subject: String,
        /// The new state: not_available, out_of_service, not_executing or executing
        state: String,
        /// Why the state has changed
        #[arg(long)]
        reason: Option<String>,
    },
    /// An alarm has changed
    Alarm {
        /// What it is about, as 88-C
        subject: String,
        /// The name of the condition that the alarm is about
        #[arg(long)]
        condition: String,
        /// What happened to it: raised, cleared, acknowledged, shelved or unshelved
        #[arg(long, default_value = "raised")]
        transition: String,
        /// The priority, from 1 (lowest) to 1000 (highest)
        #[arg(long)]
        priority: Option<u16>,
        /// For people
        #[arg(long)]
        message: Option<String>,
    },
    /// Events from standard input, one JSON object a line
    Lines,
}

impl EmitArgs {
    /// Sends the events. Returns an error unless the agent accepted all of them.
    pub fn run(&self) -> Result<Report, SendError> {
        match self.line()? {
            Some(line) => self.send(std::iter::once(Ok(line.into_bytes()))),
            None => self.send(io::stdin().lock().split(b'\n')),
        }
    }

    fn send(&self, lines: impl Iterator<Item = io::Result<Vec<u8>>>) -> Result<Report, SendError> {
        let mut first = None;
        let note = |line: u64, error: &str| {
            first.get_or_insert_with(|| format!("line {line}: {error}"));
        };
        let report = client::send(&self.target.target(), self.target.timeout(), lines, note)?;
        outcome(report, first)
    }

    /// The event as a line of the socket's format; `None` when the lines come from standard input.
    fn line(&self) -> Result<Option<String>, SendError> {
        let text = |text: &Option<String>| text.clone().map(Value::String);
        let (kind, subject, fields) = match &self.event {
            EmitEvent::Sample { subject, unit, quality, .. } => {
                (Kind::Sample, subject, vec![("unit", text(unit)), ("quality", text(quality))])
            }
            EmitEvent::Breakdown { subject, code, severity, message } => (
                Kind::Breakdown,
                subject,
                vec![("code", text(code)), ("severity", text(severity)), ("message", text(message))],
            ),
            EmitEvent::Recovery { subject, code, message } => {
                (Kind::Recovery, subject, vec![("code", text(code)), ("message", text(message))])
            }
            EmitEvent::State { subject, state, reason } => {
                (Kind::State, subject, vec![("state", Some(state.as_str().into())), ("reason", text(reason))])
            }
            EmitEvent::Alarm { subject, condition, transition, priority, message } => (
                Kind::Alarm,
                subject,
                vec![
                    ("condition", Some(condition.as_str().into())),
                    ("transition", Some(transition.as_str().into())),
                    ("priority", priority.map(Value::from)),
                    ("message", text(message)),
                ],
            ),
            EmitEvent::Lines => return Ok(None),
        };
        let common = [
            ("subject", Some(subject.as_str().into())),
            ("type", Some(kind.name().into())),
            ("time", text(&self.time)),
        ];
        let given = common.into_iter().chain(fields).filter_map(|(name, value)| Some((name.to_owned(), value?)));
        let mut line = Value::Object(given.collect::<Map<_, _>>()).to_string();
        if let EmitEvent::Sample { value, text, .. } = &self.event {
            // Digit by digit, as it was given.
            line.insert_str(line.len() - 1, &format!(",\"value\":{}", value_of(value, *text)?));
        }
        Ok(Some(line))
    }
}

/// A value as JSON, by the rule of [`cell`].
fn value_of(value: &str, is_text: bool) -> Result<String, SendError> {
    let wrong = |why| SendError::Value(why, "--text takes it as a text");
    Ok(match cell::look(value, b'.') {
        _ if is_text => Value::from(value).to_string(),
        Look::Number | Look::Exponent => cell::number(value, b'.').map_err(wrong)?,
        Look::Comma | Look::NotFinite => return Err(wrong(cell::number(value, b'.').err().unwrap_or_default())),
        Look::Switch => cell::switch(value).unwrap_or_default().to_owned(),
        Look::Empty | Look::Text => Value::from(value).to_string(),
    })
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::intake::line::{self, LineParser};

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        emit: EmitArgs,
    }

    fn line(arguments: &[&str]) -> String {
        let cli = Cli::try_parse_from([&["emit"], arguments].concat()).unwrap();
        cli.emit.line().unwrap().unwrap()
    }

    #[test]
    fn arguments_become_lines_that_the_agent_takes() {
        for arguments in [
            &[
                "--socket",
                "x",
                "breakdown",
                "88-C",
                "--code",
                "E42",
                "--message",
                "a \"b\"",
                "--time",
                "2021-09-13T23:54:31Z",
            ][..],
            &["sample", "88-C/t", "-3.5", "--unit", "Cel", "--quality", "bad", "--socket", "x"],
            &["sample", "88-C/t", "true"],
            &["sample", "88-C/t", "[1]"],
            &["recovery", "88-C"],
            &["state", "88-C", "executing", "--reason", "shift"],
            &["alarm", "88-C", "--condition", "oil", "--priority", "7"],
        ] {
            let line = line(arguments);
            let parsed = LineParser::default().parse(line.as_bytes()).unwrap_or_else(|error| panic!("{line}: {error}"));
            parsed.check().unwrap_or_else(|error| panic!("{line}: {error}"));
        }
        assert_eq!(line(&["sample", "a", "5"]), r#"{"subject":"a","type":"sample","value":5}"#);
        assert_eq!(line(&["sample", "a", "5", "--text"]), r#"{"subject":"a","type":"sample","value":"5"}"#);
        assert_eq!(line(&["sample", "a", "00123"]), r#"{"subject":"a","type":"sample","value":"00123"}"#);
        assert_eq!(line(&["sample", "a", " TRUE "]), r#"{"subject":"a","type":"sample","value":true}"#);
    }

    #[test]
    fn a_value_that_is_perhaps_no_text_is_refused_with_the_remedy() {
        for value in ["NaN", "-inf", "1e999", "81,4", "18446744073709551615", "123456789012345678901234567890"] {
            let cli = Cli::try_parse_from(["emit", "sample", "a", value]).unwrap();
            let error = cli.emit.line().unwrap_err().to_string();
            assert!(error.contains(value) && error.contains("--text"), "{error}");
        }
    }

    #[test]
    fn whatever_a_producer_may_send_has_a_command() {
        use clap::CommandFactory;
        let cli = Cli::command();
        // Their documents are lines already.
        for kind in Kind::ALL.into_iter().filter(|kind| *kind != Kind::Derived) {
            let is_taken = line::Kind::of(kind).is_some();
            assert_eq!(cli.find_subcommand(kind.name()).is_some(), is_taken, "{}", kind.name());
        }
    }

    #[test]
    fn the_command_line_is_well_formed() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }
}
