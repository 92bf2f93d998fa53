//! Connects to the collector step by step and reports each result: name, TCP, TLS, MQTT.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;

use afferent_host::url::BrokerUrl;
use rustls::pki_types::ServerName;
use rustls::{ClientConnection, StreamOwned};

use crate::config::Config;
use crate::limits::{CONNACK_BYTES_MAX, HOP_MS_MAX};
use crate::ship::Credentials;
use crate::ship::words::words;

/// Longest time of one step.
const HOP_MAX: Duration = Duration::from_millis(HOP_MS_MAX);
/// The first byte of a CONNACK, and of a TLS alert.
const CONNACK: u8 = 0x20;
const ALERT: u8 = 0x15;

trait Hop: Read + Write {}
impl<T: Read + Write> Hop for T {}

/// Connects and calls `report` with the result of each step. Returns the error of the step that failed.
pub fn connect(config: &Config, report: &mut dyn FnMut(String)) -> Result<(), String> {
    let BrokerUrl { host, port, .. } = config.ship.url.clone();
    let credentials = crate::run::credentials(config)?;
    let found = (host.as_str(), port).to_socket_addrs().map_err(|error| format!("name: {}", words(&error)))?;
    let addresses: Vec<_> = found.collect();
    let listed: Vec<_> = addresses.iter().map(|address| address.ip().to_string()).collect();
    report(format!("name: {host} is {}", listed.join(", ")));
    let stream = tcp(&addresses, report)?;
    let mut stream: Box<dyn Hop> = match &credentials.tls {
        None => Box::new(stream),
        Some(tls) => {
            let name = ServerName::try_from(host.clone()).map_err(|error| format!("TLS: {error}"))?;
            let session = ClientConnection::new(Arc::clone(tls), name).map_err(|error| format!("TLS: {error}"))?;
            let mut stream = StreamOwned::new(session, stream);
            while stream.conn.is_handshaking() {
                let done = stream.conn.complete_io(&mut stream.sock);
                done.map_err(|error| format!("TLS: {}", words(&error)))?;
            }
            let version = stream.conn.protocol_version().and_then(|version| version.as_str()).unwrap_or("TLS");
            report(format!("TLS: {version}, and the certificate is trusted"));
            Box::new(stream)
        }
    };
    mqtt(&mut *stream, config, &credentials).map(report)
}

fn tcp(addresses: &[SocketAddr], report: &mut dyn FnMut(String)) -> Result<TcpStream, String> {
    let mut last = "TCP: the name has no address".to_owned();
    for address in addresses {
        match TcpStream::connect_timeout(address, HOP_MAX) {
            Ok(stream) => {
                report(format!("TCP: {address} answers"));
                let timed =
                    stream.set_read_timeout(Some(HOP_MAX)).and_then(|()| stream.set_write_timeout(Some(HOP_MAX)));
                return timed.map(|()| stream).map_err(|error| format!("TCP: {address}: {error}"));
            }
            Err(error) => last = format!("TCP: {address}: {}", words(&error)),
        }
    }
    Err(last)
}

/// Sends a CONNECT of MQTT 5 and returns what the answer means. A running agent keeps its connection: this is a second
/// client.
fn mqtt(stream: &mut dyn Hop, config: &Config, credentials: &Credentials) -> Result<String, String> {
    let answered = |error: &io::Error| format!("MQTT: {}", words(error));
    let sent = stream.write_all(&connect_packet(config, credentials)).and_then(|()| stream.flush());
    let mut answer = [0; CONNACK_BYTES_MAX];
    let len = match sent.and_then(|()| stream.read(&mut answer)) {
        Ok(len) => len,
        Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
            let seconds = HOP_MAX.as_secs();
            return Err(format!("MQTT: no answer for {seconds} s; is an MQTT broker listening on that port?"));
        }
        Err(error) => return Err(answered(&error)),
    };
    match answer[..len] {
        // Type, length, flags, reason (MQTT 5, 3.2); lengths of answers with properties have one or two bytes.
        [CONNACK, 0x80..=0xFF, _, _, code, ..] | [CONNACK, 0..=0x7F, _, code, ..] => {
            let _ = stream.write_all(&[0xE0, 0]);
            meaning(code)
        }
        [] => Err("MQTT: the other side closed the connection without an answer; if it speaks TLS, write mqtts:// in \
                   `ship.url`"
            .into()),
        [ALERT, ..] => Err("MQTT: the other side speaks TLS here: write mqtts:// in `ship.url`".into()),
        _ => Err("MQTT: the other side does not speak MQTT; check the port in `ship.url`".into()),
    }
}

fn meaning(code: u8) -> Result<String, String> {
    let why = match code {
        0 => return Ok("MQTT: CONNACK, this agent is admitted".into()),
        0x84 | 0x01 => "it does not speak MQTT 5",
        0x85 | 0x02 => "it rejects the client identifier",
        0x86 | 0x04 => "it rejects user name or password: check `ship.username` and `ship.password`",
        0x87 | 0x05 => "it denies access to this agent: check its access rules, and the certificate or login here",
        0x88 | 0x03 => "it is not available now",
        0x89 => "it is busy",
        0x8A => "it has banned this agent",
        _ => "it rejects the connection",
    };
    Err(format!("MQTT: CONNACK 0x{code:02X}, {why}"))
}

/// A CONNECT (MQTT 5, 3.1) with a clean start and a minute of keep-alive.
fn connect_packet(config: &Config, credentials: &Credentials) -> Vec<u8> {
    let mut body = b"\0\x04MQTT\x05".to_vec();
    body.push(0x02 | if credentials.login.is_some() { 0xC0 } else { 0 });
    body.extend([0, 60, 0]);
    let mut text = |text: &str| {
        let bytes = &text.as_bytes()[..text.len().min(usize::from(u16::MAX))];
        body.extend((bytes.len() as u16).to_be_bytes());
        body.extend(bytes);
    };
    text(&format!("{}.check", config.agent.name));
    if let Some((user, password)) = &credentials.login {
        text(user);
        text(password);
    }
    let mut packet = vec![0x10];
    let mut len = body.len();
    loop {
        let more = len >= 0x80;
        packet.push((len % 0x80) as u8 | if more { 0x80 } else { 0 });
        len /= 0x80;
        if !more {
            break;
        }
    }
    packet.extend(body);
    packet
}
