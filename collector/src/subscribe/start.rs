//! The start of a reader, as people write it: an offset, a place, a time, `first` or `end`.

use std::ops::Range;
use std::str::FromStr;

use afferent_protocol::ids::{Offset, Timestamp};
use afferent_protocol::session::signed::Place;

use crate::log::{ReadLog, ReadLogError};
use crate::terms::{PlaceError, PlaceText};

/// The start of a reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// At the oldest event that is kept.
    First,
    /// After the newest event.
    End,
    /// At this offset, of any log.
    Offset(Offset),
    /// At this place, which must be in the log.
    Place(Place),
    /// At the first event ingested then or later; a future time is waited for ([`Start::to_come`]).
    Time(Timestamp),
}

/// The text is not a start.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is neither an offset (as 1042), a place (OFFSET@TERM.LOG), a time (RFC 3339, as 2021-09-13T23:54:31Z), \
     `first` nor `end`"
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
        // An unescaped '+' in a query arrives as a blank.
        let repaired = || text.rsplit_once(' ').and_then(|(time, zone)| format!("{time}+{zone}").parse().ok());
        let time: jiff::Timestamp = text.parse().ok().or_else(repaired).ok_or_else(error)?;
        Ok(Self::Time(Timestamp::clamped(time.as_microsecond())))
    }
}

/// A reader cannot begin there.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Retention has removed the offset.
    #[error("offset {from} is no longer kept; the log goes from {} up to {}", kept.start, kept.end)]
    Gone {
        /// The requested offset.
        from: Offset,
        /// The kept offsets.
        kept: Range<Offset>,
    },
    /// The offset is not written yet.
    #[error("offset {from} is beyond the end; the log goes from {} up to {}", kept.start, kept.end)]
    Beyond {
        /// The requested offset.
        from: Offset,
        /// The kept offsets.
        kept: Range<Offset>,
    },
    /// The place is of a different log, or of a different state of this one.
    #[error(
        "the place of offset {from} no longer exists: {error}; the log goes from {} up to {}",
        kept.start,
        kept.end
    )]
    Lost {
        /// The requested offset.
        from: Offset,
        /// Why the place is not in the log.
        error: PlaceError,
        /// The kept offsets.
        kept: Range<Offset>,
    },
    /// Looking up the time failed.
    #[error(transparent)]
    Log(#[from] ReadLogError),
}

impl Start {
    /// The start's time, if it is in the future by the collector's clock: earlier entries are not delivered.
    pub fn to_come(self, now: Timestamp) -> Option<Timestamp> {
        match self {
            Self::Time(time) if time > now => Some(time),
            _ => None,
        }
    }

    /// The offset of this start in a log. The end itself is valid; offsets beyond it are not. Blocks.
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
    fn a_text_that_is_no_place_is_refused_with_the_form_of_one() {
        for text in ["", "-1", "1.5", "99999999999999999999", "yesterday", "2021-13-01T00:00:00Z", "\0"] {
            let error = text.parse::<Start>().unwrap_err();
            assert!(error.to_string().contains("RFC 3339"), "{text:?}: {error}");
        }
    }
}
