//! Who this controller is and which boot this is: a unique number that was there from the beginning, and a counter of
//! boots on flash. Parts with a random number generator need neither.

use crate::nor;

pub struct Identity {
    pub count: u32,
    pub boot: [u8; 16],
    pub entropy: u64,
}

/// Counts this boot. The counter is one word for every boot, zero once it is over; when all are, it begins anew, and so
/// do the names of boots: after 4096 of them.
pub fn of_this_boot() -> Identity {
    let mut words = nor::BOOTS.step_by(4).enumerate();
    let free = words.find(|(_, offset)| word_at(*offset) == u32::MAX);
    let (count, offset) = free.unwrap_or_else(|| {
        nor::erase(nor::BOOTS.start, nor::BOOTS.end).expect("whole sectors");
        (0, nor::BOOTS.start)
    });
    nor::write(offset, &0_u32.to_le_bytes()).expect("it was erased");

    let mut boot = [0; 16];
    nor::read(nor::UNIQUE, &mut boot).expect("it is within the flash");
    let count = count as u32;
    for (byte, more) in boot.iter_mut().zip(count.to_le_bytes()) {
        *byte ^= more;
    }
    let (a, b) = boot.split_at(8);
    let word = |bytes: &[u8]| bytes.iter().fold(0_u64, |word, byte| word << 8 | u64::from(*byte));
    let entropy = word(a) ^ word(b).rotate_left(32) ^ u64::from(count) << 17;
    Identity { count, boot, entropy }
}

fn word_at(offset: u32) -> u32 {
    let mut bytes = [0; 4];
    nor::read(offset, &mut bytes).expect("it is within the flash");
    u32::from_le_bytes(bytes)
}
