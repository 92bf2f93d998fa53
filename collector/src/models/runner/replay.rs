//! Folds a part of the log.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use afferent_protocol::ids::{Offset, Timestamp};

use super::super::store::SnapshotFiles;
use super::super::{Definition, Fold, FoldMember};
use crate::log::events::{Entry, Walk, WalkItem};
use crate::log::{ReadLog, ReadLogError};

/// Ends a replay whose client is gone, or that takes too long. Clones share the state.
#[derive(Clone, Debug, Default)]
pub struct Cancel {
    is_said: Arc<AtomicBool>,
    deadline: Option<Instant>,
}

impl Cancel {
    /// A token that cancels itself after this time.
    pub fn within(time: Duration) -> Self {
        Self { is_said: Arc::default(), deadline: Instant::now().checked_add(time) }
    }

    /// Cancels the replay.
    pub fn cancel(&self) {
        self.is_said.store(true, Ordering::Relaxed);
    }

    /// Whether the replay must end.
    pub fn is_cancelled(&self) -> bool {
        self.is_said.load(Ordering::Relaxed) || self.is_late()
    }

    /// Whether the time is over.
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
    /// The client is gone, it took too long, or the collector stops.
    #[error("the replay was cancelled")]
    Cancelled,
}

/// Folds the log from the fold's offset up to `end`. Unreadable events are skipped and counted.
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
            WalkItem::Entry(entry) => each(fold, &entry, end),
            WalkItem::Hole(_) | WalkItem::Removed(_) => fold.skip_to(part.end()),
        }
        if is_cancelled() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    if walked.is_break() || is_cancelled() {
        return Err(ReplayError::Cancelled);
    }
    if fold.next() < end {
        // The log ends before `end`: there is no event to read up to there.
        fold.skip_to(end);
    }
    Ok(())
}

/// A fold of these models at the latest common snapshot before `end`, or at the log's first event.
pub fn start_of(definition: &Definition, store: Option<&SnapshotFiles>, log: &dyn ReadLog, end: Offset) -> Fold {
    let mut model = definition.of.build();
    if let Some(store) = store {
        let mut at = end;
        while let Some(snapshot) = store.nearest(definition, at, log) {
            assert!(snapshot.place.offset <= at, "a snapshot has seen nothing behind the wanted offset");
            match model.load(&snapshot.state) {
                Ok(()) => return Fold::after(vec![FoldMember::new(definition.id.clone(), model)], &snapshot),
                Err(error) => store.set_aside(&definition.id, snapshot.place.offset, &error.to_string()),
            }
            at = snapshot.place.offset;
        }
    }
    let first = log.kept().start;
    Fold::new(vec![FoldMember::new(definition.id.clone(), definition.of.build())], first, Timestamp::default())
}
