//! Pages of the log, read on threads that may block.

use std::sync::Arc;

use afferent_protocol::ids::Offset;
use axum::body::Bytes;
use axum::http::StatusCode;

use super::problem::Problem;
use super::tail::{Rendered, Tail};
use crate::subscribe::{Page, ReadLog, Reading};

/// One reader's pages.
pub(super) struct Pages {
    log: Arc<dyn ReadLog>,
    /// `None` after a page that failed.
    reading: Option<Reading>,
    /// Where pages are shared with others who read the same.
    tail: Option<Arc<Tail>>,
}

impl Pages {
    pub(super) fn new(log: Arc<dyn ReadLog>, reading: Reading) -> Self {
        Self { log, reading: Some(reading), tail: None }
    }

    /// Pages of one who follows the log as server-sent events, shared with all others without a filter.
    pub(super) fn following(log: Arc<dyn ReadLog>, reading: Reading, tail: &Arc<Tail>) -> Self {
        let tail = (!reading.is_filtered()).then(|| Arc::clone(tail));
        Self { log, reading: Some(reading), tail }
    }

    /// The next page, which may be empty.
    pub(super) async fn next(&mut self) -> Result<(Bytes, Page), Problem> {
        let (Some(first), Some(tail)) = (self.place(), self.tail.clone()) else { return self.rendered().await };
        let end = self.log.kept().end;
        if first >= end {
            return Ok((Bytes::new(), Page::AtEnd));
        }
        if !Tail::is_near(first, end) {
            return self.rendered().await;
        }
        if let Some(page) = tail.find(first) {
            return Ok(self.taken(page));
        }
        let _one = tail.rendering.lock().await;
        if let Some(page) = tail.find(first) {
            return Ok(self.taken(page));
        }
        let (bytes, page) = self.rendered().await?;
        if let Some(next) = self.place().filter(|_| !bytes.is_empty()) {
            tail.keep(Rendered { first, next, bytes: bytes.clone(), page });
        }
        Ok((bytes, page))
    }

    /// Takes a page that was rendered for somebody else.
    fn taken(&mut self, page: Rendered) -> (Bytes, Page) {
        if let Some(reading) = &mut self.reading {
            reading.go_on_at(page.next);
        }
        (page.bytes, page.page)
    }

    async fn rendered(&mut self) -> Result<(Bytes, Page), Problem> {
        let Some(mut reading) = self.reading.take() else {
            return Err(Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "an earlier page failed", "ask again"));
        };
        let log = Arc::clone(&self.log);
        let (reading, bytes, page) = blocking(move || {
            let mut bytes = Vec::new();
            let page = reading.page(&*log, &mut bytes);
            (reading, bytes, page)
        })
        .await?;
        let page = page.inspect_err(|error| tracing::error!(%error, "a reader's page failed"))?;
        self.reading = Some(reading);
        Ok((bytes.into(), page))
    }

    /// The first offset that was not looked at yet.
    pub(super) fn place(&self) -> Option<Offset> {
        self.reading.as_ref().map(Reading::next)
    }

    /// The first offset that was not looked at yet, and whether readers cannot tell it from what they got.
    pub(super) fn filtered_place(&self) -> Option<u64> {
        self.reading.as_ref().filter(|reading| reading.is_filtered()).map(|reading| reading.next().get())
    }
}

/// Runs what blocks where it may.
pub(super) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Problem> {
    tokio::task::spawn_blocking(work).await.map_err(|error| {
        tracing::error!(%error, "reading the log ended in a panic");
        let remedy = "report it with the collector's log; ask again";
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "reading the log failed", remedy)
    })
}
