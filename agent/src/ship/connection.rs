//! One connection, from its beginning to its end: one task that waits in one place.

use std::collections::VecDeque;
use std::time::Duration;

use afferent_protocol::ids::SourceId;
use afferent_protocol::session::signed::Nonce;
use afferent_protocol::topic::{Leaf, Topic};
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{
    ConnAckProperties, Disconnect, DisconnectReasonCode, Filter, LastWill, Packet, PingReq, PubAck, PubAckReason,
    Publish, Subscribe, SubscribeReasonCode,
};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, timeout};

use super::loads::{Loads, Piece};
use super::pace::Pace;
use super::wire::{Introduction, Wire, publish};
use super::{Ended, ShipSettings, Speaker, set};
use crate::limits::{
    FAREWELL_MAX, KEEP_ALIVE, LINE_FAST, LINK_SILENCE_MAX, MQTT_HEAD_BYTES_MAX, PIECE_BYTES_MIN, PUBLISH_MAX,
};
use crate::mailbox::{Inbound, Link, LinkState, Outbound};

/// The packet identifier of the subscription: those of publishes begin at the other end.
const SUBSCRIPTION: u16 = u16::MAX;

/// What a connection works with.
pub(super) struct Parts<'a> {
    pub speaker: &'a Speaker,
    pub settings: &'a ShipSettings,
    pub link: &'a Link,
    pub outbox: &'a mut mpsc::Receiver<Outbound>,
    pub state: &'a watch::Sender<LinkState>,
    pub loads: &'a mut Loads,
    pub connect_max: Duration,
}

struct Connection<'a> {
    parts: Parts<'a>,
    wire: Wire,
    pace: Pace,
    began: Instant,
    nonce: Nonce,
    /// Bytes of a payload that the peer takes.
    payload_max: usize,
    keep_alive: Duration,
    ping_at: Instant,
    heard_at: Instant,
    confirmed_at: Instant,
    /// What waits for its PUBACK: whose it is, and which piece of a batch.
    waiting: VecDeque<(u16, SourceId, Option<Piece>)>,
    has_warned: bool,
    /// The line's rate that the writer knows, in bytes per second.
    reported_rate: u64,
}

/// One connection, from its beginning to its end.
pub(super) async fn connection(parts: Parts<'_>) -> Ended {
    let connect_max = parts.connect_max;
    let mut connection = match timeout(connect_max, Connection::open(parts)).await {
        Ok(Ok(connection)) => connection,
        Ok(Err(ended)) => return ended,
        Err(_) => return Ended::Slow(connect_max),
    };
    tracing::info!("connected to {}", connection.parts.settings.peer());
    connection.parts.state.send_replace(LinkState::Up);
    let trust = connection.parts.settings.trust.clone();
    connection.parts.link.bring(Inbound::LinkUp(connection.nonce, trust));
    connection.report_line_rate();
    let ended = connection.serve().await;
    if matches!(ended, Ended::Stopped) {
        let _ = timeout(FAREWELL_MAX, connection.send_goodbye()).await;
    }
    ended
}

impl<'a> Connection<'a> {
    /// Connects, subscribes, and publishes that the agent is online.
    async fn open(parts: Parts<'a>) -> Result<Self, Ended> {
        let mut nonce = Nonce::NONE;
        getrandom::fill(&mut nonce.0).expect("the kernel gives random numbers");
        let (settings, speaker) = (parts.settings, parts.speaker);
        let state = Topic { agent: settings.agent, leaf: Leaf::State }.text();
        let introduction = Introduction {
            client_id: speaker.client_id(),
            keep_alive_s: KEEP_ALIVE.as_secs() as u16,
            will: LastWill::new(state.as_str(), speaker.state(nonce, false), QoS::AtLeastOnce, true, None),
            login: settings.login.clone(),
        };
        let (wire, limits) = Wire::connect(&settings.host, settings.port, settings.tls.clone(), introduction).await?;
        let mut connection = Self::new(parts, wire, nonce, &limits);
        let (own, former) = (connection.parts.settings.agent, speaker.former.clone());
        let down = |agent: SourceId| Topic { agent, leaf: Leaf::Down }.text();
        let filter = |agent: SourceId| Filter::new(down(agent).as_str(), QoS::AtLeastOnce);
        let filters = std::iter::once(own).chain(former.iter().copied()).map(filter);
        let mut subscribe = Subscribe::new_many(filters, None);
        subscribe.pkid = SUBSCRIPTION;
        connection.wire.send(&Packet::Subscribe(subscribe))?;
        connection.publish_state(true)?;
        loop {
            match connection.wire.packet().await? {
                // What is refused of former names shows when no collector answers under them; the collector's own
                // endpoint answers on the agent's topic.
                Packet::SubAck(ack) => match ack.return_codes.first() {
                    Some(SubscribeReasonCode::Success(_)) => return Ok(connection),
                    code => {
                        let code = code.copied().unwrap_or(SubscribeReasonCode::Unspecified);
                        return Err(Ended::Refused { topic: down(own).as_str().into(), code });
                    }
                },
                packet => connection.take(packet)?,
            }
        }
    }

    fn new(parts: Parts<'a>, wire: Wire, nonce: Nonce, limits: &ConnAckProperties) -> Self {
        let now = Instant::now();
        let packet_max = limits.max_packet_size.map_or(usize::MAX, |bytes| bytes as usize);
        let asked = limits.server_keep_alive.map_or(KEEP_ALIVE, |s| Duration::from_secs(u64::from(s.max(1))));
        let keep_alive = asked.min(KEEP_ALIVE);
        Self {
            parts,
            wire,
            pace: Pace::new(limits.receive_max),
            began: now,
            nonce,
            payload_max: packet_max.saturating_sub(MQTT_HEAD_BYTES_MAX).max(PIECE_BYTES_MIN / 4),
            keep_alive,
            ping_at: now + keep_alive,
            heard_at: now,
            confirmed_at: now,
            waiting: VecDeque::new(),
            has_warned: false,
            reported_rate: 0,
        }
    }

    async fn serve(&mut self) -> Ended {
        loop {
            if let Err(ended) = self.fill() {
                return ended;
            }
            let is_stuck = !self.parts.loads.is_empty() && !self.pace.has_room();
            let stuck_at = is_stuck.then(|| self.confirmed_at + PUBLISH_MAX);
            let silent_at = self.heard_at + LINK_SILENCE_MAX;
            let wake_at = stuck_at.into_iter().chain([silent_at, self.ping_at]).min().expect("there are some");
            tokio::select! {
                packet = self.wire.packet() => {
                    let taken = packet.map_err(Ended::from).and_then(|packet| self.take(packet));
                    if let Err(ended) = taken {
                        return ended;
                    }
                }
                outbound = self.parts.outbox.recv(), if self.parts.loads.has_room() => {
                    match outbound {
                        None => return Ended::Stopped,
                        Some(Outbound::Reconnect) => {
                            self.parts.link.took();
                            return Ended::NoAnswer;
                        }
                        Some(Outbound::Message(agent, message)) => {
                            self.parts.link.took();
                            self.parts.loads.push(agent, message);
                        }
                    }
                }
                () = tokio::time::sleep_until(wake_at) => {
                    let now = Instant::now();
                    if silent_at <= now {
                        return Ended::Silence;
                    }
                    if stuck_at.is_some_and(|at| at <= now) {
                        return Ended::Stuck;
                    }
                    if let Err(ended) = self.ping(now) {
                        return ended;
                    }
                }
            }
        }
    }

    fn ping(&mut self, now: Instant) -> Result<(), Ended> {
        if self.ping_at <= now {
            self.ping_at = now + self.keep_alive;
            self.wire.send(&Packet::PingReq(PingReq))?;
        }
        Ok(())
    }

    /// Sends as much of what waits as the line takes.
    fn fill(&mut self) -> Result<(), Ended> {
        while self.pace.has_room()
            && let Some(parcel) = self.parts.loads.pop(self.pace.message_bytes(), self.payload_max)
        {
            let id = self.publish(parcel.agent, Leaf::Up, parcel.payload)?;
            self.waiting.push_back((id, parcel.agent, parcel.piece));
        }
        Ok(())
    }

    fn publish(&mut self, agent: SourceId, leaf: Leaf, payload: Vec<u8>) -> Result<u16, Ended> {
        if payload.len() > self.payload_max {
            let (bytes, limit) = (payload.len(), self.payload_max);
            return Err(Ended::TooSmall { bytes, limit });
        }
        if self.pace.is_idle() {
            self.confirmed_at = Instant::now();
        }
        let id = self.pace.sent(payload.len() + MQTT_HEAD_BYTES_MAX / 2, self.now_ms());
        let topic = Topic { agent, leaf }.text();
        self.wire.send(&publish(&topic, id, payload, leaf == Leaf::State))?;
        Ok(id)
    }

    fn publish_state(&mut self, online: bool) -> Result<(), Ended> {
        let state = self.parts.speaker.state(self.nonce, online);
        self.publish(self.parts.settings.agent, Leaf::State, state).map(drop)
    }

    /// A packet came.
    fn take(&mut self, packet: Packet) -> Result<(), Ended> {
        self.heard_at = Instant::now();
        match packet {
            Packet::Publish(publish) => self.heard(&publish)?,
            Packet::PubAck(ack) => self.confirmed(&ack),
            Packet::Disconnect(Disconnect { reason_code: DisconnectReasonCode::SessionTakenOver, .. }) => {
                return Err(Ended::TakenOver);
            }
            Packet::Disconnect(Disconnect { reason_code, .. }) => {
                return Err(Ended::Disconnected(format!("{reason_code:?}")));
            }
            _ => {}
        }
        Ok(())
    }

    fn heard(&mut self, publish: &Publish) -> Result<(), Ended> {
        if publish.qos == QoS::AtLeastOnce {
            self.wire.send(&Packet::PubAck(PubAck::new(publish.pkid, None)))?;
        }
        // Whom it is from, the writer finds out.
        if *self.parts.state.borrow() == LinkState::Refused {
            set(self.parts.state, LinkState::Up);
        }
        self.parts.link.bring(Inbound::Message(publish.payload.to_vec()));
        Ok(())
    }

    fn confirmed(&mut self, ack: &PubAck) {
        let at = self.waiting.iter().position(|(id, ..)| *id == ack.pkid);
        let waited = at.and_then(|at| self.waiting.remove(at));
        let whose = waited.as_ref().map_or(self.parts.settings.agent, |(_, agent, _)| *agent);
        // The collector refuses a key that is not the name's, a broker a name that is not the login's.
        match ack.reason {
            PubAckReason::NotAuthorized if whose == self.parts.settings.agent => self.refused(),
            PubAckReason::NotAuthorized => self.parts.link.bring(Inbound::Forbidden(whose)),
            PubAckReason::Success | PubAckReason::NoMatchingSubscribers => {
                if let Some((.., Some(piece))) = &waited {
                    self.parts.loads.confirmed(piece);
                }
            }
            _ => {}
        }
        let more_waits = !self.parts.loads.is_empty();
        if self.pace.confirmed(ack.pkid, self.now_ms(), more_waits) {
            self.confirmed_at = Instant::now();
            self.report_line_rate();
        }
    }

    /// The other side accepts nothing under the agent's own name. It is logged once per connection.
    fn refused(&mut self) {
        if *self.parts.state.borrow() != LinkState::Refused && !std::mem::replace(&mut self.has_warned, true) {
            let (name, key) = (self.parts.settings.agent, self.parts.speaker.who.identity.public_key());
            tracing::warn!(
                "connected, and nothing is taken under the name {name}: the collector holds it to another key, or the \
                 broker's access rules to another login. If this machine is still {name} and has lost its key, say so \
                 at the collector: afferent-collector agents replace {name} --key {key} --why …; otherwise give this \
                 agent a name of its own. Events are kept in the ring log meanwhile"
            );
        }
        set(self.parts.state, LinkState::Refused);
    }

    /// Reports the line's rate to the writer when it has changed by more than an eighth.
    fn report_line_rate(&mut self) {
        let line = self.pace.bytes_per_s().min(LINE_FAST);
        if line.abs_diff(self.reported_rate) > self.reported_rate / 8 {
            self.reported_rate = line;
            self.parts.link.bring(Inbound::Line(line));
        }
    }

    /// Publishes that the agent goes offline intentionally, behind the waiting messages. The last will covers agents
    /// that vanish.
    async fn send_goodbye(&mut self) -> Result<(), Ended> {
        let mut is_sent = false;
        loop {
            self.fill()?;
            if self.parts.loads.is_empty() && !std::mem::replace(&mut is_sent, true) {
                self.publish_state(false)?;
            }
            if is_sent && self.pace.is_idle() {
                break;
            }
            let packet = self.wire.packet().await?;
            self.take(packet)?;
        }
        self.wire.send(&Packet::Disconnect(Disconnect::new(DisconnectReasonCode::NormalDisconnection)))?;
        Ok(self.wire.flush().await?)
    }

    fn now_ms(&self) -> u64 {
        self.began.elapsed().as_millis() as u64
    }
}
