//! The flash queue when the power goes after any byte: it holds what it said it holds, and starts again.
#![cfg(feature = "flash")]

mod mock;

use std::collections::VecDeque;

use afferent_firmware::queue::{FlashQueue, PushError, Queue};
use mock::{Flash, PAGE, PAGES};
use proptest::prelude::*;

const ITEM: usize = 200;
type TestQueue = FlashQueue<Flash, ITEM>;

#[derive(Clone, Copy, Debug)]
enum Step {
    Push(usize),
    Pop,
}

fn open(flash: Flash) -> Option<TestQueue> {
    TestQueue::open(flash, 0..(PAGE * PAGES) as u32).ok().map(|(queue, _)| queue)
}

fn items(queue: &mut TestQueue) -> Option<VecDeque<Vec<u8>>> {
    let mut items = VecDeque::new();
    let found = queue.find(&mut [0; ITEM], &mut |item| {
        items.push_back(item.to_vec());
        false
    });
    found.ok().map(|_| items)
}

fn item(number: usize, len: usize) -> Vec<u8> {
    (0..len).map(|at| (number * 31 + at * 7) as u8).collect()
}

/// Does the steps until the power is gone. Gives the flash, what must be in it, and what may be instead.
fn run(flash: Flash, steps: &[Step]) -> (Flash, VecDeque<Vec<u8>>, VecDeque<Vec<u8>>) {
    let mut model = VecDeque::new();
    let Some(mut queue) = open(flash.clone()) else { return (flash, model.clone(), model) };
    for (number, step) in steps.iter().enumerate() {
        let before = model.clone();
        let done = match step {
            Step::Push(len) => {
                let item = item(number, *len);
                let pushed = queue.push(&item);
                if pushed != Err(PushError::Full) {
                    model.push_back(item);
                }
                pushed != Err(PushError::Broken)
            }
            Step::Pop => {
                model.pop_front();
                queue.pop().is_ok()
            }
        };
        if !done {
            return (queue.into_flash(), before, model);
        }
    }
    let after = model.clone();
    (queue.into_flash(), after, model)
}

/// Cuts the power after every number of bytes; gives after how many the queue was not in order.
fn cuts(steps: &[Step], forgets: bool) -> (usize, usize) {
    let (whole, expected, _) = run(Flash::new(), steps);
    assert_eq!(items(&mut open(whole.clone()).unwrap()), Some(expected), "without a cut");
    let mut wrong = 0;
    for power in 0..whole.spent {
        let (flash, before, after) = run(Flash { power: Some(power), forgets, ..Flash::new() }, steps);
        let flash = Flash { power: None, forgets: false, ..flash };
        let Some(mut queue) = open(flash) else {
            wrong += 1;
            continue;
        };
        let found = items(&mut queue);
        let is_right = found.as_ref().is_some_and(|found| *found == before || *found == after);
        // And it goes on: what was there is followed by what is new.
        let goes_on = queue.push(b"after the cut") != Err(PushError::Broken)
            && items(&mut queue).is_some_and(|items| found.is_some_and(|found| items.len() >= found.len()));
        wrong += usize::from(!is_right || !goes_on);
    }
    (wrong, whole.spent)
}

/// Fills the flash more than twice, so that pages are closed, erased and used again.
fn small_log() -> Vec<Step> {
    let mut steps = Vec::new();
    for round in 0..14 {
        steps.extend([Step::Push(40 + 9 * round), Step::Push(1 + 13 * round), Step::Pop]);
        if round % 3 == 2 {
            steps.extend([Step::Pop, Step::Pop, Step::Pop]);
        }
    }
    steps
}

#[test]
fn after_a_power_cut_at_any_byte_the_queue_holds_what_it_said_it_holds() {
    let (wrong, cuts) = cuts(&small_log(), false);
    println!("{cuts} cuts");
    assert!(cuts > 2 * PAGE * PAGES, "the log is long enough to go round");
    assert_eq!(wrong, 0);
}

#[test]
fn flash_that_says_written_too_early_is_noticed() {
    // The control of the test before.
    let (wrong, _) = cuts(&small_log(), true);
    assert!(wrong > 0);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn so_it_is_with_any_log(
        steps in prop::collection::vec(prop_oneof![3 => (1..ITEM).prop_map(Step::Push), 2 => Just(Step::Pop)], 1..24),
        cut in any::<prop::sample::Index>(),
    ) {
        let (whole, _, _) = run(Flash::new(), &steps);
        let power = cut.index(whole.spent.max(1));
        let (flash, before, after) = run(Flash { power: Some(power), ..Flash::new() }, &steps);
        let mut queue = open(Flash { power: None, ..flash }).unwrap();
        let found = items(&mut queue).unwrap();
        prop_assert!(found == before || found == after);
    }
}
