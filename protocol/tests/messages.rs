//! Messages of the session, attestations and endorsements: what is written is read again, every flipped bit and every
//! cut is noticed, and no bytes lead to a panic.

use std::sync::LazyLock;

use afferent_protocol::attestation::{ATTESTATION_LEN, Attestation};
use afferent_protocol::batch::ClockReading;
use afferent_protocol::checksum::crc32c;
use afferent_protocol::endorsement::{ENDORSEMENT_LEN, Endorsement, Role};
use afferent_protocol::ids::{Epoch, Offset, Sequence, SequenceRange, SourceId, Stream, Timestamp};
use afferent_protocol::limits::{ENDORSEMENTS_MAX, FORMER_NAMES_MAX, LANES_MAX, SIGNED_BYTES_MAX, TIME_MAX};
use afferent_protocol::session::signed::{Down, Instance, Nonce, Place, Up, UpContent, is_down, is_signed};
use afferent_protocol::session::{
    Answer, Check, Control, ControlError, Held, Hello, Lane, Resume, Welcome, is_control,
};
use afferent_protocol::sign::{Context, Identity, PublicKey, Running, sha256};
use proptest::prelude::*;

static KEY: LazyLock<Identity> = LazyLock::new(|| Identity::from_seed(&[5; 32]));
static OTHER: LazyLock<Identity> = LazyLock::new(|| Identity::from_seed(&[6; 32]));

fn lane() -> impl Strategy<Value = Lane> {
    (any::<bool>(), any::<u64>())
        .prop_map(|(samples, epoch)| Lane { stream: Stream::ALL[usize::from(samples)], epoch: Epoch::new(epoch) })
}

fn resume() -> impl Strategy<Value = Resume> {
    let made = |(lane, end, check): (Lane, u64, Option<u64>)| Resume {
        lane,
        end: Sequence::new(end),
        check: check.map(Check),
    };
    (lane(), any::<u64>(), any::<Option<u64>>()).prop_map(made)
}

fn control() -> impl Strategy<Value = Control> {
    let held = (lane(), any::<u64>(), any::<u64>()).prop_map(|(lane, first, end)| Held {
        lane,
        first: Sequence::new(first),
        end: Sequence::new(end),
    });
    let hello = (any::<u32>(), prop::collection::vec(held, 0..=LANES_MAX))
        .prop_map(|(session, lanes)| Control::Hello(Hello { session, lanes: lanes.into_iter().collect() }));
    let resumes = || prop::collection::vec(resume(), 0..=LANES_MAX).prop_map(|list| list.into_iter().collect());
    let again = (lane(), any::<u64>(), any::<u64>()).prop_map(|(lane, first, end)| {
        let range = SequenceRange { first: Sequence::new(first), end: Sequence::new(end) };
        Control::Again { lane, range }
    });
    let welcome = (any::<u32>(), resumes()).prop_map(|(session, lanes)| Control::Welcome(Welcome { session, lanes }));
    let nack = (lane(), any::<u64>()).prop_map(|(lane, from)| Control::Nack { lane, from: Sequence::new(from) });
    let (acks, asks) = (resumes().prop_map(Control::Ack), resumes().prop_map(Control::Ask));
    prop_oneof![hello, welcome, acks, nack, asks, resume().prop_map(Control::Common), again]
}

fn time() -> impl Strategy<Value = Timestamp> {
    (0..=TIME_MAX).prop_map(Timestamp::clamped)
}

fn name() -> impl Strategy<Value = SourceId> {
    "[A-Za-z0-9_-][A-Za-z0-9._-]{0,62}".prop_map(|name| SourceId::new(&name).unwrap())
}

fn clock() -> impl Strategy<Value = ClockReading> {
    (time(), any::<u64>(), any::<bool>(), any::<[u8; 16]>())
        .prop_map(|(wall, monotonic_us, synchronised, boot)| ClockReading { wall, monotonic_us, synchronised, boot })
}

fn up() -> impl Strategy<Value = Up> {
    let content = prop_oneof![
        control().prop_map(UpContent::Control),
        any::<bool>().prop_map(|online| UpContent::State { online })
    ];
    let former = prop::collection::vec(name(), 0..=FORMER_NAMES_MAX);
    (any::<[[u8; 16]; 4]>(), clock(), former, content).prop_map(|(ids, clock, former, content)| Up {
        log_id: ids[0],
        nonce: Nonce(ids[1]),
        answer: Nonce(ids[2]),
        key: KEY.public_key(),
        instance: Instance(ids[3]),
        clock,
        former,
        content,
    })
}

fn down() -> impl Strategy<Value = Down> {
    let place = (any::<[u8; 16]>(), any::<u32>(), any::<u64>(), any::<u64>());
    let statements = (
        prop::collection::vec(any::<u8>().prop_map(|byte| [byte; ENDORSEMENT_LEN]), 0..=ENDORSEMENTS_MAX),
        any::<Option<u8>>().prop_map(|byte| byte.map(|byte| [byte; ATTESTATION_LEN])),
    );
    (place, any::<[[u8; 16]; 2]>(), time(), any::<bool>(), statements, control()).prop_map(
        |((log_id, partition, term, offset), ids, time, is_proved, (endorsements, attestation), content)| Down {
            nonce: Nonce(ids[0]),
            answer: Nonce(ids[1]),
            key: KEY.public_key(),
            place: Place { log_id, partition, term, offset: Offset::new(offset) },
            time,
            is_proved,
            endorsements,
            attestation,
            content,
        },
    )
}

fn attestation() -> impl Strategy<Value = Attestation> {
    (any::<[u8; 16]>(), any::<u32>(), any::<[u64; 3]>(), time(), any::<[[u8; 32]; 2]>()).prop_map(
        |(log_id, partition, [term, number, end], time, [previous, hash])| Attestation {
            key: KEY.public_key(),
            log_id,
            partition,
            term,
            number,
            end: Offset::new(end),
            time,
            previous,
            hash: Running::from_hash(hash),
        },
    )
}

/// Bytes with one bit flipped, for every bit; and cut, at every length; and with a byte more.
fn damaged(bytes: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    let flipped = (0..bytes.len() * 8).map(|bit| {
        let mut bytes = bytes.to_vec();
        bytes[bit / 8] ^= 1 << (bit % 8);
        bytes
    });
    flipped.chain((0..bytes.len()).map(|len| bytes[..len].to_vec())).chain([[bytes, &[0]].concat()])
}

/// A message whose crc was set right after it was changed: as somebody makes it who wants to be believed.
fn mended(mut message: Vec<u8>) -> Vec<u8> {
    let crc = crc32c(&message[8..]);
    message[4..8].copy_from_slice(&crc.to_le_bytes());
    message
}

proptest! {
    #[test]
    fn control_messages_come_out_as_they_went_in(control in control()) {
        let bytes = control.encode();
        prop_assert!(is_control(&bytes) && !is_signed(&bytes));
        for bytes in damaged(&bytes) {
            prop_assert!(Control::decode(&bytes).is_err());
        }
        prop_assert_eq!(Control::decode(&bytes), Ok(control));
    }

    #[test]
    fn messages_of_agents_come_out_as_they_went_in(up in up(), source in name()) {
        let bytes = up.sign(&source, &KEY);
        prop_assert!(bytes.len() <= SIGNED_BYTES_MAX && is_signed(&bytes) && !is_down(&bytes) && !is_control(&bytes));
        let read = Up::read(&bytes).unwrap();
        prop_assert_eq!(read.claim(), &up);
        prop_assert_eq!(read.verify_own_key(&source), Some(up));
        prop_assert!(Down::read(&bytes).is_err(), "the direction is part of it");
    }

    #[test]
    fn messages_of_collectors_come_out_as_they_went_in(down in down(), source in name()) {
        let bytes = down.sign(&source, &KEY);
        prop_assert!(bytes.len() <= SIGNED_BYTES_MAX && is_signed(&bytes) && is_down(&bytes) && !is_control(&bytes));
        let read = Down::read(&bytes).unwrap();
        prop_assert_eq!(read.claim(), &down);
        prop_assert_eq!(read.verify_own_key(&source), Some(down));
        prop_assert!(Up::read(&bytes).is_err(), "the direction is part of it");
    }

    #[test]
    fn a_message_for_one_source_is_none_for_another(down in down(), up in up(), one in name(), other in name()) {
        prop_assume!(one != other);
        let (down, up) = (down.sign(&one, &KEY), up.sign(&one, &KEY));
        prop_assert!(Down::read(&down).unwrap().verify_own_key(&other).is_none());
        prop_assert!(Up::read(&up).unwrap().verify_own_key(&other).is_none());
        prop_assert!(Up::read(&up).unwrap().verify(&one, &OTHER.public_key().verifier().unwrap()).is_none());
    }

    #[test]
    fn attestations_come_out_as_they_went_in(attestation in attestation()) {
        let bytes = attestation.sign(&KEY);
        let read = Attestation::read(&bytes).unwrap();
        prop_assert_eq!(read.claim(), &attestation);
        prop_assert_eq!(read.verify(), Some(attestation));
    }

    #[test]
    fn any_bytes_are_a_message_or_none_and_never_a_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..300),
        direction in 0_u8..3,
        kind in 0_u8..3,
    ) {
        let message = [b"AFS1".to_vec(), vec![0; 68], vec![direction, kind], bytes.clone()].concat();
        let source = SourceId::literal("press-88");
        for message in [mended(message.clone()), message, bytes] {
            let _ = Up::read(&message).map(|up| up.verify_own_key(&source).is_some());
            let _ = Down::read(&message).map(|down| down.verify_own_key(&source).is_some());
            let _ = (Control::decode(&message), Answer::read(&message).map(Iterator::count));
            prop_assert!(Attestation::read(&message).and_then(|read| read.verify()).is_none());
            prop_assert!(Endorsement::read(&message).is_none());
        }
    }

    #[test]
    fn a_signed_message_whose_fields_lie_is_refused_or_read_and_never_believed(
        down in down(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), 1_u8..), 1..4),
    ) {
        let source = SourceId::literal("press-88");
        let mut bytes = down.sign(&source, &KEY);
        let whole = bytes.clone();
        for (at, byte) in damage {
            let places = bytes.len() - 8;
            bytes[8 + at.index(places)] ^= byte;
        }
        prop_assume!(bytes != whole);
        if let Ok(read) = Down::read(&mended(bytes)) {
            prop_assert!(read.verify(&source, &KEY.public_key().verifier().unwrap()).is_none());
        }
    }
}

/// One message of each direction with everything in it, for what is too slow to try with many.
fn examples() -> [Vec<u8>; 2] {
    let source = SourceId::literal("press-88");
    let lane = Lane { stream: Stream::Samples, epoch: Epoch::new(u64::MAX) };
    let resume = Resume { lane, end: Sequence::new(300), check: Some(Check(u64::MAX)) };
    let up = Up {
        log_id: [1; 16],
        nonce: Nonce([2; 16]),
        answer: Nonce([3; 16]),
        key: KEY.public_key(),
        instance: Instance([4; 16]),
        clock: ClockReading::default(),
        former: vec![SourceId::literal("press-8")],
        content: UpContent::Control(Control::Ask([resume].into_iter().collect())),
    };
    let down = Down {
        nonce: Nonce([2; 16]),
        answer: Nonce([3; 16]),
        key: KEY.public_key(),
        place: Place { log_id: [1; 16], partition: 0, term: u64::MAX, offset: Offset::new(500) },
        time: Timestamp::clamped(1_631_577_271_000_000),
        is_proved: true,
        endorsements: vec![[5; ENDORSEMENT_LEN]],
        attestation: Some([6; ATTESTATION_LEN]),
        content: Control::Ack([resume].into_iter().collect()),
    };
    [up.sign(&source, &KEY), down.sign(&source, &KEY)]
}

#[test]
fn every_flipped_bit_and_every_cut_of_a_signed_message_is_noticed() {
    for bytes in examples() {
        for bytes in damaged(&bytes) {
            assert!(Up::read(&bytes).is_err() && Down::read(&bytes).is_err());
        }
    }
}

#[test]
fn a_signed_message_that_was_changed_and_has_a_right_crc_again_is_not_believed() {
    let source = SourceId::literal("press-88");
    let is_believed = |bytes: &[u8]| {
        let up = Up::read(bytes).ok().and_then(|up| up.verify_own_key(&source));
        up.is_some() || Down::read(bytes).ok().and_then(|down| down.verify_own_key(&source)).is_some()
    };
    for whole in examples() {
        assert!(is_believed(&mended(whole.clone())));
        for bytes in damaged(&whole).filter(|bytes| bytes.len() > 72 && bytes[..8] == whole[..8]) {
            assert!(!is_believed(&mended(bytes)));
        }
    }
}

#[test]
fn every_flipped_bit_and_every_cut_of_an_attestation_or_endorsement_is_noticed() {
    let statement = Attestation {
        key: KEY.public_key(),
        log_id: [1; 16],
        partition: 0,
        term: 7,
        number: 0,
        end: Offset::new(300),
        time: Timestamp::clamped(5),
        previous: [0; 32],
        hash: Running::default(),
    };
    let is_attested = |bytes: &[u8]| Attestation::read(bytes).and_then(|read| read.verify()).is_some();
    let bytes = statement.sign(&KEY);
    assert!(is_attested(&bytes));
    assert!(damaged(&bytes).all(|bytes| !is_attested(&bytes)));
    for role in [Role::Successor, Role::Colleague] {
        let endorsement = Endorsement { role, log_id: [1; 16], key: OTHER.public_key(), by: KEY.public_key() };
        let bytes = endorsement.sign(&KEY);
        assert_eq!(Endorsement::read(&bytes), Some(endorsement));
        assert!(damaged(&bytes).all(|bytes| Endorsement::read(&bytes).is_none()));
    }
}

#[test]
fn a_signature_in_one_context_means_nothing_in_another() {
    let contexts = [Context::Batch, Context::Control, Context::Attestation, Context::Endorsement, Context::Extract];
    let (hash, verifier) = (sha256(b"anything"), KEY.public_key().verifier().unwrap());
    for signed in contexts {
        let signature = KEY.sign_in(signed, &hash);
        for context in contexts {
            assert_eq!(verifier.verify_in(context, &hash, &signature), context == signed, "{signed:?} {context:?}");
        }
    }
}

#[test]
fn endorsements_lead_from_a_trusted_key_to_the_one_that_signs_or_nowhere() {
    let third = Identity::from_seed(&[7; 32]);
    let log_id = [1; 16];
    let endorse = |by: &Identity, key: &Identity, log_id| {
        let (key, role) = (key.public_key(), Role::Successor);
        Endorsement { role, log_id, key, by: by.public_key() }.sign(by)
    };
    let trusted_by = |endorsements: Vec<[u8; ENDORSEMENT_LEN]>, trusted: PublicKey| {
        let [_, bytes] = examples();
        let mut down = Down::read(&bytes).unwrap().claim().clone();
        (down.key, down.endorsements) = (third.public_key(), endorsements);
        down.trusted_by(&[trusted]).copied()
    };
    let (one, other) = (KEY.public_key(), OTHER.public_key());
    let chain = || vec![endorse(&KEY, &OTHER, log_id), endorse(&OTHER, &third, log_id)];
    assert_eq!(trusted_by(vec![], third.public_key()), Some(third.public_key()));
    assert_eq!(trusted_by(vec![], one), None);
    assert_eq!(trusted_by(chain(), one), Some(one));
    assert_eq!(trusted_by(chain(), other), Some(other));
    assert_eq!(trusted_by(chain()[..1].to_vec(), one), None, "it ends before the key that signs");
    assert_eq!(trusted_by(chain()[1..].to_vec(), one), None, "it begins behind the key that is trusted");
    assert_eq!(trusted_by(vec![chain()[1], chain()[0]], one), None, "out of order");
    assert_eq!(trusted_by(vec![endorse(&KEY, &third, [2; 16])], one), None, "for another log");
}

#[test]
fn a_list_that_is_longer_than_any_may_be_is_refused_before_it_is_read() {
    let longer = |kind: u8, head: &[u8]| {
        let rest = [&[kind][..], head, &[17], &[0; 17 * 4]].concat();
        [b"AFC2", &crc32c(&rest).to_le_bytes()[..], &rest].concat()
    };
    for message in [longer(0, &[1]), longer(1, &[1]), longer(2, &[]), longer(4, &[])] {
        assert_eq!(Control::decode(&message), Err(ControlError::Content));
    }
    let unknown = [b"AFC2", &crc32c(&[7, 0]).to_le_bytes()[..], &[7, 0]].concat();
    assert_eq!(Control::decode(&unknown), Err(ControlError::Content));
}
