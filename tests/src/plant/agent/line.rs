//! What goes over an agent's line, and what comes.

use std::collections::BTreeMap;

use afferent_agent::core::Outgoing;
use afferent_agent::keep::Keepsake;
use afferent_protocol::batch::split;
use afferent_protocol::piece::PieceHead;
use afferent_protocol::session::signed::{Down, Nonce};
use afferent_protocol::session::{Check, Control, Held, Lane, Resume};
use afferent_protocol::sign::Identity;

use super::{AgentNode, Life, Stop};
use crate::faults::Fault;
use crate::plant::{Failure, World};
use crate::planted::Planted;
use crate::said;
use crate::sim_disk::SimDisk;

/// Messages that are handed to the transport in one go.
const MESSAGES_A_TURN: usize = 4;

impl AgentNode {
    pub(super) fn connect(&mut self, world: &mut World) {
        if let Some(life) = &mut self.life
            && life.connect_at_us.is_some_and(|at_us| at_us <= world.now_us)
        {
            life.connect_at_us = None;
            world.net.connect(world.now_us, self.index);
        }
    }

    pub(super) fn send(&mut self, world: &mut World) -> Result<(), Failure> {
        let now = self.now(world.now_us);
        for turn in 0.. {
            let Some(life) = &mut self.life else { return Ok(()) };
            if life.poll_at_us.is_none_or(|at_us| at_us > world.now_us) {
                return Ok(());
            }
            if turn == MESSAGES_A_TURN {
                life.poll_at_us = Some(world.now_us + 1_000);
                return Ok(());
            }
            while let Some(keepsake) = life.core.keepsake(&now, false) {
                match keepsake {
                    Keepsake::Pins(pins) => life.core.pinned(pins, &now),
                    Keepsake::Receipt(receipt) => self.kept.receipt = Some(receipt),
                    Keepsake::Attestations(attestations) => self.kept.attestations = attestations,
                }
            }
            let before = firsts(life);
            let mut message = std::mem::take(&mut life.message);
            let outgoing = life.core.poll(&now, &mut message);
            if self.disk.is_stopped() {
                self.stop_if_planned(world);
                return Ok(());
            }
            self.check_releases(world, &before)?;
            let Some(life) = &mut self.life else { return Ok(()) };
            match outgoing {
                Outgoing::Wait { until_ms } => life.poll_at_us = until_ms.map(|ms| (ms * 1000).max(world.now_us + 1)),
                Outgoing::Reconnect => {
                    world.tell(format_args!("{} reconnects", self.label));
                    life.core.link_down();
                    world.net.disconnect(self.index);
                    life.connect_at_us = Some(world.now_us + self.rng.between(1_000, 300_000));
                    life.poll_at_us = None;
                }
                Outgoing::Message(_) => {
                    for message in in_pieces(&message, world.settings.cuts) {
                        self.publish(world, &message);
                    }
                }
            }
            if let Some(life) = &mut self.life {
                life.message = message;
            }
        }
        Ok(())
    }

    /// What the agent has let go of must have been acked, unless it found it damaged.
    fn check_releases(&self, world: &World, before: &BTreeMap<Lane, (u64, u64)>) -> Result<(), Failure> {
        let Some(life) = &self.life else { return Ok(()) };
        let counts = self.counts();
        let files_lost = world.oracle.excuses[self.index].files_lost;
        if counts.of(Fault::BitRot) > 0 || counts.of(Fault::ReadError) > 0 || files_lost {
            return Ok(());
        }
        let after = firsts(life);
        for (lane, (first, end)) in before {
            let released = after.get(lane).map_or(*end, |(first, _)| *first);
            if released > *first {
                world.oracle.released(self.index, *lane, released).map_err(Failure)?;
            }
        }
        Ok(())
    }

    fn publish(&mut self, world: &mut World, message: &[u8]) {
        let number = world.net.publish(world.now_us, self.index, message.to_vec());
        world.tell(format_args!("{} sends {}", self.label, describe(message)));
        let batches = split(message).map_while(Result::ok).map(|batch| Resume {
            lane: Lane { stream: batch.header().stream, epoch: batch.header().epoch },
            end: batch.header().end(),
            check: Some(Check::of(&batch.chain_hash())),
        });
        match world.settings.planted {
            Planted::ReleaseOnSend => {
                let key = world.collector_key.clone();
                batches.for_each(|resume| self.forge_ack(&key, world.now_us, resume));
            }
            Planted::ReleaseOnPuback => {
                if let Some(life) = &mut self.life {
                    life.unconfirmed.insert(number, batches.collect());
                }
            }
            _ => {}
        }
    }

    /// A bug's doing: takes something for the collector's ack that is none.
    fn forge_ack(&mut self, world_key: &Identity, now_us: u64, resume: Resume) {
        let now = self.now(now_us);
        if let Some(life) = &mut self.life {
            let ack = Control::Ack([resume].into_iter().collect());
            let forged = said::down(&self.name, world_key, life.core.nonce(), self.place, ack);
            life.core.receive(&forged, &now);
            life.poll_at_us = Some(now_us);
        }
    }

    /// The connection stands.
    pub fn connected(&mut self, world: &World) {
        if let Some(life) = &mut self.life {
            life.core.link_up(Nonce(self.rng.bytes()));
            life.poll_at_us = Some(world.now_us);
        }
    }

    /// The connection is gone.
    pub fn closed(&mut self, world: &World) {
        if let Some(life) = &mut self.life {
            life.core.link_down();
            life.poll_at_us = None;
            life.connect_at_us = Some(world.now_us + self.rng.between(1_000, 500_000));
        }
    }

    /// A message came in.
    pub fn receive(&mut self, world: &mut World, payload: &[u8]) {
        let now = self.now(world.now_us);
        if let Some(down) = Down::read(payload).ok().and_then(|said| said.verify_own_key(&self.name))
            && down.key == world.collector_key.public_key()
        {
            self.place = down.place;
        }
        if let Some(life) = &mut self.life {
            life.core.receive(payload, &now);
            life.poll_at_us = Some(world.now_us);
        }
        let parted = matches!(said::heard(payload), Some(Control::Common(_)));
        if parted && world.settings.planted == Planted::DropOnDivergence {
            self.stop(world, Stop::Crash);
            self.disk = SimDisk::new(self.rng.fork());
            self.witness = SimDisk::new(self.rng.fork());
        }
    }

    /// The next hop has confirmed a message. It means nothing, but to a bug.
    pub fn puback(&mut self, world: &mut World, message: u64) {
        let confirmed = self.life.as_mut().and_then(|life| life.unconfirmed.remove(&message));
        for resume in confirmed.into_iter().flatten() {
            self.forge_ack(&world.collector_key.clone(), world.now_us, resume);
        }
    }
}

/// A message as it goes over a line that takes no whole batches: each in up to so many pieces. Control messages stay whole,
/// and so does what `cuts` is 0 for.
fn in_pieces(message: &[u8], cuts: usize) -> Vec<Vec<u8>> {
    let batches: Result<Vec<_>, _> = split(message).collect();
    let Some(batches) = batches.ok().filter(|_| cuts > 0) else { return vec![message.to_vec()] };
    let mut pieces = Vec::new();
    for batch in batches {
        let (header, bytes) = (batch.header(), batch.bytes());
        let lane = Lane { stream: header.stream, epoch: header.epoch };
        let step = bytes.len().div_ceil(cuts);
        for at in (0..bytes.len()).step_by(step) {
            let head = PieceHead { crc: header.crc.to_le_bytes(), lane, len: bytes.len(), at };
            pieces.push([&head.encode(), &bytes[at..(at + step).min(bytes.len())]].concat());
        }
    }
    pieces
}

/// What each lane holds.
fn firsts(life: &Life) -> BTreeMap<Lane, (u64, u64)> {
    life.core.ring().held().iter().map(|held| (held.lane, (held.first.get(), held.end.get()))).collect()
}

/// A message in a few words.
pub fn describe(message: &[u8]) -> String {
    if let Some(control) = said::said(message).or_else(|| said::heard(message)) {
        return match control {
            Control::Hello(hello) => {
                let lane =
                    |held: &Held| format!(" {}-{}:{}..{}", held.lane.stream, held.lane.epoch, held.first, held.end);
                format!("hello {}{}", hello.session, hello.lanes.iter().map(lane).collect::<String>())
            }
            Control::Welcome(welcome) => {
                let lane = |resume: &Resume| format!(" {}-{}:{}", resume.lane.stream, resume.lane.epoch, resume.end);
                format!("welcome {}{}", welcome.session, welcome.lanes.iter().map(lane).collect::<String>())
            }
            Control::Ack(lanes) => {
                let lane = |resume: &Resume| format!(" {}-{}:{}", resume.lane.stream, resume.lane.epoch, resume.end);
                format!("ack{}", lanes.iter().map(lane).collect::<String>())
            }
            Control::Nack { lane, from } => format!("nack {}-{}:{from}", lane.stream, lane.epoch),
            other => format!("{other:?}"),
        };
    }
    let batch = |batch: afferent_protocol::batch::Batch<'_>| {
        let header = batch.header();
        format!(" {}-{}:{}..{}", header.stream, header.epoch, header.first, header.end())
    };
    let batches: String = split(message).map(|each| each.map_or_else(|_| " damaged".to_owned(), batch)).collect();
    format!("batches{batches}")
}
