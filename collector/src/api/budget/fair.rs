//! Work of which a bounded amount is done at a time: waiting clients take turns.
//!
//! The next turn goes to the client with the fewest running turns, among these to the client whose last turn was
//! longest ago, and within one client to the first request. So a thousand requests of one client delay those of a
//! second one by one turn.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use super::{ClientAddress, Full};

/// A queue, and what is done of it.
#[derive(Debug)]
pub(in crate::api) struct Fair {
    places: usize,
    waiting_max: usize,
    line: Mutex<FairQueue>,
}

#[derive(Debug, Default)]
struct FairQueue {
    running: usize,
    /// Turns so far.
    turns: u64,
    clients: HashMap<ClientAddress, ClientShare>,
    waiting: VecDeque<(ClientAddress, oneshot::Sender<Turn>)>,
}

/// The turns of a client that runs or waits.
#[derive(Clone, Copy, Debug, Default)]
struct ClientShare {
    running: usize,
    last: u64,
}

/// A turn, until it is dropped.
#[derive(Debug)]
pub(in crate::api) struct Turn {
    of: ClientAddress,
    fair: Arc<Fair>,
}

impl Fair {
    /// So many at a time, and so many who wait.
    pub fn new(places: usize, waiting_max: usize) -> Arc<Self> {
        assert!(places > 0, "work is done somewhere");
        Arc::new(Self { places, waiting_max, line: Mutex::default() })
    }

    /// Waits for a turn; refuses where too many do already.
    pub async fn wait_turn(self: &Arc<Self>, of: ClientAddress) -> Result<Turn, Full> {
        let waits = {
            let mut line = self.lock();
            if line.running < self.places {
                line.begin(of);
                return Ok(Turn { of, fair: Arc::clone(self) });
            }
            line.waiting.retain(|(_, waits)| !waits.is_closed());
            if line.waiting.len() >= self.waiting_max {
                return Err(Full::All { most: self.waiting_max });
            }
            let (turn, waits) = oneshot::channel();
            line.waiting.push_back((of, turn));
            waits
        };
        Ok(waits.await.expect("whoever ends hands its turn on"))
    }

    /// A turn has ended: the next one begins.
    fn end(self: &Arc<Self>, of: ClientAddress) {
        let next = {
            let mut line = self.lock();
            line.ended(of);
            let next = line.next().inspect(|(of, _)| line.begin(*of));
            assert!(line.running <= self.places, "no more turns run than there are places");
            next
        };
        // Outside the lock: a turn whose client is gone ends at once, and comes here again.
        if let Some((of, waits)) = next {
            let _ = waits.send(Turn { of, fair: Arc::clone(self) });
        }
    }

    fn lock(&self) -> MutexGuard<'_, FairQueue> {
        // It is consistent at any time, also after a holder's panic.
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl FairQueue {
    fn begin(&mut self, of: ClientAddress) {
        self.running += 1;
        self.turns += 1;
        let last = self.turns;
        let served = self.clients.entry(of).or_default();
        *served = ClientShare { running: served.running + 1, last };
    }

    fn ended(&mut self, of: ClientAddress) {
        let served = self.clients.get_mut(&of).expect("its turn has begun");
        assert!(served.running > 0 && self.running >= served.running, "a turn that ends was counted");
        (self.running, served.running) = (self.running - 1, served.running - 1);
        if served.running == 0 && !self.waiting.iter().any(|(waits, _)| *waits == of) {
            self.clients.remove(&of);
        }
    }

    fn next(&mut self) -> Option<(ClientAddress, oneshot::Sender<Turn>)> {
        self.waiting.retain(|(_, waits)| !waits.is_closed());
        let served = |of: &ClientAddress| self.clients.get(of).copied().unwrap_or_default();
        let order = |at: &usize| {
            let ClientShare { running, last } = served(&self.waiting[*at].0);
            (running, last, *at)
        };
        let at = (0..self.waiting.len()).min_by_key(order)?;
        self.waiting.remove(at)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.fair.end(self.of);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    fn client(number: u8) -> ClientAddress {
        ClientAddress::of([10, 0, 0, number].into())
    }

    #[tokio::test]
    async fn a_client_with_one_question_waits_for_one_turn_behind_another_with_a_hundred() {
        let fair = Fair::new(1, 1000);
        let first = fair.wait_turn(client(1)).await.unwrap();
        let mut many: Vec<_> = (0..100).map(|_| Box::pin(fair.wait_turn(client(1)))).collect();
        assert!(many.iter_mut().all(|turn| turn.as_mut().now_or_never().is_none()));
        let mut one = Box::pin(fair.wait_turn(client(2)));
        assert!(one.as_mut().now_or_never().is_none());
        drop(first);
        let one = one.now_or_never().expect("by order of arrival it would be the last of 101").unwrap();
        assert!(many[0].as_mut().now_or_never().is_none());
        drop(one);
        let turn = many[0].as_mut().now_or_never().expect("then who came first").unwrap();
        drop((turn, many));
        assert!(fair.lock().clients.is_empty() && fair.lock().running == 0);
    }

    #[tokio::test]
    async fn a_turn_of_a_client_that_left_goes_to_the_next_and_too_many_waiting_are_refused() {
        let fair = Fair::new(2, 50);
        let held = (fair.wait_turn(client(1)).await.unwrap(), fair.wait_turn(client(1)).await.unwrap());
        let mut gone: Vec<_> = (0..50).map(|_| Box::pin(fair.wait_turn(client(1)))).collect();
        assert!(gone.iter_mut().all(|turn| turn.as_mut().now_or_never().is_none()));
        assert_eq!(fair.wait_turn(client(2)).await.map(drop), Err(Full::All { most: 50 }));
        // Some clients leave before their turn has come, and one when it has come and was not taken.
        gone.truncate(3);
        let mut last = Box::pin(fair.wait_turn(client(2)));
        assert!(last.as_mut().now_or_never().is_none());
        drop(held);
        drop(gone);
        assert!(last.now_or_never().is_some());
        assert!(fair.lock().clients.is_empty() && fair.lock().running == 0);
    }
}
