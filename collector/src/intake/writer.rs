//! The one thread that writes: it takes the waiting items, commits once, and answers.

use std::sync::Arc;
use std::time::Instant;

use afferent_host::clock::SystemClock;
use afferent_protocol::ids::{Offset, SourceId};
use afferent_protocol::topic::{Leaf, Topic};
use bytes::Bytes;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};
use tokio::time::error::Elapsed;

use super::admission::AttestationBytes;
use super::{Admission, Admitted, Health, Incoming, IncomingContent, Outbox};
use crate::core::{AgentQuestion, Answer, MessageConnection, NotAttested, NotOperated, Reason, Refusal};
use crate::limits::{
    COMMIT_BYTES_MAX, COMMIT_MESSAGES_MAX, COMMIT_RETRY, COMMIT_TRIES_AT_END, SNAPSHOT_EVERY, WRITER_LOOKS_EVERY,
};
use crate::posted::{PostRefusal, PostedAt};
use crate::refused::{RefusalKind, Refused};
use crate::seldom::Seldom;
use crate::sources::SourceViews;
use crate::supervise::{Part, Supervisor};

/// The state that the writer shows to other tasks.
#[derive(Clone, Debug)]
pub struct WriterViews {
    /// The first offset that is not on disk; changes wake live followers.
    pub durable: watch::Receiver<Offset>,
    /// The sources, at most [`SNAPSHOT_EVERY`] old.
    pub sources: SourceViews,
    /// The newest attestation that is on disk.
    pub attested: watch::Receiver<Option<AttestationBytes>>,
}

/// The writer ended with an error.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WriterError {
    /// The last commits failed. Their messages were not acked, and agents send them again.
    #[error("the last commit failed ({0}); none of it was acknowledged, and agents will send it again")]
    Unwritten(String),
    /// Whether the last commit is durable is unknown. Nothing of it was acked; the next start shows it.
    #[error(
        "the outcome of the last commit is unknown ({0}); none of it was acknowledged, and the next start finds out"
    )]
    Unknown(String),
    /// The thread panicked.
    #[error("the writer thread panicked; what was acknowledged is on disk")]
    Panicked,
}

/// The running thread.
#[derive(Debug)]
pub struct WriterThread {
    thread: std::thread::JoinHandle<Option<Result<(), WriterError>>>,
}

impl WriterThread {
    /// Waits for its end, which comes after every [`super::Intake`] was dropped.
    pub async fn joined(self) -> Result<(), WriterError> {
        tokio::task::spawn_blocking(|| self.thread.join().ok().flatten().unwrap_or(Err(WriterError::Panicked)))
            .await
            .unwrap_or(Err(WriterError::Panicked))
    }
}

/// Starts the thread. It ends once every [`super::Intake`] is dropped and all handed-over items are committed.
///
/// # Errors
/// When the system refuses a new thread.
pub fn spawn<A: Admission>(
    admission: A,
    incoming: mpsc::Receiver<Incoming>,
    outbox: Outbox,
    questions: mpsc::Sender<AgentQuestion>,
    supervisor: &Supervisor,
) -> std::io::Result<(WriterThread, WriterViews)> {
    let (durable, durable_view) = watch::channel(admission.durable_end());
    let (mut admission, sources) = (admission, SourceViews::default());
    sources.publish(admission.take_changed());
    let (attested, attested_view) = watch::channel(admission.newest_attestation());
    let mut state = WriterLoop {
        admission,
        incoming,
        outbox,
        questions,
        health: Arc::clone(supervisor.health()),
        durable,
        sources: sources.clone(),
        attested,
        clock: SystemClock::new(),
        taken: Vec::new(),
        sources_changed: None,
        failing: Seldom::default(),
    };
    let runtime = Handle::current();
    let thread = supervisor.thread_once(Part::Writer, move || state.run(&runtime))?;
    let views = WriterViews { durable: durable_view, sources, attested: attested_view };
    Ok((WriterThread { thread }, views))
}

struct WriterLoop<A: Admission> {
    admission: A,
    incoming: mpsc::Receiver<Incoming>,
    outbox: Outbox,
    /// Receives the questions that must be answered from the log.
    questions: mpsc::Sender<AgentQuestion>,
    health: Arc<Health>,
    durable: watch::Sender<Offset>,
    sources: SourceViews,
    attested: watch::Sender<Option<AttestationBytes>>,
    clock: SystemClock,
    /// The items of the next commit, in order: passed to the core again when it fails, and answered when it succeeds.
    /// Answering frees the room of the messages.
    taken: Vec<Handled>,
    /// When the sources first changed since they were last published.
    sources_changed: Option<Instant>,
    /// Limits the log lines about failing commits.
    failing: Seldom,
}

/// An item that the admission has handled, and what became of it.
struct Handled {
    incoming: Incoming,
    outcome: Outcome,
}

/// The outcome of a handled item.
enum Outcome {
    Judged(Admitted),
    Placed(Result<Vec<PostedAt>, PostRefusal>),
    Said(Result<(), NotAttested>),
    Operated(Result<(), NotOperated>),
}

impl Outcome {
    fn is_taken(&self) -> bool {
        match self {
            Self::Judged(verdict) => matches!(verdict, Admitted::Taken | Admitted::Proved(_)),
            Self::Placed(placed) => placed.is_ok(),
            // Retention asks again; no sender is at fault.
            Self::Said(_) => true,
            Self::Operated(done) => done.is_ok(),
        }
    }
}

impl<A: Admission> WriterLoop<A> {
    fn run(&mut self, runtime: &Handle) -> Result<(), WriterError> {
        if !self.begin(runtime)? {
            return Ok(());
        }
        loop {
            match runtime.block_on(self.wait()) {
                Ok(Some(first)) => {
                    self.take(first);
                    self.commit(runtime)?;
                }
                Err(_) if self.admission.is_due(&self.clock.read()) => self.commit(runtime)?,
                Err(_) => {}
                Ok(None) => break,
            }
            if self.sources_changed.is_some_and(|since| since.elapsed() >= SNAPSHOT_EVERY) {
                self.publish_sources();
            }
        }
        self.admission.ending(&self.clock.read());
        let ended = self.commit(runtime);
        self.publish_sources();
        ended
    }

    /// Begins the term, however often the disk refuses; returns false if the collector must stop before that.
    fn begin(&mut self, runtime: &Handle) -> Result<bool, WriterError> {
        let (mut wait, wait_max) = COMMIT_RETRY;
        while let Err(error) = self.admission.begin(&self.clock.read()) {
            let why = error.to_string();
            if let Some(before) = self.failing.due(Instant::now()) {
                tracing::error!(why, before, "cannot write the log; the collector accepts nothing until it can");
            }
            self.health.commit_failed(self.clock.read().wall, why.clone());
            if self.admission.is_lost() {
                return Err(WriterError::Unknown(why));
            }
            if self.incoming.sender_strong_count() == 0 {
                return Ok(false);
            }
            runtime.block_on(async { tokio::time::sleep(wait).await });
            wait = (wait * 2).min(wait_max);
        }
        self.health.committed();
        self.show();
        self.publish_sources();
        Ok(true)
    }

    /// The next item, `None` at the end; an error when it is time to check the clock.
    async fn wait(&mut self) -> Result<Option<Incoming>, Elapsed> {
        let left = self.sources_changed.map(|since| SNAPSHOT_EVERY.saturating_sub(since.elapsed()));
        tokio::time::timeout(left.unwrap_or(WRITER_LOOKS_EVERY), self.incoming.recv()).await
    }

    /// Publishes the end of the log, its newest attestation and its troubles.
    fn show(&self) {
        let end = self.admission.durable_end();
        self.durable.send_if_modified(|known| {
            assert!(end >= *known, "the durable end cannot regress");
            std::mem::replace(known, end) != end
        });
        let newest = self.admission.newest_attestation();
        self.attested.send_if_modified(|known| std::mem::replace(known, newest) != newest);
        for (kind, text) in self.admission.troubles() {
            self.health.warn(kind, text);
        }
    }

    /// Passes the waiting items to the core, as many as one commit takes.
    fn take(&mut self, first: Incoming) {
        let mut bytes = 0;
        let mut next = Some(first);
        while let Some(incoming) = next {
            bytes += incoming.content.bytes();
            self.count(&incoming);
            let became = self.receive(&incoming, true);
            if !became.is_taken() {
                self.health.counters.messages_refused.count();
            }
            self.taken.push(Handled { incoming, outcome: became });
            let more = self.taken.len() < COMMIT_MESSAGES_MAX && bytes < COMMIT_BYTES_MAX;
            next = if more { self.incoming.try_recv().ok() } else { None };
        }
        self.sources_changed.get_or_insert_with(Instant::now);
    }

    fn count(&self, incoming: &Incoming) {
        match &incoming.content {
            IncomingContent::Message { payload, .. } => {
                self.health.counters.messages.count();
                self.health.counters.message_bytes.add(payload.len() as u64);
            }
            IncomingContent::Post { events, .. } => self.health.counters.events_posted.add(events.len() as u64),
            IncomingContent::State { .. }
            | IncomingContent::Closed { .. }
            | IncomingContent::Found { .. }
            | IncomingContent::Remove { .. }
            | IncomingContent::Operate { .. } => {}
        }
    }

    /// Passes an item to the core; logs a refusal the first time.
    fn receive(&mut self, incoming: &Incoming, is_first: bool) -> Outcome {
        let clock = self.clock.read();
        match (&incoming.content, incoming.agent) {
            (IncomingContent::Post { events, .. }, _) => return Outcome::Placed(self.admission.post(events, &clock)),
            (IncomingContent::Remove { removal, .. }, _) => {
                return Outcome::Said(self.admission.remove(removal, &clock));
            }
            (IncomingContent::Operate { operation, .. }, _) => {
                return Outcome::Operated(self.admission.operate(operation, &clock));
            }
            (IncomingContent::Message { payload, connection }, Some(agent)) => {
                let judged = self.admission.receive(agent, payload, *connection, &clock);
                return Outcome::Judged(self.verdict(judged, agent, *connection, is_first));
            }
            (IncomingContent::State { payload }, Some(agent)) => {
                let judged = self.admission.state(agent, payload, &clock);
                return Outcome::Judged(self.verdict(judged, agent, None, is_first));
            }
            (IncomingContent::Closed { connection }, Some(agent)) => self.admission.closed(agent, *connection, &clock),
            (IncomingContent::Found { nonce, found }, Some(agent)) => {
                self.admission.answer_question(agent, *nonce, *found)
            }
            (_, None) => {}
        }
        Outcome::Judged(Admitted::Taken)
    }

    fn verdict(
        &self,
        judged: Result<Admitted, Refusal>,
        agent: SourceId,
        connection: Option<MessageConnection>,
        is_first: bool,
    ) -> Admitted {
        let refusal = match judged {
            Ok(verdict) => return verdict,
            Err(refusal) => refusal,
        };
        // The core asks an agent for its hello if that has not come yet.
        if is_first && refusal.reason != Reason::NoHello {
            let peer = connection.and_then(|connection| connection.peer);
            // A guest is named by the name that its connection is tied to, with the topic.
            let speaker = connection.and_then(|connection| connection.name).unwrap_or(agent);
            let topic = Topic { agent, leaf: Leaf::Up }.text();
            let topic = (speaker != agent).then(|| topic.as_str());
            // Strangers make up as many names as they like: their refusals are kept by address.
            let is_stranger = refusal.reason == Reason::FirstContacts;
            let name = (!is_stranger).then_some(speaker.as_str());
            let (kind, why) = (RefusalKind::Message(refusal.reason), &*refusal.message);
            self.health.refused.note(&Refused { kind, name, user: None, topic, peer, why });
        }
        Admitted::from(&refusal)
    }

    /// After a failed commit nothing counts: the core gets the same items again.
    fn receive_again(&mut self) {
        let mut taken = std::mem::take(&mut self.taken);
        for again in &mut taken {
            again.outcome = self.receive(&again.incoming, false);
        }
        self.taken = taken;
    }

    /// Commits until it succeeds: until then nothing is acked, nothing else is taken, and the sockets wait.
    fn commit(&mut self, runtime: &Handle) -> Result<(), WriterError> {
        let (mut wait, wait_max) = COMMIT_RETRY;
        let mut tries_at_end = 0;
        let answers = loop {
            match self.admission.commit(&self.clock.read()) {
                Ok(answers) => break answers,
                Err(error) => {
                    let why = error.to_string();
                    if let Some(before) = self.failing.due(Instant::now()) {
                        tracing::error!(
                            why,
                            before,
                            "a commit failed; none of it is acknowledged, and the collector retries it"
                        );
                    }
                    self.health.commit_failed(self.clock.read().wall, why.clone());
                    if self.admission.is_lost() {
                        return Err(WriterError::Unknown(why));
                    }
                    tries_at_end += u32::from(self.incoming.sender_strong_count() == 0);
                    if tries_at_end >= COMMIT_TRIES_AT_END {
                        return Err(WriterError::Unwritten(why));
                    }
                    runtime.block_on(async { tokio::time::sleep(wait).await });
                    wait = (wait * 2).min(wait_max);
                    self.receive_again();
                }
            }
        };
        self.health.committed();
        self.send_answers(answers);
        Ok(())
    }

    /// Ends older connections of runs that have proved their key.
    fn end_older_connections(&mut self) {
        for Handled { incoming, outcome: became } in &self.taken {
            let IncomingContent::Message { connection: Some(connection), .. } = incoming.content else { continue };
            let Outcome::Judged(Admitted::Proved(instance)) = became else { continue };
            if let Some(agent) = incoming.agent
                && self.outbox.mark_proved(&agent, connection.number, *instance)
            {
                self.health.counters.taken_over.count();
            }
        }
    }

    fn send_answers(&mut self, answers: Vec<Answer>) {
        self.end_older_connections();
        for name in self.admission.take_dropped_names() {
            let why = "the name had delivered nothing and was dropped for a newer one: the collector keeps a limited \
                       number of such names";
            let (name, user, topic, peer) = (Some(name.as_str()), None, None, None);
            self.health.refused.note(&Refused { kind: RefusalKind::NameGaveWay, name, user, topic, peer, why });
        }
        for question in self.admission.take_questions() {
            // The agent repeats a question that finds no room.
            let _ = self.questions.try_send(question);
        }
        for Answer { agent, connection, message, .. } in answers {
            self.health.counters.answers_signed.count();
            if !self.outbox.send(&agent, connection, Bytes::from(message)) {
                self.health.counters.answers_dropped.count();
            }
        }
        self.show();
        for Handled { incoming, outcome: became } in self.taken.drain(..) {
            match (became, incoming) {
                (Outcome::Judged(verdict), incoming) => incoming.release(verdict),
                // A caller that is gone needs no answer.
                (Outcome::Placed(placed), Incoming { content: IncomingContent::Post { to, .. }, .. }) => {
                    let _ = to.send(placed);
                }
                (Outcome::Said(said), Incoming { content: IncomingContent::Remove { to, .. }, .. }) => {
                    let _ = to.send(said);
                }
                (Outcome::Operated(done), Incoming { content: IncomingContent::Operate { to, .. }, .. }) => {
                    let _ = to.send(done);
                }
                _ => {}
            }
        }
    }

    /// Publishes the sources that have changed.
    fn publish_sources(&mut self) {
        self.sources.publish(self.admission.take_changed());
        self.sources_changed = None;
    }
}
