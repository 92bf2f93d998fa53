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
use crate::limits::{HTTP_CONNECTIONS_MAX, HTTP_HEAD_BYTES_MAX, HTTP_HEAD_TIME, HTTP_STALL_TIME};
use crate::shutdown::Stopping;

/// Serves `router` on `listener` until `stopping` says so; then connections have a moment to end.
pub(super) async fn serve(listener: TcpListener, router: Router, mut stopping: Stopping) {
    let places = Arc::new(Semaphore::new(HTTP_CONNECTIONS_MAX));
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            () = stopping.wait() => break,
            Some(_) = connections.join_next() => continue,
            accepted = listener.accept() => accepted,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "no HTTP connection can be accepted; trying again in a moment");
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
            Err(_) => refuse(stream),
        }
    }
    drop(listener);
    // How long this may take is up to who stops us.
    while connections.join_next().await.is_some() {}
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
fn refuse(stream: TcpStream) {
    let detail = format!("{HTTP_CONNECTIONS_MAX} HTTP connections are open, and no more are taken");
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
