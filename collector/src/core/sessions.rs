//! Runs of agents that speak to this collector: the connection and nonce of each, and whether it has proved its key.
//!
//! One agent can have several: a run that was cut off, and the one after it; or, where a machine was cloned, two
//! machines under one name. All that are connected are answered, each over its own nonce.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;

use afferent_protocol::ids::SourceId;
use afferent_protocol::session::Lane;
use afferent_protocol::session::signed::{Instance, Nonce, Up};

use crate::limits::{SESSIONS_CLAIMED_MAX, SESSIONS_PROVED_MAX, SESSIONS_UNPROVED_MAX};

/// The connection that a message came over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MessageConnection {
    /// Its number; later ones have higher numbers.
    pub number: u64,
    /// The client's address.
    pub peer: Option<SocketAddr>,
    /// The name that it is tied to; it differs from the agent's name where the agent speaks under a former name.
    pub name: Option<SourceId>,
    /// Whether a login or a certificate vouches for that name.
    pub is_vouched: bool,
}

/// One run of an agent, as far as it is known.
#[derive(Clone, Debug)]
pub(super) struct Session {
    pub instance: Instance,
    pub nonce: Nonce,
    pub connection: Option<MessageConnection>,
    pub is_proved: bool,
    /// The number of the newest attestation that was sent to it, plus 1.
    pub attested: u64,
    /// The lanes of its newest hello.
    pub lanes: Vec<Lane>,
    /// When its nonce was first received, by the collector's monotonic clock.
    pub heard_us: Option<u64>,
    /// The boot of its machine.
    boot: [u8; 16],
    /// The number of its newest hello.
    hello: Option<u32>,
    /// Number of runs that had shown themselves when this one did.
    run: u64,
}

/// Two machines that send as one source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Clones {
    pub boots: [[u8; 16]; 2],
    pub addresses: String,
}

/// The result of a proved hello.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct ProvedHello {
    /// Whether it is newer than all hellos of this run before.
    pub is_new: bool,
    /// This run has proved its key again after a different run did.
    pub clones: Option<Clones>,
}

#[derive(Debug, Default)]
struct AgentSessions {
    sessions: Vec<Session>,
    runs: u64,
}

/// The sessions of all agents.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    agents: BTreeMap<SourceId, AgentSessions>,
    /// Names in the order of their first claim. A claim costs a stranger nothing: their number is limited.
    claims: VecDeque<SourceId>,
}

impl Sessions {
    /// The number of runs of the agent that have shown themselves.
    pub fn runs(&self, agent: &SourceId) -> u64 {
        self.agents.get(agent).map_or(0, |of_agent| of_agent.runs)
    }

    /// An agent has sent a hello that is not proved: it gets an answer, and changes nothing.
    pub fn claimed(&mut self, agent: SourceId, up: &Up, connection: Option<MessageConnection>) {
        if !self.agents.contains_key(&agent) {
            self.make_room_for_claim();
            self.claims.push_back(agent);
        }
        let of_agent = self.agents.entry(agent).or_default();
        if of_agent.sessions.iter().any(|session| session.nonce == up.nonce) {
            return;
        }
        let unproved = |session: &Session| !session.is_proved;
        of_agent.forget_all_but(SESSIONS_UNPROVED_MAX - 1, unproved);
        of_agent.sessions.push(Session::new(up, connection, 0));
    }

    /// Records that a run of the agent has proved its key, with the hello of this number.
    pub fn record_proof(
        &mut self,
        agent: SourceId,
        up: &Up,
        hello: u32,
        connection: Option<MessageConnection>,
    ) -> ProvedHello {
        let of_agent = self.agents.entry(agent).or_default();
        // Whatever this run has claimed, also over another nonce, is proved or over now.
        let is_of_run = |session: &Session| session.nonce == up.nonce || session.instance == up.instance;
        of_agent.sessions.retain(|session| session.is_proved || !is_of_run(session));
        let Some(at) = of_agent.sessions.iter().position(|known| known.instance == up.instance) else {
            of_agent.forget_all_but(SESSIONS_PROVED_MAX - 1, |session| session.is_proved);
            of_agent.runs += 1;
            let run = of_agent.runs;
            let session = Session { is_proved: true, hello: Some(hello), ..Session::new(up, connection, run) };
            of_agent.sessions.push(session);
            return ProvedHello { is_new: true, clones: None };
        };
        // The newest session is the last.
        let mut known = of_agent.sessions.remove(at);
        // A run counts its hellos over all its connections: a recorded hello brings no ended connection back.
        let is_new = known.hello.is_none_or(|before| hello.wrapping_sub(before) as i32 > 0);
        if is_new {
            let attested = if known.nonce == up.nonce { known.attested } else { 0 };
            let run = known.run;
            known = Session { is_proved: true, hello: Some(hello), attested, ..Session::new(up, connection, run) };
        }
        let later = of_agent.sessions.iter().find(|other| other.is_proved && other.run > known.run);
        let clones = later.filter(|_| is_new).map(|later| Clones {
            boots: [known.boot, later.boot],
            addresses: format!("{} and {}", address(&known), address(later)),
        });
        of_agent.sessions.push(known);
        ProvedHello { is_new, clones }
    }

    /// The sessions over which an agent is answered: all proved ones, and those that wait for their challenge.
    pub fn of(&self, agent: &SourceId) -> impl Iterator<Item = &Session> {
        self.agents.get(agent).into_iter().flat_map(|of_agent| &of_agent.sessions)
    }

    /// The session over this nonce.
    pub fn with(&mut self, agent: &SourceId, nonce: Nonce) -> Option<&mut Session> {
        self.agents.get_mut(agent)?.sessions.iter_mut().find(|session| session.nonce == nonce)
    }

    /// Proved runs beside the one over this nonce that may still be connected.
    pub fn beside(&self, agent: &SourceId, nonce: Nonce) -> impl Iterator<Item = &Session> {
        self.of(agent).filter(move |session| session.is_proved && session.is_there() && session.nonce != nonce)
    }

    /// A connection has ended; returns whether it was the agent's last one with a proved key.
    pub fn closed(&mut self, agent: &SourceId, number: u64) -> bool {
        self.end(agent, |session| session.connection.is_some_and(|connection| connection.number == number))
    }

    /// The connection over this nonce has ended, as the agent or its last will reports; returns whether it was the
    /// agent's last one with a proved key.
    pub fn left(&mut self, agent: &SourceId, nonce: Nonce) -> bool {
        self.end(agent, |session| session.nonce == nonce)
    }

    /// Ended runs stay known, so that one which comes back does not count as new.
    fn end(&mut self, agent: &SourceId, gone: impl Fn(&Session) -> bool) -> bool {
        let Some(of_agent) = self.agents.get_mut(agent) else { return false };
        let was_there = of_agent.is_there();
        of_agent.sessions.retain_mut(|session| {
            if gone(session) {
                session.leave();
            }
            session.is_proved || session.is_there()
        });
        let is_gone = was_there && !of_agent.is_there();
        if of_agent.is_forgettable() && of_agent.sessions.is_empty() {
            self.agents.remove(agent);
        }
        is_gone
    }

    /// Forgets a name that has delivered nothing, with its runs. A proved hello that was recorded some minutes ago
    /// would count once more, for a name without events.
    pub fn forget(&mut self, agent: &SourceId) {
        self.agents.remove(agent);
    }

    /// Forgets names without a proved key, the oldest claims first, until there is room for a new one.
    fn make_room_for_claim(&mut self) {
        while self.claims.len() >= SESSIONS_CLAIMED_MAX {
            let oldest = self.claims.pop_front().expect("there are some");
            if self.agents.get(&oldest).is_some_and(AgentSessions::is_forgettable) {
                self.agents.remove(&oldest);
            }
        }
    }
}

impl AgentSessions {
    /// Whether a proved run is connected.
    fn is_there(&self) -> bool {
        self.sessions.iter().any(|session| session.is_proved && session.is_there())
    }

    /// Whether no run has proved its key: challenges count the runs, so that an agent with a proved run is never
    /// forgotten.
    fn is_forgettable(&self) -> bool {
        self.runs == 0
    }

    /// Forgets the oldest sessions that `which` selects until `count` are left.
    fn forget_all_but(&mut self, count: usize, which: impl Fn(&Session) -> bool) {
        while self.sessions.iter().filter(|session| which(session)).count() > count {
            let oldest = self.sessions.iter().position(&which).expect("there are some");
            self.sessions.remove(oldest);
        }
    }
}

impl Session {
    fn new(up: &Up, connection: Option<MessageConnection>, run: u64) -> Self {
        let (instance, nonce, boot) = (up.instance, up.nonce, up.clock.boot);
        let (is_proved, attested, lanes) = (false, 0, Vec::new());
        Self { instance, nonce, connection, is_proved, attested, lanes, heard_us: None, boot, hello: None, run }
    }

    /// Whether it is connected, as far as is known.
    pub fn is_there(&self) -> bool {
        self.nonce != Nonce::NONE
    }

    fn leave(&mut self) {
        (self.nonce, self.connection) = (Nonce::NONE, None);
    }
}

fn address(session: &Session) -> String {
    let peer = session.connection.and_then(|connection| connection.peer);
    peer.map_or_else(|| "an address that a broker hides".to_owned(), |peer| peer.ip().to_string())
}

#[cfg(test)]
mod tests {
    use afferent_protocol::batch::ClockReading;
    use afferent_protocol::session::signed::UpContent;
    use afferent_protocol::sign::PublicKey;

    use super::*;

    const AGENT: SourceId = SourceId::literal("press");

    fn up(instance: u8, nonce: u8) -> Up {
        Up {
            log_id: [0; 16],
            nonce: Nonce([nonce; 16]),
            answer: Nonce::NONE,
            key: PublicKey([0; 32]),
            instance: Instance([instance; 16]),
            clock: ClockReading { boot: [instance; 16], ..ClockReading::default() },
            former: Vec::new(),
            content: UpContent::State { online: true },
        }
    }

    #[test]
    fn a_run_that_proves_itself_again_after_another_did_means_two_machines() {
        let mut sessions = Sessions::default();
        assert_eq!(sessions.record_proof(AGENT, &up(1, 1), 1, None), ProvedHello { is_new: true, clones: None });
        assert_eq!(sessions.record_proof(AGENT, &up(2, 2), 1, None).clones, None, "a restart, as far as is known");
        assert_eq!(sessions.record_proof(AGENT, &up(2, 2), 2, None).clones, None, "the newest may go on");
        assert_eq!(
            sessions.record_proof(AGENT, &up(1, 1), 1, None),
            ProvedHello::default(),
            "what was said before is no news"
        );
        let shown = sessions.record_proof(AGENT, &up(1, 1), 2, None);
        assert_eq!(shown.clones.unwrap().boots, [[1; 16], [2; 16]]);
        assert_eq!(sessions.of(&AGENT).count(), 2, "both are answered");
    }

    #[test]
    fn sessions_are_bounded_and_the_oldest_goes() {
        let mut sessions = Sessions::default();
        for index in 1..=100 {
            sessions.claimed(AGENT, &up(index, index), None);
        }
        assert_eq!(sessions.of(&AGENT).count(), SESSIONS_UNPROVED_MAX);
        for index in 1..=100 {
            sessions.record_proof(AGENT, &up(index, index), 1, None);
        }
        let proved = sessions.of(&AGENT).filter(|session| session.is_proved).count();
        assert_eq!(proved, SESSIONS_PROVED_MAX);
    }

    #[test]
    fn a_run_that_proves_itself_over_its_second_claim_is_a_run_like_any_other() {
        let mut sessions = Sessions::default();
        sessions.record_proof(AGENT, &up(1, 1), 1, None);
        for instance in 2..20 {
            sessions.claimed(AGENT, &up(instance, instance), None);
            sessions.claimed(AGENT, &up(instance, 100 + instance), None);
            let shown = sessions.record_proof(AGENT, &up(instance, 100 + instance), 1, None);
            assert_eq!(shown, ProvedHello { is_new: true, clones: None }, "a restart, as far as is known");
        }
        assert_eq!(sessions.runs(&AGENT), 19);
        let of_agent: Vec<_> = sessions.of(&AGENT).collect();
        assert!(of_agent.iter().all(|session| session.is_proved), "no claim of a proved run is left");
        assert_eq!(of_agent.len(), SESSIONS_PROVED_MAX);
    }

    #[test]
    fn names_that_are_only_claimed_are_bounded_and_a_proved_one_stays() {
        let mut sessions = Sessions::default();
        sessions.claimed(AGENT, &up(1, 1), None);
        sessions.record_proof(AGENT, &up(1, 1), 1, None);
        for index in 0..2 * SESSIONS_CLAIMED_MAX {
            let name = SourceId::new(&format!("stranger-{index}")).unwrap();
            sessions.claimed(name, &up(2, 2), None);
        }
        assert!(sessions.agents.len() <= SESSIONS_CLAIMED_MAX + 1, "{}", sessions.agents.len());
        assert_eq!((sessions.runs(&AGENT), sessions.of(&AGENT).count()), (1, 1));
        let newest = SourceId::new(&format!("stranger-{}", 2 * SESSIONS_CLAIMED_MAX - 1)).unwrap();
        assert_eq!(sessions.of(&newest).count(), 1, "the newest claim is answered");
        assert!(!sessions.left(&newest, Nonce([2; 16])), "who has proved nothing was never there");
        assert!(!sessions.agents.contains_key(&newest));
    }

    #[test]
    fn a_client_that_left_gets_no_answer_and_is_known_when_it_comes_back() {
        let mut sessions = Sessions::default();
        let over = |number| Some(MessageConnection { number, peer: None, name: None, is_vouched: false });
        sessions.record_proof(AGENT, &up(1, 1), 1, over(5));
        sessions.record_proof(AGENT, &up(2, 2), 1, over(6));
        assert!(!sessions.closed(&AGENT, 5), "another one is there");
        assert!(sessions.left(&AGENT, Nonce([2; 16])), "none is");
        assert!(!sessions.of(&AGENT).any(Session::is_there));
        let replayed = sessions.record_proof(AGENT, &up(2, 2), 1, over(7));
        assert_eq!(replayed, ProvedHello::default(), "a recorded hello brings nobody back");
        assert!(!sessions.of(&AGENT).any(Session::is_there));
        assert!(sessions.record_proof(AGENT, &up(1, 3), 2, over(7)).clones.is_some());
    }

    #[test]
    fn a_recorded_hello_of_an_earlier_connection_takes_nothing_over() {
        let mut sessions = Sessions::default();
        let over = |number| Some(MessageConnection { number, peer: None, name: None, is_vouched: false });
        sessions.record_proof(AGENT, &up(1, 1), 1, over(5));
        assert!(sessions.record_proof(AGENT, &up(1, 2), 2, over(6)).is_new, "the run goes on over another connection");
        assert_eq!(sessions.record_proof(AGENT, &up(1, 1), 1, over(7)), ProvedHello::default());
        assert_eq!(sessions.of(&AGENT).map(|session| session.nonce).collect::<Vec<_>>(), [Nonce([2; 16])]);
    }
}
