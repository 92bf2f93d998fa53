//! The demo in QEMU, with both of its serial ports in the hands of a test.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::receiver::Receiver;

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/demo");
/// How long a condition may take to come true on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(240);

/// The demo's ELF file, built once.
pub fn elf() -> &'static Path {
    static ELF: OnceLock<PathBuf> = OnceLock::new();
    ELF.get_or_init(|| {
        let output = Command::new(format!("{FOLDER}/build")).stderr(Stdio::inherit()).output();
        let output = output.expect("firmware/demo/build can be started");
        assert!(output.status.success(), "the demo cannot be built");
        let printed = String::from_utf8(output.stdout).expect("a path");
        printed.lines().last().expect("it prints the path").into()
    })
}

/// The function and the line of a program counter, as `addr2line` tells.
pub fn place_of(pc: u32) -> String {
    let output = Command::new("addr2line").args(["-fCie"]).arg(elf()).arg(format!("{pc:#x}")).output();
    let output = output.expect("addr2line (binutils) is installed");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The demo, its flash, and a receiver at the other end of the line.
pub struct Demo {
    pub receiver: Receiver,
    /// Lines that the console has printed.
    pub printed: VecDeque<String>,
    /// One byte in so many is damaged, in both directions.
    pub noise_one_in: Option<u64>,
    /// Whether somebody takes what comes on the line.
    pub is_reading_line: bool,
    folder: tempfile::TempDir,
    qemu: Option<Child>,
    line: Option<UnixStream>,
    console: Option<UnixStream>,
    partial: Vec<u8>,
    rng: u64,
}

impl Demo {
    /// A new controller, powered on.
    pub fn start() -> Self {
        let mut demo = Self {
            receiver: Receiver::default(),
            printed: VecDeque::new(),
            noise_one_in: None,
            is_reading_line: true,
            folder: tempfile::tempdir().expect("a folder can be made"),
            qemu: None,
            line: None,
            console: None,
            partial: Vec::new(),
            rng: 1,
        };
        demo.new_flash();
        demo.power_on();
        demo
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Another flash chip in place of the one that there is.
    pub fn new_flash(&self) {
        let status = Command::new(format!("{FOLDER}/flash")).arg(self.path("flash")).status();
        assert!(status.expect("firmware/demo/flash can be started").success());
    }

    pub fn power_on(&mut self) {
        assert!(self.qemu.is_none(), "it is on");
        let mut command = Command::new(format!("{FOLDER}/run"));
        command.arg(elf()).args(["flash", "line", "console"].map(|name| self.path(name)));
        let log = std::fs::File::create(self.path("qemu.log")).expect("the folder can be written");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        self.qemu = Some(command.spawn().expect("firmware/demo/run can be started"));
        self.console = Some(self.connect("console"));
    }

    pub fn cut_power(&mut self) {
        let mut qemu = self.qemu.take().expect("it is on");
        qemu.kill().expect("it can be killed");
        qemu.wait().expect("it ends");
        (self.line, self.console) = (None, None);
        self.partial.clear();
        for name in ["line", "console"] {
            let _ = std::fs::remove_file(self.path(name));
        }
    }

    fn connect(&mut self, name: &str) -> UnixStream {
        let (path, started) = (self.path(name), Instant::now());
        loop {
            if let Ok(stream) = UnixStream::connect(&path) {
                stream.set_nonblocking(true).expect("sockets can do that");
                return stream;
            }
            let ended = self.qemu.as_mut().and_then(|qemu| qemu.try_wait().expect("it is our child"));
            let said = || std::fs::read_to_string(self.path("qemu.log")).unwrap_or_default();
            assert!(ended.is_none(), "QEMU has ended: {}", said());
            assert!(started.elapsed() < PATIENCE, "QEMU does not listen: {}", said());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    pub fn plug(&mut self) {
        self.line = Some(self.connect("line"));
    }

    pub fn unplug(&mut self) {
        self.line = None;
    }

    /// Types a command, and waits until it has begun.
    pub fn command(&mut self, command: &str) {
        let mut console = self.console.as_ref().expect("it is on");
        console.write_all(format!("{command}\n").as_bytes()).expect("the console takes a line");
        self.wait_for_line(&format!("ok {command}"));
    }

    /// Waits until the console prints a line that begins so; gives it.
    pub fn wait_for_line(&mut self, beginning: &str) -> String {
        let mut seen = 0;
        self.wait_for(&format!("the console prints {beginning:?}"), |demo| {
            let found = demo.printed.iter().skip(seen).find(|line| line.starts_with(beginning)).cloned();
            seen = demo.printed.len();
            found
        })
    }

    /// Waits for a condition, and passes on meanwhile what the line and the console say.
    pub fn wait_for<T>(&mut self, what: &str, mut condition: impl FnMut(&mut Self) -> Option<T>) -> T {
        let started = Instant::now();
        loop {
            let is_busy = self.pass_on();
            if let Some(value) = condition(self) {
                return value;
            }
            assert!(started.elapsed() < PATIENCE, "waited in vain: {what}; printed: {:?}", self.last_lines());
            if !is_busy {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
    }

    fn last_lines(&self) -> Vec<&String> {
        self.printed.iter().rev().take(10).collect()
    }

    fn pass_on(&mut self) -> bool {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is after 1970");
        self.receiver.wall_us = since.as_micros() as i64;
        let line = self.line.as_ref().filter(|_| self.is_reading_line);
        let from_line = line.map(read).unwrap_or_default();
        let from_line = self.disturbed(from_line);
        let answers = self.receiver.feed(&from_line);
        let answers = self.disturbed(answers);
        if let Some(line) = &self.line {
            write(line, &answers);
        }
        let from_console = self.console.as_ref().map(read).unwrap_or_default();
        self.partial.extend_from_slice(&from_console);
        while let Some(end) = self.partial.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.partial.drain(..=end).collect();
            self.printed.push_back(String::from_utf8_lossy(&line).trim_end().into());
        }
        !from_line.is_empty() || !from_console.is_empty()
    }

    fn disturbed(&mut self, mut bytes: Vec<u8>) -> Vec<u8> {
        let Some(one_in) = self.noise_one_in else { return bytes };
        for byte in &mut bytes {
            self.rng = self.rng.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            if (self.rng >> 33).is_multiple_of(one_in) {
                *byte ^= 1 + ((self.rng >> 20) % 255) as u8;
            }
        }
        bytes
    }

    /// What the ledger says was recorded, and what was lost, of `critical` or `samples`, without the verb.
    pub fn ledger(&self, verb: &str, stream: &str) -> Vec<String> {
        let beginning = format!("{verb} {stream} ");
        self.printed.iter().filter_map(|line| line.strip_prefix(&beginning)).map(str::to_owned).collect()
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        if let Some(mut qemu) = self.qemu.take() {
            let _ = qemu.kill();
            let _ = qemu.wait();
        }
    }
}

fn read(mut stream: &UnixStream) -> Vec<u8> {
    let mut bytes = vec![0; 16 * 1024];
    let len = match stream.read(&mut bytes) {
        Ok(len) => len,
        Err(error) if error.kind() == ErrorKind::WouldBlock => 0,
        Err(error) => panic!("QEMU's socket: {error}"),
    };
    bytes.truncate(len);
    bytes
}

/// Waits until everything is written: what goes down is little.
fn write(mut stream: &UnixStream, mut bytes: &[u8]) {
    while !bytes.is_empty() {
        match stream.write(bytes) {
            Ok(len) => bytes = &bytes[len..],
            Err(error) if error.kind() == ErrorKind::WouldBlock => std::thread::sleep(Duration::from_millis(1)),
            Err(error) => panic!("QEMU's socket: {error}"),
        }
    }
}
