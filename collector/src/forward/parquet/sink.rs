//! Parts as files, exactly once.
//!
//! One part is the events of a range of offsets. For each part: (1) the state object gets the part's end and its files;
//! (2) the files are created, under names that have the range; (3) the state object gets the checkpoint behind the
//! part. Every step is durable before the next one. After a kill in between, the part begins and ends where it did: the
//! same names, and files that are there stay. So a request that arrives late creates nothing new either.
//!
//! Files are never changed or removed. After a rewind, an event is left out if a file of its day and type, of this
//! forward and log, has its offset in its name.

use afferent_protocol::ids::{Offset, SourceId};
use afferent_protocol::session::signed::Place as LogPlace;

use super::super::checkpoint::Checkpoint;
use super::super::event::ForwardEvent;
use super::super::sink::{DeliverError, PartLimits, Rejection, Sink, SinkContext, Unavailable};
use super::config::PartSettings;
use super::encoder::Encoder;
use super::names::{self, PartRange};
use super::present::Present;
use super::state::{self, LakeState, Writing};
use super::store::{Place, Store};
use crate::limits::{PARQUET_PART_BYTES, PARQUET_PRESENT_MAX};

/// Writes the files of one forward.
pub(super) struct ParquetSink {
    name: SourceId,
    place: Place,
    settings: PartSettings,
    encoder: Encoder,
    open: Option<Open>,
}

/// What is known of the place while it is in use.
struct Open {
    store: Store,
    /// The path of the state object.
    state_path: String,
    /// The state as it is there; `None` before the first part of all.
    state: Option<LakeState>,
    /// The bytes of the state object, as they were read or written last.
    left: Option<Vec<u8>>,
    /// The checkpoint that the next part begins at.
    checkpoint: Option<Checkpoint>,
}

/// Tests of the state object switch it off, to see events twice.
fn without_state() -> bool {
    cfg!(debug_assertions) && std::env::var_os("AFFERENT_PARQUET_WITHOUT_STATE").is_some()
}

impl ParquetSink {
    pub fn new(name: SourceId, place: Place, settings: PartSettings) -> Self {
        Self { name, place, settings, encoder: Encoder::default(), open: None }
    }

    /// Whether the checkpoint is kept beside the files.
    pub fn keeps_checkpoint(&self) -> bool {
        !without_state()
    }

    fn opened(&mut self) -> &mut Open {
        self.open.as_mut().expect("a sink is opened before it is used")
    }

    /// What is there of the part that was being written.
    fn present_of_part(&self, context: &SinkContext, writing: &Writing) -> Result<Present, Unavailable> {
        let Open { store, .. } = self.open.as_ref().expect("a sink is opened before it is used");
        let mut present = Present::default();
        for path in &writing.files {
            let Some(name) = names::read(path, self.name.as_str(), context.key.partition.get()) else { continue };
            if store.has(context, path)? {
                present.insert(name.directory, &name.offsets);
            }
        }
        Ok(present)
    }

    /// What is there behind `place`, of any part.
    fn present_behind(
        &self,
        context: &SinkContext,
        (place, holds): (LogPlace, &dyn Fn(&LogPlace) -> bool),
    ) -> Result<Present, Unavailable> {
        let Open { store, .. } = self.open.as_ref().expect("a sink is opened before it is used");
        let (next, mut present) = (place.offset, Present::default());
        store.list(context, |path| {
            let Some(name) = names::read(path, self.name.as_str(), context.key.partition.get()) else { return Ok(()) };
            let end = LogPlace { term: name.term, offset: name.offsets.end, ..place };
            if name.offsets.end > next && holds(&end) {
                present.insert(name.directory, &name.offsets);
            }
            if present.count() > PARQUET_PRESENT_MAX {
                let reason = format!("{} has more than {PARQUET_PRESENT_MAX} files behind offset {next}", self.place);
                let remedy = "rewind the forward to a later place, or move the files away that are to be written again";
                return Err(Unavailable::new(reason, remedy));
            }
            Ok(())
        })?;
        Ok(present)
    }

    /// Replaces the state object.
    fn put_state(&mut self, context: &SinkContext, state: LakeState) -> Result<(), Unavailable> {
        let open = self.opened();
        if !without_state() {
            let json = state.to_json();
            open.store.replace(context, &open.state_path, json.clone())?;
            open.left = Some(json);
        }
        open.state = Some(state);
        Ok(())
    }

    /// Checks that the state object is as this forward has left it.
    ///
    /// # Errors
    /// When somebody else has put another one there, or has removed it: then it is read again, and counts.
    fn check_state(&self, context: &SinkContext) -> Result<(), Unavailable> {
        let Open { store, state_path, left, .. } = self.open.as_ref().expect("a sink is opened before it is used");
        if without_state() || store.read_small(context, state_path)? == *left {
            return Ok(());
        }
        let reason = format!("{state_path} in {} is not as this forward has left it", self.place);
        let remedy =
            "it goes on from what is there if files were restored; a second collector needs another name there";
        Err(Unavailable::new(reason, remedy))
    }

    /// The range of the part that ends at `checkpoint`: of an event that is sent again by itself, its own offset.
    fn range(&self, before: &Checkpoint, checkpoint: &Checkpoint) -> PartRange {
        let (from, end) = (before.next(), checkpoint.place.0);
        match self.encoder.first().filter(|first| *first < from) {
            Some(first) => {
                assert_eq!(from, end.offset, "only an event that is sent again lies before its part");
                PartRange { from: first, end: LogPlace { offset: Offset::new(first.get() + 1), ..end } }
            }
            None => PartRange { from, end },
        }
    }
}

impl Sink for ParquetSink {
    fn limits(&self) -> PartLimits {
        let PartSettings { every, rows_max, .. } = self.settings;
        PartLimits { events_max: rows_max, bytes_max: PARQUET_PART_BYTES, wait: every }
    }

    fn open(&mut self, context: &SinkContext) -> Result<Option<Checkpoint>, Unavailable> {
        let store = self.place.connect(self.settings.timeout);
        let store = store.map_err(|reason| Unavailable::new(reason, "correct [forward.parquet] or its files"))?;
        store.check()?;
        let state_path = state::path(self.name.as_str(), context.key.partition.get());
        let read = if without_state() { None } else { store.read_small(context, &state_path)? };
        let state = read.as_deref().map(LakeState::read).transpose().map_err(|error| {
            let remedy = "restore the object, or move it away and say where to go on with `forward rewind`";
            Unavailable::new(format!("{state_path} in {}: {error}", self.place), remedy)
        })?;
        let checkpoint = state.as_ref().map(|state| state.checkpoint);
        self.open = Some(Open { store, state_path, state, left: read, checkpoint: None });
        Ok(checkpoint)
    }

    fn probe(&mut self, context: &SinkContext) -> Result<String, Unavailable> {
        let found = self.open(context);
        let state = self.open.take().and_then(|open| open.state);
        found?;
        Ok(match state {
            Some(state) => format!("can be read; has the events before offset {}", state.checkpoint.next()),
            None => "can be read; has nothing of this forward".to_owned(),
        })
    }

    fn begin(
        &mut self,
        context: &SinkContext,
        checkpoint: &Checkpoint,
        holds: &dyn Fn(&LogPlace) -> bool,
    ) -> Result<Option<Offset>, Unavailable> {
        let open = self.opened();
        open.checkpoint = Some(*checkpoint);
        // The operator may have moved the forward since: then all files count.
        let state = open.state.take().filter(|state| state.checkpoint == *checkpoint);
        let writing = state.as_ref().and_then(|state| state.writing.clone());
        open.state = state;
        let next = checkpoint.next();
        if let Some(writing) = &writing {
            open.store.sweep(&writing.files);
        }
        let is_new = open.state.is_none();
        let present = if without_state() {
            Present::default()
        } else if is_new || checkpoint.may_be_there(next) {
            self.present_behind(context, (checkpoint.place.0, holds))?
        } else {
            writing.as_ref().map_or(Ok(Present::default()), |writing| self.present_of_part(context, writing))?
        };
        self.encoder.leave_out(present);
        Ok(writing.map(|writing| writing.end))
    }

    fn add(&mut self, event: &ForwardEvent<'_>) -> Result<(), Rejection> {
        self.encoder.add(event);
        Ok(())
    }

    fn bytes(&self) -> usize {
        self.encoder.bytes()
    }

    fn deliver(&mut self, context: &SinkContext, checkpoint: &Checkpoint) -> Result<(), DeliverError> {
        self.check_state(context)?;
        let before = self.opened().checkpoint.expect("a sink begins before it delivers");
        let range = self.range(&before, checkpoint);
        let files = self.encoder.finish(self.name.as_str(), &range).map_err(|error| {
            Unavailable::new(format!("the events cannot be encoded as parquet: {error}"), "report this error")
        })?;
        if !files.is_empty() {
            let mut paths: Vec<_> = files.iter().map(|file| file.path.clone()).collect();
            // Files of it that are there already are left out, and yet are files of it.
            let earlier = self.opened().state.as_ref().and_then(|state| state.writing.clone());
            paths.extend(earlier.into_iter().flat_map(|writing| writing.files));
            paths.sort();
            paths.dedup();
            // An event that is sent again has its own name, whatever happens: its part need not be known.
            if range.end == checkpoint.place.0 {
                let writing = Writing { end: range.end.offset, files: paths };
                self.put_state(context, LakeState::new(before, Some(writing)))?;
            }
            self.opened().store.create(context, files)?;
        }
        self.put_state(context, LakeState::new(*checkpoint, None))?;
        self.opened().checkpoint = Some(*checkpoint);
        if !checkpoint.may_be_there(checkpoint.next()) {
            self.encoder.leave_out(Present::default());
        }
        Ok(())
    }

    fn drop_part(&mut self) {
        self.encoder.clear();
    }

    fn close(&mut self) {
        self.open = None;
    }
}
