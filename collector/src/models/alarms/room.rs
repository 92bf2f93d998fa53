//! Which conditions are kept when there are too many: of each source the most important ones, as many as its share has.
//!
//! The share is the greatest one for which the conditions of all sources have room, and at most
//! [`MODEL_ALARMS_OF_ONE_MAX`]. Once all is full it only becomes smaller, until half of the room is free again.

use std::collections::BTreeMap;

use afferent_protocol::ids::{SourceId, Timestamp};

use super::condition::AlarmCondition;
use super::{AlarmWeight, AlarmsState, Key};
use crate::limits::{MODEL_ALARM_HORIZON_US, MODEL_ALARMS_BEYOND_MAX, MODEL_ALARMS_MAX, MODEL_ALARMS_OF_ONE_MAX};

/// Number of conditions that each source reports.
pub(super) type Counts = BTreeMap<SourceId, usize>;

/// The size of a share when sources want these numbers; the share before was `share`.
pub(super) fn share_of(counts: &Counts, share: usize) -> usize {
    let total: usize = counts.values().sum();
    if total <= MODEL_ALARMS_MAX / 2 {
        return MODEL_ALARMS_OF_ONE_MAX;
    }
    share.min(equal_share(counts.values().copied().collect(), MODEL_ALARMS_MAX)).min(MODEL_ALARMS_OF_ONE_MAX)
}

/// The greatest share for which all have room: each has as many as it wants, or as many as every other. At least one.
fn equal_share(mut wanted: Vec<usize>, room: usize) -> usize {
    wanted.sort_unstable();
    let (mut left, mut sources) = (room, wanted.len());
    for count in wanted {
        if count * sources > left {
            return (left / sources).max(1);
        }
        left -= count;
        sources -= 1;
    }
    room
}

/// Number of these conditions that each source reports.
pub(super) fn counts_of<'c>(conditions: impl Iterator<Item = &'c AlarmCondition>) -> Counts {
    let mut counts = Counts::new();
    for source in conditions.flat_map(|condition| condition.claims()) {
        *counts.entry(*source).or_default() += 1;
    }
    counts
}

/// Splits conditions, given the most important first, into those that have room in the share of one of their sources,
/// and the rest.
pub(super) fn parted<'c>(
    conditions: Vec<(&'c Key, &'c AlarmCondition)>,
    share: usize,
) -> [Vec<(&'c Key, &'c AlarmCondition)>; 2] {
    let (mut used, mut all) = (Counts::new(), 0);
    let (kept, beyond) = conditions.into_iter().partition(|(_, condition)| {
        let mut is_kept = false;
        for source in condition.claims() {
            let used = used.entry(*source).or_default();
            if *used < share && all < MODEL_ALARMS_MAX {
                (*used, all, is_kept) = (*used + 1, all + 1, true);
            }
        }
        is_kept
    });
    [kept, beyond]
}

impl AlarmsState {
    /// Whether there are more conditions than may stay.
    pub(super) fn is_crowded(&self, of_source: usize, all: usize) -> bool {
        all >= MODEL_ALARMS_MAX + MODEL_ALARMS_BEYOND_MAX
            || of_source >= MODEL_ALARMS_OF_ONE_MAX + MODEL_ALARMS_BEYOND_MAX
    }

    /// Drops the least important conditions until every source is within its share. It drops many at once, so that an
    /// event costs little.
    pub(super) fn make_room(&mut self, ingest: Timestamp) {
        let horizon = Timestamp::clamped(self.latest.micros().saturating_sub(MODEL_ALARM_HORIZON_US));
        let mut gone = self.beyond_horizon(horizon);
        gone.drain(..).for_each(|(source, weight, key)| self.drop_claim(source, weight, &key, ingest));
        let counts = counts_of(self.conditions.values());
        self.share = share_of(&counts, self.share);
        let mut weights: BTreeMap<SourceId, Vec<(AlarmWeight, &Key)>> = BTreeMap::new();
        for (key, condition) in &self.conditions {
            let weight = condition.weight(self.latest, horizon);
            let crowded = condition.claims().iter().filter(|source| counts[*source] > self.share);
            crowded.for_each(|source| weights.entry(*source).or_default().push((weight, key)));
        }
        for (source, weights) in &mut weights {
            let count = weights.len() - self.share;
            weights.select_nth_unstable(count - 1);
            gone.extend(weights[..count].iter().map(|(weight, key)| (*source, *weight, (*key).clone())));
        }
        drop(weights);
        gone.drain(..).for_each(|(source, weight, key)| self.drop_claim(source, weight, &key, ingest));
        // More sources than there is room for, with one condition each.
        let mut left: Vec<(SourceId, AlarmWeight, Key)> = Vec::new();
        let all: usize = self.conditions.values().map(|condition| condition.claims().len()).sum();
        if all > MODEL_ALARMS_MAX {
            left.extend(self.claims(horizon));
            left.sort_unstable_by(|one, other| (one.1, &one.2, one.0).cmp(&(other.1, &other.2, other.0)));
            left.truncate(all - MODEL_ALARMS_MAX);
        }
        left.drain(..).for_each(|(source, weight, key)| self.drop_claim(source, weight, &key, ingest));
    }

    /// The conditions that have been over for so long that late raises are not expected, when the table is full: the
    /// oldest first.
    fn beyond_horizon(&self, horizon: Timestamp) -> Vec<(SourceId, AlarmWeight, Key)> {
        let all: usize = self.conditions.values().map(|condition| condition.claims().len()).sum();
        if all <= MODEL_ALARMS_MAX {
            return Vec::new();
        }
        let mut beyond: Vec<_> =
            self.claims(horizon).filter(|(_, weight, _)| matches!(weight, AlarmWeight::Beyond(_))).collect();
        beyond.sort_unstable_by(|one, other| (one.1, &one.2, one.0).cmp(&(other.1, &other.2, other.0)));
        beyond.truncate(all - MODEL_ALARMS_MAX);
        beyond
    }

    fn claims(&self, horizon: Timestamp) -> impl Iterator<Item = (SourceId, AlarmWeight, Key)> {
        self.conditions.iter().flat_map(move |(key, condition)| {
            let weight = condition.weight(self.latest, horizon);
            condition.claims().iter().map(move |source| (*source, weight, key.clone()))
        })
    }

    fn drop_claim(&mut self, source: SourceId, weight: AlarmWeight, key: &Key, ingest: Timestamp) {
        let condition = self.conditions.get_mut(key).expect("it was found there");
        if condition.release(source) {
            return;
        }
        self.conditions.remove(key);
        match weight {
            AlarmWeight::Beyond(last) | AlarmWeight::Over(last) => self.horizon = self.horizon.max(Some(last)),
            AlarmWeight::Alarm(priority, _) => {
                *self.dropped.entry(priority).or_default() += 1;
                self.not_shown.count_dropped(source, ingest);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_as_large_as_all_of_them_can_have() {
        assert_eq!(equal_share(vec![3, 4], 10), 10, "all have room");
        assert_eq!(equal_share(vec![100, 2], 10), 8, "who wants little has it, and the rest is for the other one");
        assert_eq!(equal_share(vec![100, 2, 7], 12), 5);
        assert_eq!(equal_share(vec![1; 20], 10), 1, "nobody has less than one");
        for wanted in [vec![9, 9, 9], vec![1, 2, 3, 50, 60], vec![30], vec![5, 5, 6]] {
            let share = equal_share(wanted.clone(), 16);
            let taken = |share: usize| wanted.iter().map(|count| (*count).min(share)).sum::<usize>();
            assert!(taken(share) <= 16, "{wanted:?}");
            assert!(share == 16 || taken(share + 1) > 16, "{wanted:?} could have more than {share}");
        }
    }
}
