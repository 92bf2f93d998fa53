//! Mosquitto between agent and collector.

use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::Command;

use super::{Folder, Process, free_address, wait_for};

/// A broker that can be killed and started again on its address.
#[derive(Debug)]
pub struct Mosquitto {
    /// Where it listens.
    pub address: SocketAddr,
    config: PathBuf,
    data: PathBuf,
    log: PathBuf,
}

impl Mosquitto {
    /// Its configuration; `extra` are more lines of it. Anonymous clients, a queue that holds all windows.
    pub fn new(folder: &Folder, extra: &str) -> Self {
        let address = free_address();
        let data = folder.join("mosquitto");
        std::fs::create_dir_all(&data).expect("the folder can be made");
        // It gives up root, and must be able to write its file nevertheless.
        let text = format!(
            "listener {} 127.0.0.1\nallow_anonymous true\npersistence true\npersistence_location {}/\n\
             autosave_interval 1\nmax_queued_messages 10000\nuser root\n{extra}\n",
            address.port(),
            data.display(),
        );
        let config = folder.join("mosquitto.conf");
        std::fs::write(&config, text).expect("the folder can be written");
        Self { address, config, data, log: folder.join("mosquitto.log") }
    }

    /// Starts it and waits until it takes connections.
    pub fn start(&self) -> Process {
        let mut command = Command::new("mosquitto");
        let process = Process::start("mosquitto", command.arg("-c").arg(&self.config), &self.log);
        wait_for("mosquitto takes connections", || TcpStream::connect(self.address).ok());
        process
    }

    /// Removes what it had kept, so that it has forgotten everything when it starts again.
    pub fn forget(&self) {
        let _ = std::fs::remove_file(self.data.join("mosquitto.db"));
    }
}
