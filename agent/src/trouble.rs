//! Troubles: failures that people must see, in the log and in health.
//!
//! The first of each kind is a warning at once, with the reason and what to do; further ones are counted, and become
//! one warning a minute. Health shows lasting troubles, and those of the last minute.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::limits::{TROUBLE_REPEAT_MS, TROUBLES_MAX};

const REPEAT: Duration = Duration::from_millis(TROUBLE_REPEAT_MS);

/// All troubles of an agent, by kind. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Troubles(Arc<Mutex<BTreeMap<String, Trouble>>>);

/// How long health shows a trouble.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shown {
    /// Until it ends.
    Lasting,
    /// For a minute.
    AMinute,
    /// Never: health reports it from a better source.
    Never,
}

#[derive(Debug)]
struct Trouble {
    text: String,
    shown: Shown,
    happened_at: Instant,
    logged_at: Instant,
    /// How often it has happened since it was last logged.
    unlogged: u64,
}

impl Trouble {
    fn is_shown(&self, now: Instant) -> bool {
        match self.shown {
            Shown::Lasting => true,
            Shown::AMinute => now.duration_since(self.happened_at) < REPEAT,
            Shown::Never => false,
        }
    }
}

impl Troubles {
    /// Something went wrong once: it is shown for a minute.
    pub fn happened(&self, kind: &str, text: String) {
        self.warn(self.note(kind, text, Shown::AMinute, Instant::now()));
    }

    /// Something is wrong until [`Troubles::ends`] is called.
    pub fn begins(&self, kind: &str, text: String) {
        self.warn(self.note(kind, text, Shown::Lasting, Instant::now()));
    }

    /// Something went wrong that health reports by itself.
    pub fn log(&self, kind: &str, text: String) {
        self.warn(self.note(kind, text, Shown::Never, Instant::now()));
    }

    /// The trouble of this kind has ended.
    pub fn ends(&self, kind: &str) {
        let before = self.lock().get_mut(kind).map(|trouble| std::mem::replace(&mut trouble.shown, Shown::Never));
        if before == Some(Shown::Lasting) {
            tracing::info!("{kind}: all is well again");
        }
    }

    /// Logs the counted troubles that are due. Call it about once a second.
    pub fn flush(&self) {
        self.due(Instant::now()).into_iter().for_each(|text| self.warn(Some(text)));
    }

    /// Texts of the current troubles.
    pub fn texts(&self) -> Vec<String> {
        let now = Instant::now();
        self.lock().values().filter(|trouble| trouble.is_shown(now)).map(|trouble| trouble.text.clone()).collect()
    }

    fn warn(&self, text: Option<String>) {
        if let Some(text) = text {
            tracing::warn!("{text}");
        }
    }

    /// Records a trouble; returns the text to log now, if any.
    fn note(&self, kind: &str, text: String, shown: Shown, now: Instant) -> Option<String> {
        let mut known = self.lock();
        if let Some(trouble) = known.get_mut(kind) {
            (trouble.text, trouble.shown, trouble.happened_at) = (text, shown, now);
            trouble.unlogged += 1;
            return trouble.due_text(now);
        }
        if known.len() >= TROUBLES_MAX {
            let oldest = known.iter().filter(|(_, trouble)| !trouble.is_shown(now)).min_by_key(|(_, t)| t.happened_at);
            let oldest = oldest.map(|(kind, _)| kind.clone())?;
            known.remove(&oldest);
        }
        let trouble = Trouble { text: text.clone(), shown, happened_at: now, logged_at: now, unlogged: 0 };
        known.insert(kind.to_owned(), trouble);
        assert!(known.len() <= TROUBLES_MAX, "the number of troubles is bounded");
        Some(text)
    }

    fn due(&self, now: Instant) -> Vec<String> {
        self.lock().values_mut().filter_map(|trouble| trouble.due_text(now)).collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Trouble>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Trouble {
    /// The text with its count, once a minute has passed since it was last logged.
    fn due_text(&mut self, now: Instant) -> Option<String> {
        if self.unlogged == 0 || now.duration_since(self.logged_at) < REPEAT {
            return None;
        }
        let seconds = now.duration_since(self.logged_at).as_secs();
        let count = std::mem::take(&mut self.unlogged);
        self.logged_at = now;
        Some(format!("{} ({count} times more in the last {seconds} s)", self.text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_is_said_at_once_and_then_one_a_minute_with_the_count() {
        let (troubles, began) = (Troubles::default(), Instant::now());
        let said =
            |ms: u64| troubles.note("lines", format!("line {ms}"), Shown::AMinute, began + Duration::from_millis(ms));
        assert_eq!(said(0).as_deref(), Some("line 0"));
        let more = (1..600).filter_map(|at| said(at * 100)).count();
        assert_eq!(more, 0, "a line every 100 ms for a minute");
        assert_eq!(said(60_000).as_deref(), Some("line 60000 (600 times more in the last 60 s)"));
        // The control: another kind is the first of its kind.
        assert!(troubles.note("other", "x".into(), Shown::AMinute, began).is_some());
    }

    #[test]
    fn what_is_only_counted_is_said_in_the_end_too() {
        let (troubles, now) = (Troubles::default(), Instant::now());
        for _ in 0..3 {
            troubles.note("lines", "bad".into(), Shown::AMinute, now);
        }
        assert_eq!(troubles.due(now + REPEAT / 2), [] as [String; 0]);
        assert_eq!(troubles.due(now + REPEAT), ["bad (2 times more in the last 60 s)"]);
        assert_eq!(troubles.due(now + REPEAT * 3), [] as [String; 0]);
    }

    #[test]
    fn health_shows_what_lasts_until_it_ends() {
        let troubles = Troubles::default();
        troubles.begins("port", "the port is taken".into());
        troubles.log("link", "not connected".into());
        assert_eq!(troubles.texts(), ["the port is taken"]);
        troubles.ends("port");
        assert_eq!(troubles.texts(), [] as [String; 0]);
    }

    #[test]
    fn kinds_without_number_are_forgotten_and_what_lasts_is_not() {
        let (troubles, now) = (Troubles::default(), Instant::now());
        troubles.note("port", "taken".into(), Shown::Lasting, now);
        for number in 0..10 * TROUBLES_MAX {
            troubles.note(&format!("kind {number}"), "x".into(), Shown::Never, now);
        }
        assert_eq!(troubles.lock().len(), TROUBLES_MAX);
        assert_eq!(troubles.texts(), ["taken"]);
    }
}
