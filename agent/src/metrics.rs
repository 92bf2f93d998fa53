//! Numbers about the agent, in Prometheus' text format 0.0.4.
//!
//! A few atomics under names: counting costs one addition, and the text is made when somebody asks.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use afferent_host::metrics::{Text, labels_text};

use crate::trouble::Troubles;

/// Counts up.
#[derive(Clone, Debug, Default)]
pub struct Counter(Arc<AtomicU64>);

impl Counter {
    /// Adds `count`.
    pub fn add(&self, count: u64) {
        self.0.fetch_add(count, Relaxed);
    }

    /// Takes over a total that is counted elsewhere.
    pub fn set(&self, total: u64) {
        self.0.store(total, Relaxed);
    }

    /// The total.
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// Goes up and down.
#[derive(Clone, Debug, Default)]
pub struct Gauge(Arc<AtomicU64>);

impl Gauge {
    /// Is `value` from now on.
    pub fn set(&self, value: f64) {
        self.0.store(value.to_bits(), Relaxed);
    }

    /// Adds `value`, which may be negative.
    pub fn add(&self, value: f64) {
        let _ = self.0.fetch_update(Relaxed, Relaxed, |bits| Some((f64::from_bits(bits) + value).to_bits()));
    }

    /// The value.
    pub fn get(&self) -> f64 {
        f64::from_bits(self.0.load(Relaxed))
    }
}

/// Counts values by size.
#[derive(Clone, Debug)]
pub struct Histogram(Arc<Buckets>);

#[derive(Debug)]
struct Buckets {
    bounds: &'static [f64],
    counts: Vec<AtomicU64>,
    sum: Gauge,
}

impl Histogram {
    /// Counts one value.
    pub fn observe(&self, value: f64) {
        let at = self.0.bounds.partition_point(|bound| *bound < value);
        self.0.counts[at].fetch_add(1, Relaxed);
        self.0.sum.add(value);
    }
}

/// Bounds in seconds for what a disk or a network takes.
pub const SECONDS: &[f64] =
    &[0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0];

/// The fixed label values of one number, as `[("stream", "samples")]`.
pub type Labels<'a> = [(&'static str, &'a str)];

#[derive(Debug)]
enum Metric {
    Counter(Counter),
    Gauge(Gauge),
    Histogram(Histogram),
}

#[derive(Debug)]
struct Family {
    name: &'static str,
    help: &'static str,
    metrics: Vec<(String, Metric)>,
}

/// All numbers, and what goes wrong. Cheap to clone.
#[derive(Clone, Default)]
pub struct Registry(Arc<Inner>);

#[derive(Default)]
struct Inner {
    families: Mutex<Vec<Family>>,
    before: Mutex<Vec<Box<dyn Fn() + Send + Sync>>>,
    troubles: Troubles,
}

impl std::fmt::Debug for Registry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.families().fmt(f)
    }
}

impl Registry {
    /// A counter; its name ends with `_total`. The same name and labels give the same counter.
    pub fn counter(&self, name: &'static str, help: &'static str, labels: &Labels<'_>) -> Counter {
        assert!(name.ends_with("_total"), "the name of the counter {name} does not end with _total");
        self.metric(
            name,
            help,
            labels,
            || Metric::Counter(Counter::default()),
            |metric| match metric {
                Metric::Counter(counter) => Some(counter.clone()),
                _ => None,
            },
        )
    }

    /// A gauge; its name ends with its unit, as `_bytes`.
    pub fn gauge(&self, name: &'static str, help: &'static str, labels: &Labels<'_>) -> Gauge {
        self.metric(
            name,
            help,
            labels,
            || Metric::Gauge(Gauge::default()),
            |metric| match metric {
                Metric::Gauge(gauge) => Some(gauge.clone()),
                _ => None,
            },
        )
    }

    /// A histogram with these upper bounds, ascending.
    pub fn histogram(
        &self,
        name: &'static str,
        help: &'static str,
        labels: &Labels<'_>,
        bounds: &'static [f64],
    ) -> Histogram {
        assert!(bounds.is_sorted(), "the bounds of the histogram {name} do not ascend");
        let new = || {
            let counts = (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect();
            Metric::Histogram(Histogram(Arc::new(Buckets { bounds, counts, sum: Gauge::default() })))
        };
        self.metric(name, help, labels, new, |metric| match metric {
            Metric::Histogram(histogram) => Some(histogram.clone()),
            _ => None,
        })
    }

    /// The troubles of the agent.
    pub fn troubles(&self) -> &Troubles {
        &self.0.troubles
    }

    /// `set` is called before every [`Registry::text`], to set what is known elsewhere.
    pub fn before_text(&self, set: impl Fn() + Send + Sync + 'static) {
        self.0.before.lock().unwrap_or_else(PoisonError::into_inner).push(Box::new(set));
    }

    fn families(&self) -> MutexGuard<'_, Vec<Family>> {
        self.0.families.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn metric<T>(
        &self,
        name: &'static str,
        help: &'static str,
        labels: &Labels<'_>,
        new: impl FnOnce() -> Metric,
        same: impl Fn(&Metric) -> Option<T>,
    ) -> T {
        let labels = labels_text(labels);
        let mut families = self.families();
        let at = families.iter().position(|family| family.name == name).unwrap_or_else(|| {
            families.push(Family { name, help, metrics: vec![] });
            families.len() - 1
        });
        let metrics = &mut families[at].metrics;
        let at = metrics.iter().position(|(known, _)| *known == labels).unwrap_or_else(|| {
            metrics.push((labels, new()));
            metrics.len() - 1
        });
        same(&metrics[at].1).unwrap_or_else(|| panic!("the metric {name} is of two kinds"))
    }

    /// All of it, as Prometheus reads it.
    pub fn text(&self) -> String {
        for set in self.0.before.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            set();
        }
        let mut text = Text::new();
        self.families().iter().for_each(|family| family.write(&mut text));
        text.finish()
    }
}

impl Family {
    fn write(&self, text: &mut Text) {
        let kind = match self.metrics.first() {
            Some((_, Metric::Counter(_))) => "counter",
            Some((_, Metric::Gauge(_))) => "gauge",
            Some((_, Metric::Histogram(_))) => "histogram",
            None => return,
        };
        text.head(self.name, kind, self.help);
        for (labels, metric) in &self.metrics {
            match metric {
                Metric::Counter(counter) => text.labelled(self.name, labels, counter.get()),
                Metric::Gauge(gauge) => text.labelled(self.name, labels, gauge.get()),
                Metric::Histogram(Histogram(buckets)) => self.write_buckets(text, labels, buckets),
            }
        }
    }

    fn write_buckets(&self, text: &mut Text, labels: &str, buckets: &Buckets) {
        let name = self.name;
        let comma = if labels.is_empty() { "" } else { "," };
        let bounds = buckets.bounds.iter().map(f64::to_string).chain(["+Inf".to_owned()]);
        let mut sum = 0;
        for (bound, count) in bounds.zip(&buckets.counts) {
            sum += count.load(Relaxed);
            text.labelled(&format!("{name}_bucket"), &format!("{labels}{comma}le=\"{bound}\""), sum);
        }
        text.labelled(&format!("{name}_sum"), labels, buckets.sum.get());
        text.labelled(&format!("{name}_count"), labels, sum);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_is_what_prometheus_reads() {
        let registry = Registry::default();
        registry.counter("lines_total", "Lines.", &[("intake", "a\"b\\")]).add(3);
        registry.counter("lines_total", "Lines.", &[("intake", "c")]).add(4);
        let gauge = registry.gauge("ring_bytes", "Bytes.", &[]);
        registry.before_text(move || gauge.set(1.5));
        let histogram = registry.histogram("sync_seconds", "Syncs.", &[], &[0.1, 1.0]);
        for value in [0.1, 0.5, 7.0] {
            histogram.observe(value);
        }
        assert_eq!(
            registry.text(),
            "# HELP lines_total Lines.\n# TYPE lines_total counter\nlines_total{intake=\"a\\\"b\\\\\"} 3\n\
             lines_total{intake=\"c\"} 4\n# HELP ring_bytes Bytes.\n# TYPE ring_bytes gauge\nring_bytes 1.5\n\
             # HELP sync_seconds Syncs.\n# TYPE sync_seconds histogram\nsync_seconds_bucket{le=\"0.1\"} 1\n\
             sync_seconds_bucket{le=\"1\"} 2\nsync_seconds_bucket{le=\"+Inf\"} 3\nsync_seconds_sum 7.6\nsync_seconds_count 3\n"
        );
    }

    #[test]
    fn the_same_name_and_labels_give_the_same_counter() {
        let registry = Registry::default();
        registry.counter("a_total", "", &[]).add(1);
        assert_eq!(registry.counter("a_total", "", &[]).get(), 1);
        let gauge = registry.gauge("b", "", &[]);
        gauge.add(2.0);
        gauge.add(-0.5);
        assert_eq!(gauge.get(), 1.5);
    }
}
