//! The body of codec 1, read by the tables of "Codec 1: rows". Bodies become one line of text each.

/// One event as it was read.
#[derive(Clone, Debug, PartialEq)]
pub struct ReadEvent {
    /// Its sequence.
    pub sequence: u64,
    /// Its time, in microseconds.
    pub time: i64,
    /// What it is about.
    pub subject: String,
    /// What happened, as `kind field=value …`; texts are quoted, numbers with a fraction in their shortest exact form.
    pub body: String,
}

const QUALITY: &[&str] = &["good", "uncertain", "bad"];
const SEVERITY: &[&str] = &["debug", "info", "warning", "error", "fatal"];
const STATE: &[&str] = &["not-available", "out-of-service", "not-executing", "executing"];
const TRANSITION: &[&str] = &["raised", "cleared", "acknowledged", "shelved", "unshelved"];
const STREAM: &[&str] = &["critical", "samples"];
const REASON: &[&str] = &["evicted", "corrupt", "torn-tail", "device-full", "refused"];
const PREVIOUS: &[&str] = &["none", "clean", "crash", "power-loss"];

struct Body<'a> {
    bytes: &'a [u8],
}

type Read<T> = Result<T, String>;

impl<'a> Body<'a> {
    fn take(&mut self, len: usize) -> Read<&'a [u8]> {
        let (taken, rest) = self.bytes.split_at_checked(len).ok_or("the body ends early")?;
        self.bytes = rest;
        Ok(taken)
    }

    fn varint(&mut self) -> Read<u64> {
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

    fn text(&mut self) -> Read<String> {
        let len = self.varint()? as usize;
        String::from_utf8(self.take(len)?.to_vec()).map_err(|_| "a text that is not UTF-8".to_owned())
    }

    fn one_of(&mut self, names: &[&'static str]) -> Read<&'static str> {
        let number = self.varint()? as usize;
        names.get(number).copied().ok_or_else(|| format!("variant {number} of {names:?}"))
    }

    fn hex(&mut self, len: usize) -> Read<String> {
        Ok(self.take(len)?.iter().map(|byte| format!("{byte:02x}")).collect())
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
            2 => match self.take(1)?[0] {
                0 => "false".to_owned(),
                1 => "true".to_owned(),
                other => return Err(format!("bool {other}")),
            },
            3 => format!("{:?}", self.text()?),
            other => return Err(format!("value {other}")),
        };
        let unit = units.get(self.varint()? as usize).ok_or("a unit that the dictionary does not have")?;
        Ok(format!("sample value={value} unit={unit:?} quality={}", self.one_of(QUALITY)?))
    }

    fn body(&mut self, units: &[String]) -> Read<String> {
        Ok(match self.varint()? {
            0 => self.sample(units)?,
            1 => {
                let (code, severity) = (self.text()?, self.one_of(SEVERITY)?);
                format!("breakdown code={code:?} severity={severity} message={:?}", self.text()?)
            }
            2 => format!("recovery code={:?} message={:?}", self.text()?, self.text()?),
            3 => format!("state state={} reason={:?}", self.one_of(STATE)?, self.text()?),
            4 => {
                let (condition, transition) = (self.text()?, self.one_of(TRANSITION)?);
                let (priority, message) = (self.varint()?, self.text()?);
                format!("alarm condition={condition:?} transition={transition} priority={priority} message={message:?}")
            }
            5 => {
                let (stream, epoch, first) = (self.one_of(STREAM)?, self.varint()?, self.varint()?);
                let (end, reason, chain) = (self.varint()?, self.one_of(REASON)?, self.hex(32)?);
                format!("loss stream={stream} epoch={epoch:016x} first={first} end={end} reason={reason} chain={chain}")
            }
            6 => format!("clockstep before={} after={}", self.zigzag()?, self.zigzag()?),
            7 => self.life_cycle()?,
            8 => format!("derived kind={:?} json={:?}", self.text()?, self.text()?),
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
            other => return Err(format!("body {other}")),
        })
    }

    fn life_cycle(&mut self) -> Read<String> {
        Ok(match self.varint()? {
            0 => {
                let (previous, version) = (self.one_of(PREVIOUS)?, self.text()?);
                format!("started previous={previous} version={version:?} repairs={:?}", self.text()?)
            }
            1 => format!("stopped reason={:?}", self.text()?),
            2 => format!("linkup peer={:?}", self.text()?),
            3 => format!("linkdown peer={:?} reason={:?}", self.text()?, self.text()?),
            4 => format!("keypinned source={:?} key={}", self.text()?, self.hex(32)?),
            5 => format!("refused source={:?} reason={:?}", self.text()?, self.text()?),
            6 => {
                let (source, stream, epoch) = (self.text()?, self.one_of(STREAM)?, self.varint()?);
                let (first, end) = (self.varint()?, self.varint()?);
                format!("gap source={source:?} stream={stream} epoch={epoch:016x} first={first} end={end}")
            }
            7 => format!("disktrouble message={:?}", self.text()?),
            8 => format!("configured message={:?}", self.text()?),
            9 => format!("sealed first={} end={} hash={}", self.varint()?, self.varint()?, self.hex(32)?),
            10 => format!("trimmed until={} rule={:?}", self.varint()?, self.text()?),
            11 => {
                let (stream, until) = (self.one_of(STREAM)?, self.varint()?);
                format!("emptied stream={stream} until={until} rule={:?}", self.text()?)
            }
            12 => {
                let (source, stream, epoch) = (self.text()?, self.one_of(STREAM)?, self.varint()?);
                let (end, time_last, chain) = (self.varint()?, self.zigzag()?, self.hex(32)?);
                format!(
                    "lanekept source={source:?} stream={stream} epoch={epoch:016x} end={end} time_last={time_last} chain={chain}"
                )
            }
            other => return Err(format!("life cycle {other}")),
        })
    }
}

pub(super) fn read_body(bytes: &[u8], count: u32, first: u64) -> Read<Vec<ReadEvent>> {
    let mut body = Body { bytes };
    let subjects = body.texts(1024)?;
    let units = body.texts(128)?;
    let mut events = vec![];
    let mut time = 0_i64;
    for index in 0..u64::from(count) {
        time = time.checked_add(body.zigzag()?).ok_or("a time beyond all times")?;
        let subject = subjects.get(body.varint()? as usize).ok_or("a subject that the dictionary does not have")?;
        let (subject, sequence) = (subject.clone(), first + index);
        events.push(ReadEvent { sequence, time, subject, body: body.body(&units)? });
    }
    if body.bytes.is_empty() { Ok(events) } else { Err(format!("{} bytes after the last event", body.bytes.len())) }
}
