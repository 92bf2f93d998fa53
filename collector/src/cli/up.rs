//! `up`: everything at once, to begin with.

use std::net::SocketAddr;
use std::path::PathBuf;

use afferent_collector::config::{Config, Overrides};
use afferent_collector::logging;
use afferent_collector::up::{self, UpSettings};

/// Where everything is put.
#[derive(Debug, clap::Args)]
pub struct Up {
    /// Directory for all data.
    #[arg(long, default_value = "./afferent-data")]
    data: PathBuf,
    /// Address and port for agents (MQTT).
    #[arg(long, default_value = "127.0.0.1:1883")]
    mqtt: SocketAddr,
    /// Address and port for readers (HTTP).
    #[arg(long, default_value = "127.0.0.1:8080")]
    http: SocketAddr,
}

/// Runs a collector and an agent for this machine until SIGINT or SIGTERM.
pub fn up(args: &Up) -> anyhow::Result<()> {
    let overrides = Overrides { data: Some(args.data.clone()), mqtt: Some(args.mqtt), http: Some(args.http) };
    let config = Config::load(None, &overrides)?;
    logging::begin(&config.log)?;
    let settings = UpSettings { data: args.data.clone(), mqtt: args.mqtt, http: args.http };
    let runtime = super::runtime()?;
    Ok(runtime.block_on(up::up(&config, &settings))?)
}
