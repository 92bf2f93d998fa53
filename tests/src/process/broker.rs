//! Mosquitto between agent and collector.

use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::Command;

use super::{Folder, Process, free_address, run_to_end, wait_for};

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
        Self::with_access(folder, &format!("allow_anonymous true\n{extra}"))
    }

    /// For these logins (user and password) alone, under the rules of an ACL file.
    ///
    /// # Panics
    /// When its files cannot be written.
    pub fn guarded(folder: &Folder, rules: &str, logins: &[(&str, &str)]) -> Self {
        let (acl, passwords) = (folder.join("mosquitto.acl"), folder.join("mosquitto.passwords"));
        std::fs::write(&acl, rules).expect("the folder can be written");
        std::fs::write(&passwords, "").expect("the folder can be written");
        for (user, password) in logins {
            let mut command = Command::new("mosquitto_passwd");
            let (status, printed) = run_to_end(command.arg("-b").arg(&passwords).args([user, password]));
            assert!(status.success(), "{printed}");
        }
        let (acl, passwords) = (acl.display(), passwords.display());
        Self::with_access(folder, &format!("allow_anonymous false\nacl_file {acl}\npassword_file {passwords}"))
    }

    fn with_access(folder: &Folder, access: &str) -> Self {
        let address = free_address();
        let data = folder.join("mosquitto");
        std::fs::create_dir_all(&data).expect("the folder can be made");
        // It gives up root, and must be able to write its file nevertheless.
        let text = format!(
            "listener {} 127.0.0.1\npersistence true\npersistence_location {}/\n\
             autosave_interval 1\nmax_queued_messages 10000\nuser root\n{access}\n",
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
