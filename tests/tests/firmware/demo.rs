//! The demo firmware in QEMU, and its console with the ledger.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, OnceLock};

use afferent_tests::process::{Process, wait_for};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../firmware/demo");

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

/// A controller: its flash, and QEMU while it has power.
pub struct Demo {
    folder: PathBuf,
    qemu: Option<Process>,
    console: Option<UnixStream>,
    /// Lines that the console has printed.
    printed: Arc<Mutex<Vec<String>>>,
}

impl Demo {
    /// A new controller without power.
    pub fn new(folder: &Path) -> Self {
        let demo = Self { folder: folder.into(), qemu: None, console: None, printed: Arc::default() };
        demo.new_flash();
        demo
    }

    /// QEMU's end of the line.
    pub fn line(&self) -> PathBuf {
        self.folder.join("qemu-line")
    }

    /// Another flash chip in place of the one that there is.
    pub fn new_flash(&self) {
        let status = Command::new(format!("{FOLDER}/flash")).arg(self.folder.join("flash")).status();
        assert!(status.expect("firmware/demo/flash can be started").success());
    }

    /// Switches it on.
    pub fn power_on(&mut self) {
        let console = self.folder.join("console");
        for path in [&console, &self.line()] {
            let _ = std::fs::remove_file(path);
        }
        let mut command = Command::new(format!("{FOLDER}/run"));
        command.arg(elf()).arg(self.folder.join("flash")).arg(self.line()).arg(&console);
        self.qemu = Some(Process::start("QEMU", &mut command, &self.folder.join("qemu.log")));
        let stream = wait_for("QEMU listens", || UnixStream::connect(&console).ok());
        let reader = BufReader::new(stream.try_clone().expect("a socket can be shared"));
        self.console = Some(stream);
        let printed = self.printed.clone();
        // It ends with QEMU.
        std::thread::spawn(move || {
            for line in reader.lines().map_while(Result::ok) {
                printed.lock().expect("nobody panicked with it").push(line.trim_end().into());
            }
        });
    }

    /// Cuts the power.
    pub fn cut_power(&mut self) {
        self.console = None;
        self.qemu.take().expect("it is on").kill();
    }

    /// Types a command, and waits until it has begun.
    pub fn command(&mut self, command: &str) {
        self.printed_clear(&format!("ok {command}"));
        let mut console = self.console.as_ref().expect("it is on");
        console.write_all(format!("{command}\n").as_bytes()).expect("the console takes a line");
        self.wait_for_line(&format!("ok {command}"));
    }

    /// Forgets lines that begin so.
    pub fn printed_clear(&self, beginning: &str) {
        self.printed.lock().expect("nobody panicked with it").retain(|line| !line.starts_with(beginning));
    }

    /// Waits until the console prints a line that begins so.
    pub fn wait_for_line(&self, beginning: &str) {
        wait_for(&format!("the console prints {beginning:?}"), || {
            let printed = self.printed.lock().expect("nobody panicked with it");
            printed.iter().any(|line| line.starts_with(beginning)).then_some(())
        });
    }

    /// What the ledger says was `recorded` or `lost` of a stream: subject and value, in order.
    pub fn ledger(&self, verb: &str, stream: &str) -> Vec<String> {
        let beginning = format!("{verb} {stream} ");
        let printed = self.printed.lock().expect("nobody panicked with it");
        let lines = printed.iter().filter_map(|line| line.strip_prefix(&beginning));
        lines.map(|line| line.split_once(' ').expect("a tick comes first").1.to_owned()).collect()
    }
}
