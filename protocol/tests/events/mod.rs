//! Arbitrary valid events, with their texts owned.

use afferent_protocol::event::*;
use afferent_protocol::ids::{Epoch, Offset, Sequence, Stream, Subject, Timestamp};
use afferent_protocol::limits::TIME_MAX;
use proptest::prelude::*;

/// An event's parts: texts, numbers and a choice of the kind.
#[derive(Clone, Debug)]
pub struct OwnedEvent {
    pub time: i64,
    pub subject: String,
    pub kind: u8,
    pub choice: u8,
    pub texts: [String; 2],
    pub numbers: [u64; 3],
    pub float: f64,
    pub unit: String,
}

pub fn owned_event() -> impl Strategy<Value = OwnedEvent> {
    let text = prop_oneof!["\\PC{0,20}", "[a-z]{0,300}"];
    (
        0_i64..=TIME_MAX,
        "[a-zA-Z0-9 äöü.-]{1,20}(/[a-z]{1,8}){0,3}",
        0_u8..10,
        any::<u8>(),
        [text.clone(), text],
        any::<[u64; 3]>(),
        any::<f64>().prop_filter("finite", |float| float.is_finite()),
        "[!-~]{0,10}",
    )
        .prop_map(|(time, subject, kind, choice, texts, numbers, float, unit)| OwnedEvent {
            time,
            subject,
            kind,
            choice,
            texts,
            numbers,
            float,
            unit,
        })
}

fn pick<T: Copy>(from: &[T], choice: u8) -> T {
    from[usize::from(choice) % from.len()]
}

impl OwnedEvent {
    /// One of each kind.
    pub fn examples() -> Vec<Self> {
        let texts = ["E42".to_owned(), "stuck".to_owned()];
        let event = |kind: u8| Self {
            time: 1_631_577_271_000_000 + i64::from(kind),
            subject: "88-C/spindle".to_owned(),
            kind,
            choice: kind,
            texts: texts.clone(),
            numbers: [1, 2, 3],
            float: 81.4,
            unit: "Cel".to_owned(),
        };
        (0..10).map(event).collect()
    }

    pub fn event(&self) -> Event<'_> {
        let (time, subject) = (Timestamp::new(self.time).unwrap(), Subject::new(&self.subject).unwrap());
        Event { time, subject, body: self.body() }
    }

    fn body(&self) -> Body<'_> {
        let [one, other] = &self.texts;
        let choice = self.choice;
        match self.kind {
            0 => Body::Sample(Sample {
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
            1 => {
                let severity = pick(&[Severity::Debug, Severity::Error, Severity::Fatal], choice);
                Body::Breakdown(Breakdown { code: one, severity, message: other })
            }
            2 => Body::Recovery(Recovery { code: one, message: other }),
            3 => {
                let state = pick(&[MachineState::NotAvailable, MachineState::Executing], choice);
                Body::State(State { state, reason: one })
            }
            4 => Body::Alarm(Alarm {
                condition: one,
                transition: pick(&[AlarmTransition::Raised, AlarmTransition::Unshelved], choice),
                priority: 1 + (self.numbers[0] % 1000) as u16,
                message: other,
            }),
            5 => self.loss(),
            6 => {
                let after = Timestamp::clamped((self.numbers[0] >> 8) as i64);
                Body::ClockStep(ClockStep { before: Timestamp::new(self.time).unwrap(), after })
            }
            7 => Body::LifeCycle(self.life_cycle()),
            8 => Body::Derived(Derived { kind: one, json: other }),
            _ => Body::Progress(Progress {
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
            reason: pick(&[LossReason::Evicted, LossReason::TornTail, LossReason::Refused], self.choice),
            chain: [self.choice; 32],
        })
    }

    fn life_cycle(&self) -> LifeCycle<'_> {
        let [one, other] = &self.texts;
        let gap = LifeCycle::Gap {
            source: one,
            stream: Stream::Samples,
            epoch: Epoch::new(self.numbers[0]),
            first: Sequence::new(self.numbers[1]),
            end: Sequence::new(self.numbers[2]),
        };
        let sealed = LifeCycle::Sealed {
            first: Offset::new(self.numbers[0]),
            end: Offset::new(self.numbers[1]),
            hash: [self.choice; 32],
        };
        let (until, stream) = (Offset::new(self.numbers[0]), Stream::Samples);
        let kept = LifeCycle::LaneKept {
            source: one,
            stream,
            epoch: Epoch::new(self.numbers[0]),
            end: Sequence::new(self.numbers[1]),
            time_last: Timestamp::clamped(self.numbers[2] as i64),
            chain: [self.choice; 32],
        };
        let previous = pick(&[PreviousStop::None, PreviousStop::Crash, PreviousStop::PowerLoss], self.choice);
        pick(
            &[
                LifeCycle::Started { previous, version: one, repairs: other },
                LifeCycle::Stopped { reason: one },
                LifeCycle::LinkUp { peer: one },
                LifeCycle::LinkDown { peer: one, reason: other },
                LifeCycle::KeyPinned { source: one, key: [self.choice; 32] },
                LifeCycle::Refused { source: one, reason: other },
                gap,
                LifeCycle::DiskTrouble { message: one },
                LifeCycle::Configured { message: one },
                sealed,
                LifeCycle::Trimmed { until, rule: one },
                LifeCycle::Emptied { stream, until, rule: one },
                kept,
            ],
            self.choice,
        )
    }
}
