//! Errors of plans, and readers of values that plans and rules share.

use afferent_protocol::ids::Timestamp;

use super::super::DefinitionError;
use super::condition::ConditionError;
use crate::limits::PLAN_BYTES_MAX;
use crate::subscribe::FilterError;

/// Why a plan is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// It is too long.
    #[error("the plan has {0} bytes; the limit is {PLAN_BYTES_MAX}")]
    TooLong(usize),
    /// It is not TOML, or has unknown keys.
    #[error("the plan, line {line}: {message}")]
    Text {
        /// The line.
        line: usize,
        /// The error of the parser.
        message: String,
    },
    /// It has too many parts.
    #[error("{what} are {given}; the limit is {taken}")]
    TooMany {
        /// The name of the parts.
        what: String,
        /// The given number.
        given: usize,
        /// The largest number.
        taken: usize,
    },
    /// It names a model that does not exist.
    #[error("{place}: there is no model {model:?}; the models are {known}")]
    Model {
        /// The position in the plan.
        place: String,
        /// The named model.
        model: String,
        /// The existing models.
        known: String,
    },
    /// The model does not have these settings.
    #[error("{place}: {error}")]
    Settings {
        /// The position in the plan.
        place: String,
        /// The error of the settings.
        error: DefinitionError,
    },
    /// A rule's condition is refused.
    #[error("{place}: `when` {error}")]
    Condition {
        /// The position in the plan.
        place: String,
        /// The error of the condition.
        error: ConditionError,
    },
    /// A rule's filter is refused.
    #[error("{place}: {error}")]
    Filter {
        /// The position in the plan.
        place: String,
        /// The error of the filter.
        error: FilterError,
    },
    /// A key has a wrong value, is missing or is unknown.
    #[error("{place}: {message}")]
    Key {
        /// The position in the plan.
        place: String,
        /// The error.
        message: String,
    },
}

/// A time, as a TOML time or as a text.
pub(super) fn time(place: &str, key: &str, value: &toml::Value) -> Result<Timestamp, PlanError> {
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let time: Result<jiff::Timestamp, _> = text.parse();
    let time = time.map_err(|_| PlanError::Key {
        place: place.to_owned(),
        message: format!("`{key}` is not a time; write it as 2021-09-13T23:54:31Z"),
    })?;
    Ok(Timestamp::clamped(time.as_microsecond()))
}
