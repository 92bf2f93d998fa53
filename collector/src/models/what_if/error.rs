//! Why a plan cannot be used, and what is read from it by its rules as well.

use afferent_protocol::ids::Timestamp;

use super::super::DefinitionError;
use super::condition::ConditionError;
use crate::limits::PLAN_BYTES_MAX;
use crate::subscribe::FilterError;

/// Why a plan cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// It is too long.
    #[error("the plan has {0} bytes, and at most {PLAN_BYTES_MAX} are taken")]
    TooLong(usize),
    /// It is not TOML, or has keys that there are not.
    #[error("the plan, line {line}: {message}")]
    Text {
        /// The line.
        line: usize,
        /// What is wrong.
        message: String,
    },
    /// It has too many parts.
    #[error("{what} are {given}, and at most {taken} are taken")]
    TooMany {
        /// Of what.
        what: String,
        /// What was given.
        given: usize,
        /// What is taken.
        taken: usize,
    },
    /// A model that there is not.
    #[error("{place}: there is no model {model:?}; there are {known}")]
    Model {
        /// Where.
        place: String,
        /// What was named.
        model: String,
        /// What there is.
        known: String,
    },
    /// Settings that a model does not have.
    #[error("{place}: {error}")]
    Settings {
        /// Where.
        place: String,
        /// What is wrong.
        error: DefinitionError,
    },
    /// A rule's condition.
    #[error("{place}: `when` {error}")]
    Condition {
        /// Where.
        place: String,
        /// What is wrong.
        error: ConditionError,
    },
    /// A rule's filter.
    #[error("{place}: {error}")]
    Filter {
        /// Where.
        place: String,
        /// What is wrong.
        error: FilterError,
    },
    /// A key's value, or a key that is missing or too much.
    #[error("{place}: {message}")]
    Key {
        /// Where.
        place: String,
        /// What is wrong.
        message: String,
    },
}

/// A time, as TOML's own or as a text.
pub(super) fn time(place: &str, key: &str, value: &toml::Value) -> Result<Timestamp, PlanError> {
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let time: Result<jiff::Timestamp, _> = text.parse();
    let time = time.map_err(|_| PlanError::Key {
        place: place.to_owned(),
        message: format!("`{key}` is no time; write it as 2021-09-13T23:54:31Z"),
    })?;
    Ok(Timestamp::clamped(time.as_microsecond()))
}
