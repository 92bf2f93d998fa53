//! MQTT 3.1.1 and 5 as one: packets in, answers out, the differences of the versions in between.
//!
//! A sans-IO library has the protocol's state machine. This file reduces the library's events to the few that matter
//! here, and collects the bytes to write.

use std::time::Duration;

use afferent_protocol::topic::{TOPIC_BYTES_MAX, Topic};
use bytes::Bytes;
use mqtt_protocol_core::mqtt::common::{ArcPayload, Cursor};
use mqtt_protocol_core::mqtt::connection::{ConnectionOptions, Event, TimerKind};
use mqtt_protocol_core::mqtt::packet::{
    GenericPacketTrait, MaximumQos, Packet, Property, Qos, ReceiveMaximum, ServerKeepAlive, SessionExpiryInterval,
    SharedSubscriptionAvailable, SubscriptionIdentifierAvailable, WildcardSubscriptionAvailable, v3_1_1, v5_0,
};
use mqtt_protocol_core::mqtt::result_code::{
    ConnectReasonCode, ConnectReturnCode, DisconnectReasonCode, MqttError, PubackReasonCode, SubackReasonCode,
    SubackReturnCode, UnsubackReasonCode,
};
use mqtt_protocol_core::mqtt::{Connection, Version, role};

use super::answers::{ConnectRefusal, Farewell, Grant, PublishAnswer};
use crate::limits::{
    FILTERS_MAX, IN_FLIGHT_MAX, KEEP_ALIVE_MAX, PACKET_BYTES_MAX, REFUSED_TEXT_CHARS_MAX, SILENCE_MAX,
};

/// A topic of Afferent, or the beginning of a foreign one.
pub(super) type Named = Result<Topic, String>;

/// A client's wish to connect.
#[derive(Clone, Debug)]
pub(super) struct Connect {
    pub client_id: String,
    pub user: Option<String>,
    pub password: Option<Vec<u8>>,
    /// The last will's topic.
    pub will: Option<Named>,
}

/// A packet, reduced to what the endpoint uses.
#[derive(Clone, Debug)]
pub(super) enum IncomingPacket {
    Connect(Connect),
    Publish {
        topic: Named,
        /// The packet id; `None` with quality of service 0.
        packet_id: Option<u16>,
        payload: Bytes,
    },
    Subscribe {
        packet_id: u16,
        filters: Vec<Named>,
    },
    Unsubscribe {
        packet_id: u16,
        filters: Vec<Named>,
    },
    Disconnect,
    /// Quality of service 2, which is not supported.
    TooMuchQuality,
    /// More filters than the limit.
    TooManyFilters,
    /// A packet whose answer could not name it, or that asks for nothing: packet id 0 (MQTT 5, section 2.2.1), or no
    /// filter (sections 3.8.3, 3.10.3).
    Malformed,
    /// An exchange of authentication that no CONNECT has begun (MQTT 5, section 4.12).
    Authenticate,
    /// A packet that needs no answer, or was answered already.
    Nothing,
}

/// The server's side of an MQTT connection.
pub(super) struct Protocol {
    mqtt: Connection<role::Server>,
    out: Vec<u8>,
    keep_alive: Option<Duration>,
    asked_session: bool,
    ended: bool,
}

impl Protocol {
    pub fn new() -> Self {
        let options = ConnectionOptions::new().maximum_packet_size_recv(PACKET_BYTES_MAX);
        let mut mqtt = Connection::with_options(Version::Undetermined, options);
        mqtt.set_auto_ping_response(true);
        Self { mqtt, out: Vec::new(), keep_alive: None, asked_session: false, ended: false }
    }

    /// Takes bytes, and adds the packets that they complete. After an error (the bytes to write may hold its reason)
    /// the connection is of no use.
    pub fn feed(&mut self, bytes: &[u8], incoming: &mut Vec<IncomingPacket>) -> Result<(), MqttError> {
        let mut cursor = Cursor::new(bytes);
        while (cursor.position() as usize) < bytes.len() {
            let events = self.mqtt.recv(&mut cursor);
            if let Some(packet) = self.apply(events)? {
                let read = self.read(packet);
                incoming.push(read);
            }
        }
        Ok(())
    }

    /// Whether it is MQTT 5, which has codes for reasons.
    pub fn explains(&self) -> bool {
        self.mqtt.get_protocol_version() == Version::V5_0
    }

    /// How long a client may be silent before it counts as gone.
    pub fn silence_max(&self) -> Duration {
        self.keep_alive.unwrap_or(SILENCE_MAX)
    }

    /// Bytes to write.
    pub fn out(&mut self) -> &mut Vec<u8> {
        &mut self.out
    }

    pub fn accept(&mut self) {
        let packet: Packet = if self.explains() {
            let mut properties: Vec<Property> = vec![
                ReceiveMaximum::new(IN_FLIGHT_MAX).expect("is not zero").into(),
                MaximumQos::new(1).expect("is 0 or 1").into(),
                WildcardSubscriptionAvailable::new(0).expect("is 0 or 1").into(),
                SharedSubscriptionAvailable::new(0).expect("is 0 or 1").into(),
                SubscriptionIdentifierAvailable::new(0).expect("is 0 or 1").into(),
            ];
            if self.keep_alive.is_none_or(|asked| asked > KEEP_ALIVE_MAX * 3 / 2) {
                let seconds = KEEP_ALIVE_MAX.as_secs() as u16;
                properties.push(ServerKeepAlive::new(seconds).expect("any number of seconds").into());
            }
            if self.asked_session {
                properties.push(SessionExpiryInterval::new(0).expect("any number of seconds").into());
            }
            let connack = v5_0::Connack::builder()
                .session_present(false)
                .reason_code(ConnectReasonCode::Success)
                .props(properties)
                .build();
            connack.expect("every property may stand in a CONNACK").into()
        } else {
            let connack = v3_1_1::Connack::builder().session_present(false).return_code(ConnectReturnCode::Accepted);
            connack.build().expect("has all its fields").into()
        };
        self.send(packet);
    }

    pub fn refuse(&mut self, refusal: ConnectRefusal) {
        let packet: Packet = if self.explains() {
            let connack = v5_0::Connack::builder().session_present(false).reason_code(refusal.reason_code()).build();
            connack.expect("has all its fields").into()
        } else {
            let connack = v3_1_1::Connack::builder().session_present(false).return_code(refusal.return_code()).build();
            connack.expect("has all its fields").into()
        };
        self.send(packet);
    }

    pub fn puback(&mut self, packet_id: u16, answer: PublishAnswer) {
        let packet: Packet = if self.explains() {
            let mut puback = v5_0::Puback::builder().packet_id(packet_id);
            if answer.reason_code() != PubackReasonCode::Success {
                puback = puback.reason_code(answer.reason_code());
            }
            puback.build().expect("has all its fields").into()
        } else {
            v3_1_1::Puback::builder().packet_id(packet_id).build().expect("has all its fields").into()
        };
        self.send(packet);
    }

    pub fn suback(&mut self, packet_id: u16, grants: &[Grant]) {
        let packet: Packet = if self.explains() {
            let codes = grants.iter().map(|grant| match grant {
                Grant::Granted => SubackReasonCode::GrantedQos0,
                Grant::NotAuthorized => SubackReasonCode::NotAuthorized,
            });
            let suback = v5_0::Suback::builder().packet_id(packet_id).reason_codes(codes.collect()).build();
            suback.expect("has all its fields").into()
        } else {
            let codes = grants.iter().map(|grant| match grant {
                Grant::Granted => SubackReturnCode::SuccessMaximumQos0,
                Grant::NotAuthorized => SubackReturnCode::Failure,
            });
            let suback = v3_1_1::Suback::builder().packet_id(packet_id).return_codes(codes.collect()).build();
            suback.expect("has all its fields").into()
        };
        self.send(packet);
    }

    pub fn unsuback(&mut self, packet_id: u16, existed: &[bool]) {
        let packet: Packet = if self.explains() {
            let codes = existed.iter().map(|existed| match existed {
                true => UnsubackReasonCode::Success,
                false => UnsubackReasonCode::NoSubscriptionExisted,
            });
            let unsuback = v5_0::Unsuback::builder().packet_id(packet_id).reason_codes(codes.collect()).build();
            unsuback.expect("has all its fields").into()
        } else {
            v3_1_1::Unsuback::builder().packet_id(packet_id).build().expect("has all its fields").into()
        };
        self.send(packet);
    }

    /// Queues a message to the client, with quality of service 0: answers are cumulative, and a client that misses one
    /// asks again.
    pub fn publish(&mut self, topic: &str, payload: &[u8]) {
        let packet: Packet = if self.explains() {
            let publish = v5_0::Publish::builder().topic_name(topic).expect("a topic of ours is a valid one");
            publish.qos(Qos::AtMostOnce).payload(payload).build().expect("has all its fields").into()
        } else {
            let publish = v3_1_1::Publish::builder().topic_name(topic).expect("a topic of ours is a valid one");
            publish.qos(Qos::AtMostOnce).payload(payload).build().expect("has all its fields").into()
        };
        self.send(packet);
    }

    /// Sends the reason why the connection ends, where the version has a code for it.
    pub fn say_farewell(&mut self, why: Farewell) {
        if self.explains() && !self.ended {
            let disconnect = v5_0::Disconnect::builder().reason_code(why.reason_code()).build();
            self.send(disconnect.expect("has all its fields").into());
        }
    }

    fn send(&mut self, packet: Packet) {
        let events = self.mqtt.send(packet);
        // A message that cannot be sent (larger than the client takes, or after the end) is dropped: the client's
        // timeouts ask for it again.
        if let Err(error) = self.apply(events) {
            tracing::debug!(?error, "a packet could not be sent");
        }
    }

    fn apply(&mut self, events: Vec<Event>) -> Result<Option<Packet>, MqttError> {
        let mut received = None;
        let mut failed = None;
        for event in events {
            match event {
                Event::NotifyPacketReceived(packet) => received = Some(packet),
                Event::RequestSendPacket { packet, .. } => {
                    self.ended |= matches!(packet, Packet::V5_0Disconnect(_));
                    self.out.extend_from_slice(&packet.to_continuous_buffer());
                }
                Event::RequestTimerReset { kind: TimerKind::PingreqRecv, duration_ms } => {
                    self.keep_alive = Some(Duration::from_millis(duration_ms));
                }
                Event::NotifyError(error) => failed = Some(error),
                Event::RequestTimerReset { .. }
                | Event::RequestTimerCancel(_)
                | Event::NotifyPacketIdReleased(_)
                | Event::RequestClose => {}
            }
        }
        failed.map_or(Ok(received), Err)
    }

    fn read(&mut self, packet: Packet) -> IncomingPacket {
        match packet {
            Packet::V3_1_1Connect(connect) => IncomingPacket::Connect(Connect {
                client_id: connect.client_id().to_owned(),
                user: connect.user_name().map(str::to_owned),
                password: connect.password().map(<[u8]>::to_vec),
                will: connect.will_topic().map(topic_of),
            }),
            Packet::V5_0Connect(connect) => {
                self.asked_session =
                    connect.props().iter().any(|p| matches!(p, Property::SessionExpiryInterval(s) if s.val() != 0));
                IncomingPacket::Connect(Connect {
                    client_id: connect.client_id().to_owned(),
                    user: connect.user_name().map(str::to_owned),
                    password: connect.password().map(<[u8]>::to_vec),
                    will: connect.will_topic().map(topic_of),
                })
            }
            Packet::V3_1_1Publish(publish) => {
                read_publish(publish.qos(), publish.topic_name(), publish.packet_id(), publish.payload())
            }
            Packet::V5_0Publish(publish) => {
                read_publish(publish.qos(), publish.topic_name(), publish.packet_id(), publish.payload())
            }
            Packet::V3_1_1Subscribe(subscribe) => {
                let filters = subscribe.entries().iter().map(|entry| topic_of(entry.topic_filter()));
                read_filters(subscribe.packet_id(), filters, |packet_id, filters| IncomingPacket::Subscribe {
                    packet_id,
                    filters,
                })
            }
            Packet::V5_0Subscribe(subscribe) => {
                let filters = subscribe.entries().iter().map(|entry| topic_of(entry.topic_filter()));
                read_filters(subscribe.packet_id(), filters, |packet_id, filters| IncomingPacket::Subscribe {
                    packet_id,
                    filters,
                })
            }
            Packet::V3_1_1Unsubscribe(subscribe) => {
                let filters = subscribe.entries().iter().map(|entry| topic_of(entry.as_str()));
                read_filters(subscribe.packet_id(), filters, |packet_id, filters| IncomingPacket::Unsubscribe {
                    packet_id,
                    filters,
                })
            }
            Packet::V5_0Unsubscribe(subscribe) => {
                let filters = subscribe.entries().iter().map(|entry| topic_of(entry.as_str()));
                read_filters(subscribe.packet_id(), filters, |packet_id, filters| IncomingPacket::Unsubscribe {
                    packet_id,
                    filters,
                })
            }
            Packet::V3_1_1Disconnect(_) | Packet::V5_0Disconnect(_) => IncomingPacket::Disconnect,
            Packet::V5_0Auth(_) => IncomingPacket::Authenticate,
            _ => IncomingPacket::Nothing,
        }
    }
}

fn topic_of(text: &str) -> Named {
    let topic = (text.len() <= TOPIC_BYTES_MAX).then(|| Topic::parse(text)).flatten();
    topic.ok_or_else(|| text.chars().take(REFUSED_TEXT_CHARS_MAX).collect())
}

fn read_publish(qos: Qos, topic: &str, packet_id: Option<u16>, payload: &ArcPayload) -> IncomingPacket {
    if qos == Qos::ExactlyOnce {
        return IncomingPacket::TooMuchQuality;
    }
    if packet_id == Some(0) {
        return IncomingPacket::Malformed;
    }
    IncomingPacket::Publish { topic: topic_of(topic), packet_id, payload: Bytes::from_owner(Shared(payload.clone())) }
}

fn read_filters(
    packet_id: u16,
    filters: impl ExactSizeIterator<Item = Named>,
    made: impl FnOnce(u16, Vec<Named>) -> IncomingPacket,
) -> IncomingPacket {
    match filters.len() {
        0 => IncomingPacket::Malformed,
        _ if packet_id == 0 => IncomingPacket::Malformed,
        len if len > FILTERS_MAX => IncomingPacket::TooManyFilters,
        _ => made(packet_id, filters.collect()),
    }
}

/// A payload in the buffer that it was read into, not copied.
struct Shared(ArcPayload);

impl AsRef<[u8]> for Shared {
    fn as_ref(&self) -> &[u8] {
        self.0.as_slice()
    }
}

/// Numbers of the reasons on the wire.
impl Farewell {
    fn reason_code(self) -> DisconnectReasonCode {
        match self {
            Self::TakenOver => DisconnectReasonCode::SessionTakenOver,
            Self::Stopping => DisconnectReasonCode::ServerShuttingDown,
            Self::SlowReader => DisconnectReasonCode::QuotaExceeded,
            Self::KeepAlive => DisconnectReasonCode::KeepAliveTimeout,
            Self::NotAuthorized => DisconnectReasonCode::NotAuthorized,
            Self::QosNotSupported => DisconnectReasonCode::QosNotSupported,
            Self::TooManyFilters => DisconnectReasonCode::QuotaExceeded,
            Self::ProtocolError => DisconnectReasonCode::ProtocolError,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The packets that the server reads behind a CONNECT of this version.
    fn read(version: u8, packet: &[u8]) -> Vec<IncomingPacket> {
        let properties: &[u8] = if version == 5 { &[0] } else { &[] };
        let body = [b"\0\x04MQTT", &[version, 2, 0, 60][..], properties, b"\0\x01a"].concat();
        let connect = [&[0x10, body.len() as u8][..], &body].concat();
        let (mut protocol, mut incoming) = (Protocol::new(), Vec::new());
        protocol.feed(&connect, &mut incoming).expect("it is a CONNECT");
        protocol.accept();
        incoming.clear();
        // A packet that the library refuses ends the connection as well.
        protocol.feed(packet, &mut incoming).map_or_else(|_| vec![IncomingPacket::Malformed], |()| incoming)
    }

    #[test]
    fn a_packet_that_no_answer_could_name_is_malformed_and_makes_nothing_panic() {
        let with_properties = |version: u8, head: &[u8], id: &[u8], rest: &[u8]| {
            let properties: &[u8] = if version == 5 { &[0] } else { &[] };
            let body = [id, properties, rest].concat();
            [&[head[0], (head.len() - 1 + body.len()) as u8][..], &head[1..], &body].concat()
        };
        for version in [4, 5] {
            let subscribe = |id: &[u8], rest: &[u8]| with_properties(version, &[0x82], id, rest);
            let unsubscribe = |id: &[u8], rest: &[u8]| with_properties(version, &[0xa2], id, rest);
            let publish = |id: &[u8]| with_properties(version, b"\x32\0\x01t", id, b"payload");
            for packet in [
                subscribe(&[0, 0], b"\0\x01t\0"),
                subscribe(&[0, 1], b""),
                unsubscribe(&[0, 0], b"\0\x01t"),
                unsubscribe(&[0, 1], b""),
                publish(&[0, 0]),
            ] {
                let read = read(version, &packet);
                assert!(matches!(read[..], [IncomingPacket::Malformed]), "{version} {packet:?}: {read:?}");
            }
            assert!(matches!(read(version, &subscribe(&[0, 1], b"\0\x01t\0"))[..], [IncomingPacket::Subscribe { .. }]));
            assert!(matches!(
                read(version, &unsubscribe(&[0, 1], b"\0\x01t"))[..],
                [IncomingPacket::Unsubscribe { .. }]
            ));
            assert!(matches!(read(version, &publish(&[0, 1]))[..], [IncomingPacket::Publish { .. }]));
        }
    }
}
