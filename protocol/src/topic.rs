//! MQTT topics: built and parsed here and nowhere else.
//!
//! `afferent/v1/{shard}/{agent}/{up|down|state}`, where `shard` is two decimal digits, FNV-1a of the agent's name
//! modulo 64, fixed forever, so that a cluster of collectors can split the work by topic.

use core::fmt::Write;

use crate::ids::SourceId;

/// How many shards there are.
pub const SHARDS: u8 = 64;
/// What a collector subscribes to behind an external broker, for everything agents send.
pub const UP_FILTER: &str = "afferent/v1/+/+/up";
/// What a collector subscribes to for the agents' states.
pub const STATE_FILTER: &str = "afferent/v1/+/+/state";

/// Longest topic, in bytes.
pub const TOPIC_BYTES_MAX: usize = 96;

/// The topic as text.
pub type TopicText = heapless::String<TOPIC_BYTES_MAX>;

/// Which of an agent's topics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Leaf {
    /// From the agent: batches and control messages.
    Up,
    /// To the agent: control messages.
    Down,
    /// Retained, with the last will: `online` or `offline`.
    State,
}

/// An agent's topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Topic {
    /// Whose it is.
    pub agent: SourceId,
    /// The kind of messages on the topic.
    pub leaf: Leaf,
}

impl Topic {
    /// The topic as text.
    pub fn text(&self) -> TopicText {
        let leaf = match self.leaf {
            Leaf::Up => "up",
            Leaf::Down => "down",
            Leaf::State => "state",
        };
        let mut text = TopicText::new();
        write!(text, "afferent/v1/{:02}/{}/{leaf}", shard(&self.agent), self.agent)
            .expect("prefix, shard, 63 bytes of name and leaf fit");
        text
    }

    /// Reads a topic name; `None` for anything that [`Topic::text`] does not make, a wrong shard included.
    pub fn parse(text: &str) -> Option<Self> {
        let mut levels = text.strip_prefix("afferent/v1/")?.split('/');
        let (given_shard, agent, leaf) = (levels.next()?, levels.next()?, levels.next()?);
        if levels.next().is_some() {
            return None;
        }
        let leaf = match leaf {
            "up" => Leaf::Up,
            "down" => Leaf::Down,
            "state" => Leaf::State,
            _ => return None,
        };
        let topic = Self { agent: SourceId::new(agent).ok()?, leaf };
        let digits = given_shard.as_bytes();
        let expected = shard(&topic.agent);
        (digits == [b'0' + expected / 10, b'0' + expected % 10]).then_some(topic)
    }
}

/// The shard of an agent: FNV-1a (64 bit) of its name, modulo [`SHARDS`].
pub fn shard(agent: &SourceId) -> u8 {
    let hash = agent
        .as_str()
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
    (hash % u64::from(SHARDS)) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_survive_the_way_to_text_and_back() {
        for agent in ["press-88", "a", &"x".repeat(63)] {
            for leaf in [Leaf::Up, Leaf::Down, Leaf::State] {
                let topic = Topic { agent: SourceId::new(agent).unwrap(), leaf };
                assert_eq!(Topic::parse(&topic.text()), Some(topic));
            }
        }
    }

    #[test]
    fn the_shard_of_a_name_is_fixed_for_ever() {
        assert_eq!(shard(&SourceId::new("press-88").unwrap()), 19);
        assert_eq!(shard(&SourceId::new("a").unwrap()), 12);
    }

    #[test]
    fn foreign_topics_are_no_topics_of_ours() {
        let press = Topic { agent: SourceId::new("press-88").unwrap(), leaf: Leaf::Up }.text();
        for text in
            ["", "ä/b", "afferent/v1/00/press-88/up", "afferent/v1/+/press-88/up", "afferent/v1/12/a/up/x", "a\0b"]
        {
            assert_ne!(text, press.as_str());
            assert_eq!(Topic::parse(text), None, "{text:?}");
        }
    }
}
