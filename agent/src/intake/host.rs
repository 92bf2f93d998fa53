//! This machine as a source: readings of /proc, /sys, the kernel's log and systemd.
//!
//! Samples stand under the agent's name (`press-88/cpu/usage`); a failed unit is a breakdown and its return a recovery;
//! a kill for lack of memory and an I/O error of a disk are alarms. What a machine does not have is left out in
//! silence.

mod cpu;
mod filesystem;
mod kernel_log;
mod memory;
mod network;
mod reading;
mod systemd;
mod temperature;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use afferent_host::stop::Stop;
use afferent_protocol::ids::{SourceId, Timestamp};
use tokio::time::{Instant, MissedTickBehavior};

use crate::clock::Clock;
use crate::intake::input::{Home, Input, Ways};
use crate::intake::sink::{DeviceSink, EventSink, Refusal, Waiting};
use crate::limits::HOST_FIRST_INTERVAL;
use crate::section::{Key, Value, key, section};
use crate::supervise::{Ended, endless};
use reading::{Reading, Readings};

section! {
    /// `[intake.host]`
    HostConfig {
        /// Whether to watch this machine.
        enabled: bool = true,
        /// Time between two readings, in milliseconds.
        interval_ms: u32 = 5000,
    }
}

/// How this machine is watched.
#[derive(Clone, Debug, PartialEq)]
pub struct HostSettings {
    /// The agent's name, under which all subjects stand.
    pub agent: SourceId,
    /// From look to look.
    pub interval: Duration,
}

/// This machine, which is always there.
#[derive(Debug)]
pub struct ThisMachine(HostSettings);

impl Input for ThisMachine {
    type Section = HostConfig;
    type Config = HostSettings;
    type Shared = ();

    const REPEATS: bool = false;
    const HELP: &'static str = "This machine: processor, memory, disks, network, temperatures, failed units.";
    const KEYS: &'static [Key] = &[
        key("enabled", Value::Switch, "true", "Whether to watch this machine."),
        key("interval_ms", Value::Whole(100, 86_400_000), "5000", "Milliseconds between two readings."),
    ];

    fn inputs(section: &HostConfig, home: &Home) -> Vec<(String, HostSettings)> {
        let interval = Duration::from_millis(u64::from(section.interval_ms));
        let settings = HostSettings { agent: home.agent, interval };
        section.enabled.then(|| (String::new(), settings)).into_iter().collect()
    }

    async fn open(config: &HostSettings, (): &()) -> Result<Self, String> {
        Ok(Self(config.clone()))
    }

    async fn run<S: DeviceSink>(self, ways: Ways<S>, stop: Stop) -> Ended {
        run(self.0, ways.sink, ways.clock, stop.clone()).await;
        endless(&stop)
    }
}

/// What was seen at the last look, for rates and for changes.
struct Host {
    root: PathBuf,
    cpu: cpu::Cpu,
    network: network::Network,
    kernel_log: kernel_log::KernelLog,
    systemd: systemd::FailedUnits,
}

impl Host {
    fn new(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
            cpu: cpu::Cpu::default(),
            network: network::Network::default(),
            kernel_log: kernel_log::KernelLog::open(&root.join("dev/kmsg")),
            systemd: systemd::FailedUnits::default(),
        }
    }

    /// Looks at everything; `monotonic_ms` only ever grows.
    fn look(&mut self, monotonic_ms: u64, failed_units: Option<&str>) -> Vec<Reading> {
        let mut readings = Readings::default();
        let text = |path: &str| read_text(&self.root.join(path));
        if let Some(stat) = text("proc/stat") {
            self.cpu.look(&stat, &mut readings);
        }
        if let Some(load) = text("proc/loadavg") {
            cpu::load(&load, &mut readings);
        }
        if let Some(meminfo) = text("proc/meminfo") {
            memory::look(&meminfo, &mut readings);
        }
        if let Some(mounts) = text("proc/self/mounts") {
            filesystem::look(&mounts, &mut readings);
        }
        if let Some(interfaces) = text("proc/net/dev") {
            self.network.look(&interfaces, monotonic_ms, &mut readings);
        }
        temperature::look(&self.root.join("sys/class/hwmon"), &mut readings);
        self.kernel_log.look(monotonic_ms, &mut readings);
        if let Some(listed) = failed_units {
            self.systemd.look(listed, &mut readings);
        }
        readings.into_vec()
    }
}

/// Watches this machine until the agent stops. Blocking reads happen on tokio's blocking threads.
pub async fn run<S: EventSink>(settings: HostSettings, sink: S, clock: Arc<dyn Clock>, mut stop: Stop) {
    let mut host = Box::new(Host::new(Path::new("/")));
    let started = Instant::now();
    let mut ticks = tokio::time::interval(settings.interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    ticks.reset_after(HOST_FIRST_INTERVAL.min(settings.interval));
    loop {
        let failed_units = systemd::list_failed().await;
        let now = clock.wall();
        let monotonic_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        let looked = tokio::task::spawn_blocking(move || {
            let readings = host.look(monotonic_ms, failed_units.as_deref());
            (host, readings)
        });
        let readings;
        (host, readings) = match looked.await {
            Ok(both) => both,
            // The task that watches this machine is started again by who supervises it.
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        };
        tokio::select! {
            () = stop.requested() => return,
            () = push_all(&settings.agent, &readings, now, &sink) => {}
        }
        tokio::select! {
            () = stop.requested() => return,
            _ = ticks.tick() => {}
        }
    }
}

async fn push_all<S: EventSink>(agent: &SourceId, readings: &[Reading], now: Timestamp, sink: &S) {
    for reading in readings {
        let subject = format!("{agent}/{}", reading.subject);
        let event = match reading.event(&subject, now) {
            Ok(event) => event,
            Err(error) => {
                tracing::debug!(subject, %error, "a name of this machine cannot stand in a subject");
                continue;
            }
        };
        loop {
            match sink.push(&event, Waiting::Nobody) {
                Ok(_) => break,
                Err(Refusal::Full) => sink.room().await,
                Err(error) => {
                    tracing::debug!(subject, %error, "a reading of this machine was not taken");
                    break;
                }
            }
        }
    }
}

/// The text of a small file, or `None` where it is missing, cannot be read or is no text.
fn read_text(path: &Path) -> Option<String> {
    use std::io::Read;
    let mut text = String::new();
    let file = std::fs::File::open(path).ok()?;
    file.take(crate::limits::PROC_BYTES_MAX as u64).read_to_string(&mut text).ok()?;
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SystemClock;
    use crate::intake::sink::fake::FakeSink;

    #[test]
    fn a_machine_that_has_nothing_says_nothing() {
        let root = tempfile::tempdir().unwrap();
        let mut host = Host::new(root.path());
        assert!(host.look(0, None).is_empty());
        assert!(host.look(1000, None).is_empty());
    }

    #[test]
    fn files_that_hold_nonsense_do_no_harm() {
        let root = tempfile::tempdir().unwrap();
        for directory in ["proc/self", "proc/net", "sys/class/hwmon/hwmon0", "dev"] {
            std::fs::create_dir_all(root.path().join(directory)).unwrap();
        }
        for nonsense in
            ["", "\n\n", "cpu", "cpu x y z 1", "a: b c\n: 1 2 3", "MemTotal: -1 kB\nMemAvailable: 9 kB", "\u{0}:|;,,,"]
        {
            for file in ["proc/stat", "proc/loadavg", "proc/meminfo", "proc/self/mounts", "proc/net/dev", "dev/kmsg"] {
                std::fs::write(root.path().join(file), nonsense).unwrap();
            }
            std::fs::write(root.path().join("sys/class/hwmon/hwmon0/temp1_input"), nonsense).unwrap();
            let mut host = Host::new(root.path());
            host.look(0, Some(nonsense));
            host.look(0, Some(nonsense));
        }
    }

    #[tokio::test]
    async fn this_machine_gives_its_first_values_at_once() {
        let sink = FakeSink::committing();
        let (sender, stop) = afferent_host::stop::channel();
        let settings = HostSettings { agent: SourceId::new("here").unwrap(), interval: Duration::from_secs(3600) };
        let host = tokio::spawn(run(settings, sink.clone(), Arc::new(SystemClock::new()), stop));
        sink.taken(3).await;
        assert!(sink.events().iter().any(|(event, _)| event.contains("here/memory/usage")));
        sender.stop();
        host.await.unwrap();
    }
}
