//! From an open socket to an identified client: TLS, CONNECT, identity, CONNACK.

use std::time::SystemTime;

use afferent_protocol::ids::SourceId;
use afferent_protocol::topic::Leaf;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::access::Access;
use super::answers::ConnectRefusal;
use super::packets::{Connect, IncomingPacket, Protocol};
use crate::limits::CONNECT_BYTES_MAX;

/// The first byte of a TLS client (RFC 8446, section 5.1).
const TLS_HANDSHAKE: u8 = 0x16;

/// An admitted client.
pub(super) struct Greeted {
    pub protocol: Protocol,
    /// Its identity; `None` where its first topic will decide it.
    pub identity: Option<SourceId>,
    pub client_id: String,
    /// Whether a login or a certificate vouches for its identity.
    pub is_vouched: bool,
    /// When its credentials expire.
    pub expires: Option<SystemTime>,
    /// Packets that came with the CONNECT and after it.
    pub early: Vec<IncomingPacket>,
}

/// The names that a client or its certificate claims.
#[derive(Clone, Debug, Default)]
pub(super) struct Claimed {
    /// The name in its certificate, else its user, else its client id.
    pub name: String,
    pub user: Option<String>,
    /// The topic of its last will.
    pub topic: Option<String>,
}

impl Claimed {
    fn by(certificate: Option<SourceId>, connect: &Connect) -> Self {
        let Connect { client_id, user, will, .. } = connect;
        let topic = will.as_ref().map(|will| match will {
            Ok(topic) => topic.text().as_str().to_owned(),
            Err(foreign) => foreign.clone(),
        });
        let name = certificate.map(|name| name.to_string()).or_else(|| user.clone()).filter(|name| !name.is_empty());
        Self { name: name.unwrap_or_else(|| client_id.clone()), user: user.clone(), topic }
    }
}

/// Why a client was not admitted.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotGreeted {
    #[error("{0}")]
    Refused(ConnectRefusal, Claimed),
    /// It gets no answer, because the MQTT version for one is unknown.
    #[error("the client's first packet is not a CONNECT of a valid size")]
    Foreign,
    #[error("the client speaks TLS (mqtts://), but this port does not")]
    Tls,
    /// It closed without sending a byte: a check whether the port is open.
    #[error("the client closed the connection without sending anything")]
    Gone,
    #[error("the client violated the protocol: {0}")]
    Protocol(String),
    #[error("{0}")]
    Io(#[from] std::io::Error),
}

/// Reads the CONNECT and answers it. The answer to an admitted client is in `protocol`, still to be written: the
/// client's first acks must not overtake its registration.
pub(super) async fn greet<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    access: &Access,
    certificate: Option<SourceId>,
    refusal: Option<ConnectRefusal>,
) -> Result<Greeted, NotGreeted> {
    let mut protocol = Protocol::new();
    let greeted = decide(stream, &mut protocol, access, certificate, refusal).await;
    match greeted {
        Ok((identity, client_id, early)) => {
            let is_vouched = !access.is_open();
            Ok(Greeted { protocol, identity, client_id, is_vouched, expires: None, early })
        }
        Err(error) => {
            if let NotGreeted::Refused(refusal, _) = &error {
                protocol.refuse(*refusal);
            }
            let answer = std::mem::take(protocol.out());
            stream.write_all(&answer).await?;
            stream.shutdown().await?;
            Err(error)
        }
    }
}

async fn decide<S: AsyncRead + Unpin>(
    stream: &mut S,
    protocol: &mut Protocol,
    access: &Access,
    certificate: Option<SourceId>,
    refusal: Option<ConnectRefusal>,
) -> Result<(Option<SourceId>, String, Vec<IncomingPacket>), NotGreeted> {
    let first = first_packet(stream).await?;
    let mut early = Vec::new();
    protocol.feed(&first, &mut early).map_err(|error| NotGreeted::Protocol(format!("{error:?}")))?;
    if early.is_empty() {
        return Err(NotGreeted::Foreign);
    }
    let IncomingPacket::Connect(connect) = early.remove(0) else { return Err(NotGreeted::Foreign) };
    let identity = match refusal {
        Some(refusal) => Err(refusal),
        None => access.identify(certificate, connect.user.as_deref(), connect.password.as_deref()),
    };
    let identity = identity.and_then(|identity| with_will(&connect, identity));
    let identity = identity.map_err(|refusal| NotGreeted::Refused(refusal, Claimed::by(certificate, &connect)))?;
    protocol.accept();
    Ok((identity, connect.client_id, early))
}

/// Checks that the last will is on the client's own state topic, which identifies a client that has no identity yet.
fn with_will(connect: &Connect, identity: Option<SourceId>) -> Result<Option<SourceId>, ConnectRefusal> {
    match &connect.will {
        None => Ok(identity),
        Some(Ok(topic)) if topic.leaf == Leaf::State && identity.is_none_or(|agent| agent == topic.agent) => {
            Ok(Some(topic.agent))
        }
        Some(_) => Err(ConnectRefusal::Will),
    }
}

/// Reads one whole packet, and the bytes that come with its end. It reserves no memory for a length that is only
/// announced.
async fn first_packet<S: AsyncRead + Unpin>(stream: &mut S) -> Result<Vec<u8>, NotGreeted> {
    let mut bytes = Vec::with_capacity(256);
    loop {
        let mut chunk = [0; 1024];
        let read = stream.read(&mut chunk).await?;
        if read == 0 && bytes.is_empty() {
            return Err(NotGreeted::Gone);
        }
        if read == 0 {
            return Err(std::io::Error::from(std::io::ErrorKind::UnexpectedEof).into());
        }
        bytes.extend_from_slice(&chunk[..read]);
        match connect_len(&bytes) {
            SizeCheck::Known(len) if len > CONNECT_BYTES_MAX => return Err(NotGreeted::Foreign),
            SizeCheck::Known(len) if bytes.len() >= len => return Ok(bytes),
            SizeCheck::Known(_) | SizeCheck::Unknown => {}
            SizeCheck::Foreign if bytes[0] == TLS_HANDSHAKE => return Err(NotGreeted::Tls),
            SizeCheck::Foreign => return Err(NotGreeted::Foreign),
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum SizeCheck {
    Known(usize),
    Unknown,
    Foreign,
}

/// The length of the CONNECT that `bytes` begins with: type and flags 0x10, then up to four bytes of length.
fn connect_len(bytes: &[u8]) -> SizeCheck {
    if bytes[0] != 0x10 {
        return SizeCheck::Foreign;
    }
    let mut len = 0;
    for (at, byte) in bytes[1..].iter().take(4).enumerate() {
        len |= usize::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            return SizeCheck::Known(2 + at + len);
        }
    }
    if bytes.len() > 4 { SizeCheck::Foreign } else { SizeCheck::Unknown }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_packet_tells_its_length_before_anything_is_reserved_for_it() {
        assert_eq!(connect_len(&[0x10]), SizeCheck::Unknown);
        assert_eq!(connect_len(&[0x10, 12]), SizeCheck::Known(14));
        assert_eq!(connect_len(&[0x10, 0x80, 1]), SizeCheck::Known(131));
        assert_eq!(connect_len(&[0x10, 0xff, 0xff, 0xff, 0x7f]), SizeCheck::Known(5 + 268_435_455));
        assert_eq!(connect_len(&[0x10, 0xff, 0xff, 0xff, 0xff]), SizeCheck::Foreign);
        assert_eq!(connect_len(&[0x10, 0xff, 0xff, 0xff]), SizeCheck::Unknown);
        assert_eq!(connect_len(b"GET / HTTP/1.1"), SizeCheck::Foreign);
        assert_eq!(connect_len(&[0x16, 3, 1]), SizeCheck::Foreign, "TLS on a plain port");
    }
}
