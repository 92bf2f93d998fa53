//! The reports of a machine, as models keep them.

use afferent_protocol::event::{AlarmTransition, Body, MachineState, Severity};
use serde::{Deserialize, Serialize};

use super::LoggedEvent;
use super::amendment::shortened;

/// The state of a machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Condition {
    /// The condition is unknown.
    #[default]
    NoData,
    /// The machine executes.
    Executing,
    /// The machine is ready and idle.
    NotExecuting,
    /// The machine was taken out of service on purpose.
    OutOfService,
    /// The machine reports that it is not available.
    NotAvailable,
    /// The machine has broken down.
    Broken,
}

impl Condition {
    /// The name that readers see: a machine that has broken down is not available.
    pub fn name(self) -> &'static str {
        match self {
            Self::NoData => "no_data",
            Self::Executing => "executing",
            Self::NotExecuting => "not_executing",
            Self::OutOfService => "out_of_service",
            Self::NotAvailable | Self::Broken => "not_available",
        }
    }
}

impl From<MachineState> for Condition {
    fn from(state: MachineState) -> Self {
        match state {
            MachineState::NotAvailable => Self::NotAvailable,
            MachineState::OutOfService => Self::OutOfService,
            MachineState::NotExecuting => Self::NotExecuting,
            MachineState::Executing => Self::Executing,
        }
    }
}

/// A severity by the name that people write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SeverityName {
    /// For debugging software.
    Debug,
    /// Needs no action.
    Info,
    /// Needs attention.
    Warning,
    /// A part does not work.
    Error,
    /// A machine or a person is in danger.
    Fatal,
}

impl From<Severity> for SeverityName {
    fn from(severity: Severity) -> Self {
        match severity {
            Severity::Debug => Self::Debug,
            Severity::Info => Self::Info,
            Severity::Warning => Self::Warning,
            Severity::Error => Self::Error,
            Severity::Fatal => Self::Fatal,
        }
    }
}

/// The kind of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Kind {
    /// A state.
    State(Condition),
    /// A breakdown begins, or is reported again.
    Broken(SeverityName),
    /// A breakdown is over.
    Recovered,
    /// An alarm becomes active with this priority.
    Raised(u16),
    /// An alarm is not active any more.
    Cleared,
}

/// A report of a machine.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Report {
    /// The kind.
    pub kind: Kind,
    /// The subject of the report.
    pub subject: Box<str>,
    /// The code of a breakdown or recovery, the condition of an alarm; empty for a state.
    pub code: Box<str>,
    /// The message of a breakdown, the reason of a state.
    pub words: Box<str>,
}

impl Report {
    /// The report in an event, if it is a state, a breakdown of at least this severity or a recovery.
    pub fn of_state(seen: &LoggedEvent<'_>, severity_min: SeverityName) -> Option<Self> {
        let (kind, code, words) = match seen.event.body {
            Body::State(state) => (Kind::State(state.state.into()), "", state.reason),
            Body::Breakdown(body) if SeverityName::from(body.severity) >= severity_min => {
                (Kind::Broken(body.severity.into()), body.code, body.message)
            }
            Body::Recovery(body) => (Kind::Recovered, body.code, ""),
            _ => return None,
        };
        let (code, words) = (shortened(code).into(), shortened(words).into());
        Some(Self { kind, subject: seen.subject.text.into(), code, words })
    }

    /// The same, and alarms that are raised or cleared.
    pub fn with_alarms(seen: &LoggedEvent<'_>, severity_min: SeverityName) -> Option<Self> {
        let Body::Alarm(alarm) = seen.event.body else { return Self::of_state(seen, severity_min) };
        let kind = match alarm.transition {
            AlarmTransition::Raised => Kind::Raised(alarm.priority),
            AlarmTransition::Cleared => Kind::Cleared,
            _ => return None,
        };
        let code = shortened(alarm.condition).into();
        Some(Self { kind, subject: seen.subject.text.into(), code, words: "".into() })
    }

    /// The same without the text.
    pub fn without_words(self) -> Self {
        Self { words: "".into(), ..self }
    }

    /// Bytes in memory.
    pub fn bytes(&self) -> usize {
        size_of::<Self>() + self.subject.len() + self.code.len() + self.words.len()
    }
}

/// Whether a report about `above` is about `subject` too: both are equal, or `subject` is below it.
pub fn covers(above: &str, subject: &str) -> bool {
    subject.strip_prefix(above).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::covers;

    #[test]
    fn a_whole_covers_its_parts_and_a_part_no_other() {
        assert!(covers("88-C", "88-C") && covers("88-C", "88-C/belt") && covers("88-C/belt", "88-C/belt/motor"));
        assert!(!covers("88-C/belt", "88-C") && !covers("88-C/belt", "88-C/pump") && !covers("88-C/b", "88-C/belt"));
    }
}
