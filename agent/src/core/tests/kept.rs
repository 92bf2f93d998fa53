//! What is kept beside the ring log: pins, receipts, attestations. And heartbeats.

use afferent_protocol::attestation::Attestation;
use afferent_protocol::codec;
use afferent_protocol::sign::Running;

use super::*;
use crate::limits::{ATTESTATIONS_MAX, RECEIPT_MS};
use crate::sequencer::{CommitSettings, OpenBatches};
use crate::trust::Pin;

/// All that is to be kept now.
fn keepsakes(core: &mut AgentCore<SimDisk>, ms: u64) -> Vec<Keepsake> {
    std::iter::from_fn(|| core.keepsake(&now(ms), false)).collect()
}

fn first_contact(trust_first: bool) -> (AgentCore<SimDisk>, Collector) {
    let mut core = start(&SimDisk::of_seed(1));
    core.trust(TrustSettings { keys: Vec::new(), trust_first });
    commit(&mut core, Stream::Critical, 1);
    let collector = connect(&mut core, &[]);
    (core, collector)
}

#[test]
fn a_first_contact_counts_once_its_key_is_on_disk() {
    let (mut core, collector) = first_contact(true);
    assert_eq!(sent(&mut core, 0).0, [], "not on disk yet");
    let pins = vec![Pin { key: collector.key.public_key(), by: None }];
    assert_eq!(keepsakes(&mut core, 0), [Keepsake::Pins(pins.clone())]);
    core.pinned(pins.clone(), &now(0));
    assert_eq!(sent(&mut core, 0).0, [Stream::Critical]);
    // Whoever comes later is a stranger.
    let stranger = Collector { key: Identity::from_seed(&[8; 32]), ..collector };
    let hello = greet(&mut core);
    core.receive(&stranger.welcomes(&hello, &[]), &now(0));
    assert_eq!((sent(&mut core, 0).0, keepsakes(&mut core, 0)), (vec![], vec![]));
    assert_eq!(core.stranger(), Some(stranger.key.public_key()));
    // And so it is after a start that finds the pin.
    let mut core = start(&SimDisk::of_seed(2));
    core.remember(Kept { pins, ..Kept::default() });
    core.trust(TrustSettings { keys: Vec::new(), trust_first: true });
    let hello = greet(&mut core);
    core.receive(&stranger.welcomes(&hello, &[]), &now(0));
    assert!(!core.sender().is_streaming());
}

#[test]
fn without_leave_to_trust_nothing_is_shipped_and_the_key_is_shown() {
    let (mut core, collector) = first_contact(false);
    assert_eq!((sent(&mut core, 0).0, keepsakes(&mut core, 0)), (vec![], vec![]));
    assert_eq!(core.stranger(), Some(collector.key.public_key()));
    // It says hello for as long as it takes; another connection would not help, as long as there is an answer to each.
    let lane = core.ring().held()[0].lane;
    for turn in 1..50 {
        core.receive(&collector.says(Control::Nack { lane, from: Sequence::ZERO }), &now(turn * 60_000));
        messages(&mut core, turn * 60_000);
    }
    // When nothing is heard at all any more, the connection may be the reason.
    let mut message = Vec::new();
    let mut outgoing = (50..60).map(|turn| core.poll(&now(turn * 60_000), &mut message));
    assert!(outgoing.any(|outgoing| outgoing == Outgoing::Reconnect));
    // The operator adds the line.
    core.trust(TrustSettings { keys: vec![collector.key.public_key()], trust_first: false });
    connect(&mut core, &[]);
    assert_eq!((sent(&mut core, 0).0, core.stranger()), (vec![Stream::Critical], None));
}

#[test]
fn a_collector_whose_log_does_not_reach_the_newest_receipt_sees_it_once() {
    let mut core = start(&SimDisk::of_seed(1));
    commit(&mut core, Stream::Critical, 1);
    let resume = resume_of(&mut core, Stream::Critical, 1);
    let collector = connect(&mut core, &[]);
    sent(&mut core, 0);
    let receipt = collector.acks(resume);
    core.receive(&receipt, &now(0));
    assert_eq!(keepsakes(&mut core, 0), [Keepsake::Receipt(receipt.clone())]);
    let at = |place: Place| Collector { place, ..Collector::default() };
    let place = collector.place;
    for (place, is_shown) in [
        (place, false),
        (Place { offset: Offset::new(101), ..place }, false),
        (Place { offset: Offset::new(99), ..place }, true),
        (Place { term: 6, ..place }, true),
        (Place { log_id: [5; 16], ..place }, true),
    ] {
        // A start finds it again.
        let mut core = start(&SimDisk::of_seed(1));
        core.remember(Kept { receipt: Some(receipt.clone()), ..Kept::default() });
        let hello = greet(&mut core);
        for _ in 0..2 {
            core.receive(&at(place).welcomes(&hello, &[]), &now(0));
        }
        // An ack that comes before it was shown does not take its place.
        core.receive(&at(place).acks(resume), &now(0));
        let shown: Vec<_> = messages(&mut core, 0).0.into_iter().filter(|message| is_down(message)).collect();
        assert_eq!(shown, if is_shown { vec![receipt.clone()] } else { vec![] }, "{place:?}");
    }
}

#[test]
fn receipts_are_written_now_and_then_and_the_newest_stays() {
    let mut core = start(&SimDisk::of_seed(1));
    (0..3).for_each(|mark| commit(&mut core, Stream::Critical, mark));
    let resumes = [1, 2, 3].map(|count| resume_of(&mut core, Stream::Critical, count));
    let mut collector = connect(&mut core, &[]);
    sent(&mut core, 0);
    let mut newest = Vec::new();
    for (at, resume) in resumes.into_iter().enumerate() {
        collector.place.offset = Offset::new(200 + at as u64);
        newest = collector.acks(resume);
        core.receive(&newest, &now(at as u64));
        assert_eq!(keepsakes(&mut core, at as u64).len(), usize::from(at == 0));
    }
    collector.place.offset = Offset::new(150);
    core.receive(&collector.acks(resumes[2]), &now(5));
    assert_eq!(keepsakes(&mut core, 1 + RECEIPT_MS), [Keepsake::Receipt(newest)]);
}

#[test]
fn the_last_attestations_of_a_trusted_key_are_kept() {
    let mut core = start(&SimDisk::of_seed(1));
    let mut collector = connect(&mut core, &[]);
    let attest = |key: &Identity, number: u64| {
        let place = Collector::default().place;
        let (partition, term, end) = (place.partition, place.term, Offset::new(number));
        let (key_of, log_id, time) = (key.public_key(), place.log_id, Timestamp::default());
        let (previous, hash) = ([0; 32], Running::default());
        Attestation { key: key_of, log_id, partition, term, number, end, time, previous, hash }.sign(key)
    };
    let own = collector.key.clone();
    for number in 0..20 {
        collector.attestation = Some(attest(&own, number));
        core.receive(&collector.says(Control::Ack(heapless::Vec::new())), &now(0));
    }
    let last: Vec<_> = (20 - ATTESTATIONS_MAX as u64..20).map(|number| attest(&own, number)).collect();
    assert_eq!(keepsakes(&mut core, 0)[0], Keepsake::Attestations(last));
    // The control: what another key has signed.
    collector.attestation = Some(attest(&Identity::from_seed(&[8; 32]), 20));
    core.receive(&collector.says(Control::Ack(heapless::Vec::new())), &now(0));
    assert!(!keepsakes(&mut core, 0).iter().any(|kept| matches!(kept, Keepsake::Attestations(_))));
}

#[test]
fn a_heartbeat_names_what_is_durable_and_nothing_more() {
    let mut core = start(&SimDisk::of_seed(1));
    (0..3).for_each(|mark| commit(&mut core, Stream::Critical, mark));
    commit(&mut core, Stream::Samples, 1);
    let mut open = OpenBatches::new(CommitSettings::default(), core.open_batch_bytes_max());
    for _ in 0..2 {
        core.heartbeat(&mut open, &now(7)).unwrap();
    }
    let mut taken = BatchBuilder::new();
    open.take(Stream::Critical, &mut taken).unwrap();
    assert!(core.commit(Stream::Critical, 9, &mut taken, &now(7)).moved);
    connect(&mut core, &[]);
    let (messages, _) = messages(&mut core, 7);
    let mut beats = 0;
    for batch in messages.iter().flat_map(|message| split(message).map_while(Result::ok)) {
        for event in codec::records(&batch, &mut []).unwrap().map(|record| record.unwrap().event) {
            if let Body::LifeCycle(LifeCycle::Heartbeat { instance, lanes }) = event.body {
                beats += 1;
                assert_eq!(instance, core.instance().0);
                let ends: Vec<_> = lanes.iter().map(|lane| (lane.stream, lane.end.get())).collect();
                assert_eq!(ends, [(Stream::Critical, 3), (Stream::Samples, 1)], "its own is not among them");
            }
        }
    }
    assert_eq!(beats, 2);
}
