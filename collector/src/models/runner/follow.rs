//! The thread that follows the log.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use afferent_protocol::ids::Offset;
use tokio::runtime::Handle;
use tokio::sync::watch;

use super::super::snapshot::Snapshot;
use super::super::store::SnapshotFiles;
use super::super::{Definition, Fold, ModelId};
use super::replay::{ReplayError, fold_log, start_of};
use super::{Models, locked};
use crate::limits::{MODEL_SNAPSHOT_EVENTS, MODEL_SNAPSHOT_EVERY};
use crate::log::ReadLog;
use crate::turns::Turns;

/// First wait after the log could not be read.
const RETRY: Duration = Duration::from_secs(1);

/// All models at their newest snapshots: the furthest ones, which follow the log, and the others, to be rebuilt.
pub(super) fn load(definitions: &[Definition], store: Option<&SnapshotFiles>, log: &dyn ReadLog) -> (Fold, Vec<Fold>) {
    let end = log.kept().end;
    let mut folds: Vec<Fold> = definitions.iter().map(|definition| start_of(definition, store, log, end)).collect();
    folds.sort_by_key(|fold| std::cmp::Reverse(fold.next()));
    let mut folds = join_equals(folds).into_iter();
    let furthest = folds.next().unwrap_or_else(|| Fold::new(Vec::new(), end, Default::default()));
    (furthest, folds.collect())
}

/// Joins folds at the same offset, so that the log is read once for them.
fn join_equals(folds: Vec<Fold>) -> Vec<Fold> {
    let mut joined: Vec<Fold> = Vec::new();
    for fold in folds {
        match joined.last_mut() {
            Some(last) if last.next() == fold.next() => fold.members.into_iter().for_each(|member| last.join(member)),
            _ => joined.push(fold),
        }
    }
    joined
}

impl Models {
    /// Follows the log until it is stopped, and saves everything then.
    pub(super) fn follow(&self, mut durable: watch::Receiver<Offset>, runtime: &Handle) {
        let log = self.0.log.clone_reader();
        let mut turns = Turns::new(self.0.commits.clone());
        let mut saved = (self.live().next(), Instant::now());
        let mut place = Fold::new(Vec::new(), saved.0, Default::default());
        let mut looked: Option<Instant> = None;
        while !self.0.stopping.is_requested() {
            let end = log.kept().end;
            let outcome = self.advance(&*log, &mut place, end, &mut turns);
            self.take_finished(&*log);
            if looked.is_none_or(|looked| looked.elapsed() >= RETRY) {
                self.look_for_shortages();
                looked = Some(Instant::now());
            }
            let next = self.live().next();
            let is_due = next.since(saved.0) >= MODEL_SNAPSHOT_EVENTS || saved.1.elapsed() >= MODEL_SNAPSHOT_EVERY;
            if next > saved.0 && is_due {
                self.save_live();
                saved = (next, Instant::now());
            }
            match outcome {
                Ok(()) if next < log.kept().end => continue,
                Ok(()) => {
                    if !self.0.caught_up.swap(true, Ordering::Relaxed) {
                        tracing::info!(offset = next.get(), "the models have caught up with the log");
                    }
                }
                Err(ReplayError::Cancelled) => break,
                Err(error) => tracing::error!(%error, "the models cannot read the log; retrying"),
            }
            runtime.block_on(self.wait(&mut durable));
        }
        if self.live().next() > saved.0 {
            self.save_live();
        }
    }

    /// Publishes the models' shortages, so that requests need not lock the models.
    fn look_for_shortages(&self) {
        let live = self.live();
        let running = live.members.iter().filter(|member| member.failed.is_none());
        let found = running.filter_map(|member| Some((member.id.clone(), member.model.shortage()?))).collect();
        drop(live);
        *locked(&self.0.shortages) = found;
    }

    /// Waits for new events, or for the next check.
    async fn wait(&self, durable: &mut watch::Receiver<Offset>) {
        let mut stopping = self.0.stopping.clone();
        tokio::select! {
            () = stopping.requested() => {}
            changed = durable.changed() => if changed.is_err() {
                // No event will come any more: the stop signal follows soon.
                tokio::time::sleep(RETRY).await;
            },
            // Checks for rebuilt models to take in and for states to save.
            () = tokio::time::sleep(RETRY) => {}
        }
    }

    /// Folds a part of the available events, so that states are also saved while catching up.
    fn advance(&self, log: &dyn ReadLog, place: &mut Fold, end: Offset, turns: &mut Turns) -> Result<(), ReplayError> {
        let next = self.live().next();
        let part = Offset::new(end.get().min(next.get().saturating_add(MODEL_SNAPSHOT_EVENTS)));
        // Decoded without the lock on the models, which is taken for some events at a time: so a request for a state
        // does not wait for a whole part, and a commit does not wait for a batch.
        assert_eq!(place.next(), next, "the place goes with the models");
        let stopping = || self.0.stopping.is_requested();
        let outcome = fold_log(log, place, part, &stopping, &mut |place, entry, end| {
            self.catch_up(place.next());
            let passage = place.entry_through(entry, end, &mut |_, seen, _| {
                turns.wait();
                self.live().chunk(seen);
            });
            self.live().passed(entry, &passage);
        });
        self.catch_up(place.next());
        outcome
    }

    /// Skips offsets that cannot be read.
    fn catch_up(&self, reached: Offset) {
        let mut live = self.live();
        if live.next() < reached {
            live.skip_to(reached);
        }
    }

    /// Takes in rebuilt models once they are at the same offset.
    fn take_finished(&self, log: &dyn ReadLog) {
        let finished = std::mem::take(&mut *locked(&self.0.finished));
        for mut fold in finished {
            let end = self.live().next();
            let stopping = || self.0.stopping.is_requested();
            let caught_up = fold_log(log, &mut fold, end, &stopping, &mut Fold::entry);
            if let Err(error) = caught_up {
                tracing::warn!(%error, "a recomputed model cannot replace the present one yet");
                locked(&self.0.finished).push(fold);
                continue;
            }
            assert_eq!(fold.next(), end, "a model joins the others where they are");
            for mut member in fold.members {
                member.sort(false);
                tracing::info!(model = %member.id, offset = end.get(), "a model was recomputed and follows the log");
                let id = member.id.clone();
                self.live().join(member);
                locked(&self.0.rebuilding).remove(&id);
            }
        }
    }

    /// Saves all models that follow the log. Their states are copied first, so that requests do not wait for the disk.
    fn save_live(&self) {
        let Some(store) = &self.0.store else { return };
        let terms = self.0.log.terms();
        let states: Vec<(usize, Snapshot)> = {
            let rebuilding: Vec<ModelId> = locked(&self.0.rebuilding).keys().cloned().collect();
            let live = self.live();
            let place = |id| self.0.definitions.iter().position(|definition| definition.id == id);
            let running = live.members.iter().filter(|member| member.failed.is_none());
            let running = running.filter(|member| !rebuilding.contains(&member.id));
            running.filter_map(|member| Some((place(member.id.clone())?, live.snapshot(member, &terms)))).collect()
        };
        for (place, snapshot) in states {
            save(store, &self.0.definitions[place], &snapshot);
        }
    }
}

/// Saves a state; a failed save only costs a longer start.
pub(super) fn save(store: &SnapshotFiles, definition: &Definition, snapshot: &Snapshot) {
    if let Err(error) = store.save(definition, snapshot) {
        tracing::warn!(model = %definition.id, %error, "cannot save a model's state");
    }
}
