//! The inputs of a configuration: each runs by itself, and a new configuration touches only those that it changes.
//!
//! What can fail is opened before anything of the configuration before ends ([`Intakes::open`]); then they are swapped
//! ([`Intakes::swap`]), which cannot fail.

use std::collections::BTreeMap;
use std::sync::Arc;

use afferent_host::stop::{self, StopSender};
use tokio::task::JoinHandle;

use crate::config::Config;
use crate::intake::input::{Opened, Wanted, Ways, tasks};
use crate::intake::kinds::{AllWanted, Shared};
use crate::mailbox::Intake;
use crate::supervise::Supervisor;

/// An input that runs.
#[derive(Debug)]
struct Running {
    wanted: Arc<dyn Wanted<Intake>>,
    stop: StopSender,
    task: JoinHandle<()>,
}

/// All that run, by name.
#[derive(Debug)]
pub(super) struct Intakes {
    supervisor: Supervisor,
    running: BTreeMap<String, Running>,
    shared: Shared,
}

/// What a new configuration wants, and what of it is new and open.
pub(super) struct NewIntakes {
    wanted: AllWanted<Intake>,
    opened: BTreeMap<String, Opened<Intake>>,
}

impl Intakes {
    /// None yet.
    pub fn new(supervisor: Supervisor) -> Self {
        Self { supervisor, running: BTreeMap::new(), shared: Shared::default() }
    }

    /// Opens what the configuration changes; an error leaves everything as it is.
    pub async fn open(&self, config: &Config) -> Result<NewIntakes, String> {
        let (wanted, mut opened) = (self.wanted(config), BTreeMap::new());
        for (name, wanted) in &wanted {
            if !self.running.get(name).is_some_and(|running| running.wanted.fits(&**wanted)) {
                opened.insert(name.clone(), wanted.open().await?);
            }
        }
        Ok(NewIntakes { wanted, opened })
    }

    /// An input that cannot be opened at the start does not keep others from it: its task retries, and reports why.
    pub async fn open_what_can_be(&self, config: &Config) -> NewIntakes {
        let (wanted, mut opened) = (self.wanted(config), BTreeMap::new());
        for (name, wanted) in &wanted {
            if let Ok(open) = wanted.open().await {
                opened.insert(name.clone(), open);
            }
        }
        NewIntakes { wanted, opened }
    }

    fn wanted(&self, config: &Config) -> AllWanted<Intake> {
        self.shared.wanted(&config.intake, &config.home())
    }

    /// Ends what is not wanted any more, changes in place what can be, and starts what is new.
    pub async fn swap(&mut self, config: &Config, new: NewIntakes, ways: &Ways<Intake>) {
        let NewIntakes { wanted: all, mut opened } = new;
        self.shared.change(&config.intake);
        let is_kept =
            |name: &String, running: &Running| all.get(name).is_some_and(|wanted| running.wanted.fits(&**wanted));
        let ended = self.running.extract_if(.., |name, running| !is_kept(name, running)).collect();
        end(ended).await;
        for (name, wanted) in all {
            if let Some(running) = self.running.get_mut(&name) {
                assert!(!opened.contains_key(&name), "{name} goes on, and was not opened a second time");
                if let Err(error) = running.wanted.adjust(&*wanted) {
                    tracing::warn!("{error}");
                }
                running.wanted = wanted;
                continue;
            }
            let (stop, stopped) = stop::channel();
            let make = tasks(wanted.clone(), opened.remove(&name), ways.clone(), stopped.clone());
            let task = self.supervisor.task(&name, stopped, make);
            self.running.insert(name, Running { wanted, stop, task });
        }
        assert!(opened.is_empty(), "everything that was opened runs");
    }

    /// Ends all of them.
    pub async fn end(self) {
        end(self.running).await;
    }
}

/// Asks all of them to end, and waits until they have.
async fn end(running: BTreeMap<String, Running>) {
    running.values().for_each(|running| running.stop.stop());
    for (_, running) in running {
        let _ = running.task.await;
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::load_text;

    fn names(text: &str) -> Vec<String> {
        let config = load_text(Path::new("agent.toml"), text).unwrap();
        Shared::default().wanted::<Intake>(&config.intake, &config.home()).into_keys().collect()
    }

    #[test]
    fn every_intake_has_a_name_of_its_own() {
        let file = "[[intake.file]]\npath = \"a.csv\"\n";
        let text = format!(
            "[intake.socket]\ntcp = \"127.0.0.1:88\"\n[[intake.exec]]\nname = \"plc\"\ncommand = [\"true\"]\n{file}{file}\
             [[intake.serial]]\nport = \"/dev/ttyUSB0\"\ndevice = \"spindle-1\"\n"
        );
        let expected = ["exec plc", "file a.csv", "file a.csv (2)", "host", "serial spindle-1", "socket", "socket tcp"];
        assert_eq!(names(&text), expected);
        assert_eq!(names("[intake.host]\nenabled = false\n[intake.socket]\nenabled = false\n"), [] as [String; 0]);
    }
}
