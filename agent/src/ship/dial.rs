//! The way to a host that may have several addresses, some of which lead nowhere: attempts begin one after the other
//! and go on side by side ("happy eyeballs", RFC 8305), and the first that stands wins.

use std::io;
use std::net::SocketAddr;

use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::limits::{ADDRESSES_MAX, DIAL_STAGGER};

/// Looks the name up and connects.
pub(super) async fn dial(host: &str, port: u16) -> io::Result<TcpStream> {
    // An address of IP version 6 may stand in brackets, as in the URL.
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let found = tokio::net::lookup_host((host, port)).await?;
    race(&in_turns(found)).await
}

/// The versions of IP in turns, beginning with what the system put first.
fn in_turns(found: impl IntoIterator<Item = SocketAddr>) -> Vec<SocketAddr> {
    let found: Vec<SocketAddr> = found.into_iter().collect();
    let first_is_v6 = found.first().is_some_and(SocketAddr::is_ipv6);
    let (one, other): (Vec<_>, Vec<_>) = found.into_iter().partition(|address| address.is_ipv6() == first_is_v6);
    let mut turns = Vec::new();
    for at in 0..one.len().max(other.len()) {
        turns.extend(one.get(at).copied());
        turns.extend(other.get(at).copied());
    }
    turns.truncate(ADDRESSES_MAX);
    turns
}

async fn race(addresses: &[SocketAddr]) -> io::Result<TcpStream> {
    let mut waiting = addresses.iter().copied();
    let mut attempts = JoinSet::new();
    let mut failed = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    loop {
        let begun = waiting.next().map(|address| attempts.spawn(connect(address))).is_some();
        // The others end with the set.
        let ended = match begun {
            true => tokio::time::timeout(DIAL_STAGGER, attempts.join_next()).await,
            false => Ok(attempts.join_next().await),
        };
        match ended {
            Ok(Some(Ok(Ok(stream)))) => return Ok(stream),
            Ok(Some(Ok(Err(error)))) => failed = error,
            Ok(None) => return Err(failed),
            Ok(Some(Err(_))) | Err(_) => {}
        }
    }
}

async fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let named = |error: io::Error| io::Error::new(error.kind(), format!("{address}: {error}"));
    let stream = TcpStream::connect(address).await.map_err(named)?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

#[cfg(test)]
mod tests {
    use tokio::net::{TcpListener, TcpSocket};

    use std::time::Duration;

    use super::*;

    /// An address that answers no attempt, as one behind a firewall does: its queue is full and is never emptied.
    async fn black_hole() -> (TcpListener, Vec<TcpStream>, SocketAddr) {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let listener = socket.listen(1).unwrap();
        let address = listener.local_addr().unwrap();
        let mut taken = Vec::new();
        loop {
            match tokio::time::timeout(Duration::from_millis(500), TcpStream::connect(address)).await {
                Ok(stream) => taken.push(stream.unwrap()),
                Err(_) => return (listener, taken, address),
            }
            assert!(taken.len() < 1000, "this system's queue has no end");
        }
    }

    #[tokio::test]
    async fn a_first_address_that_leads_nowhere_does_not_keep_the_others_waiting() {
        let good = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = good.local_addr().unwrap();
        let (_listener, _taken, hole) = black_hole().await;
        let stream = tokio::time::timeout(Duration::from_secs(60), race(&[hole, address])).await.unwrap().unwrap();
        assert_eq!(stream.peer_addr().unwrap(), address);
        // The control: one after the other, as a plain connect does it, the second is not reached for as long.
        let both = [hole, address];
        let one_by_one = TcpStream::connect(&both[..]);
        assert!(tokio::time::timeout(4 * DIAL_STAGGER, one_by_one).await.is_err());
    }

    #[tokio::test]
    async fn when_all_refuse_the_last_reason_names_its_address() {
        let address = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let error = race(&[address, address]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
        assert!(error.to_string().starts_with(&address.to_string()), "{error}");
        assert_eq!(race(&[]).await.unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn the_versions_of_ip_take_turns_and_only_some_addresses_are_tried() {
        let address = |text: &str| SocketAddr::new(text.parse().unwrap(), 1);
        let found = ["::1", "::2", "10.0.0.1", "10.0.0.2", "::3"].map(address);
        let turns = ["::1", "10.0.0.1", "::2", "10.0.0.2", "::3"].map(address);
        assert_eq!(in_turns(found), turns);
        assert_eq!(in_turns((0..100).map(|_| address("::1"))).len(), ADDRESSES_MAX);
    }
}
