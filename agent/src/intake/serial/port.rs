//! Where a line is, and how it is opened.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::str::FromStr;

use serde::Deserialize;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

/// The address of a line.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub enum Address {
    /// A serial port of this machine.
    Device(PathBuf),
    /// `tcp://host:port`: a serial server, or a simulator.
    Tcp(String),
    /// `unix:/path`: a simulator.
    Unix(PathBuf),
}

/// Why a text is no address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "it is not the address of a line; write a path such as \"/dev/ttyUSB0\", \"tcp://HOST:PORT\", or \"unix:/PATH\""
)]
pub struct AddressError;

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        if let Some(host) = text.strip_prefix("tcp://") {
            let port = host.rsplit_once(':').and_then(|(host, port)| Some((host, port.parse::<u16>().ok()?)));
            return port.filter(|(host, _)| !host.is_empty()).map(|_| Self::Tcp(host.into())).ok_or(AddressError);
        }
        let (path, is_unix) = text.strip_prefix("unix:").map_or((text, false), |path| (path, true));
        if !path.starts_with('/') {
            return Err(AddressError);
        }
        Ok(if is_unix { Self::Unix(path.into()) } else { Self::Device(path.into()) })
    }
}

impl TryFrom<String> for Address {
    type Error = AddressError;

    fn try_from(text: String) -> Result<Self, AddressError> {
        text.parse()
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Device(path) => path.display().fmt(f),
            Self::Tcp(host) => write!(f, "tcp://{host}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// An open line.
pub trait Port: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Port for T {}

impl Address {
    /// Opens the line; a serial port with 8 data bits, no parity, one stop bit, no flow control, and exclusive.
    pub async fn open(&self, baud: u32) -> io::Result<Box<dyn Port>> {
        match self {
            Self::Device(path) => open_device(&path.to_string_lossy(), baud),
            Self::Tcp(host) => {
                let stream = TcpStream::connect(host).await?;
                stream.set_nodelay(true)?;
                Ok(Box::new(stream))
            }
            Self::Unix(path) => Ok(Box::new(UnixStream::connect(path).await?)),
        }
    }
}

#[cfg(feature = "serial")]
fn open_device(path: &str, baud: u32) -> io::Result<Box<dyn Port>> {
    use tokio_serial::SerialPortBuilderExt;
    Ok(Box::new(tokio_serial::new(path, baud).open_native_async()?))
}

#[cfg(not(feature = "serial"))]
fn open_device(_: &str, _: u32) -> io::Result<Box<dyn Port>> {
    Err(io::Error::new(io::ErrorKind::Unsupported, "this agent was built without serial ports (feature `serial`)"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_paths_or_say_what_they_are() {
        for text in ["/dev/ttyUSB0", "tcp://127.0.0.1:4000", "unix:/run/line"] {
            assert_eq!(text.parse::<Address>().unwrap().to_string(), text);
        }
        for text in ["", "ttyUSB0", "tcp://x", "tcp://:1", "tcp://x:70000", "unix:line"] {
            assert_eq!(text.parse::<Address>(), Err(AddressError), "{text:?}");
        }
    }
}
