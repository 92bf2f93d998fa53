//! Real processes for tests and the bench: started, watched, and killed whatever happens.

mod authority;
mod broker;
mod browser;
mod forwards;
mod hooks;
mod http;
mod influx;
mod kafka;
mod ledger;
mod load;
mod loop_disk;
mod mqtt;
mod parquet;
mod ports;
mod postgres;
mod producer;
mod proxy;
mod rig;
mod sealer;
mod shell;
mod small_disk;
mod stat;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

pub use authority::{Authority, Certificate};
pub use broker::Mosquitto;
pub use browser::{Browser, LOOKS, Look};
pub use forwards::{order_forward, report_forward, wait_delivered};
pub use hooks::{Hook, HookServer, Hooked};
pub use http::{Answer, Sse, ask, ask_over, count_lines, get, get_text};
pub use influx::{INFLUX_DATABASE, INFLUX_LOGIN, Influx, Metric, VictoriaMetrics};
pub use kafka::{Isolation, Kafka, KafkaRecord};
pub use ledger::{Ledger, Load, line};
pub use load::{MACHINES, stalled_readers, visit_page, write_log};
pub use loop_disk::LoopDisk;
pub use mqtt::{Mqtt, Reason, down, packet, state, up};
pub use parquet::{S3Server, lake_python, run_lake_script};
pub use ports::free_address;
pub use postgres::{DATABASE, GUARDED, Postgres, USER};
pub use producer::Producer;
pub use proxy::Proxy;
pub use rig::Rig;
pub use sealer::{Sealer, with_right_checksum};
pub use shell::{Piped, Said, run_in_pipe, run_unread};
pub use small_disk::SmallDisk;
pub use stat::{anon_kib, cpu_seconds, disk_read_bytes, peak_rss_kib, rss_kib};

/// How long a condition may take to come true on a loaded machine, before a test gives up.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// A child process that does not outlive its owner.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts `command`; what it prints goes to the file `log`, appended.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn start(name: &str, command: &mut Command, log: &Path) -> Self {
        let open = || std::fs::File::options().create(true).append(true).open(log).expect("the log file can be opened");
        let child = command.stdin(Stdio::null()).stdout(open()).stderr(open()).spawn();
        let child = child.unwrap_or_else(|error| panic!("{name} cannot be started ({command:?}): {error}"));
        Self { name: name.into(), child, log: log.into() }
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// SIGKILL, and waits until it is gone.
    pub fn kill(mut self) {
        self.kill_now();
    }

    /// SIGTERM, and waits until it is gone.
    ///
    /// # Panics
    /// When it takes longer than [`PATIENCE`].
    pub fn terminate(mut self) -> ExitStatus {
        self.signal(rustix::process::Signal::TERM);
        wait_for(&format!("{} ends after SIGTERM", self.name), || self.child.try_wait().expect("it is our child"))
    }

    /// Sends a signal.
    pub fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal).expect("the child can be signalled");
    }

    /// Waits until it ends by itself.
    ///
    /// # Panics
    /// When it takes longer than [`PATIENCE`].
    pub fn wait(mut self) -> ExitStatus {
        wait_for(&format!("{} ends", self.name), || self.child.try_wait().expect("it is our child"))
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        self.ended().is_none()
    }

    /// How it has ended, once it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("it is our child")
    }

    /// What it has printed.
    pub fn printed(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    fn kill_now(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let printed = self.printed();
            let tail: Vec<_> = printed.lines().rev().take(20).collect();
            eprintln!("--- {} printed last:", self.name);
            tail.into_iter().rev().for_each(|line| eprintln!("    {line}"));
        }
        self.kill_now();
    }
}

/// Runs a command to its end; gives its status, and everything that it printed.
///
/// # Panics
/// When it does not end within [`PATIENCE`].
pub fn run_to_end(command: &mut Command) -> (ExitStatus, String) {
    let folder = Folder::new("command");
    let mut process = Process::start("the command", command, &folder.join("printed"));
    let status = wait_for("the command ends", || process.child.try_wait().expect("it is our child"));
    (status, process.printed())
}

/// Waits for a condition.
///
/// # Panics
/// When it has not come true after [`PATIENCE`].
pub fn wait_for<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    let mut pause = Duration::from_millis(1);
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(started.elapsed() < PATIENCE, "waited {} s in vain: {what}", PATIENCE.as_secs());
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(20));
    }
}

/// The folder of the profile that the caller was built in.
fn profile_folder() -> PathBuf {
    let own = std::env::current_exe().expect("this program has a path");
    let profile = own.ancestors().skip(1).find(|folder| folder.file_name().is_some_and(|name| name != "deps"));
    profile.expect("programs of cargo lie in its target folder").to_path_buf()
}

/// The target folder of this workspace, where tests/setup puts what the tests need.
///
/// # Panics
/// When the caller does not lie in it.
pub fn target_folder() -> PathBuf {
    profile_folder().parent().expect("a profile lies in the target folder").to_path_buf()
}

/// The binary `name` of this workspace, built in the profile that the caller was built in; as it is when
/// `AFFERENT_PROGRAMS_ARE_BUILT` is set.
///
/// # Panics
/// When it cannot be built.
pub fn binary(name: &str) -> PathBuf {
    let profile = profile_folder();
    static BUILT: std::sync::Once = std::sync::Once::new();
    BUILT.call_once(|| {
        if std::env::var_os("AFFERENT_PROGRAMS_ARE_BUILT").is_some() {
            return;
        }
        let mut build = Command::new(env!("CARGO"));
        build.args(["build", "--quiet", "--bins", "-p", "afferent-agent", "-p", "afferent-collector"]);
        if profile.ends_with("release") {
            build.arg("--release");
        }
        build.arg("--target-dir").arg(profile.parent().expect("a profile lies in the target folder"));
        build.current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
        // What cargo tells a test about its package is not for this cargo: build scripts that look at it would run again,
        // and everything behind them be built anew, here and in the next build from a terminal.
        let of_package = |name: &str| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_");
        std::env::vars().filter(|(name, _)| of_package(name)).for_each(|(name, _)| {
            build.env_remove(name);
        });
        let status = build.status().expect("cargo can be started");
        assert!(status.success(), "the binaries under test cannot be built");
    });
    profile.join(name)
}

/// Copies the files of a folder, and of those in it; what is no file is left out.
///
/// # Panics
/// When they cannot be read or written.
pub fn copy_files(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("the folder can be made");
    for entry in std::fs::read_dir(from).expect("the folder can be listed") {
        let entry = entry.expect("it can be listed");
        let (path, target, kind) =
            (entry.path(), to.join(entry.file_name()), entry.file_type().expect("it has a kind"));
        if kind.is_dir() {
            copy_files(&path, &target);
        } else if kind.is_file() {
            std::fs::copy(&path, &target).expect("it can be copied");
        }
    }
}

/// A folder of its own for a test, removed with its owner unless the test failed.
#[derive(Debug)]
pub struct Folder(PathBuf);

impl Folder {
    /// A new one.
    ///
    /// # Panics
    /// When it cannot be made.
    pub fn new(name: &str) -> Self {
        static COUNT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let number = COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("afferent-{name}-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&path).expect("the temporary folder can be written");
        Self(path)
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The path of something in it.
    pub fn join(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- kept for a look: {}", self.0.display());
        } else {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }
}
