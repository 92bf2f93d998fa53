//! Folding a part of the log.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use afferent_protocol::ids::{Offset, Timestamp};

use super::super::store::Store;
use super::super::{Definition, Fold, Member};
use crate::log::events::{Entry, Part, Walk};
use crate::log::{ReadLog, ReadLogError};

/// Ends a replay that nobody waits for any more, or that takes too long. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Cancel {
    is_said: Arc<AtomicBool>,
    deadline: Option<Instant>,
}

impl Cancel {
    /// One that says so by itself after so long.
    pub fn within(time: Duration) -> Self {
        Self { is_said: Arc::default(), deadline: Instant::now().checked_add(time) }
    }

    /// Ends it.
    pub fn cancel(&self) {
        self.is_said.store(true, Ordering::Relaxed);
    }

    /// Whether it is to end.
    pub fn is_cancelled(&self) -> bool {
        self.is_said.load(Ordering::Relaxed) || self.is_late()
    }

    /// Whether it has taken too long.
    pub fn is_late(&self) -> bool {
        self.deadline.is_some_and(|deadline| Instant::now() >= deadline)
    }
}

/// Why a replay ended early.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// The log cannot be read.
    #[error(transparent)]
    Log(#[from] ReadLogError),
    /// Nobody waits for it any more, it took too long, or the collector stops.
    #[error("the replay was cancelled")]
    Cancelled,
}

/// Folds the log from where `fold` is up to `end`. What cannot be read is passed over and counted.
pub fn fold_log(
    log: &dyn ReadLog,
    fold: &mut Fold,
    end: Offset,
    is_cancelled: &dyn Fn() -> bool,
    each: &mut dyn FnMut(&mut Fold, &Entry<'_>, Offset),
) -> Result<(), ReplayError> {
    let walk = Walk::over(log, fold.next()..end);
    let walked = walk.run(&mut Vec::new(), &mut |part| {
        match part {
            Part::Entry(entry) => each(fold, &entry, end),
            Part::Hole(_) | Part::Removed(_) => fold.skip_to(part.end()),
        }
        if is_cancelled() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    if walked.is_break() || is_cancelled() {
        return Err(ReplayError::Cancelled);
    }
    if fold.next() < end {
        // The log does not reach so far: there is nothing to be had up to there.
        fold.skip_to(end);
    }
    Ok(())
}

/// A fold of these models up to the latest snapshot before `end` that all of them can begin with, or from the log's first event.
pub fn start_of(definition: &Definition, store: Option<&Store>, log: &dyn ReadLog, end: Offset) -> Fold {
    let mut model = definition.of.build();
    if let Some(store) = store {
        let mut at = end;
        while let Some(snapshot) = store.nearest(definition, at, log) {
            match model.load(&snapshot.state) {
                Ok(()) => return Fold::after(vec![Member::new(definition.id.clone(), model)], &snapshot),
                Err(error) => store.set_aside(&definition.id, snapshot.place.offset, &error.to_string()),
            }
            at = snapshot.place.offset;
        }
    }
    let first = log.kept().start;
    Fold::new(vec![Member::new(definition.id.clone(), definition.of.build())], first, Timestamp::default())
}
