//! A serial line, read by "Serial frame": COBS by hand.

use super::crc32c;

/// What zero bytes have ended, and what is left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReadLine {
    /// A frame's payload.
    Frame(Vec<u8>),
    /// What is no frame: `too-long`, `encoding` or `checksum`.
    Noise(&'static str),
    /// So many bytes that no zero byte has ended.
    Pending(usize),
}

/// Reads a line's bytes; `longest` is how many bytes a frame has at most before its zero byte.
pub fn read_line(bytes: &[u8], longest: usize) -> Vec<ReadLine> {
    let mut pieces: Vec<&[u8]> = bytes.split(|byte| *byte == 0).collect();
    let pending = pieces.pop().unwrap_or_default();
    let ended = pieces.into_iter().filter(|piece| !piece.is_empty()).map(|piece| read_piece(piece, longest));
    let rest = (!pending.is_empty()).then_some(ReadLine::Pending(pending.len()));
    ended.chain(rest).collect()
}

fn read_piece(piece: &[u8], longest: usize) -> ReadLine {
    if piece.len() > longest {
        return ReadLine::Noise("too-long");
    }
    let (mut decoded, mut rest) = (vec![], piece);
    while let Some((code, after)) = rest.split_first() {
        let Some((block, after)) = after.split_at_checked(usize::from(*code) - 1) else {
            return ReadLine::Noise("encoding");
        };
        decoded.extend_from_slice(block);
        if *code < 255 && !after.is_empty() {
            decoded.push(0);
        }
        rest = after;
    }
    match decoded.split_last_chunk::<4>() {
        Some((payload, crc)) if *crc == crc32c(&[payload]).to_le_bytes() => ReadLine::Frame(payload.to_vec()),
        _ => ReadLine::Noise("checksum"),
    }
}
