//! Where a reader begins, as people write it: an offset, a place, a time, `first` or `end`.

use std::ops::Range;
use std::str::FromStr;

use afferent_protocol::ids::{Offset, Timestamp};
use afferent_protocol::session::signed::Place;

use crate::log::{ReadLog, ReadLogError};
use crate::terms::{PlaceError, PlaceText};

/// Where a reader begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// At the oldest event that is kept.
    First,
    /// After the newest one.
    End,
    /// At this offset, whatever log it was given for.
    Offset(Offset),
    /// At this place, which must hold in the log.
    Place(Place),
    /// At the first event that was ingested then or later; a time to come is waited for ([`Start::to_come`]).
    Time(Timestamp),
}

/// The text says no place.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is neither an offset (as 1042), nor a place (OFFSET@TERM.LOG), nor a time (RFC 3339, as 2021-09-13T23:54:31Z), \
     nor `first` or `end`"
)]
pub struct StartTextError(String);

impl FromStr for Start {
    type Err = StartTextError;

    fn from_str(text: &str) -> Result<Self, StartTextError> {
        let error = || StartTextError(text.chars().take(64).collect());
        match text {
            "first" => return Ok(Self::First),
            "end" => return Ok(Self::End),
            _ => {}
        }
        if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
            return text.parse().map(|raw| Self::Offset(Offset::new(raw))).map_err(|_| error());
        }
        if text.contains('@') {
            return text.parse().map(|PlaceText(place)| Self::Place(place)).map_err(|_| error());
        }
        // A '+' that was not escaped arrives out of a query as a blank.
        let repaired = || text.rsplit_once(' ').and_then(|(time, zone)| format!("{time}+{zone}").parse().ok());
        let time: jiff::Timestamp = text.parse().ok().or_else(repaired).ok_or_else(error)?;
        Ok(Self::Time(Timestamp::clamped(time.as_microsecond())))
    }
}

/// A reader cannot begin there.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Retention has removed it.
    #[error("offset {from} is not kept any more; the log goes from {} up to {}", kept.start, kept.end)]
    Gone {
        /// What was asked for.
        from: Offset,
        /// What there is.
        kept: Range<Offset>,
    },
    /// It was not written yet.
    #[error("offset {from} lies beyond the end; the log goes from {} up to {}", kept.start, kept.end)]
    Beyond {
        /// What was asked for.
        from: Offset,
        /// What there is.
        kept: Range<Offset>,
    },
    /// It is a place of another log, or of another state of this one.
    #[error("offset {from} of that place is not what it was: {error}; the log goes from {} up to {}", kept.start, kept.end)]
    Lost {
        /// What was asked for.
        from: Offset,
        /// What became of it.
        error: PlaceError,
        /// What there is.
        kept: Range<Offset>,
    },
    /// Looking up the time failed.
    #[error(transparent)]
    Log(#[from] ReadLogError),
}

impl Start {
    /// The time that it is and that has not come by the collector's clock: nothing that is ingested before it is meant.
    pub fn to_come(self, now: Timestamp) -> Option<Timestamp> {
        match self {
            Self::Time(time) if time > now => Some(time),
            _ => None,
        }
    }

    /// The offset of this place in a log. The end itself is a place; what lies beyond it is none. Blocks.
    pub fn resolve(self, log: &dyn ReadLog) -> Result<Offset, StartError> {
        let kept = log.kept();
        match self {
            Self::First => Ok(kept.start),
            Self::End => Ok(kept.end),
            Self::Offset(from) if from < kept.start => Err(StartError::Gone { from, kept }),
            Self::Offset(from) if from > kept.end => Err(StartError::Beyond { from, kept }),
            Self::Offset(from) => Ok(from),
            Self::Place(place) => match log.terms().check(&place, kept.end) {
                Ok(()) => Self::Offset(place.offset).resolve(log),
                Err(error) => Err(StartError::Lost { from: place.offset, error, kept }),
            },
            Self::Time(time) => Ok(log.at_time(time)?),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_an_offset_a_time_or_a_word() {
        let time = Start::Time(Timestamp::new(1_631_577_271_000_000).unwrap());
        for (text, place) in [
            ("first", Start::First),
            ("end", Start::End),
            ("1042", Start::Offset(Offset::new(1042))),
            ("2021-09-13T23:54:31Z", time),
            ("2021-09-14T01:54:31+02:00", time),
            ("2021-09-14T01:54:31 02:00", time),
            ("1950-01-01T00:00:00Z", Start::Time(Timestamp::new(0).unwrap())),
        ] {
            assert_eq!(text.parse(), Ok(place), "{text}");
        }
    }

    #[test]
    fn what_is_no_place_is_refused_with_what_is_one() {
        for text in ["", "-1", "1.5", "99999999999999999999", "yesterday", "2021-13-01T00:00:00Z", "\0"] {
            let error = text.parse::<Start>().unwrap_err();
            assert!(error.to_string().contains("RFC 3339"), "{text:?}: {error}");
        }
    }
}
