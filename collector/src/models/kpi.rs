//! `kpi`: key figures of every machine after ISO 22400-2 (Key performance indicators for manufacturing operations).
//!
//! | figure | formula | of |
//! |---|---|---|
//! | `availability` | APT / PBT | ISO 22400-2, availability |
//! | `effectiveness` | PRU · PQ / APT | ISO 22400-2, effectiveness |
//! | `quality` | GQ / PQ | ISO 22400-2, quality ratio |
//! | `oee` | availability · effectiveness · quality | ISO 22400-2, OEE index |
//! | `mtbf_s` | operating time / failures | mean operating time between failures (IEC 60050-191, to which ISO 22400-2 refers) |
//! | `mttr_s` | time broken down, of failures that are over / their number | mean time to restoration (the same) |
//!
//! The times are taken from the machine's states ([`super::timeline`]), by its source's clock, from its first state to its latest
//! event:
//!
//! - APT, actual production time, `operating_s`: executing
//! - PBT, planned busy time, `planned_s`: all time of which something is known but out of service, which is planned down time
//! - `down_s`: broken down. A failure is a breakdown of at least [`KpiSettings::severity_min`] whose code is not one of
//!   [`KpiSettings::not_failures`]; breakdowns that overlap are one
//! - PQ and GQ, produced and good quantity: the growth of counters, samples of the machine whose subjects end in
//!   [`KpiSettings::produced`] and [`KpiSettings::good`]; one that falls began anew
//! - PRU, planned run time per unit: [`KpiSettings::planned_s_per_unit`]
//!
//! A figure whose divisor is zero, or whose counts are not there, is null.

use afferent_protocol::event::{Body, Value as Measured};
use afferent_protocol::ids::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::states::{SeverityName, change_of, tells_of_a_machine};
use super::timeline::{Change, Condition, Timeline, What};
use super::{Model, Seen, Table};
use crate::limits::{MODEL_KPI_CHANGES_MAX, MODEL_MACHINES_MAX};

/// The settings of `kpi`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct KpiSettings {
    /// Breakdowns of this severity or a higher one are failures.
    pub severity_min: SeverityName,
    /// Codes of breakdowns that are none, as that of a planned stop.
    pub not_failures: Vec<String>,
    /// Subjects that end in this level count what was produced.
    pub produced: String,
    /// Subjects that end in this level count what was good.
    pub good: String,
    /// Seconds that one unit is planned to take; without it there is no effectiveness and no OEE.
    pub planned_s_per_unit: Option<f64>,
}

impl Default for KpiSettings {
    fn default() -> Self {
        Self {
            severity_min: SeverityName::Error,
            not_failures: Vec::new(),
            produced: "produced".into(),
            good: "good".into(),
            planned_s_per_unit: None,
        }
    }
}

/// A counter that may begin anew.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Counter {
    last: Option<(Timestamp, f64)>,
    sum: f64,
}

impl Counter {
    fn take(&mut self, time: Timestamp, value: f64) {
        match self.last {
            // What comes late is in the next value already.
            Some((before, _)) if time < before => return,
            Some((_, last)) if value >= last => self.sum += value - last,
            Some(_) => self.sum += value.max(0.0),
            None => {}
        }
        self.last = Some((time, value));
    }
}

/// What is kept of a machine.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Machine {
    timeline: Timeline,
    last_event: Timestamp,
    produced: Counter,
    good: Counter,
}

/// What is kept.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct KpiState {
    machines: Table<Machine>,
}

/// The model.
#[derive(Clone, Debug)]
pub struct Kpi {
    settings: KpiSettings,
    state: KpiState,
}

impl Kpi {
    /// One that has seen nothing.
    pub fn new(settings: KpiSettings) -> Self {
        Self { settings, state: KpiState::default() }
    }

    fn machine_view(&self, machine: &Machine) -> Value {
        let totals = machine.timeline.totals(machine.last_event);
        let operating = totals.seconds(Condition::Executing);
        let down = totals.seconds(Condition::Broken);
        let idle = totals.seconds(Condition::NotExecuting) + totals.seconds(Condition::NotAvailable);
        let planned = operating + down + idle;
        let availability = ratio(operating, planned);
        let effectiveness =
            self.settings.planned_s_per_unit.and_then(|unit| ratio(unit * machine.produced.sum, operating));
        let effectiveness = effectiveness.filter(|_| machine.produced.last.is_some());
        let quality = ratio(machine.good.sum, machine.produced.sum).filter(|_| machine.good.last.is_some());
        let oee = availability.zip(effectiveness).zip(quality).map(|((a, e), q)| a * e * q);
        let (failures, restorations) = (totals.failures as f64, totals.restorations as f64);
        // A failure that lasts is no restoration yet: its time would count against those that are over.
        let restored = down - machine.timeline.broken_now(machine.last_event);
        json!({
            "availability": availability,
            "effectiveness": effectiveness,
            "quality": quality,
            "oee": oee,
            "mtbf_s": ratio(operating, failures),
            "mttr_s": ratio(restored, restorations),
            "failures": totals.failures,
            "operating_s": operating,
            "down_s": down,
            "idle_s": idle,
            "out_of_service_s": totals.seconds(Condition::OutOfService),
            "planned_s": planned,
            "produced": machine.produced.last.map(|_| machine.produced.sum),
            "good": machine.good.last.map(|_| machine.good.sum),
            "late": machine.timeline.late(),
        })
    }
}

fn ratio(part: f64, whole: f64) -> Option<f64> {
    (whole > 0.0).then(|| part / whole)
}

impl Model for Kpi {
    type State = KpiState;

    fn state(&self) -> &KpiState {
        &self.state
    }

    fn restore(&mut self, state: KpiState) {
        self.state = state;
    }

    fn apply(&mut self, seen: &Seen<'_>) {
        if !tells_of_a_machine(seen) {
            return;
        }
        let Some(machine) = self.state.machines.get_or_add(seen.machine, MODEL_MACHINES_MAX) else { return };
        let time = seen.event.time;
        machine.last_event = machine.last_event.max(time);
        if let Body::Sample(sample) = seen.event.body {
            let value = match sample.value {
                Measured::Float(value) => value,
                Measured::Integer(value) => value as f64,
                _ => return,
            };
            let level = seen.subject.text.rsplit('/').next().unwrap_or_default();
            if level == self.settings.produced {
                machine.produced.take(time, value);
            } else if level == self.settings.good {
                machine.good.take(time, value);
            }
            return;
        }
        let Some(what) = change_of(seen, self.settings.severity_min) else { return };
        // The words are of no use here.
        let what = match what {
            What::Broken(code, _) if self.settings.not_failures.contains(&code) => return,
            What::Broken(code, _) => What::Broken(code, String::new()),
            What::Reported(condition, _) => What::Reported(condition, String::new()),
            recovered => recovered,
        };
        let change = Change { time, offset: seen.offset.get(), what, label: String::new() };
        machine.timeline.add(change, MODEL_KPI_CHANGES_MAX);
    }

    fn view(&self, _: Timestamp) -> Value {
        let machines: Map<String, Value> =
            (self.state.machines.iter()).map(|(name, machine)| (name.to_owned(), self.machine_view(machine))).collect();
        json!({ "machines": machines, "refused": self.state.machines.refused() })
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
        assert_eq!((&figures["failures"], &figures["mtbf_s"]), (&json!(2), &json!(35.0)));
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
        log.push(sample(1220, "88-C/x", 1.0));
        let figures = figures("", &log);
        assert_eq!((&figures["mttr_s"], &figures["failures"]), (&json!(15.0), &json!(3)));
        assert_eq!(figures["down_s"], 1030.0);
    }

    #[test]
    fn oee_is_told_where_counts_and_a_planned_time_are() {
        let mut log = shift();
        let counts = [(0, 100.0, 50.0), (40, 120.0, 65.0), (70, 10.0, 70.0)];
        log.extend(counts.iter().map(|(second, produced, _)| sample(*second, "88-C/count/produced", *produced)));
        log.extend(counts.iter().map(|(second, _, good)| sample(*second, "88-C/count/good", *good)));
        let figures = figures("planned_s_per_unit = 2.0", &log);
        // 20 pieces, then the counter began anew and has 10.
        assert_eq!((&figures["produced"], &figures["good"]), (&json!(30.0), &json!(20.0)));
        let oee = (70.0 / 130.0) * (2.0 * 30.0 / 70.0) * (20.0 / 30.0);
        assert!((figures["oee"].as_f64().unwrap() - oee).abs() < 1e-12, "{figures}");
    }
}
