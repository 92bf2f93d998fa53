//! Rebuilds a model's state beside the running one.

use std::sync::Arc;

use afferent_protocol::ids::{Offset, Timestamp};

use super::super::{Definition, Fold, FoldMember, ModelId};
use super::follow::save;
use super::replay::{fold_log, start_of};
use super::{Models, RebuildProgress, locked};
use crate::limits::{MODEL_REBUILDS_MAX, MODEL_SNAPSHOT_EVENTS};
use crate::log::ReadLogError;
use crate::supervise::Part;
use crate::turns::Turns;

/// A model that is this number of events behind is handed over: the rest takes no time.
const NEAR_EVENTS: u64 = 10_000;

/// Why a model is not rebuilt.
#[derive(Debug, thiserror::Error)]
pub enum RecomputeError {
    /// The model is being rebuilt already.
    #[error("{0} is being recomputed already")]
    UnderWay(String),
    /// Too many models are being rebuilt.
    #[error("{MODEL_REBUILDS_MAX} models are being recomputed, which is the limit")]
    TooMany,
    /// The log cannot be read.
    #[error(transparent)]
    Log(#[from] ReadLogError),
    /// Its snapshots cannot be removed, or the system has no thread.
    #[error("{0}")]
    System(#[from] std::io::Error),
}

impl Models {
    /// Rebuilds a model's state from the log: from its first event, or, with an offset, from the latest snapshot up to
    /// there. Snapshots after that are removed. The running state is shown until the new one is ready.
    pub fn recompute(&self, definition: &Definition, from: Option<Offset>) -> Result<(), RecomputeError> {
        let mut rebuilding = locked(&self.0.rebuilding);
        if rebuilding.contains_key(&definition.id) {
            return Err(RecomputeError::UnderWay(definition.id.to_string()));
        }
        if rebuilding.len() >= MODEL_REBUILDS_MAX {
            return Err(RecomputeError::TooMany);
        }
        // The entry is made first, so that of two simultaneous requests only one succeeds.
        rebuilding.insert(definition.id.clone(), Arc::default());
        drop(rebuilding);
        let begun = self.begin(definition, from);
        if begun.is_err() {
            locked(&self.0.rebuilding).remove(&definition.id);
        }
        begun
    }

    fn begin(&self, definition: &Definition, from: Option<Offset>) -> Result<(), RecomputeError> {
        let log = self.0.log.clone_reader();
        let fold = match from {
            // A snapshot at the first offset is empty; there is none before it.
            None => start_of(definition, None, &*log, Offset::ZERO),
            Some(from) => start_of(definition, self.0.store.as_ref(), &*log, from),
        };
        if let Some(store) = &self.0.store {
            store.forget_after(&definition.id, fold.next())?;
        }
        Ok(self.rebuild(fold)?)
    }

    /// Rebuilds models on a thread, and hands them over.
    pub(super) fn rebuild(&self, mut fold: Fold) -> std::io::Result<()> {
        // Late events are sorted in until the model is handed over.
        fold.members.iter_mut().for_each(|member| member.sort(true));
        let progress = Arc::new(RebuildProgress::default());
        progress.publish(&fold);
        for member in &fold.members {
            tracing::info!(model = %member.id, from = fold.next().get(), "recomputing a model from the log");
            locked(&self.0.rebuilding).insert(member.id.clone(), Arc::clone(&progress));
        }
        let models = self.clone();
        let ids: Vec<ModelId> = fold.members.iter().map(|member| member.id.clone()).collect();
        let mut fold = Some(fold);
        // After a panic the fold may be inconsistent: it starts again.
        let body = move || models.run(fold.take().unwrap_or_else(|| models.fold_anew(&ids)), &progress);
        let rebuilder = self.0.supervisor.thread(Part::ModelRebuild, body)?;
        let mut rebuilders = locked(&self.0.rebuilders);
        rebuilders.retain(|rebuilder| !rebuilder.is_finished());
        rebuilders.push(rebuilder);
        Ok(())
    }

    /// These models before the log's first event.
    fn fold_anew(&self, ids: &[ModelId]) -> Fold {
        let definitions = self.0.definitions.iter().filter(|definition| ids.contains(&definition.id));
        let members = definitions.map(|definition| FoldMember::new(definition.id.clone(), definition.of.build()));
        Fold::new(members.collect(), self.0.log.kept().start, Timestamp::default())
    }

    fn run(&self, mut fold: Fold, progress: &RebuildProgress) {
        let log = self.0.log.clone_reader();
        let stopping = || self.0.stopping.is_requested();
        let mut turns = Turns::new(self.0.commits.clone());
        loop {
            // At most up to the following models: they take it in there.
            let end = self.live().next();
            let part = end.get().min(fold.next().get().saturating_add(MODEL_SNAPSHOT_EVENTS));
            let outcome = fold_log(&*log, &mut fold, Offset::new(part), &stopping, &mut |fold, entry, end| {
                fold.entry_through(entry, end, &mut |members, seen, _| {
                    turns.wait();
                    members.iter_mut().for_each(|member| member.apply(seen));
                });
                progress.publish(fold);
            });
            progress.publish(&fold);
            match outcome {
                Ok(()) if end.since(fold.next()) <= NEAR_EVENTS => break,
                Ok(()) => {
                    self.save_rebuilt(&fold);
                    let (at, behind) = (fold.next().get(), end.since(fold.next()));
                    tracing::info!(at, behind, models = fold.members.len(), "recomputing models");
                }
                Err(error) if stopping() => {
                    return tracing::debug!(%error, "the next start recomputes a model");
                }
                Err(error) => {
                    tracing::error!(%error, "cannot read the log to recompute a model; retrying");
                    std::thread::sleep(std::time::Duration::from_secs(1));
                }
            }
        }
        locked(&self.0.finished).push(fold);
    }

    fn save_rebuilt(&self, fold: &Fold) {
        let Some(store) = &self.0.store else { return };
        for member in fold.members.iter().filter(|member| member.failed.is_none()) {
            if let Some(definition) = self.0.definitions.iter().find(|known| known.id == member.id) {
                save(store, definition, &fold.snapshot(member, &self.0.log.terms()));
            }
        }
    }
}
