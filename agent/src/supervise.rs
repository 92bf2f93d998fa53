//! Every task and thread of the agent runs here under a name, and none ends unseen.
//!
//! A failed or panicked task is a trouble that health shows, with its reason; it is restarted, each time later.
//! The ring log's writer cannot be: when it dies nothing more is accepted, and the agent ends ([`Supervisor::failed`]).
//! `/metrics` lists the names: `afferent_agent_tasks`.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use afferent_host::limits::RESTART_SETTLED;
use afferent_host::stop::Stop;
use afferent_host::supervise::{RestartWait, caught, caught_task};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use crate::metrics::{Counter, Gauge, Registry};
use crate::trouble::Troubles;

/// How a task has ended: in order, or why not.
pub type Ended = Result<(), String>;

/// A task of the agent.
pub type Task = Pin<Box<dyn Future<Output = Ended> + Send>>;

/// The result of a task that must end only on request.
pub fn endless(stop: &Stop) -> Ended {
    if stop.is_requested() { Ok(()) } else { Err("it has ended without a request to stop".to_owned()) }
}

/// Starts tasks and threads, and watches them. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Supervisor {
    registry: Registry,
    failed: Arc<watch::Sender<Option<String>>>,
}

/// Counts a task as long as it is there, in whatever way it ends.
struct Running(Gauge);

impl Running {
    fn new(up: &Gauge) -> Self {
        up.add(1.0);
        Self(up.clone())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.add(-1.0);
    }
}

/// The tasks and threads of one name.
struct Watched {
    name: String,
    up: Gauge,
    restarts: Counter,
    troubles: Troubles,
}

impl Supervisor {
    /// A supervisor without tasks, which reports to `registry`.
    pub fn new(registry: Registry) -> Self {
        Self { registry, failed: Arc::new(watch::Sender::new(None)) }
    }

    /// The registry that it reports to.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// Returns with the reason when the agent cannot go on.
    pub async fn failed(&self) -> String {
        let mut failed = self.failed.subscribe();
        let reason = failed.wait_for(Option::is_some).await.map(|reason| reason.clone());
        reason.ok().flatten().unwrap_or_default()
    }

    /// Runs what `make` makes, again and again, until it ends in order or `stop` is requested.
    pub fn task(&self, name: &str, stop: Stop, make: impl FnMut() -> Task + Send + 'static) -> JoinHandle<()> {
        tokio::spawn(keep_running(self.watched(name), stop, Box::new(make)))
    }

    /// Runs a task that is not restarted, one of many of its kind; a panic in it is reported.
    pub async fn once(&self, name: &str, task: impl Future<Output = ()> + Send) {
        let watched = self.watched(name);
        let running = Running::new(&watched.up);
        let ended = caught_or_planted(name, Box::pin(task)).await;
        drop(running);
        if let Err(panic) = ended {
            watched.restarts.add(1);
            watched.troubles.happened(name, format!("{name}: {panic}"));
        }
    }

    /// Runs `body` on a thread of this name, again when it has panicked.
    pub fn thread(&self, name: &str, mut body: impl FnMut() + Send + 'static) -> io::Result<thread::JoinHandle<()>> {
        let watched = self.watched(name);
        thread::Builder::new().name(name.to_owned()).spawn(move || {
            watched.up.set(1.0);
            let mut wait = RestartWait::new();
            loop {
                let began = Instant::now();
                let Err(panic) = caught(&mut body) else { break };
                watched.restarts.add(1);
                watched.troubles.happened(&watched.name, format!("{}: {panic}; the agent restarts it", watched.name));
                thread::sleep(wait.after(began.elapsed()));
            }
            watched.up.set(0.0);
        })
    }

    /// Runs `body` on a thread without which the agent cannot go on. Should it panic, `died` is called while `state` is
    /// still there, and the agent fails.
    pub fn vital_thread<T: Send + 'static>(
        &self,
        name: &str,
        mut state: T,
        body: impl FnOnce(&mut T) + Send + 'static,
        died: impl FnOnce(&mut T, &str) + Send + 'static,
    ) -> io::Result<thread::JoinHandle<Ended>> {
        let (watched, failed) = (self.watched(name), self.failed.clone());
        thread::Builder::new().name(name.to_owned()).spawn(move || {
            watched.up.set(1.0);
            let ended = caught(|| body(&mut state));
            watched.up.set(0.0);
            let Err(panic) = ended else { return Ok(()) };
            let reason = format!("{}: {panic}; the agent accepts nothing more", watched.name);
            died(&mut state, &reason);
            watched.troubles.begins(&watched.name, reason.clone());
            failed.send_replace(Some(reason.clone()));
            Err(reason)
        })
    }

    fn watched(&self, name: &str) -> Watched {
        let labels = [("task", name)];
        let (up, restarts) =
            ("Tasks and threads of this name that run", "How often a task or thread of this name has failed");
        Watched {
            name: name.to_owned(),
            up: self.registry.gauge("afferent_agent_tasks", up, &labels),
            restarts: self.registry.counter("afferent_agent_task_failures_total", restarts, &labels),
            troubles: self.registry.troubles().clone(),
        }
    }
}

async fn keep_running(watched: Watched, mut stop: Stop, mut make: Box<dyn FnMut() -> Task + Send>) {
    let Watched { name, up, restarts, troubles } = &watched;
    let mut wait = RestartWait::new();
    loop {
        up.set(1.0);
        let began = Instant::now();
        let mut run = pin!(caught_or_planted(name, make()));
        let proven = sleep(RESTART_SETTLED);
        let ended = tokio::select! {
            ended = &mut run => ended,
            () = proven => {
                troubles.ends(name);
                run.await
            }
        };
        up.set(0.0);
        let reason = match ended {
            Ok(Ok(())) => return troubles.ends(name),
            Ok(Err(reason)) => reason,
            Err(panic) => panic,
        };
        let wait = wait.after(began.elapsed());
        restarts.add(1);
        troubles.begins(name, format!("{name}: {reason}; the agent retries in {} s", wait.as_secs()));
        tokio::select! {
            () = stop.requested() => return,
            () = sleep(wait) => {}
        }
    }
}

/// Runs a task to its end; a panic in it, or one that is planted, is the error.
async fn caught_or_planted<T>(name: &str, mut task: Pin<Box<dyn Future<Output = T> + Send + '_>>) -> Result<T, String> {
    let mut plant = pin!(planted_later(name));
    let both = poll_fn(|context| {
        let _ = plant.as_mut().poll(context);
        task.as_mut().poll(context)
    });
    caught_task(both).await
}

/// Panics when a test wants it: when the file that `AFFERENT_PANIC_FILE` names holds this name. Release builds do not.
pub fn planted(name: &str) {
    #[cfg(debug_assertions)]
    if let Some(path) = std::env::var_os("AFFERENT_PANIC_FILE")
        && std::fs::read_to_string(&path).is_ok_and(|text| text == name)
        && std::fs::remove_file(&path).is_ok()
    {
        panic!("planted in {name}");
    }
    #[cfg(not(debug_assertions))]
    let _ = name;
}

/// [`planted`] for tasks, which may have no other wake-up.
async fn planted_later(name: &str) {
    while cfg!(debug_assertions) && std::env::var_os("AFFERENT_PANIC_FILE").is_some() {
        planted(name);
        sleep(Duration::from_millis(20)).await;
    }
    std::future::pending().await
}

#[cfg(test)]
mod tests {
    use super::*;

    const RESTART_MS: u64 = afferent_host::limits::RESTART_WAIT.0.as_millis() as u64;
    const SETTLED_MS: u64 = RESTART_SETTLED.as_millis() as u64;

    fn supervisor() -> (Supervisor, afferent_host::stop::StopSender, Stop) {
        let (sender, stop) = afferent_host::stop::channel();
        (Supervisor::new(Registry::default()), sender, stop)
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_that_fails_or_panics_is_told_and_started_again() {
        let (supervisor, _sender, stop) = supervisor();
        let (mut runs, count) = (0, Arc::new(std::sync::atomic::AtomicU32::new(0)));
        let counted = count.clone();
        let task = supervisor.task("host", stop, move || {
            runs += 1;
            counted.store(runs, std::sync::atomic::Ordering::Relaxed);
            Box::pin(async move {
                match runs {
                    1 => panic!("out of range"),
                    2 => Err("no such file".into()),
                    _ => std::future::pending().await,
                }
            })
        });
        let troubles = supervisor.registry().troubles();
        sleep(Duration::from_millis(RESTART_MS / 2)).await;
        assert!(troubles.texts()[0].starts_with("host: it has panicked (out of range)"), "{:?}", troubles.texts());
        sleep(Duration::from_millis(RESTART_MS)).await;
        assert!(
            troubles.texts()[0].starts_with("host: no such file; the agent retries in 2 s"),
            "{:?}",
            troubles.texts()
        );
        sleep(Duration::from_millis(2 * RESTART_MS + 2 * SETTLED_MS)).await;
        assert_eq!((troubles.texts().len(), count.load(std::sync::atomic::Ordering::Relaxed)), (0, 3));
        let text = supervisor.registry().text();
        assert!(text.contains("afferent_agent_task_failures_total{task=\"host\"} 2"), "{text}");
        task.abort();
    }

    #[tokio::test]
    async fn a_vital_thread_that_panics_fails_the_agent_after_its_last_words() {
        let (supervisor, ..) = supervisor();
        let (tell, told) = std::sync::mpsc::channel();
        let died = move |state: &mut u8, reason: &str| tell.send((*state, reason.to_owned())).unwrap();
        let thread = supervisor.vital_thread("writer", 7_u8, |_| panic!("index"), died).unwrap();
        let reason = supervisor.failed().await;
        assert!(reason.starts_with("writer: it has panicked (index)"), "{reason}");
        assert_eq!(told.recv().unwrap(), (7, reason.clone()));
        assert_eq!(thread.join().unwrap(), Err(reason));
        // The control: one that ends in order fails nothing.
        let (supervisor, ..) = self::supervisor();
        supervisor.vital_thread("writer", (), |()| (), |(), _| ()).unwrap().join().unwrap().unwrap();
        assert!(tokio::time::timeout(Duration::from_millis(20), supervisor.failed()).await.is_err());
    }

    #[test]
    fn a_thread_that_panics_goes_on_with_what_it_had() {
        let (supervisor, ..) = supervisor();
        let mut runs = 0;
        let (tell, told) = std::sync::mpsc::channel();
        let body = move || {
            runs += 1;
            tell.send(runs).unwrap();
            assert!(runs > 1, "the first fails");
        };
        supervisor.thread("keeper", body).unwrap().join().unwrap();
        assert_eq!(told.iter().collect::<Vec<_>>(), [1, 2]);
        assert!(supervisor.registry().troubles().texts()[0].contains("the first fails"));
    }
}
