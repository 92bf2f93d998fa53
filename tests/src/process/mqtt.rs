//! A client made of bytes, MQTT 5: it says what well-behaved clients do not say.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

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
    /// It is refused for now.
    pub const QUOTA_EXCEEDED: Self = Self(0x97);
    /// The content was refused.
    pub const PAYLOAD_FORMAT_INVALID: Self = Self(0x99);
}

/// One connection.
#[derive(Debug)]
pub struct Mqtt {
    stream: TcpStream,
    packet_id: u16,
    /// Messages that came while something else was waited for.
    inbox: VecDeque<Vec<u8>>,
}

/// The topic on which an agent of this name publishes.
///
/// # Panics
/// When it is no name.
pub fn up(agent: &str) -> String {
    topic(agent, Leaf::Up)
}

/// The topic on which an agent of this name is answered.
///
/// # Panics
/// When it is no name.
pub fn down(agent: &str) -> String {
    topic(agent, Leaf::Down)
}

/// The topic on which it says whether the agent of this name is there.
///
/// # Panics
/// When it is no name.
pub fn state(agent: &str) -> String {
    topic(agent, Leaf::State)
}

fn topic(agent: &str, leaf: Leaf) -> String {
    let agent = SourceId::new(agent).expect("it is a name");
    Topic { agent, leaf }.text().as_str().to_owned()
}

fn text(text: &[u8]) -> Vec<u8> {
    [&(text.len() as u16).to_be_bytes()[..], text].concat()
}

impl Mqtt {
    /// Opens a socket and says nothing yet.
    pub fn open(address: SocketAddr) -> io::Result<Self> {
        Self::over(TcpStream::connect(address)?)
    }

    /// Over a socket that is open, and says nothing yet.
    fn over(stream: TcpStream) -> io::Result<Self> {
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Self { stream, packet_id: 0, inbox: VecDeque::new() })
    }

    /// Connects over a socket that is open, without a login or a keep-alive.
    pub fn connect_over(stream: TcpStream) -> io::Result<Self> {
        Self::let_in(Self::over(stream)?, "", 0b10, &[])
    }

    /// Connects without a name or login, and without a keep-alive.
    pub fn connect(address: SocketAddr) -> io::Result<Self> {
        Self::connect_as(address, "")
    }

    /// Connects as a client of this id, without a login or a keep-alive.
    pub fn connect_as(address: SocketAddr, client_id: &str) -> io::Result<Self> {
        Self::connect_with(address, client_id, 0b10, &[])
    }

    /// Connects with a login.
    pub fn log_in(address: SocketAddr, client_id: &str, user: &str, password: &str) -> io::Result<Self> {
        Self::connect_with(address, client_id, 0b1100_0010, &[user, password])
    }

    fn connect_with(address: SocketAddr, client_id: &str, flags: u8, login: &[&str]) -> io::Result<Self> {
        Self::let_in(Self::open(address)?, client_id, flags, login)
    }

    fn let_in(mut mqtt: Self, client_id: &str, flags: u8, login: &[&str]) -> io::Result<Self> {
        let login = login.iter().flat_map(|field| text(field.as_bytes())).collect();
        let body = [text(b"MQTT"), vec![5, flags, 0, 0, 0], text(client_id.as_bytes()), login].concat();
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
        self.publish_with(0x32, topic, payload)
    }

    /// Publishes something that whoever subscribes later gets, too.
    pub fn publish_retained(&mut self, topic: impl AsRef<[u8]>, payload: &[u8]) -> io::Result<Reason> {
        self.publish_with(0x33, topic, payload)
    }

    fn publish_with(&mut self, head: u8, topic: impl AsRef<[u8]>, payload: &[u8]) -> io::Result<Reason> {
        self.packet_id += 1;
        let body = [text(topic.as_ref()), self.packet_id.to_be_bytes().to_vec(), vec![0], payload.to_vec()].concat();
        self.send(&packet(head, &body))?;
        let answer = self.answer(0x40)?;
        Ok(Reason(answer.get(2).copied().unwrap_or(0)))
    }

    /// Subscribes to one topic, with quality of service 1.
    pub fn subscribe(&mut self, topic: &str) -> io::Result<()> {
        self.packet_id += 1;
        let body = [self.packet_id.to_be_bytes().to_vec(), vec![0], text(topic.as_bytes()), vec![1]].concat();
        self.send(&packet(0x82, &body))?;
        match self.answer(0x90)?.last() {
            Some(0 | 1) => Ok(()),
            refused => Err(io::Error::other(format!("not subscribed: {refused:x?}"))),
        }
    }

    /// The next message on a topic that was subscribed to.
    pub fn next_message(&mut self) -> io::Result<Vec<u8>> {
        loop {
            if let Some(message) = self.inbox.pop_front() {
                return Ok(message);
            }
            let (kind, body) = self.next_packet()?;
            self.keep(kind, &body)?;
        }
    }

    /// A message that has come, or comes within a moment.
    pub fn waiting_message(&mut self) -> Option<Vec<u8>> {
        self.stream.set_read_timeout(Some(Duration::from_millis(200))).ok()?;
        let message = self.next_message().ok();
        self.stream.set_read_timeout(Some(PATIENCE)).ok()?;
        message
    }

    /// Whether no message has come before the last answer.
    pub fn has_no_message(&self) -> bool {
        self.inbox.is_empty()
    }

    /// The answer of this kind to the packet that was sent last.
    fn answer(&mut self, kind_asked: u8) -> io::Result<Vec<u8>> {
        loop {
            let (kind, body) = self.next_packet()?;
            if kind == kind_asked {
                assert_eq!(body[..2], self.packet_id.to_be_bytes(), "it answers what was asked");
                return Ok(body);
            }
            self.keep(kind, &body)?;
        }
    }

    /// Keeps a message, and confirms it.
    fn keep(&mut self, kind: u8, body: &[u8]) -> io::Result<()> {
        if kind & 0xf0 != 0x30 {
            return Err(io::Error::other(format!("instead of an answer: {kind:#x} {body:x?}")));
        }
        let mut rest = &body[2 + usize::from(u16::from_be_bytes([body[0], body[1]]))..];
        if kind & 0b110 != 0 {
            self.send(&packet(0x40, &rest[..2]))?;
            rest = &rest[2..];
        }
        // Properties of under 128 bytes have their length in one.
        self.inbox.push_back(rest[1 + usize::from(rest[0])..].to_vec());
        Ok(())
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
