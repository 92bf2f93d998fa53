//! Tokens: one client address can use up a number of them at once, and gets them back with time.

use std::collections::HashMap;
use std::time::Duration;

use super::ClientAddress;

/// A bucket of tokens for each address, and one for all clients without a known address.
///
/// A bucket is one number: when it will be full again (the generic cell rate algorithm of ITU-T I.371). A full one is
/// not stored. The number of stored buckets is bounded; addresses beyond it use the bucket for unknown addresses.
#[derive(Clone, Debug)]
pub struct Buckets {
    tokens_max: u32,
    token_us: u64,
    addresses_max: usize,
    full_at_us: HashMap<Option<ClientAddress>, u64>,
    /// When full buckets were last removed.
    swept_us: u64,
}

impl Buckets {
    /// Buckets with this number of tokens each; an empty one is full again after `fill`.
    pub fn new(tokens_max: u32, fill: Duration, addresses_max: usize) -> Self {
        assert!(tokens_max > 0 && addresses_max > 0, "an empty bucket lets nobody in");
        let token_us = (fill.as_micros() as u64 / u64::from(tokens_max)).max(1);
        Self { tokens_max, token_us, addresses_max, full_at_us: HashMap::new(), swept_us: 0 }
    }

    /// Number of tokens of a full bucket.
    pub fn tokens_max(&self) -> u32 {
        self.tokens_max
    }

    /// The time in which an empty bucket becomes full.
    pub fn fill(&self) -> Duration {
        Duration::from_micros(self.token_us * u64::from(self.tokens_max))
    }

    /// Whether there is a token.
    pub fn has(&self, of: Option<ClientAddress>, now_us: u64) -> bool {
        self.full_at(&self.bucket(of), now_us) + self.token_us <= now_us + self.fill_us()
    }

    /// Takes a token; returns whether there was one.
    pub fn take(&mut self, of: Option<ClientAddress>, now_us: u64) -> bool {
        self.make_room(of, now_us);
        if !self.has(of, now_us) {
            return false;
        }
        let bucket = self.bucket(of);
        let full_at_us = self.full_at(&bucket, now_us) + self.token_us;
        self.full_at_us.insert(bucket, full_at_us);
        true
    }

    /// Returns an unused token.
    pub fn give_back(&mut self, of: Option<ClientAddress>) {
        let (bucket, token_us) = (self.bucket(of), self.token_us);
        self.full_at_us.entry(bucket).and_modify(|at_us| *at_us = at_us.saturating_sub(token_us));
    }

    fn fill_us(&self) -> u64 {
        self.token_us * u64::from(self.tokens_max)
    }

    fn full_at(&self, bucket: &Option<ClientAddress>, now_us: u64) -> u64 {
        self.full_at_us.get(bucket).map_or(now_us, |at_us| (*at_us).max(now_us))
    }

    /// The address of its own bucket, if it has one or can get one.
    fn bucket(&self, of: Option<ClientAddress>) -> Option<ClientAddress> {
        of.filter(|_| self.full_at_us.len() < self.addresses_max || self.full_at_us.contains_key(&of))
    }

    /// Removes full buckets; seldom, as that walks over all of them.
    fn make_room(&mut self, of: Option<ClientAddress>, now_us: u64) {
        let is_short = self.full_at_us.len() >= self.addresses_max && !self.full_at_us.contains_key(&of);
        if is_short && now_us >= self.swept_us + self.token_us {
            self.swept_us = now_us;
            self.full_at_us.retain(|_, at_us| *at_us > now_us);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::limits::{NAMES_FILL_TIME, NAMES_NEW_OF_ONE};

    const SECOND_US: u64 = 1_000_000;

    fn address(number: u32) -> Option<ClientAddress> {
        Some(ClientAddress::of(std::net::Ipv4Addr::from(number).into()))
    }

    fn default_buckets() -> Buckets {
        Buckets::new(NAMES_NEW_OF_ONE, NAMES_FILL_TIME, 100)
    }

    /// The seconds until this number of agents behind one address are in, if each tries every 32 s, their longest
    /// interval.
    fn all_in_after_s(agents: usize, with: &mut Buckets) -> u64 {
        let mut outside: Vec<u64> = (0..agents as u64).map(|agent| agent % 32).collect();
        for second in 0.. {
            let now_us = 1 + second * SECOND_US;
            outside.retain(|at| second % 32 != *at || !with.take(address(1), now_us));
            if outside.is_empty() {
                return second;
            }
        }
        unreachable!("tokens come back")
    }

    #[test]
    fn a_plant_of_a_thousand_agents_behind_one_address_is_in_at_once_and_ten_thousand_names_take_more_than_an_hour() {
        let first_try_s = 31;
        assert_eq!(all_in_after_s(1000, &mut default_buckets()), first_try_s, "nobody is refused");
        let of_two_thousand = all_in_after_s(2000, &mut default_buckets());
        assert!((500..700).contains(&of_two_thousand), "{of_two_thousand} s");
        assert!(all_in_after_s(10_000, &mut default_buckets()) > 3600);
        let mut raised = Buckets::new(4000, NAMES_FILL_TIME, 100);
        assert_eq!(all_in_after_s(4000, &mut raised), first_try_s, "the setting lets a larger plant in");
    }

    #[test]
    fn an_address_that_has_used_its_tokens_up_takes_none_of_others() {
        let mut buckets = default_buckets();
        let taken = (0..10_000).filter(|_| buckets.take(address(1), 1)).count();
        assert_eq!(taken, NAMES_NEW_OF_ONE as usize);
        assert!(buckets.take(address(2), 1) && buckets.take(None, 1));
        assert!(!buckets.has(address(1), 1));
        let token_us = NAMES_FILL_TIME.as_micros() as u64 / u64::from(NAMES_NEW_OF_ONE);
        assert!(buckets.has(address(1), 1 + token_us) && buckets.take(address(1), 1 + token_us));
        assert!(!buckets.take(address(1), 1 + token_us), "one, and not all of them");
        buckets.give_back(address(1));
        assert!(buckets.take(address(1), 1 + token_us));
    }

    #[test]
    fn addresses_are_bounded_those_beyond_share_and_full_buckets_are_forgotten() {
        let mut buckets = Buckets::new(3, Duration::from_secs(30), 100);
        let taken = (0..10_000).filter(|number| buckets.take(address(*number), 1)).count();
        assert_eq!(taken, 100 + 3, "one each, and of the others three");
        assert_eq!(buckets.full_at_us.len(), 101);
        assert!(buckets.take(address(5), 1), "who has a bucket goes on with it");
        let later_us = 1 + 31 * SECOND_US;
        let taken = (20_000..30_000).filter(|number| buckets.take(address(*number), later_us)).count();
        assert_eq!(taken, 100 + 3, "room comes back");
    }

    proptest! {
        #[test]
        fn in_no_span_more_is_taken_than_a_bucket_and_what_comes_back_in_it(
            steps in proptest::collection::vec((0_u64..5_000_000, 1_usize..8), 1..60),
        ) {
            let mut buckets = Buckets::new(5, Duration::from_secs(50), 10);
            let (mut now_us, mut taken) = (1, Vec::new());
            for (pause_us, tries) in steps {
                now_us += pause_us;
                taken.extend((0..tries).filter(|_| buckets.take(address(1), now_us)).map(|_| now_us));
            }
            for (at, from_us) in taken.iter().enumerate() {
                for (count, until_us) in taken[at..].iter().enumerate() {
                    let allowed = 5 + (until_us - from_us) / (10 * SECOND_US);
                    prop_assert!((count as u64) < allowed, "{} within {} us", count + 1, until_us - from_us);
                }
            }
        }
    }
}
