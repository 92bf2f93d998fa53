//! As much HTTP as tests need, so that what they see does not depend on the code under test.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

const TIMEOUT: Duration = Duration::from_secs(60);

fn connect(address: SocketAddr, path: &str, accept: &str) -> io::Result<BufReader<TcpStream>> {
    let mut stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nAccept: {accept}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    Ok(BufReader::new(stream))
}

/// Reads status line and headers; tells the status and whether the body comes in chunks.
fn head(reader: &mut impl BufRead) -> io::Result<(u16, bool)> {
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let status = line.split(' ').nth(1).and_then(|text| text.parse().ok());
    let status = status.ok_or_else(|| io::Error::other(format!("no status line: {line:?}")))?;
    let mut chunked = false;
    loop {
        line.clear();
        reader.read_line(&mut line)?;
        if line.trim_end().is_empty() {
            return Ok((status, chunked));
        }
        chunked |= line.to_ascii_lowercase().starts_with("transfer-encoding: chunked");
    }
}

/// The next chunk of a chunked body; empty at its end (RFC 9112, section 7.1).
fn chunk(reader: &mut impl BufRead) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let size = chunk_into(reader, &mut bytes)?;
    bytes.truncate(size);
    Ok(bytes)
}

/// The next chunk, at the beginning of a buffer that grows as is needed; gives its size.
fn chunk_into(reader: &mut impl BufRead, bytes: &mut Vec<u8>) -> io::Result<usize> {
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let size = usize::from_str_radix(line.trim_end(), 16);
    let size = size.map_err(|_| io::Error::other(format!("no chunk size: {line:?}")))?;
    if bytes.len() < size + 2 {
        bytes.resize(size + 2, 0);
    }
    reader.read_exact(&mut bytes[..size + 2])?;
    Ok(size)
}

/// How many lines the chunked answer to `GET path` has, for a client that keeps none of them.
pub fn count_lines(address: SocketAddr, path: &str) -> io::Result<u64> {
    let mut reader = connect(address, path, "*/*")?;
    let (status, chunked) = head(&mut reader)?;
    if status != 200 || !chunked {
        return Err(io::Error::other(format!("status {status}, chunked: {chunked}")));
    }
    let (mut bytes, mut lines) = (Vec::new(), 0);
    loop {
        let size = chunk_into(&mut reader, &mut bytes)?;
        if size == 0 {
            return Ok(lines);
        }
        lines += lines_in(&bytes[..size]);
    }
}

/// Status and body of `GET path`.
pub fn get(address: SocketAddr, path: &str) -> io::Result<(u16, Vec<u8>)> {
    let mut reader = connect(address, path, "*/*")?;
    let (status, chunked) = head(&mut reader)?;
    let mut body = Vec::new();
    if !chunked {
        reader.read_to_end(&mut body)?;
        return Ok((status, body));
    }
    loop {
        let bytes = chunk(&mut reader)?;
        if bytes.is_empty() {
            return Ok((status, body));
        }
        body.extend_from_slice(&bytes);
    }
}

/// By pieces that a byte counts, which the compiler makes vectors of: the client is not what is measured.
fn lines_in(bytes: &[u8]) -> u64 {
    let of_piece = |piece: &[u8]| piece.iter().map(|byte| u8::from(*byte == b'\n')).sum::<u8>();
    bytes.chunks(usize::from(u8::MAX)).map(|piece| u64::from(of_piece(piece))).sum()
}

/// The body of `GET path` as text, when it answers with 200.
pub fn get_text(address: SocketAddr, path: &str) -> Option<String> {
    let (status, body) = get(address, path).ok()?;
    (status == 200).then(|| String::from_utf8_lossy(&body).into_owned())
}

/// An answer.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Its status.
    pub status: u16,
    /// Its headers, names in lower case.
    pub headers: Vec<(String, String)>,
    /// Its body.
    pub body: String,
}

impl Answer {
    /// A header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(given, _)| given == name).map(|(_, value)| value.as_str())
    }
}

/// Asks with a method, a body and its type.
pub fn ask(address: SocketAddr, method: &str, path: &str, kind: &str, body: &str) -> io::Result<Answer> {
    ask_over(TcpStream::connect_timeout(&address, TIMEOUT)?, method, path, kind, body)
}

/// [`ask`], over a connection that is open.
pub fn ask_over(mut stream: TcpStream, method: &str, path: &str, kind: &str, body: &str) -> io::Result<Answer> {
    let address = stream.peer_addr()?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    let length = body.len();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\
         Connection: close\r\n\r\n{body}"
    );
    stream.write_all(request.as_bytes())?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    let (head, body) = text.split_once("\r\n\r\n").ok_or(io::ErrorKind::UnexpectedEof)?;
    let status = head.split(' ').nth(1).and_then(|text| text.parse().ok());
    let status = status.ok_or_else(|| io::Error::other(format!("no status line: {head:?}")))?;
    let headers: Vec<_> = (head.lines().skip(1))
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .collect();
    let answer = Answer { status, headers, body: body.to_owned() };
    // What a killed process has left half said is no answer.
    let length = answer.header("content-length").and_then(|text| text.parse().ok());
    if length.is_some_and(|length: usize| length != answer.body.len()) {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(answer)
}

/// A stream of server-sent events.
#[derive(Debug)]
pub struct Sse {
    reader: BufReader<TcpStream>,
    text: Vec<u8>,
}

impl Sse {
    /// Begins to follow `path`.
    pub fn open(address: SocketAddr, path: &str) -> io::Result<Self> {
        let mut reader = connect(address, path, "text/event-stream")?;
        match head(&mut reader)? {
            (200, true) => Ok(Self { reader, text: Vec::new() }),
            (status, _) => Err(io::Error::other(format!("status {status}"))),
        }
    }

    /// The data of the next event; comments are passed over. Events of several data lines are not made by us.
    pub fn next_data(&mut self) -> io::Result<String> {
        loop {
            while let Some(end) = self.text.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.text.drain(..=end).collect();
                if let Some(data) = line.strip_prefix(b"data:") {
                    return Ok(String::from_utf8_lossy(data).trim().to_string());
                }
            }
            let bytes = chunk(&mut self.reader)?;
            if bytes.is_empty() {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            self.text.extend_from_slice(&bytes);
        }
    }
}
