//! `agents`: who is there, and how it is.

use std::io::Write;

use afferent_collector::api::agents::{AgentReport, AgentsReport};
use afferent_collector::line::{Side, plain, table};
use anyhow::Context;

use super::client::Client;
use super::{Collector, Output};

/// Show all agents: state, lag, losses.
#[derive(Debug, clap::Args)]
pub struct Agents {
    #[command(flatten)]
    collector: Collector,
    /// How they are written.
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

/// Asks once, and writes what is known.
pub fn agents(args: &Agents) -> anyhow::Result<()> {
    let report = Client::new(&args.collector.http).agents()?;
    let text = match args.output {
        Output::Json => serde_json::to_string_pretty(&report)? + "\n",
        Output::Table => rendered(&report),
    };
    anstream::stdout().write_all(text.as_bytes()).context("writing to standard output failed")
}

fn rendered(report: &AgentsReport) -> String {
    let heading = [
        ("AGENT", Side::Left),
        ("STATE", Side::Left),
        ("LAG", Side::Right),
        ("EVENTS", Side::Right),
        ("LOST", Side::Right),
        ("MISSING", Side::Right),
        ("REFUSED", Side::Right),
        ("LAST", Side::Left),
    ];
    let rows: Vec<Vec<String>> = report.agents.iter().map(row).collect();
    let log = format!("the log holds offsets {} up to {}\n", report.log.first, report.log.end);
    table(&heading, &rows) + &log
}

fn row(agent: &AgentReport) -> Vec<String> {
    vec![
        plain(&agent.name).into_owned(),
        plain(&agent.state).into_owned(),
        lag(agent.lag_s),
        agent.events.to_string(),
        agent.lost_events.to_string(),
        agent.missing_events.to_string(),
        agent.refused.to_string(),
        plain(agent.last_ingest.as_deref().unwrap_or("never")).into_owned(),
    ]
}

/// A lag in the unit in which it is a short number.
pub fn lag(seconds: Option<f64>) -> String {
    match seconds {
        None => "?".to_owned(),
        Some(seconds) if seconds.abs() < 1.0 => format!("{:.0} ms", seconds * 1e3),
        Some(seconds) if seconds.abs() < 120.0 => format!("{seconds:.1} s"),
        Some(seconds) if seconds.abs() < 7200.0 => format!("{:.0} min", seconds / 60.0),
        Some(seconds) => format!("{:.1} h", seconds / 3600.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lags_are_told_in_the_unit_that_fits() {
        for (seconds, told) in [(0.0123, "12 ms"), (-3.0, "-3.0 s"), (600.0, "10 min"), (86_400.0, "24.0 h")] {
            assert_eq!(lag(Some(seconds)), told);
        }
        assert_eq!(lag(None), "?");
    }
}
