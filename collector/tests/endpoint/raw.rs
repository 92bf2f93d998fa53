//! A client made of bytes: it says what well-behaved clients do not say, and sees the order of what comes back.

use std::net::SocketAddr;
use std::time::Duration;

use afferent_protocol::ids::SourceId;
use afferent_protocol::topic::{Leaf, Topic};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

pub const CONNACK: u8 = 2;
pub const PUBLISH: u8 = 3;
pub const PUBACK: u8 = 4;
pub const SUBACK: u8 = 9;
pub const PINGRESP: u8 = 13;
pub const DISCONNECT: u8 = 14;

/// MQTT 3.1.1 or 5.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    V4 = 4,
    V5 = 5,
}

pub const BOTH: [Version; 2] = [Version::V4, Version::V5];

/// A packet: type, and what follows the length.
pub type Packet = (u8, Vec<u8>);

pub struct Raw {
    pub stream: TcpStream,
    version: Version,
}

pub fn name(text: &str) -> SourceId {
    SourceId::new(text).unwrap()
}

pub fn topic(agent: &str, leaf: Leaf) -> String {
    Topic { agent: name(agent), leaf }.text().to_string()
}

pub fn up(agent: &str) -> String {
    topic(agent, Leaf::Up)
}

fn text(text: &str) -> Vec<u8> {
    [&(text.len() as u16).to_be_bytes()[..], text.as_bytes()].concat()
}

pub fn packet(head: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![head];
    let mut len = body.len();
    loop {
        let more = if len > 127 { 0x80 } else { 0 };
        bytes.push((len & 0x7f) as u8 | more);
        len >>= 7;
        if more == 0 {
            break;
        }
    }
    bytes.extend_from_slice(body);
    bytes
}

pub fn connect(version: Version, client_id: &str, keep_alive_s: u16, login: Option<(&str, &str)>) -> Vec<u8> {
    let flags = 0b10 | if login.is_some() { 0b1100_0000 } else { 0 };
    let mut body = [text("MQTT"), vec![version as u8, flags], keep_alive_s.to_be_bytes().to_vec()].concat();
    if version == Version::V5 {
        body.push(0);
    }
    body.extend(text(client_id));
    if let Some((user, password)) = login {
        body.extend(text(user));
        body.extend(text(password));
    }
    packet(0x10, &body)
}

pub fn publish(version: Version, topic: &[u8], packet_id: Option<u16>, payload: &[u8]) -> Vec<u8> {
    let mut body = (topic.len() as u16).to_be_bytes().to_vec();
    body.extend_from_slice(topic);
    body.extend(packet_id.map(u16::to_be_bytes).into_iter().flatten());
    if version == Version::V5 {
        body.push(0);
    }
    body.extend_from_slice(payload);
    packet(if packet_id.is_some() { 0x32 } else { 0x30 }, &body)
}

impl Raw {
    pub async fn open(address: SocketAddr, version: Version) -> Self {
        Self { stream: TcpStream::connect(address).await.unwrap(), version }
    }

    /// Connects, and is let in.
    pub async fn join(address: SocketAddr, version: Version, login: Option<(&str, &str)>) -> Self {
        let mut raw = Self::open(address, version).await;
        raw.send(&connect(version, "raw", 60, login)).await;
        let (kind, body) = raw.next().await.expect("a CONNACK");
        assert_eq!((kind, body[1]), (CONNACK, 0), "{body:?}");
        raw
    }

    pub async fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    pub async fn publish(&mut self, topic: &str, packet_id: u16, payload: &[u8]) {
        let bytes = publish(self.version, topic.as_bytes(), Some(packet_id), payload);
        self.send(&bytes).await;
    }

    pub async fn ping(&mut self) {
        self.send(&[0xc0, 0]).await;
    }

    pub async fn subscribe(&mut self, filter: &str) -> Packet {
        let mut body = vec![0, 9];
        if self.version == Version::V5 {
            body.push(0);
        }
        body.extend(text(filter));
        body.push(1);
        self.send(&packet(0x82, &body)).await;
        self.next().await.expect("a SUBACK")
    }

    /// The next packet; `None` when the server has closed. The time limit only ends a test that hangs.
    pub async fn next(&mut self) -> Option<Packet> {
        self.next_within(Duration::from_secs(60)).await
    }

    pub async fn next_within(&mut self, longest: Duration) -> Option<Packet> {
        tokio::time::timeout(longest, self.read()).await.expect("the server neither answers nor closes")
    }

    async fn read(&mut self) -> Option<Packet> {
        let head = self.stream.read_u8().await.ok()?;
        let (mut len, mut shift) = (0, 0);
        loop {
            let byte = self.stream.read_u8().await.ok()?;
            len |= usize::from(byte & 0x7f) << shift;
            shift += 7;
            if byte & 0x80 == 0 {
                break;
            }
        }
        let mut body = vec![0; len];
        self.stream.read_exact(&mut body).await.ok()?;
        Some((head >> 4, body))
    }
}

/// Packet id and reason of a PUBACK; version 3.1.1 has no reasons.
pub fn puback(packet: &Packet) -> (u16, u8) {
    let (kind, body) = packet;
    assert_eq!(*kind, PUBACK, "{packet:?}");
    (u16::from_be_bytes([body[0], body[1]]), body.get(2).copied().unwrap_or(0))
}
