use std::vec;

use afferent_protocol::event::{Body, Quality, Sample, Value};
use afferent_protocol::ids::{Subject, Timestamp};

use super::*;
use crate::queue::RamQueue;
use crate::queue::failing::Failing;

const NEVER: &dyn Fn(u32, u8) -> bool = &|_, _| false;

/// Four events of one epoch, in queues that damage some of them after that, or all of them for a while; returns what is
/// passed over and what is read when the agent takes everything.
fn taken(damaged: &'static [u32], is_broken: bool) -> (vec::Vec<u32>, vec::Vec<u32>) {
    let (mut queue, mut body, mut work) = (Failing::new(), [0; 64], [0; 400]);
    let epoch = Epoch::new(1);
    let mut full = StreamLog::new(Stream::Critical, (&mut queue, &mut body), epoch);
    (0..4).for_each(|_| push(&mut full, &mut work).unwrap());
    let (runs, next) = (full.runs.clone(), full.next);
    (queue.damaged, queue.is_broken) = (damaged, is_broken);
    let mut log = StreamLog::new(Stream::Critical, (&mut queue, &mut body), epoch);
    (log.runs, log.next) = (runs, next);
    let (mut lost, mut read) = (vec![], vec![]);
    for turn in 0..20 {
        log.hello_sent();
        while let Some((epoch, from)) = log.ready() {
            match log.read(epoch, from, &SourceId::literal("mill"), &mut work) {
                Ok(Some((end, len))) => {
                    read.push(from);
                    log.sent(turn, end, len);
                }
                Ok(None) => {
                    let hole = log.pass_over(&mut work);
                    lost.extend(hole.into_iter().flat_map(|hole| hole.first..hole.end));
                    break;
                }
                Err(Broken) => break,
            }
        }
        let end = log.sent.end;
        log.release(turn, epoch, end, &mut work);
    }
    (lost, read)
}

#[test]
fn what_memory_has_damaged_since_is_given_up_by_name_and_everything_else_is_sent() {
    assert_eq!(taken(&[], false), (vec![], vec![0, 1, 2, 3]), "the control");
    for damaged in [&[0][..], &[1], &[3], &[0, 1], &[1, 2], &[0, 2], &[2, 3], &[0, 1, 2, 3]] {
        let (lost, read) = taken(damaged, false);
        assert_eq!(lost, damaged);
        assert_eq!(read, (0..4).filter(|at| !damaged.contains(at)).collect::<vec::Vec<_>>(), "{damaged:?}");
    }
    assert_eq!(taken(&[1], true), (vec![], vec![]), "what cannot be read now is not lost");
}

fn push(log: &mut StreamLog<'_>, work: &mut [u8]) -> Result<(), PushError> {
    let sample = Sample { value: Value::Bool(true), unit: "", quality: Quality::Good };
    log.rows.push(Timestamp::default(), Subject::literal("mill"), &Body::Sample(sample)).unwrap();
    let sealed = log.seal(&ClockReading::default(), &SourceId::literal("mill"), work);
    log.rows.clear();
    sealed
}

#[test]
fn a_new_epoch_behind_as_many_runs_as_there_is_room_for_waits_and_loses_nothing() {
    let (mut queue, mut body, mut work) = (RamQueue::<2048>::new(), [0; 64], [0; 400]);
    let mut log = StreamLog::new(Stream::Critical, (&mut queue, &mut body), Epoch::new(1));
    for _ in 0..RUNS_MAX {
        assert_eq!(push(&mut log, &mut work), Ok(()));
        log.skip(1);
    }
    log.begin_epoch(Epoch::new(2));
    assert_eq!(push(&mut log, &mut work), Err(PushError::Full));
    let first = log.ready().unwrap();
    assert_eq!(first, (Epoch::new(1), 0));
    log.release(0, first.0, 1, &mut work);
    assert_eq!(push(&mut log, &mut work), Ok(()));
    assert_eq!(log.first_of(Epoch::new(2)), Some(0));
}

#[test]
fn what_lies_behind_a_hole_is_sent_after_the_ack_of_all_before_it_and_a_hello() {
    let (mut queue, mut body, mut work) = (RamQueue::<2048>::new(), [0; 64], [0; 400]);
    let epoch = Epoch::new(1);
    let mut log = StreamLog::new(Stream::Critical, (&mut queue, &mut body), epoch);
    push(&mut log, &mut work).unwrap();
    log.skip(3);
    push(&mut log, &mut work).unwrap();
    assert_eq!((log.ready(), log.wants(NEVER)), (Some((epoch, 0)), Wants::Batch));
    log.sent(5, 1, 300);
    assert_eq!((log.ready(), log.waits()), (None, Some((5, 0))));
    log.release(6, epoch, 1, &mut work);
    assert_eq!((log.ready(), log.wants(NEVER), log.waits()), (Some((epoch, 4)), Wants::Hello, None));
    log.hello_sent();
    assert_eq!(log.wants(NEVER), Wants::Batch);
}
