//! What a forward keeps, and whose word on it counts.

use std::sync::Mutex;

use afferent_protocol::ids::{Offset, SourceId};
use tokio::sync::watch;

use super::checkpoint::{Checkpoint, ForwardFiles};
use super::named::{BeginError, Forward, Order, State, Stuck};
use super::status::Progress;
use crate::log::ReadLog;
use crate::log::address::Partition;
use crate::log::memory::{MemoryLog, sample};
use crate::subscribe::{Filter, Start};
use crate::terms::{PlaceText, Terms};

struct World {
    folder: tempfile::TempDir,
    log: MemoryLog,
}

impl World {
    fn new() -> Self {
        let mut log = MemoryLog::default();
        let events: Vec<_> = (0..100).map(|value| sample("88-C/x", value)).collect();
        log.append("a", &events, 1);
        log.terms = Terms::of([1; 16], Partition::EMBEDDED);
        log.terms.add_term(11, Offset::ZERO);
        Self { folder: tempfile::tempdir().unwrap(), log }
    }

    /// The forward as a start of the collector makes it.
    fn forward(&self, target: &str, is_kept_there: bool) -> Forward {
        let fresh = self.fresh(target);
        let kept = fresh.files.read(&fresh.name, Partition::EMBEDDED).unwrap();
        Forward { is_kept_there, state: Mutex::new(State { kept, progress: Progress::new() }), ..fresh }
    }

    /// The forward before its file is read.
    fn fresh(&self, target: &str) -> Forward {
        let name = SourceId::new("f").unwrap();
        let files = ForwardFiles::new(self.folder.path().join("forwards"));
        Forward {
            name,
            own: SourceId::new("collector").unwrap(),
            partition: Partition::EMBEDDED,
            filter: Filter::default(),
            from: Start::First,
            sink: "test",
            target: target.to_owned(),
            is_kept_there: false,
            files,
            writing: Mutex::default(),
            state: Mutex::new(State { kept: None, progress: Progress::new() }),
            orders: watch::Sender::new(0),
        }
    }

    fn at(&self, offset: u64) -> Checkpoint {
        Checkpoint::new(PlaceText(self.log.terms().place(Offset::new(offset))))
    }

    /// The next offset of a forward that opens its destination.
    fn agreed(&self, forward: &Forward, of_sink: Option<Checkpoint>) -> Result<u64, Stuck> {
        let Ok(kept) = forward.begin(&self.log) else { panic!("it begins") };
        match forward.agree(&kept, of_sink, &self.log) {
            Ok(checkpoint) => Ok(checkpoint.next().get()),
            Err(BeginError::Stuck(stuck)) => Err(stuck),
            Err(BeginError::File(error)) => panic!("the file is written: {error}"),
        }
    }
}

#[test]
fn a_new_forward_begins_where_it_is_told_and_goes_on_where_it_was_whatever_the_configuration_says() {
    let world = World::new();
    let forward = Forward { from: Start::Offset(Offset::new(7)), ..world.forward("a", false) };
    assert_eq!(world.agreed(&forward, None).unwrap(), 7);
    forward.moved(&world.at(50), 43).unwrap();
    for (target, from) in [("a", Start::First), ("b", Start::End)] {
        let again = Forward { from, ..world.forward(target, false) };
        assert_eq!(world.agreed(&again, None).unwrap(), 50, "{target}");
    }
}

#[test]
fn the_destinations_checkpoint_has_the_last_word_until_the_operator_moves_the_forward() {
    let world = World::new();
    let forward = world.forward("a", true);
    assert_eq!(
        world.agreed(&forward, Some(world.at(30))).unwrap(),
        30,
        "it was delivered before its data was lost here"
    );
    forward.moved(&world.at(50), 20).unwrap();
    assert_eq!(world.agreed(&forward, Some(world.at(60))).unwrap(), 60, "killed between commit and copy");
    assert_eq!(world.agreed(&forward, Some(world.at(20))).unwrap(), 20, "the destination was restored");
    forward.order(Order::Rewind(Start::Offset(Offset::new(10))), &world.log).unwrap();
    let Ok(kept) = forward.begin(&world.log) else { panic!("it begins") };
    let Ok(agreed) = forward.agree(&kept, Some(world.at(70)), &world.log) else { panic!("it agrees") };
    assert_eq!((agreed.next().get(), agreed.generation, agreed.seen_until.get()), (10, 1, 70));
    assert!(agreed.may_be_there(Offset::new(69)) && !agreed.may_be_there(Offset::new(70)));
    let there = Checkpoint { generation: 1, ..world.at(15) };
    assert_eq!(world.agreed(&forward, Some(there)).unwrap(), 15, "it knows of the order");
}

#[test]
fn a_destination_that_has_lost_its_checkpoint_needs_the_operator_and_a_new_one_does_not() {
    let world = World::new();
    let forward = world.forward("a", true);
    assert_eq!(world.agreed(&forward, None).unwrap(), 0);
    forward.moved(&world.at(50), 50).unwrap();
    let stuck = world.agreed(&forward, None).unwrap_err().to_string();
    assert!(stuck.contains("up to offset 50") && stuck.contains("forward rewind f --to"), "{stuck}");
    assert_eq!(world.agreed(&world.forward("b", true), None).unwrap(), 50, "another destination goes on from here");
    forward.order(Order::Rewind(Start::First), &world.log).unwrap();
    assert_eq!(world.agreed(&forward, None).unwrap(), 0, "the operator has decided");
}

#[test]
fn a_checkpoint_of_another_log_is_not_continued() {
    let mut world = World::new();
    let forward = world.forward("a", true);
    let there = world.at(30);
    world.log.terms = Terms::of([2; 16], Partition::EMBEDDED);
    world.log.terms.add_term(12, Offset::ZERO);
    let stuck = world.agreed(&forward, Some(there)).unwrap_err().to_string();
    assert!(stuck.contains("it is from another log") && stuck.contains("forward rewind f"), "{stuck}");
}

#[test]
fn a_delivery_that_ends_after_an_order_does_not_undo_it() {
    let world = World::new();
    let forward = world.forward("a", false);
    assert!(forward.begin(&world.log).is_ok());
    forward.order(Order::Pause, &world.log).unwrap();
    forward.order(Order::Rewind(Start::Offset(Offset::new(5))), &world.log).unwrap();
    forward.moved(&world.at(90), 90).unwrap();
    let again = world.forward("a", false);
    assert!(again.is_paused());
    assert_eq!(world.agreed(&again, None).unwrap(), 5);
}

#[test]
fn an_order_counts_although_the_destination_knows_of_more_orders_than_a_disk_that_was_put_back() {
    let world = World::new();
    let forward = world.forward("a", true);
    let there = Checkpoint { generation: 3, ..world.at(80) };
    assert_eq!(world.agreed(&forward, Some(there)).unwrap(), 80, "the control: without an order its word counts");
    forward.order(Order::Pause, &world.log).unwrap();
    forward.order(Order::Rewind(Start::Offset(Offset::new(20))), &world.log).unwrap();
    // Also when it is carried out after a restart.
    let again = world.forward("a", true);
    let Ok(kept) = again.begin(&world.log) else { panic!("it begins") };
    let Ok(agreed) = again.agree(&kept, Some(there), &world.log) else { panic!("it agrees") };
    assert_eq!((agreed.next().get(), agreed.generation, agreed.seen_until.get()), (20, 4, 80));
    // Killed before the destination knew, and after.
    let killed = world.forward("a", true);
    assert_eq!(world.agreed(&killed, Some(there)).unwrap(), 20);
    let there = Checkpoint { place: world.at(30).place, ..agreed };
    assert_eq!(world.agreed(&killed, Some(there)).unwrap(), 30, "an order is carried out once");
}

#[test]
fn a_destination_that_was_put_back_to_a_copy_from_before_an_order_is_continued_where_the_copy_ends() {
    let world = World::new();
    let forward = world.forward("a", true);
    assert_eq!(world.agreed(&forward, Some(world.at(40))).unwrap(), 40);
    let copy = world.at(60);
    forward.moved(&copy, 20).unwrap();
    forward.order(Order::Rewind(Start::Offset(Offset::new(90))), &world.log).unwrap();
    assert_eq!(world.agreed(&forward, Some(copy)).unwrap(), 90, "the control: it has not learnt of the order yet");
    let Ok(kept) = forward.begin(&world.log) else { panic!("it begins") };
    let replayed_until = Offset::new(95);
    forward.moved(&Checkpoint { place: world.at(95).place, replayed_until, ..kept.checkpoint }, 5).unwrap();
    let Ok(kept) = forward.begin(&world.log) else { panic!("it begins") };
    let Ok(agreed) = forward.agree(&kept, Some(copy), &world.log) else { panic!("it agrees") };
    assert_eq!((agreed.next().get(), agreed.generation), (60, 1));
    assert_eq!(agreed.replayed_until, Offset::ZERO, "dead letters that were sent again since are gone there too");
    assert!(agreed.may_be_there(Offset::new(94)), "it may have been a part of it that was put back");
}

#[test]
fn a_forward_that_was_rewound_says_at_once_how_far_behind_it_is() {
    let world = World::new();
    let forward = world.forward("a", false);
    let Ok(kept) = forward.begin(&world.log) else { panic!("it begins") };
    forward.show(|progress| {
        progress.begin(&kept.checkpoint);
        progress.passed = Offset::new(100);
    });
    assert_eq!(forward.view(&world.log).lag, 0, "the control: the rest is read, and not wanted");
    forward.order(Order::Rewind(Start::First), &world.log).unwrap();
    assert_eq!(forward.view(&world.log).lag, 100, "its thread has not noticed yet");
    let Ok(kept) = forward.begin(&world.log) else { panic!("it begins") };
    forward.show(|progress| progress.begin(&kept.checkpoint));
    assert_eq!(forward.view(&world.log).lag, 100, "it has");
}

#[test]
fn a_damaged_file_is_an_error_and_not_a_new_beginning() {
    let world = World::new();
    let forward = world.forward("a", false);
    assert!(forward.begin(&world.log).is_ok());
    let path = world.folder.path().join("forwards/f/0.json");
    for damage in [&b"{}"[..], b"", &[b'x'; 70_000]] {
        std::fs::write(&path, damage).unwrap();
        let error = forward.files.read(&forward.name, Partition::EMBEDDED).unwrap_err().to_string();
        assert!(error.contains("0.json") && error.contains("remove it"), "{error}");
        assert!(world.fresh("a").order(Order::Pause, &world.log).is_err(), "an order does not begin anew either");
        assert_eq!(std::fs::read(&path).unwrap(), damage);
    }
}
