//! The daemon that a verb talks to: the mesh's client, with its errors as a person wants to read them.

use crate::config::Target;
use crate::failure::{Exit, Failure};
use crate::other_ports;
use serde_json::Value;
use statemesh_client::{
    Ask, Client, ClientError, ConnectionError, Encoding, Op, OpenError, Options, Refusal, Security,
};
use std::io;
use std::time::Duration;

/// A request in JSON.
pub(crate) fn ask<'a>(op: Op) -> Ask<'a> {
    Ask::new(op, Encoding::Json)
}

/// A request in JSON about one instance.
pub(crate) fn about<'a>(op: Op, machine: &'a str, key: &'a str) -> Ask<'a> {
    Ask::about(op, Encoding::Json, machine, key)
}

/// A connection to one daemon.
#[derive(Debug)]
pub(crate) struct Remote {
    client: Client,
    peer: Peer,
    /// Where to look for the daemon whose other port was given; `None` once something has answered.
    unheard: Option<Target>,
}

/// What is said about a daemon that does not answer.
#[derive(Clone, Debug)]
struct Peer {
    /// Those that were tried.
    address: String,
    timeout: Duration,
    secured: bool,
}

impl Remote {
    /// Connects to the first address that answers. A person wants to hear at once that nobody is there, so where there is only one
    /// nothing is tried again.
    pub(crate) fn connect(target: Target) -> Result<Remote, Failure> {
        let secured = !matches!(target.security, Security::None);
        let peer = Peer { address: target.addresses.join(", "), timeout: target.timeout, secured };
        match Client::connect(options(&target)) {
            Ok(client) => Ok(Remote { client, peer, unheard: Some(target) }),
            Err(error) => {
                let behind = other_ports::behind(&target).and_then(|behind| Client::connect(options(&behind)).ok());
                let client = behind.ok_or_else(|| peer.failure(&error))?;
                Ok(Remote { client, peer, unheard: None })
            }
        }
    }

    /// Asks, and gives the reply. An error reply is a failure with its code.
    pub(crate) fn ask(&mut self, ask: &Ask<'_>) -> Result<Value, Failure> {
        let answer = match (self.client.ask(ask), self.unheard.take()) {
            // What ends a connection instead of answering is mostly no listener for clients, and then nothing was done.
            (Err(ClientError::Broken(error)), Some(target)) if !is_late(&error) => match other_ports::behind(&target) {
                Some(behind) => {
                    self.client = Client::new(options(&behind));
                    self.client.ask(ask)
                }
                None => Err(ClientError::Broken(error)),
            },
            (answer, _) => answer,
        };
        let reply = answer.map_err(|error| self.peer.failure(&error))?;
        serde_json::from_slice(reply.bytes()).map_err(|error| self.peer.is_no_daemon(&error.to_string()))
    }

    /// The client itself, for a watcher.
    pub(crate) fn into_client(self) -> Client {
        self.client
    }
}

fn is_late(error: &ConnectionError) -> bool {
    matches!(error, ConnectionError::Io { source, .. } if source.kind() == io::ErrorKind::TimedOut)
}

/// With several addresses, what one daemon cannot do now another one may.
fn options(target: &Target) -> Options {
    let patience = if target.addresses.len() > 1 { target.timeout } else { Duration::ZERO };
    let (addresses, security, timeout) = (target.addresses.clone(), target.security.clone(), target.timeout);
    Options { addresses, security, timeout, patience, ..Options::at("") }
}

impl Peer {
    fn failure(&self, error: &ClientError) -> Failure {
        match error {
            ClientError::Open(error) => self.not_opened(error),
            ClientError::Broken(error) if is_late(error) => self.late(),
            ClientError::Broken(_) | ClientError::Unreadable { .. } => self.is_no_daemon(&error.to_string()),
            ClientError::Refused(refusal) => refused(refusal),
        }
    }

    fn not_opened(&self, error: &OpenError) -> Failure {
        match error {
            OpenError::Connection(ConnectionError::Io { source, .. })
                if source.kind() == io::ErrorKind::ConnectionRefused =>
            {
                unreachable(&self.address, &source.to_string())
            }
            OpenError::Connection(error @ ConnectionError::Silent { .. }) => self.is_silent(&error.to_string()),
            OpenError::Connection(error) if self.secured => self.refuses_key(&error.to_string()),
            OpenError::Connection(ConnectionError::Io { source, .. })
                if is_no_route(source) || source.kind() == io::ErrorKind::TimedOut =>
            {
                unreachable(&self.address, &format!("no connection within {:?}: {source}", self.timeout))
            }
            OpenError::Connection(error) => self.is_no_daemon(&error.to_string()),
            OpenError::Resolve { name, .. } | OpenError::NoAddress(name) => {
                let host = name.rsplit_once(':').map_or(name.as_str(), |(host, _)| host);
                Failure::new(Exit::Unreachable, "unreachable", format!("no such host: {host}")).hint(
                    "--address, STATEMESH_ADDRESS or a context names the daemon; does its name have an address here?",
                )
            }
        }
    }

    fn late(&self) -> Failure {
        let Peer { address, timeout, .. } = self;
        let hint =
            "it may have been done all the same; --timeout waits longer, a send with --dedup can be repeated safely";
        Failure::new(Exit::Unreachable, "timeout", format!("{address}: no answer within {timeout:?}")).hint(hint)
    }

    fn is_silent(&self, why: &str) -> Failure {
        let what = format!("{} does not answer as a daemon does: {why}", self.address);
        let hint = "a daemon that is stopped or has no core to run on is silent, and so is a program that waits for another protocol";
        Failure::new(Exit::Unreachable, "unreachable", what).hint(hint)
    }

    fn refuses_key(&self, why: &str) -> Failure {
        Failure::new(Exit::Unreachable, "refused_key", format!("{} did not let this key in: {why}", self.address)).hint(
            "`statemesh keys list` where the daemon runs shows who is let in; --server-key must be the daemon's public key",
        )
    }

    fn is_no_daemon(&self, why: &str) -> Failure {
        let what = format!("{} does not answer as a daemon does: {why}", self.address);
        let failure = Failure::new(Exit::Unreachable, "unreachable", what);
        match other_ports::setting_of(&self.address) {
            Some(setting) => failure.hint(format!(
                "that is the port of {setting}, unless it was set; clients connect to that of listen.clients, 7400"
            )),
            None => failure.hint(
                "clients connect to the port of listen.clients, 7400 unless it was set; a daemon with security.mode = curve wants \
                 --key and --server-key",
            ),
        }
    }
}

/// Whether not even a connection was made, as far as its error tells.
fn is_no_route(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable)
}

pub(crate) fn unreachable(address: &str, why: &str) -> Failure {
    Failure::new(Exit::Unreachable, "unreachable", format!("no daemon at {address}: {why}"))
        .hint("is it running? `statemesh up` starts a mesh here; --address, STATEMESH_ADDRESS or a context names another daemon")
}

/// An error reply as a failure. Diagnostics of a definition are kept for whoever can show them: see `verbs::define`.
fn refused(refusal: &Refusal) -> Failure {
    let reply: Value = serde_json::from_slice(&refusal.reply).unwrap_or_default();
    let message =
        if refusal.message.is_empty() { format!("the daemon answered {reply}") } else { refusal.message.clone() };
    let code = if refusal.name.is_empty() { "error" } else { &refusal.name };
    let mut failure = Failure::new(Exit::Refused, code, message);
    failure.reply = refusal.code;
    failure.hint = (!refusal.hint.is_empty()).then(|| refusal.hint.clone());
    failure.diagnostics = reply["error"]["diagnostics"].as_array().cloned().unwrap_or_default();
    failure
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use statemesh_client::ErrorCode;

    #[test]
    fn an_error_reply_keeps_what_it_says() {
        let reply = json!({"ok": false, "error": {"code": "invalid_definition", "diagnostics": [{"line": 3}]}});
        let refusal = Refusal {
            code: Some(ErrorCode::InvalidDefinition),
            name: "invalid_definition".into(),
            message: "two findings".into(),
            hint: String::new(),
            address: None,
            reply: reply.to_string().into_bytes(),
        };
        let failure = refused(&refusal);
        assert_eq!((failure.code.as_str(), failure.hint, failure.diagnostics.len()), ("invalid_definition", None, 1));
        assert_eq!(failure.reply, Some(ErrorCode::InvalidDefinition));
    }
}
