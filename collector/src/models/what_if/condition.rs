//! A rule's condition, in CEL (the Common Expression Language), compiled once.
//!
//! It sees an event as these variables; a missing one is an empty text, or null for `value`: `type` (as `breakdown`),
//! `subject`, `machine`, `source`, `stream`, `time_s` and `ingest_s` (seconds since 1970), `offset`, `value`, `unit`,
//! `quality`, `code`, `severity`, `message`, `state`, `reason`, `condition`, `transition`, `priority`.

use std::fmt;
use std::sync::Arc;

use afferent_protocol::event::{Body, Quality, Value as Measured};
use cel::common::ast::Expr;
use cel::common::types::{CelBool, CelDouble, CelInt, CelNull, CelString};
use cel::common::value::CowVal;
use cel::context::VariableResolver;
use cel::{Context, Env, IdedExpr, Program, Value};

use super::super::LoggedEvent;
use crate::cloud_event::names;
use crate::limits::PLAN_CONDITION_BYTES_MAX;

const VARIABLES: [&str; 20] = [
    "type",
    "subject",
    "machine",
    "source",
    "stream",
    "time_s",
    "ingest_s",
    "offset",
    "value",
    "unit",
    "quality",
    "code",
    "severity",
    "message",
    "state",
    "reason",
    "condition",
    "transition",
    "priority",
    "kind",
];

/// Why a condition is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConditionError {
    /// It is too long.
    #[error("has {0} bytes; the limit is {PLAN_CONDITION_BYTES_MAX}")]
    TooLong(usize),
    /// It is not CEL.
    #[error("cannot be read: {0}")]
    Text(String),
    /// It names a variable that events do not have.
    #[error("uses `{name}`, which events do not have; they have {}", VARIABLES.join(", "))]
    Variable {
        /// The variable.
        name: String,
    },
    /// It loops over a list.
    #[error("loops over a list (all, exists, filter, map), which is not supported: it could run forever")]
    Loop,
}

/// A condition.
pub(super) struct RuleCondition {
    program: Program,
    env: Arc<Env>,
}

impl fmt::Debug for RuleCondition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Condition").finish_non_exhaustive()
    }
}

impl RuleCondition {
    pub fn new(text: &str) -> Result<Self, ConditionError> {
        if text.len() > PLAN_CONDITION_BYTES_MAX {
            return Err(ConditionError::TooLong(text.len()));
        }
        let program = Program::compile(text).map_err(|error| ConditionError::Text(error.to_string()))?;
        // Nested loops could run without bound: without loops, evaluation is bounded by the length of the text.
        if has_loop(program.expression()) {
            return Err(ConditionError::Loop);
        }
        if let Some(unknown) = program.references().variables().into_iter().find(|name| !VARIABLES.contains(name)) {
            return Err(ConditionError::Variable { name: unknown.to_owned() });
        }
        Ok(Self { program, env: Arc::new(Env::stdlib()) })
    }

    /// Whether it holds for an event, or the error of its evaluation.
    pub fn holds(&self, seen: &LoggedEvent<'_>) -> Result<bool, String> {
        let variables = Variables(seen);
        let mut context = Context::with_env(Arc::clone(&self.env));
        context.set_variable_resolver(&variables);
        match self.program.execute(&context) {
            Ok(Value::Bool(holds)) => Ok(holds),
            Ok(other) => Err(format!("it returns {other:?} instead of true or false")),
            Err(error) => Err(error.to_string()),
        }
    }
}

fn has_loop(expression: &IdedExpr) -> bool {
    match &expression.expr {
        Expr::Comprehension(_) => true,
        Expr::Call(call) => call.target.iter().any(|target| has_loop(target)) || call.args.iter().any(has_loop),
        Expr::List(list) => list.elements.iter().any(has_loop),
        Expr::Select(select) => has_loop(&select.operand),
        // Maps and structs are of no use in a condition, and could hide a loop.
        Expr::Map(_) | Expr::Struct(_) => true,
        Expr::Unspecified | Expr::Ident(_) | Expr::Literal(_) => false,
    }
}

struct Variables<'s, 'e>(&'s LoggedEvent<'e>);

impl VariableResolver for Variables<'_, '_> {
    fn resolve<'b>(&'b self, variable: &str) -> Option<CowVal<'b, 'b>> {
        let seen = self.0;
        let whole = |number: i64| Some(CowVal::owned(CelInt::from(number)));
        let text = match variable {
            "type" => seen.event.body.kind().name(),
            "subject" => seen.subject.text,
            "machine" => seen.machine.text,
            "source" => seen.batch.source.as_str(),
            "stream" => seen.batch.stream.name(),
            "time_s" => return whole(seen.event.time.micros() / 1_000_000),
            "ingest_s" => return whole(seen.ingest.micros() / 1_000_000),
            "offset" => return whole(i64::try_from(seen.offset.get()).unwrap_or(i64::MAX)),
            "priority" => {
                return whole(if let Body::Alarm(alarm) = seen.event.body { alarm.priority.into() } else { 0 });
            }
            "value" => return Some(value_of(&seen.event.body)),
            _ => text_of(&seen.event.body, variable)?,
        };
        Some(CowVal::owned(CelString::from(text)))
    }
}

fn value_of<'a>(body: &Body<'a>) -> CowVal<'a, 'a> {
    match body {
        Body::Sample(sample) => match sample.value {
            Measured::Float(value) => CowVal::owned(CelDouble::from(value)),
            Measured::Integer(value) => CowVal::owned(CelInt::from(value)),
            Measured::Bool(value) => CowVal::owned(CelBool::from(value)),
            Measured::Text(value) => CowVal::owned(CelString::from(value)),
        },
        _ => CowVal::owned(CelNull),
    }
}

fn text_of<'a>(body: &Body<'a>, variable: &str) -> Option<&'a str> {
    let text = match (variable, body) {
        ("unit", Body::Sample(sample)) => sample.unit,
        ("quality", Body::Sample(sample)) => match sample.quality {
            Quality::Good => "good",
            Quality::Uncertain => "uncertain",
            Quality::Bad => "bad",
        },
        ("code", Body::Breakdown(body)) => body.code,
        ("code", Body::Recovery(body)) => body.code,
        ("severity", Body::Breakdown(body)) => names::severity(body.severity),
        ("message", Body::Breakdown(body)) => body.message,
        ("message", Body::Recovery(body)) => body.message,
        ("message", Body::Alarm(body)) => body.message,
        ("state", Body::State(body)) => names::machine_state(body.state),
        ("reason", Body::State(body)) => body.reason,
        ("condition", Body::Alarm(body)) => body.condition,
        ("transition", Body::Alarm(body)) => names::alarm_transition(body.transition),
        ("kind", Body::Derived(body)) => body.kind,
        _ if VARIABLES.contains(&variable) => "",
        _ => return None,
    };
    Some(text)
}

#[cfg(test)]
mod tests {
    use afferent_protocol::event::Kind;

    use super::super::super::testing::{breakdown, sample, seen_one};
    use super::*;
    use crate::kinds::{OnPage, TYPES};

    fn holds(text: &str) -> Result<bool, String> {
        let condition = RuleCondition::new(text).unwrap();
        seen_one(&breakdown(7, "88-C/belt", "BELT-2", "torn"), |seen| condition.holds(seen))
    }

    #[test]
    fn a_condition_is_told_from_what_an_event_has() {
        for (text, told) in [
            ("type == 'breakdown' && code.startsWith('BELT')", true),
            ("machine == '88-C' && subject == '88-C/belt' && source == 'press-88'", true),
            ("severity in ['error', 'fatal'] && time_s == 7 && offset == 0", true),
            ("type == 'sample' && value > 80.0", false),
            ("value == null && unit == ''", true),
        ] {
            assert_eq!(holds(text), Ok(told), "{text}");
        }
        let hot = RuleCondition::new("value > 80").unwrap();
        assert_eq!(seen_one(&sample(1, "88-C/x", 81.5), |seen| hot.holds(seen)), Ok(true));
    }

    #[test]
    fn a_condition_can_ask_for_every_field_of_what_happens_on_a_machine() {
        let types = TYPES.iter().filter(|row| row.page == OnPage::Listed || row.kind == Some(Kind::Sample));
        for field in types.flat_map(|row| row.fields) {
            assert!(VARIABLES.contains(field), "{field}");
        }
    }

    #[test]
    fn a_condition_that_cannot_be_evaluated_is_an_error_and_not_a_no() {
        for text in ["value > 80.0", "code", "nonsense(code)"] {
            assert!(holds(text).is_err(), "{text}: {:?}", holds(text));
        }
    }

    #[test]
    fn conditions_that_cannot_be_used_are_refused_with_the_reason() {
        let error = |text: &str| RuleCondition::new(text).unwrap_err();
        assert!(matches!(error("code =="), ConditionError::Text(_)));
        assert_eq!(error("colour == 'red'"), ConditionError::Variable { name: "colour".into() });
        assert_eq!(error(&"x".repeat(1025)), ConditionError::TooLong(1025));
        for text in ["[1, 2].all(x, x > 0)", "!([[1].map(x, x)].size() == 0)", "{'a': [1].exists(x, true)}['a']"] {
            assert_eq!(error(text), ConditionError::Loop, "{text}");
        }
        assert!(RuleCondition::new(&"(".repeat(1024)).is_err() && RuleCondition::new(&"!".repeat(1024)).is_err());
    }
}
