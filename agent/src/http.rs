//! `GET /metrics` and `GET /healthz`: how a monitoring system asks after the agent.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use afferent_host::stop::Stop;
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CONTENT_TYPE};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::limits::{HTTP_CONNECTION_MS_MAX, HTTP_CONNECTIONS_MAX, HTTP_HEAD_BYTES_MAX, HTTP_HEAD_MS_MAX};
use crate::metrics::Registry;
use crate::supervise::Supervisor;

/// Whether events are becoming durable at the collector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    /// They are.
    Healthy,
    /// They are not. The reason includes the remedy.
    Unhealthy(String),
}

/// What is asked for the health.
pub type HealthProbe = Arc<dyn Fn() -> Health + Send + Sync>;

/// Answers on `listener` until the agent stops.
pub async fn serve(listener: TcpListener, registry: Registry, health: HealthProbe, mut stop: Stop) {
    let room = Arc::new(Semaphore::new(HTTP_CONNECTIONS_MAX));
    let supervisor = Supervisor::new(registry.clone());
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            () = stop.requested() => break,
            Some(_) = connections.join_next(), if !connections.is_empty() => continue,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) => {
                // One too many is closed without an answer.
                let Ok(permit) = room.clone().try_acquire_owned() else { continue };
                let (registry, health, supervisor) = (registry.clone(), health.clone(), supervisor.clone());
                connections.spawn(async move {
                    supervisor.once("http connection", connection(stream, registry, health)).await;
                    drop(permit);
                });
            }
            Err(error) => {
                let text = format!("cannot accept an HTTP connection: {error}; check `ulimit -n`");
                registry.troubles().happened("http connections", text);
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// Opens the address for [`serve`].
pub async fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
    TcpListener::bind(address).await
}

async fn connection(stream: TcpStream, registry: Registry, health: HealthProbe) {
    let service = hyper::service::service_fn(move |request: Request<Incoming>| {
        let response = respond(request.method(), request.uri().path(), &registry, &health);
        async move { Ok::<_, Infallible>(response) }
    });
    let served = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_millis(HTTP_HEAD_MS_MAX))
        .max_buf_size(HTTP_HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), service);
    let served = tokio::time::timeout(Duration::from_millis(HTTP_CONNECTION_MS_MAX), served).await;
    if let Ok(Err(error)) = served {
        tracing::debug!(%error, "an HTTP connection ended");
    }
}

fn respond(method: &Method, path: &str, registry: &Registry, health: &HealthProbe) -> Response<Full<Bytes>> {
    let answer = |status, kind, text: String| {
        let response = Response::builder().status(status).header(CONTENT_TYPE, kind);
        response.body(Full::new(Bytes::from(text))).expect("the parts are constants")
    };
    const PLAIN: &str = "text/plain; charset=utf-8";
    if !matches!(*method, Method::GET | Method::HEAD) {
        let mut refusal = answer(StatusCode::METHOD_NOT_ALLOWED, PLAIN, "only GET is supported\n".to_owned());
        refusal.headers_mut().insert(ALLOW, hyper::header::HeaderValue::from_static("GET, HEAD"));
        return refusal;
    }
    match path {
        "/metrics" => answer(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", registry.text()),
        "/healthz" => match health() {
            Health::Healthy => answer(StatusCode::OK, PLAIN, "healthy\n".to_owned()),
            Health::Unhealthy(why) => answer(StatusCode::SERVICE_UNAVAILABLE, PLAIN, format!("unhealthy: {why}\n")),
        },
        _ => answer(StatusCode::NOT_FOUND, PLAIN, "not found; the paths are /metrics and /healthz\n".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    async fn ask(address: SocketAddr, request: &str) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        // A refused request may be answered with a reset behind the answer.
        let _ = stream.read_to_string(&mut answer).await;
        answer
    }

    #[tokio::test]
    async fn metrics_and_health_are_answered_and_everything_else_is_refused() {
        let listener = listen("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let address = listener.local_addr().unwrap();
        let registry = Registry::default();
        registry.counter("lines_total", "Lines.", &[]).add(3);
        let (sender, stop) = afferent_host::stop::channel();
        let health: HealthProbe = Arc::new(|| Health::Unhealthy("no collector".to_owned()));
        let server = tokio::spawn(serve(listener, registry, health, stop));
        let get = |path: &str| format!("GET {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
        let metrics = ask(address, &get("/metrics")).await;
        assert!(metrics.starts_with("HTTP/1.1 200") && metrics.contains("\nlines_total 3\n"), "{metrics}");
        let health = ask(address, &get("/healthz")).await;
        assert!(health.starts_with("HTTP/1.1 503") && health.ends_with("unhealthy: no collector\n"), "{health}");
        assert!(ask(address, &get("/")).await.starts_with("HTTP/1.1 404"));
        let post = "POST /metrics HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
        assert!(ask(address, post).await.starts_with("HTTP/1.1 405"));
        let long = format!("GET /metrics HTTP/1.1\r\nx: {}\r\n\r\n", "x".repeat(10 * HTTP_HEAD_BYTES_MAX));
        assert!(!ask(address, &long).await.contains(" 200 "));
        sender.stop();
        server.await.unwrap();
    }
}
