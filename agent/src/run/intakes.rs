//! The intakes of a configuration: each runs by itself, and a new configuration touches only those that it changes.
//!
//! What can fail is opened before anything of the configuration before ends ([`Intakes::open`]); then they are swapped
//! ([`Intakes::swap`]), which cannot fail.

use std::collections::BTreeMap;
use std::future::Future;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use afferent_host::stop::{self, Stop, StopSender};
use tokio::task::JoinHandle;

use crate::check;
use crate::clock::Clock;
use crate::config::{Config, ExecConfig, FileConfig, SerialConfig};
use crate::intake::exec::LineMetrics;
use crate::intake::serial::SerialMetrics;
use crate::intake::socket::{Listeners, Places, SocketMetrics, SocketSettings};
use crate::intake::{exec, file, host, serial, socket};
use crate::sequencer::Intake;
use crate::supervise::{Ended, Supervisor, Task};

/// One intake, as a configuration wants it.
#[derive(Clone, Debug, PartialEq)]
enum Wanted {
    Unix { path: PathBuf, mode: u32 },
    Tcp(SocketAddr),
    Host { interval_ms: u32 },
    Exec(ExecConfig),
    Serial(SerialConfig),
    File(Box<FileConfig>),
}

/// One that runs.
#[derive(Debug)]
struct Open {
    wanted: Wanted,
    stop: StopSender,
    task: JoinHandle<()>,
}

/// All that run, by name.
#[derive(Debug)]
pub(super) struct Intakes {
    supervisor: Supervisor,
    open: BTreeMap<String, Open>,
    /// Producers at once, on all sockets together.
    places: Arc<Places>,
}

/// What a new configuration wants, and what of it is new and open.
#[derive(Debug)]
pub(super) struct Opened {
    wanted: BTreeMap<String, Wanted>,
    listeners: BTreeMap<String, Listeners>,
}

/// Where the events go, and who reads the clocks.
#[derive(Clone)]
pub(super) struct Ways {
    pub intake: Intake,
    pub clock: Arc<dyn Clock>,
}

impl Intakes {
    /// None yet.
    pub fn new(supervisor: Supervisor) -> Self {
        Self { supervisor, open: BTreeMap::new(), places: Places::new(0) }
    }

    /// Opens what the configuration changes; an error leaves everything as it is.
    pub async fn open(&self, config: &Config) -> Result<Opened, String> {
        let wanted = wanted(config);
        let mut listeners = BTreeMap::new();
        for (name, wanted) in &wanted {
            if self.runs(name, wanted) {
                continue;
            }
            match wanted {
                Wanted::Unix { .. } | Wanted::Tcp(_) => {
                    let opened = Listeners::bind(&socket_settings(config, wanted)).await;
                    listeners.insert(name.clone(), opened.map_err(|error| error.to_string())?);
                }
                Wanted::Exec(exec) => check::program(exec)?,
                Wanted::File(file) => check::recorded(file)?,
                // Devices come and go, and this machine is always there.
                Wanted::Host { .. } | Wanted::Serial(_) => {}
            }
        }
        Ok(Opened { wanted, listeners })
    }

    /// At the start what cannot be opened keeps nobody else from it: it is tried again, and told.
    pub async fn open_what_can_be(&self, config: &Config) -> Opened {
        let mut listeners = BTreeMap::new();
        let wanted = wanted(config);
        for (name, wanted) in &wanted {
            if matches!(wanted, Wanted::Unix { .. } | Wanted::Tcp(_))
                && let Ok(opened) = Listeners::bind(&socket_settings(config, wanted)).await
            {
                listeners.insert(name.clone(), opened);
            }
        }
        Opened { wanted, listeners }
    }

    /// Ends what is not wanted any more, and starts what is new.
    pub async fn swap(&mut self, config: &Config, mut opened: Opened, ways: &Ways) {
        self.places.set_max(config.intake.socket.connections_max);
        let kept =
            |name: &String, open: &Open| opened.wanted.get(name).is_some_and(|wanted| fits(&open.wanted, wanted));
        let ended: Vec<_> = self.open.extract_if(.., |name, open| !kept(name, open)).collect();
        ended.iter().for_each(|(_, open)| open.stop.stop());
        for (_, open) in ended {
            let _ = open.task.await;
        }
        for (name, wanted) in opened.wanted {
            if let Some(open) = self.open.get_mut(&name) {
                if open.wanted != wanted
                    && let Wanted::Unix { path, mode } = &wanted
                    && let Err(error) = socket::set_mode(path, *mode)
                {
                    tracing::warn!("the mode of {} cannot be set: {error}", path.display());
                }
                open.wanted = wanted;
                continue;
            }
            let (stop, stopped) = stop::channel();
            let make = self.maker(config, &wanted, opened.listeners.remove(&name), ways, stopped.clone());
            let task = self.supervisor.task(&name, stopped, make);
            self.open.insert(name, Open { wanted, stop, task });
        }
    }

    /// Ends all of them.
    pub async fn end(self) {
        self.open.values().for_each(|open| open.stop.stop());
        for (_, open) in self.open {
            let _ = open.task.await;
        }
    }

    fn runs(&self, name: &str, wanted: &Wanted) -> bool {
        self.open.get(name).is_some_and(|open| fits(&open.wanted, wanted))
    }

    /// What makes the intake's task, each time that it is started.
    fn maker(
        &self,
        config: &Config,
        wanted: &Wanted,
        listeners: Option<Listeners>,
        ways: &Ways,
        stop: Stop,
    ) -> Box<dyn FnMut() -> Task + Send> {
        let (registry, ways) = (self.supervisor.registry(), ways.clone());
        match wanted {
            Wanted::Unix { .. } | Wanted::Tcp(_) => {
                let socket = Socket {
                    settings: socket_settings(config, wanted),
                    first: Arc::new(Mutex::new(listeners)),
                    places: self.places.clone(),
                    metrics: SocketMetrics::new(registry),
                };
                making((socket, ways, stop), |(socket, ways, stop)| socket.run(ways, stop))
            }
            Wanted::Host { .. } => {
                let settings = config.host_settings().expect("it is wanted");
                making((settings, ways, stop), |(settings, ways, stop)| async move {
                    host::run(settings, ways.intake, ways.clock, stop.clone()).await;
                    endless(&stop)
                })
            }
            Wanted::Exec(exec) => {
                let (settings, metrics) = (Config::exec_settings(exec), LineMetrics::new(registry, &exec.name));
                making((settings, metrics, ways, stop), |(settings, metrics, ways, stop)| async move {
                    exec::run(settings, ways.intake, ways.clock, metrics, stop.clone()).await;
                    endless(&stop)
                })
            }
            Wanted::Serial(serial) => {
                let settings = config.serial_settings(serial).expect("its address was checked with the configuration");
                let metrics = SerialMetrics::new(registry, settings.device.as_str());
                making((settings, metrics, ways, stop), |(settings, metrics, ways, stop)| async move {
                    serial::run(settings, ways.intake, ways.clock, metrics, stop.clone()).await;
                    endless(&stop)
                })
            }
            Wanted::File(file) => {
                let metrics = LineMetrics::new(registry, &file.path.display().to_string());
                making(
                    (config.file_settings(file), metrics, ways, stop),
                    |(settings, metrics, ways, stop)| async move {
                        let replayed = file::run(settings, ways.intake, ways.clock, metrics, stop).await;
                        replayed.map_err(|error| format!("the replay ended early: {error}"))
                    },
                )
            }
        }
    }
}

/// One of the sockets.
#[derive(Clone)]
struct Socket {
    settings: SocketSettings,
    /// What was opened before the task began.
    first: Arc<Mutex<Option<Listeners>>>,
    places: Arc<Places>,
    metrics: SocketMetrics,
}

impl Socket {
    async fn run(self, ways: Ways, stop: Stop) -> Ended {
        let first = self.first.lock().unwrap_or_else(PoisonError::into_inner).take();
        let listeners = match first {
            Some(listeners) => listeners,
            None => Listeners::bind(&self.settings).await.map_err(|error| error.to_string())?,
        };
        socket::serve(listeners.sharing(self.places), ways.intake, ways.clock, self.metrics, stop.clone()).await;
        endless(&stop)
    }
}

/// Makes a task of the same parts each time.
pub(super) fn making<P: Clone + Send + 'static, F: Future<Output = Ended> + Send + 'static>(
    parts: P,
    run: impl Fn(P) -> F + Send + 'static,
) -> Box<dyn FnMut() -> Task + Send> {
    Box::new(move || Box::pin(run(parts.clone())))
}

/// How a task has ended that only ends when it is told to.
pub(super) fn endless(stop: &Stop) -> Ended {
    if stop.is_requested() { Ok(()) } else { Err("it has ended, and nobody had told it to".to_owned()) }
}

/// Whether what is open is what is wanted, but for what can be changed in place.
fn fits(open: &Wanted, wanted: &Wanted) -> bool {
    match (open, wanted) {
        (Wanted::Unix { path: open, .. }, Wanted::Unix { path, .. }) => open == path,
        (open, wanted) => open == wanted,
    }
}

fn wanted(config: &Config) -> BTreeMap<String, Wanted> {
    let mut all = BTreeMap::new();
    if let Some(SocketSettings { path, mode, tcp, .. }) = config.socket_settings() {
        all.extend(path.map(|path| ("socket".to_owned(), Wanted::Unix { path, mode })));
        all.extend(tcp.map(|tcp| ("socket tcp".to_owned(), Wanted::Tcp(tcp))));
    }
    if config.intake.host.enabled {
        all.insert("host".to_owned(), Wanted::Host { interval_ms: config.intake.host.interval_ms });
    }
    all.extend(config.intake.exec.iter().map(|exec| (format!("exec {}", exec.name), Wanted::Exec(exec.clone()))));
    let serial = |serial: &SerialConfig| (format!("serial {}", serial.device), Wanted::Serial(serial.clone()));
    all.extend(config.intake.serial.iter().map(serial));
    for file in &config.intake.file {
        // One file may be replayed by several mappings.
        let name = |count: usize| match count {
            1 => format!("file {}", file.path.display()),
            _ => format!("file {} ({count})", file.path.display()),
        };
        let free = (1..).map(name).find(|name| !all.contains_key(name)).expect("some number is free");
        all.insert(free, Wanted::File(Box::new(file.clone())));
    }
    all
}

/// The settings of one of the sockets.
fn socket_settings(config: &Config, wanted: &Wanted) -> SocketSettings {
    let none = |path: Option<&Path>, tcp| SocketSettings {
        path: path.map(Path::to_owned),
        tcp,
        mode: 0,
        tcp_beyond_loopback: config.intake.socket.tcp_beyond_loopback,
        connections_max: config.intake.socket.connections_max,
    };
    match wanted {
        Wanted::Unix { path, mode } => SocketSettings { mode: *mode, ..none(Some(path), None) },
        Wanted::Tcp(tcp) => none(None, Some(*tcp)),
        _ => none(None, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::load_text;

    fn names(text: &str) -> Vec<String> {
        wanted(&load_text(Path::new("agent.toml"), text).unwrap()).into_keys().collect()
    }

    #[test]
    fn every_intake_has_a_name_of_its_own() {
        let file = "[[intake.file]]\npath = \"a.csv\"\n";
        let text = format!(
            "[intake.socket]\ntcp = \"127.0.0.1:88\"\n[[intake.exec]]\nname = \"plc\"\ncommand = [\"true\"]\n{file}{file}\
             [[intake.serial]]\nport = \"/dev/ttyUSB0\"\ndevice = \"spindle-1\"\n"
        );
        let expected = ["exec plc", "file a.csv", "file a.csv (2)", "host", "serial spindle-1", "socket", "socket tcp"];
        assert_eq!(names(&text), expected);
        assert_eq!(names("[intake.host]\nenabled = false\n[intake.socket]\nenabled = false\n"), [] as [String; 0]);
    }
}
