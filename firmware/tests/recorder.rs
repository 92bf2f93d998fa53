//! The recorder between threads that record at once, as an interrupt and a task do, and one that empties it.

use std::sync::atomic::{AtomicUsize, Ordering};

use afferent_firmware::protocol::event::{Alarm, AlarmTransition, Body, Quality, Sample, Value};
use afferent_firmware::protocol::ids::{Stream, Subject};
use afferent_firmware::recorder::{Drained, RecordError, Recorder};
use proptest::prelude::*;

const EACH: u64 = 20_000;

fn sample(number: i64) -> Body<'static> {
    Body::Sample(Sample { value: Value::Integer(number), unit: "", quality: Quality::Good })
}

fn alarm(priority: u16) -> Body<'static> {
    Body::Alarm(Alarm { condition: "c", transition: AlarmTransition::Raised, priority, message: "" })
}

#[test]
fn whoever_records_at_once_nothing_is_lost_that_is_not_counted_and_orders_are_kept() {
    let recorder = Recorder::<8>::new();
    let refused = [AtomicUsize::new(0), AtomicUsize::new(0)];
    let running = AtomicUsize::new(2);
    let (mut ticks, mut counted) = ([None; 2], [0; 2]);
    let mut taken = 0;
    std::thread::scope(|scope| {
        for at in 0..2 {
            let (recorder, refused, running) = (&recorder, &refused[at], &running);
            scope.spawn(move || {
                let subject = Subject::new("a").unwrap();
                for tick_us in 1..=EACH {
                    let body = if at == 0 { alarm(1) } else { sample(0) };
                    if recorder.record(tick_us, subject, body) == Err(RecordError::Lost) {
                        refused.fetch_add(1, Ordering::Relaxed);
                    }
                }
                running.fetch_sub(1, Ordering::Release);
            });
        }
        loop {
            let is_over = running.load(Ordering::Acquire) == 0;
            match recorder.take() {
                Some(Drained::Entry(entry)) => {
                    let at = usize::from(matches!(entry.body, Body::Sample(_)));
                    assert!(ticks[at] < Some(entry.tick_us), "out of order");
                    // A hole is exactly as long as what was told to be lost since the entry before.
                    let expected = ticks[at].unwrap_or(0) + 1 + std::mem::take(&mut counted[at]);
                    assert_eq!(entry.tick_us, expected, "the loss stands in its place");
                    ticks[at] = Some(entry.tick_us);
                    taken += 1;
                }
                Some(Drained::Lost { stream, count, .. }) => {
                    counted[usize::from(stream == Stream::Samples)] += u64::from(count);
                }
                None if is_over => break,
                None => std::hint::spin_loop(),
            }
        }
    });
    let refused: usize = refused.iter().map(|count| count.load(Ordering::Relaxed)).sum();
    assert_eq!(taken + refused, 2 * EACH as usize);
    assert!(refused > 0, "there was a race for the last place");
}

proptest! {
    #[test]
    fn it_gives_back_what_a_list_with_losses_would(steps in prop::collection::vec(0..3_u8, 0..300)) {
        let recorder = Recorder::<6>::new();
        let subject = Subject::new("a").unwrap();
        // The oracle: everything in order, each with whether it was taken.
        let mut recorded = Vec::new();
        let mut out = Vec::new();
        for (tick_us, step) in steps.iter().enumerate() {
            let tick_us = tick_us as u64;
            let body = match step {
                0 => sample(1),
                1 => alarm(1),
                _ => {
                    out.extend(recorder.take());
                    continue;
                }
            };
            recorded.push((*step, recorder.record(tick_us, subject, body).is_ok(), tick_us));
        }
        out.extend(std::iter::from_fn(|| recorder.take()));
        let mut at = [0; 2];
        let next_of = |stream: usize, at: &mut [usize; 2]| {
            let of_stream = |(step, _, _): &&(u8, bool, u64)| usize::from(*step == 0) == stream;
            let next = recorded.iter().filter(of_stream).nth(at[stream]).copied();
            at[stream] += 1;
            next
        };
        for drained in out {
            match drained {
                Drained::Entry(entry) => {
                    let stream = usize::from(matches!(entry.body, Body::Sample(_)));
                    let next = next_of(stream, &mut at).map(|(_, taken, tick_us)| (taken, tick_us));
                    prop_assert_eq!(next, Some((true, entry.tick_us)));
                }
                Drained::Lost { stream, count, tick_us } => {
                    let stream = usize::from(stream == Stream::Samples);
                    for lost in 0..count {
                        let next = next_of(stream, &mut at);
                        prop_assert!(next.is_some_and(|(_, taken, _)| !taken));
                        prop_assert!(lost > 0 || next.is_some_and(|(_, _, first)| first == tick_us));
                    }
                }
            }
        }
        prop_assert_eq!(at.iter().sum::<usize>(), recorded.len());
    }
}

#[test]
fn what_is_no_event_is_refused_and_not_counted() {
    let recorder = Recorder::<4>::new();
    let body = Body::Sample(Sample { value: Value::Float(f64::NAN), unit: "", quality: Quality::Good });
    assert!(matches!(recorder.record(0, Subject::new("a").unwrap(), body), Err(RecordError::Invalid(_))));
    assert_eq!(recorder.take(), None);
}
