//! `sub --name`: follow the log by a subscription whose place the collector keeps.

use std::io::Write;
use std::time::Duration;

use anyhow::Context;

use super::client::{Client, ClientError, Selection};
use super::event_output::{EventOutput, EventWriter};

/// Seconds that one request waits for events.
const WAIT_S: u64 = 5;
/// Events of one request.
const EVENTS: u64 = 1000;
/// How long to wait before a collector that does not answer is asked again.
const PAUSE: Duration = Duration::from_secs(2);

/// Follows a subscription, which is made when it is not there. What was written is committed, so that it does not come
/// again; after a crash what was written last may.
pub fn follow(
    client: &Client,
    name: &str,
    member: &str,
    wanted: &Selection,
    limit: u64,
    output: EventOutput,
) -> anyhow::Result<()> {
    client.subscribe(name, wanted)?;
    let (mut writer, mut left) = (EventWriter::new(output), limit);
    while left > 0 {
        let fetched = match client.fetch(name, member, left.min(EVENTS), WAIT_S) {
            Ok(fetched) => fetched,
            Err(error @ (ClientError::Unreachable { .. } | ClientError::Refused { status: 500.., .. })) => {
                eprintln!("afferent-collector: {error}; retrying");
                std::thread::sleep(PAUSE);
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        let mut out = std::io::BufWriter::new(anstream::stdout().lock());
        for line in fetched.lines.lines() {
            writer.write(&mut out, line).context("writing to standard output failed")?;
            left -= 1;
        }
        out.flush().context("writing to standard output failed")?;
        let Some(cursor) = fetched.cursor else { continue };
        match client.commit(name, &cursor) {
            // The work was divided anew, or the collector began anew: what was not committed comes again.
            Err(ClientError::Refused { status: 409, .. } | ClientError::Unreachable { .. }) => {}
            other => other?,
        }
    }
    writer.finish(&mut anstream::stdout().lock()).context("writing to standard output failed")
}
