//! One connection: reading, writing and its end, in one task.
//!
//! Two futures share the protocol's state and are polled by one task: one reads packets and hands messages over, the
//! other writes what waits to be written. The reader waits where there is no room, and so does the client.

use std::future::poll_fn;
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, SystemTime};

use afferent_protocol::ids::SourceId;
use afferent_protocol::limits::FORMER_NAMES_MAX;
use afferent_protocol::session::signed::Up;
use afferent_protocol::topic::{Leaf, Topic};
use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf, WriteHalf};
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::{Instant, timeout};

use super::Context;
use super::answers::{Farewell, Grant, PublishAnswer};
use super::handshake::Greeted;
use super::in_flight::InFlight;
use super::packets::{IncomingPacket, Named, Protocol};
use super::registry::Handle;
use crate::core::MessageConnection;
use crate::intake::{Admitted, Done, IncomingContent, Released};
use crate::limits::{
    CLOCK_LOOKS_EVERY, DOWN_QUEUE_MAX, FAREWELL_MAX, IN_FLIGHT_MAX, OUT_BYTES_MAX, READ_BYTES, UNNAMED_MAX,
    WRITE_STALL_MAX,
};
use crate::refused::{RefusalKind, Refused};

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SessionEnd {
    /// The client disconnected, or closed or lost the socket.
    ByClient,
    /// The client broke the protocol; the last packet gave the reason where its version has a code for it.
    Broken,
    /// The endpoint ended it, for this reason.
    Here(Farewell),
}

/// The state that both futures share.
struct ClientSession<'a> {
    context: &'a Context,
    number: u64,
    peer: SocketAddr,
    protocol: Mutex<Protocol>,
    in_flight: Mutex<InFlight>,
    identity: OnceLock<SourceId>,
    /// The client id of its CONNECT.
    client_id: String,
    /// Whether a login or a certificate vouches for its name.
    is_vouched: bool,
    /// Former names that it speaks under.
    guest_of: Mutex<Vec<SourceId>>,
    subscribed: AtomicBool,
    /// Notified when bytes wait to be written.
    to_write: Notify,
    /// Notified when something was written, or answered.
    eased: Notify,
    done: mpsc::UnboundedSender<Released>,
    handle: Handle,
}

/// Messages for a connection from other tasks.
struct Mailbox {
    done: mpsc::UnboundedReceiver<Released>,
    down: mpsc::Receiver<Bytes>,
    end: watch::Receiver<Option<Farewell>>,
}

/// Bytes on their way into the socket.
#[derive(Default)]
struct Writing {
    bytes: Vec<u8>,
    written: usize,
}

/// Serves an admitted client until its end.
pub(super) async fn serve<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    peer: SocketAddr,
    greeted: Greeted,
    context: &Context,
) -> SessionEnd {
    let Greeted { protocol, identity, early, expires, client_id, is_vouched } = greeted;
    let (done, done_out) = mpsc::unbounded_channel();
    let (down, down_out) = mpsc::channel(DOWN_QUEUE_MAX);
    let (end, end_out) = watch::channel(None);
    let number = context.intake.connection_number();
    let session = ClientSession {
        context,
        number,
        peer,
        protocol: Mutex::new(protocol),
        in_flight: Mutex::default(),
        identity: OnceLock::new(),
        client_id,
        is_vouched,
        guest_of: Mutex::default(),
        subscribed: AtomicBool::new(false),
        to_write: Notify::new(),
        eased: Notify::new(),
        done,
        handle: Handle { number, down, end: Arc::new(end) },
    };
    let mut mailbox = Mailbox { done: done_out, down: down_out, end: end_out };
    let (mut reader, mut writer) = tokio::io::split(stream);
    let mut writing = Writing::default();
    let Mailbox { done, down, end } = &mut mailbox;
    let mut stopping = context.stopping.clone();
    let ended = tokio::select! {
        ended = session.read(&mut reader, identity, early) => ended,
        ended = session.write(&mut writer, &mut writing, done, down) => ended,
        Ok(why) = end.wait_for(Option::is_some) => SessionEnd::Here(why.expect("was waited for")),
        () = stopping.requested() => SessionEnd::Here(Farewell::Stopping),
        () = expired(expires) => SessionEnd::Here(Farewell::NotAuthorized),
    };
    session.close(ended, &mut writer, &mut writing).await;
    ended
}

/// Waits until a client's certificate has expired. The clock may be set meanwhile, so it is checked now and then.
async fn expired(expires: Option<SystemTime>) {
    let Some(expires) = expires else { return std::future::pending().await };
    while let Ok(left) = expires.duration_since(SystemTime::now()) {
        tokio::time::sleep(left.clamp(Duration::from_millis(1), CLOCK_LOOKS_EVERY)).await;
    }
}

impl ClientSession<'_> {
    async fn read<R: AsyncRead + Unpin>(
        &self,
        reader: &mut R,
        identity: Option<SourceId>,
        early: Vec<IncomingPacket>,
    ) -> SessionEnd {
        if let Some(agent) = identity {
            self.claim(agent);
        }
        let (mut packets, came) = (early, Instant::now());
        loop {
            for packet in packets.drain(..) {
                if let Err(end) = self.apply(packet).await {
                    return end;
                }
            }
            self.to_write.notify_one();
            if self.protocol().out().len() > OUT_BYTES_MAX {
                return SessionEnd::Here(Farewell::SlowReader);
            }
            // Waiting for room does not count as silence: the timer restarts with every read.
            let silence_max = self.protocol().silence_max();
            let patience = match self.identity.get() {
                Some(_) => silence_max,
                None => silence_max.min(UNNAMED_MAX.saturating_sub(came.elapsed())),
            };
            let read = read_packets(reader, &self.protocol, &mut packets);
            let Ok(read) = timeout(patience, read).await else { return SessionEnd::Here(Farewell::KeepAlive) };
            match read {
                Ok(ReadResult::Bytes) => {}
                Ok(ReadResult::Broken) => return SessionEnd::Broken,
                Ok(ReadResult::Ended) | Err(_) => return SessionEnd::ByClient,
            }
        }
    }

    async fn apply(&self, packet: IncomingPacket) -> Result<(), SessionEnd> {
        match packet {
            IncomingPacket::Publish { topic, packet_id, payload } => self.publish(topic, packet_id, payload).await,
            IncomingPacket::Subscribe { packet_id, filters } => self.subscribe(packet_id, &filters).await,
            IncomingPacket::Unsubscribe { packet_id, filters } => {
                let existed: Vec<bool> = filters.iter().map(|filter| self.unsubscribe(filter)).collect();
                self.protocol().unsuback(packet_id, &existed);
                Ok(())
            }
            IncomingPacket::Disconnect => Err(SessionEnd::ByClient),
            IncomingPacket::TooMuchQuality => Err(SessionEnd::Here(Farewell::QosNotSupported)),
            IncomingPacket::TooManyFilters => Err(SessionEnd::Here(Farewell::TooManyFilters)),
            IncomingPacket::Connect(_) | IncomingPacket::Authenticate | IncomingPacket::Malformed => {
                Err(SessionEnd::Here(Farewell::ProtocolError))
            }
            IncomingPacket::Nothing => Ok(()),
        }
    }

    /// Whether a topic is the client's own. The first topic of a client without an identity becomes its identity.
    fn owns(&self, topic: Topic) -> bool {
        match self.identity.get() {
            Some(agent) => *agent == topic.agent,
            // Since the client was admitted, new settings may require a login or a certificate.
            None if !self.context.gate.current().access.is_open() => false,
            None => {
                self.claim(topic.agent);
                true
            }
        }
    }

    /// Whether the client may use the topic of a different name: as an agent that had the name before. It must begin
    /// with a message that it has signed under that name; the log's writer checks the signature against the name's key.
    fn is_guest(&self, agent: SourceId, payload: &[u8]) -> bool {
        let Some(tied_to) = self.identity.get() else { return false };
        let mut guest_of = self.guest_of.lock().unwrap_or_else(PoisonError::into_inner);
        if guest_of.contains(&agent) {
            return true;
        }
        let said = Up::read(payload).ok().and_then(|said| said.verify_own_key(&agent));
        let may = guest_of.len() < FORMER_NAMES_MAX && said.is_some();
        if may {
            self.context.registry.claim_as_guest(agent, *tied_to, self.handle.clone());
            guest_of.push(agent);
        }
        may
    }

    /// Ties the connection to an agent.
    fn claim(&self, agent: SourceId) {
        self.identity.set(agent).expect("a connection is tied once");
        self.context.registry.claim(agent, self.handle.clone());
    }

    async fn publish(&self, topic: Named, packet_id: Option<u16>, payload: Bytes) -> Result<(), SessionEnd> {
        let is_its_own =
            |topic: Topic| self.owns(topic) || (topic.leaf == Leaf::Up && self.is_guest(topic.agent, &payload));
        let topic = match topic {
            Ok(topic) if topic.leaf != Leaf::Down && is_its_own(topic) => topic,
            Ok(topic) => return self.refuse(packet_id, PublishAnswer::NotAuthorized, topic.text().as_str()),
            Err(foreign) => return self.refuse(packet_id, PublishAnswer::TopicInvalid, &foreign),
        };
        if topic.leaf == Leaf::State {
            // The connection shows whether an agent is connected; its state message does not count.
            packet_id.inspect(|packet_id| self.in_flight().answered(*packet_id, PublishAnswer::Taken));
            self.send_answers();
            return Ok(());
        }
        let name = self.identity.get().copied();
        let connection =
            MessageConnection { number: self.number, peer: Some(self.peer), name, is_vouched: self.is_vouched };
        let content = IncomingContent::Message { payload, connection: Some(connection) };
        while self.in_flight().len() >= usize::from(IN_FLIGHT_MAX) {
            self.to_write.notify_one();
            self.eased.notified().await;
        }
        let room = self.context.intake.room(content.bytes()).await.map_err(|_| SessionEnd::Here(Farewell::Stopping))?;
        let done =
            packet_id.map(|packet_id| Done { to: self.done.clone(), number: self.in_flight().hand_over(packet_id) });
        room.fill(topic.agent, content, done);
        Ok(())
    }

    /// Refuses a publish. Where the version or the quality of service has no code for that, the connection ends.
    fn refuse(&self, packet_id: Option<u16>, answer: PublishAnswer, topic: &str) -> Result<(), SessionEnd> {
        self.context.health.counters.publishes_refused.count();
        self.note(RefusalKind::Publish, topic, "the client publishes to a topic that is not its own");
        match packet_id {
            Some(packet_id) if self.protocol().explains() => {
                self.in_flight().answered(packet_id, answer);
                self.send_answers();
                Ok(())
            }
            _ => Err(SessionEnd::Here(Farewell::NotAuthorized)),
        }
    }

    /// Records a refusal of the client.
    fn note(&self, kind: RefusalKind, topic: &str, why: &str) {
        let name = self.identity.get().map_or(&*self.client_id, SourceId::as_str);
        let (name, topic, peer) = (Some(name), Some(topic), Some(self.peer));
        self.context.health.refused.note(&Refused { kind, name, user: None, topic, peer, why });
    }

    async fn subscribe(&self, packet_id: u16, filters: &[Named]) -> Result<(), SessionEnd> {
        let mut grants = Vec::with_capacity(filters.len());
        for filter in filters {
            let granted = match filter {
                Ok(topic) if topic.leaf == Leaf::Down => self.owns(*topic),
                _ => false,
            };
            if granted {
                self.subscribed.store(true, Ordering::Relaxed);
                grants.push(Grant::Granted);
            } else {
                self.context.health.counters.subscriptions_refused.count();
                let text = filter.as_ref().map_or_else(Clone::clone, |topic| topic.text().as_str().to_owned());
                self.note(RefusalKind::Subscribe, &text, "the client subscribes to a topic that is not its own");
                grants.push(Grant::NotAuthorized);
            }
        }
        self.protocol().suback(packet_id, &grants);
        Ok(())
    }

    fn unsubscribe(&self, filter: &Named) -> bool {
        let own =
            filter.as_ref().is_ok_and(|topic| topic.leaf == Leaf::Down && self.identity.get() == Some(&topic.agent));
        own && self.subscribed.swap(false, Ordering::Relaxed)
    }

    async fn write<W: AsyncWrite + Unpin>(
        &self,
        writer: &mut W,
        writing: &mut Writing,
        done: &mut mpsc::UnboundedReceiver<Released>,
        down: &mut mpsc::Receiver<Bytes>,
    ) -> SessionEnd {
        loop {
            while let Ok(released) = done.try_recv() {
                self.released(released);
            }
            while writing.bytes.len() < OUT_BYTES_MAX
                && self.protocol().out().len() < OUT_BYTES_MAX
                && let Ok(message) = down.try_recv()
            {
                self.send_down(&message);
            }
            writing.refill(self.protocol().out());
            self.eased.notify_one();
            if !writing.is_empty() {
                if writing.write(writer).await.is_err() {
                    return SessionEnd::ByClient;
                }
                continue;
            }
            tokio::select! {
                () = self.to_write.notified() => {}
                Some(released) = done.recv() => self.released(released),
                Some(message) = down.recv() => self.send_down(&message),
            }
        }
    }

    fn released(&self, released: Released) {
        let answer = match released.verdict {
            Admitted::Taken | Admitted::Proved(_) => PublishAnswer::Taken,
            Admitted::Refused => PublishAnswer::PayloadInvalid,
            Admitted::OtherKey => PublishAnswer::NotAuthorized,
            Admitted::Later => PublishAnswer::QuotaExceeded,
        };
        self.in_flight().released(released.number, answer);
        self.send_answers();
    }

    fn send_answers(&self) {
        let mut protocol = self.protocol();
        let mut in_flight = self.in_flight();
        while let Some((packet_id, answer)) = in_flight.next_answer() {
            protocol.puback(packet_id, answer);
        }
    }

    fn send_down(&self, message: &[u8]) {
        if let (true, Some(agent)) = (self.subscribed.load(Ordering::Relaxed), self.identity.get()) {
            let topic = Topic { agent: *agent, leaf: Leaf::Down };
            self.protocol().publish(&topic.text(), message);
        } else {
            self.context.health.counters.answers_dropped.count();
        }
    }

    /// Sends the farewell, releases the name, and closes the socket.
    async fn close<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        ended: SessionEnd,
        writer: &mut WriteHalf<S>,
        writing: &mut Writing,
    ) {
        let agent = self.identity.get();
        let guest_of = std::mem::take(&mut *self.guest_of.lock().unwrap_or_else(PoisonError::into_inner));
        let names: Vec<SourceId> = agent.into_iter().copied().chain(guest_of).collect();
        names.iter().for_each(|name| self.context.registry.release(name, self.number));
        if let SessionEnd::Here(why) = ended {
            self.protocol().say_farewell(why);
        }
        let farewell = async {
            while !writing.is_empty() || !self.protocol().out().is_empty() {
                writing.refill(self.protocol().out());
                writing.write(writer).await?;
            }
            writer.shutdown().await
        };
        // A client that does not take it is closed without it.
        let _ = timeout(FAREWELL_MAX, farewell).await;
        for name in names {
            let mut stopping = self.context.stopping.clone();
            tokio::select! {
                _ = self.context.intake.closed(name, self.number) => {}
                () = stopping.requested() => {}
            }
        }
    }

    fn protocol(&self) -> MutexGuard<'_, Protocol> {
        self.protocol.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn in_flight(&self) -> MutexGuard<'_, InFlight> {
        self.in_flight.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Writing {
    fn is_empty(&self) -> bool {
        self.written == self.bytes.len()
    }

    /// Takes the bytes that wait to be written, once everything before is written; an idle connection keeps no buffer.
    fn refill(&mut self, out: &mut Vec<u8>) {
        if self.is_empty() {
            self.bytes = std::mem::take(out);
            self.written = 0;
        }
    }

    /// Continues writing; may be dropped and called again.
    async fn write<W: AsyncWrite + Unpin>(&mut self, writer: &mut W) -> std::io::Result<()> {
        while !self.is_empty() {
            let written = timeout(WRITE_STALL_MAX, writer.write(&self.bytes[self.written..])).await??;
            if written == 0 {
                return Err(std::io::ErrorKind::WriteZero.into());
            }
            self.written += written;
        }
        timeout(WRITE_STALL_MAX, writer.flush()).await?
    }
}

enum ReadResult {
    Bytes,
    Broken,
    Ended,
}

/// Reads once, into a buffer that only exists while bytes come, and feeds the protocol with it.
async fn read_packets<R: AsyncRead + Unpin>(
    reader: &mut R,
    protocol: &Mutex<Protocol>,
    packets: &mut Vec<IncomingPacket>,
) -> std::io::Result<ReadResult> {
    poll_fn(|context| {
        let mut bytes = [const { MaybeUninit::uninit() }; READ_BYTES];
        let mut buffer = ReadBuf::uninit(&mut bytes);
        std::task::ready!(Pin::new(&mut *reader).poll_read(context, &mut buffer))?;
        let read = buffer.filled();
        let read = if read.is_empty() {
            ReadResult::Ended
        } else {
            match protocol.lock().unwrap_or_else(PoisonError::into_inner).feed(read, packets) {
                Ok(()) => ReadResult::Bytes,
                Err(error) => {
                    tracing::debug!(?error, "a client violated the protocol");
                    ReadResult::Broken
                }
            }
        };
        std::task::Poll::Ready(Ok(read))
    })
    .await
}
