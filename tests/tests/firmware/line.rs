//! The cable between the controller and the agent: it can be pulled, disturbed, and cut in one direction.

use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::thread::JoinHandle;
use std::time::Duration;

/// The longest that a pause takes before a wish is seen.
const LOOK: Duration = Duration::from_millis(10);

#[derive(Debug, Default)]
struct State {
    is_pulled: AtomicBool,
    is_over: AtomicBool,
    swallows_answers: AtomicBool,
    /// One byte in so many is damaged; 0 is none.
    noise_one_in: AtomicU64,
}

/// A cable from QEMU's socket to one that the agent connects to.
pub struct Line {
    /// Where the agent connects to.
    pub path: PathBuf,
    state: Arc<State>,
    thread: Option<JoinHandle<()>>,
}

impl Line {
    /// A plugged cable.
    pub fn new(path: PathBuf, qemu: PathBuf) -> Self {
        let listener = UnixListener::bind(&path).expect("the folder can be written");
        listener.set_nonblocking(true).expect("sockets can do that");
        let state = Arc::<State>::default();
        let thread = std::thread::spawn({
            let state = state.clone();
            move || {
                while !state.is_over.load(SeqCst) {
                    if let Some((device, agent)) = ends(&state, &listener, &qemu) {
                        pass_on(&state, &device, &agent);
                    }
                }
            }
        });
        Self { path, state, thread: Some(thread) }
    }

    /// Pulls it: the agent's end hangs up.
    pub fn pull(&self) {
        self.state.is_pulled.store(true, SeqCst);
    }

    /// Plugs it again.
    pub fn plug(&self) {
        self.state.is_pulled.store(false, SeqCst);
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
        self.state.is_over.store(true, SeqCst);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Waits until both ends are there.
fn ends(state: &State, listener: &UnixListener, qemu: &Path) -> Option<(UnixStream, UnixStream)> {
    if state.is_pulled.load(SeqCst) {
        std::thread::sleep(LOOK);
        return None;
    }
    let both = listener.accept().and_then(|(agent, _)| Ok((UnixStream::connect(qemu)?, agent)));
    if both.is_err() {
        std::thread::sleep(LOOK);
    }
    both.ok()
}

/// Passes bytes on until an end hangs up or the cable is pulled.
fn pass_on(state: &State, device: &UnixStream, agent: &UnixStream) {
    let ended = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| one_way(state, &ended, device, agent, false));
        one_way(state, &ended, agent, device, true);
    });
    let _ = (device.shutdown(Shutdown::Both), agent.shutdown(Shutdown::Both));
}

fn one_way(state: &State, ended: &AtomicBool, mut from: &UnixStream, mut to: &UnixStream, are_answers: bool) {
    from.set_nonblocking(false).and_then(|()| from.set_read_timeout(Some(LOOK))).expect("sockets can do that");
    to.set_write_timeout(Some(Duration::from_secs(5))).expect("sockets can do that");
    let mut rng = 0x9E37_79B9_7F4A_7C15 ^ u64::from(are_answers);
    let mut bytes = [0; 4096];
    let is_over = || [&state.is_over, &state.is_pulled, ended].iter().any(|flag| flag.load(SeqCst));
    while !is_over() {
        let count = match from.read(&mut bytes) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => continue,
            Err(_) => break,
        };
        disturb(&mut bytes[..count], state.noise_one_in.load(SeqCst), &mut rng);
        let is_swallowed = are_answers && state.swallows_answers.load(SeqCst);
        if !is_swallowed && to.write_all(&bytes[..count]).is_err() {
            break;
        }
    }
    ended.store(true, SeqCst);
}

fn disturb(bytes: &mut [u8], one_in: u64, rng: &mut u64) {
    if one_in == 0 {
        return;
    }
    for byte in bytes {
        *rng = rng.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        if (*rng >> 33).is_multiple_of(one_in) {
            *byte ^= 1 + ((*rng >> 20) % 255) as u8;
        }
    }
}
