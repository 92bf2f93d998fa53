//! A PostgreSQL server of one test.

use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Certificate, Folder, Process, free_address, run_to_end, wait_for};

/// A server with an empty database, which can be killed and started again on its address.
#[derive(Debug)]
pub struct Postgres {
    /// Where it listens.
    pub address: SocketAddr,
    /// Its data directory and what it prints, in a folder of the user that it runs as.
    folder: PathBuf,
    programs: PathBuf,
}

/// The database of the tests.
pub const DATABASE: &str = "plant";
/// The role that owns the database; it is let in without a password.
pub const USER: &str = "afferent";
/// A role that needs its password, once a test has made it.
pub const GUARDED: &str = "guarded";

impl Postgres {
    /// Its data directory.
    ///
    /// # Panics
    /// When PostgreSQL is not installed (`tests/setup`), or its files cannot be written.
    pub fn new(folder: &Folder) -> Self {
        let server = Self { address: free_address(), folder: folder.join("postgres"), programs: programs() };
        std::fs::create_dir_all(&server.folder).expect("the folder can be made");
        if let Some((user, group)) = owner() {
            chown(&server.folder, Some(user), Some(group)).expect("root may give it away");
        }
        let data = server.data();
        let made = server
            .command("initdb")
            .arg("-D")
            .arg(&data)
            .args(["-U", USER, "--auth=trust", "-E", "UTF8"])
            .args(["--no-locale", "--no-sync", "--no-instructions"])
            .output()
            .expect("initdb can be started");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let access = format!("host all {GUARDED} 127.0.0.1/32 scram-sha-256\nhost all all 127.0.0.1/32 trust\n");
        std::fs::write(data.join("pg_hba.conf"), access).expect("the folder can be written");
        // What was aborted stays where it was, so that the places of rows show the order in which they came.
        let settings = format!(
            "listen_addresses = '127.0.0.1'\nport = {}\nunix_socket_directories = ''\nautovacuum = off\n\
             max_wal_size = 256MB\n",
            server.address.port()
        );
        server.configure(&settings);
        server
    }

    /// Adds lines to its configuration; they count from its next start on.
    ///
    /// # Panics
    /// When the file cannot be written.
    pub fn configure(&self, lines: &str) {
        use std::io::Write;
        let file = std::fs::File::options().append(true).open(self.data().join("postgresql.conf"));
        file.and_then(|mut file| file.write_all(lines.as_bytes())).expect("the configuration can be written");
    }

    /// Has it show this certificate from its next start on.
    ///
    /// # Panics
    /// When its files cannot be written.
    pub fn with_tls(&self, certificate: &Certificate) {
        for (from, to) in [(&certificate.cert, "server.pem"), (&certificate.key, "server.key")] {
            let to = self.data().join(to);
            std::fs::copy(from, &to).expect("the folder can be written");
            let private = std::os::unix::fs::PermissionsExt::from_mode(0o600);
            std::fs::set_permissions(&to, private).expect("the file is ours");
            if let Some((user, group)) = owner() {
                chown(&to, Some(user), Some(group)).expect("root may give it away");
            }
        }
        self.configure("ssl = on\nssl_cert_file = 'server.pem'\nssl_key_file = 'server.key'\n");
    }

    /// Starts it and waits until it answers. Its processes end when this one is killed.
    pub fn start(&self) -> Process {
        let log = self.folder.join("log");
        let start = || Process::start("postgres", self.command("postgres").arg("-D").arg(self.data()), &log);
        let mut process = start();
        wait_for("PostgreSQL answers", || {
            // It does not start while a process of a killed one still ends.
            if process.ended().is_some() {
                process = start();
            }
            TcpStream::connect(self.address).ok()?;
            self.try_sql("postgres", "SELECT 1").ok()
        });
        let is_there = format!("SELECT count(*) FROM pg_database WHERE datname = '{DATABASE}'");
        if self.sql_in("postgres", &is_there) == "0" {
            self.sql_in("postgres", &format!("CREATE DATABASE {DATABASE}"));
        }
        process
    }

    /// Has it keep new tables in this empty directory, and its log where it was.
    ///
    /// # Panics
    /// When the server refuses it.
    pub fn keep_tables_in(&self, directory: &Path) {
        if let Some((user, group)) = owner() {
            chown(directory, Some(user), Some(group)).expect("root may give it away");
        }
        self.sql(&format!("CREATE TABLESPACE other LOCATION '{}'", directory.display()));
        self.sql(&format!("ALTER DATABASE {DATABASE} SET default_tablespace = other"));
    }

    /// The URL of the database for a role.
    pub fn url(&self, user: &str) -> String {
        format!("postgres://{user}@{}/{DATABASE}", self.address)
    }

    /// What psql prints for a statement: rows as lines, columns with tabs between.
    ///
    /// # Panics
    /// When the server refuses it.
    pub fn sql(&self, statement: &str) -> String {
        self.sql_in(DATABASE, statement)
    }

    /// The same, or psql's error.
    ///
    /// # Errors
    /// When the server refuses it or does not answer.
    pub fn try_sql(&self, database: &str, statement: &str) -> Result<String, String> {
        let mut psql = Command::new(self.programs.join("psql"));
        psql.args(["-XAtq", "-F", "\t", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1", "-U", USER, "-d", database]);
        psql.arg("-p").arg(self.address.port().to_string()).arg("-c").arg(statement).env("PGTZ", "UTC");
        let (status, printed) = run_to_end(&mut psql);
        let printed = printed.trim_end().to_owned();
        if status.success() { Ok(printed) } else { Err(printed) }
    }

    fn sql_in(&self, database: &str, statement: &str) -> String {
        self.try_sql(database, statement).unwrap_or_else(|error| panic!("{statement}: {error}"))
    }

    fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    /// A program of PostgreSQL, as a user that is not root: the server refuses root.
    fn command(&self, program: &str) -> Command {
        let path = self.programs.join(program);
        let mut command = match owner() {
            None => Command::new(path),
            Some((user, group)) => {
                let mut command = Command::new("setpriv");
                command.arg(format!("--reuid={user}")).arg(format!("--regid={group}")).args(["--clear-groups", "--"]);
                command.arg(path);
                command
            }
        };
        command.current_dir("/");
        command
    }
}

/// The user and group `postgres` for a test that runs as root.
fn owner() -> Option<(u32, u32)> {
    if !rustix::process::geteuid().is_root() {
        return None;
    }
    let users = std::fs::read_to_string("/etc/passwd").expect("the system has users");
    let line = users.lines().find(|line| line.starts_with("postgres:")).expect("Debian's package makes a user");
    let mut numbers = line.split(':').skip(2).map(|number| number.parse().expect("ids are numbers"));
    Some((numbers.next().expect("a user has an id"), numbers.next().expect("a user has a group")))
}

/// Where the newest installed version has its programs.
fn programs() -> PathBuf {
    let versions = std::fs::read_dir("/usr/lib/postgresql").expect("PostgreSQL is installed; see tests/setup");
    let number = |path: &Path| path.file_name()?.to_str()?.parse::<u32>().ok();
    let newest = versions.flatten().map(|entry| entry.path()).filter(|path| path.join("bin/initdb").exists());
    newest.max_by_key(|path| number(path)).expect("PostgreSQL is installed; see tests/setup").join("bin")
}
