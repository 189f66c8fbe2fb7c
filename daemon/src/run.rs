//! `statemesh daemon`: configuration, log, node, HTTP; then it waits to be told to end. Nothing else here uses the node.

use crate::config::Config;
use crate::descriptors;
use crate::failure::{Exit, Failure};
use crate::http::{self, Backend};
use crate::logs;
use crate::up::ports::{self, Transport};
use statemesh_node::options::Listen;
use statemesh_node::{Handle, Node, StartError};
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Threads for everything but the reactors: HTTP, DNS, gossip.
const WORKER_THREADS: usize = 2;
/// What is left to do after the goodbye must not keep the process.
const SHUTDOWN: Duration = Duration::from_secs(2);
/// The exit code after a second signal: as a shell reports an interrupted command.
const INTERRUPTED: i32 = 130;

/// Runs a daemon until it is told to end. `with_parent`: it also ends, at once, when its stdin is closed.
pub(crate) fn daemon(config: &Config, with_parent: bool) -> Result<(), Failure> {
    let told = config.daemon()?;
    let descriptors = descriptors::provide(told.node.limits.connections.saturating_add(told.http.connections));
    logs::start(&told.logs, &told.node.name)?;
    if descriptors.allowed < descriptors.needed {
        let (allowed, needed) = (descriptors.allowed, descriptors.needed);
        tracing::warn!(
            allowed,
            needed,
            "fewer file descriptors than limits.connections need: raise the limit (ulimit -n)"
        );
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKER_THREADS)
        .thread_name("statemesh-io")
        .enable_all()
        .build()
        .map_err(|error| Failure::new(Exit::Start, "runtime", format!("no event loop: {error}")))?;
    let handle = runtime.handle().clone();
    let ended = runtime.block_on(async move {
        let name = told.node.name.clone();
        let tls = told.http.tls.as_ref().map(http::tls::acceptor).transpose()?;
        let listener = bind_http(told.node.listen.http).await?;
        let mut options = told.node;
        options.listen.http = listener.local_addr().unwrap_or(options.listen.http);
        let listen = options.listen;
        let mut signals = Signals::new()?;
        let registry = prometheus::Registry::new();
        let node =
            Node::start(options, registry.clone(), handle).map_err(|error| cannot_start(&name, &listen, error))?;
        let shown = Shown(node.handle());
        let server = http::Server::new(shown, registry, told.http)
            .map_err(|error| Failure::new(Exit::Start, "metrics", format!("metrics: {error}")))?
            .with_tls(tls);
        let serving = tokio::spawn(server.run(listener));
        let following = tokio::spawn(crate::keys::follow(told.followed, node.handle()));
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
    runtime.shutdown_timeout(SHUTDOWN);
    ended
}

async fn bind_http(address: SocketAddr) -> Result<TcpListener, Failure> {
    TcpListener::bind(address).await.map_err(|error| cannot_listen(address, "listen.http", &error))
}

/// Says which port, who has it, and what to do.
pub(crate) fn cannot_listen(address: SocketAddr, setting: &str, error: &std::io::Error) -> Failure {
    let transport = if setting.ends_with("gossip") { Transport::Udp } else { Transport::Tcp };
    let in_use = error.kind() == std::io::ErrorKind::AddrInUse;
    let holder = in_use.then(|| ports::holder(transport, address.port())).flatten();
    let by = holder.map(|who| format!(" by {who}")).unwrap_or_default();
    let what = if in_use { format!("{address} is in use{by}") } else { format!("{address}: {error}") };
    let flag = setting.replace(['.', '_'], "-");
    Failure::new(Exit::Start, "cannot_listen", format!("{setting}: {what}"))
        .hint(format!("end that process, or choose another port: --{flag} PORT (0 takes any free one)"))
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

/// Hands over what the node has, for at most `limit`; another signal ends the process at once.
async fn leave(node: Node, limit: Duration, mut signals: Signals) {
    tokio::spawn(async move {
        signals.next().await;
        tracing::warn!("told to end again: ending at once");
        std::process::exit(INTERRUPTED);
    });
    let node = Arc::new(node);
    let leaving = Arc::clone(&node);
    let left = tokio::task::spawn_blocking(move || leaving.leave());
    match tokio::time::timeout(limit, left).await {
        Ok(Ok(report)) if report.left_behind == 0 => {
            tracing::info!(moved_instances = report.moved_instances, "left");
        }
        Ok(Ok(report)) => tracing::warn!(
            moved_instances = report.moved_instances,
            left_behind = report.left_behind,
            "left, but not every instance could be handed over"
        ),
        Ok(Err(error)) => tracing::error!(%error, "leaving failed"),
        Err(_) => tracing::warn!(?limit, "leaving takes too long: ending all the same"),
    }
    if let Some(node) = Arc::into_inner(node) {
        node.stop();
    }
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

/// The node as HTTP shows it.
struct Shown(Handle);

impl Backend for Shown {
    fn live(&self) -> bool {
        self.0.readiness().live
    }

    fn ready(&self) -> Result<(), String> {
        let readiness = self.0.readiness();
        if readiness.ready { Ok(()) } else { Err(readiness.reason) }
    }

    async fn call(&self, request: Vec<u8>) -> Option<Vec<u8>> {
        self.0.call(request).await.ok()
    }
}
