//! From an open socket to a client that is known: TLS, CONNECT, identity, CONNACK.

use afferent_protocol::ids::SourceId;
use afferent_protocol::topic::Leaf;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::access::Access;
use super::answers::ConnectRefusal;
use super::packets::{Connect, Incoming, Protocol};
use crate::limits::CONNECT_BYTES_MAX;

/// A client that was let in.
pub(super) struct Greeted {
    pub protocol: Protocol,
    /// Who it is; `None` is not known yet.
    pub identity: Option<SourceId>,
    pub client_id: String,
    /// What came with the CONNECT and after it.
    pub early: Vec<Incoming>,
}

/// Why nobody was let in.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotGreeted {
    #[error("{0}")]
    Refused(#[from] ConnectRefusal),
    /// Nothing is answered: nobody knows which version it would be in.
    #[error("its first packet is no CONNECT of a reasonable size")]
    Foreign,
    #[error("it broke the protocol: {0}")]
    Protocol(String),
    #[error("{0}")]
    Io(#[from] std::io::Error),
}

/// Reads the CONNECT and answers it. The answer to a client that is let in is in `protocol`, still to be written: its
/// first acks must not overtake what its connection is registered for.
pub(super) async fn greet<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    access: &Access,
    certificate: Option<SourceId>,
    refusal: Option<ConnectRefusal>,
) -> Result<Greeted, NotGreeted> {
    let mut protocol = Protocol::new();
    let greeted = decide(stream, &mut protocol, access, certificate, refusal).await;
    match greeted {
        Ok((identity, client_id, early)) => Ok(Greeted { protocol, identity, client_id, early }),
        Err(error) => {
            if let NotGreeted::Refused(refusal) = &error {
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
) -> Result<(Option<SourceId>, String, Vec<Incoming>), NotGreeted> {
    let first = first_packet(stream).await?;
    let mut early = Vec::new();
    protocol.feed(&first, &mut early).map_err(|error| NotGreeted::Protocol(format!("{error:?}")))?;
    if early.is_empty() {
        return Err(NotGreeted::Foreign);
    }
    let Incoming::Connect(connect) = early.remove(0) else { return Err(NotGreeted::Foreign) };
    if let Some(refusal) = refusal {
        return Err(refusal.into());
    }
    let identity = access.identify(certificate, connect.user.as_deref(), connect.password.as_deref())?;
    let identity = with_will(&connect, identity)?;
    protocol.accept();
    Ok((identity, connect.client_id, early))
}

/// The last will must be on the client's own state topic; where nobody is known yet, it tells who the client is.
fn with_will(connect: &Connect, identity: Option<SourceId>) -> Result<Option<SourceId>, ConnectRefusal> {
    match connect.will {
        None => Ok(identity),
        Some(Some(topic)) if topic.leaf == Leaf::State && identity.is_none_or(|agent| agent == topic.agent) => {
            Ok(Some(topic.agent))
        }
        Some(_) => Err(ConnectRefusal::Will),
    }
}

/// Reads one whole packet, and whatever comes along with its end. Nothing is reserved for what it only says of itself.
async fn first_packet<S: AsyncRead + Unpin>(stream: &mut S) -> Result<Vec<u8>, NotGreeted> {
    let mut bytes = Vec::with_capacity(256);
    loop {
        let mut chunk = [0; 1024];
        let read = stream.read(&mut chunk).await?;
        if read == 0 {
            return Err(std::io::Error::from(std::io::ErrorKind::UnexpectedEof).into());
        }
        bytes.extend_from_slice(&chunk[..read]);
        match connect_len(&bytes) {
            Size::Known(len) if len > CONNECT_BYTES_MAX => return Err(NotGreeted::Foreign),
            Size::Known(len) if bytes.len() >= len => return Ok(bytes),
            Size::Known(_) | Size::Unknown => {}
            Size::Foreign => return Err(NotGreeted::Foreign),
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Size {
    Known(usize),
    Unknown,
    Foreign,
}

/// The length of the CONNECT that `bytes` begins with: type and flags 0x10, then up to four bytes of length.
fn connect_len(bytes: &[u8]) -> Size {
    if bytes[0] != 0x10 {
        return Size::Foreign;
    }
    let mut len = 0;
    for (at, byte) in bytes[1..].iter().take(4).enumerate() {
        len |= usize::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            return Size::Known(2 + at + len);
        }
    }
    if bytes.len() > 4 { Size::Foreign } else { Size::Unknown }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_packet_tells_its_length_before_anything_is_reserved_for_it() {
        assert_eq!(connect_len(&[0x10]), Size::Unknown);
        assert_eq!(connect_len(&[0x10, 12]), Size::Known(14));
        assert_eq!(connect_len(&[0x10, 0x80, 1]), Size::Known(131));
        assert_eq!(connect_len(&[0x10, 0xff, 0xff, 0xff, 0x7f]), Size::Known(5 + 268_435_455));
        assert_eq!(connect_len(&[0x10, 0xff, 0xff, 0xff, 0xff]), Size::Foreign);
        assert_eq!(connect_len(&[0x10, 0xff, 0xff, 0xff]), Size::Unknown);
        assert_eq!(connect_len(b"GET / HTTP/1.1"), Size::Foreign);
        assert_eq!(connect_len(&[0x16, 3, 1]), Size::Foreign, "TLS on a plain port");
    }
}
