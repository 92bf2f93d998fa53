//! `lag`: how far subscriptions are behind the log.

use std::io::Write;

use afferent_collector::api::subscriptions::SubscriptionReport;
use afferent_collector::line::{Side, plain, table};
use anyhow::Context;

use super::client::Client;
use super::{Collector, Output};

/// Show how far subscriptions lag behind the log, and which members read them.
#[derive(Debug, clap::Args)]
pub struct Lag {
    #[command(flatten)]
    collector: Collector,
    /// Output format.
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

/// Asks once, and writes what is known.
pub fn lag(args: &Lag) -> anyhow::Result<()> {
    let subscriptions = Client::new(&args.collector.http).subscriptions()?;
    let text = match args.output {
        Output::Json => serde_json::to_string_pretty(&subscriptions)? + "\n",
        Output::Table => rendered(&subscriptions),
    };
    anstream::stdout().write_all(text.as_bytes()).context("writing to standard output failed")
}

fn rendered(subscriptions: &[SubscriptionReport]) -> String {
    if subscriptions.is_empty() {
        return "there are no subscriptions; `afferent-collector sub --name NAME` creates one\n".to_owned();
    }
    let heading =
        [("SUBSCRIPTION", Side::Left), ("LAG", Side::Right), ("SHARES", Side::Right), ("MEMBERS", Side::Left)];
    let row = |subscription: &SubscriptionReport| {
        let members: Vec<_> = subscription.members.iter().map(|member| plain(&member.name)).collect();
        let name = plain(&subscription.name).into_owned();
        let lag = match &subscription.begins {
            Some(begins) => format!("begins at {}", plain(begins)),
            None => plain(subscription.lag.as_deref().unwrap_or("lost: reset the subscription")).into_owned(),
        };
        vec![name, lag, subscription.cursors.len().to_string(), members.join(", ")]
    };
    table(&heading, &subscriptions.iter().map(row).collect::<Vec<_>>())
}
