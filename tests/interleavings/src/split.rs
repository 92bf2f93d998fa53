//! The recorder with a fault: it looks for room in one critical section, and takes it in another.

use std::cell::RefCell;

use afferent_firmware::protocol::event::Body;
use afferent_firmware::protocol::ids::{Stream, Subject};
use afferent_firmware::recorder::{Drained, Entry, RecordError};
use critical_section::Mutex;
use heapless::Deque;

#[derive(Default)]
struct Entries {
    entries: Deque<Drained, 4>,
    /// Lost entries of each stream, and when the first of them came.
    lost: [Option<(u32, u64)>; 2],
}

impl Entries {
    fn loss(&mut self, stream: Stream) -> Option<Drained> {
        let lost = self.lost[usize::from(stream.number())].take();
        lost.map(|(count, tick_us)| Drained::Lost { stream, count, tick_us })
    }
}

pub struct Split(Mutex<RefCell<Entries>>);

impl Default for Split {
    fn default() -> Self {
        Self(Mutex::new(RefCell::default()))
    }
}

impl Split {
    fn within<T>(&self, act: impl FnOnce(&mut Entries) -> T) -> T {
        critical_section::with(|section| act(&mut self.0.borrow_ref_mut(section)))
    }

    pub fn record(&self, tick_us: u64, body: Body<'static>) -> Result<(), RecordError> {
        let stream = if matches!(body, Body::Sample(_)) { Stream::Samples } else { Stream::Critical };
        let has_room = self.within(|inner| {
            let has_room = 4 - inner.entries.len() > inner.lost.iter().flatten().count();
            if !has_room {
                inner.lost[usize::from(stream.number())].get_or_insert((0, tick_us)).0 += 1;
            }
            has_room
        });
        if !has_room {
            return Err(RecordError::Lost);
        }
        // Here somebody else takes the room.
        self.within(|inner| {
            for stream in Stream::ALL {
                let loss = inner.loss(stream);
                let _ = loss.map(|loss| inner.entries.push_back(loss));
            }
            let entry = Entry { tick_us, subject: Subject::new("a").expect("a path"), body };
            inner.entries.push_back(Drained::Entry(entry)).map_err(|_| RecordError::Lost)
        })
    }

    pub fn take(&self) -> Option<Drained> {
        self.within(|inner| {
            let next = inner.entries.pop_front();
            next.or_else(|| inner.loss(Stream::Critical)).or_else(|| inner.loss(Stream::Samples))
        })
    }
}
