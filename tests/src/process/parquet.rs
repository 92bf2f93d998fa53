//! An S3 server, and an independent reader of parquet files. `tests/setup` installs both.

use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Folder, Process, free_address, run_to_end, wait_for};

/// A Python with moto, DuckDB, pandas and pyarrow.
///
/// # Panics
/// When `tests/setup` has not made it.
pub fn lake_python() -> PathBuf {
    let own = std::env::current_exe().expect("this program has a path");
    let target = own.ancestors().find(|folder| folder.join("lake/venv/bin/python").is_file());
    let target = target.unwrap_or_else(|| panic!("{} has no lake/venv above it: run tests/setup", own.display()));
    target.join("lake/venv/bin/python")
}

/// Runs a Python script with these arguments; gives what it prints.
///
/// # Panics
/// When it fails.
pub fn run_lake_script(script: &str, arguments: &[&str]) -> String {
    let (status, printed) =
        run_to_end(Command::new(lake_python()).args(["-W", "ignore", "-c", script]).args(arguments));
    assert!(status.success(), "{printed}");
    printed
}

/// An S3 server, which keeps its objects in memory: it forgets them when it ends.
#[derive(Debug)]
pub struct S3Server {
    /// Where it listens.
    pub address: SocketAddr,
    log: PathBuf,
}

impl S3Server {
    /// The login that it takes.
    pub const KEY_ID: &str = "AKIDLAKE";

    /// One that does not run yet.
    pub fn new(folder: &Folder) -> Self {
        Self { address: free_address(), log: folder.join("s3.log") }
    }

    /// Starts it, without any bucket.
    pub fn start(&self) -> Process {
        self.start_with(&mut Command::new(lake_python()))
    }

    /// Starts it so that it takes one request, and from then on none of this login.
    pub fn start_guarded(&self) -> Process {
        self.start_with(Command::new(lake_python()).env("INITIAL_NO_AUTH_ACTION_COUNT", "1"))
    }

    fn start_with(&self, command: &mut Command) -> Process {
        let port = self.address.port().to_string();
        command.args(["-W", "ignore", "-m", "moto.server", "-H", "127.0.0.1", "-p", &port]);
        let process = Process::start("moto_server", command, &self.log);
        wait_for("the S3 server takes connections", || TcpStream::connect(self.address).ok());
        process
    }

    /// Makes or removes a bucket.
    ///
    /// # Panics
    /// When the server refuses.
    pub fn bucket(&self, name: &str, is_wanted: bool) {
        let url = format!("http://{}/{name}", self.address);
        let answer = if is_wanted { ureq::put(&url).send_empty() } else { ureq::delete(&url).call() };
        answer.expect("the server makes and removes buckets");
    }

    /// Copies all objects of a bucket into a folder.
    pub fn download(&self, bucket: &str, to: &Path) {
        let script = "
import boto3, os, sys
url, bucket, to = sys.argv[1:]
s3 = boto3.client('s3', endpoint_url=url, aws_access_key_id='a', aws_secret_access_key='b', region_name='us-east-1')
for page in s3.get_paginator('list_objects_v2').paginate(Bucket=bucket):
    for item in page.get('Contents', []):
        path = os.path.join(to, item['Key'])
        os.makedirs(os.path.dirname(path), exist_ok=True)
        s3.download_file(bucket, item['Key'], path)
";
        run_lake_script(script, &[&format!("http://{}", self.address), bucket, &to.display().to_string()]);
    }
}
