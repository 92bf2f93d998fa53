//! `forward`: how far other systems have the log, and orders to forwards.

use std::io::Write;

use afferent_collector::api::forwards::ForwardReport;
use afferent_collector::line::{Side, plain, table};
use anyhow::Context;

use super::agents::lag;
use super::client::Client;
use super::{Collector, Output};

/// Show how far other systems have the log; pause, resume or move a forward.
#[derive(Debug, clap::Subcommand)]
pub enum Forward {
    /// List all forwards: state, lag, deliveries.
    List {
        #[command(flatten)]
        collector: Collector,
        /// Output format.
        #[arg(long, value_enum, default_value_t)]
        output: Output,
    },
    /// Show a forward, with its last error and what to do.
    Show {
        #[command(flatten)]
        of: Named,
        /// Output format.
        #[arg(long, value_enum, default_value_t)]
        output: Output,
    },
    /// Stop deliveries until `resume`, also across restarts of the collector.
    Pause(Named),
    /// Resume deliveries; a forward that waits for its next try tries at once.
    Resume(Named),
    /// Move a forward: it delivers again from there on, or skips what is before.
    Rewind {
        #[command(flatten)]
        of: Named,
        /// An offset, a place (OFFSET@TERM.LOG), a time (RFC 3339), `first` or `end`.
        #[arg(long)]
        to: String,
    },
    /// Send the events again that the destination had refused for good.
    ReplayDead(Named),
}

/// A forward of a running collector.
#[derive(Debug, clap::Args)]
pub struct Named {
    #[command(flatten)]
    collector: Collector,
    /// Name of the forward.
    name: String,
}

/// Carries the command out.
pub fn forward(command: &Forward) -> anyhow::Result<()> {
    let order = |of: &Named, order: &str, body: Option<serde_json::Value>| {
        Client::new(&of.collector.http).order(&of.name, order, body).map(|report| one(&report))
    };
    let text = match command {
        Forward::List { collector, output } => {
            let forwards = Client::new(&collector.http).forwards()?;
            match output {
                Output::Json => serde_json::to_string_pretty(&forwards)? + "\n",
                Output::Table => all(&forwards),
            }
        }
        Forward::Show { of, output } => {
            let report = Client::new(&of.collector.http).forward(&of.name)?;
            match output {
                Output::Json => serde_json::to_string_pretty(&report)? + "\n",
                Output::Table => one(&report),
            }
        }
        Forward::Pause(of) => order(of, "pause", None)?,
        Forward::Resume(of) => order(of, "resume", None)?,
        Forward::ReplayDead(of) => order(of, "replay-dead", None)?,
        Forward::Rewind { of, to } => order(of, "rewind", Some(serde_json::json!({ "to": to })))?,
    };
    anstream::stdout().write_all(text.as_bytes()).context("writing to standard output failed")
}

fn all(forwards: &[ForwardReport]) -> String {
    if forwards.is_empty() {
        return "there are no forwards; add [[forward]] to the collector's configuration\n".to_owned();
    }
    let heading = [
        ("FORWARD", Side::Left),
        ("STATE", Side::Left),
        ("LAG", Side::Right),
        ("EVENTS BEHIND", Side::Right),
        ("DELIVERED", Side::Right),
        ("DEAD", Side::Right),
        ("SINK", Side::Left),
        ("ERROR", Side::Left),
    ];
    // What is over stands in `forward show`, with its time.
    let is_failing = |report: &&ForwardReport| ["retrying", "stuck"].contains(&report.state.as_str());
    let row = |report: &ForwardReport| {
        let error = Some(report).filter(is_failing).and_then(|report| report.last_error.as_deref());
        vec![
            plain(&report.name).into_owned(),
            plain(&report.state).into_owned(),
            lag(report.lag_s),
            plain(&report.lag).into_owned(),
            report.delivered.to_string(),
            report.dead_letters.to_string(),
            plain(&report.sink).into_owned(),
            plain(error.unwrap_or("-")).into_owned(),
        ]
    };
    table(&heading, &forwards.iter().map(row).collect::<Vec<_>>())
}

fn one(report: &ForwardReport) -> String {
    let unknown = || "none yet".to_owned();
    let next = report.next_try_s.map_or_else(String::new, |seconds| format!(", next try in {}", lag(Some(seconds))));
    let error = match (&report.last_error, &report.last_error_time) {
        (Some(error), Some(time)) => format!("{error} ({time})"),
        _ => "none since the collector's start".to_owned(),
    };
    let rows = [
        ("forward", report.name.clone()),
        ("delivers to", format!("{}: {}", report.sink, report.target)),
        ("state", report.state.clone() + &next),
        ("next offset", report.offset.clone().unwrap_or_else(unknown)),
        ("lag", format!("{}, {} events behind", lag(report.lag_s), report.lag)),
        ("delivered", format!("{} events since the collector's start", report.delivered)),
        ("dead letters", report.dead_letters.to_string()),
        ("last error", error),
    ];
    rows.iter().map(|(name, value)| format!("{name:<13} {}\n", plain(value))).collect()
}
