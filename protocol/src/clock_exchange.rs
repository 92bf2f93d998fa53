//! Messages about time between a device without a clock and its agent, on a serial line.
//!
//! The device sends its boot's name and its ticks (microseconds since boot); the agent answers with the same and with
//! the time by its own clock. From then on each of them can map the device's ticks to UTC. The bytes are in `README.md`
//! of this crate; the frame around them has the checksum.

use crate::ids::{SourceId, Timestamp};
use crate::limits::SOURCE_BYTES_MAX;
use crate::wire::Writer;

/// The first four bytes of both messages.
pub const MAGIC: [u8; 4] = *b"AFT1";
/// Bytes of a request, at most.
pub const REQUEST_LEN_MAX: usize = 30 + SOURCE_BYTES_MAX;
/// Bytes of a reply.
pub const REPLY_LEN: usize = 38;

const REQUEST: u8 = 0;
const REPLY: u8 = 1;

/// From the device: its ticks, and who it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockRequest {
    /// Names the boot.
    pub boot: [u8; 16],
    /// Microseconds since that boot when this was sent.
    pub tick_us: u64,
    /// The device.
    pub source: SourceId,
}

/// From the agent: the time by its clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockReply {
    /// The boot of the request.
    pub boot: [u8; 16],
    /// The tick of the request.
    pub tick_us: u64,
    /// Whether something kept the agent's clock in time.
    pub synchronised: bool,
    /// The agent's time when the request came in.
    pub wall: Timestamp,
}

impl ClockRequest {
    /// The message's bytes.
    pub fn encode(&self) -> heapless::Vec<u8, REQUEST_LEN_MAX> {
        let mut bytes = heapless::Vec::from_array([0; REQUEST_LEN_MAX]);
        let len = write_request(&self.boot, self.tick_us, &self.source, &mut bytes).expect("the longest one fits");
        bytes.truncate(len);
        bytes
    }

    /// Reads a request; `None` when it is none.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (boot, tick_us, rest) = head(bytes, REQUEST)?;
        let (len, name) = rest.split_first()?;
        if usize::from(*len) != name.len() {
            return None;
        }
        let source = SourceId::new(core::str::from_utf8(name).ok()?).ok()?;
        Some(Self { boot, tick_us, source })
    }
}

impl ClockReply {
    /// The message's bytes.
    pub fn encode(&self) -> heapless::Vec<u8, REPLY_LEN> {
        let mut bytes = heapless::Vec::from_array([0; REPLY_LEN]);
        let mut out = Writer::new(&mut bytes);
        put_head(&mut out, REPLY, &self.boot, self.tick_us);
        out.byte(u8::from(self.synchronised));
        out.bytes(&self.wall.micros().to_le_bytes());
        bytes
    }

    /// Reads a reply; `None` when it is none.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (boot, tick_us, rest) = head(bytes, REPLY)?;
        let (synchronised, micros) = rest.split_first()?;
        if *synchronised > 1 {
            return None;
        }
        let wall = Timestamp::new(i64::from_le_bytes(micros.try_into().ok()?))?;
        Some(Self { boot, tick_us, synchronised: *synchronised == 1, wall })
    }
}

/// Writes a request to the start of `out`; returns its length.
pub fn write_request(boot: &[u8; 16], tick_us: u64, source: &SourceId, out: &mut [u8]) -> Option<usize> {
    let mut out = Writer::new(out);
    put_head(&mut out, REQUEST, boot, tick_us);
    out.byte(source.as_bytes().len() as u8);
    out.bytes(source.as_bytes());
    out.written()
}

fn put_head(out: &mut Writer<'_>, kind: u8, boot: &[u8; 16], tick_us: u64) {
    out.bytes(&MAGIC);
    out.byte(kind);
    out.bytes(boot);
    out.bytes(&tick_us.to_le_bytes());
}

fn head(bytes: &[u8], kind: u8) -> Option<([u8; 16], u64, &[u8])> {
    let rest = bytes.strip_prefix(&MAGIC)?.strip_prefix(&[kind])?;
    let (boot, rest) = rest.split_first_chunk()?;
    let (tick_us, rest) = rest.split_first_chunk()?;
    Some((*boot, u64::from_le_bytes(*tick_us), rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_and_replies_lie_as_the_readme_says() {
        let request = ClockRequest { boot: [7; 16], tick_us: 0x0102, source: SourceId::new("mill-2").unwrap() };
        let bytes = request.encode();
        assert_eq!(bytes[..5], *b"AFT1\0");
        assert_eq!(bytes[5..21], [7; 16]);
        assert_eq!(bytes[21..29], [2, 1, 0, 0, 0, 0, 0, 0]);
        assert_eq!(bytes[29..], *b"\x06mill-2");
        assert_eq!(ClockRequest::decode(&bytes), Some(request));

        let wall = Timestamp::new(0x0304).unwrap();
        let reply = ClockReply { boot: [7; 16], tick_us: 0x0102, synchronised: true, wall };
        let bytes = reply.encode();
        assert_eq!(bytes[..5], *b"AFT1\x01");
        assert_eq!(bytes[5..29], request.encode()[5..29]);
        assert_eq!(bytes[29..], [1, 4, 3, 0, 0, 0, 0, 0, 0]);
        assert_eq!(ClockReply::decode(&bytes), Some(reply));
    }

    #[test]
    fn what_is_cut_short_or_goes_on_is_refused() {
        let longest = SourceId::new(&"x".repeat(SOURCE_BYTES_MAX)).unwrap();
        let request = ClockRequest { boot: [1; 16], tick_us: 1, source: longest }.encode();
        assert_eq!(request.len(), REQUEST_LEN_MAX);
        assert!(ClockRequest::decode(&request).is_some());
        let reply = ClockReply { boot: [1; 16], tick_us: 1, synchronised: false, wall: Timestamp::default() }.encode();
        assert_eq!(reply.len(), REPLY_LEN);
        for (bytes, reads) in [
            (&request[..], (|bytes| ClockRequest::decode(bytes).is_some()) as fn(&[u8]) -> bool),
            (&reply[..], |bytes| ClockReply::decode(bytes).is_some()),
        ] {
            assert!(reads(bytes));
            assert!((0..bytes.len()).all(|len| !reads(&bytes[..len])));
            assert!(!reads(&[bytes, &[0]].concat()));
        }
    }
}
