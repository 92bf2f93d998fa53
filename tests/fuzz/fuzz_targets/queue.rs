//! The firmware's queues against a list: in RAM through resets, on flash through a power cut after any byte and through
//! damage. What was acknowledged is there, in order; what was not is there whole or not at all; a queue always starts.
#![no_main]

#[path = "../../../firmware/tests/flash/mock.rs"]
mod mock;

use std::collections::VecDeque;

use afferent_firmware::queue::{FlashQueue, PushError, Queue, RamQueue};
use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;
use mock::{Flash, PAGE, PAGES};

const ITEM: usize = 200;
type TestFlash = FlashQueue<Flash, ITEM>;

#[derive(Arbitrary, Debug)]
enum Step {
    Push(u8),
    Pop,
    /// A reset: what outlives it is found again.
    Reset,
}

#[derive(Arbitrary, Debug)]
struct Input {
    steps: Vec<Step>,
    /// After how many bytes the power goes.
    power: u16,
    damage: Vec<(u16, u8)>,
}

fn item(number: usize, len: u8) -> Vec<u8> {
    (0..usize::from(len)).map(|at| (number * 31 + at * 7) as u8).collect()
}

fn items(queue: &mut impl Queue) -> VecDeque<Vec<u8>> {
    let mut items = VecDeque::new();
    let found = queue.find(&mut [0; 256], &mut |item| {
        items.push_back(item.to_vec());
        false
    });
    assert_eq!(found, Ok(None), "nothing was wanted");
    items
}

/// RAM loses nothing in a reset.
fn in_ram(steps: &[Step]) {
    let (mut queue, mut model) = (RamQueue::<1024>::new(), VecDeque::new());
    for (number, step) in steps.iter().enumerate() {
        match step {
            Step::Push(len) => {
                let item = item(number, *len);
                match queue.push(&item) {
                    Ok(()) => model.push_back(item),
                    Err(error) => assert_eq!(error, PushError::Full, "every item is small enough"),
                }
            }
            Step::Pop => assert_eq!(queue.pop(), Ok(model.pop_front().is_some())),
            Step::Reset => {
                let _ = queue.recover();
            }
        }
        assert_eq!(items(&mut queue), model);
    }
}

fn open(flash: Flash) -> Option<TestFlash> {
    FlashQueue::open(flash, 0..(PAGE * PAGES) as u32).ok().map(|(queue, _)| queue)
}

/// Does the steps until the power is gone. Gives the flash, what must be in it, and what may be there instead.
fn until_the_cut(flash: Flash, steps: &[Step]) -> (Flash, VecDeque<Vec<u8>>, VecDeque<Vec<u8>>) {
    let mut model = VecDeque::new();
    let Some(mut queue) = open(flash.clone()) else { return (flash, model.clone(), model) };
    for (number, step) in steps.iter().enumerate() {
        let before = model.clone();
        let done = match step {
            // An item on flash is not empty.
            Step::Push(len) => {
                let item = item(number, 1 + len % (ITEM as u8 - 1));
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
            Step::Reset => match open(queue.into_flash()) {
                Some(found) => {
                    queue = found;
                    true
                }
                None => return (flash, before, model),
            },
        };
        if !done {
            return (queue.into_flash(), before, model);
        }
    }
    (queue.into_flash(), model.clone(), model)
}

fuzz_target!(|input: Input| {
    let steps = &input.steps[..input.steps.len().min(64)];
    in_ram(steps);

    let (flash, before, after) = until_the_cut(Flash { power: Some(input.power.into()), ..Flash::new() }, steps);
    let mut flash = Flash { power: None, ..flash };
    // A step that opens the queue anew ends without its flash when the power goes: that says nothing.
    if let Some(mut queue) = open(flash.clone()) {
        let found = items(&mut queue);
        assert!(found == before || found == after || found.is_empty() && flash.spent == 0);
        flash = queue.into_flash();
    }
    for (at, byte) in &input.damage {
        let at = usize::from(*at) % flash.bytes.len();
        flash.bytes[at] = *byte;
    }
    let mut queue = open(flash).expect("a queue starts on whatever its flash holds");
    let _ = queue.push(b"after it");
});
