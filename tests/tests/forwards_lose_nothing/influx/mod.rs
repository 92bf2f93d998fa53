//! InfluxDB: every event is there once, to the nanosecond and to the bit, whoever is killed. InfluxDB and
//! VictoriaMetrics are the independent readers: InfluxDB has nanoseconds and every type of value, VictoriaMetrics has API 2.

mod expected;
mod faults;
mod form;
mod kills;

use afferent_tests::process::{INFLUX_DATABASE, Influx, Rig, VictoriaMetrics};

const NAME: &str = "points";

/// A forward over HTTP; `of_forward` are lines of the forward, `of_influx` lines of its destination.
fn configured(address: &str, of_forward: &str, of_influx: &str) -> String {
    format!(
        "[[forward]]\nname = \"{NAME}\"\n{of_forward}\n[forward.influx]\nurl = \"http://{address}\"\n\
         allow = [\"127.0.0.1\"]\n{of_influx}\n"
    )
}

/// A rig that forwards to InfluxDB by API 1.
fn rig(name: &str, influx: &Influx, of_forward: &str, of_influx: &str) -> Rig {
    let mut rig = Rig::new(name);
    let database = format!("database = \"{INFLUX_DATABASE}\"\n{of_influx}");
    rig.collector_extra = configured(&influx.address.to_string(), of_forward, &database);
    rig
}

/// A rig that forwards to VictoriaMetrics by API 2, over what listens at `address`.
fn rig_with_bucket(name: &str, address: &str, of_influx: &str) -> Rig {
    let mut rig = Rig::new(name);
    let bucket = format!("org = \"works\"\nbucket = \"machines\"\n{of_influx}");
    rig.collector_extra = configured(address, "", &bucket);
    rig
}

/// The values of all samples at VictoriaMetrics, by milliseconds; a repeated one is there again.
fn values(victoria: &VictoriaMetrics, subject: &str) -> Vec<(i64, f64)> {
    let series = victoria.series("sample_value");
    let of_subject = series.into_iter().filter(|metric| metric.labels["subject"] == subject);
    let mut points: Vec<_> = of_subject.flat_map(|metric| metric.points).collect();
    points.sort_by(|a, b| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)));
    points
}
