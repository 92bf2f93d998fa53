//! Microcontrollers on serial lines; `firmware/README.md` specifies their messages.
//!
//! A port that is open is a [`session`]: frames are taken apart, a batch that is the next one of its lane is handed to
//! the sequencer as a whole, and it is acked when the ring log has it on disk. A line carries one batch at a time: the
//! next frame is looked at after the ack, while the system buffers what comes.
//!
//! # What of a device is in the ring log
//!
//! Its events are events of the agent's stream of the same name, with the time mapped to UTC ([`clock`]). How far they
//! go stands among them: [`Body::Progress`], one event for each lane of a device, with the device as its subject. All
//! lanes of all devices in a stream are that stream's *table of devices* (at most [`DEVICE_LANES_MAX`]). The sequencer
//! puts the table at the end of every batch that has events of devices, of the first batch after a start, and of a
//! batch now and then while there are none. The newest table in the log is the state of all lanes, and there is no
//! other.
//!
//! - *Together or not at all.* A device's batch is pushed whole, under one lock with its change of the table. The
//!   agent's batch is durable as a whole (its checksum covers events and table), so neither is there without the other.
//! - *The table outlives the ack.* The ring log keeps the segment with the newest table of each stream, although the
//!   collector has all of it, until a segment with a newer one is on disk.
//!
//! | the agent dies | after the start |
//! |---|---|
//! | before the commit | the table has the end before; the device has no ack, and sends the batch again |
//! | after the commit, before the ack | the table has the new end; the welcome names it, and the device continues behind it |
//! | after the ack | as before; the device does not even ask |
//! | in the middle of the write | the tail is torn, its events and its table are gone with it; as before the commit |
//! | after the collector's ack, with nothing new | the pinned segment has the table |
//!
//! When the disk damages the newest table, an older one counts, which has smaller ends: what the device still holds is
//! sent again, and is a repetition only if the damaged batch had reached the collector. When samples have a single
//! segment left and it has to be given up, its table goes with it, and is repeated with the next batch.
//!
//! A lane that the device's hello does not name any more is forgotten when the next batch of the device is on disk, and
//! not before: a device that seals events again ([`LifeCycle::Resealed`]) and is reset before the ack first names what
//! lies in its memory, and only then the lane of the batch that may be here.
//!
//! # Two histories
//!
//! A device that starts twice with the same boot and entropy sends other events under the epochs of the run before.
//! No message of the agent makes it lose them: the welcome names what is here, the device sees that this is not what
//! it has sent, asks which of its ends are common, and continues in other epochs. That is a warning, a figure, and the
//! device's own event in the log.
//!
//! The modules, in the order in which an event passes them: [`port`], [`session`] (with [`clock`]), then
//! [`DeviceSink`]; [`metrics`] counts.
//!
//! [`Body::Progress`]: afferent_protocol::event::Body::Progress
//! [`DEVICE_LANES_MAX`]: crate::limits::DEVICE_LANES_MAX

pub mod clock;
mod input;
pub mod metrics;
pub mod pieces;
pub mod port;
pub mod session;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use afferent_host::stop::Stop;
use afferent_protocol::event::{Body, Event, LifeCycle};
use afferent_protocol::frame::{Accumulator, Fed, Noise};
use afferent_protocol::ids::{SourceId, Subject};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, sleep, timeout, timeout_at};

use crate::clock::Clock;
use crate::intake::sink::{DeviceSink, Refusal, Ticket, Waiting};
use crate::limits::{DEVICE_SILENT_MS_MAX, FRAME_BYTES_MAX, PORT_WAIT_MS_MAX, PORT_WAIT_MS_MIN, PORT_WRITE_MS_MAX};
use clock::DeviceClock;
pub use input::{Line, SerialConfig};
pub use metrics::SerialMetrics;
use pieces::Pieces;
use port::{Address, Port};
use session::{Notice, Session, Stored, is_resealed};

/// A port, and the device that must be on it.
#[derive(Clone, Debug, PartialEq)]
pub struct SerialSettings {
    /// The agent.
    pub agent: SourceId,
    /// The device.
    pub device: SourceId,
    /// The address of the line.
    pub port: Address,
    /// Bits a second.
    pub baud: u32,
}

/// Why a port is not served any more.
enum Ended {
    /// The agent stops.
    Stopped,
    /// The line is gone, for this reason.
    Gone(String),
}

/// One port, from opening to opening.
struct Intake<S> {
    settings: SerialSettings,
    sink: S,
    clock: Arc<dyn Clock>,
    metrics: SerialMetrics,
    device_clock: DeviceClock,
    /// Whether the log has the device as connected.
    is_up: bool,
}

/// Serves the port until the agent stops, and opens it again whenever it is gone.
pub async fn run<S: DeviceSink>(
    settings: SerialSettings,
    sink: S,
    clock: Arc<dyn Clock>,
    metrics: SerialMetrics,
    mut stop: Stop,
) {
    let mut intake = Intake { settings, sink, clock, metrics, device_clock: DeviceClock::default(), is_up: false };
    let mut wait_ms = PORT_WAIT_MS_MIN;
    loop {
        let ended = tokio::select! {
            () = stop.requested() => Ended::Stopped,
            ended = intake.open_and_serve() => ended,
        };
        let was_up = intake.is_up;
        let reason = match &ended {
            Ended::Stopped => "the agent stops",
            Ended::Gone(reason) => reason,
        };
        intake.report_down(reason).await;
        if matches!(ended, Ended::Stopped) {
            return;
        }
        intake.is_troubled(&format!("{reason}; check the cabling and `intake.serial`; the agent retries"));
        wait_ms = if was_up { PORT_WAIT_MS_MIN } else { (wait_ms * 2).min(PORT_WAIT_MS_MAX) };
        tokio::select! {
            () = stop.requested() => return,
            () = sleep(Duration::from_millis(wait_ms)) => {}
        }
    }
}

impl<S: DeviceSink> Intake<S> {
    async fn open_and_serve(&mut self) -> Ended {
        let SerialSettings { port, baud, device, .. } = &self.settings;
        let opened = match port.open(*baud).await {
            Ok(opened) => opened,
            Err(error) => return Ended::Gone(format!("it cannot be opened: {error}")),
        };
        tracing::debug!(%port, %device, "a serial port is open");
        let (lanes, tickets) = self.sink.device(device);
        // What an earlier session has pushed may not be on disk yet, and only what is may be acked.
        for ticket in tickets {
            if !self.is_durable(ticket).await {
                return Ended::Stopped;
            }
        }
        let mut session = Session::new(&self.settings, &lanes, self.metrics.clone());
        match self.serve(opened, &mut session).await {
            Ok(ended) => ended,
            Err(error) => Ended::Gone(error.to_string()),
        }
    }

    async fn serve(&mut self, mut port: Box<dyn Port>, session: &mut Session) -> std::io::Result<Ended> {
        let mut incoming = Box::new(Accumulator::<FRAME_BYTES_MAX>::new());
        let mut pieces = Pieces::default();
        let mut bytes = vec![0; 4096];
        let mut answers = vec![0];
        // Who begins to listen in the middle of a frame hears half of it, which is no damage.
        let mut is_first = true;
        let silent = Duration::from_millis(DEVICE_SILENT_MS_MAX);
        let mut heard = Instant::now();
        loop {
            if !answers.is_empty() {
                let written = timeout(Duration::from_millis(PORT_WRITE_MS_MAX), port.write_all(&answers)).await;
                written.map_err(|_| std::io::Error::other("the line accepts no bytes"))??;
                answers.clear();
            }
            let Ok(read) = timeout_at(heard + silent, port.read(&mut bytes)).await else {
                return Ok(Ended::Gone(format!("no bytes for {} s", silent.as_secs())));
            };
            let count = read?;
            if count == 0 {
                return Ok(Ended::Gone("the other end has closed the connection".into()));
            }
            let arrived = self.clock.read();
            let mut rest = &bytes[..count];
            loop {
                match incoming.feed(rest) {
                    Fed::More => break,
                    Fed::Noise { taken, noise } => {
                        let counter = if noise == Noise::TooLong { &self.metrics.too_long } else { &self.metrics.bad };
                        counter.add(1);
                        if !std::mem::take(&mut is_first) {
                            self.is_noisy();
                        }
                        rest = &rest[taken..];
                    }
                    Fed::Frame { payload, taken } => {
                        is_first = false;
                        rest = &rest[taken..];
                        heard = Instant::now();
                        let Some(payload) = pieces.whole(payload) else { continue };
                        let mut heard = session.take(&payload, &arrived, &mut self.device_clock);
                        answers.append(&mut heard.answers);
                        for notice in heard.notices {
                            self.report(notice).await;
                        }
                        if let Some(stored) = heard.stored {
                            match self.store(&stored).await {
                                Ok(true) => {
                                    let held = session.is_durable(&stored, &mut answers);
                                    self.sink.keep_lanes(&self.settings.device, held);
                                }
                                Ok(false) => {}
                                Err(Stopped) => return Ok(Ended::Stopped),
                            }
                        }
                    }
                }
            }
        }
    }

    /// Hands a batch to the ring log and waits until it is on disk; `false` when it is not taken now.
    async fn store(&self, stored: &Stored<'_>) -> Result<bool, Stopped> {
        let events: Vec<_> = stored.events.iter().map(|event| self.by_device(event)).collect();
        loop {
            match self.sink.push_device(&events, stored.progress) {
                Ok(ticket) => return if self.is_durable(ticket).await { Ok(true) } else { Err(Stopped) },
                Err(Refusal::Full) => self.sink.room().await,
                Err(Refusal::Stopped | Refusal::Failed(_)) => return Err(Stopped),
                Err(refusal @ (Refusal::Unwritable(_) | Refusal::Invalid(_) | Refusal::TooMuch)) => {
                    let device = &self.settings.device;
                    let text = format!("a batch of {device} is refused, and the device sends it again: {refusal}");
                    self.metrics.troubles.happened(&format!("batches of {device}"), text);
                    return Ok(false);
                }
            }
        }
    }

    /// What was sealed again is about the device: on the line it takes the subject of whatever comes next, which spares
    /// the device a text.
    fn by_device<'a>(&'a self, event: &Event<'a>) -> Event<'a> {
        let subject = if is_resealed(event) { self.subject() } else { event.subject };
        Event { subject, ..*event }
    }

    fn subject(&self) -> Subject<'_> {
        Subject::new(self.settings.device.as_str()).expect("every source name is a subject")
    }

    async fn is_durable(&self, ticket: Ticket) -> bool {
        self.sink.durable().wait_for(|commits| ticket.is_durable(commits)).await.is_ok()
    }

    /// Reports a notice about the device: as an event, and in the agent's own log.
    async fn report(&mut self, notice: Notice) {
        let (device, port) = (self.settings.device, self.settings.port.to_string());
        match notice {
            Notice::Up if self.is_up => self.metrics.troubles.ends(&self.kind()),
            Notice::Up => {
                self.is_up = true;
                self.metrics.troubles.ends(&self.kind());
                tracing::info!(%device, port, "a device is connected");
                self.log_event(Body::LifeCycle(LifeCycle::LinkUp { peer: &port })).await;
            }
            Notice::Refused { source, reason } => {
                self.metrics.refused.add(1);
                if source == device {
                    let text = format!("a message of {device} on {port} is refused: {reason}");
                    self.metrics.troubles.happened(&format!("batches of {device}"), text);
                } else {
                    self.is_troubled(&format!("{source} answers and is refused: {reason}"));
                }
                self.log_event(Body::LifeCycle(LifeCycle::Refused { source: source.as_str(), reason: &reason })).await;
            }
            Notice::ClockStep(step) => self.log_event(Body::ClockStep(step)).await,
            Notice::Resealed => tracing::warn!(
                %device,
                port,
                "the ring log holds different events under the device's epoch: it sends its own in new epochs, and nothing \
                 is lost; give every boot of every device a boot name and an entropy of its own"
            ),
        }
    }

    async fn report_down(&mut self, reason: &str) {
        if std::mem::take(&mut self.is_up) {
            let port = self.settings.port.to_string();
            tracing::info!(device = %self.settings.device, port, reason, "a device is gone");
            self.log_event(Body::LifeCycle(LifeCycle::LinkDown { peer: &port, reason })).await;
        }
    }

    fn kind(&self) -> String {
        format!("device {}", self.settings.device)
    }

    /// Nothing comes from the device until it is heard again.
    fn is_troubled(&self, why: &str) {
        let SerialSettings { device, port, .. } = &self.settings;
        self.metrics.troubles.begins(&self.kind(), format!("nothing comes from {device} on {port}: {why}"));
    }

    fn is_noisy(&self) {
        let SerialSettings { device, port, .. } = &self.settings;
        let text = format!(
            "frames on {port} are damaged, and {device} sends them again: check the cabling and its shielding, and \
             at `baud` and ground on both ends"
        );
        self.metrics.troubles.happened(&format!("noise on {port}"), text);
    }

    async fn log_event(&self, body: Body<'_>) {
        let event = Event { time: self.clock.wall(), subject: self.subject(), body };
        while let Err(refusal) = self.sink.push(&event, Waiting::Nobody) {
            if refusal != Refusal::Full {
                let device = &self.settings.device;
                tracing::warn!(%device, "an event about a device is not in the ring log: {refusal}");
                return;
            }
            self.sink.room().await;
        }
    }
}

/// The ring log has stopped.
struct Stopped;
