//! Pages of the log, read on threads that may block.

use std::sync::Arc;

use afferent_protocol::ids::Offset;
use axum::body::Bytes;
use axum::http::StatusCode;
use tokio::task::JoinSet;

use super::blocking::panicked;
use super::budget::{Budgets, Client, ClientAddress, PageBytes};
use super::problem::Problem;
use super::state::Api;
use super::tail::{Rendered, Tail, TailFollower};
use crate::limits::{EVENTS_DEFAULT, PAGE_BUFFERS_KEPT_BYTES, PAGE_BYTES};
use crate::log::{ReadLog, ReadLogError};
use crate::subscribe::{Filter, Format, Page, Reading};

/// One reader's pages.
pub(super) struct Pages {
    log: Arc<dyn ReadLog>,
    budgets: Arc<Budgets>,
    /// Whose turn it takes to render one.
    of: ClientAddress,
    /// `None` while a page is rendered, and after one that failed.
    reading: Option<Reading>,
    /// A page that is being rendered while the one before it is sent.
    ahead: Option<JoinSet<RenderedPage>>,
    is_ahead: bool,
    /// Pages are shared with others at the log's end.
    follower: Option<TailFollower>,
}

/// A reader, and the page that it has rendered.
type RenderedPage = (Reading, Vec<u8>, Result<Page, ReadLogError>);

impl Pages {
    pub(super) fn new(log: Arc<dyn ReadLog>, reading: Reading, api: &Api, client: &Client) -> Self {
        let (budgets, of) = (Arc::clone(&api.budgets), client.address());
        Self { log, budgets, of, reading: Some(reading), ahead: None, is_ahead: false, follower: None }
    }

    /// Renders the next page while one is sent.
    pub(super) fn reading_ahead(self) -> Self {
        Self { is_ahead: true, ..self }
    }

    /// Pages of one who follows the log as server-sent events, shared with all others at its end.
    pub(super) fn following(log: Arc<dyn ReadLog>, reading: Reading, api: &Api, client: &Client) -> Self {
        let follower = TailFollower::new(&api.tail, reading.is_filtered());
        Self { follower: Some(follower), ..Self::new(log, reading, api, client) }
    }

    /// The next page, which may be empty.
    pub(super) async fn next(&mut self) -> Result<(Bytes, Page), Problem> {
        let (Some(reading), Some(follower)) = (&mut self.reading, &self.follower) else {
            return self.rendered().await;
        };
        let tail = &follower.tail;
        let (first, end) = (reading.next(), self.log.kept().end);
        if first >= end {
            return Ok((Bytes::new(), Page::AtEnd));
        }
        let room = &self.budgets.room;
        // A shared page is a large one, and each stalled reader would keep a different one.
        if !Tail::is_near(first, end) || (reading.is_filtered() && !tail.is_crowded()) || room.is_short() {
            return self.rendered().await;
        }
        let page = shared(&self.log, tail, first, room).await?;
        assert!((page.first..=page.next).contains(&first), "a shared page holds what follows the reader's place");
        if reading.is_filtered() && room.is_short() {
            return self.rendered().await;
        }
        let bytes = page.of(first, reading.filter(), room);
        reading.continue_at(page.next);
        // Durable, and yet not readable: to wait as at the end avoids a busy loop.
        let is_at_end = page.next == first || page.next >= self.log.kept().end;
        Ok((bytes, if is_at_end { Page::AtEnd } else { Page::More }))
    }

    async fn rendered(&mut self) -> Result<(Bytes, Page), Problem> {
        let mut rendering = match (self.ahead.take(), self.reading.take()) {
            (Some(ahead), _) => ahead,
            (None, Some(reading)) => self.render(reading),
            (None, None) => {
                return Err(Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "an earlier page failed", "ask again"));
            }
        };
        let rendered = rendering.join_next().await.expect("one task was started");
        let (reading, bytes, page) = rendered.map_err(panicked)?;
        let page = page.inspect_err(|error| tracing::error!(%error, "a reader's page failed"))?;
        if self.is_ahead && page == Page::More {
            self.ahead = Some(self.render(reading));
        } else {
            self.reading = Some(reading);
        }
        Ok((self.budgets.room.hold(bytes), page))
    }

    /// Renders a page when it is this client's turn. Who has gone by then has no turn.
    fn render(&self, reading: Reading) -> JoinSet<RenderedPage> {
        let (log, budgets, of, is_ahead) = (Arc::clone(&self.log), Arc::clone(&self.budgets), self.of, self.is_ahead);
        let mut rendering = JoinSet::new();
        rendering.spawn(async move {
            let turn = budgets.rendering(of).await;
            let bytes_max = budgets.room.page_bytes();
            // A page that is followed by more: it is full, and a little over.
            let is_full = log.kept().end.since(reading.next()) >= EVENTS_DEFAULT && !reading.is_filtered();
            let from_start = if is_full { bytes_max + bytes_max / 16 } else { 0 };
            let buffers_kept = if is_ahead { PAGE_BUFFERS_KEPT_BYTES } else { 0 };
            let render = move || {
                let rendering = render(&log, reading, bytes_max, from_start, buffers_kept);
                drop(turn);
                rendering
            };
            match tokio::task::spawn_blocking(render).await {
                Ok(rendering) => rendering,
                Err(error) => match error.try_into_panic() {
                    Ok(panic) => std::panic::resume_unwind(panic),
                    // The runtime is ending, and this task with it.
                    Err(_) => std::future::pending().await,
                },
            }
        });
        rendering
    }

    /// The first offset that was not looked at yet.
    pub(super) fn place(&self) -> Option<Offset> {
        self.reading.as_ref().map(Reading::next)
    }

    /// What stands behind the offset of an event in its id.
    pub(super) fn term_of(&self, event: u64) -> String {
        self.log.terms().suffix_of(Offset::new(event)).1
    }

    /// The first offset that was not looked at yet, and whether readers cannot tell it from what they got.
    pub(super) fn filtered_place(&self) -> Option<u64> {
        self.reading.as_ref().filter(|reading| reading.is_filtered()).map(|reading| reading.next().get())
    }
}

/// The page that all followers share who have everything before `at`, which is before the log's end.
async fn shared(log: &Arc<dyn ReadLog>, tail: &Tail, at: Offset, room: &PageBytes) -> Result<Arc<Rendered>, Problem> {
    if let Some(page) = tail.find(at) {
        return Ok(page);
    }
    // One at a time, for all of them: no request's turn comes before it.
    let _one = tail.rendering.lock().await;
    if let Some(page) = tail.find(at) {
        return Ok(page);
    }
    let reading = Reading::follow(at, Filter::default(), Format::ServerSent).with_lines();
    let from = Arc::clone(log);
    let rendering = tokio::task::spawn_blocking(move || render(&from, reading, PAGE_BYTES, 0, 0));
    let (mut reading, bytes, page) = rendering.await.map_err(panicked)?;
    page.inspect_err(|error| tracing::error!(%error, "a page for followers failed"))?;
    let page = Rendered { first: at, next: reading.next(), bytes: room.hold(bytes), lines: reading.take_lines() };
    let page = Arc::new(page);
    tail.keep(Arc::clone(&page));
    Ok(page)
}

/// Renders a page of about so many bytes, into a buffer that has room for so many from the start.
fn render(
    log: &Arc<dyn ReadLog>,
    mut reading: Reading,
    bytes_max: usize,
    from_start: usize,
    buffers_kept: usize,
) -> RenderedPage {
    let mut bytes = Vec::with_capacity(from_start);
    let page = reading.page_of(bytes_max, &**log, &mut bytes);
    reading.shrink(buffers_kept);
    (reading, bytes, page)
}
