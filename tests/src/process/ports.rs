//! Ports for servers that are killed and started again: nobody else may take one meanwhile.

use std::fs::File;
use std::net::{SocketAddr, TcpListener};
use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use rustix::fs::{FlockOperation, flock};

/// Ports that the system gives to nobody by itself: an outgoing connection of another test must not sit on the port by
/// the time that it is listened on.
const PORTS: Range<u16> = 10_000..30_000;
/// Ports that a test program takes at a time.
const BLOCK: u16 = 100;

/// Ports that belong to this program as long as it runs: the locks of their blocks are held.
struct Own {
    left: Range<u16>,
    locks: Vec<File>,
}

/// A loopback address that nobody listens on, that no other call in this process has given, and no other test program on
/// this machine will give while this one runs.
///
/// # Panics
/// When all ports are taken.
pub fn free_address() -> SocketAddr {
    static OWN: Mutex<Own> = Mutex::new(Own { left: 0..0, locks: Vec::new() });
    let mut own = OWN.lock().unwrap_or_else(PoisonError::into_inner);
    loop {
        let Some(port) = own.left.next() else {
            let (block, lock) = take_block();
            own.left = block;
            own.locks.push(lock);
            continue;
        };
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        if TcpListener::bind(address).is_ok() {
            return address;
        }
    }
}

/// Ports that no other test program has, and the lock that keeps them.
fn take_block() -> (Range<u16>, File) {
    let folder = std::env::temp_dir().join(format!("afferent-ports-{}", rustix::process::getuid().as_raw()));
    std::fs::create_dir_all(&folder).expect("the folder for temporary files can be written");
    let blocks = (PORTS.end - PORTS.start) / BLOCK;
    for block in 0..blocks {
        let first = PORTS.start + block * BLOCK;
        let file = File::create(folder.join(first.to_string())).expect("the folder is ours");
        if flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok() {
            return (first..first + BLOCK, file);
        }
    }
    panic!("other test programs have all ports");
}
