//! `statemesh daemon`: configuration, log, node, HTTP; then it waits to be told to end. Nothing else here uses the node.

use crate::config::Config;
use crate::descriptors::{self, Descriptors};
use crate::diagnostic::out_of_namesakes;
use crate::failure::{Exit, Failure, INTERRUPTED};
use crate::key_files;
use crate::logs;
use crate::up::ports::{self, Transport};
use statemesh_gateway as gateway;
use statemesh_node::options::Listen;
use statemesh_node::{Handle, LoadError, Node, StartError};
use std::fmt;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinHandle;

/// Threads for everything but the reactors, and as many more for HTTP: a guest that asks for much there must not
/// hold up gossip, nor one guest's answer a probe's.
const WORKER_THREADS: usize = 2;
/// What is left to do after the goodbye must not keep the process.
const SHUTDOWN: Duration = Duration::from_secs(2);
/// A signal that comes so soon after the one before it is the same wish, told twice: who ends a group of processes reaches the daemon by the
/// group and again by the program that started it, and a terminal's Ctrl-C does the same.
const SAME_WISH: Duration = Duration::from_secs(1);
/// What is left of `leave_timeout` for the goodbye and the report.
const GOODBYE: Duration = Duration::from_secs(1);

/// Runs a daemon until it is told to end. `with_parent`: it also ends, at once, when its stdin is closed.
pub(crate) fn daemon(config: &Config, with_parent: bool) -> Result<(), Failure> {
    let mut told = config.daemon()?;
    must_be_there(&told.node.machines)?;
    let over_http = told.http.connections.saturating_add(told.http.probe_connections);
    // Links are opened both ways.
    let of_the_house = told.node.limits.links.saturating_mul(2).saturating_add(over_http);
    let descriptors = descriptors::provide(told.node.limits.connections.saturating_add(of_the_house));
    logs::start(&told.logs, &told.node.name)?;
    let tls_key = told.tls.as_ref().map(|files| &files.key);
    key_files::warn_of_open(told.followed.secret().chain(tls_key).map(PathBuf::as_path));
    told.followed.clients.iter().for_each(|path| key_files::warn_of_writable(path));
    make_do(&mut told.node.limits.connections, &mut told.http, descriptors);
    let (runtime, for_http) = (event_loop("statemesh-io")?, event_loop("statemesh-http")?);
    let (handle, http) = (runtime.handle().clone(), for_http.handle().clone());
    let ended = runtime.block_on(async move {
        let name = told.node.name.clone();
        let tls = told.tls.as_ref().map(acceptor).transpose()?;
        let listener = bound(http.spawn(bind_http(told.node.listen.http))).await?;
        let mut options = told.node;
        options.listen.http = listener.local_addr().unwrap_or(options.listen.http);
        let listen = options.listen;
        let mut signals = Signals::new()?;
        let registry = prometheus::Registry::new();
        let node =
            Node::start(options, registry.clone(), handle).map_err(|error| cannot_start(&name, &listen, error))?;
        let server = gateway::Server::new(node.handle(), registry, told.http)
            .map_err(|error| Failure::new(Exit::Start, "metrics", format!("metrics: {error}")))?
            .with_tls(tls);
        let serving = http.spawn(server.run(listener));
        let following = tokio::spawn(key_files::follow(told.followed, node.handle()));
        say_hello(&node.handle());
        let why = signals.first(with_parent, &node.handle()).await;
        tracing::info!(%why, "ending");
        let ended = match why {
            Why::Told => {
                leave(node, told.leave_timeout, signals).await;
                Ok(())
            }
            Why::ParentEnded => {
                node.stop();
                Ok(())
            }
            Why::Failed(reason) => {
                node.stop();
                Err(Failure::new(Exit::Start, "failed", format!("{name}: {reason}")))
            }
        };
        serving.abort();
        following.abort();
        ended
    });
    for_http.shutdown_background();
    runtime.shutdown_timeout(SHUTDOWN);
    ended
}

/// Fewer connections are let in where there are fewer descriptors than all of them need.
fn make_do(connections: &mut usize, http: &mut gateway::Settings, descriptors: Descriptors) {
    let Descriptors { allowed, needed } = descriptors;
    if allowed >= needed {
        return;
    }
    *connections = descriptors.for_clients(*connections);
    (http.connections, http.probe_connections) = descriptors.for_http(http.connections, http.probe_connections);
    tracing::warn!(
        allowed,
        needed,
        connections = *connections,
        http_connections = http.connections,
        "fewer file descriptors than limits.connections and limits.links need, so fewer connections are let in: raise the limit (ulimit -n)"
    );
}

/// Files that cannot be read are told by their setting, as those of keys are, before anything has begun.
fn must_be_there(machines: &[PathBuf]) -> Result<(), Failure> {
    let unreadable = |path: &PathBuf| {
        let read = if path.is_dir() { std::fs::read_dir(path).map(drop) } else { std::fs::File::open(path).map(drop) };
        Some((path.clone(), read.err()?))
    };
    let Some((path, error)) = machines.iter().find_map(unreadable) else { return Ok(()) };
    let message = format!("machines: {}: {error}", path.display());
    Err(Failure::new(Exit::File, "file", message)
        .hint("--machines, STATEMESH_MACHINES or the file name definitions, or folders of *.json"))
}

fn event_loop(name: &str) -> Result<Runtime, Failure> {
    let built = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKER_THREADS)
        .thread_name(name)
        .enable_all()
        .build();
    built.map_err(|error| Failure::new(Exit::Start, "runtime", format!("no event loop: {error}")))
}

/// The listener of HTTP, which belongs to the event loop that binds it.
async fn bound(binding: JoinHandle<Result<TcpListener, Failure>>) -> Result<TcpListener, Failure> {
    binding.await.map_err(|error| Failure::new(Exit::Start, "cannot_listen", format!("listen.http: {error}")))?
}

fn acceptor(files: &gateway::tls::Files) -> Result<gateway::tls::TlsAcceptor, Failure> {
    gateway::tls::acceptor(files).map_err(|error| Failure::new(Exit::Usage, "bad_certificate", error.to_string()))
}

async fn bind_http(address: SocketAddr) -> Result<TcpListener, Failure> {
    gateway::listen(address).map_err(|error| cannot_listen(address, "listen.http", &error))
}

/// Says which port, who has it, and what to do.
pub(crate) fn cannot_listen(address: SocketAddr, setting: &str, error: &std::io::Error) -> Failure {
    let transport = if setting.ends_with("gossip") { Transport::Udp } else { Transport::Tcp };
    let in_use = error.kind() == ErrorKind::AddrInUse;
    let holder = in_use.then(|| ports::holder(transport, address)).flatten();
    let by = holder.map(|who| format!(" by {who}")).unwrap_or_default();
    let what = if in_use { format!("{address} is in use{by}") } else { format!("{address}: {error}") };
    let flag = setting.replace(['.', '_'], "-");
    let failure = Failure::new(Exit::Start, "cannot_listen", format!("{setting}: {what}"));
    match error.kind() {
        ErrorKind::AddrInUse => {
            failure.hint(format!("end that process, or choose another port: --{flag} PORT (0 takes any free one)"))
        }
        ErrorKind::AddrNotAvailable => failure.hint(
            "this machine has no such address: --listen-address takes one of its own (ip address shows them), or 0.0.0.0 for all",
        ),
        ErrorKind::PermissionDenied => {
            failure.hint(format!("ports below 1024 are for root: choose another one: --{flag} PORT"))
        }
        _ => failure.hint(format!("choose another address or port: --{flag} IP:PORT")),
    }
}

fn say_hello(handle: &Handle) {
    let at = handle.addresses();
    tracing::info!(
        clients = %at.clients, changes = %at.changes, peers = %at.peers, gossip = %at.gossip, http = %at.http,
        version = env!("CARGO_PKG_VERSION"), "listening"
    );
}

/// Says which port, and who has it, if that is why.
fn cannot_start(name: &str, listen: &Listen, error: StartError) -> Failure {
    match error {
        StartError::Listen { address, source, .. } => cannot_listen(address, setting_of(listen, address), &source),
        StartError::Definition { source: LoadError::Namesake { ref id, .. }, .. } => {
            Failure::new(Exit::Start, error.code(), format!("machines: {error}")).hint(out_of_namesakes(id))
        }
        StartError::Definition { .. } | StartError::Durability(_) => {
            Failure::new(Exit::Start, error.code(), format!("machines: {error}"))
                .hint("statemesh check shows the place; --machines, STATEMESH_MACHINES or the file name definitions")
        }
        other => Failure::new(Exit::Start, other.code(), format!("{name}: {other}")),
    }
}

/// The setting that an address comes from.
fn setting_of(listen: &Listen, address: SocketAddr) -> &'static str {
    let settings = [
        (listen.clients, "listen.clients"),
        (listen.changes, "listen.changes"),
        (listen.peers, "listen.peers"),
        (listen.gossip, "listen.gossip"),
    ];
    let found = settings.iter().find(|(at, _)| *at == address);
    found.map_or("listen.address", |(_, setting)| setting)
}

/// Hands off what the node has, for at most `limit`; a signal after [`SAME_WISH`] ends the process at once.
async fn leave(node: Node, limit: Duration, mut signals: Signals) {
    let told = Instant::now();
    tokio::spawn(async move {
        signals.next_after(told + SAME_WISH).await;
        tracing::warn!("told to end again: ending at once");
        logs::flush();
        std::process::exit(INTERRUPTED);
    });
    let node = Arc::new(node);
    let leaving = Arc::clone(&node);
    let left = tokio::task::spawn_blocking(move || leaving.leave(patience_within(limit)));
    match tokio::time::timeout(limit, left).await {
        Ok(Ok(report)) if report.left_behind == 0 => {
            tracing::info!(moved_instances = report.moved_instances, on_volume = report.on_volume, "left");
        }
        Ok(Ok(report)) => tracing::warn!(
            moved_instances = report.moved_instances,
            left_behind = report.left_behind,
            on_volume = report.on_volume,
            "left, but not every instance could be handed off"
        ),
        Ok(Err(error)) => tracing::error!(%error, "leaving failed"),
        Err(_) => tracing::warn!(?limit, "leaving takes too long: ending all the same"),
    }
    if let Some(node) = Arc::into_inner(node) {
        node.stop();
    }
}

/// For how long instances are handed off if the daemon is to have left within `limit`, goodbye included.
fn patience_within(limit: Duration) -> Duration {
    limit - GOODBYE.min(limit / 2)
}

/// Why a daemon ends.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Why {
    Told,
    ParentEnded,
    Failed(String),
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Why::Told => f.write_str("a signal"),
            Why::ParentEnded => f.write_str("statemesh up ended"),
            Why::Failed(reason) => f.write_str(reason),
        }
    }
}

/// SIGTERM and SIGINT.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> Result<Signals, Failure> {
        let failed = |error: std::io::Error| Failure::new(Exit::Start, "signals", format!("signals: {error}"));
        let terminate = signal(SignalKind::terminate()).map_err(failed)?;
        let interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
        Ok(Signals { terminate, interrupt })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }

    /// The next one that does not come before `earliest`.
    async fn next_after(&mut self, earliest: Instant) {
        self.next().await;
        while Instant::now() < earliest {
            tracing::info!(
                "told to end twice within {SAME_WISH:?}, which counts once: leaving goes on; another signal later ends at once"
            );
            self.next().await;
        }
    }

    async fn first(&mut self, with_parent: bool, handle: &Handle) -> Why {
        tokio::select! {
            () = self.next() => Why::Told,
            () = stdin_closed(), if with_parent => Why::ParentEnded,
            reason = handle.failed() => Why::Failed(reason),
        }
    }
}

/// Ends when stdin does. A thread reads it, since a read from a pipe cannot be cancelled; the thread dies with the process.
async fn stdin_closed() {
    let (done, closed) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut std::io::stdin().lock(), &mut std::io::sink());
        let _ = done.send(());
    });
    let _ = closed.await;
}
