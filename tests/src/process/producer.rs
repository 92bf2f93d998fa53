//! A producer: lines into the agent's socket, answers out of it.

use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;

use super::PATIENCE;

/// One connection to the agent's socket.
#[derive(Debug)]
pub struct Producer {
    reader: BufReader<UnixStream>,
    writer: UnixStream,
    accepted: u64,
    refused: Vec<(u64, String)>,
}

impl Producer {
    /// Connects.
    pub fn connect(socket: &Path) -> io::Result<Self> {
        let writer = UnixStream::connect(socket)?;
        writer.set_read_timeout(Some(PATIENCE))?;
        writer.set_write_timeout(Some(PATIENCE))?;
        Ok(Self { reader: BufReader::new(writer.try_clone()?), writer, accepted: 0, refused: Vec::new() })
    }

    /// Sends bytes as they are.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.writer.write_all(bytes)
    }

    /// A second handle to the same connection, to write from another thread.
    pub fn writer(&self) -> io::Result<UnixStream> {
        self.writer.try_clone()
    }

    /// Reads one answer; gives how many lines are accepted so far.
    pub fn answer(&mut self) -> io::Result<u64> {
        let mut line = String::new();
        if self.reader.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let answer: serde_json::Value = serde_json::from_str(&line).map_err(io::Error::other)?;
        match (answer["accepted"].as_u64(), answer["line"].as_u64(), answer["error"].as_str()) {
            (Some(accepted), _, _) => self.accepted = accepted,
            (_, Some(line), Some(error)) => self.refused.push((line, error.into())),
            _ => return Err(io::Error::other(format!("an answer that is none: {line}"))),
        }
        Ok(self.accepted)
    }

    /// Reads answers until `lines` lines are accepted.
    pub fn wait_accepted(&mut self, lines: u64) -> io::Result<()> {
        while self.accepted < lines {
            self.answer()?;
        }
        Ok(())
    }

    /// How many lines are accepted, by the answers read so far.
    pub fn accepted(&self) -> u64 {
        self.accepted
    }

    /// Which lines were refused, and why, by the answers read so far.
    pub fn refused(&self) -> &[(u64, String)] {
        &self.refused
    }
}
