//! An HTTP server that takes events as a forward posts them, and misbehaves on request.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use super::free_address;

/// What the server does with a request, once it has read it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hook {
    /// Takes it: 204.
    Take,
    /// Takes it, and keeps nothing of it.
    Forget,
    /// Answers with these lines after `HTTP/1.1 ` (a status, and perhaps headers) and a body; takes nothing.
    Answer(String, String),
    /// Takes it, and closes the connection without an answer.
    TakeAndReset,
    /// Takes nothing and does not answer.
    Hang,
    /// Takes nothing; begins an answer and closes the connection within it.
    Half,
    /// Takes nothing; answers 500 with a body of 1 GiB, for as long as somebody reads it.
    Huge,
    /// Takes nothing; answers a byte of a head every 100 ms.
    Drip,
}

/// A request that was taken.
#[derive(Clone, Debug)]
pub struct Hooked {
    /// The path, and the query behind it.
    pub path: String,
    /// Header lines, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Hooked {
    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

type Decide = Box<dyn FnMut(&Hooked) -> Hook + Send>;

struct Shared {
    stop: AtomicBool,
    taken: Mutex<Vec<Hooked>>,
    decide: Mutex<Decide>,
    open: Mutex<Vec<TcpStream>>,
}

/// A running server; it stops when it is dropped.
pub struct HookServer {
    /// Where it listens.
    pub address: SocketAddr,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl HookServer {
    /// A server on a free port that takes everything.
    pub fn start() -> Self {
        Self::start_at(free_address())
    }

    /// A server at this address that takes everything.
    pub fn start_at(address: SocketAddr) -> Self {
        let shared = Shared {
            stop: AtomicBool::new(false),
            taken: Mutex::default(),
            decide: Mutex::new(Box::new(|_| Hook::Take)),
            open: Mutex::default(),
        };
        let mut server = Self { address, shared: Arc::new(shared), thread: None };
        server.listen();
        server
    }

    /// Decides from now on what happens to each request.
    pub fn decide(&self, decide: impl FnMut(&Hooked) -> Hook + Send + 'static) {
        *self.shared.decide.lock().expect("nobody panicked with it") = Box::new(decide);
    }

    /// All requests that were taken.
    pub fn taken(&self) -> Vec<Hooked> {
        self.shared.taken.lock().expect("nobody panicked with it").clone()
    }

    /// The events of all requests that were taken, in their order: of JSON arrays and of single events.
    ///
    /// # Panics
    /// When a body is neither.
    pub fn events(&self) -> Vec<serde_json::Value> {
        let of = |hooked: Hooked| match serde_json::from_slice(&hooked.body) {
            Ok(serde_json::Value::Array(events)) => events,
            Ok(event) => vec![event],
            Err(error) => panic!("a body that is not JSON: {error}"),
        };
        self.taken().into_iter().flat_map(of).collect()
    }

    /// Closes the port and all connections in the middle of what they do, as a kill does; keeps what was taken.
    pub fn kill(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        // Wakes the thread that accepts.
        let _ = TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take() {
            thread.join().expect("the server did not panic");
        }
        for stream in self.shared.open.lock().expect("nobody panicked with it").drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// Listens again after [`HookServer::kill`].
    pub fn listen(&mut self) {
        self.shared.stop.store(false, Ordering::SeqCst);
        let listener = super::wait_for("the port of the server is free", || TcpListener::bind(self.address).ok());
        let shared = Arc::clone(&self.shared);
        self.thread = Some(std::thread::spawn(move || {
            for stream in listener.incoming() {
                if shared.stop.load(Ordering::SeqCst) {
                    return;
                }
                let Ok(stream) = stream else { continue };
                let Ok(copy) = stream.try_clone() else { continue };
                shared.open.lock().expect("nobody panicked with it").push(copy);
                let shared = Arc::clone(&shared);
                std::thread::spawn(move || serve(&stream, &shared));
            }
        }));
    }
}

impl Drop for HookServer {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Answers the requests of one connection until it ends.
fn serve(stream: &TcpStream, shared: &Shared) {
    let mut reader = BufReader::new(stream);
    while let Some((method, request)) = read_request(&mut reader) {
        if shared.stop.load(Ordering::SeqCst) {
            return;
        }
        if method != "POST" {
            if answer(stream, &Hook::Take, &shared.stop).is_err() {
                break;
            }
            continue;
        }
        let hook = shared.decide.lock().expect("nobody panicked with it")(&request);
        if matches!(hook, Hook::Take | Hook::TakeAndReset) {
            shared.taken.lock().expect("nobody panicked with it").push(request);
        }
        if answer(stream, &hook, &shared.stop).is_err() {
            break;
        }
    }
    let _ = stream.shutdown(Shutdown::Both);
}

/// The next request, and its method.
fn read_request(reader: &mut BufReader<&TcpStream>) -> Option<(String, Hooked)> {
    let mut headers = Vec::new();
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|bytes| *bytes > 0)?;
    let mut words = line.split(' ');
    let method = words.next().unwrap_or_default().to_owned();
    let path = words.next().unwrap_or_default().to_owned();
    loop {
        line.clear();
        reader.read_line(&mut line).ok().filter(|bytes| *bytes > 0)?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let length = headers.iter().find(|(name, _)| name == "content-length");
    let length = length.map_or(Ok(0), |(_, length)| length.parse()).ok()?;
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some((method, Hooked { path, headers, body }))
}

/// Answers; an error ends the connection.
fn answer(mut stream: &TcpStream, hook: &Hook, stop: &AtomicBool) -> std::io::Result<()> {
    let over = || Err(std::io::ErrorKind::ConnectionAborted.into());
    match hook {
        Hook::Take | Hook::Forget => stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n"),
        Hook::Answer(head, body) => {
            let length = body.len();
            stream.write_all(format!("HTTP/1.1 {head}\r\ncontent-length: {length}\r\n\r\n{body}").as_bytes())
        }
        Hook::TakeAndReset => over(),
        Hook::Half => {
            stream.write_all(b"HTTP/1.1 200 O")?;
            over()
        }
        Hook::Hang => {
            while !stop.load(Ordering::SeqCst) && stream.peek(&mut [0]).is_ok_and(|bytes| bytes > 0) {}
            over()
        }
        Hook::Huge => {
            stream.write_all(b"HTTP/1.1 500 Internal Server Error\r\ncontent-length: 1073741824\r\n\r\n")?;
            let part = [b'x'; 65_536];
            (0..16_384).try_for_each(|_| stream.write_all(&part))
        }
        Hook::Drip => {
            let head =
                b"HTTP/1.1 200 OK\r\nx-long: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
            for byte in head {
                stream.write_all(&[*byte])?;
                // The rate at which it answers.
                std::thread::sleep(Duration::from_millis(100));
            }
            over()
        }
    }
}
