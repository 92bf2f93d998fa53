//! What a hello must repeat to count: it shows that the holder of the key has made the hello a moment ago.
//!
//! The collector stores nothing for a challenge. It is a keyed hash over the agent's name, the nonce of its connection,
//! the minute, and how many runs of the agent have shown themselves: an answer to it is younger than the newest of
//! them.

use afferent_protocol::ids::SourceId;
use afferent_protocol::session::signed::Nonce;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::limits::CHALLENGE_MINUTES;

/// Makes and checks challenges.
pub(super) struct Challenges {
    secret: [u8; 32],
}

impl Challenges {
    /// With a secret that no other process has.
    pub fn new(secret: [u8; 32]) -> Self {
        Self { secret }
    }

    /// The challenge of this minute.
    pub fn make(&self, agent: &SourceId, nonce: Nonce, runs: u64, monotonic_us: u64) -> Nonce {
        self.of_minute(agent, nonce, runs, minute(monotonic_us))
    }

    /// Whether this is the challenge of this minute or of one of the few before.
    pub fn is_answered(&self, agent: &SourceId, nonce: Nonce, runs: u64, monotonic_us: u64, answer: Nonce) -> bool {
        let now = minute(monotonic_us);
        (0..=CHALLENGE_MINUTES)
            .any(|age| now.checked_sub(age).is_some_and(|minute| self.of_minute(agent, nonce, runs, minute) == answer))
    }

    /// HMAC-SHA-256 (RFC 2104), cut to 16 bytes.
    fn of_minute(&self, agent: &SourceId, nonce: Nonce, runs: u64, minute: u64) -> Nonce {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.secret).expect("a key of any length will do");
        for part in [&nonce.0[..], &runs.to_le_bytes(), &minute.to_le_bytes(), agent.as_bytes()] {
            mac.update(part);
        }
        Nonce(*mac.finalize().into_bytes().first_chunk().expect("a hash has 32 bytes"))
    }
}

fn minute(monotonic_us: u64) -> u64 {
    monotonic_us / 60_000_000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_counts_for_its_agent_its_connection_and_some_minutes() {
        let challenges = Challenges::new([7; 32]);
        let (agent, other) = (SourceId::literal("a"), SourceId::literal("b"));
        let (nonce, minute) = (Nonce([1; 16]), 60_000_000);
        let made = challenges.make(&agent, nonce, 1, 10 * minute);
        let counts = |agent, nonce, runs, at| challenges.is_answered(agent, nonce, runs, at, made);
        assert!(counts(&agent, nonce, 1, 10 * minute) && counts(&agent, nonce, 1, (10 + CHALLENGE_MINUTES) * minute));
        assert!(!counts(&agent, nonce, 1, (11 + CHALLENGE_MINUTES) * minute), "too late");
        assert!(!counts(&other, nonce, 1, 10 * minute) && !counts(&agent, Nonce([2; 16]), 1, 10 * minute));
        assert!(!counts(&agent, nonce, 2, 10 * minute), "another run has shown itself since");
        assert!(!Challenges::new([8; 32]).is_answered(&agent, nonce, 1, 10 * minute, made), "another collector");
    }
}
