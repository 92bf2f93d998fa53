//! Attestations and endorsements: any bytes are one or none; what is read is signed again to what reads the same; nobody
//! signs by chance with a key that signed no seed.
#![no_main]

use afferent_protocol::attestation::{ATTESTATION_LEN, Attestation};
use afferent_protocol::endorsement::{ENDORSEMENT_LEN, Endorsement, Role};
use afferent_protocol::sign::{Identity, PublicKey};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let identity = Identity::from_seed(&[1; 32]);
    // The seeds are signed, and may come as they are.
    let _ = (Attestation::read(bytes).and_then(|read| read.verify()), Endorsement::read(bytes));
    // Version and length would keep nearly everything out: mend them, and the key.
    let mut statement = bytes.to_vec();
    statement.resize(ATTESTATION_LEN, 0);
    statement[0] = 1;
    statement[1..33].copy_from_slice(&identity.public_key().0);
    if let Some(read) = Attestation::read(&statement) {
        assert!(read.verify().is_none());
        let attestation = *read.claim();
        let signed = attestation.sign(&identity);
        assert_eq!(signed[..149], statement[..149]);
        assert_eq!(Attestation::read(&signed).and_then(|read| read.verify()), Some(attestation));
    }
    statement.truncate(ENDORSEMENT_LEN);
    assert!(Endorsement::read(&statement).is_none());
    let array = |at: usize| statement[at..at + 32].try_into().expect("32 bytes");
    let endorsement = Endorsement {
        role: if statement[1] & 1 == 0 { Role::Successor } else { Role::Colleague },
        log_id: statement[2..18].try_into().expect("16 bytes"),
        key: PublicKey(array(18)),
        by: identity.public_key(),
    };
    assert_eq!(Endorsement::read(&endorsement.sign(&identity)), Some(endorsement));
});
