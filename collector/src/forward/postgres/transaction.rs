//! The transaction that brings a part: the checkpoint's row first, which nobody else can move then, and the events.

use std::collections::BTreeSet;

use bytes::Bytes;
use futures_util::SinkExt as _;
use tokio_postgres::Client;

use super::super::checkpoint::Checkpoint;
use super::super::sink::{ForwardKey, SinkContext, Unavailable};
use super::checkpoint;
use super::connection::Connection;
use super::days;
use super::error::Failure;
use super::schema::{Layout, Tables};
use super::settings::Settings;
use crate::limits::POSTGRES_CHUNK_BYTES;

/// Debug builds move the checkpoint in a transaction of its own, after that of the events, when this variable is set: a
/// control for tests. Release builds ignore it.
const CHECKPOINT_APART: &str = "AFFERENT_POSTGRES_CHECKPOINT_APART";

/// A temporary table of the session, for rows that may be there already.
const STAGING: &str = "pg_temp.afferent_staging";

/// An open destination.
pub(super) struct Session {
    connection: Connection,
    key: ForwardKey,
    layout: Layout,
    /// The text of the checkpoint there.
    checkpoint: Option<String>,
    /// Days of which the partition is there.
    days: BTreeSet<i64>,
    has_staging: bool,
}

/// A part on its way.
pub(super) struct Part {
    /// The body of a `COPY`; empty without rows.
    pub body: Bytes,
    pub rows: usize,
    /// The days of ingest, counted from 1970.
    pub days: BTreeSet<i64>,
    /// The text of the checkpoint behind it.
    pub checkpoint: String,
    /// Whether rows that are there already are left out.
    pub is_compared: bool,
}

/// Where a transaction failed.
pub(super) enum At {
    /// It took too long, or was interrupted.
    Wait(Unavailable),
    Begin(Failure),
    Rows(Failure),
    Commit(Failure),
}

impl Session {
    /// Makes and checks the tables, and reads the checkpoint and its text.
    pub async fn prepare(
        connection: &Connection,
        settings: &Settings,
        context: &SinkContext,
    ) -> Result<(Layout, Option<(Checkpoint, String)>), Failure> {
        let layout = settings.tables.prepare(&connection.client).await?;
        if settings.shared && !layout.has_key {
            return Err(no_key(&settings.tables));
        }
        let found = checkpoint::read(&connection.client, &settings.tables, &context.key).await?;
        Ok((layout, found))
    }

    pub fn new(connection: Connection, key: ForwardKey, layout: Layout) -> Self {
        Self { connection, key, layout, checkpoint: None, days: BTreeSet::new(), has_staging: false }
    }

    /// Sets the text of the checkpoint that was found.
    pub fn set_checkpoint(&mut self, text: String) {
        self.checkpoint = Some(text);
    }

    /// Delivers a part; returns the number of its rows that are new.
    pub async fn transact(&mut self, tables: &Tables, part: &Part) -> Result<u64, At> {
        let is_apart = cfg!(debug_assertions) && std::env::var_os(CHECKPOINT_APART).is_some();
        let client = &self.connection.client;
        // Nobody can change the table from here on.
        let begin = format!("BEGIN; LOCK TABLE ONLY {} IN ROW EXCLUSIVE MODE", tables.events);
        client.batch_execute(&begin).await.map_err(|error| At::Begin(error.into()))?;
        if !is_apart {
            self.move_checkpoint(tables, part).await.map_err(At::Begin)?;
        }
        let written = if part.rows == 0 { 0 } else { self.write(tables, part).await? };
        let client = &self.connection.client;
        client.batch_execute("COMMIT").await.map_err(|error| At::Commit(error.into()))?;
        if is_apart {
            self.move_checkpoint(tables, part).await.map_err(At::Begin)?;
        }
        self.checkpoint = Some(part.checkpoint.clone());
        self.days.extend(&part.days);
        Ok(written)
    }

    async fn move_checkpoint(&self, tables: &Tables, part: &Part) -> Result<(), Failure> {
        let (client, previous) = (&self.connection.client, self.checkpoint.as_deref());
        checkpoint::write(client, tables, &self.key, &self.layout, previous, &part.checkpoint).await
    }

    async fn write(&mut self, tables: &Tables, part: &Part) -> Result<u64, At> {
        let client = &self.connection.client;
        let missing: BTreeSet<i64> = part.days.difference(&self.days).copied().collect();
        if self.layout.is_partitioned && !missing.is_empty() {
            days::make(client, tables, &missing).await.map_err(At::Begin)?;
        }
        let columns = Tables::columns();
        if !part.is_compared {
            return copy(client, &tables.events, &columns, &part.body).await.map_err(At::Rows);
        }
        if !self.layout.has_key {
            return Err(At::Begin(no_key(tables)));
        }
        let make = if self.has_staging {
            format!("TRUNCATE {STAGING}")
        } else {
            let events = &tables.events;
            format!(
                "CREATE TEMPORARY TABLE IF NOT EXISTS afferent_staging AS SELECT {columns} FROM {events} WITH NO DATA; \
                 TRUNCATE {STAGING}"
            )
        };
        client.batch_execute(&make).await.map_err(|error| At::Begin(error.into()))?;
        copy(client, STAGING, &columns, &part.body).await.map_err(At::Rows)?;
        let insert = format!(
            "INSERT INTO {} ({columns}) SELECT {columns} FROM {STAGING} ORDER BY \"offset\" ON CONFLICT DO NOTHING",
            tables.events
        );
        let written = client.execute(&insert, &[]).await.map_err(|error| At::Rows(error.into()))?;
        self.has_staging = true;
        Ok(written)
    }

    /// Ends a transaction that failed, and finds the cause.
    pub async fn roll_back(&mut self, at: At) -> At {
        self.has_staging = false;
        // Where the session has ended, so has the transaction.
        let _ = self.connection.client.batch_execute("ROLLBACK").await;
        match at {
            At::Wait(error) => At::Wait(error),
            At::Begin(failure) => At::Begin(self.connection.cause(failure).await),
            At::Rows(failure) => At::Rows(self.connection.cause(failure).await),
            At::Commit(failure) => At::Commit(self.connection.cause(failure).await),
        }
    }
}

/// Copies rows into a table; returns their number.
async fn copy(client: &Client, table: &str, columns: &str, body: &Bytes) -> Result<u64, Failure> {
    let statement = format!("COPY {table} ({columns}) FROM STDIN (FORMAT binary)");
    let mut writer = Box::pin(client.copy_in(&statement).await?);
    for from in (0..body.len()).step_by(POSTGRES_CHUNK_BYTES) {
        let chunk = body.slice(from..body.len().min(from + POSTGRES_CHUNK_BYTES));
        // A failure of the server is the answer to the end.
        if writer.send(chunk).await.is_err() {
            break;
        }
    }
    Ok(writer.as_mut().finish().await?)
}

fn no_key(tables: &Tables) -> Failure {
    let reason = format!("{} has no unique key, so events that are there already cannot be recognised", tables.shown());
    let remedy = format!(
        "ALTER TABLE {} ADD PRIMARY KEY (log, partition, \"offset\", ingesttime); or go on behind them with `forward \
         rewind --to`",
        tables.events
    );
    Failure::wrong(reason, remedy)
}
