//! `agents`: who is there, and how it is; and what an operator says of one.

use std::io::Write;

use afferent_collector::api::agents::{AgentReport, AgentsReport, NewKey, RefusedReport, Retirement};
use afferent_collector::line::{Side, plain, table};
use anyhow::Context;

use super::client::Client;
use super::{Collector, Output, means};

/// Show all agents (state, lag, losses); retire one, or replace its key.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Agents {
    #[command(subcommand)]
    said: Option<OperatorStatement>,
    #[command(flatten)]
    collector: Collector,
    /// Output format.
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

/// What an operator says of an agent: an event of the log, forever.
#[derive(Debug, clap::Subcommand)]
enum OperatorStatement {
    /// Record that an agent sends no more events: its machine is gone, or it has another name now. Certificates no
    /// longer wait for it, and name who recorded this, and why.
    Retire {
        #[command(flatten)]
        collector: Collector,
        /// Name of the agent.
        name: String,
        /// The reason; it is recorded in the log.
        #[arg(long)]
        why: String,
        /// Name of the operator, recorded and not verified [default: the login name].
        #[arg(long)]
        who: Option<String>,
    },
    /// Replace an agent's key: from now on the collector accepts only what is signed with the new one.
    Replace {
        #[command(flatten)]
        collector: Collector,
        /// Name of the agent.
        name: String,
        /// The agent's new public key: 64 hexadecimal digits, or a file that contains them.
        #[arg(long)]
        key: String,
        /// The reason; it is recorded in the log.
        #[arg(long)]
        why: String,
        /// Name of the operator, recorded and not verified [default: the login name].
        #[arg(long)]
        who: Option<String>,
    },
}

/// Asks once, and writes what is known; or says something.
pub fn agents(args: &Agents) -> anyhow::Result<()> {
    match &args.said {
        None => list(args),
        Some(OperatorStatement::Retire { collector, name, why, who }) => {
            let said = Retirement { who: signed(who.as_deref()), why: why.clone() };
            Client::new(&collector.http).operate(name, "retire", &said)?;
            shown(&format!("{name} is retired; certificates name who retired it\n"))
        }
        Some(OperatorStatement::Replace { collector, name, key, why, who }) => {
            let key = means::key(key)?.to_string();
            let said = NewKey { key, who: signed(who.as_deref()), why: why.clone() };
            Client::new(&collector.http).operate(name, "key", &said)?;
            shown(&format!("{name} has the new key now; the collector refuses what the old key signs\n"))
        }
    }
}

/// Who says something: the name that was given, or that of the login.
fn signed(who: Option<&str>) -> String {
    let user = || std::env::var("USER").ok().filter(|user| !user.is_empty());
    who.map(str::to_owned).or_else(user).unwrap_or_else(|| "somebody".to_owned())
}

fn list(args: &Agents) -> anyhow::Result<()> {
    let report = Client::new(&args.collector.http).agents()?;
    shown(&match args.output {
        Output::Json => serde_json::to_string_pretty(&report)? + "\n",
        Output::Table => rendered(&report),
    })
}

fn shown(text: &str) -> anyhow::Result<()> {
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
    let log = format!("the log has offsets {} up to {}\n", report.log.first, report.log.end);
    table(&heading, &rows) + &log + &report.refused.iter().map(refused).collect::<String>()
}

/// Who was refused, why, and what to do, in a line.
fn refused(refused: &RefusedReport) -> String {
    let RefusedReport { kind, name, peer, why, remedy, count, last, .. } = refused;
    let more = |what: &str, text: &Option<String>| {
        text.as_ref().map_or_else(String::new, |text| format!(", {what} {}", plain(text)))
    };
    format!(
        "refused {count} times, last {}: {}{}{}{} ({}): {}; {}\n",
        plain(last),
        plain(name),
        more("user", &refused.user),
        more("topic", &refused.topic),
        more("from", peer),
        plain(kind),
        plain(why),
        plain(remedy),
    )
}

fn row(agent: &AgentReport) -> Vec<String> {
    vec![
        plain(&agent.name).into_owned(),
        plain(&agent.state).into_owned() + if agent.new { ", new" } else { "" },
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
    fn lags_are_written_in_the_unit_that_fits() {
        for (seconds, told) in [(0.0123, "12 ms"), (-3.0, "-3.0 s"), (600.0, "10 min"), (86_400.0, "24.0 h")] {
            assert_eq!(lag(Some(seconds)), told);
        }
        assert_eq!(lag(None), "?");
    }
}
