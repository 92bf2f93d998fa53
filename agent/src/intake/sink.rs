//! The interface through which inputs push events, and the answers that they get.

use std::future::Future;
use std::sync::Arc;

use afferent_protocol::event::{Event, EventError};
use afferent_protocol::ids::{SourceId, Stream};
use afferent_protocol::session::Lane;
use tokio::sync::watch;

use crate::ring_log::{DeviceProgress, FollowedFiles};

/// Commits of the two streams that are on disk, by [`Stream::number`].
pub type Commits = [u64; 2];

/// Takes events into the ring log.
pub trait EventSink: Clone + Send + Sync + 'static {
    /// Checks an event and adds it to the open batch of its stream. The ticket shows when it is on disk.
    fn push(&self, event: &Event<'_>, waiting: Waiting) -> Result<Ticket, Refusal>;

    /// Returns when it is worth trying again after [`Refusal::Full`].
    fn room(&self) -> impl Future<Output = ()> + Send;

    /// The last commit of each stream that is on disk, and its changes. Closed when the ring log has stopped.
    fn durable(&self) -> watch::Receiver<Commits>;
}

/// Takes batches of devices into the ring log, and remembers how far each lane of a device is in it.
pub trait DeviceSink: EventSink {
    /// Takes all events of a device's batch and how far the device is with them into one open batch, or nothing.
    fn push_device(&self, events: &[Event<'_>], device: DeviceProgress) -> Result<Ticket, Refusal>;

    /// How far the lanes of a device are in the log; true when all of these tickets are durable.
    fn device(&self, device: &SourceId) -> (Vec<DeviceProgress>, [Ticket; 2]);

    /// Forgets lanes that the device does not hold any more.
    fn keep_lanes(&self, device: &SourceId, held: &[Lane]);
}

/// Takes lines of files into the ring log, and remembers how far the files are in it.
pub trait FileSink: EventSink {
    /// Takes all events of some lines, which are of this stream, and how far the files of their input are with them,
    /// into one open batch, or nothing. There may be no event: then only the place moves.
    fn push_lines(&self, stream: Stream, events: &[Event<'_>], files: FollowedFiles) -> Result<Ticket, Refusal>;

    /// How far the files of an input are in each stream; true when all of these tickets are durable.
    fn followed(&self, input: &str) -> ([Option<FollowedFiles>; 2], [Ticket; 2]);
}

/// What every input runs with: takes events, and remembers places in the ring log.
pub trait Sink: DeviceSink + FileSink {}

impl<S: DeviceSink + FileSink> Sink for S {}

/// Whether somebody waits for the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waiting {
    /// A producer does: commit soon.
    Producer,
    /// Nobody does: samples may wait for company, which spares the disk.
    Nobody,
}

/// The commit of an accepted event: the event is on disk when its stream has made this commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ticket {
    /// The event's stream.
    pub stream: Stream,
    /// Counts the stream's commits, from 1.
    pub commit: u64,
}

impl Ticket {
    /// Whether the event is on disk.
    pub fn is_durable(self, commits: &Commits) -> bool {
        commits[usize::from(self.stream.number())] >= self.commit
    }
}

/// Why an event was not accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The open batches are full because the disk is too slow: wait for [`EventSink::room`].
    #[error("the agent has no room at this moment; send it again")]
    Full,
    /// The event breaks a rule of the protocol.
    #[error(transparent)]
    Invalid(#[from] EventError),
    /// Writing to the disk fails.
    #[error("the agent cannot write it to its disk ({0}); make room or repair the disk, then send it again")]
    Unwritable(Arc<str>),
    /// The event does not fit an empty batch beside the tables of devices and files.
    #[error("it does not fit a segment of the ring log; set a larger `ring.segment_bytes`")]
    TooMuch,
    /// The agent is stopping.
    #[error("the agent is stopping; send it again when it is back")]
    Stopped,
    /// The writer thread has failed.
    #[error("the agent has failed and accepts nothing ({0}); send it again once the agent has restarted")]
    Failed(Arc<str>),
}

#[cfg(test)]
pub mod fake {
    //! A sink that keeps what it was given and commits when the test says so.

    use std::sync::{Arc, Mutex};

    use tokio::sync::Notify;

    use super::*;

    /// See the module.
    #[derive(Clone)]
    pub struct FakeSink(Arc<Inner>);

    struct Inner {
        state: Mutex<State>,
        durable: watch::Sender<Commits>,
        pushed: watch::Sender<usize>,
        refused: watch::Sender<usize>,
        room: Notify,
    }

    struct State {
        events: Vec<(String, Waiting)>,
        open: Commits,
        room: usize,
        refusal: Option<Refusal>,
        commits_itself: bool,
        devices: Vec<DeviceProgress>,
        /// Of followed files, by stream.
        files: [Option<FollowedFiles>; 2],
    }

    impl FakeSink {
        /// Commits only by [`FakeSink::commit`].
        pub fn holding() -> Self {
            let (events, devices) = (vec![], vec![]);
            let (open, room, refusal, files) = ([1; 2], usize::MAX, None, [None, None]);
            let state = State { events, open, room, refusal, commits_itself: false, devices, files };
            Self(Arc::new(Inner {
                state: Mutex::new(state),
                durable: watch::Sender::new([0; 2]),
                pushed: watch::Sender::new(0),
                refused: watch::Sender::new(0),
                room: Notify::new(),
            }))
        }

        /// Commits every event at once.
        pub fn committing() -> Self {
            let sink = Self::holding();
            sink.0.state.lock().unwrap().commits_itself = true;
            sink
        }

        /// Makes all open batches durable.
        pub fn commit(&self) {
            let mut state = self.0.state.lock().unwrap();
            let durable = state.open;
            state.open = durable.map(|commit| commit + 1);
            self.0.durable.send_replace(durable);
        }

        /// Makes the open batch of one stream durable.
        pub fn commit_stream(&self, stream: Stream) {
            let mut state = self.0.state.lock().unwrap();
            let at = usize::from(stream.number());
            let commit = state.open[at];
            state.open[at] += 1;
            self.0.durable.send_modify(|durable| durable[at] = commit);
        }

        /// Takes only `room` more events, then is full.
        pub fn set_room(&self, room: usize) {
            self.0.state.lock().unwrap().room = room;
            self.0.room.notify_waiters();
        }

        /// Refuses everything from now on.
        pub fn refuse(&self, refusal: Option<Refusal>) {
            self.0.state.lock().unwrap().refusal = refusal;
        }

        /// What was taken, as `subject body`, in order.
        pub fn events(&self) -> Vec<(String, Waiting)> {
            self.0.state.lock().unwrap().events.clone()
        }

        /// Returns when `count` events were taken.
        pub async fn taken(&self, count: usize) {
            self.0.pushed.subscribe().wait_for(|pushed| *pushed >= count).await.unwrap();
        }

        /// Returns when `count` events were refused as [`FakeSink::refuse`] says.
        pub async fn refused(&self, count: usize) {
            self.0.refused.subscribe().wait_for(|refused| *refused >= count).await.unwrap();
        }
    }

    impl EventSink for FakeSink {
        fn push(&self, event: &Event<'_>, waiting: Waiting) -> Result<Ticket, Refusal> {
            event.check()?;
            let mut state = self.0.state.lock().unwrap();
            if let Some(refusal) = &state.refusal {
                self.0.refused.send_modify(|refused| *refused += 1);
                return Err(refusal.clone());
            }
            if state.room == 0 {
                return Err(Refusal::Full);
            }
            state.room -= 1;
            let at = usize::from(event.stream().number());
            let ticket = Ticket { stream: event.stream(), commit: state.open[at] };
            state.events.push((format!("{} {} {:?}", event.time.micros(), event.subject, event.body), waiting));
            if state.commits_itself {
                state.open[at] += 1;
                self.0.durable.send_modify(|durable| durable[at] = ticket.commit);
            }
            let count = state.events.len();
            drop(state);
            self.0.pushed.send_replace(count);
            Ok(ticket)
        }

        async fn room(&self) {
            loop {
                let notified = self.0.room.notified();
                tokio::pin!(notified);
                notified.as_mut().enable();
                if self.0.state.lock().unwrap().room > 0 {
                    return;
                }
                notified.await;
            }
        }

        fn durable(&self) -> watch::Receiver<Commits> {
            self.0.durable.subscribe()
        }
    }

    impl FileSink for FakeSink {
        fn push_lines(&self, stream: Stream, events: &[Event<'_>], files: FollowedFiles) -> Result<Ticket, Refusal> {
            let at = usize::from(stream.number());
            let mut ticket = Ticket { stream, commit: self.0.state.lock().unwrap().open[at] };
            for event in events {
                ticket = self.push(event, Waiting::Nobody)?;
            }
            self.0.state.lock().unwrap().files[at] = Some(files);
            Ok(ticket)
        }

        fn followed(&self, _: &str) -> ([Option<FollowedFiles>; 2], [Ticket; 2]) {
            let files = self.0.state.lock().unwrap().files.clone();
            (files, Stream::ALL.map(|stream| Ticket { stream, commit: 0 }))
        }
    }

    impl DeviceSink for FakeSink {
        fn push_device(&self, events: &[Event<'_>], device: DeviceProgress) -> Result<Ticket, Refusal> {
            let tickets =
                events.iter().map(|event| self.push(event, Waiting::Producer)).collect::<Result<Vec<_>, _>>()?;
            let mut state = self.0.state.lock().unwrap();
            state.devices.retain(|known| known.progress.epoch != device.progress.epoch);
            state.devices.push(device);
            Ok(*tickets.last().expect("a batch has an event"))
        }

        fn device(&self, _: &SourceId) -> (Vec<DeviceProgress>, [Ticket; 2]) {
            let state = self.0.state.lock().unwrap();
            (state.devices.clone(), Stream::ALL.map(|stream| Ticket { stream, commit: 0 }))
        }

        fn keep_lanes(&self, _: &SourceId, _: &[Lane]) {}
    }
}
