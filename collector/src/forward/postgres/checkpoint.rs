//! The checkpoint of a forward: a row beside its events, which only its owner can move.

use tokio_postgres::Client;

use super::super::checkpoint::Checkpoint;
use super::super::sink::ForwardKey;
use super::error::Failure;
use super::schema::{Layout, Tables, columns_of};
use crate::limits::POSTGRES_CHECKPOINT_CHARS_MAX;

/// The columns of the key: forward, partition and log.
fn columns_of_key(key: &ForwardKey) -> (String, i32, String) {
    let log = format!("{:032x}", u128::from_be_bytes(key.log_id));
    (key.forward.to_string(), key.partition.get().cast_signed(), log)
}

/// Reads the checkpoint and its text; `None` if there is none.
pub(super) async fn read(
    client: &Client,
    tables: &Tables,
    key: &ForwardKey,
) -> Result<Option<(Checkpoint, String)>, Failure> {
    let select = format!(
        "SELECT left(checkpoint, {POSTGRES_CHECKPOINT_CHARS_MAX}) FROM {} WHERE forward = $1 AND partition = $2 AND \
         log = $3::text::uuid",
        tables.forwards
    );
    let (forward, partition, log) = columns_of_key(key);
    let row = client.query_opt(&select, &[&forward, &partition, &log]).await?;
    let Some(row) = row else { return Ok(None) };
    let text: String = row.try_get(0)?;
    let checkpoint = Checkpoint::from_text(&text).map_err(|error| {
        let remedy = "restore the row, or delete it and say where to go on with `forward rewind`";
        Failure::wrong(format!("the row of {forward} in {}: {error}", tables.forwards), remedy)
    })?;
    Ok(Some((checkpoint, text)))
}

/// Moves the checkpoint within the transaction from `previous` to `next`, and checks that the table of events still is
/// as it was.
pub(super) async fn write(
    client: &Client,
    tables: &Tables,
    key: &ForwardKey,
    layout: &Layout,
    previous: Option<&str>,
    next: &str,
) -> Result<(), Failure> {
    let (forwards, columns) = (&tables.forwards, columns_of(layout.oid));
    let (forward, partition, log) = columns_of_key(key);
    let moved = match previous {
        Some(previous) => {
            let update = format!(
                "UPDATE {forwards} SET checkpoint = $4, updated_at = clock_timestamp() WHERE forward = $1 AND \
                 partition = $2 AND log = $3::text::uuid AND checkpoint = $5 RETURNING {columns}"
            );
            client.query_opt(&update, &[&forward, &partition, &log, &next, &previous]).await?
        }
        None => {
            let insert = format!(
                "INSERT INTO {forwards} VALUES ($1, $2, $3::text::uuid, $4, clock_timestamp()) ON CONFLICT DO NOTHING \
                 RETURNING {columns}"
            );
            client.query_opt(&insert, &[&forward, &partition, &log, &next]).await?
        }
    };
    let Some(moved) = moved else {
        let reason = format!("somebody else delivers the forward {forward}: its row in {forwards} has changed");
        return Err(Failure::wrong(reason, "stop the other collector, or the copy of this one"));
    };
    let found: Option<String> = moved.try_get(0)?;
    if found.as_deref() != Some(layout.columns.as_str()) {
        let reason = format!("the table {} was changed meanwhile", tables.shown());
        return Err(Failure::wrong(reason, "it is checked at the next try"));
    }
    Ok(())
}
