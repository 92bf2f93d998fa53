//! Units of systemd that have failed, and that work again.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use super::reading::{Found, Readings, level};
use crate::limits::HOST_THINGS_MAX;

const CODE: &str = "unit-failed";

/// The units that had failed at the last look.
#[derive(Debug, Default)]
pub struct FailedUnits {
    failed: BTreeSet<String>,
}

impl FailedUnits {
    /// `listed` is what [`list_failed`] gave. Units that had failed before the agent's start are reported once too.
    pub fn look(&mut self, listed: &str, out: &mut Readings) {
        let now = parse(listed);
        for unit in now.difference(&self.failed) {
            let message = format!("{unit} has failed; see: systemctl status {unit}");
            out.push(format!("unit/{}", level(unit)), Found::Breakdown { code: CODE, message });
        }
        for unit in self.failed.difference(&now) {
            let message = format!("{unit} is not failed any more");
            out.push(format!("unit/{}", level(unit)), Found::Recovery { code: CODE, message });
        }
        self.failed = now;
    }
}

/// Lines `nginx.service loaded failed failed A web server`.
fn parse(listed: &str) -> BTreeSet<String> {
    let units = listed.lines().filter_map(|line| {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        (words.get(2) == Some(&"failed")).then(|| words[0].to_owned())
    });
    units.take(HOST_THINGS_MAX).collect()
}

/// What systemd lists; `None` where it does not run or does not answer in time.
pub async fn list_failed() -> Option<String> {
    if !Path::new("/run/systemd/system").exists() {
        return None;
    }
    let listing = tokio::process::Command::new("systemctl")
        .args(["list-units", "--state=failed", "--plain", "--no-legend", "--no-pager"])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(Duration::from_secs(3), listing).await.ok()?.ok()?;
    output.status.success().then(|| String::from_utf8(output.stdout).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unit_breaks_down_once_and_recovers_once() {
        let mut units = FailedUnits::default();
        let listed = "nginx.service loaded failed failed A web server\nssh.service loaded active running SSH\n";
        let mut look = |listed: &str| {
            let mut out = Readings::default();
            units.look(listed, &mut out);
            out.into_vec()
                .into_iter()
                .map(|reading| format!("{} {:?}", reading.subject, reading.found))
                .collect::<Vec<_>>()
        };
        let first = look(listed);
        assert!(first.len() == 1 && first[0].starts_with("unit/nginx.service Breakdown"), "{first:?}");
        assert!(look(listed).is_empty());
        let last = look("");
        assert!(last.len() == 1 && last[0].starts_with("unit/nginx.service Recovery"), "{last:?}");
        assert!(look("").is_empty());
    }
}
