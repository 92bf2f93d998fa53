//! Control messages and signed messages, read by their tables. They become lines of text, a field each.

use super::body::Body;
use super::signature::{is_signed, sha256};
use super::statement::{read_attestation, read_endorsement};
use super::{crc32c, hex, quote};

type Read<T> = Result<T, String>;

fn lane(body: &mut Body<'_>) -> Read<String> {
    let stream = body.stream_byte()?;
    Ok(format!("stream={stream} epoch={:016x}", body.varint()?))
}

fn resume(body: &mut Body<'_>) -> Read<String> {
    let (lane, end) = (lane(body)?, body.varint()?);
    let check = match body.bool()? {
        false => "none".to_owned(),
        true => format!("{:016x}", body.varint()?),
    };
    Ok(format!("{lane} end={end} check={check}"))
}

fn list(body: &mut Body<'_>, field: &str, item: fn(&mut Body<'_>) -> Read<String>) -> Read<String> {
    let count = body.varint()?;
    if count > 16 {
        return Err(format!("a list of {count}"));
    }
    (0..count).map(|_| Ok(format!("{field}: {}\n", item(body)?))).collect()
}

fn u32_of(body: &mut Body<'_>) -> Read<u32> {
    u32::try_from(body.varint()?).map_err(|_| "a number of more than 32 bits".to_owned())
}

/// Kind and fields of a control message.
fn content(body: &mut Body<'_>) -> Read<String> {
    let held = |body: &mut Body<'_>| {
        let lane = lane(body)?;
        Ok(format!("{lane} first={} end={}", body.varint()?, body.varint()?))
    };
    Ok(match body.varint()? {
        0 => format!("kind: hello\nsession: {}\n{}", u32_of(body)?, list(body, "held", held)?),
        1 => format!("kind: welcome\nsession: {}\n{}", u32_of(body)?, list(body, "resume", resume)?),
        2 => format!("kind: ack\n{}", list(body, "resume", resume)?),
        3 => format!("kind: nack\nlane: {}\nfrom: {}\n", lane(body)?, body.varint()?),
        4 => format!("kind: ask\n{}", list(body, "end", resume)?),
        5 => format!("kind: common\nend: {}\n", resume(body)?),
        6 => format!("kind: again\nlane: {}\nfirst: {}\nend: {}\n", lane(body)?, body.varint()?, body.varint()?),
        other => return Err(format!("kind {other} of control message")),
    })
}

fn to_the_end<T>(bytes: &[u8], read: impl FnOnce(&mut Body<'_>) -> Read<T>) -> Read<T> {
    let mut body = Body::new(bytes);
    let read = read(&mut body)?;
    if body.is_empty() { Ok(read) } else { Err("bytes are left over".to_owned()) }
}

/// Reads a bare control message.
pub fn read_control(bytes: &[u8]) -> Read<String> {
    let rest =
        bytes.get(8..).filter(|_| bytes.starts_with(b"AFC2") && bytes.len() <= 1536).ok_or("no control message")?;
    if bytes[4..8] != crc32c(&[rest]).to_le_bytes() {
        return Err("the crc of a control message".to_owned());
    }
    to_the_end(rest, content)
}

/// A signed message as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadMessage {
    /// Whether its key has signed it, for the source that the reader was told.
    pub is_signed: bool,
    /// What it says.
    pub text: String,
}

/// Reads a signed message of, or for, a source with this name.
pub fn read_message(bytes: &[u8], source: &str) -> Read<ReadMessage> {
    if bytes.len() < 154 || bytes.len() > 4096 || &bytes[..4] != b"AFS1" {
        return Err("no signed message".to_owned());
    }
    if bytes[4..8] != crc32c(&[&bytes[8..]]).to_le_bytes() {
        return Err("the crc of a signed message".to_owned());
    }
    let signature = bytes[8..72].try_into().expect("64 bytes");
    let key: [u8; 32] = bytes[122..154].try_into().expect("32 bytes");
    let hash = sha256(&[source.as_bytes(), &[0], &bytes[72..]].concat());
    let is_signed = is_signed(b"afferent control v2\0", &hash, &key, signature);
    let kind = bytes[73];
    let (direction, rest) = match (bytes[72], kind) {
        (0, 0 | 1) => ("up", to_the_end(&bytes[154..], |body| up(body, kind))?),
        (1, 0) => ("down", to_the_end(&bytes[154..], down)?),
        (direction, kind) => return Err(format!("direction {direction}, kind {kind}")),
    };
    let mut text = format!("direction: {direction}\nsource: {source}\nsigned: {is_signed}\n");
    for (field, from, to) in [("log_id", 74, 90), ("nonce", 90, 106), ("answer", 106, 122), ("key", 122, 154)] {
        text += &format!("{field}: {}\n", hex(&bytes[from..to]));
    }
    Ok(ReadMessage { is_signed, text: text + &rest })
}

fn up(body: &mut Body<'_>, kind: u8) -> Read<String> {
    let (instance, boot) = (body.hex(16)?, body.hex(16)?);
    let (synchronised, monotonic, wall) = (body.bool()?, body.varint()?, body.time()?);
    let mut text = format!(
        "instance: {instance}\nboot: {boot}\nsynchronised: {synchronised}\nmonotonic: {monotonic}\nwall: {wall}\n"
    );
    text += &list(body, "former", |body| Ok(quote(&body.text()?)))?;
    Ok(match kind {
        0 => text + &content(body)?,
        _ => text + &format!("kind: state\nonline: {}\n", body.bool()?),
    })
}

fn down(body: &mut Body<'_>) -> Read<String> {
    let (partition, term, offset) = (u32_of(body)?, body.varint()?, body.varint()?);
    let (time, is_proved) = (body.time()?, body.bool()?);
    let mut text =
        format!("partition: {partition}\nterm: {term:016x}\noffset: {offset}\ntime: {time}\nis_proved: {is_proved}\n");
    let endorsements = body.varint()?;
    if endorsements > 4 {
        return Err(format!("{endorsements} endorsements"));
    }
    for _ in 0..endorsements {
        text += &endorsement_text("endorsement: ", body.take(146)?)?;
    }
    if body.bool()? {
        text += &attestation_text("attestation: ", body.take(213)?)?;
    }
    Ok(text + &content(body)?)
}

/// An attestation as one line behind `label`.
pub fn attestation_text(label: &str, bytes: &[u8]) -> Read<String> {
    let read = read_attestation(bytes)?;
    Ok(format!(
        "{label}key={} log={} partition={} term={:016x} number={} end={} time={} previous={} hash={} digest={} signed={}\n",
        hex(&read.key),
        hex(&read.log_id),
        read.partition,
        read.term,
        read.number,
        read.end,
        read.time,
        hex(&read.previous),
        hex(&read.hash),
        hex(&read.digest),
        read.is_signed
    ))
}

/// An endorsement as one line behind `label`.
pub fn endorsement_text(label: &str, bytes: &[u8]) -> Read<String> {
    let read = read_endorsement(bytes)?;
    Ok(format!(
        "{label}role={} log={} key={} by={} signed={}\n",
        read.role,
        hex(&read.log_id),
        hex(&read.key),
        hex(&read.by),
        read.is_signed
    ))
}

/// Reads a clock request or reply.
pub fn read_clock(bytes: &[u8]) -> Read<String> {
    let head = bytes.get(..29).filter(|head| head.starts_with(b"AFT1")).ok_or("no clock message")?;
    let rest = &bytes[29..];
    let shared = format!("boot: {}\ntick: {}\n", hex(&head[5..21]), super::batch::le(&head[21..29]));
    match (head[4], rest) {
        (0, [len, name @ ..]) if usize::from(*len) == name.len() => {
            let name = std::str::from_utf8(name).map_err(|_| "a name that is no text")?;
            Ok(format!("kind: clock request\n{shared}name: {name}\n"))
        }
        (1, [synchronised @ (0 | 1), time @ ..]) if time.len() == 8 => {
            let time = super::batch::time(time)?;
            Ok(format!("kind: clock reply\n{shared}synchronised: {}\ntime: {time}\n", *synchronised == 1))
        }
        _ => Err("a clock message of another form".to_owned()),
    }
}

/// Reads a fragment.
pub fn read_fragment(bytes: &[u8]) -> Read<String> {
    let head = bytes.get(..12).filter(|head| head.starts_with(b"AFF1")).ok_or("no fragment")?;
    let number = |from: usize, to: usize| super::batch::le(&head[from..to]);
    let (len, at, piece) = (number(8, 10), number(10, 12), &bytes[12..]);
    let is_right = len >= 256 && at % 32 == 0 && at < len && piece.len() as u64 == 32.min(len - at);
    if !is_right {
        return Err("a fragment of another form".to_owned());
    }
    Ok(format!("kind: fragment\ncrc: {:08x}\nlen: {len}\nat: {at}\npiece: {}\n", number(4, 8), hex(piece)))
}
