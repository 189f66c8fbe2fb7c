//! HTTP on 7480: health, metrics and read-only JSON. One handler over hyper, with a bound for everything a peer decides.

mod guard;
mod routes;
pub(crate) mod tls;

pub(crate) use routes::RESOURCES;

use crate::config;
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::HeaderValue;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use prometheus::{IntCounter, IntCounterVec, IntGauge, Opts, Registry};
use routes::{Route, route};
use serde_json::{Value, json};
use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

/// What the server shows: a node, or in tests what stands for one.
pub(crate) trait Backend: Send + Sync + 'static {
    /// Whether the process works.
    fn live(&self) -> bool;
    /// Whether it should get traffic, and why not.
    fn ready(&self) -> Result<(), String>;
    /// Answers a request of client protocol 1, in JSON; `None` if the node cannot answer.
    fn call(&self, request: Vec<u8>) -> impl Future<Output = Option<Vec<u8>>> + Send;
}

/// An open connection ends after this long even if its peer keeps it busy, so that a peer that reads a byte now and then
/// cannot hold it for ever.
const CONNECTION_LIFETIME: Duration = Duration::from_secs(300);

/// The server's own metrics: name, kind and labels, help.
pub(crate) const METRICS: [(&str, &str, &str); 4] = [
    ("statemesh_http_requests_total", "counter, by `code`", "HTTP requests answered, by status code"),
    ("statemesh_http_connections", "gauge", "Open HTTP connections"),
    ("statemesh_http_connections_limit", "gauge", "HTTP connections that may be open: http.connections"),
    (
        "statemesh_refused_http_connections_total",
        "counter",
        "HTTP connections closed at once because http.connections were open",
    ),
];

struct Metrics {
    requests: IntCounterVec,
    open: IntGauge,
    refused: IntCounter,
}

impl Metrics {
    fn new(registry: &Registry, limits: &config::Http) -> Result<Metrics, prometheus::Error> {
        let [requests, open, limit, refused] = METRICS;
        let metrics = Metrics {
            requests: IntCounterVec::new(Opts::new(requests.0, requests.2), &["code"])?,
            open: IntGauge::new(open.0, open.2)?,
            refused: IntCounter::new(refused.0, refused.2)?,
        };
        let limit = IntGauge::new(limit.0, limit.2)?;
        limit.set(i64::try_from(limits.connections).unwrap_or(i64::MAX));
        registry.register(Box::new(metrics.requests.clone()))?;
        registry.register(Box::new(metrics.open.clone()))?;
        registry.register(Box::new(metrics.refused.clone()))?;
        registry.register(Box::new(limit))?;
        Ok(metrics)
    }
}

/// The server.
pub(crate) struct Server<B> {
    backend: B,
    registry: Registry,
    metrics: Metrics,
    limits: config::Http,
    tls: Option<TlsAcceptor>,
}

impl<B: Backend> Server<B> {
    /// A server that shows `backend` and the metrics in `registry`, to which it adds its own.
    pub(crate) fn new(backend: B, registry: Registry, limits: config::Http) -> Result<Server<B>, prometheus::Error> {
        Ok(Server { backend, metrics: Metrics::new(&registry, &limits)?, registry, limits, tls: None })
    }

    /// The same, with every connection encrypted.
    pub(crate) fn with_tls(self, tls: Option<TlsAcceptor>) -> Server<B> {
        Server { tls, ..self }
    }

    /// Serves until the task is dropped.
    pub(crate) async fn run(self, listener: TcpListener) {
        const PAUSE_AFTER_FAILED_ACCEPT: Duration = Duration::from_millis(100);
        let slots = Arc::new(Semaphore::new(self.limits.connections));
        let server = Arc::new(self);
        loop {
            let Ok((stream, from)) = listener.accept().await else {
                // Out of descriptors: the next accept fails at once too.
                tokio::time::sleep(PAUSE_AFTER_FAILED_ACCEPT).await;
                continue;
            };
            let Ok(slot) = Arc::clone(&slots).try_acquire_owned() else {
                server.metrics.refused.inc();
                continue;
            };
            let server = Arc::clone(&server);
            tokio::spawn(async move {
                server.metrics.open.inc();
                let _ = timeout(CONNECTION_LIFETIME, server.connection(stream, from.ip())).await;
                server.metrics.open.dec();
                drop(slot);
            });
        }
    }

    async fn connection(&self, stream: TcpStream, from: IpAddr) {
        let Some(tls) = &self.tls else { return self.serve(stream, from).await };
        match timeout(self.limits.timeout, tls.accept(stream)).await {
            Ok(Ok(stream)) => self.serve(stream, from).await,
            Ok(Err(error)) => tracing::debug!(%error, "TLS handshake failed"),
            Err(_) => tracing::debug!("TLS handshake took too long"),
        }
    }

    async fn serve(&self, stream: impl AsyncRead + AsyncWrite + Unpin, from: IpAddr) {
        let served = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(self.limits.timeout)
            .max_buf_size(self.limits.header_bytes)
            .serve_connection(TokioIo::new(stream), service_fn(|request| self.answer(request, from)))
            .await;
        if let Err(error) = served {
            tracing::debug!(%error, "HTTP connection ended");
        }
    }

    /// Answers a request. Its body, if it has one, is not read: hyper closes the connection then.
    async fn answer(&self, request: Request<Incoming>, from: IpAddr) -> Result<Response<Full<Bytes>>, Infallible> {
        let route = route(request.uri().path(), request.uri().query());
        let shown = request.headers().get("authorization").map(HeaderValue::as_bytes);
        if !guard::lets_through(route.as_ref(), from, shown, &self.limits.tokens) {
            let message = "show one of http.tokens: Authorization: Bearer TOKEN";
            let answer = Answer::error(StatusCode::UNAUTHORIZED, "unauthorized", message);
            self.metrics.requests.with_label_values(&[answer.status.as_str()]).inc();
            return Ok(answer.into_response());
        }
        let answer = timeout(self.limits.timeout, self.respond(request.method(), route)).await;
        let answer = answer
            .unwrap_or_else(|_| Answer::error(StatusCode::GATEWAY_TIMEOUT, "timeout", "no answer in time; try again"));
        self.metrics.requests.with_label_values(&[answer.status.as_str()]).inc();
        Ok(answer.into_response())
    }

    async fn respond(&self, method: &Method, route: Option<Route>) -> Answer {
        if !matches!(*method, Method::GET | Method::HEAD) {
            return Answer::error(
                StatusCode::METHOD_NOT_ALLOWED,
                "method_not_allowed",
                "this API is read-only: GET or HEAD",
            );
        }
        match route {
            Some(Route::Index) => Answer::new(StatusCode::OK, "text/html; charset=utf-8", routes::index()),
            Some(Route::Live) if self.backend.live() => Answer::text(StatusCode::OK, "live\n"),
            Some(Route::Live) => Answer::text(StatusCode::SERVICE_UNAVAILABLE, "not live\n"),
            Some(Route::Ready) => match self.backend.ready() {
                Ok(()) => Answer::text(StatusCode::OK, "ready\n"),
                Err(reason) => Answer::text(StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {reason}\n")),
            },
            Some(Route::Metrics) => self.gather(),
            Some(Route::Ask { request, field }) => self.ask(&request, field).await,
            None => Answer::error(StatusCode::NOT_FOUND, "not_found", "no such resource; / lists those there are"),
        }
    }

    fn gather(&self) -> Answer {
        match prometheus::TextEncoder::new().encode_to_string(&self.registry.gather()) {
            Ok(text) => Answer::new(StatusCode::OK, prometheus::TEXT_FORMAT, text),
            Err(error) => Answer::error(StatusCode::INTERNAL_SERVER_ERROR, "metrics", &error.to_string()),
        }
    }

    async fn ask(&self, request: &Value, field: Option<&str>) -> Answer {
        let reply = self.backend.call(request.to_string().into_bytes()).await;
        let Some(mut reply) = reply.and_then(|bytes| serde_json::from_slice::<Value>(&bytes).ok()) else {
            return Answer::error(
                StatusCode::SERVICE_UNAVAILABLE,
                "unavailable",
                "the node does not answer; try again",
            );
        };
        if reply["ok"] != json!(true) {
            let code = reply["error"]["code"].as_str().unwrap_or_default();
            return Answer::json(status_of(code), &json!({"error": reply["error"]}));
        }
        if let Some(map) = reply.as_object_mut() {
            map.shift_remove("ok");
            map.shift_remove("id");
        }
        Answer::json(StatusCode::OK, field.map_or(&reply, |field| &reply[field]))
    }
}

/// The status of an error reply, by its stable code (docs/reference/protocol.md).
fn status_of(code: &str) -> StatusCode {
    match code {
        "unknown_machine" | "unknown_instance" => StatusCode::NOT_FOUND,
        "bad_request" | "missing_field" | "wrong_type" | "key_too_long" => StatusCode::BAD_REQUEST,
        "timeout" => StatusCode::GATEWAY_TIMEOUT,
        "internal" => StatusCode::INTERNAL_SERVER_ERROR,
        _ => StatusCode::SERVICE_UNAVAILABLE,
    }
}

/// An answer before it is hyper's.
struct Answer {
    status: StatusCode,
    content_type: &'static str,
    body: Bytes,
}

impl Answer {
    fn new(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Answer {
        Answer { status, content_type, body: body.into() }
    }

    fn text(status: StatusCode, body: impl Into<Bytes>) -> Answer {
        Answer::new(status, "text/plain; charset=utf-8", body)
    }

    fn json(status: StatusCode, value: &Value) -> Answer {
        Answer::new(status, "application/json", format!("{value}\n"))
    }

    fn error(status: StatusCode, code: &str, message: &str) -> Answer {
        Answer::json(status, &json!({"error": {"code": code, "message": message}}))
    }

    fn into_response(self) -> Response<Full<Bytes>> {
        let mut response = Response::new(Full::new(self.body));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert("content-type", HeaderValue::from_static(self.content_type));
        headers.insert("cache-control", HeaderValue::from_static("no-store"));
        headers.insert("x-content-type-options", HeaderValue::from_static("nosniff"));
        if self.status == StatusCode::METHOD_NOT_ALLOWED {
            headers.insert("allow", HeaderValue::from_static("GET, HEAD"));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert("www-authenticate", HeaderValue::from_static("Bearer"));
        }
        response
    }
}

#[cfg(test)]
mod tests;
