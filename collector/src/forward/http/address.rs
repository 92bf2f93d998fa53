//! The addresses that a forward may connect to over HTTP.
//!
//! A name is resolved here, and the connection uses exactly the addresses that were checked: an answer that changes
//! between check and use changes nothing. Loopback, link-local and multicast addresses, and those at which clouds hand
//! out credentials, need a permission in the configuration.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;
use std::sync::Arc;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use serde::Deserialize;

/// Addresses outside of link-local networks at which clouds hand out credentials: Alibaba, Oracle, AWS (IPv6).
const METADATA: [IpAddr; 3] = [
    IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)),
    IpAddr::V4(Ipv4Addr::new(192, 0, 0, 192)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)),
];

/// A network: `127.0.0.1`, `10.1.0.0/16`, `::1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Network {
    address: IpAddr,
    prefix: u8,
}

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is not an address or a network, as 127.0.0.1 or 10.1.0.0/16");
        let (address, prefix) = text.split_once('/').map_or((text, None), |(address, prefix)| (address, Some(prefix)));
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let bits = if address.is_ipv4() { 32 } else { 128 };
        let prefix = prefix.map_or(Ok(bits), str::parse).map_err(|_| wrong())?;
        if prefix > bits { Err(wrong()) } else { Ok(Self { address, prefix }) }
    }
}

impl TryFrom<String> for Network {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl Network {
    fn has(&self, address: IpAddr) -> bool {
        let bits = |address: IpAddr| match address {
            IpAddr::V4(address) => (u128::from(address.to_bits()), 32),
            IpAddr::V6(address) => (address.to_bits(), 128),
        };
        let ((own, len), (other, other_len)) = (bits(self.address), bits(address));
        let shift = len - u32::from(self.prefix);
        len == other_len && own.checked_shr(shift) == other.checked_shr(shift)
    }
}

/// The address must not be connected to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::forward) struct Forbidden {
    address: IpAddr,
    why: &'static str,
}

impl fmt::Display for Forbidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { address, why } = self;
        write!(f, "{address} is {why}; if that is meant, add it: allow = [\"{address}\"]")
    }
}

impl std::error::Error for Forbidden {}

/// Checks an address.
pub(in crate::forward) fn check(address: IpAddr, allowed: &[Network]) -> Result<(), Forbidden> {
    let address = address.to_canonical();
    if allowed.iter().any(|network| network.has(address)) {
        return Ok(());
    }
    let is_link_local = match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    };
    let why = if address.is_loopback() {
        "this machine itself"
    } else if address.is_unspecified() || address == IpAddr::V4(Ipv4Addr::BROADCAST) {
        "no address of a machine"
    } else if METADATA.contains(&address) {
        "an address at which clouds hand out credentials"
    } else if is_link_local {
        "a link-local address, where clouds hand out credentials"
    } else if address.is_multicast() {
        "a multicast address"
    } else {
        return Ok(());
    };
    Err(Forbidden { address, why })
}

/// Resolves names by the system, and passes on only addresses that may be connected to.
pub(in crate::forward) struct CheckedResolver {
    pub(super) allowed: Arc<[Network]>,
}

impl Resolve for CheckedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let allowed = Arc::clone(&self.allowed);
        Box::pin(async move {
            let found: Vec<SocketAddr> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            let mut forbidden = None;
            let good: Vec<SocketAddr> = found
                .into_iter()
                .filter(|found| check(found.ip(), &allowed).map_err(|why| forbidden = Some(why)).is_ok())
                .collect();
            match forbidden {
                Some(why) if good.is_empty() => Err(why.into()),
                _ => Ok(Box::new(good.into_iter()) as Addrs),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_that_are_no_other_machine_or_hand_out_credentials_need_a_permission() {
        for address in [
            "127.0.0.1",
            "127.9.9.9",
            "::1",
            "::ffff:127.0.0.1",
            "0.0.0.0",
            "::",
            "169.254.169.254",
            "::ffff:169.254.169.254",
            "fe80::1",
            "fd00:ec2::254",
            "100.100.100.200",
            "224.0.0.1",
            "ff02::1",
            "255.255.255.255",
        ] {
            let parsed = address.parse().unwrap();
            assert!(check(parsed, &[]).is_err(), "{address}");
            let canonical = parsed.to_canonical().to_string();
            assert_eq!(check(parsed, &[canonical.parse().unwrap()]), Ok(()), "{address}");
        }
        for address in ["10.0.0.7", "192.168.1.1", "172.16.0.1", "8.8.8.8", "2001:db8::1", "fd12::1"] {
            assert_eq!(check(address.parse().unwrap(), &[]), Ok(()), "{address}");
        }
    }

    #[test]
    fn a_network_has_the_addresses_with_its_prefix() {
        let has = |network: &str, address: &str| network.parse::<Network>().unwrap().has(address.parse().unwrap());
        assert!(has("127.0.0.0/8", "127.1.2.3") && !has("127.0.0.0/8", "128.0.0.1"));
        assert!(has("0.0.0.0/0", "9.9.9.9") && !has("0.0.0.0/0", "::1"));
        assert!(has("fe80::/10", "fe80::1") && has("::1", "::1") && has("::/0", "ff02::1"));
        for wrong in ["", "a", "127.0.0.1/33", "::1/129", "127.0.0.1/-1", "127.0.0.1/"] {
            assert!(wrong.parse::<Network>().unwrap_err().contains("10.1.0.0/16"), "{wrong}");
        }
    }
}
