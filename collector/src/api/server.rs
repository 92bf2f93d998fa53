//! HTTP/1.1 connections: how many, and how long they may do nothing.

use std::io::Write;
use std::sync::Arc;

use axum::Router;
use axum::http::StatusCode;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_io_timeout::TimeoutStream;

use super::problem::Problem;
use crate::limits::{HTTP_HEAD_BYTES_MAX, HTTP_HEAD_TIME, HTTP_STALL_TIME};
use crate::seldom::Seldom;
use crate::shutdown::Stopping;

/// Serves `router` on `listener` to so many connections at a time until `stopping` says so; then they have a moment to end.
pub(super) async fn serve(listener: TcpListener, router: Router, connections_max: usize, mut stopping: Stopping) {
    let places = Arc::new(Semaphore::new(connections_max));
    let mut connections = JoinSet::new();
    let mut refusing = Seldom::default();
    loop {
        let accepted = tokio::select! {
            () = stopping.wait() => break,
            Some(ended) = connections.join_next() => {
                note_panic(ended);
                continue;
            }
            accepted = listener.accept() => accepted,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                if let Some(before) = refusing.due(std::time::Instant::now()) {
                    tracing::warn!(%error, before, "no HTTP connection can be accepted; trying again in a moment");
                }
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                continue;
            }
        };
        match Arc::clone(&places).try_acquire_owned() {
            Ok(place) => {
                let connection = connection(stream, router.clone(), stopping.clone());
                connections.spawn(async move {
                    connection.await;
                    drop(place);
                });
            }
            Err(_) => refuse(stream, connections_max),
        }
    }
    drop(listener);
    // How long this may take is up to who stops us.
    while let Some(ended) = connections.join_next().await {
        note_panic(ended);
    }
}

/// A request that panicked is a bug; the others go on.
fn note_panic(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        tracing::error!(%error, "the task of an HTTP connection ended in a panic; report this");
    }
}

async fn connection(stream: TcpStream, router: Router, mut stopping: Stopping) {
    let _ = stream.set_nodelay(true);
    let mut stream = TimeoutStream::new(stream);
    // A client that takes nothing is let go. One that says nothing is waited for: it may be reading a stream.
    stream.set_write_timeout(Some(HTTP_STALL_TIME));
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HTTP_HEAD_TIME)
        .max_buf_size(HTTP_HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(Box::pin(stream)), TowerToHyperService::new(router));
    let mut serving = std::pin::pin!(serving);
    let outcome = tokio::select! {
        outcome = serving.as_mut() => Some(outcome),
        () = stopping.wait() => None,
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

/// Says 503 as far as the socket's buffer takes it, and hangs up: whoever is too many costs no task.
fn refuse(stream: TcpStream, connections_max: usize) {
    let detail = format!("{connections_max} HTTP connections are open, and no more are taken");
    let problem =
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail, "close some of them, or ask again later").json();
    let head = format!(
        "HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/problem+json\r\ncontent-length: {}\r\n\
         retry-after: 5\r\nconnection: close\r\n\r\n",
        problem.len()
    );
    // The runtime does not know yet that a socket which is so new can be written; the system does.
    if let Ok(mut stream) = stream.into_std() {
        let _ = stream.write(&[head.as_bytes(), &problem].concat());
    }
}

#[cfg(test)]
mod tests {
    use axum::routing::get;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;
    use crate::shutdown::stop_switch;

    const CONNECTIONS: usize = 3;

    #[tokio::test]
    async fn who_is_one_too_many_is_told_so_and_who_was_there_goes_on() {
        let (switch, stopping) = stop_switch();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        // No answer before it is allowed: a connection that is waiting for one is in use, however long that takes.
        let allowed = Arc::new(Semaphore::new(0));
        let answer = {
            let allowed = Arc::clone(&allowed);
            async move || allowed.acquire().await.map(|_| "answered").unwrap_or("closed")
        };
        let router = Router::new().route("/", get(answer));
        let served = tokio::spawn(serve(listener, router, CONNECTIONS, stopping));

        let mut asked = Vec::new();
        for _ in 0..CONNECTIONS {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.unwrap();
            asked.push(stream);
        }
        let refusal = said(TcpStream::connect(address).await.unwrap()).await;
        assert!(refusal.starts_with("HTTP/1.1 503 ") && refusal.contains("problem+json"), "{refusal}");

        allowed.add_permits(CONNECTIONS);
        for stream in asked {
            let answer = said(stream).await;
            assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("answered"), "{answer}");
        }
        switch.stop();
        served.await.unwrap();
    }

    async fn said(mut stream: TcpStream) -> String {
        let mut text = String::new();
        stream.read_to_string(&mut text).await.unwrap();
        text
    }
}
