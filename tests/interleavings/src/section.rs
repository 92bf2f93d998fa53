//! The critical section of a processor with one core, as shuttle sees it: whoever is within keeps all others out.

use std::cell::RefCell;

use critical_section::RawRestoreState;
use shuttle::sync::{Mutex, MutexGuard};

shuttle::lazy_static! {
    static ref INTERRUPTS: Mutex<()> = Mutex::new(());
}

shuttle::thread_local! {
    static WITHIN: RefCell<Option<MutexGuard<'static, ()>>> = RefCell::new(None);
}

struct Section;
critical_section::set_impl!(Section);

// SAFETY: between `acquire` and `release` a thread holds the one mutex, so no other is within. The recorder does not nest
// sections, and if it did, the mutex would stop the test.
unsafe impl critical_section::Impl for Section {
    unsafe fn acquire() -> RawRestoreState {
        let guard = INTERRUPTS.lock().expect("nobody panics within");
        WITHIN.with(|within| *within.borrow_mut() = Some(guard));
    }

    unsafe fn release(_: RawRestoreState) {
        let guard = WITHIN.with(|within| within.borrow_mut().take());
        drop(guard);
    }
}
