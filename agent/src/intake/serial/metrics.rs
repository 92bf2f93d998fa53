//! What a port counts.

use crate::metrics::{Counter, Gauge, Registry};
use crate::trouble::Troubles;

/// The numbers of one port; the device's name is their label.
#[derive(Clone, Debug)]
pub struct SerialMetrics {
    /// Bytes between delimiters that are no frame.
    pub bad: Counter,
    /// Bytes without a delimiter, more than any frame has.
    pub too_long: Counter,
    /// Frames that are not known here.
    pub unknown: Counter,
    /// Batches that are in the ring log.
    pub batches: Counter,
    /// Batches that came again.
    pub duplicates: Counter,
    /// Events that a device had sequenced and does not hold any more; its own loss events declare them.
    pub gaps: Counter,
    /// Devices, and batches of them, that were refused.
    pub refused: Counter,
    /// Batches that the device has sealed again, because something else was here under their epoch.
    pub resealed: Counter,
    /// When the device was last heard, in seconds since 1970.
    pub last_seen: Gauge,
    /// What goes wrong on it.
    pub troubles: Troubles,
}

impl SerialMetrics {
    /// The numbers of the port of `device`.
    pub fn new(registry: &Registry, device: &str) -> Self {
        let labels = [("device", device)];
        let counter = |name, help| registry.counter(name, help, &labels);
        Self {
            bad: counter("afferent_serial_frames_bad_total", "Frames that the line has damaged."),
            too_long: counter("afferent_serial_frames_too_long_total", "Frames longer than any frame is."),
            unknown: counter("afferent_serial_frames_unknown_total", "Frames that this agent does not know."),
            batches: counter("afferent_serial_batches_total", "Batches of devices that are in the ring log."),
            duplicates: counter("afferent_serial_duplicates_total", "Batches that a device has sent again."),
            gaps: counter("afferent_serial_gap_events_total", "Events that a device did not hold any more."),
            refused: counter("afferent_serial_refused_total", "Refusals of devices and of batches."),
            resealed: counter(
                "afferent_serial_resealed_total",
                "Batches that a device has sealed again in a new epoch.",
            ),
            last_seen: registry.gauge(
                "afferent_serial_last_seen_seconds",
                "When the device was last heard, in seconds since 1970.",
                &labels,
            ),
            troubles: registry.troubles().clone(),
        }
    }
}
