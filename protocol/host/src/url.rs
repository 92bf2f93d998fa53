//! Where a broker is: `mqtt://HOST[:PORT]`, or `mqtts://HOST[:PORT]` with TLS.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use serde::Deserialize;

/// The port of MQTT (IANA), and that of MQTT over TLS.
const PORTS: (u16, u16) = (1883, 8883);

/// Whether a host, as it stands in a URL, is this machine: what is sent there does not leave it.
pub fn is_this_machine(host: &str) -> bool {
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    host == "localhost" || host.parse().is_ok_and(|address: IpAddr| address.to_canonical().is_loopback())
}

/// The URL of a broker.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct BrokerUrl {
    /// Whether TLS is spoken.
    pub tls: bool,
    /// Name or address, an IPv6 address without its brackets.
    pub host: String,
    /// The port; 1883, or 8883 with TLS, unless given.
    pub port: u16,
}

/// The text is not the URL of a broker. The error does not repeat it: it may contain a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("write a broker's URL as mqtt://HOST:PORT or mqtts://HOST:PORT; login and files have separate keys")]
pub struct BrokerUrlError;

impl TryFrom<String> for BrokerUrl {
    type Error = BrokerUrlError;

    fn try_from(text: String) -> Result<Self, BrokerUrlError> {
        text.parse()
    }
}

impl FromStr for BrokerUrl {
    type Err = BrokerUrlError;

    fn from_str(text: &str) -> Result<Self, BrokerUrlError> {
        parse(text).ok_or(BrokerUrlError)
    }
}

impl BrokerUrl {
    /// Plain MQTT at an address.
    pub fn plain(address: SocketAddr) -> Self {
        Self { tls: false, host: address.ip().to_string(), port: address.port() }
    }
}

impl fmt::Display for BrokerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "mqtts" } else { "mqtt" };
        if self.host.contains(':') {
            write!(f, "{scheme}://[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{scheme}://{}:{}", self.host, self.port)
        }
    }
}

fn parse(text: &str) -> Option<BrokerUrl> {
    let (tls, rest) = match text.split_once("://")? {
        ("mqtt", rest) => (false, rest),
        ("mqtts", rest) => (true, rest),
        _ => return None,
    };
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    let default_port = if tls { PORTS.1 } else { PORTS.0 };
    let (host, port) = if let Some(rest) = rest.strip_prefix('[') {
        let (host, after) = rest.split_once(']')?;
        // A link-local address names its interface (RFC 6874).
        let (address, zone) = host.split_once('%').unwrap_or((host, "0"));
        address.parse::<Ipv6Addr>().ok().filter(|_| is_plain(zone))?;
        (host, if after.is_empty() { None } else { Some(after.strip_prefix(':')?) })
    } else {
        let mut parts = rest.splitn(2, ':');
        (parts.next()?, parts.next())
    };
    let port = port.map_or(Some(default_port), |port| port.parse().ok().filter(|port| *port != 0))?;
    let is_valid = host.contains(':') || is_plain(host);
    is_valid.then(|| BrokerUrl { tls, host: host.to_owned(), port })
}

/// Whether it is made of what names of hosts and interfaces are made of.
fn is_plain(name: &str) -> bool {
    !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_is_loopback_in_every_spelling() {
        for host in ["localhost", "127.0.0.1", "127.8.9.1", "::1", "[::1]", "::ffff:127.0.0.1"] {
            assert!(is_this_machine(host), "{host}");
        }
        for host in ["localhost.example", "128.0.0.1", "::2", "[::1", "0.0.0.0", ""] {
            assert!(!is_this_machine(host), "{host}");
        }
    }

    #[test]
    fn urls_of_brokers_are_read_and_others_refused() {
        for (text, tls, host, port) in [
            ("mqtt://localhost", false, "localhost", 1883),
            ("mqtts://broker.plant:8884/", true, "broker.plant", 8884),
            ("mqtts://10.0.0.1", true, "10.0.0.1", 8883),
            ("mqtt://[::1]:1884", false, "::1", 1884),
            ("mqtt://[fe80::1%eth0]", false, "fe80::1%eth0", 1883),
        ] {
            let url = BrokerUrl::try_from(text.to_owned()).unwrap();
            assert_eq!(url, BrokerUrl { tls, host: host.to_owned(), port });
            assert_eq!(BrokerUrl::try_from(url.to_string()), Ok(url));
        }
        for text in [
            "",
            "broker",
            "http://x",
            "mqtt://",
            "mqtt://x:0",
            "mqtt://x:99999",
            "mqtt://u:p@x",
            "mqtt://[x]",
            "mqtt://::1",
            "mqtt://[::1",
            "mqtt://[::1%]",
            "mqtt://x:",
            "mqtt://a b",
        ] {
            assert!(BrokerUrl::try_from(text.to_owned()).is_err(), "{text}");
        }
        let refused = "mqtt://me:hush@x".parse::<BrokerUrl>().unwrap_err();
        assert!(!refused.to_string().contains("hush"), "{refused}");
    }
}
