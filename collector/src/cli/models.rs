//! `models`: states that are folded from the log. [`offline`]: the same from a log's files, without a collector;
//! [`show`]: as tables.

mod offline;
mod show;

use std::io::Write;
use std::path::PathBuf;

use afferent_collector::api::models::{DiffReport, ModelReport, RecomputeReport, StateReport};
use afferent_collector::limits::MODEL_ROWS_MAX;
use afferent_collector::models::question::StateSelection;
use afferent_collector::models::span::Span;
use afferent_collector::models::what_if::Report;
use afferent_collector::subscribe::Start;
use anyhow::Context;
use serde::Serialize;

use super::client::Client;
use super::{Collector, Output};

/// Query the models: states computed from the log, now, at an earlier time, or under assumptions.
#[derive(Debug, clap::Subcommand)]
pub enum Models {
    /// List all versions of all models, and how far each has read the log.
    List {
        #[command(flatten)]
        asked: Asked,
        /// Output format.
        #[arg(long, value_enum, default_value_t)]
        output: Output,
    },
    /// Show a model's state.
    Show {
        /// The model, as kpi@2; without a version, the highest one.
        model: String,
        /// Use the state at this offset or time (RFC 3339) instead of now.
        #[arg(long, value_name = "PLACE")]
        as_of: Option<String>,
        #[command(flatten)]
        part: StateArgs,
        #[command(flatten)]
        source: ModelSource,
    },
    /// Recompute a model's state from the log; the present state stays available meanwhile.
    Recompute {
        /// The model, as kpi@2.
        model: String,
        /// Start from the latest snapshot before this offset or time (RFC 3339) instead of the log's first event.
        #[arg(long, value_name = "PLACE")]
        from: Option<String>,
        #[command(flatten)]
        asked: Asked,
        /// Return at once instead of waiting for the result.
        #[arg(long)]
        no_wait: bool,
    },
    /// Show which figures differ between two versions of a model.
    Diff {
        /// The first version, as kpi@1.
        left: String,
        /// The second version, as kpi@2.
        right: String,
        /// Use the state at this offset or time (RFC 3339) instead of now.
        #[arg(long, value_name = "PLACE")]
        as_of: Option<String>,
        #[command(flatten)]
        from: ModelSource,
    },
    /// Compare the alternatives of a plan with what happened. The log is not changed.
    WhatIf {
        /// The plan (TOML).
        plan: PathBuf,
        /// Start at this offset or time (RFC 3339), with the states of that moment.
        #[arg(long = "from", value_name = "PLACE")]
        begin: Option<String>,
        /// End before this offset or time (RFC 3339).
        #[arg(long, value_name = "PLACE")]
        until: Option<String>,
        #[command(flatten)]
        from: ModelSource,
    },
}

/// Which part of a state; all of it by default.
#[derive(Debug, clap::Args)]
pub struct StateArgs {
    /// Only this machine.
    #[arg(long)]
    machine: Option<String>,
    /// states, breakdowns, alarms: only what lasted until this time (RFC 3339) or later, by event time. kpi: figures
    /// from this time on.
    #[arg(long, value_name = "TIME")]
    from: Option<String>,
    /// states, breakdowns, alarms: only what began before this time (RFC 3339). kpi: figures up to this time.
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// Largest number of rows: intervals, breakdowns, alarms, or names.
    #[arg(long, value_name = "ROWS")]
    limit: Option<String>,
    /// Continue after the last row of the answer that returned this cursor.
    #[arg(long, requires = "limit")]
    cursor: Option<String>,
}

impl StateArgs {
    /// Names and values, as the API has them.
    fn pairs(&self) -> Vec<(&str, &str)> {
        let Self { machine, from, until, limit, cursor } = self;
        pairs(&[("machine", machine), ("from", from), ("until", until), ("limit", limit), ("cursor", cursor)])
    }

    /// The same, for a state that is folded here.
    fn wanted(&self) -> anyhow::Result<StateSelection> {
        let time = |name: &str, text: &Option<String>| match text.as_deref().map(str::parse) {
            None => Ok(None),
            Some(Ok(Start::Time(time))) => Ok(Some(time)),
            Some(_) => anyhow::bail!("--{name} is not a time; write it as 2026-11-29T08:00:00Z"),
        };
        let rows = |text: &String| text.parse().ok().filter(|rows| (1..=MODEL_ROWS_MAX).contains(rows));
        let limit = self.limit.as_ref().map(|text| {
            rows(text).with_context(|| format!("--limit must be a whole number from 1 to {MODEL_ROWS_MAX}"))
        });
        let span = Span { from: time("from", &self.from)?, until: time("until", &self.until)? };
        let (machine, cursor) = (self.machine.clone(), self.cursor.clone());
        Ok(StateSelection { machine, intervals: None, span, limit: limit.transpose()?, cursor })
    }
}

/// Whom to ask, and of which partition.
#[derive(Debug, clap::Args)]
pub struct Asked {
    #[command(flatten)]
    collector: Collector,
    /// Of this partition of the log, by its number; of the first one otherwise.
    #[arg(long, value_name = "NUMBER")]
    partition: Option<String>,
}

/// Whom to ask, and how to write it.
#[derive(Debug, clap::Args)]
pub struct ModelSource {
    #[command(flatten)]
    asked: Asked,
    /// Read the log in this data directory of a collector instead of asking a running one.
    #[arg(long, value_name = "DIR", conflicts_with_all = ["http", "partition"])]
    log: Option<PathBuf>,
    /// With --log: the collector's configuration, for the models that it defines.
    #[arg(long, value_name = "FILE", requires = "log")]
    config: Option<PathBuf>,
    /// Output format.
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

/// Does it.
pub fn models(command: &Models) -> anyhow::Result<()> {
    match command {
        Models::List { asked, output } => {
            let list: Vec<ModelReport> = asked.client().get("/v1/models", &asked.query(&[]))?;
            write(*output, &list, || show::list(&list))
        }
        Models::Show { model, as_of, part, source } => {
            let state: StateReport = match source.offline()? {
                Some(offline) => offline.state(model, as_of.as_deref(), part.wanted()?)?,
                None => {
                    let asked = [source.asked.query(&[("as_of", as_of)]), part.pairs()].concat();
                    source.asked.client().get(&format!("/v1/models/{}", escaped(model)), &asked)?
                }
            };
            write(source.output, &state, || show::state(&state))?;
            if let (Output::Table, Some(cursor)) = (source.output, &state.cursor) {
                eprintln!("more rows follow: --limit … --cursor {cursor}");
            }
            Ok(())
        }
        Models::Recompute { model, from, asked, no_wait } => recompute(model, from, asked, *no_wait),
        Models::Diff { left, right, as_of, from } => {
            let report: DiffReport = match from.offline()? {
                Some(offline) => offline.diff(left, right, as_of.as_deref())?,
                None => {
                    let (left, right) = (Some(left.clone()), Some(right.clone()));
                    let query = from.asked.query(&[("left", &left), ("right", &right), ("as_of", as_of)]);
                    from.asked.client().get("/v1/models/diff", &query)?
                }
            };
            write(from.output, &report, || show::diff(&report))
        }
        Models::WhatIf { plan, begin, until, from } => {
            let text = std::fs::read_to_string(plan).with_context(|| format!("cannot read {}", plan.display()))?;
            let report: Report = match from.offline()? {
                Some(offline) => offline.what_if(&text, begin.as_deref(), until.as_deref())?,
                None => {
                    let query = from.asked.query(&[("from", begin), ("until", until)]);
                    from.asked.client().post("/v1/what-if", &query, &text)?
                }
            };
            write(from.output, &report, || show::what_if(&report))
        }
    }
}

/// Asks for it, and waits for it.
fn recompute(model: &str, from: &Option<String>, asked: &Asked, no_wait: bool) -> anyhow::Result<()> {
    let client = asked.client();
    let path = format!("/v1/models/{}/recompute", escaped(model));
    let RecomputeReport { model, .. } = client.post(&path, &asked.query(&[("from", from)]), "")?;
    if no_wait {
        eprintln!("{model} is being recomputed; `afferent-collector models list` shows its progress");
        return Ok(());
    }
    let mut told = None;
    loop {
        let list: Vec<ModelReport> = client.get("/v1/models", &asked.query(&[]))?;
        let report =
            list.into_iter().find(|report| report.model == model).context("the collector no longer has the model")?;
        match report.state.as_str() {
            "rebuilding" => {
                if told.as_ref() != Some(&report.offset) {
                    eprintln!("{model}: at offset {}, {} events to go", report.offset, report.behind);
                    told = Some(report.offset);
                }
                std::thread::sleep(std::time::Duration::from_millis(200));
            }
            "failed" => anyhow::bail!("{model} failed: {}", report.error.unwrap_or_default()),
            _ => {
                eprintln!("{model}: recomputed up to offset {}", report.offset);
                return Ok(());
            }
        }
    }
}

impl Asked {
    fn client(&self) -> Client {
        Client::new(&self.collector.http)
    }

    /// This query, of the partition.
    fn query<'q>(&'q self, given: &[(&'q str, &'q Option<String>)]) -> Vec<(&'q str, &'q str)> {
        [pairs(given), pairs(&[("partition", &self.partition)])].concat()
    }
}

impl ModelSource {
    fn offline(&self) -> anyhow::Result<Option<offline::Offline>> {
        self.log.as_deref().map(|log| offline::Offline::open(log, self.config.as_deref())).transpose()
    }
}

/// What is given of a query.
fn pairs<'q>(given: &[(&'q str, &'q Option<String>)]) -> Vec<(&'q str, &'q str)> {
    given.iter().filter_map(|(name, value)| Some((*name, value.as_deref()?))).collect()
}

/// A name within a path: what is no letter or digit of a model's name stays out of the path's own signs.
fn escaped(model: &str) -> String {
    let mut text = String::new();
    for byte in model.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'@' => text.push(char::from(byte)),
            other => text += &format!("%{other:02X}"),
        }
    }
    text
}

fn write<T: Serialize>(output: Output, value: &T, table: impl Fn() -> String) -> anyhow::Result<()> {
    let text = match output {
        Output::Json => serde_json::to_string_pretty(value)? + "\n",
        Output::Table => table(),
    };
    anstream::stdout().write_all(text.as_bytes()).context("writing to standard output failed")
}
