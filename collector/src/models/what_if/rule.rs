//! The effect of a rule on an event.

use afferent_protocol::event::{
    Alarm, AlarmTransition, Body, Breakdown, Event, MachineState, Quality, Recovery, Sample, Severity, State, Value,
};
use afferent_protocol::ids::{Subject, Timestamp};
use serde::Deserialize;

use super::super::{LoggedEvent, Name, machine_of};
use super::condition::RuleCondition;
use super::error::{PlanError, time};
use crate::models::report::SeverityName;
use crate::subscribe::Filter;

/// A rule.
#[derive(Debug)]
pub(super) struct Rule {
    pub from: Option<Timestamp>,
    pub until: Option<Timestamp>,
    pub filter: Filter,
    pub condition: Option<RuleCondition>,
    pub action: RuleAction,
    /// The position of the rule in the plan, for errors.
    pub place: String,
}

/// The action of a rule.
#[derive(Debug)]
pub(super) enum RuleAction {
    Drop,
    Shift { by_us: i64 },
    Scale { factor: f64, plus: f64 },
    Relabel(Box<Relabel>),
}

/// The members that replace those of the event.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Relabel {
    subject: Option<String>,
    code: Option<String>,
    severity: Option<SeverityName>,
    message: Option<String>,
    state: Option<StateName>,
    reason: Option<String>,
    condition: Option<String>,
    priority: Option<u16>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum StateName {
    NotAvailable,
    OutOfService,
    NotExecuting,
    Executing,
}

/// An event that did not happen, as written in a plan.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawAdded {
    subject: String,
    #[serde(rename = "type")]
    kind: AddedKind,
    time: toml::Value,
    value: Option<f64>,
    #[serde(default)]
    unit: String,
    #[serde(default)]
    code: String,
    severity: Option<SeverityName>,
    #[serde(default)]
    message: String,
    state: Option<StateName>,
    #[serde(default)]
    reason: String,
    condition: Option<String>,
    priority: Option<u16>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum AddedKind {
    Sample,
    Breakdown,
    Recovery,
    State,
    Alarm,
}

/// An event that did not happen, checked.
#[derive(Debug)]
pub(super) struct Added {
    raw: RawAdded,
    time: Timestamp,
}

impl Rule {
    /// Whether the rule applies to this event, or the error of its condition.
    fn is_for(&self, seen: &LoggedEvent<'_>) -> Result<bool, String> {
        let time = seen.event.time;
        if self.from.is_some_and(|from| time < from) || self.until.is_some_and(|until| time >= until) {
            return Ok(false);
        }
        let taken = self.filter.takes_batch(seen.batch, false)
            && self.filter.takes_event(seen.subject.text, crate::cloud_event::type_of(&seen.event.body));
        match &self.condition {
            _ if !taken => Ok(false),
            None => Ok(true),
            Some(condition) => condition.holds(seen),
        }
    }

    /// The event after this rule, and whether it was changed; `None` when it was dropped.
    pub fn apply<'e>(&'e self, seen: LoggedEvent<'e>) -> Result<(Option<LoggedEvent<'e>>, bool), String> {
        if !self.is_for(&seen)? {
            return Ok((Some(seen), false));
        }
        let mut seen = seen;
        match &self.action {
            RuleAction::Drop => return Ok((None, true)),
            RuleAction::Shift { by_us } => {
                seen.event.time = Timestamp::clamped(seen.event.time.micros().saturating_add(*by_us));
                seen.time = Timestamp::clamped(seen.time.micros().saturating_add(*by_us));
            }
            RuleAction::Scale { factor, plus } => return Ok(scale(seen, *factor, *plus)),
            RuleAction::Relabel(set) => set.apply(&mut seen),
        }
        Ok((Some(seen), true))
    }
}

/// Scales a number; other values stay as they are.
fn scale(mut seen: LoggedEvent<'_>, factor: f64, plus: f64) -> (Option<LoggedEvent<'_>>, bool) {
    let number = match seen.event.body {
        Body::Sample(Sample { value: Value::Float(number), .. }) => number,
        Body::Sample(Sample { value: Value::Integer(number), .. }) => number as f64,
        _ => return (Some(seen), false),
    };
    let scaled = number * factor + plus;
    // A product that is not finite leaves the value as it is.
    if let (Body::Sample(sample), true) = (&mut seen.event.body, scaled.is_finite()) {
        sample.value = Value::Float(scaled);
    }
    (Some(seen), true)
}

impl Relabel {
    pub fn checked(&self, place: &str) -> Result<Self, PlanError> {
        check_subject(place, self.subject.as_deref())?;
        Ok(self.clone())
    }

    fn apply<'e>(&'e self, seen: &mut LoggedEvent<'e>) {
        if let Some(subject) = self.subject.as_deref().and_then(|subject| Subject::new(subject).ok()) {
            rename(seen, subject);
        }
        let text = |told: &mut &'e str, set: &'e Option<String>| {
            if let Some(set) = set {
                *told = set;
            }
        };
        match &mut seen.event.body {
            Body::Breakdown(body) => {
                text(&mut body.code, &self.code);
                text(&mut body.message, &self.message);
                body.severity = self.severity.map_or(body.severity, severity);
            }
            Body::Recovery(body) => {
                text(&mut body.code, &self.code);
                text(&mut body.message, &self.message);
            }
            Body::State(body) => {
                text(&mut body.reason, &self.reason);
                body.state = self.state.map_or(body.state, Into::into);
            }
            Body::Alarm(body) => {
                text(&mut body.condition, &self.condition);
                text(&mut body.message, &self.message);
                body.priority = self.priority.unwrap_or(body.priority);
            }
            _ => {}
        }
    }
}

/// Gives the event a different subject. The numbers of names are hints, and any will do.
fn rename<'e>(seen: &mut LoggedEvent<'e>, subject: Subject<'e>) {
    seen.event.subject = subject;
    seen.subject = Name { id: 0, text: subject.as_str() };
    seen.machine = Name { id: 0, text: machine_of(subject.as_str()) };
}

fn check_subject(place: &str, subject: Option<&str>) -> Result<(), PlanError> {
    let refused = subject.and_then(|subject| Subject::new(subject).err());
    match refused {
        None => Ok(()),
        Some(error) => Err(PlanError::Key { place: place.to_owned(), message: format!("the subject {error}") }),
    }
}

impl RawAdded {
    pub fn checked(&self, place: &str) -> Result<Added, PlanError> {
        let refuse = |message: &str| Err(PlanError::Key { place: place.to_owned(), message: message.to_owned() });
        check_subject(place, Some(&self.subject))?;
        match self.kind {
            AddedKind::Sample if self.value.is_none() => return refuse("an added sample needs a `value`"),
            AddedKind::State if self.state.is_none() => return refuse("an added state needs a `state`"),
            AddedKind::Alarm if self.condition.is_none() => {
                return refuse("an added alarm needs a `condition`");
            }
            _ => {}
        }
        let added = Added { raw: self.clone(), time: time(place, "time", &self.time)? };
        match added.event().check() {
            Ok(()) => Ok(added),
            Err(error) => refuse(&format!("the added event: {error}")),
        }
    }
}

impl Added {
    /// The time of the event.
    pub fn time(&self) -> Timestamp {
        self.time
    }

    pub fn event(&self) -> Event<'_> {
        let raw = &self.raw;
        let body = match raw.kind {
            AddedKind::Sample => {
                let value = Value::Float(raw.value.unwrap_or_default());
                Body::Sample(Sample { value, unit: &raw.unit, quality: Quality::Good })
            }
            AddedKind::Breakdown => {
                let severity = raw.severity.map_or(Severity::Error, severity);
                Body::Breakdown(Breakdown { code: &raw.code, severity, message: &raw.message })
            }
            AddedKind::Recovery => Body::Recovery(Recovery { code: &raw.code, message: &raw.message }),
            AddedKind::State => {
                let state = raw.state.map_or(MachineState::NotAvailable, Into::into);
                Body::State(State { state, reason: &raw.reason })
            }
            AddedKind::Alarm => {
                let condition = raw.condition.as_deref().unwrap_or_default();
                let (transition, priority) = (AlarmTransition::Raised, raw.priority.unwrap_or(500));
                Body::Alarm(Alarm { condition, transition, priority, message: &raw.message })
            }
        };
        let subject = Subject::new(&raw.subject).expect("it was checked");
        Event { time: self.time, subject, body }
    }
}

fn severity(name: SeverityName) -> Severity {
    match name {
        SeverityName::Debug => Severity::Debug,
        SeverityName::Info => Severity::Info,
        SeverityName::Warning => Severity::Warning,
        SeverityName::Error => Severity::Error,
        SeverityName::Fatal => Severity::Fatal,
    }
}

impl From<StateName> for MachineState {
    fn from(name: StateName) -> Self {
        match name {
            StateName::NotAvailable => Self::NotAvailable,
            StateName::OutOfService => Self::OutOfService,
            StateName::NotExecuting => Self::NotExecuting,
            StateName::Executing => Self::Executing,
        }
    }
}
