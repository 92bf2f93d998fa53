//! A line that can hang, be slow, or be cut: bytes are passed on between two sockets, until they are not.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::free_address;

/// Passes connections on to an address.
#[derive(Debug)]
pub struct Proxy {
    /// Where it listens.
    pub address: SocketAddr,
    line: Arc<Line>,
}

#[derive(Debug, Default)]
struct Line {
    /// Bytes a second, each way; as fast as it goes without.
    bytes_per_s: Option<u64>,
    /// Bytes that the target was given, over all connections.
    passed_on: AtomicU64,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// Both sides of every connection that was taken.
    sockets: Vec<[TcpStream; 2]>,
    /// Connections with a lower number hang.
    hanging_below: usize,
    is_over: bool,
}

impl Proxy {
    /// Begins to pass on to `target`, where somebody may begin to listen later.
    ///
    /// # Panics
    /// When the address is taken.
    pub fn start(target: SocketAddr) -> Self {
        Self::with_line(target, Line::default())
    }

    /// The same, over a line that takes so many bytes a second, each way and for each connection.
    ///
    /// # Panics
    /// When the address is taken.
    pub fn slow(target: SocketAddr, bytes_per_s: u64) -> Self {
        Self::with_line(target, Line { bytes_per_s: Some(bytes_per_s), ..Line::default() })
    }

    fn with_line(target: SocketAddr, line: Line) -> Self {
        let address = free_address();
        let listener = TcpListener::bind(address).expect("the address was free a moment ago");
        let line = Arc::new(line);
        let own = Arc::clone(&line);
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if own.lock().is_over {
                    return;
                }
                // Who cannot be passed on is closed, and tries again.
                let Ok(server) = TcpStream::connect(target) else { continue };
                own.pass_on([client, server]);
            }
        });
        Self { address, line }
    }

    /// All connections that stand end, with what is on its way in them; gives how many there have been so far.
    pub fn cut(&self) -> usize {
        let state = self.line.lock();
        state.sockets.iter().flatten().for_each(|socket| drop(socket.shutdown(Shutdown::Both)));
        state.sockets.len()
    }

    /// How many bytes the target was given so far.
    pub fn passed_on(&self) -> u64 {
        self.line.passed_on.load(Ordering::Relaxed)
    }

    /// All connections that stand hang from now on; new ones do not.
    pub fn hang(&self) {
        let mut state = self.line.lock();
        state.hanging_below = state.sockets.len();
    }

    /// What hangs goes on with what waited.
    pub fn go_on(&self) {
        self.line.lock().hanging_below = 0;
        self.line.changed.notify_all();
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let mut state = self.line.lock();
        state.is_over = true;
        state.sockets.iter().flatten().for_each(|socket| drop(socket.shutdown(Shutdown::Both)));
        drop(state);
        self.line.changed.notify_all();
        // It wakes who waits for the next connection.
        let _ = TcpStream::connect(self.address);
    }
}

impl Line {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn pass_on(self: &Arc<Self>, [client, server]: [TcpStream; 2]) {
        let clone = |socket: &TcpStream| socket.try_clone().expect("the system has a handle to give");
        let mut state = self.lock();
        let number = state.sockets.len();
        state.sockets.push([clone(&client), clone(&server)]);
        drop(state);
        for (from, to, is_to_target) in [(clone(&client), clone(&server), true), (server, client, false)] {
            let line = Arc::clone(self);
            std::thread::spawn(move || {
                let counted = is_to_target.then_some(&line.passed_on);
                line.pump(number, from, to, counted);
            });
        }
    }

    /// One direction of a connection. Its end is passed on as its bytes are.
    fn pump(&self, number: usize, mut from: TcpStream, mut to: TcpStream, counted: Option<&AtomicU64>) {
        let mut bytes = [0; 4096];
        let chunk = self.bytes_per_s.map_or(bytes.len(), |line| (line as usize / 10).clamp(1, bytes.len()));
        loop {
            let read = from.read(&mut bytes[..chunk]).unwrap_or(0);
            if let Some(line) = self.bytes_per_s {
                std::thread::sleep(Duration::from_micros(read as u64 * 1_000_000 / line));
            }
            let mut state = self.lock();
            while number < state.hanging_below && !state.is_over {
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
            drop(state);
            if read == 0 || to.write_all(&bytes[..read]).is_err() {
                let _ = to.shutdown(Shutdown::Write);
                return;
            }
            if let Some(counted) = counted {
                counted.fetch_add(read as u64, Ordering::Relaxed);
            }
        }
    }
}
