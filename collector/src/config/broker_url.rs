//! `mqtt://host[:port]` and `mqtts://host[:port]`.

use serde::Deserialize;

/// Where a broker is.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct BrokerUrl {
    /// Whether with TLS.
    pub tls: bool,
    /// Name or address, an IPv6 address without its brackets.
    pub host: String,
    /// The port; 1883, or 8883 with TLS, unless given.
    pub port: u16,
}

/// Why it is no broker's URL.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not a broker's URL; write mqtt://host, mqtts://host or mqtts://host:port, and login and files in [broker_client]"
)]
pub struct BrokerUrlError(String);

impl TryFrom<String> for BrokerUrl {
    type Error = BrokerUrlError;

    fn try_from(text: String) -> Result<Self, BrokerUrlError> {
        parse(&text).ok_or(BrokerUrlError(text))
    }
}

impl std::fmt::Display for BrokerUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
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
    let default_port = if tls { 8883 } else { 1883 };
    let (host, port) = if let Some(rest) = rest.strip_prefix('[') {
        let (host, after) = rest.split_once(']')?;
        host.parse::<std::net::Ipv6Addr>().ok()?;
        (host, if after.is_empty() { None } else { Some(after.strip_prefix(':')?) })
    } else {
        let mut parts = rest.splitn(2, ':');
        (parts.next()?, parts.next())
    };
    let port = port.map_or(Some(default_port), |port| port.parse().ok().filter(|port| *port != 0))?;
    let valid =
        !host.is_empty() && host.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':'));
    valid.then(|| BrokerUrl { tls, host: host.to_owned(), port })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_of_brokers_are_read_and_others_refused() {
        for (text, tls, host, port) in [
            ("mqtt://localhost", false, "localhost", 1883),
            ("mqtts://broker.plant:8884/", true, "broker.plant", 8884),
            ("mqtts://10.0.0.1", true, "10.0.0.1", 8883),
            ("mqtt://[::1]:1884", false, "::1", 1884),
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
            "mqtt://a b",
        ] {
            assert!(BrokerUrl::try_from(text.to_owned()).is_err(), "{text}");
        }
    }
}
