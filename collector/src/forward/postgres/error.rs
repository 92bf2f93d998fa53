//! What a failure of the server means, and what to do.

use tokio_postgres::Error;
use tokio_postgres::error::{DbError, SqlState};

use super::super::sink::{DeliverError, Unavailable};
use crate::limits::POSTGRES_ANSWER_CHARS_MAX;

/// A step of the sink did not succeed.
#[derive(Debug)]
pub(super) enum Failure {
    /// The server, or the way to it.
    Sql(Error),
    /// Something is not as it has to be: what, and what to do.
    Wrong { reason: String, remedy: String },
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Sql(error)
    }
}

impl Failure {
    pub fn wrong(reason: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::Wrong { reason: reason.into(), remedy: remedy.into() }
    }

    fn of_server(&self) -> Option<&DbError> {
        match self {
            Self::Sql(error) => error.as_db_error(),
            Self::Wrong { .. } => None,
        }
    }

    /// Whether a row has the key of one that is there.
    pub fn is_double(&self) -> bool {
        self.of_server().is_some_and(|error| *error.code() == SqlState::UNIQUE_VIOLATION)
    }

    /// The error of a step that wrote no rows. `doing` completes "failed while …".
    pub fn unavailable(&self, target: &str, doing: &str) -> Unavailable {
        match self {
            Self::Wrong { reason, remedy } => Unavailable::new(format!("{target}: {reason}"), remedy.as_str()),
            Self::Sql(error) => {
                let text = text_of(error);
                let remedy = match error.as_db_error() {
                    Some(error) => remedy(error.code()),
                    None if text.contains(NOT_WRITABLE) => remedy(&SqlState::READ_ONLY_SQL_TRANSACTION),
                    None => NO_ANSWER,
                };
                Unavailable::new(format!("{target}: failed while {doing}: {text}"), remedy)
            }
        }
    }

    /// The error of the step that wrote this number of rows.
    pub fn of_rows(&self, target: &str, doing: &str, rows: usize) -> DeliverError {
        match (self, self.of_server()) {
            (Self::Sql(error), Some(of_server)) if rows > 0 && is_about_a_row(of_server) => {
                let index = of_server.where_().and_then(line_of).and_then(|line| line.checked_sub(1));
                let index = index.filter(|index| *index < rows);
                DeliverError::Refused { index, taken: 0, reason: format!("{target}: {}", text_of(error)) }
            }
            _ => self.unavailable(target, doing).into(),
        }
    }
}

/// The client's words about a standby.
const NOT_WRITABLE: &str = "does not allow writes";
const NO_ANSWER: &str = "check that the server runs, its address, `sslmode` and the network between";

/// Whether the server will never take one of the rows: its values, or a constraint or trigger that was added.
fn is_about_a_row(error: &DbError) -> bool {
    let code = error.code();
    // Bytes that do not fit the columns mean that the table was changed, not that a row is wrong.
    let is_layout = [SqlState::INVALID_BINARY_REPRESENTATION, SqlState::BAD_COPY_FILE_FORMAT].contains(code);
    // A row without a partition names no constraint.
    let is_partition = *code == SqlState::CHECK_VIOLATION && error.constraint().is_none();
    let is_of_class = |class| code.code().starts_with(class);
    let is_value = is_of_class("22") || is_of_class("23") || is_of_class("54") || *code == SqlState::RAISE_EXCEPTION;
    is_value && !is_layout && !is_partition
}

/// The line in the context of an error of `COPY`: `COPY events, line 17, column data`.
fn line_of(context: &str) -> Option<usize> {
    let (_, behind) = context.split_once("COPY ")?.1.split_once(", line ")?;
    let digits = behind.find(|c: char| !c.is_ascii_digit()).unwrap_or(behind.len());
    behind[..digits].parse().ok()
}

/// The remedy, by PostgreSQL's table of error codes (appendix A).
fn remedy(code: &SqlState) -> &'static str {
    match code.code() {
        "28P01" => "check `password` and `user`",
        code if code.starts_with("28") => "check `user` and `password`, and pg_hba.conf at the server",
        "3D000" => "correct `database`, or create it: CREATE DATABASE … ENCODING 'UTF8'",
        "42501" => "grant what it names to `user`: it needs to own the tables, or that somebody makes them for it",
        "42P01" | "3F000" | "42703" | "42804" | "22P03" | "22P04" | "0A000" => {
            "the tables were changed or removed; restore them, or rename what is left: they are made where none are"
        }
        "23514" => "a partition of the table is missing; the next try makes it",
        "53100" => "free space on the server's disk; delivery goes on afterwards",
        "53300" => "allow more connections at the server (max_connections), or end some",
        code if code.starts_with("53") => "the server lacks memory or another resource; see its log",
        "57P03" | "57P01" | "57P02" => "delivery goes on when the server is up",
        "57014" => "the server was too slow, or somebody cancelled it; raise `timeout_s` if that is normal",
        "55P03" | "40P01" => "see who holds a lock on the table: SELECT * FROM pg_locks",
        "25006" => "connect to the primary: this server does not take writes",
        code if code.starts_with("40") => "none is needed: it is tried again",
        _ => "see the server's log",
    }
}

/// An error on one line, not longer than a limit: the server's words and code, or all causes.
fn text_of(error: &Error) -> String {
    let text = match error.as_db_error() {
        Some(error) => {
            let detail = error.detail().map(|detail| format!(" ({detail})")).unwrap_or_default();
            format!("{}{detail}, SQLSTATE {}", error.message(), error.code().code())
        }
        None => causes(error),
    };
    let words = text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join(" ").chars().take(POSTGRES_ANSWER_CHARS_MAX).collect()
}

fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        text = format!("{text}: {next}");
        cause = next.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_row_is_read_from_the_context() {
        for (context, line) in [
            ("COPY events, line 17, column data", Some(17)),
            ("COPY events, line 1", Some(1)),
            ("COPY events, line 3, column type: \"x\"", Some(3)),
            ("JSON data, line 1: {\nCOPY events, line 22, column data", Some(22)),
            ("SQL statement \"INSERT\"", None),
            ("COPY events, line 99999999999999999999999", None),
            ("", None),
        ] {
            assert_eq!(line_of(context), line, "{context}");
        }
    }

    #[test]
    fn every_code_has_a_remedy() {
        for (code, says) in [
            ("28P01", "password"),
            ("28000", "pg_hba"),
            ("3D000", "database"),
            ("42P01", "removed"),
            ("53100", "disk"),
            ("57P03", "is up"),
            ("25006", "primary"),
            ("40001", "tried again"),
            ("XX000", "log"),
        ] {
            assert!(remedy(&SqlState::from_code(code)).contains(says), "{code}");
        }
    }
}
