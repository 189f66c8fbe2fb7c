//! The command line's client: client protocol 1 in JSON over the `zeromq` crate, which shares no code with the daemon.

use crate::failure::{Exit, Failure};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::timeout;
use zeromq::{DealerSocket, Socket, SocketOptions, SocketRecv, SocketSend, ZmqMessage};

/// A connection to one daemon.
pub(crate) struct Client {
    socket: DealerSocket,
    address: String,
    timeout: Duration,
    next_id: u64,
}

impl Client {
    /// Connects to the daemon at `address`, for at most `timeout`.
    pub(crate) async fn connect(address: &str, limit: Duration) -> Result<Client, Failure> {
        let at_all = address.strip_prefix("tcp://").unwrap_or(address);
        // zeromq repeats a refused connection until it succeeds; a person wants to hear of it at once.
        match timeout(limit, TcpStream::connect(at_all)).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => return Err(unreachable(address, &error.to_string())),
            Err(_) => {
                return Err(unreachable(address, &format!("no connection within {limit:?}")));
            }
        }
        let mut options = SocketOptions::default();
        options.connect_timeout(limit);
        let mut socket = DealerSocket::with_options(options);
        match timeout(limit, socket.connect(address)).await {
            Ok(Ok(())) => Ok(Client { socket, address: address.to_owned(), timeout: limit, next_id: 1 }),
            Ok(Err(error)) => Err(not_a_daemon(address, &error.to_string())),
            Err(_) => Err(not_a_daemon(address, &format!("no greeting within {limit:?}"))),
        }
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
        let broken = |error: zeromq::ZmqError| not_a_daemon(&self.address, &error.to_string());
        self.socket.send(ZmqMessage::from(request)).await.map_err(broken)?;
        loop {
            let message = self.socket.recv().await.map_err(broken)?;
            let frame = message.iter().last().map(|frame| frame.as_ref()).unwrap_or_default();
            let reply: Value = serde_json::from_slice(frame)
                .map_err(|error| not_a_daemon(&self.address, &format!("the answer is not JSON: {error}")))?;
            // A request that could not be read is answered without an id; only one is under way, so it was this one.
            if reply["id"] == json!(id) || reply["id"].is_null() {
                return Ok(reply);
            }
        }
    }
}

fn unreachable(address: &str, why: &str) -> Failure {
    Failure::new(Exit::Unreachable, "unreachable", format!("no daemon at {address}: {why}"))
        .hint("is it running? `statemesh up` starts a mesh here; --address or STATEMESH_ADDRESS names another daemon")
}

fn not_a_daemon(address: &str, why: &str) -> Failure {
    Failure::new(Exit::Unreachable, "unreachable", format!("{address} does not answer as a daemon does: {why}"))
        .hint("clients connect to the port of listen.clients, 7400 unless it was set")
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
