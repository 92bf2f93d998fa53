//! The one source of chance: xoshiro256** (Blackman and Vigna, 2018), seeded through splitmix64.
//!
//! It is written out here so that a seed means the same run forever, whatever a library's next version does.

/// A stream of random numbers that a seed decides.
#[derive(Clone, Debug)]
pub struct Rng([u64; 4]);

impl Rng {
    /// The stream of this seed.
    pub fn new(seed: u64) -> Self {
        let mut state = seed;
        Self(std::array::from_fn(|_| {
            state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
            let mixed = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            mixed ^ (mixed >> 31)
        }))
    }

    /// A separate stream for one part of the simulation, so that its draws do not shift those of other parts.
    pub fn fork(&mut self) -> Self {
        Self::new(self.number())
    }

    /// Any number.
    pub fn number(&mut self) -> u64 {
        let state = &mut self.0;
        let number = state[1].wrapping_mul(5).rotate_left(7).wrapping_mul(9);
        let shifted = state[1] << 17;
        state[2] ^= state[0];
        state[3] ^= state[1];
        state[1] ^= state[2];
        state[0] ^= state[3];
        state[2] ^= shifted;
        state[3] = state[3].rotate_left(45);
        number
    }

    /// A number below `end`, which is not zero. The bias for such small ends does not matter here.
    pub fn below(&mut self, end: u64) -> u64 {
        assert!(end > 0, "there is no number below zero");
        ((u128::from(self.number()) * u128::from(end)) >> 64) as u64
    }

    /// A number from `first` up to and not including `end`.
    pub fn between(&mut self, first: u64, end: u64) -> u64 {
        first + self.below(end - first)
    }

    /// An index into something with `len` elements.
    pub fn index(&mut self, len: usize) -> usize {
        self.below(len as u64) as usize
    }

    /// True with a chance of `parts` in a thousand.
    pub fn per_mille(&mut self, parts: u32) -> bool {
        parts > 0 && self.below(1000) < u64::from(parts)
    }

    /// True half of the time.
    pub fn coin(&mut self) -> bool {
        self.number() >> 63 == 1
    }

    /// Random bytes.
    pub fn bytes<const N: usize>(&mut self) -> [u8; N] {
        std::array::from_fn(|_| self.number() as u8)
    }
}
