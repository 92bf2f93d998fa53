//! The signed state of a connection, which an agent publishes before and beside the session.

use std::fmt::Write;
use std::sync::Arc;

use afferent_protocol::batch::ClockReading;
use afferent_protocol::ids::SourceId;
use afferent_protocol::session::signed::{Instance, Nonce, Up, UpContent};

use crate::ring_log::RingIdentity;

/// Signs for the agent.
#[derive(Clone)]
pub struct Speaker {
    /// The agent's name and key.
    pub who: RingIdentity,
    /// The agent's run.
    pub instance: Instance,
    /// Names that it had before and still holds events under.
    pub former: Arc<[SourceId]>,
    /// Reads the machine's clocks.
    pub clock: Arc<dyn Fn() -> ClockReading + Send + Sync>,
}

impl std::fmt::Debug for Speaker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Speaker").field("who", &self.who).finish_non_exhaustive()
    }
}

impl Speaker {
    /// The name and the beginning of the instance: two machines with one name each keep their connection.
    pub fn client_id(&self) -> String {
        let mut id = format!("{}.", self.who.source);
        for byte in &self.instance.0[..4] {
            let _ = write!(id, "{byte:02x}");
        }
        id
    }

    /// The signed message that states whether the connection with this nonce is up.
    pub fn state(&self, nonce: Nonce, online: bool) -> Vec<u8> {
        let up = Up {
            log_id: [0; 16],
            nonce,
            answer: Nonce::NONE,
            key: self.who.identity.public_key(),
            instance: self.instance,
            clock: (self.clock)(),
            former: Vec::new(),
            content: UpContent::State { online },
        };
        up.sign(&self.who.source, &self.who.identity)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ring_log::tests::{clock, who};

    #[test]
    fn a_state_is_signed_over_the_nonce_of_its_connection() {
        let speaker = Speaker {
            who: who("press-1"),
            instance: Instance([0xAB; 16]),
            former: Arc::default(),
            clock: Arc::new(clock),
        };
        assert_eq!(speaker.client_id(), "press-1.abababab");
        for online in [true, false] {
            let message = speaker.state(Nonce([7; 16]), online);
            let said = Up::read(&message).unwrap().verify_own_key(&speaker.who.source).unwrap();
            assert_eq!((said.nonce, said.instance), (Nonce([7; 16]), speaker.instance));
            assert_eq!(said.content, UpContent::State { online });
            // The control: about another agent it says nothing.
            assert!(Up::read(&message).unwrap().verify_own_key(&who("press-2").source).is_none());
        }
    }
}
