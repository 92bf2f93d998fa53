//! What an input is, and how one of any kind is opened, run and changed by a reload.
//!
//! An input is a type that implements [`Input`]. Its kind stands in the table of [`kinds`](super::kinds), from which
//! the sections of the configuration, their defaults, keys and help, the checks of `check` and the running inputs are
//! made.
//!
//! - [`Input::open`] does all that can fail, before anything of the old configuration ends: a reload that fails changes
//!   nothing.
//! - [`Input::run`] takes events until the agent stops. It is supervised: an input that ends with an error or panics is
//!   a trouble that health shows, and is opened and run again, each time later.
//! - An input that remembers a place in its source commits it beside the events that led to it, or after them, never
//!   before: then nothing is lost in a kill. How is the input's own affair; see [`serial`](super::serial) for a place
//!   in the ring log and [`file`](mod@super::file) for one in a file.

use std::any::Any;
use std::fmt;
use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;

use afferent_host::stop::Stop;
use afferent_protocol::ids::SourceId;
use serde::de::DeserializeOwned;

use super::sink::Sink;
use crate::clock::Clock;
use crate::metrics::Registry;
use crate::section::Key;
use crate::supervise::{Ended, Task};

/// The agent that the inputs belong to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Home {
    /// The agent's name: the first level of subjects about this machine.
    pub agent: SourceId,
    /// The agent's data directory, in which inputs store their state.
    pub data_dir: PathBuf,
}

/// What an input runs with.
#[derive(Clone)]
pub struct Ways<S> {
    /// The sink that takes its events.
    pub sink: S,
    /// The machine's clocks.
    pub clock: Arc<dyn Clock>,
    /// Where it counts, and reports what goes wrong.
    pub registry: Registry,
}

/// One kind of inputs. A new kind is an implementation of this, and a line in the table of [`kinds`](super::kinds).
pub trait Input: Sized + Send + 'static {
    /// The kind's section as it is written: a table, or a `Vec` of tables where [`Input::REPEATS`]. Its values are
    /// typed: what cannot be used does not deserialize.
    type Section: DeserializeOwned + Default;
    /// All that one input needs to be opened, made from its section once.
    type Config: Clone + fmt::Debug + PartialEq + Send + Sync + 'static;
    /// What all inputs of this kind have in common; `()` for nothing.
    type Shared: Clone + Default + fmt::Debug + Send + Sync + 'static;

    /// Whether the section may be repeated, as `[[intake.KIND]]`.
    const REPEATS: bool;
    /// What the section is for.
    const HELP: &'static str;
    /// The section's keys.
    const KEYS: &'static [Key];

    /// Refuses what neither types nor the ranges of [`Input::KEYS`] can: inputs that exclude each other. The error
    /// names the key.
    fn check(_: &Self::Section, _: &Home) -> Result<(), String> {
        Ok(())
    }

    /// The inputs that the section configures, each with a name that is unique among its kind: `""` for the only
    /// one.
    fn inputs(section: &Self::Section, home: &Home) -> Vec<(String, Self::Config)>;

    /// Applies a new section to the shared state.
    fn share(_: &Self::Shared, _: &Self::Section) {}

    /// Looks for what would keep the input from being opened, and opens nothing: for `check`.
    fn look(_: &Self::Config, _: &Home) -> Result<(), String> {
        Ok(())
    }

    /// Opens the input. An input that was opened but is not run releases its resources when it is dropped.
    fn open(config: &Self::Config, shared: &Self::Shared) -> impl Future<Output = Result<Self, String>> + Send;

    /// Takes events until `stop` is requested, or until there are no more.
    fn run<S: Sink>(self, ways: Ways<S>, stop: Stop) -> impl Future<Output = Ended> + Send;

    /// Whether an input that runs by `open` can go on by `wanted`, perhaps after [`Input::adjust`].
    fn fits(open: &Self::Config, wanted: &Self::Config) -> bool {
        open == wanted
    }

    /// Changes in place what differs between two configurations of which [`Input::fits`] is true.
    fn adjust(_: &Self::Config, _: &Self::Config) -> Result<(), String> {
        Ok(())
    }
}

/// An input that is open: runs it.
pub type Opened<S> = Box<dyn FnOnce(Ways<S>, Stop) -> Task + Send>;

/// An input that is being opened.
pub type Opening<'a, S> = Pin<Box<dyn Future<Output = Result<Opened<S>, String>> + Send + 'a>>;

/// An input of whatever kind, as a configuration wants it: [`Input`] without its types.
pub trait Wanted<S>: Any + fmt::Debug + Send + Sync {
    /// See [`Input::look`].
    fn look(&self, home: &Home) -> Result<(), String>;
    /// See [`Input::open`].
    fn open(&self) -> Opening<'_, S>;
    /// See [`Input::fits`]; inputs of two kinds never fit.
    fn fits(&self, wanted: &dyn Wanted<S>) -> bool;
    /// See [`Input::adjust`].
    fn adjust(&self, wanted: &dyn Wanted<S>) -> Result<(), String>;
}

/// An input of one kind with its configuration.
pub(super) struct Of<I: Input> {
    pub config: I::Config,
    pub shared: I::Shared,
}

impl<I: Input> fmt::Debug for Of<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.config.fmt(f)
    }
}

impl<I: Input> Of<I> {
    fn same_kind<S: Sink>(wanted: &dyn Wanted<S>) -> Option<&Self> {
        (wanted as &dyn Any).downcast_ref()
    }
}

impl<S: Sink, I: Input> Wanted<S> for Of<I> {
    fn look(&self, home: &Home) -> Result<(), String> {
        I::look(&self.config, home)
    }

    fn open(&self) -> Opening<'_, S> {
        Box::pin(async {
            let input = I::open(&self.config, &self.shared).await?;
            let run: Opened<S> = Box::new(move |ways, stop| Box::pin(input.run(ways, stop)));
            Ok(run)
        })
    }

    fn fits(&self, wanted: &dyn Wanted<S>) -> bool {
        Self::same_kind(wanted).is_some_and(|wanted| I::fits(&self.config, &wanted.config))
    }

    fn adjust(&self, wanted: &dyn Wanted<S>) -> Result<(), String> {
        Self::same_kind(wanted).map_or(Ok(()), |wanted| match self.config == wanted.config {
            true => Ok(()),
            false => I::adjust(&self.config, &wanted.config),
        })
    }
}

/// Makes the task of an input for the supervisor: the first runs what is open already, if it is, and every other one
/// opens the input itself.
pub fn tasks<S: Sink>(
    wanted: Arc<dyn Wanted<S>>,
    mut opened: Option<Opened<S>>,
    ways: Ways<S>,
    stop: Stop,
) -> impl FnMut() -> Task + Send {
    move || {
        let (ways, mut stop) = (ways.clone(), stop.clone());
        if let Some(run) = opened.take() {
            return run(ways, stop);
        }
        let wanted = wanted.clone();
        Box::pin(async move {
            let run = tokio::select! {
                () = stop.requested() => return Ok(()),
                opened = wanted.open() => opened?,
            };
            run(ways, stop).await
        })
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::atomic::{AtomicU32, Ordering::SeqCst};

    use super::*;
    use crate::clock::SystemClock;
    use crate::intake::exec::{Exec, ExecConfig};
    use crate::intake::sink::fake::FakeSink;
    use crate::intake::socket::{Socket, SocketSettings};

    /// Ends at once; the second of its openings fails.
    struct Probe;

    impl Input for Probe {
        type Section = ();
        type Config = ();
        type Shared = Arc<AtomicU32>;
        const REPEATS: bool = false;
        const HELP: &'static str = "";
        const KEYS: &'static [Key] = &[];

        fn inputs((): &(), _: &Home) -> Vec<(String, ())> {
            vec![(String::new(), ())]
        }

        async fn open((): &(), opened: &Arc<AtomicU32>) -> Result<Self, String> {
            if opened.fetch_add(1, SeqCst) == 1 { Err("it is away".to_owned()) } else { Ok(Self) }
        }

        async fn run<S: Sink>(self, _: Ways<S>, _: Stop) -> Ended {
            Ok(())
        }
    }

    #[tokio::test]
    async fn the_first_task_runs_what_is_open_and_each_later_one_opens_the_input_itself() {
        let opened = Arc::new(AtomicU32::new(0));
        let wanted: Arc<dyn Wanted<FakeSink>> = Arc::new(Of::<Probe> { config: (), shared: opened.clone() });
        let open = wanted.open().await.map_err(|_| ()).expect("the first is opened");
        let (_sender, stop) = afferent_host::stop::channel();
        let (sink, clock) = (FakeSink::committing(), Arc::new(SystemClock::new()));
        let mut make = tasks(wanted, Some(open), Ways { sink, clock, registry: Registry::default() }, stop);
        assert_eq!((make().await, opened.load(SeqCst)), (Ok(()), 1));
        assert_eq!((make().await, opened.load(SeqCst)), (Err("it is away".to_owned()), 2));
        assert_eq!((make().await, opened.load(SeqCst)), (Ok(()), 3));
    }

    fn socket(path: &Path, mode: u32) -> Of<Socket> {
        let (path, places) = (Some(path.to_owned()), Arc::default());
        let config = SocketSettings { path, mode, tcp: None, tcp_beyond_loopback: false, connections_max: 1 };
        Of { config, shared: places }
    }

    #[tokio::test]
    async fn an_input_that_is_open_and_not_run_gives_back_what_it_took() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("agent.sock");
        let opened = Wanted::<FakeSink>::open(&socket(&path, 0o600)).await.map_err(|_| ()).unwrap();
        assert!(path.exists());
        drop(opened);
        assert!(!path.exists());
    }

    #[test]
    fn what_fits_goes_on_and_no_input_fits_one_of_another_kind() {
        let (one, other) = (socket(Path::new("a"), 0o600), socket(Path::new("b"), 0o600));
        let changed = socket(Path::new("a"), 0o660);
        let child = Of::<Exec> { config: ExecConfig { name: String::new(), command: vec![] }, shared: () };
        let fits = |wanted: &dyn Wanted<FakeSink>| Wanted::<FakeSink>::fits(&one, wanted);
        assert!(fits(&one) && fits(&changed));
        assert!(!fits(&other) && !fits(&child));
    }
}
