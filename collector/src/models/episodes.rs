//! One machine's breakdowns, from their beginning to their end, with the alarms around them.
//!
//! [`super::standing`] defines when a breakdown begins and ends, as for states and key figures. Its first-out alarm
//! (ISA-18.2) is the one that was raised first of those that were active when it began, however long before; an alarm
//! of the same moment counts, a later one never does: it is a consequence. An alarm that is raised again before it was
//! cleared is the same one.

use std::collections::VecDeque;

use afferent_protocol::ids::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::amendment::Amendments;
use super::heard::HeardTimes;
use super::history::At;
use super::report::{Kind, Report, SeverityName};
use super::standing::{ReportEffects, Standing};
use super::time;
use super::track::{ReportContext, ReportFold};
use crate::limits::{
    MODEL_ALARMS_BYTES_MAX, MODEL_AMENDMENTS_MAX, MODEL_EPISODE_ALARMS_MAX, MODEL_OPEN_BYTES_MAX, MODEL_OVER_BYTES_MAX,
};

/// The settings of episodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EpisodeSettings {
    /// Alarms raised within this time before a breakdown are shown with it, in µs.
    pub alarms_before_us: i64,
}

/// An alarm that was raised.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Raised {
    time: Timestamp,
    offset: u64,
    subject: Box<str>,
    condition: Box<str>,
    priority: u16,
}

/// A breakdown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Episode {
    offset: u64,
    subject: Box<str>,
    code: Box<str>,
    severity: SeverityName,
    message: Box<str>,
    from: Timestamp,
    until: Option<Timestamp>,
    /// Whether the machine was out of service when it began.
    out_of_service: bool,
    /// Whether it is still followed to its end.
    is_followed: bool,
    /// The number of times it was reported again while it lasted, and the amended ones of these reports.
    repeats: u64,
    amended: Vec<u64>,
    first_out: Option<Raised>,
    /// The alarms of the shown window, sorted.
    alarms: Vec<Raised>,
    alarms_beyond: u64,
}

/// Alarms, sorted by when they were raised.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Alarms {
    list: VecDeque<Raised>,
    bytes: usize,
}

impl Raised {
    fn bytes(&self) -> usize {
        size_of::<Self>() + self.subject.len() + self.condition.len()
    }
}

impl Alarms {
    fn push(&mut self, alarm: Raised) {
        self.bytes += alarm.bytes();
        self.list.push_back(alarm);
    }

    fn remove(&mut self, at: usize) {
        self.bytes -= self.list.remove(at).map_or(0, |alarm| alarm.bytes());
    }

    fn is_full(&self) -> bool {
        self.bytes > MODEL_ALARMS_BYTES_MAX
    }

    fn position(&self, report: &Report) -> Option<usize> {
        self.list.iter().position(|alarm| alarm.subject == report.subject && alarm.condition == report.code)
    }
}

/// One machine's breakdowns.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Episodes {
    standing: Standing,
    open: Vec<Episode>,
    /// Bytes of the alarms of open breakdowns.
    open_bytes: usize,
    /// The breakdowns that are over, in postcard, which takes a quarter of the room.
    over: VecDeque<Box<[u8]>>,
    over_bytes: usize,
    forgotten: u64,
    /// Alarms that are active, and the latest that were raised, sorted.
    active: Alarms,
    active_beyond: u64,
    recent: Alarms,
}

impl ReportFold for Episodes {
    type Settings = EpisodeSettings;

    fn take(&mut self, at: At, report: &Report, around: &ReportContext<'_, EpisodeSettings>) {
        match report.kind {
            Kind::Raised(priority) => self.raise(at, priority, report),
            Kind::Cleared => {
                let cleared = self.active.position(report);
                cleared.into_iter().for_each(|at| self.active.remove(at));
            }
            Kind::State(_) | Kind::Broken(_) | Kind::Recovered => {
                let took = self.standing.take(at.offset, report, None);
                self.took(at, report, &took, around);
            }
        }
    }

    fn pass(&mut self, _: Timestamp, _: &HeardTimes) {}
}

impl Episodes {
    fn took(&mut self, at: At, report: &Report, took: &ReportEffects, around: &ReportContext<'_, EpisodeSettings>) {
        if took.begun {
            self.begin(at, report, around.settings);
        }
        let repeated = took.repeated.and_then(|offset| self.open.iter_mut().find(|open| open.offset == offset));
        if let Some(episode) = repeated {
            episode.repeats += 1;
            if around.amendments.has(at.offset) && episode.amended.len() < MODEL_AMENDMENTS_MAX {
                episode.amended.push(at.offset);
            }
        }
        for offset in &took.ended {
            self.close(*offset, Some(at.time));
        }
        if let Some(offset) = took.dropped {
            self.close(offset, None);
        }
    }

    fn begin(&mut self, at: At, report: &Report, settings: &EpisodeSettings) {
        let Kind::Broken(severity) = report.kind else { return };
        let since = at.time.micros().saturating_sub(settings.alarms_before_us);
        self.open.push(Episode {
            offset: at.offset,
            subject: report.subject.clone(),
            code: report.code.clone(),
            severity,
            message: report.words.clone(),
            from: at.time,
            until: None,
            out_of_service: self.standing.is_out_of_service(),
            is_followed: true,
            repeats: 0,
            amended: Vec::new(),
            first_out: self.active.list.front().cloned(),
            alarms: Vec::new(),
            alarms_beyond: 0,
        });
        let episode = self.open.last_mut().expect("it was put there");
        let shown = self.recent.list.iter().filter(|alarm| alarm.time.micros() >= since);
        shown.for_each(|alarm| episode.show(alarm, &mut self.open_bytes));
    }

    fn close(&mut self, offset: u64, until: Option<Timestamp>) {
        let Some(at) = self.open.iter().position(|open| open.offset == offset) else { return };
        let mut episode = self.open.remove(at);
        self.open_bytes -= episode.alarm_bytes();
        (episode.until, episode.is_followed) = (until, until.is_some());
        let packed = postcard::to_stdvec(&episode).expect("numbers and texts of known length");
        let room = |packed: &[u8]| size_of::<Box<[u8]>>() + packed.len();
        self.over_bytes += room(&packed);
        self.over.push_back(packed.into());
        while self.over_bytes > MODEL_OVER_BYTES_MAX {
            let Some(oldest) = self.over.pop_front() else { break };
            self.over_bytes -= room(&oldest);
            self.forgotten += 1;
        }
    }

    fn raise(&mut self, at: At, priority: u16, report: &Report) {
        if let Some(active) = self.active.position(report) {
            let active = &mut self.active.list[active];
            active.priority = active.priority.max(priority);
            return;
        }
        let (subject, condition) = (report.subject.clone(), report.code.clone());
        let raised = Raised { time: at.time, offset: at.offset, subject, condition, priority };
        self.active.push(raised.clone());
        if self.active.is_full() {
            let priorities = self.active.list.iter().map(|alarm| alarm.priority).enumerate();
            let (least, _) = priorities.min_by_key(|(at, priority)| (*priority, *at)).expect("there are too many");
            self.active.remove(least);
            self.active_beyond += 1;
        }
        for episode in &mut self.open {
            if episode.first_out.is_none() && raised.time == episode.from {
                episode.first_out = Some(raised.clone());
            }
            episode.show(&raised, &mut self.open_bytes);
        }
        self.recent.push(raised);
        while self.recent.is_full() {
            self.recent.remove(0);
        }
    }

    /// Number of breakdowns whose alarms and times were dropped.
    pub fn forgotten(&self) -> u64 {
        self.forgotten
    }

    /// Number of active alarms that were dropped.
    pub fn active_beyond(&self) -> u64 {
        self.active_beyond
    }

    /// All breakdowns that are kept.
    pub fn all(self) -> impl Iterator<Item = Episode> {
        let unpack = |packed: Box<[u8]>| postcard::from_bytes(&packed).expect("it was packed here");
        self.over.into_iter().map(unpack).chain(self.open)
    }
}

impl Episode {
    fn alarm_bytes(&self) -> usize {
        self.alarms.iter().map(Raised::bytes).sum()
    }

    /// Adds an alarm to the shown window; `bytes` are those of all open breakdowns.
    fn show(&mut self, alarm: &Raised, bytes: &mut usize) {
        if self.alarms.len() >= MODEL_EPISODE_ALARMS_MAX || *bytes + alarm.bytes() > MODEL_OPEN_BYTES_MAX {
            self.alarms_beyond += 1;
            return;
        }
        *bytes += alarm.bytes();
        self.alarms.push(alarm.clone());
    }

    /// Sort key among episodes: time, then offset.
    pub fn place(&self) -> (Timestamp, u64) {
        (self.from, self.offset)
    }

    /// The episode for readers.
    pub fn view(&self, machine: &str, amendments: &Amendments) -> Value {
        let words = amendments.words(std::iter::once(self.offset).chain(self.amended.iter().copied()));
        let said = |key: &str, is_label: bool| -> Vec<Value> {
            let of_kind = words.iter().filter(|words| words.is_label == is_label);
            of_kind.map(|words| json!({ key: &words.text, "by": &words.by })).collect()
        };
        // The first-out alarm is shown however long before it was raised.
        let shown = |first: &&Raised| self.alarms.iter().all(|alarm| alarm.offset != first.offset);
        let alarms = self.first_out.iter().filter(shown).chain(&self.alarms);
        let alarms: Vec<Value> = alarms.map(|alarm| self.alarm(alarm)).collect();
        json!({
            "id": self.offset.to_string(),
            "machine": machine,
            "subject": &self.subject,
            "code": &self.code,
            "severity": self.severity,
            "message": &self.message,
            "from": time(self.from),
            "until": self.until.map(time),
            "out_of_service": self.out_of_service,
            "followed": self.is_followed,
            "repeats": self.repeats,
            "first_out": self.first_out.as_ref().map(|alarm| self.alarm(alarm)),
            "rows": self.rows(&alarms),
            "alarms": alarms,
            "alarms_beyond": self.alarms_beyond,
            "labels": said("reason", true),
            "notes": said("note", false),
        })
    }

    /// The alarms around the breakdown, sorted, with the breakdown itself as a row.
    fn rows(&self, alarms: &[Value]) -> Vec<Value> {
        let is_before = |row: &&Value| row["role"] != "consequence";
        let of_alarm = |row: &Value| {
            let mut row = row.clone();
            row["kind"] = "alarm".into();
            row
        };
        let itself = |kind: &str, time: Value| {
            json!({ "kind": kind, "role": kind, "offset": self.offset.to_string(), "subject": &self.subject,
                    "code": &self.code, "time": time })
        };
        let mut rows: Vec<Value> = alarms.iter().filter(is_before).map(of_alarm).collect();
        rows.push(itself("breakdown", time(self.from)));
        rows.extend(alarms.iter().filter(|row| !is_before(row)).map(of_alarm));
        rows.extend(self.until.map(|until| itself("end", time(until))));
        rows
    }

    fn alarm(&self, alarm: &Raised) -> Value {
        let is_first_out = self.first_out.as_ref().is_some_and(|first| first.offset == alarm.offset);
        let role = match alarm.time <= self.from {
            _ if is_first_out => "first_out",
            true => "before",
            false => "consequence",
        };
        json!({
            "offset": alarm.offset.to_string(),
            "subject": &alarm.subject,
            "condition": &alarm.condition,
            "time": time(alarm.time),
            "role": role,
        })
    }
}
