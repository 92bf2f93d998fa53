//! HTTP/1.1 connections: how many, and how long they may do nothing.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use afferent_host::stop::Stop;
use axum::Router;
use axum::extract::Request;
use axum::response::Response;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::Service;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_io_timeout::TimeoutStream;

use super::budget::reserve::{HasAsked, Reserve};
use super::budget::{Budgets, Client, ClientAddress};
use crate::limits::{HTTP_HEAD_BYTES_MAX, HTTP_HEAD_TIME, HTTP_RESERVE_TIME, HTTP_STALL_TIME};
use crate::seldom::Seldom;

/// Serves `router` on `listener` until `stopping` says so; then connections have a moment to end. Whose share of
/// connections is used up, or when all are, gets one of the reserve.
pub(super) async fn serve(listener: TcpListener, router: Router, budgets: Arc<Budgets>, mut stopping: Stop) {
    let mut reserve = Reserve::new(budgets.reserve);
    let mut connections = JoinSet::new();
    let mut refusing = Seldom::default();
    loop {
        let accepted = tokio::select! {
            () = stopping.requested() => break,
            Some(ended) = connections.join_next() => {
                note_panic(ended);
                continue;
            }
            accepted = listener.accept() => accepted,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                if let Some(before) = refusing.due(std::time::Instant::now()) {
                    tracing::warn!(%error, before, "cannot accept HTTP connections; retrying");
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let (router, stopping, local) = (router.clone(), stopping.clone(), stream.local_addr().ok());
        match budgets.connections.take(ClientAddress::of(peer.ip()), 1) {
            Ok(share) => {
                let asked =
                    ConnectionService::new(router, Client { peer, local, is_beyond: None }, HasAsked::default());
                connections.spawn(async move {
                    connection(stream, asked, HTTP_HEAD_TIME, stopping).await;
                    drop(share);
                });
            }
            Err(full) => reserve.admit(|has_asked| {
                let asked = ConnectionService::new(router, Client { peer, local, is_beyond: Some(full) }, has_asked);
                let connection = connection(stream, asked, HTTP_RESERVE_TIME, stopping);
                connections.spawn(async {
                    // A client that reads an answer more slowly gives its connection to others.
                    let _ = timeout(2 * HTTP_RESERVE_TIME, connection).await;
                })
            }),
        }
    }
    drop(listener);
    // The caller bounds how long this takes.
    while let Some(ended) = connections.join_next().await {
        note_panic(ended);
    }
}

/// A request that panicked is a bug; the others go on.
fn note_panic(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        tracing::error!(%error, "the task of an HTTP connection panicked; report this");
    }
}

/// The router for the requests of one connection, each of which carries its client.
struct ConnectionService {
    router: TowerToHyperService<Router>,
    client: Client,
    has_asked: HasAsked,
}

impl ConnectionService {
    fn new(router: Router, client: Client, has_asked: HasAsked) -> Self {
        Self { router: TowerToHyperService::new(router), client, has_asked }
    }
}

impl Service<Request<Incoming>> for ConnectionService {
    type Response = Response;
    type Error = Infallible;
    type Future = <TowerToHyperService<Router> as Service<Request<Incoming>>>::Future;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        self.has_asked.store(true, Ordering::Relaxed);
        request.extensions_mut().insert(self.client.clone());
        self.router.call(request)
    }
}

async fn connection(stream: TcpStream, asked: ConnectionService, head_time: Duration, mut stopping: Stop) {
    let _ = stream.set_nodelay(true);
    let mut stream = TimeoutStream::new(stream);
    // A client that does not read is disconnected. A silent one is not: it may be reading a stream.
    stream.set_write_timeout(Some(HTTP_STALL_TIME));
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(head_time)
        .max_buf_size(HTTP_HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(Box::pin(stream)), asked);
    let mut serving = std::pin::pin!(serving);
    let outcome = tokio::select! {
        outcome = serving.as_mut() => Some(outcome),
        () = stopping.requested() => None,
    };
    let outcome = match outcome {
        Some(outcome) => outcome,
        None => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    };
    if let Err(error) = outcome {
        tracing::debug!(%error, "an HTTP connection ended early");
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use axum::routing::get;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::sync::Semaphore;

    use super::*;
    use crate::intake::Health;
    use afferent_host::stop::{self, StopSender};

    /// One of them is in the reserve; of the others one client has three quarters.
    const CONNECTIONS: usize = 9;
    const OF_ONE: usize = 6;

    struct Served {
        address: SocketAddr,
        allowed: Arc<Semaphore>,
        health: Arc<Health>,
        switch: StopSender,
        served: tokio::task::JoinHandle<()>,
    }

    impl Served {
        /// `/` is answered when that is allowed, `/healthz` always.
        async fn new() -> Self {
            let (switch, stopping) = stop::channel();
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let (allowed, health) = (Arc::new(Semaphore::new(0)), Arc::new(Health::default()));
            let answer = {
                let allowed = Arc::clone(&allowed);
                async move || allowed.acquire().await.map(|_| "answered").unwrap_or("closed")
            };
            let budgets = Arc::new(Budgets::new(CONNECTIONS, Arc::clone(&health)));
            let keep = axum::middleware::from_fn_with_state(Arc::clone(&budgets), crate::api::budget::reserve::keep);
            let router = Router::new().route("/", get(answer)).route("/healthz", get("well")).layer(keep);
            let served = tokio::spawn(serve(listener, router, budgets, stopping));
            Self { address, allowed, health, switch, served }
        }

        async fn asks(&self, path: &str) -> TcpStream {
            let mut stream = TcpStream::connect(self.address).await.unwrap();
            let head = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
            stream.write_all(head.as_bytes()).await.unwrap();
            stream
        }
    }

    async fn said(mut stream: TcpStream) -> String {
        let mut text = String::new();
        stream.read_to_string(&mut text).await.unwrap();
        text
    }

    #[tokio::test]
    async fn a_client_without_a_share_left_is_refused_with_a_reason_and_health_is_still_answered() {
        let served = Served::new().await;
        let mut asked = Vec::new();
        for _ in 0..OF_ONE {
            asked.push(served.asks("/").await);
        }
        let refusal = said(served.asks("/").await).await;
        assert!(refusal.starts_with("HTTP/1.1 429 ") && refusal.contains("problem+json"), "{refusal}");
        for word in ["retry-after: 5", "connection: close", "your address has 6 connections"] {
            assert!(refusal.contains(word), "{word}: {refusal}");
        }
        assert!(said(served.asks("/healthz").await).await.ends_with("well"));
        assert_eq!(served.health.refused.counts()[&crate::refused::RefusalKind::HttpConnections], 1);

        served.allowed.add_permits(OF_ONE);
        for stream in asked {
            let answer = said(stream).await;
            assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("answered"), "{answer}");
        }
        served.allowed.add_permits(1);
        let answer = said(served.asks("/").await).await;
        assert!(answer.ends_with("answered"), "there is a share again: {answer}");
        served.switch.stop();
        served.served.await.unwrap();
    }

    #[tokio::test]
    async fn connections_that_say_nothing_do_not_keep_health_from_being_answered() {
        let served = Served::new().await;
        let mut silent = Vec::new();
        for _ in 0..5 * CONNECTIONS {
            silent.push(TcpStream::connect(served.address).await.unwrap());
            assert!(said(served.asks("/healthz").await).await.ends_with("well"), "after {}", silent.len());
        }
    }
}
