//! The sink: parts of events become transactions.

use bytes::Bytes;

use super::super::checkpoint::Checkpoint;
use super::super::event::ForwardEvent;
use super::super::sink::{DeliverError, PartLimits, Rejection, Sink, SinkContext, Unavailable};
use super::connection::Connection;
use super::row::Rows;
use super::settings::Settings;
use super::transaction::{At, Part, Session};
use crate::limits::{FORWARD_PART_BYTES, POSTGRES_EVENTS_MAX, POSTGRES_PART_WAIT};

/// Writes events into a table.
pub(super) struct PostgresSink {
    settings: Settings,
    session: Option<Session>,
    /// The part.
    rows: Rows,
    /// Whether the table had events of the last part already, against expectation.
    meets_doubles: bool,
}

impl PostgresSink {
    pub fn new(settings: Settings) -> Self {
        Self { settings, session: None, rows: Rows::default(), meets_doubles: false }
    }

    /// Delivers a part in one transaction; returns the number of its rows that are new.
    fn transact(&mut self, context: &SinkContext, part: &Part) -> Result<u64, At> {
        let Settings { target, tables, timeout, .. } = &self.settings;
        let session = self.session.as_mut().expect("a sink is opened before it delivers");
        let transaction = async {
            match session.transact(tables, part).await {
                Ok(written) => Ok(written),
                Err(at) => Err(session.roll_back(at).await),
            }
        };
        context
            .wait(*timeout, &format!("writing to {target}"), transaction)
            .unwrap_or_else(|error| Err(At::Wait(error)))
    }

    fn error(&self, at: At, rows: usize) -> DeliverError {
        let target = &self.settings.target;
        match at {
            At::Wait(error) => error.into(),
            At::Begin(failure) => failure.unavailable(target, "beginning a transaction").into(),
            At::Rows(failure) => failure.of_rows(target, "writing rows", rows),
            // Constraints can be deferred to the end of the transaction.
            At::Commit(failure) => failure.of_rows(target, "committing, with an outcome that is looked up", rows),
        }
    }
}

impl Sink for PostgresSink {
    fn limits(&self) -> PartLimits {
        PartLimits { events_max: POSTGRES_EVENTS_MAX, bytes_max: FORWARD_PART_BYTES, wait: POSTGRES_PART_WAIT }
    }

    fn open(&mut self, context: &SinkContext) -> Result<Option<Checkpoint>, Unavailable> {
        self.close();
        let settings = &self.settings;
        let opening = async {
            let mut connection = Connection::open(settings).await?;
            match Session::prepare(&connection, settings, context).await {
                Ok((layout, found)) => Ok((Session::new(connection, context.key, layout), found)),
                Err(failure) => Err(connection.cause(failure).await),
            }
        };
        let opened = context.wait(settings.timeout, &format!("connecting to {}", settings.target), opening)?;
        let (mut session, found) = opened.map_err(|failure| failure.unavailable(&settings.target, "connecting"))?;
        let checkpoint = found.map(|(checkpoint, text)| {
            session.set_checkpoint(text);
            checkpoint
        });
        self.session = Some(session);
        Ok(checkpoint)
    }

    fn probe(&mut self, context: &SinkContext) -> Result<String, Unavailable> {
        let settings = &self.settings;
        let probing = async {
            let mut connection = Connection::open(settings).await?;
            match settings.tables.look(&connection.client).await {
                Ok(found) => Ok(found),
                Err(failure) => Err(connection.cause(failure).await),
            }
        };
        let probed = context.wait(settings.timeout, &format!("connecting to {}", settings.target), probing)?;
        probed.map_err(|failure| failure.unavailable(&settings.target, "connecting"))
    }

    fn add(&mut self, event: &ForwardEvent<'_>) -> Result<(), Rejection> {
        self.rows.add(event)
    }

    fn bytes(&self) -> usize {
        self.rows.bytes()
    }

    fn deliver(&mut self, context: &SinkContext, checkpoint: &Checkpoint) -> Result<(), DeliverError> {
        let (rows, days) = (self.rows.count(), self.rows.days().clone());
        let is_seen = self.rows.first().is_some_and(|first| checkpoint.may_be_there(first));
        let is_compared = self.settings.shared || self.meets_doubles || is_seen;
        let body = if rows == 0 { Bytes::new() } else { self.rows.take(checkpoint.place.0.log_id).into() };
        let mut part = Part { body, rows, days, checkpoint: checkpoint.to_text(), is_compared };
        let mut done = self.transact(context, &part);
        if let Err(At::Rows(failure)) = &done
            && failure.is_double()
            && !part.is_compared
        {
            tracing::warn!(
                forward = %self.settings.name, target = self.settings.target,
                "the table has events of this forward already; events are compared with it until it has none"
            );
            part.is_compared = true;
            done = self.transact(context, &part);
        }
        match done {
            Ok(written) => {
                self.meets_doubles = part.is_compared && written < rows as u64;
                Ok(())
            }
            Err(at) => Err(self.error(at, rows)),
        }
    }

    fn drop_part(&mut self) {
        self.rows.clear();
    }

    fn close(&mut self) {
        self.session = None;
    }
}
