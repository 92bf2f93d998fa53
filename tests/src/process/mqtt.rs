//! A client made of bytes, MQTT 5: it says what well-behaved clients do not say.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};

use afferent_protocol::ids::SourceId;
use afferent_protocol::topic::{Leaf, Topic};

use super::PATIENCE;

/// A reason code of a PUBACK or DISCONNECT (MQTT 5, section 2.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reason(pub u8);

impl Reason {
    /// It was taken.
    pub const SUCCESS: Self = Self(0x00);
    /// Not this client's topic.
    pub const NOT_AUTHORIZED: Self = Self(0x87);
    /// A topic that does not exist.
    pub const TOPIC_NAME_INVALID: Self = Self(0x90);
    /// The content was refused.
    pub const PAYLOAD_FORMAT_INVALID: Self = Self(0x99);
}

/// One connection.
#[derive(Debug)]
pub struct Mqtt {
    stream: TcpStream,
    packet_id: u16,
}

/// The topic on which an agent of this name publishes.
///
/// # Panics
/// When it is no name.
pub fn up(agent: &str) -> String {
    let agent = SourceId::new(agent).expect("it is a name");
    Topic { agent, leaf: Leaf::Up }.text().as_str().to_owned()
}

fn text(text: &[u8]) -> Vec<u8> {
    [&(text.len() as u16).to_be_bytes()[..], text].concat()
}

impl Mqtt {
    /// Opens a socket and says nothing yet.
    pub fn open(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Self { stream, packet_id: 0 })
    }

    /// Connects without a name or login, and without a keep-alive.
    pub fn connect(address: SocketAddr) -> io::Result<Self> {
        let mut mqtt = Self::open(address)?;
        let body = [text(b"MQTT"), vec![5, 0b10, 0, 0, 0], text(b"")].concat();
        mqtt.send(&packet(0x10, &body))?;
        match mqtt.next_packet()? {
            (0x20, body) if body.get(1) == Some(&0) => Ok(mqtt),
            (kind, body) => Err(io::Error::other(format!("not let in: {kind:#x} {body:?}"))),
        }
    }

    /// Sends bytes as they are.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// Publishes with quality of service 1, on whatever bytes as a topic; an error when the connection was closed
    /// instead of an answer.
    pub fn publish(&mut self, topic: impl AsRef<[u8]>, payload: &[u8]) -> io::Result<Reason> {
        self.packet_id += 1;
        let body = [text(topic.as_ref()), self.packet_id.to_be_bytes().to_vec(), vec![0], payload.to_vec()].concat();
        self.send(&packet(0x32, &body))?;
        match self.next_packet()? {
            (0x40, body) => {
                assert_eq!(body[..2], self.packet_id.to_be_bytes(), "it answers what was asked");
                Ok(Reason(body.get(2).copied().unwrap_or(0)))
            }
            (kind, body) => Err(io::Error::other(format!("no PUBACK: {kind:#x} {body:x?}"))),
        }
    }

    /// The next packet: its first byte, and what follows its length.
    pub fn next_packet(&mut self) -> io::Result<(u8, Vec<u8>)> {
        let mut byte = [0];
        self.stream.read_exact(&mut byte)?;
        let kind = byte[0];
        let (mut len, mut shift) = (0_usize, 0);
        loop {
            self.stream.read_exact(&mut byte)?;
            len |= usize::from(byte[0] & 0x7f) << shift;
            shift += 7;
            if byte[0] & 0x80 == 0 {
                break;
            }
        }
        let mut body = vec![0; len];
        self.stream.read_exact(&mut body)?;
        Ok((kind, body))
    }

    /// Whether the other side closes the connection, whatever it says before.
    pub fn is_closed(&mut self) -> bool {
        let read = io::copy(&mut self.stream, &mut io::sink());
        !matches!(read, Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut))
    }
}

/// A packet of this first byte and content.
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
