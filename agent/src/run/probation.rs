//! A new configuration while the agent runs: checked, taken, and taken back when it cuts the agent off.
//!
//! The ring log and the agent's name never change while it runs; other changed parts are restarted. A new connection to
//! the collector is on probation: when it has not reached a collector within [`ShipConfig::confirm_s`], and the one
//! before had, the one before is taken again.
//!
//! [`ShipConfig::confirm_s`]: crate::config::ShipConfig::confirm_s

use std::path::PathBuf;
use std::time::Duration;

use afferent_protocol::event::LifeCycle;
use afferent_protocol::limits::TEXT_BYTES_MAX;
use tokio::time::Instant;

use super::links::why_down;
use super::{ConfigSource, Running, way};
use crate::clock::Clock;
use crate::config::{Config, ConfigError, ShipConfig, last_working};
use crate::limits::{GOOD_LOOKS, PROBATION_LOOK};
use crate::mailbox::LinkState;
use crate::ship::{Refresh, ShipSettings};

/// A new connection to the collector that has not worked yet.
#[derive(Debug)]
struct Probation {
    until: Instant,
    /// How often in a row it was seen to work.
    good_looks: u8,
    config_before: ShipConfig,
    settings_before: ShipSettings,
    /// A hash of the credentials' files.
    stamp: Option<[u8; 32]>,
}

/// What is to be done about configurations.
#[derive(Debug, Default)]
pub struct Reload {
    probation: Option<Probation>,
    /// The main file of the configuration, for a copy of what has worked.
    path: Option<PathBuf>,
    /// How often in a row what is in use was seen to work; `None` when that is known already, or nothing is copied.
    untried_looks: Option<u8>,
}

/// The kind of trouble when the configuration in use is not the one that is there.
const FELL_BACK: &str = "configuration";

impl Reload {
    /// Waits until [`Reload::judge`] has something to do.
    pub async fn due(&self) {
        match (&self.probation, self.untried_looks) {
            (None, None) => std::future::pending().await,
            _ => tokio::time::sleep(PROBATION_LOOK).await,
        }
    }

    /// After a start.
    pub fn begin(running: &Running, source: ConfigSource) -> Self {
        let mut reload = Self { path: source.path, ..Self::default() };
        match source.fell_back {
            None => reload.stage(running),
            Some(fell_back) => {
                running.troubles().begins(FELL_BACK, fell_back.to_string());
                record(running, &fell_back.to_string());
            }
        }
        reload
    }

    /// What was just taken is copied, and becomes the copy that counts once it has worked.
    fn stage(&mut self, running: &Running) {
        let Some(path) = &self.path else { return };
        match last_working::stage(path, &running.config.agent.data_dir) {
            Ok(()) => self.untried_looks = Some(0),
            Err(error) => running.troubles().happened(
                "copy",
                format!("cannot keep a copy of the configuration, to fall back to, in the data directory: {error}"),
            ),
        }
    }

    /// Reads the configuration again; one that cannot be used changes nothing.
    pub async fn read(&mut self, running: &mut Running, load: impl Fn() -> Result<Config, ConfigError>) {
        let taken = match load() {
            Ok(config) => self.take(running, config).await,
            Err(error) => Err(error.to_string()),
        };
        match taken {
            Ok(()) => {
                running.troubles().ends(FELL_BACK);
                self.stage(running);
                warn_and_record(running, "the new configuration is in use");
            }
            Err(why) => warn_and_record(
                running,
                &format!("the new configuration was refused, the previous one stays in use: {why}"),
            ),
        }
    }

    async fn take(&mut self, running: &mut Running, config: Config) -> Result<(), String> {
        let fixed = [
            ("agent", config.agent == running.config.agent),
            ("ring", config.ring == running.config.ring),
            ("commit", config.commit == running.config.commit),
            ("http", config.http == running.config.http),
            ("log", config.log == running.config.log),
        ];
        if let Some((section, _)) = fixed.iter().find(|(_, same)| !same) {
            return Err(format!("`[{section}]` changes only when the agent starts: restart it"));
        }
        if config.ship.window_bytes != running.config.ship.window_bytes
            || config.ship.timeout_ms != running.config.ship.timeout_ms
        {
            return Err("`ship.window_bytes` and `ship.timeout_ms` change only when the agent starts".into());
        }
        // All that can fail comes before anything of the one before ends.
        let settings = way::ship_settings(&config, running.troubles());
        let credentials = way::credentials(&config)?;
        let opened = running.intakes.open(&config).await?;
        let stamp_before = running.ship.borrow().refresh.as_ref().and_then(Refresh::stamp);
        let is_renewed = stamp_before != Some(credentials.stamp);
        if let Some(refresh) = &settings.refresh {
            refresh.keep(credentials);
        }
        if config.ship != running.config.ship || is_renewed {
            self.change_way(running, &config, settings);
        }
        running.config = config;
        running.swap_intakes(opened).await;
        Ok(())
    }

    fn change_way(&mut self, running: &mut Running, config: &Config, settings: ShipSettings) {
        // Before the new way is taken: the connection goes down in the moment in which it is, on another thread.
        let worked = self.probation.is_some() || reaches_a_collector(running);
        let stamp = settings.refresh.as_ref().and_then(Refresh::stamp);
        let settings_before = running.ship.send_replace(settings);
        let (config_before, settings_before) = match self.probation.take() {
            // The configuration on probation never counts as working; the previous one does.
            Some(probation) => (probation.config_before, probation.settings_before),
            None => (running.config.ship.clone(), settings_before),
        };
        if worked {
            let until = Instant::now() + Duration::from_secs(u64::from(config.ship.confirm_s));
            self.probation = Some(Probation { until, good_looks: 0, config_before, settings_before, stamp });
        }
    }

    /// Ends a probation: passed, or failed and taken back.
    pub fn judge(&mut self, running: &mut Running) {
        let Some(probation) = &mut self.probation else { return self.keep_working_copy(running) };
        probation.good_looks = if reaches_a_collector(running) { probation.good_looks + 1 } else { 0 };
        if probation.good_looks >= GOOD_LOOKS {
            self.probation = None;
            warn_and_record(running, "the new connection to the collector works");
        } else if probation.good_looks == 0 && Instant::now() >= probation.until {
            let Some(probation) = self.probation.take() else { return };
            self.untried_looks = None;
            // What its files hold now may be just what leads nowhere.
            if let Some(refresh) = &probation.settings_before.refresh {
                refresh.reject(probation.stamp);
            }
            running.ship.send_replace(probation.settings_before);
            running.config.ship = probation.config_before;
            let why = why_down(&running.agent.link().borrow());
            let why = why.unwrap_or_else(|| "no collector has answered".to_owned());
            warn_and_record(
                running,
                &format!("the new connection to the collector does not work ({why}), the previous one is used again"),
            );
        }
    }
}

impl Reload {
    /// Keeps a copy of the configuration once it has worked for a while.
    fn keep_working_copy(&mut self, running: &Running) {
        let Some(good_looks) = self.untried_looks else { return };
        let good_looks = if reaches_a_collector(running) { good_looks + 1 } else { 0 };
        self.untried_looks = (good_looks < GOOD_LOOKS).then_some(good_looks);
        if self.untried_looks.is_none()
            && let Err(error) = last_working::promote(&running.config.agent.data_dir)
        {
            tracing::warn!("cannot keep the copy of this configuration to fall back to: {error}");
        }
    }
}

fn reaches_a_collector(running: &Running) -> bool {
    running.agent.status().borrow().streaming && *running.agent.link().borrow() == LinkState::Up
}

/// Logs a warning and records an event.
fn warn_and_record(running: &Running, what: &str) {
    tracing::warn!("{what}");
    record(running, what);
}

/// Records an event in the ring log.
fn record(running: &Running, what: &str) {
    let what = &what[..what.floor_char_boundary(TEXT_BYTES_MAX)];
    if let Err(refusal) = running.agent.log_life_cycle(LifeCycle::Configured { message: what }, running.clock.wall()) {
        tracing::debug!("the event is not in the ring log: {refusal}");
    }
}
