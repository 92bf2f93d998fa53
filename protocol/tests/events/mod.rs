//! Arbitrary valid events, with their texts owned.

use afferent_protocol::event::*;
use afferent_protocol::ids::{Epoch, Offset, Sequence, Stream, Subject, Timestamp};
use afferent_protocol::limits::{HEARTBEAT_BYTES_MAX, TIME_MAX};
use proptest::prelude::*;

/// A place in a table of files.
const FILE: &[u8] = b"\x01\x01\x02\x07\x03fedcba98\x04\x05\x01\x02ab";

/// An event's parts: texts, numbers and a choice of the kind.
#[derive(Clone, Debug)]
pub struct OwnedEvent {
    pub time: i64,
    pub subject: String,
    pub kind: Kind,
    pub choice: u8,
    pub texts: [String; 2],
    pub numbers: [u64; 3],
    pub float: f64,
    pub unit: String,
    /// The ends of lanes, as bytes.
    pub lanes: Vec<u8>,
}

/// Ends of up to seven lanes, epochs and ends of every length.
fn lanes() -> impl Strategy<Value = Vec<u8>> {
    let lane = (any::<bool>(), any::<u64>(), any::<u64>(), 0_u32..64, 0_u32..64, any::<u64>());
    prop::collection::vec(lane, 0..8).prop_map(|lanes| {
        let end = |(samples, epoch, end, less, fewer, check): (bool, u64, u64, u32, u32, u64)| LaneEnd {
            stream: Stream::ALL[usize::from(samples)],
            epoch: Epoch::new(epoch >> less),
            end: Sequence::new(end >> fewer),
            check,
        };
        let lanes: Vec<_> = lanes.into_iter().map(end).collect();
        let mut buffer = [0; HEARTBEAT_BYTES_MAX];
        assert_eq!(LaneEnds::write(&lanes, &mut buffer).unwrap().iter().collect::<Vec<_>>(), lanes);
        // The bytes themselves, as the row of a heartbeat has them: a varint of how many, then they.
        let len = lanes.iter().map(|lane| 9 + varint_len(lane.epoch.get()) + varint_len(lane.end.get())).sum();
        buffer[..len].to_vec()
    })
}

fn varint_len(value: u64) -> usize {
    (64 - value.leading_zeros() as usize).div_ceil(7).max(1)
}

pub fn owned_event() -> impl Strategy<Value = OwnedEvent> {
    let text = prop_oneof!["\\PC{0,20}", "[a-z]{0,300}"];
    (
        0_i64..=TIME_MAX,
        "[a-zA-Z0-9 äöü.-]{1,20}(/[a-z]{1,8}){0,3}",
        prop::sample::select(&Kind::ALL[..]),
        any::<u8>(),
        [text.clone(), text],
        any::<[u64; 3]>(),
        any::<f64>().prop_filter("finite", |float| float.is_finite()),
        "[!-~]{0,10}",
        lanes(),
    )
        .prop_map(|(time, subject, kind, choice, texts, numbers, float, unit, lanes)| OwnedEvent {
            time,
            subject,
            kind,
            choice,
            texts,
            numbers,
            float,
            unit,
            lanes,
        })
}

fn pick<T: Copy>(from: &[T], choice: u8) -> T {
    from[usize::from(choice) % from.len()]
}

impl OwnedEvent {
    /// One of each kind.
    pub fn examples() -> Vec<Self> {
        let texts = ["E42".to_owned(), "stuck".to_owned()];
        let event = |kind: Kind| Self {
            time: 1_631_577_271_000_000 + i64::from(kind.number()),
            subject: "88-C/spindle".to_owned(),
            kind,
            choice: kind.number(),
            texts: texts.clone(),
            numbers: [1, 2, 3],
            float: 81.4,
            unit: "Cel".to_owned(),
            lanes: vec![0, 1, 2, 3, 3, 3, 3, 3, 3, 3, 3],
        };
        Kind::ALL.map(event).to_vec()
    }

    pub fn event(&self) -> Event<'_> {
        let (time, subject) = (Timestamp::new(self.time).unwrap(), Subject::new(&self.subject).unwrap());
        Event { time, subject, body: self.body() }
    }

    fn body(&self) -> Body<'_> {
        let [one, other] = &self.texts;
        let choice = self.choice;
        match self.kind {
            Kind::Sample => Body::Sample(Sample {
                value: pick(
                    &[
                        Value::Float(self.float),
                        Value::Integer(self.numbers[0] as i64),
                        Value::Bool(choice > 99),
                        Value::Text(one),
                    ],
                    choice,
                ),
                unit: &self.unit,
                quality: pick(&[Quality::Good, Quality::Uncertain, Quality::Bad], choice),
            }),
            Kind::Breakdown => {
                let severity = pick(&[Severity::Debug, Severity::Error, Severity::Fatal], choice);
                Body::Breakdown(Breakdown { code: one, severity, message: other })
            }
            Kind::Recovery => Body::Recovery(Recovery { code: one, message: other }),
            Kind::State => {
                let state = pick(&[MachineState::NotAvailable, MachineState::Executing], choice);
                Body::State(State { state, reason: one })
            }
            Kind::Alarm => Body::Alarm(Alarm {
                condition: one,
                transition: pick(&[AlarmTransition::Raised, AlarmTransition::Unshelved], choice),
                priority: 1 + (self.numbers[0] % 1000) as u16,
                message: other,
            }),
            Kind::Loss => self.loss(),
            Kind::ClockStep => {
                let after = Timestamp::clamped((self.numbers[0] >> 8) as i64);
                Body::ClockStep(ClockStep { before: Timestamp::new(self.time).unwrap(), after })
            }
            Kind::LifeCycle => Body::LifeCycle(self.life_cycle(pick(&Change::ALL, choice))),
            Kind::Derived => Body::Derived(Derived { kind: one, json: other }),
            Kind::Followed => Body::Followed(Followed {
                stream: pick(&Stream::ALL, choice),
                input: &self.unit,
                number: self.numbers[2],
                horizon: Timestamp::clamped(self.numbers[0] as i64),
                files: FilePlaces::from_bytes(if choice.is_multiple_of(2) { FILE } else { &[] }),
            }),
            Kind::Progress => Body::Progress(Progress {
                stream: pick(&Stream::ALL, choice),
                epoch: Epoch::new(self.numbers[0]),
                end: Sequence::new(self.numbers[1]),
                check: self.numbers[2],
                ticks: pick(
                    &[None, Some(Ticks { events: 7, boot: [self.choice; 16], offset_us: self.numbers[0] as i64 })],
                    choice,
                ),
            }),
        }
    }

    fn loss(&self) -> Body<'_> {
        let (first, end) = (self.numbers[0].min(self.numbers[1]), self.numbers[0].max(self.numbers[1]));
        Body::Loss(Loss {
            stream: pick(&Stream::ALL, self.choice),
            epoch: Epoch::new(self.numbers[2]),
            first: Sequence::new(first),
            end: Sequence::new(end),
            reason: pick(&[LossReason::Evicted, LossReason::Refused, LossReason::VanishedAtLeast], self.choice),
            chain: [self.choice; 32],
        })
    }

    /// An event of the life cycle, with this change.
    pub fn life_cycle(&self, change: Change) -> LifeCycle<'_> {
        let [one, other] = &self.texts;
        let [low, high, third] = self.numbers;
        let (first, end) = (Sequence::new(low.min(high)), Sequence::new(low.max(high)));
        let (epoch, until, stream) = (Epoch::new(third), Offset::new(low), pick(&Stream::ALL, self.choice));
        let (time, key, id) = (Timestamp::clamped(third as i64), [self.choice; 32], [self.choice; 16]);
        let previous = pick(&[PreviousStop::None, PreviousStop::Crash, PreviousStop::PowerLoss], self.choice);
        let reason = pick(&[ResealReason::Diverged, ResealReason::OtherKey], self.choice / 2);
        match change {
            Change::Started => LifeCycle::Started { previous, version: one, repairs: other },
            Change::Stopped => LifeCycle::Stopped { reason: one },
            Change::LinkUp => LifeCycle::LinkUp { peer: one },
            Change::LinkDown => LifeCycle::LinkDown { peer: one, reason: other },
            Change::KeyPinned => LifeCycle::KeyPinned { source: one, key },
            Change::Refused => LifeCycle::Refused { source: one, reason: other },
            Change::Gap => LifeCycle::Gap { source: one, stream, epoch, first, end },
            Change::DiskTrouble => LifeCycle::DiskTrouble { message: one },
            Change::Configured => LifeCycle::Configured { message: one },
            Change::Attested => LifeCycle::Attested { attestation: &self.lanes },
            Change::Trimmed => LifeCycle::Trimmed { until, rule: one },
            Change::Emptied => LifeCycle::Emptied { stream, until, rule: one },
            Change::LaneKept => LifeCycle::LaneKept { source: one, stream, epoch, end, time_last: time, chain: key },
            Change::TermBegun => LifeCycle::TermBegun { log_id: id, partition: low as u32, term: third, first: until },
            Change::Heartbeat => LifeCycle::Heartbeat { instance: id, lanes: LaneEnds::from_bytes(&self.lanes) },
            Change::Resealed => LifeCycle::Resealed { stream, epoch, first, reason },
            Change::RingReplaced => LifeCycle::RingReplaced { message: one },
            Change::Conflict => LifeCycle::Conflict { source: one, boots: [id, [0; 16]], addresses: other },
            Change::RolledBack => {
                LifeCycle::RolledBack { source: one, term: third, until, end: Offset::new(high), time }
            }
            Change::Retired => LifeCycle::Retired { source: one, who: other, why: "scrapped" },
            Change::KeyReplaced => LifeCycle::KeyReplaced { source: one, key, who: other },
            Change::KeyEndorsed => LifeCycle::KeyEndorsed { endorsement: &self.lanes },
            Change::Alias => LifeCycle::Alias { source: one, former: other },
            Change::Forgotten => LifeCycle::Forgotten { source: one },
            Change::Unread => LifeCycle::Unread { file: one, from: low, bytes_least: high, reason: other },
        }
    }
}
