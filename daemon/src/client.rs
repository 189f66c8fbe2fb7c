//! The command line's client: client protocol 1 in JSON over the `zeromq` crate, which shares no code with the daemon; over
//! our own direct client where there are keys, since that crate has no CURVE.

use crate::config::Target;
use crate::failure::{Exit, Failure};
use serde_json::{Value, json};
use statemesh_transport::SocketType;
use statemesh_transport::client::{Client as Direct, ClientError};
use statemesh_transport::curve::Security;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::timeout;
use zeromq::{DealerSocket, Socket, SocketOptions, SocketRecv, SocketSend, ZmqMessage};

/// How the bytes travel.
enum Wire {
    /// Without keys.
    Plain(Box<DealerSocket>),
    /// With keys; it is with the thread that waits for the answer while there is one under way.
    Secured(Option<Box<Direct>>),
}

/// A connection to one daemon.
pub(crate) struct Client {
    wire: Wire,
    address: String,
    timeout: Duration,
    next_id: u64,
}

impl Client {
    /// Connects to a daemon.
    pub(crate) async fn connect(target: Target) -> Result<Client, Failure> {
        let Target { address, timeout, security } = target;
        let wire = match security {
            Security::None => Wire::Plain(Box::new(plain(&address, timeout).await?)),
            security => Wire::Secured(Some(Box::new(secured(&address, SocketType::Dealer, security, timeout).await?))),
        };
        Ok(Client { wire, address, timeout, next_id: 1 })
    }

    /// Sends a request, given as a map without an id, and waits for its answer. An error reply is a failure with its code.
    pub(crate) async fn call(&mut self, mut request: Value) -> Result<Value, Failure> {
        let id = self.take_id();
        request["id"] = json!(id);
        self.exchange(id, request.to_string()).await
    }

    /// As `call`, with one more field whose JSON text goes out as it is: a definition keeps its lines and the order of its keys.
    pub(crate) async fn call_with(
        &mut self,
        mut request: Value,
        field: &str,
        json_text: &str,
    ) -> Result<Value, Failure> {
        let id = self.take_id();
        request["id"] = json!(id);
        let mut text = request.to_string();
        text.pop();
        text.push_str(&format!(",{}:{json_text}}}", json!(field)));
        self.exchange(id, text).await
    }

    fn take_id(&mut self) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        id
    }

    async fn exchange(&mut self, id: u64, request: String) -> Result<Value, Failure> {
        let (address, limit) = (self.address.clone(), self.timeout);
        let answer = timeout(limit, self.send_and_receive(id, request)).await;
        let late = || {
            Failure::new(Exit::Unreachable, "timeout", format!("{address}: no answer within {limit:?}"))
                .hint("it may have been done all the same; --timeout waits longer, a send with --dedup can be repeated safely")
        };
        let reply = answer.map_err(|_| late())??;
        if reply["ok"] == json!(true) { Ok(reply) } else { Err(refused(&reply)) }
    }

    async fn send_and_receive(&mut self, id: u64, request: String) -> Result<Value, Failure> {
        let mut request = Some(request);
        loop {
            let frame = match &mut self.wire {
                Wire::Plain(socket) => exchange_plain(socket, request.take(), &self.address).await?,
                Wire::Secured(direct) => exchange_secured(direct, request.take(), self.timeout, &self.address).await?,
            };
            let reply: Value = serde_json::from_slice(&frame)
                .map_err(|error| not_a_daemon(&self.address, &format!("the answer is not JSON: {error}")))?;
            // A request that could not be read is answered without an id; only one is under way, so it was this one.
            if reply["id"] == json!(id) || reply["id"].is_null() {
                return Ok(reply);
            }
        }
    }
}

/// Sends a request, if there is one, and gives the next answer.
async fn exchange_plain(socket: &mut DealerSocket, request: Option<String>, address: &str) -> Result<Vec<u8>, Failure> {
    let broken = |error: zeromq::ZmqError| not_a_daemon(address, &error.to_string());
    if let Some(request) = request {
        socket.send(ZmqMessage::from(request)).await.map_err(broken)?;
    }
    let message = socket.recv().await.map_err(broken)?;
    Ok(message.iter().last().map(|frame| frame.to_vec()).unwrap_or_default())
}

/// As [`exchange_plain`]; a thread of its own waits, as the direct client blocks.
async fn exchange_secured(
    wire: &mut Option<Box<Direct>>,
    request: Option<String>,
    limit: Duration,
    address: &str,
) -> Result<Vec<u8>, Failure> {
    let mut direct = wire.take().ok_or_else(|| not_a_daemon(address, "the connection is broken"))?;
    let work = tokio::task::spawn_blocking(move || {
        if let Some(request) = request {
            direct.push(request.as_bytes());
            direct.flush()?;
        }
        let message = direct.receive(limit)?;
        let last = message.len().saturating_sub(1);
        Ok::<_, ClientError>((message.part_slice(last).unwrap_or_default().to_vec(), direct))
    });
    let (frame, direct) = work
        .await
        .map_err(|error| not_a_daemon(address, &error.to_string()))?
        .map_err(|error| not_a_daemon(address, &error.to_string()))?;
    *wire = Some(direct);
    Ok(frame)
}

async fn plain(address: &str, limit: Duration) -> Result<DealerSocket, Failure> {
    let host = address.strip_prefix("tcp://").unwrap_or(address);
    // zeromq repeats a refused connection until it succeeds; a person wants to hear of it at once.
    match timeout(limit, TcpStream::connect(host)).await {
        Ok(Ok(_)) => {}
        Ok(Err(error)) => return Err(unreachable(address, &error.to_string())),
        Err(_) => return Err(unreachable(address, &format!("no connection within {limit:?}"))),
    }
    let mut options = SocketOptions::default();
    options.connect_timeout(limit);
    let mut socket = DealerSocket::with_options(options);
    match timeout(limit, socket.connect(address)).await {
        Ok(Ok(())) => Ok(socket),
        Ok(Err(error)) => Err(not_a_daemon(address, &error.to_string())),
        Err(_) => Err(not_a_daemon(address, &format!("no greeting within {limit:?}"))),
    }
}

/// A connection with keys.
pub(crate) async fn secured(
    address: &str,
    socket_type: SocketType,
    security: Security,
    limit: Duration,
) -> Result<Direct, Failure> {
    let host = address.strip_prefix("tcp://").unwrap_or(address);
    let found = tokio::net::lookup_host(host).await.map_err(|error| unreachable(address, &error.to_string()))?;
    let found: Vec<SocketAddr> = found.collect();
    let connect = move || {
        let mut last = None;
        for at in found {
            match Direct::connect_secured(at, socket_type, &security, limit) {
                Ok(direct) => return Ok(direct),
                Err(error) => last = Some(error),
            }
        }
        Err(last)
    };
    match tokio::task::spawn_blocking(connect).await {
        Ok(Ok(direct)) => Ok(direct),
        Ok(Err(None)) => Err(unreachable(address, "the name has no address")),
        Ok(Err(Some(ClientError::Io { source, .. }))) if source.kind() == std::io::ErrorKind::ConnectionRefused => {
            Err(unreachable(address, &source.to_string()))
        }
        Ok(Err(Some(error))) => Err(key_refused(address, &error.to_string())),
        Err(error) => Err(unreachable(address, &error.to_string())),
    }
}

fn key_refused(address: &str, why: &str) -> Failure {
    Failure::new(Exit::Unreachable, "refused_key", format!("{address} did not let this key in: {why}")).hint(
        "`statemesh keys list` where the daemon runs shows who is let in; --server-key must be the daemon's public key",
    )
}

pub(crate) fn unreachable(address: &str, why: &str) -> Failure {
    Failure::new(Exit::Unreachable, "unreachable", format!("no daemon at {address}: {why}"))
        .hint("is it running? `statemesh up` starts a mesh here; --address or STATEMESH_ADDRESS names another daemon")
}

fn not_a_daemon(address: &str, why: &str) -> Failure {
    Failure::new(Exit::Unreachable, "unreachable", format!("{address} does not answer as a daemon does: {why}"))
        .hint("clients connect to the port of listen.clients, 7400 unless it was set; a daemon with security.mode = curve wants --key and --server-key")
}

/// An error reply as a failure. Diagnostics of a definition are kept for whoever can show them: see `verbs::define`.
fn refused(reply: &Value) -> Failure {
    let error = &reply["error"];
    let word = |name: &str| error[name].as_str().map(str::to_owned);
    let message = word("message").unwrap_or_else(|| format!("the daemon answered {reply}"));
    let mut failure = Failure::new(Exit::Refused, word("code").unwrap_or_else(|| "error".into()), message);
    failure.hint = word("hint");
    failure.diagnostics = error["diagnostics"].as_array().cloned().unwrap_or_default();
    failure
}
