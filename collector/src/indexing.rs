//! The thread that builds the indexes of finished segments, in the background.

use afferent_host::stop::Stop;
use afferent_protocol::ids::Offset;
use tokio::runtime::Handle;
use tokio::sync::watch;

use crate::limits::{INDEX_PROGRESS_EVERY, INDEX_WAKE_EVERY};
use crate::log::{Indexed, Indexing};
use crate::supervise::{Part, Supervisor};

/// Starts the thread. It ends with the collector.
///
/// # Errors
/// When the system refuses a new thread.
pub fn spawn(
    mut indexing: Box<dyn Indexing>,
    durable: watch::Receiver<Offset>,
    stopping: Stop,
    supervisor: &Supervisor,
) -> std::io::Result<()> {
    let runtime = Handle::current();
    let run = move || run(&mut *indexing, durable.clone(), stopping.clone(), &runtime);
    // Its end need not be awaited: an incomplete index is rebuilt.
    supervisor.thread(Part::Indexer, run).map(drop)
}

fn run(indexing: &mut dyn Indexing, mut durable: watch::Receiver<Offset>, mut stopping: Stop, runtime: &Handle) {
    indexing.tidy();
    let mut told = std::time::Instant::now();
    while !stopping.is_requested() {
        match indexing.step() {
            Indexed::UpToDate => {
                let wait = async {
                    tokio::select! {
                        () = stopping.requested() => false,
                        grown = grown(&mut durable) => grown,
                    }
                };
                if !runtime.block_on(wait) {
                    return;
                }
            }
            Indexed::Made { segment, left } => {
                if left > 0 && told.elapsed() >= INDEX_PROGRESS_EVERY {
                    told = std::time::Instant::now();
                    tracing::info!(
                        left,
                        "building indexes of the log; until they are complete, queries read more than they need"
                    );
                }
                tracing::debug!(segment, left, "built the index of a segment");
            }
            Indexed::Failed(error) => tracing::warn!(%error, "cannot build the index of a segment"),
        }
    }
}

/// Waits until the log grew, and a little longer: a segment is not finished with every commit.
async fn grown(durable: &mut watch::Receiver<Offset>) -> bool {
    let is_alive = durable.changed().await.is_ok();
    tokio::time::sleep(INDEX_WAKE_EVERY).await;
    is_alive
}
