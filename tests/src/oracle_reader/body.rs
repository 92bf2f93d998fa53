//! The body of codec 1, read by the tables of "Codec 1: rows". Bodies become one line of text each.

use super::message::{attestation_text, endorsement_text};
use super::{hex, quote};

/// One event as it was read.
#[derive(Clone, Debug, PartialEq)]
pub struct ReadEvent {
    /// Its sequence.
    pub sequence: u64,
    /// Its time, in microseconds.
    pub time: i64,
    /// What it is about.
    pub subject: String,
    /// What happened, as `kind field=value …`; texts are quoted as in JSON, numbers with a fraction in their shortest exact
    /// form.
    pub body: String,
    /// The bytes of the attestation or endorsement that it holds.
    pub statement: Option<Vec<u8>>,
}

const QUALITY: &[&str] = &["good", "uncertain", "bad"];
const SEVERITY: &[&str] = &["debug", "info", "warning", "error", "fatal"];
const STATE: &[&str] = &["not-available", "out-of-service", "not-executing", "executing"];
const TRANSITION: &[&str] = &["raised", "cleared", "acknowledged", "shelved", "unshelved"];
const STREAM: &[&str] = &["critical", "samples"];
const REASON: &[&str] = &["evicted", "corrupt", "torn-tail", "device-full", "refused", "vanished", "vanished-at-least"];
const PREVIOUS: &[&str] = &["none", "clean", "crash", "power-loss"];
const RESEAL: &[&str] = &["diverged", "other-key"];

/// Bytes in the notation of codec 1, taken from the front.
pub(super) struct Body<'a> {
    bytes: &'a [u8],
    statement: Option<Vec<u8>>,
}

type Read<T> = Result<T, String>;

impl<'a> Body<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, statement: None }
    }

    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    pub fn bool(&mut self) -> Read<bool> {
        match self.take(1)?[0] {
            0 => Ok(false),
            1 => Ok(true),
            other => Err(format!("bool {other}")),
        }
    }

    pub fn time(&mut self) -> Read<i64> {
        let time = self.zigzag()?;
        if (0..=253_402_300_799_999_999).contains(&time) { Ok(time) } else { Err(format!("time {time}")) }
    }

    /// A stream that is one byte, and not a varint.
    pub fn stream_byte(&mut self) -> Read<&'static str> {
        let number = self.take(1)?[0];
        STREAM.get(usize::from(number)).copied().ok_or_else(|| format!("stream {number}"))
    }

    fn counted(&mut self) -> Read<&'a [u8]> {
        let len = self.varint()? as usize;
        self.take(len)
    }

    fn quoted(&mut self) -> Read<String> {
        Ok(quote(&self.text()?))
    }

    /// `first` and `end` of a range that does not end before it begins.
    fn range(&mut self) -> Read<(u64, u64)> {
        let (first, end) = (self.varint()?, self.varint()?);
        if first <= end { Ok((first, end)) } else { Err(format!("a range from {first} to {end}")) }
    }

    pub fn take(&mut self, len: usize) -> Read<&'a [u8]> {
        let (taken, rest) = self.bytes.split_at_checked(len).ok_or("the body ends early")?;
        self.bytes = rest;
        Ok(taken)
    }

    pub fn varint(&mut self) -> Read<u64> {
        let mut value = 0_u128;
        for at in 0..10 {
            let byte = self.take(1)?[0];
            value += u128::from(byte % 128) << (7 * at);
            if byte < 128 {
                return u64::try_from(value).map_err(|_| "a varint of more than 64 bits".to_owned());
            }
        }
        Err("a varint of more than ten bytes".to_owned())
    }

    fn zigzag(&mut self) -> Read<i64> {
        let raw = self.varint()?;
        Ok(if raw % 2 == 0 { (raw / 2) as i64 } else { -((raw / 2) as i64) - 1 })
    }

    pub fn text(&mut self) -> Read<String> {
        let len = self.varint()? as usize;
        String::from_utf8(self.take(len)?.to_vec()).map_err(|_| "a text that is not UTF-8".to_owned())
    }

    fn one_of(&mut self, names: &[&'static str]) -> Read<&'static str> {
        let number = self.varint()? as usize;
        names.get(number).copied().ok_or_else(|| format!("variant {number} of {names:?}"))
    }

    pub fn hex(&mut self, len: usize) -> Read<String> {
        Ok(hex(self.take(len)?))
    }

    fn texts(&mut self, count_max: u64) -> Read<Vec<String>> {
        let count = self.varint()?;
        if count > count_max {
            return Err(format!("a dictionary of {count}"));
        }
        (0..count).map(|_| self.text()).collect()
    }

    fn sample(&mut self, units: &[String]) -> Read<String> {
        let value = match self.varint()? {
            0 => format!("{:?}", f64::from_le_bytes(self.take(8)?.try_into().expect("8 bytes"))),
            1 => self.zigzag()?.to_string(),
            2 => self.bool()?.to_string(),
            3 => self.quoted()?,
            other => return Err(format!("value {other}")),
        };
        let unit = units.get(self.varint()? as usize).ok_or("a unit that the dictionary does not have")?;
        Ok(format!("sample value={value} unit={} quality={}", quote(unit), self.one_of(QUALITY)?))
    }

    fn body(&mut self, units: &[String]) -> Read<String> {
        Ok(match self.varint()? {
            0 => self.sample(units)?,
            1 => {
                let (code, severity) = (self.quoted()?, self.one_of(SEVERITY)?);
                format!("breakdown code={code} severity={severity} message={}", self.quoted()?)
            }
            2 => format!("recovery code={} message={}", self.quoted()?, self.quoted()?),
            3 => format!("state state={} reason={}", self.one_of(STATE)?, self.quoted()?),
            4 => {
                let (condition, transition) = (self.quoted()?, self.one_of(TRANSITION)?);
                let (priority, message) = (self.varint()?, self.quoted()?);
                format!("alarm condition={condition} transition={transition} priority={priority} message={message}")
            }
            5 => {
                let (stream, epoch, (first, end)) = (self.one_of(STREAM)?, self.varint()?, self.range()?);
                let (reason, chain) = (self.one_of(REASON)?, self.hex(32)?);
                format!("loss stream={stream} epoch={epoch:016x} first={first} end={end} reason={reason} chain={chain}")
            }
            6 => format!("clockstep before={} after={}", self.time()?, self.time()?),
            7 => self.life_cycle()?,
            8 => format!("derived kind={} json={}", self.quoted()?, self.quoted()?),
            9 => {
                let (stream, epoch, end) = (self.one_of(STREAM)?, self.varint()?, self.varint()?);
                let check = self.varint()?;
                let ticks = match self.varint()? {
                    0 => "none".to_owned(),
                    1 => {
                        let (events, boot) = (self.varint()?, self.hex(16)?);
                        format!("mapped events={events} boot={boot} offset={}", self.zigzag()?)
                    }
                    other => return Err(format!("ticks {other}")),
                };
                format!("progress stream={stream} epoch={epoch:016x} end={end} check={check:016x} ticks={ticks}")
            }
            10 => {
                let (stream, input, number) = (self.one_of(STREAM)?, self.quoted()?, self.varint()?);
                let (horizon, files) = (self.time()?, files(self.counted()?)?);
                format!("followed stream={stream} input={input} number={number} horizon={horizon} files={files}")
            }
            other => return Err(format!("body {other}")),
        })
    }

    fn life_cycle(&mut self) -> Read<String> {
        let number = self.varint()?;
        if number > 12 {
            return self.life_cycle_of_proof(number);
        }
        Ok(match number {
            0 => {
                let (previous, version) = (self.one_of(PREVIOUS)?, self.quoted()?);
                format!("started previous={previous} version={version} repairs={}", self.quoted()?)
            }
            1 => format!("stopped reason={}", self.quoted()?),
            2 => format!("linkup peer={}", self.quoted()?),
            3 => format!("linkdown peer={} reason={}", self.quoted()?, self.quoted()?),
            4 => format!("keypinned source={} key={}", self.quoted()?, self.hex(32)?),
            5 => format!("refused source={} reason={}", self.quoted()?, self.quoted()?),
            6 => {
                let (source, stream, epoch) = (self.quoted()?, self.one_of(STREAM)?, self.varint()?);
                let (first, end) = self.range()?;
                format!("gap source={source} stream={stream} epoch={epoch:016x} first={first} end={end}")
            }
            7 => format!("disktrouble message={}", self.quoted()?),
            8 => format!("configured message={}", self.quoted()?),
            9 => {
                let bytes = self.counted()?;
                self.statement = Some(bytes.to_vec());
                attestation_text("attested ", bytes)?.trim_end().to_owned()
            }
            10 => format!("trimmed until={} rule={}", self.varint()?, self.quoted()?),
            11 => {
                let (stream, until) = (self.one_of(STREAM)?, self.varint()?);
                format!("emptied stream={stream} until={until} rule={}", self.quoted()?)
            }
            _ => {
                let (source, stream, epoch) = (self.quoted()?, self.one_of(STREAM)?, self.varint()?);
                let (end, time_last, chain) = (self.varint()?, self.time()?, self.hex(32)?);
                format!(
                    "lanekept source={source} stream={stream} epoch={epoch:016x} end={end} time_last={time_last} chain={chain}"
                )
            }
        })
    }

    fn life_cycle_of_proof(&mut self, number: u64) -> Read<String> {
        Ok(match number {
            13 => {
                let (log, partition) = (self.hex(16)?, self.varint()?);
                format!(
                    "termbegun log={log} partition={partition} term={:016x} first={}",
                    self.varint()?,
                    self.varint()?
                )
            }
            14 => format!("heartbeat instance={} lanes={}", self.hex(16)?, lanes(self.counted()?)?),
            15 => {
                let (stream, epoch, first) = (self.one_of(STREAM)?, self.varint()?, self.varint()?);
                format!("resealed stream={stream} epoch={epoch:016x} first={first} reason={}", self.one_of(RESEAL)?)
            }
            16 => format!("ringreplaced message={}", self.quoted()?),
            17 => {
                let (source, one, other) = (self.quoted()?, self.hex(16)?, self.hex(16)?);
                format!("conflict source={source} boots={one},{other} addresses={}", self.quoted()?)
            }
            18 => {
                let (source, term, until) = (self.quoted()?, self.varint()?, self.varint()?);
                let (end, time) = (self.varint()?, self.time()?);
                format!("rolledback source={source} term={term:016x} until={until} end={end} time={time}")
            }
            19 => format!("retired source={} who={} why={}", self.quoted()?, self.quoted()?, self.quoted()?),
            20 => format!("keyreplaced source={} key={} who={}", self.quoted()?, self.hex(32)?, self.quoted()?),
            21 => {
                let bytes = self.counted()?;
                self.statement = Some(bytes.to_vec());
                endorsement_text("keyendorsed ", bytes)?.trim_end().to_owned()
            }
            22 => format!("alias source={} former={}", self.quoted()?, self.quoted()?),
            23 => format!("forgotten source={}", self.quoted()?),
            24 => {
                let (file, from, least) = (self.quoted()?, self.varint()?, self.varint()?);
                format!("unread file={file} from={from} bytes_least={least} reason={}", self.quoted()?)
            }
            other => return Err(format!("life cycle {other}")),
        })
    }
}

/// The ends of lanes, as `stream-epoch-end-check` with commas between them.
fn lanes(bytes: &[u8]) -> Read<String> {
    let (mut body, mut lanes) = (Body::new(bytes), vec![]);
    while !body.is_empty() {
        let (stream, epoch) = (body.stream_byte()?, body.varint()?);
        let end = body.varint()?;
        lanes.push(format!(
            "{stream}-{epoch:016x}-{end}-{:016x}",
            u64::from_le_bytes(body.take(8)?.try_into().expect("8 bytes"))
        ));
    }
    if lanes.len() <= 64 { Ok(lanes.join(",")) } else { Err(format!("{} lanes", lanes.len())) }
}

/// Followed files, as `number-device-inode-born-known-fingerprint-end-other end-state-"name"` with commas between them.
fn files(bytes: &[u8]) -> Read<String> {
    let (mut body, mut files) = (Body::new(bytes), vec![]);
    while !body.is_empty() {
        let (number, device) = (body.varint()?, body.varint()?);
        let (inode, born, known) = (body.varint()?, body.varint()?, body.varint()?);
        let (fingerprint, end, other) = (body.hex(8)?, body.varint()?, body.varint()?);
        let (state, name) = (body.one_of(&["followed", "finished"])?, body.quoted()?);
        files.push(format!("{number}-{device}-{inode}-{born}-{known}-{fingerprint}-{end}-{other}-{state}-{name}"));
    }
    if files.len() <= 64 { Ok(files.join(",")) } else { Err(format!("{} files", files.len())) }
}

pub(super) fn read_body(bytes: &[u8], count: u32, first: u64) -> Read<Vec<ReadEvent>> {
    let mut body = Body::new(bytes);
    let subjects = body.texts(1024)?;
    let units = body.texts(128)?;
    let mut events = vec![];
    let mut time = 0_i64;
    for index in 0..u64::from(count) {
        time = time.checked_add(body.zigzag()?).ok_or("a time beyond all times")?;
        let subject = subjects.get(body.varint()? as usize).ok_or("a subject that the dictionary does not have")?;
        let (subject, sequence) = (subject.clone(), first + index);
        let text = body.body(&units)?;
        events.push(ReadEvent { sequence, time, subject, body: text, statement: body.statement.take() });
    }
    if body.bytes.is_empty() { Ok(events) } else { Err(format!("{} bytes after the last event", body.bytes.len())) }
}
