//! Models over a log's files, without a collector or beside a running one. Everything is folded from the log's first
//! event.

use std::path::Path;
use std::rc::Rc;

use afferent_collector::api::models::{DiffReport, StateReport};
use afferent_collector::config::{Config, Overrides};
use afferent_collector::log::address::Partition;
use afferent_collector::log::events::Entry;
use afferent_collector::log::inspect;
use afferent_collector::models::diff::diff;
use afferent_collector::models::question::{StateSelection, ViewQuery};
use afferent_collector::models::runner::{Difference, StateAt};
use afferent_collector::models::span::Span;
use afferent_collector::models::what_if::{Plan, Report, WhatIf};
use afferent_collector::models::{CountedFrom, Definition, Fold, FoldMember, ModelId, with_built_ins};
use afferent_collector::subscribe::Start;
use afferent_protocol::ids::{Offset, Timestamp};
use afferent_protocol::segment::EntryHead;
use afferent_protocol::session::signed::Place;
use anyhow::Context;
use serde_json::Value;

use super::super::log::log_directory;
use super::super::progress::ProgressLine;
use super::super::read_only::ReadOnlyDisk;

/// A log's files, and the models to fold them with.
pub struct Offline {
    disk: ReadOnlyDisk,
    progress: Rc<ProgressLine>,
    definitions: Vec<Definition>,
}

/// Where to end.
#[derive(Clone, Copy)]
struct ReadBound {
    offset: Offset,
    time: Option<Timestamp>,
}

impl ReadBound {
    fn parse(place: Option<&str>) -> anyhow::Result<Self> {
        let everything = Self { offset: Offset::new(u64::MAX), time: None };
        Ok(match place.map(str::parse::<Start>).transpose()? {
            None | Some(Start::End) => everything,
            Some(Start::First) => Self { offset: Offset::ZERO, ..everything },
            // Nobody has opened this log for writing, so that nobody can say which places hold.
            Some(Start::Offset(offset) | Start::Place(Place { offset, .. })) => Self { offset, ..everything },
            Some(Start::Time(time)) => Self { time: Some(time), ..everything },
        })
    }

    fn is_before(self, head: &EntryHead) -> bool {
        head.ordinal >= self.offset.get() || self.time.is_some_and(|time| head.stamp >= time)
    }
}

impl Offline {
    pub fn open(data: &Path, config: Option<&Path>) -> anyhow::Result<Self> {
        let added = match config {
            Some(_) => Config::load(config, &Overrides::default())?.model,
            None => Vec::new(),
        };
        let directory = log_directory(data);
        let progress = Rc::new(ProgressLine::new("folding"));
        let disk = ReadOnlyDisk::new(directory.clone(), Rc::clone(&progress)).with_context(|| {
            format!("there is no log at {}; give the collector's data directory with --log", directory.display())
        })?;
        Ok(Self { disk, progress, definitions: with_built_ins(&added) })
    }

    pub fn state(&self, model: &str, as_of: Option<&str>, wanted: StateSelection) -> anyhow::Result<StateReport> {
        let definition = self.find(model)?;
        let question = ViewQuery::new(&definition.of, wanted)?;
        let (fold, time) = self.folded(&[definition], as_of)?;
        let state = view(&fold, &definition.id, time, question.span())?;
        let (model, partition, offset) = (definition.id.clone(), Partition::EMBEDDED, fold.next());
        let counts_from = counts_from(&fold, &definition.id);
        Ok(StateReport::of(StateAt { model, partition, offset, time, counts_from, state }, &question))
    }

    pub fn diff(&self, left: &str, right: &str, as_of: Option<&str>) -> anyhow::Result<DiffReport> {
        let (left, right) = (self.find(left)?, self.find(right)?);
        let (a, b) = (left.of.name(), right.of.name());
        anyhow::ensure!(
            a == b,
            "{} is a version of {a}, but {} of {b}; compare versions of the same model",
            left.id,
            right.id
        );
        let (fold, time) = self.folded(&[left, right], as_of)?;
        let view = |id| view(&fold, id, time, Span::default());
        let changes = diff(&view(&left.id)?, &view(&right.id)?);
        let counts_from = [counts_from(&fold, &left.id), counts_from(&fold, &right.id)];
        let (partition, offset) = (Partition::EMBEDDED, fold.next());
        let found = Difference { partition, offset, time, counts_from, changes };
        Ok(DiffReport::of((left.id.to_string(), right.id.to_string()), found))
    }

    pub fn what_if(&self, plan: &str, from: Option<&str>, until: Option<&str>) -> anyhow::Result<Report> {
        let plan = Plan::parse(plan, &self.definitions)?;
        let models: Vec<&Definition> = plan.models().iter().collect();
        let mut what_if = match from {
            None => WhatIf::new(&plan, Offset::ZERO),
            Some(_) => WhatIf::after(&plan, self.folded(&models, from)?.0),
        };
        let until = ReadBound::parse(until)?;
        let mut outcome = Ok(());
        let mut is_begun = from.is_some();
        self.each(until, &mut |entry| {
            if !std::mem::replace(&mut is_begun, true) {
                what_if.begin_at(entry.first());
            }
            if outcome.is_ok() {
                outcome = what_if.entry(&entry, until.offset, &|| false);
            }
        })?;
        outcome?;
        // Where the end is shows only at the end: the time line has one point.
        what_if.point(&|| false);
        Ok(what_if.finish(Partition::EMBEDDED, until.time)?)
    }

    fn find(&self, name: &str) -> anyhow::Result<&Definition> {
        let wanted = name.parse::<ModelId>().ok();
        let fits = |known: &&Definition| wanted.as_ref().map_or(known.id.name() == name, |id| known.id == *id);
        let found = self.definitions.iter().filter(fits).max_by_key(|known| known.id.version());
        found.with_context(|| {
            let known: Vec<String> = self.definitions.iter().map(|known| known.id.to_string()).collect();
            format!("there is no model {name:?}; the models are {}", known.join(", "))
        })
    }

    /// The models after everything before a place, and the time of that place.
    fn folded(&self, models: &[&Definition], as_of: Option<&str>) -> anyhow::Result<(Fold, Timestamp)> {
        let until = ReadBound::parse(as_of)?;
        let members = models.iter().map(|model| FoldMember::new(model.id.clone(), model.of.build()));
        let mut fold = Fold::new(members.collect(), Offset::ZERO, Timestamp::default());
        let mut is_begun = false;
        self.each(until, &mut |entry| {
            if !std::mem::replace(&mut is_begun, true) {
                fold.begin_at(entry.first());
            }
            fold.entry(&entry, until.offset);
        })?;
        let (beyond, end) = (until.offset, fold.next());
        anyhow::ensure!(
            until.offset.get() == u64::MAX || end >= beyond,
            "offset {beyond} is beyond the log's end, {end}"
        );
        let time = until.time.unwrap_or(fold.time());
        Ok((fold, time))
    }

    fn each(&self, until: ReadBound, each: &mut dyn FnMut(Entry<'_>)) -> anyhow::Result<()> {
        inspect::dump(&self.disk, &mut |head, batch| {
            if !until.is_before(head) {
                each(Entry::new(Partition::EMBEDDED, head, batch));
            }
        })?;
        self.progress.clear();
        Ok(())
    }
}

fn view(fold: &Fold, id: &ModelId, time: Timestamp, span: Span) -> anyhow::Result<Value> {
    let member = fold.member(id).context("the model was not computed")?;
    match &member.failed {
        Some(error) => anyhow::bail!("{id} was {error}"),
        None => Ok(member.model.view_within(time, span)),
    }
}

fn counts_from(fold: &Fold, id: &ModelId) -> CountedFrom {
    fold.member(id).map(|member| member.counts_from).unwrap_or_default()
}
