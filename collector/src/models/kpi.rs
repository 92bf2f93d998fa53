//! `kpi`: key figures of every machine after ISO 22400-2 (Key performance indicators for manufacturing operations).
//!
//! | figure | formula | of |
//! |---|---|---|
//! | `availability` | APT / PBT | ISO 22400-2, availability |
//! | `effectiveness` | PRU · PQ / APT | ISO 22400-2, effectiveness |
//! | `quality` | GQ / PQ | ISO 22400-2, quality ratio |
//! | `oee` | availability · effectiveness · quality | ISO 22400-2, OEE index |
//! | `mtbf_s` | mean of TBF | ISO 22400-2, mean operating time between failures |
//! | `mttr_s` | mean of TTR | ISO 22400-2, mean time to restoration |
//!
//! TBF, the operating time between failures, is that between two consecutive failures, and TTR, the time to
//! restoration, that during which an item is down due to a failure: terms of IEC 60050-191 that ISO 22400-2 takes over,
//! by which every failure gives a new TBF and every restoration a new TTR. So each mean is over the existing ones: n
//! failures have n − 1 times between them, and the times before the first and after the last do not count. With fewer
//! than two failures there is no `mtbf_s`. A TTR is known when its failure is over, and whole: from its beginning to
//! its end, whether the machine was heard meanwhile or not.
//!
//! The times are taken from the machine's states ([`super::timeline`]), by its corrected times, with `from` its first
//! report and `until` its latest one. [`super::standing`] defines breakdowns, their end, and how they count while the
//! machine is out of service.
//!
//! - APT, actual production time, `operating_s`: executing
//! - PBT, planned busy time, `planned_s`: all known time except out of service, which is planned down time
//! - `down_s`: broken down. A failure is a breakdown of at least [`KpiSettings::severity_min`] whose code is not one of
//!   [`KpiSettings::not_failures`]; breakdowns that overlap are one
//! - `unknown_s`: the machine was silent or reported no state. It is in no other figure
//! - PQ and GQ, produced and good quantity: the growth of counters ([`super::counter`]), samples of the machine whose
//!   subjects end in [`KpiSettings::produced`] and [`KpiSettings::good`]; each subject is a counter of its own
//! - PRU, planned run time per unit: [`KpiSettings::planned_s_per_unit`]
//!
//! A figure whose divisor is zero, or whose counts are missing, is null. The order in which events come makes no
//! difference, see [`super::track`].
//!
//! Figures of a span ([`Span`], of event time, its end exclusive) follow one rule each, so that the times, failures,
//! restorations and pieces of consecutive spans add up to those of the whole:
//!
//! | figure | belongs to the span |
//! |---|---|
//! | a time | by its overlap |
//! | a failure | in which it begins |
//! | a TBF | in which its later failure begins; it is whole, also where its earlier one was before the span |
//! | a TTR | in which it ends; it is whole, from the beginning of its failure |
//! | a piece | in which the value of the counter that shows it was measured |
//!
//! `from` and `until` of a machine are the covered time. `begins_late` and `ends_early` say why it is shorter than the
//! span:
//!
//! | why | meaning |
//! |---|---|
//! | `no_report` | it has reported no state |
//! | `first_report` | its first report came later; `counts_from` of the answer says whether older ones were removed |
//! | `horizon` | older reports are kept only in the sum of all ([`super::track`]); single ones from `from` on |
//! | `last_word` | the machine was not heard any more; time behind its last report does not count |
//!
//! Where no time is covered, the figures are null. Quantities are null, and `quantities_unknown` is `horizon`, where
//! the values of a counter are not kept back to the beginning of the span (`counters.horizon`).

mod counters;
mod covered;

use std::collections::BTreeMap;

use afferent_protocol::event::{Body, Value as Measured};
use afferent_protocol::ids::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use self::counters::{CountedQuantity, MachineCounters, Quantities};
use self::covered::Covered;
use super::machines::{Following, MachineEntry, Machines};
use super::report::{Condition, Kind, Report, SeverityName};
use super::shares::MACHINES;
use super::silence::{Pattern, Silence, SilenceSettings};
use super::span::Span;
use super::timeline::{Purpose, Sums, Timeline};
use super::track::HistoryLimit;
use super::{LoggedEvent, Model, Shortage, time};

/// The settings of `kpi`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct KpiSettings {
    /// Breakdowns of this severity or a higher one are failures.
    pub severity_min: SeverityName,
    /// Codes of breakdowns that are not failures, as that of a planned stop.
    pub not_failures: Vec<String>,
    /// Subjects that end in this level count produced units.
    pub produced: String,
    /// Subjects that end in this level count good units.
    pub good: String,
    /// Seconds that one unit is planned to take; without it there is no effectiveness and no OEE.
    pub planned_s_per_unit: Option<f64>,
    /// The state of a machine that was silent for this number of seconds is unknown.
    pub no_data_s: u32,
    /// The same for subjects that fit a pattern; of several patterns the longest counts.
    pub no_data_s_of: BTreeMap<Pattern, u32>,
    /// Machines that report only changes, as patterns: the heartbeats of their agent count as their reports.
    pub on_change: Vec<Pattern>,
}

impl Default for KpiSettings {
    fn default() -> Self {
        Self {
            severity_min: SeverityName::Error,
            not_failures: Vec::new(),
            produced: "produced".into(),
            good: "good".into(),
            planned_s_per_unit: None,
            no_data_s: 900,
            no_data_s_of: BTreeMap::new(),
            on_change: Vec::new(),
        }
    }
}

/// Folds the reports of a machine before a time, or all.
type FoldBefore<'w> = dyn Fn(Option<Timestamp>) -> Timeline + 'w;

/// The state of the model.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct KpiState {
    machines: Machines<MachineCounters>,
}

/// The model.
#[derive(Clone, Debug)]
pub struct Kpi {
    settings: KpiSettings,
    following: Following,
    state: KpiState,
}

impl Kpi {
    /// A model without events.
    pub fn new(settings: KpiSettings) -> Self {
        let KpiSettings { no_data_s, no_data_s_of, on_change, .. } = settings.clone();
        let silence = Silence::new(&SilenceSettings { no_data_s, no_data_s_of, on_change });
        let following = Following { silence, purpose: Purpose::Sums, room: HistoryLimit::default(), size: MACHINES };
        Self { settings, following, state: KpiState::default() }
    }

    fn machine_view(
        &self,
        machine: &MachineEntry<MachineCounters>,
        span: Span,
        walk: &FoldBefore<'_>,
    ) -> Map<String, Value> {
        let (track, counters) = (&machine.track, &machine.beside);
        let Covered { sums, begins_late, ends_early, quantities } = Covered::of(track, span, walk);
        let (from, until) = sums.map(|(from, until, _)| (time(from), time(until))).unzip();
        // Without a span, a machine that has reported no state has sums of zero.
        let sums = sums.map(|(.., sums)| sums).or(span.is_all().then(Sums::default));
        let seconds = |condition| sums.map(|sums| sums.seconds(condition));
        let operating = seconds(Condition::Executing);
        let availability = sums.and_then(|sums| ratio(sums.seconds(Condition::Executing), sums.planned_s()));
        let Quantities { produced, good, is_beyond } = counters.quantities(quantities);
        let per_unit = self.settings.planned_s_per_unit.zip(produced).zip(operating);
        let effectiveness = per_unit.and_then(|((unit, produced), operating)| ratio(unit * produced, operating));
        let quality = good.zip(produced).and_then(|(good, produced)| ratio(good, produced));
        let oee = availability.zip(effectiveness).zip(quality).map(|((a, e), q)| a * e * q);
        let view = json!({
            "from": from,
            "until": until,
            "availability": availability,
            "effectiveness": effectiveness,
            "quality": quality,
            "oee": oee,
            "mtbf_s": sums.and_then(|sums| sums.mtbf_s()),
            "mttr_s": sums.and_then(|sums| sums.mttr_s()),
            "failures": sums.map(|sums| sums.failures),
            "operating_s": operating,
            "down_s": seconds(Condition::Broken),
            "idle_s": sums.map(|sums| sums.idle_s()),
            "out_of_service_s": seconds(Condition::OutOfService),
            "unknown_s": seconds(Condition::NoData),
            "planned_s": sums.map(|sums| sums.planned_s()),
            "produced": produced,
            "good": good,
        });
        let Value::Object(mut view) = view else { unreachable!("it is written as an object") };
        counters.put(&mut view);
        if !span.is_all() {
            let quantities_unknown = is_beyond.then_some(covered::HORIZON);
            view.insert("begins_late".into(), begins_late.into());
            view.insert("ends_early".into(), ends_early.into());
            view.insert("quantities_unknown".into(), quantities_unknown.into());
        }
        view
    }
}

/// Which count an event adds to, and how many.
fn counted(seen: &LoggedEvent<'_>, settings: &KpiSettings) -> Option<(CountedQuantity, f64)> {
    let Body::Sample(sample) = seen.event.body else { return None };
    let value = match sample.value {
        Measured::Float(value) => value,
        Measured::Integer(value) => value as f64,
        _ => return None,
    };
    let level = seen.subject.text.rsplit('/').next().unwrap_or_default();
    match level {
        _ if level == settings.produced => Some((CountedQuantity::Produced, value)),
        _ if level == settings.good => Some((CountedQuantity::Good, value)),
        _ => None,
    }
}

fn ratio(part: f64, whole: f64) -> Option<f64> {
    (whole > 0.0).then(|| part / whole)
}

#[cfg(test)]
impl Kpi {
    /// The model with a different size.
    pub(super) fn sized(mut self, size: super::shares::ClaimLimits) -> Self {
        self.following.size = size;
        self
    }
}

impl Model for Kpi {
    type State = KpiState;

    fn state(&self) -> &KpiState {
        &self.state
    }

    fn restore(&mut self, state: KpiState) {
        self.state = state;
    }

    fn apply(&mut self, seen: &LoggedEvent<'_>) {
        let settings = &self.settings;
        let is_failure = |report: &Report| {
            let is_broken = matches!(report.kind, Kind::Broken(_));
            !is_broken || settings.not_failures.iter().all(|code| **code != *report.code)
        };
        let read = |seen: &LoggedEvent<'_>| {
            // The texts are not needed here.
            let report = Report::of_state(seen, settings.severity_min).filter(is_failure)?;
            Some(report.without_words())
        };
        let Some(counters) = self.state.machines.apply(seen, &mut self.following, read) else { return };
        let Some((counts, value)) = counted(seen, settings) else { return };
        counters.take(seen, counts, value);
        if !matches!(self.following.room, HistoryLimit::Sorting(_)) {
            counters.fold_oldest();
        }
    }

    fn sort(&mut self, is_sorting: bool) {
        self.state.machines.sort(is_sorting, &mut self.following);
        if !is_sorting {
            self.state.machines.beside_mut().for_each(MachineCounters::fold_oldest);
        }
    }

    fn view(&self, at: Timestamp) -> Value {
        self.view_within(at, Span::default())
    }

    fn view_within(&self, at: Timestamp, span: Span) -> Value {
        let view =
            |machine: &MachineEntry<MachineCounters>, walk: &FoldBefore<'_>| self.machine_view(machine, span, walk);
        let mut view = self.state.machines.view(at, &self.following, view);
        if !span.is_all() {
            view.insert("span".into(), json!({ "from": span.from.map(time), "until": span.until.map(time) }));
        }
        view.into()
    }

    fn shortage(&self) -> Option<Shortage> {
        self.state.machines.shortage()
    }
}

#[cfg(test)]
mod tests {
    use afferent_protocol::event::{Event, MachineState};

    use super::super::testing::{Log, at, breakdown, recovery, sample, state};
    use super::*;

    fn figures(settings: &str, log: &[Event<'_>]) -> Value {
        let mut model = Kpi::new(settings.parse::<toml::Table>().unwrap().try_into().unwrap());
        Log::of(log).fold(&mut model);
        Model::view(&model, at(0))["machines"]["88-C"].clone()
    }

    /// 100 s executing, of which 20 s and 10 s are broken down, then 30 s idle and 70 s out of service.
    fn shift() -> Vec<Event<'static>> {
        vec![
            state(0, "88-C", MachineState::Executing),
            breakdown(10, "88-C", "BELT", ""),
            recovery(30, "88-C", "BELT"),
            breakdown(50, "88-C", "PM", ""),
            recovery(60, "88-C", "PM"),
            state(100, "88-C", MachineState::NotExecuting),
            state(130, "88-C", MachineState::OutOfService),
            sample(200, "88-C/x", 1.0),
        ]
    }

    #[test]
    fn the_figures_of_a_shift_are_those_of_the_formulas() {
        let figures = figures("", &shift());
        assert_eq!((&figures["operating_s"], &figures["down_s"]), (&json!(70.0), &json!(30.0)));
        assert_eq!((&figures["planned_s"], &figures["out_of_service_s"]), (&json!(130.0), &json!(70.0)));
        assert_eq!(figures["availability"], 70.0 / 130.0);
        // Between the two failures it operated for 20 s; by the number of failures it would be 35 s.
        assert_eq!((&figures["failures"], &figures["mtbf_s"]), (&json!(2), &json!(20.0)));
        assert_eq!((&figures["mttr_s"], &figures["oee"]), (&json!(15.0), &Value::Null));
    }

    #[test]
    fn another_version_counts_a_planned_stop_as_none() {
        let figures = figures("not_failures = [\"PM\"]", &shift());
        assert_eq!((&figures["failures"], &figures["availability"]), (&json!(1), &json!(80.0 / 130.0)));
    }

    #[test]
    fn a_failure_that_lasts_is_no_restoration_yet() {
        let mut log = shift();
        log.extend([state(210, "88-C", MachineState::NotExecuting), breakdown(220, "88-C", "OIL", "")]);
        log.extend([sample(720, "88-C/x", 1.0), sample(1220, "88-C/x", 1.0)]);
        let figures = figures("", &log);
        assert_eq!((&figures["mttr_s"], &figures["failures"]), (&json!(15.0), &json!(3)));
        assert_eq!(figures["down_s"], 1030.0);
    }

    #[test]
    fn oee_is_shown_where_there_are_counts_and_a_planned_time() {
        let mut log = shift();
        let counts = [(0, 100.0, 50.0), (40, 120.0, 65.0), (70, 10.0, 70.0)];
        log.extend(counts.iter().map(|(second, produced, _)| sample(*second, "88-C/count/produced", *produced)));
        log.extend(counts.iter().map(|(second, _, good)| sample(*second, "88-C/count/good", *good)));
        let figures = figures("planned_s_per_unit = 2.0", &log);
        // 20 pieces, then the counter restarted and has 10.
        assert_eq!((&figures["produced"], &figures["good"]), (&json!(30.0), &json!(20.0)));
        let oee = (70.0 / 130.0) * (2.0 * 30.0 / 70.0) * (20.0 / 30.0);
        assert!((figures["oee"].as_f64().unwrap() - oee).abs() < 1e-12, "{figures}");
    }
}
