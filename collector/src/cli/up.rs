//! `up`: everything at once, to begin with.

use std::net::SocketAddr;
use std::path::PathBuf;

use afferent_collector::config::{Config, Overrides};
use afferent_collector::{logging, run};

/// Where everything is put.
#[derive(Debug, clap::Args)]
pub struct Up {
    /// The directory of everything that is kept.
    #[arg(long, default_value = "./afferent-data")]
    data: PathBuf,
    /// Address and port for agents.
    #[arg(long, default_value = "127.0.0.1:1883")]
    mqtt: SocketAddr,
    /// Address and port for readers.
    #[arg(long, default_value = "127.0.0.1:8080")]
    http: SocketAddr,
}

/// Starts a collector, says what to try next, and runs until SIGINT or SIGTERM.
pub fn up(args: &Up) -> anyhow::Result<()> {
    let overrides = Overrides { data: Some(args.data.clone()), mqtt: Some(args.mqtt), http: Some(args.http) };
    let config = Config::load(None, &overrides)?;
    logging::begin(&config.log)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let collector = run::Collector::start(&config).await?;
        println!("{}", greeting(args, collector.mqtt, collector.http));
        tokio::select! {
            () = run::terminated() => {}
            () = collector.writer_ended() => {}
        }
        Ok(collector.stop().await?)
    })
}

fn greeting(args: &Up, mqtt: Option<SocketAddr>, http: SocketAddr) -> String {
    let mqtt = mqtt.map_or_else(|| "an external broker".to_owned(), |address| format!("mqtt://{address}"));
    format!(
        "The log is in {}; agents connect to {mqtt}, readers to http://{http}.\n\
         Try, in another terminal:\n\
         \x20   afferent-collector sub --from first --http {http}\n\
         \x20   afferent-collector agents --http {http}\n\
         \x20   curl http://{http}/v1/events?limit=10\n\
         Ctrl-C ends it; started again it goes on where it was.",
        args.data.display()
    )
}
