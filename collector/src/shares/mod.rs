//! A limited resource: all clients together get a total, and one client address a part of it.
//!
//! - [`Shares`]: amounts that are held and given back
//! - [`Buckets`]: amounts that are used up, and come back with time

mod buckets;

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub use buckets::Buckets;
use serde::{Deserialize, Serialize};

/// The owner of a share: an IPv4 address, or the /64 network of an IPv6 address, which is one site's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ClientAddress(IpAddr);

impl fmt::Display for ClientAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            IpAddr::V4(address) => address.fmt(f),
            IpAddr::V6(network) => write!(f, "{network}/64"),
        }
    }
}

impl ClientAddress {
    /// The address of a peer.
    pub fn of(peer: IpAddr) -> Self {
        match peer.to_canonical() {
            IpAddr::V4(address) => Self(address.into()),
            IpAddr::V6(address) => Self(IpAddr::V6((u128::from(address) >> 64 << 64).into())),
        }
    }
}

/// The amounts held by each address.
#[derive(Debug)]
pub struct Shares {
    total: usize,
    of_one: usize,
    held: Mutex<Amounts>,
}

#[derive(Debug, Default)]
struct Amounts {
    all: usize,
    by: HashMap<ClientAddress, usize>,
}

/// Why a share is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Full {
    /// This client holds the largest amount for one.
    One {
        /// The largest amount for one.
        most: usize,
    },
    /// All clients together hold the total.
    All {
        /// The total.
        most: usize,
    },
}

/// An amount held by a client, until it is dropped.
#[derive(Debug)]
pub struct Share {
    of: ClientAddress,
    count: usize,
    shares: Arc<Shares>,
}

impl Shares {
    /// A total, and the part of it that one client address may hold.
    pub fn new(total: usize, of_one: usize) -> Arc<Self> {
        assert!(of_one <= total, "nobody has more than there is");
        Arc::new(Self { total, of_one, held: Mutex::default() })
    }

    /// Takes an amount for a client.
    pub fn take(self: &Arc<Self>, of: ClientAddress, count: usize) -> Result<Share, Full> {
        let mut share = Share { of, count: 0, shares: Arc::clone(self) };
        share.grow(count)?;
        Ok(share)
    }

    /// The amount that all clients hold.
    pub fn held(&self) -> usize {
        self.lock().all
    }

    fn lock(&self) -> MutexGuard<'_, Amounts> {
        // It is consistent at any time, also after a holder's panic.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Share {
    /// Takes more.
    pub fn grow(&mut self, more: usize) -> Result<(), Full> {
        let Shares { total, of_one, .. } = *self.shares;
        let mut held = self.shares.lock();
        if more > total - held.all {
            return Err(Full::All { most: total });
        }
        let own = held.by.get(&self.of).copied().unwrap_or(0);
        if more > of_one - own {
            return Err(Full::One { most: of_one });
        }
        if more > 0 {
            held.by.insert(self.of, own + more);
        }
        held.all += more;
        assert!(held.all <= total, "clients hold no more than there is");
        self.count += more;
        Ok(())
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        if self.count == 0 {
            return;
        }
        let mut held = self.shares.lock();
        held.all = held.all.checked_sub(self.count).expect("what is given back was taken");
        let own = held.by.get(&self.of).and_then(|own| own.checked_sub(self.count));
        match own.expect("it was taken by this client") {
            0 => held.by.remove(&self.of),
            own => held.by.insert(self.of, own),
        };
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn address(text: &str) -> ClientAddress {
        ClientAddress::of(text.parse().unwrap())
    }

    #[test]
    fn one_client_cannot_take_what_is_left_for_others() {
        let shares = Shares::new(4, 3);
        let (a, b) = (address("10.0.0.1"), address("10.0.0.2"));
        let held: Vec<Share> = (0..3).map(|_| shares.take(a, 1).unwrap()).collect();
        assert_eq!(shares.take(a, 1).unwrap_err(), Full::One { most: 3 });
        let last = shares.take(b, 1).unwrap();
        assert_eq!(shares.take(b, 1).unwrap_err(), Full::All { most: 4 });
        drop((held, last));
        assert_eq!(shares.held(), 0);
        assert!(shares.lock().by.is_empty(), "who holds nothing is not remembered");
    }

    #[test]
    fn a_site_is_one_client_however_many_addresses_it_has() {
        assert_eq!(address("2001:db8:1:2::1"), address("2001:db8:1:2:ffff::9"));
        assert_ne!(address("2001:db8:1:2::1"), address("2001:db8:1:3::1"));
        assert_eq!(address("::ffff:10.0.0.1"), address("10.0.0.1"));
        assert_ne!(address("10.0.0.1"), address("10.0.0.2"));
    }

    proptest! {
        #[test]
        fn no_order_of_taking_and_giving_back_goes_beyond_a_bound_or_loses_any(
            steps in proptest::collection::vec((0_u8..4, 0_usize..5, any::<bool>()), 1..200),
        ) {
            let shares = Shares::new(10, 6);
            let mut held: Vec<(u8, Share)> = Vec::new();
            for (client, count, takes) in steps {
                if !takes && !held.is_empty() {
                    held.remove(count % held.len());
                    continue;
                }
                let sum = |of: Option<u8>| -> usize {
                    held.iter().filter(|(by, _)| of.is_none_or(|of| of == *by)).map(|(_, share)| share.count).sum()
                };
                let (all, own) = (sum(None), sum(Some(client)));
                let expected = if all + count > 10 {
                    Err(Full::All { most: 10 })
                } else if own + count > 6 {
                    Err(Full::One { most: 6 })
                } else {
                    Ok(())
                };
                let taken = shares.take(ClientAddress::of([10, 0, 0, client].into()), count);
                prop_assert_eq!(taken.as_ref().map(drop).map_err(|full| *full), expected);
                held.extend(taken.ok().map(|share| (client, share)));
            }
            prop_assert_eq!(shares.held(), held.iter().map(|(_, share)| share.count).sum::<usize>());
        }
    }
}
