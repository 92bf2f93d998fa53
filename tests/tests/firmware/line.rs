//! The cable between the controller and the agent: it can be pulled, disturbed, and cut in one direction.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;

use afferent_tests::rng::Rng;

/// A cable from QEMU's socket to one that the agent connects to.
pub struct Line {
    /// Where the agent connects to.
    pub path: PathBuf,
    state: Arc<State>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct State {
    wishes: Mutex<Wishes>,
    swallows_answers: AtomicBool,
    /// One byte in so many is damaged; 0 is none.
    noise_one_in: AtomicU64,
}

#[derive(Default)]
struct Wishes {
    is_pulled: bool,
    is_over: bool,
    /// Both ends, while bytes pass.
    ends: Option<[UnixStream; 2]>,
}

impl Wishes {
    /// Ends what passes.
    fn hang_up(&mut self) {
        for end in self.ends.take().into_iter().flatten() {
            let _ = end.shutdown(Shutdown::Both);
        }
    }
}

impl Line {
    /// A plugged cable.
    pub fn new(path: PathBuf, qemu: PathBuf) -> Self {
        let listener = UnixListener::bind(&path).expect("the folder can be written");
        let state = Arc::<State>::default();
        let thread = std::thread::spawn({
            let state = state.clone();
            move || state.serve(&listener, &qemu)
        });
        Self { path, state, thread: Some(thread) }
    }

    /// Pulls it: the agent's end hangs up, and does so at once whenever the agent tries again.
    pub fn pull(&self) {
        let mut wishes = self.state.wishes();
        wishes.is_pulled = true;
        wishes.hang_up();
    }

    /// Plugs it again.
    pub fn plug(&self) {
        self.state.wishes().is_pulled = false;
    }

    /// Whether what the agent says is thrown away.
    pub fn swallow_answers(&self, swallows: bool) {
        self.state.swallows_answers.store(swallows, SeqCst);
    }

    /// Damages one byte in so many from now on, in both directions.
    pub fn disturb(&self, one_in: u64) {
        self.state.noise_one_in.store(one_in, SeqCst);
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        let mut wishes = self.state.wishes();
        wishes.is_over = true;
        wishes.hang_up();
        drop(wishes);
        // Wakes who waits for the agent.
        let _ = UnixStream::connect(&self.path);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl State {
    fn wishes(&self) -> MutexGuard<'_, Wishes> {
        self.wishes.lock().expect("nobody panicked with it")
    }

    fn serve(&self, listener: &UnixListener, qemu: &Path) {
        for agent in listener.incoming() {
            let mut wishes = self.wishes();
            if wishes.is_over {
                return;
            }
            let (Ok(agent), false) = (agent, wishes.is_pulled) else { continue };
            // Without power nobody listens there.
            let Ok(device) = UnixStream::connect(qemu) else { continue };
            wishes.ends = Some([&device, &agent].map(|end| end.try_clone().expect("a socket can be shared")));
            drop(wishes);
            std::thread::scope(|scope| {
                scope.spawn(|| self.pass_on(&device, &agent, false));
                self.pass_on(&agent, &device, true);
            });
        }
    }

    /// Passes bytes on until either end hangs up or the cable is pulled; the other direction ends with it.
    fn pass_on(&self, mut from: &UnixStream, mut to: &UnixStream, are_answers: bool) {
        let mut rng = Rng::new(are_answers.into());
        let mut bytes = [0; 4096];
        while let Ok(count @ 1..) = from.read(&mut bytes) {
            disturb(&mut bytes[..count], self.noise_one_in.load(SeqCst), &mut rng);
            let is_swallowed = are_answers && self.swallows_answers.load(SeqCst);
            if !is_swallowed && to.write_all(&bytes[..count]).is_err() {
                break;
            }
        }
        self.wishes().hang_up();
    }
}

fn disturb(bytes: &mut [u8], one_in: u64, rng: &mut Rng) {
    for byte in bytes {
        if one_in > 0 && rng.below(one_in) == 0 {
            *byte ^= rng.between(1, 256) as u8;
        }
    }
}
