//! The partitions of the log that this collector holds, as all tasks but their writers see them.
//!
//! One `Core` with its sources fills one partition, on a thread of its own; a task that answers a question about the
//! log asks here for its partition. The embedded engine has one, number 0.

use std::sync::Arc;

use afferent_protocol::ids::Offset;
use tokio::sync::watch;

use crate::intake::WeakIntake;
use crate::log::ReadLog;
use crate::log::address::Partition;
use crate::sources::SourceViews;

/// The shared handles of one partition.
#[derive(Clone)]
pub struct PartitionHandles {
    /// Reads its durable entries.
    pub reader: Arc<dyn ReadLog>,
    /// The first offset that is not on disk; its changes wake live followers.
    pub durable: watch::Receiver<Offset>,
    /// Its sources by name, a moment old.
    pub sources: SourceViews,
    /// The way to its writer, for posted events.
    pub intake: WeakIntake,
}

/// All held partitions, at least one.
#[derive(Clone)]
pub struct Partitions(Arc<[PartitionHandles]>);

/// The collector does not hold this partition.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "there is no partition {asked} here; the partitions are: {}",
    held.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
)]
pub struct NotHeld {
    /// The requested partition.
    pub asked: Partition,
    /// The held partitions.
    pub held: Vec<Partition>,
}

impl Partitions {
    /// Sorts these partitions by their numbers.
    ///
    /// # Panics
    /// When there is none, or one twice.
    pub fn new(mut held: Vec<PartitionHandles>) -> Self {
        held.sort_by_key(|held| held.reader.partition());
        assert!(!held.is_empty(), "a collector holds one partition at least");
        assert!(held.is_sorted_by(|a, b| a.reader.partition() < b.reader.partition()), "a partition is held once");
        Self(held.into())
    }

    /// The partition of this number.
    ///
    /// # Errors
    /// When the collector does not hold it.
    pub fn get(&self, partition: Partition) -> Result<&PartitionHandles, NotHeld> {
        let found = self.0.iter().find(|held| held.reader.partition() == partition);
        found.ok_or_else(|| NotHeld {
            asked: partition,
            held: self.iter().map(|held| held.reader.partition()).collect(),
        })
    }

    /// All partitions.
    pub fn iter(&self) -> impl Iterator<Item = &PartitionHandles> {
        self.0.iter()
    }

    /// The default where a request names none: the first.
    pub fn first(&self) -> &PartitionHandles {
        &self.0[0]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::memory::MemoryLog;
    use crate::terms::Terms;

    fn held(number: u32) -> PartitionHandles {
        let mut log = MemoryLog::default();
        log.terms = Terms::of([1; 16], Partition::new(number));
        let (_, durable) = watch::channel(Offset::ZERO);
        let sources = SourceViews::default();
        PartitionHandles { reader: Arc::new(log), durable, sources, intake: crate::intake::Intake::new().0.downgrade() }
    }

    #[test]
    fn a_partition_is_found_by_its_number_and_another_is_refused_with_those_that_there_are() {
        let partitions = Partitions::new(vec![held(7), held(2)]);
        let numbers: Vec<_> = partitions.iter().map(|held| held.reader.partition().get()).collect();
        assert_eq!(numbers, [2, 7]);
        assert_eq!(partitions.first().reader.partition(), Partition::new(2));
        assert_eq!(partitions.get(Partition::new(7)).map(|held| held.reader.partition()), Ok(Partition::new(7)));
        let refused = partitions.get(Partition::EMBEDDED).err().map(|error| error.to_string());
        assert_eq!(refused.as_deref(), Some("there is no partition 0 here; the partitions are: 2, 7"));
    }

    #[test]
    #[should_panic(expected = "a partition is held once")]
    fn a_partition_cannot_be_held_twice() {
        Partitions::new(vec![held(2), held(2)]);
    }
}
