//! Answers agents that ask where their history and the log's have diverged. It reads the log, on a thread of its own.

use std::sync::Arc;

use tokio::runtime::Handle;
use tokio::sync::mpsc;

use crate::core::{AgentQuestion, common};
use crate::intake::WeakIntake;
use crate::log::ReadLog;
use crate::supervise::{Part, Supervisor};

/// Starts the thread; it ends when the sender of questions is dropped.
///
/// # Errors
/// When the system refuses a new thread.
pub fn spawn(
    log: Arc<dyn ReadLog>,
    mut questions: mpsc::Receiver<AgentQuestion>,
    intake: WeakIntake,
    supervisor: &Supervisor,
) -> std::io::Result<()> {
    let runtime = Handle::current();
    let answer = move || {
        while let Some(question) = questions.blocking_recv() {
            match common(&*log, &question) {
                Ok(found) => {
                    let Ok(intake) = intake.upgrade() else { return };
                    let told = intake.answer_question(question.agent, question.nonce, found);
                    if runtime.block_on(told).is_err() {
                        return;
                    }
                }
                // The agent asks again.
                Err(error) => tracing::warn!(agent = %question.agent, %error, "cannot answer an agent's question"),
            }
        }
    };
    supervisor.thread(Part::Questions, answer).map(drop)
}
