//! The recorder of the firmware between a task, an interrupt and the main loop that empties it, under many orders in
//! which these can take turns: shuttle runs them as threads and chooses, at every critical section, who goes on.
//!
//! A package of its own, because its critical section is one for the whole program.

#![cfg(test)]

mod section;
mod split;

use afferent_firmware::protocol::event::{Alarm, AlarmTransition, Body, Quality, Sample, Value};
use afferent_firmware::protocol::ids::{Stream, Subject};
use afferent_firmware::recorder::{Drained, Entry, RecordError, Recorder};
use shuttle::sync::Arc;
use shuttle::thread;

use split::Split;

/// Who records: two share the stream of samples, one has the other stream for itself.
const PRODUCERS: [Stream; 3] = [Stream::Samples, Stream::Samples, Stream::Critical];
const EACH: u64 = 5;

trait Records: Default + Send + Sync + 'static {
    fn record(&self, tick_us: u64, subject: Subject<'static>, body: Body<'static>) -> Result<(), RecordError>;
    fn take(&self) -> Option<Drained>;
}

impl Records for Recorder<4> {
    fn record(&self, tick_us: u64, subject: Subject<'static>, body: Body<'static>) -> Result<(), RecordError> {
        self.record(tick_us, subject, body)
    }
    fn take(&self) -> Option<Drained> {
        self.take()
    }
}

impl Records for Split {
    fn record(&self, tick_us: u64, _: Subject<'static>, body: Body<'static>) -> Result<(), RecordError> {
        self.record(tick_us, body)
    }
    fn take(&self) -> Option<Drained> {
        self.take()
    }
}

/// An event that says whose it is.
fn body(producer: usize) -> Body<'static> {
    match PRODUCERS[producer] {
        Stream::Samples => {
            let value = Value::Integer(producer as i64);
            Body::Sample(Sample { value, unit: "", quality: Quality::Good })
        }
        Stream::Critical => {
            let transition = AlarmTransition::Raised;
            Body::Alarm(Alarm { condition: "c", transition, priority: 1 + producer as u16, message: "" })
        }
    }
}

/// Which ticks of a producer were taken, by its own account.
fn produce(recorder: &impl Records, producer: usize) -> Vec<u64> {
    let subject = Subject::new("a").expect("a path");
    (1..=EACH).filter(|tick_us| recorder.record(*tick_us, subject, body(producer)).is_ok()).collect()
}

fn race<R: Records>() {
    let recorder = Arc::new(R::default());
    let producers: Vec<_> = (0..PRODUCERS.len())
        .map(|producer| {
            let recorder = recorder.clone();
            thread::spawn(move || produce(&*recorder, producer))
        })
        .collect();
    let mut drained: Vec<_> = (0..2 * EACH).filter_map(|_| recorder.take()).collect();
    let taken: Vec<_> = producers.into_iter().map(|producer| producer.join().expect("it ends")).collect();
    drained.extend(std::iter::from_fn(|| recorder.take()));
    check(&taken, &drained);
}

/// Holds what came out against what every producer was told.
fn check(taken: &[Vec<u64>], drained: &[Drained]) {
    let lost_in = |stream: Stream, drained: &[Drained]| -> u64 {
        let of_stream = drained.iter().map(|drained| match drained {
            Drained::Lost { stream: of, count, .. } if *of == stream => u64::from(*count),
            _ => 0,
        });
        of_stream.sum()
    };
    for (producer, taken) in taken.iter().enumerate() {
        let mine = |drained: &Drained| match drained {
            Drained::Entry(Entry { tick_us, body: found, .. }) if *found == body(producer) => Some(*tick_us),
            _ => None,
        };
        let out: Vec<u64> = drained.iter().filter_map(mine).collect();
        assert_eq!(out, *taken, "what was taken comes out once and in order");

        // A hole is declared behind the entry before it and ahead of the one after it.
        let (mut since, mut last) = (0, 0);
        let ends = drained.iter().enumerate().filter_map(|(at, drained)| Some((at, mine(drained)?)));
        for (at, tick_us) in ends.chain([(drained.len(), EACH + 1)]) {
            let hole = tick_us - last - 1;
            let declared = lost_in(PRODUCERS[producer], &drained[since..at]);
            assert!(declared >= hole, "{hole} are missing before {tick_us}, and {declared} are declared there");
            let is_alone = PRODUCERS.iter().filter(|stream| **stream == PRODUCERS[producer]).count() == 1;
            assert!(!is_alone || declared == hole, "{declared} are declared where {hole} are missing");
            (since, last) = (at, tick_us);
        }
    }
    for stream in Stream::ALL {
        let of_stream = taken.iter().zip(PRODUCERS).filter(|(_, of)| *of == stream);
        let refused: u64 = of_stream.map(|(taken, _)| EACH - taken.len() as u64).sum();
        assert_eq!(lost_in(stream, drained), refused, "every loss in {stream} is declared");
    }
}

#[test]
fn whoever_interrupts_whom_order_is_kept_and_every_loss_is_declared_in_its_place() {
    shuttle::check_random(race::<Recorder<4>>, 5_000);
    shuttle::check_pct(race::<Recorder<4>>, 5_000, 3);
}

#[test]
#[should_panic(expected = "declared")]
fn a_recorder_that_looks_for_room_and_takes_it_in_two_sections_is_found_out() {
    // The control of the test before.
    shuttle::check_random(race::<Split>, 5_000);
}
