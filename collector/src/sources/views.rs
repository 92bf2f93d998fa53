//! The sources as readers see them: one view of each, replaced when its source has changed.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use afferent_protocol::ids::SourceId;
use tokio::sync::watch;

use super::SourceView;

/// A changed source with its new view; `None` when it is forgotten.
pub type ChangedSource = (SourceId, Option<SourceView>);

/// A view of every source, by name. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct SourceViews(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    known: RwLock<BTreeMap<SourceId, Arc<SourceView>>>,
    /// Number of publications.
    published: watch::Sender<u64>,
}

impl SourceViews {
    /// All views, by name, as they were at one moment.
    pub fn all(&self) -> Vec<Arc<SourceView>> {
        self.0.known.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// The number of sources.
    pub fn len(&self) -> usize {
        self.0.known.read().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Whether there are no sources.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Waits until `wanted` returns true for the sources.
    pub async fn wait_for(&self, mut wanted: impl FnMut(&[Arc<SourceView>]) -> bool) {
        let mut published = self.0.published.subscribe();
        // The sender lives as long as this value: `changed` returns no error.
        while !wanted(&self.all()) && published.changed().await.is_ok() {}
    }

    /// Replaces the views of the changed sources, all at once.
    pub fn publish(&self, changed: Vec<ChangedSource>) {
        let changed: Vec<_> = changed.into_iter().map(|(name, view)| (name, view.map(Arc::new))).collect();
        let mut replaced = Vec::with_capacity(changed.len());
        let mut known = self.0.known.write().unwrap_or_else(PoisonError::into_inner);
        for (name, view) in changed {
            assert!(view.as_ref().is_none_or(|view| view.source == name), "a view stands under its own name");
            replaced.push(match view {
                Some(view) => known.insert(name, view),
                None => known.remove(&name),
            });
        }
        drop(known);
        self.0.published.send_modify(|count| *count += 1);
        // Readers need not wait until the old ones are freed.
        drop(replaced);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_view_that_a_reader_holds_stays_and_the_next_one_shows_the_change() {
        let views = SourceViews::default();
        let [press, lathe] = ["press", "lathe"].map(SourceId::literal);
        let new = |name, early| (name, Some(SourceView { early, ..SourceView::new(name) }));
        views.publish(vec![new(press, 0), new(lathe, 0)]);
        let held = views.all();
        views.clone().publish(vec![new(press, 1), (lathe, None)]);
        let seen = |views: &[Arc<SourceView>]| views.iter().map(|view| (view.source, view.early)).collect::<Vec<_>>();
        assert_eq!(seen(&held), [(lathe, 0), (press, 0)]);
        assert_eq!(seen(&views.all()), [(press, 1)]);
        assert!(Arc::ptr_eq(&views.all()[0], &views.all()[0]), "a view is made once, however often it is read");
    }
}
