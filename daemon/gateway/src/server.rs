//! The listener: one handler over hyper, with a bound for everything a peer decides.

use crate::answer::{Answer, Code};
use crate::asking::{self, Question};
use crate::backend::Backend;
use crate::guard;
use crate::metrics::Metrics;
use crate::patience::Patient;
use crate::places::Kind;
use crate::room::Room;
use crate::routes::{self, Route, route};
use crate::seat::{Seat, Seats};
use crate::settings::Settings;
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::HeaderValue;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use prometheus::Registry;
use statemesh_node::{CallError, Readiness};
use statemesh_protocol::error::ErrorCode;
use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

/// An open connection ends after this long even if its peer keeps it busy, so that a peer that reads a byte now and then
/// cannot hold it for ever.
const CONNECTION_LIFETIME: Duration = Duration::from_secs(300);
/// The same in a place for probes: a handshake, a head and an answer of one line.
const PROBE_LIFETIME: Duration = Duration::from_secs(3);
/// For the head of a probe's request, and for its handshake.
const PROBE_TIMEOUT: Duration = Duration::from_secs(1);

/// Connections that the kernel keeps until they are accepted; it keeps no more than `net.core.somaxconn`, which is as many by default.
/// A connection that comes when that many wait is not answered at all, and tries again a second later: too late for a probe. It is 128 by
/// default, which a single guest can have waiting.
const BACKLOG: u32 = 4_096;

/// A listener for [`Server::run`], of the event loop in which this is called.
///
/// # Errors
/// The address is taken, is none of this machine's, or is not for us.
pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // As `TcpListener::bind` does: those who were connected before a restart do not keep the port.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// The server.
pub struct Server<B> {
    backend: B,
    registry: Registry,
    metrics: Metrics,
    settings: Settings,
    seats: Arc<Seats>,
    room: Room,
    tls: Option<TlsAcceptor>,
}

impl<B: Backend> Server<B> {
    /// A server that shows `backend` and the metrics in `registry`, to which it adds its own.
    ///
    /// # Errors
    /// The registry has metrics of these names already.
    pub fn new(backend: B, registry: Registry, settings: Settings) -> Result<Server<B>, prometheus::Error> {
        let metrics = Metrics::new(&registry, &settings)?;
        let seats = Seats::new(settings.connections, settings.probe_connections, metrics.clone());
        let room = Room::new(settings.unsent_bytes, settings.output_bytes);
        Ok(Server { backend, registry, metrics, settings, seats, room, tls: None })
    }

    /// The same, with every connection encrypted.
    #[must_use]
    pub fn with_tls(self, tls: Option<TlsAcceptor>) -> Server<B> {
        Server { tls, ..self }
    }

    /// Serves until the task is dropped.
    pub async fn run(self, listener: TcpListener) {
        let server = Arc::new(self);
        loop {
            server.seats.has_place().await;
            let Ok((stream, from)) = listener.accept().await else {
                // Out of descriptors: the next accept fails too, unless a connection that asks nothing is closed.
                server.seats.make_room().await;
                continue;
            };
            if let Some(seat) = server.seats.take() {
                let server = Arc::clone(&server);
                tokio::spawn(async move { server.seated(stream, from.ip(), &seat).await });
            }
            // The new connection has a turn, and what it has sent is read, before others come in for which it would have to make room. (This
            // goes on when nothing else is to be done, and the sockets have been looked at.)
            tokio::task::yield_now().await;
        }
    }

    /// Serves a connection until it ends, has lived for too long, or loses its place.
    async fn seated(&self, stream: TcpStream, from: IpAddr, seat: &Seat) {
        let lifetime = match seat.kind() {
            Kind::Guest => CONNECTION_LIFETIME,
            Kind::Probe => PROBE_LIFETIME,
        };
        tokio::select! {
            () = seat.is_lost() => {}
            _ = timeout(lifetime, self.connection(stream, from, seat)) => {}
        }
    }

    /// How long a peer in such a place may take over anything.
    fn patience(&self, seat: &Seat) -> Duration {
        match seat.kind() {
            Kind::Guest => self.settings.timeout,
            Kind::Probe => self.settings.timeout.min(PROBE_TIMEOUT),
        }
    }

    async fn connection(&self, stream: TcpStream, from: IpAddr, seat: &Seat) {
        let patience = self.patience(seat);
        let Some(tls) = &self.tls else { return self.serve(stream, from, seat).await };
        match timeout(patience, tls.accept(stream)).await {
            Ok(Ok(stream)) => self.serve(stream, from, seat).await,
            Ok(Err(error)) => tracing::debug!(%error, "TLS handshake failed"),
            Err(_) => tracing::debug!("TLS handshake took too long"),
        }
    }

    async fn serve(&self, stream: impl AsyncRead + AsyncWrite + Unpin, from: IpAddr, seat: &Seat) {
        let patience = self.patience(seat);
        let served = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(patience)
            .keep_alive(seat.kind() == Kind::Guest)
            .max_buf_size(self.settings.header_bytes)
            .serve_connection(
                TokioIo::new(Patient::new(stream, patience)),
                service_fn(|request| self.answer(request, from, seat)),
            )
            .await;
        if let Err(error) = served {
            tracing::debug!(%error, "HTTP connection ended");
        }
    }

    /// Answers a request. Its body, if it has one, is not read: hyper closes the connection then.
    async fn answer(
        &self,
        request: Request<Incoming>,
        from: IpAddr,
        seat: &Seat,
    ) -> Result<Response<Full<Bytes>>, Infallible> {
        let _asking = seat.asks();
        let route = route(request.uri().path(), request.uri().query(), self.settings.wait);
        let shown = request.headers().get("authorization").map(HeaderValue::as_bytes);
        let answer = match self.objection(route.as_ref(), from, shown, seat.kind()) {
            Some(objection) => objection,
            None => self.in_time(request.method(), route).await,
        };
        self.metrics.requests.with_label_values(&[answer.status.as_str()]).inc();
        Ok(answer.into_response())
    }

    /// Why this is not answered here.
    fn objection(&self, route: Option<&Route>, from: IpAddr, shown: Option<&[u8]>, kind: Kind) -> Option<Answer> {
        if kind == Kind::Probe && !matches!(route, Some(Route::Live | Route::Ready)) {
            let message = "all of http.connections wait for answers; beyond them only /health is answered";
            return Some(Answer::error(ErrorCode::LimitExceeded, message, "ask again in a moment"));
        }
        (!guard::lets_through(route, from, shown, &self.settings.tokens)).then(|| {
            let (message, hint) = guard::lacking(&self.settings.tokens);
            Answer::error(Code::Unauthorized, message, hint)
        })
    }

    async fn in_time(&self, method: &Method, route: Option<Route>) -> Answer {
        let answer = timeout(self.settings.timeout, self.respond(method, route)).await;
        answer.unwrap_or_else(|_| Answer::error(ErrorCode::Timeout, "no answer in time", "ask again"))
    }

    async fn respond(&self, method: &Method, route: Option<Route>) -> Answer {
        if !matches!(*method, Method::GET | Method::HEAD) {
            let message = "this API is read-only";
            return Answer::error(
                Code::MethodNotAllowed,
                message,
                "ask with GET or HEAD; what changes something goes over ZeroMQ",
            );
        }
        match route {
            Some(Route::Index) => Answer::new(StatusCode::OK, "text/html; charset=utf-8", routes::index()),
            Some(Route::Live) => live(&self.backend.readiness()),
            Some(Route::Ready) => ready(&self.backend.readiness()),
            Some(Route::Metrics) => self.gather(),
            Some(Route::Ask(question)) => self.ask(question).await,
            Some(Route::Wrong(error)) => {
                Answer::error(ErrorCode::BadRequest, &error.to_string(), "/ lists what may be asked")
            }
            None => Answer::error(Code::NotFound, "no such resource", "/ lists those there are"),
        }
    }

    fn gather(&self) -> Answer {
        self.metrics.unsent.set(i64::try_from(self.room.taken()).unwrap_or(i64::MAX));
        match prometheus::TextEncoder::new().encode_to_string(&self.registry.gather()) {
            Ok(text) => Answer::new(StatusCode::OK, prometheus::TEXT_FORMAT, text),
            Err(error) => Answer::error(ErrorCode::Internal, &error.to_string(), asking::REPORT),
        }
    }

    async fn ask(&self, Question { request, field, waits }: Question) -> Answer {
        // Asked for by those that wait alone: one that does not would keep it from them for a moment.
        let place = if waits { self.room.to_wait() } else { None };
        if waits && place.is_none() {
            return asking::crowded();
        }
        let room = if waits { self.room.for_waiting().await } else { self.room.for_one().await };
        // Nothing closes the room before the server ends.
        let Some(room) = room else { return asking::unanswered(&CallError::Ending) };
        match self.backend.call(request).await {
            Ok(reply) => asking::answer(&reply, field, waits, room),
            Err(error) => asking::unanswered(&error),
        }
    }
}

fn live(readiness: &Readiness) -> Answer {
    match readiness.live {
        true => Answer::text(StatusCode::OK, "live\n"),
        false => Answer::text(StatusCode::SERVICE_UNAVAILABLE, format!("not live: {}\n", readiness.reason)),
    }
}

fn ready(readiness: &Readiness) -> Answer {
    match readiness.ready {
        true => Answer::text(StatusCode::OK, "ready\n"),
        false => Answer::text(StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {}\n", readiness.reason)),
    }
}
