//! The daemon that a verb talks to: the mesh's client, with its errors as a person wants to read them.

use crate::config::Target;
use crate::failure::{Exit, Failure};
use crate::other_ports;
use crate::output::printable;
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
    /// Connects to the first address that answers. A person wants to hear at once that no daemon answers, so where there is only
    /// one address nothing is tried again.
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
        let is_heard = self.unheard.is_none();
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
        let reply = answer.map_err(|error| match &error {
            ClientError::Broken(ConnectionError::Io { .. }) if !is_late_answer(&error) => {
                self.peer.cut_off(ask, &error, is_heard)
            }
            _ => self.peer.failure(&error),
        })?;
        serde_json::from_slice(reply.bytes()).map_err(|error| self.peer.is_no_daemon(&error.to_string()))
    }

    /// The client itself, for a watcher.
    pub(crate) fn into_client(self) -> Client {
        self.client
    }
}

fn is_late_answer(error: &ClientError) -> bool {
    matches!(error, ClientError::Broken(error) if is_late(error))
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
            OpenError::Connection(error) if is_without_key(&error.to_string()) => self.wants_key(),
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

    /// The other side ended the connection with a request under way. A daemon that ends does that, and so does one's port for other daemons: who
    /// has said nothing yet may be either, but what may have been done is told as such in any case.
    fn cut_off(&self, ask: &Ask<'_>, error: &ClientError, is_heard: bool) -> Failure {
        let is_no_answer = !ask.op.changes() && ask.answer.until.is_none() && !is_heard;
        if is_no_answer || other_ports::setting_of(&self.address).is_some() {
            return self.failure(error);
        }
        let (code, hint) = match ask.op {
            Op::Define => ("outcome_unknown", "define it again: where it has arrived already, that changes nothing"),
            op if !op.changes() => ("unreachable", "ask again, or name several daemons: --address A,B"),
            _ if ask.conditions.dedup.is_some() => (
                "outcome_unknown",
                "it may have been done all the same: ask again with the same --dedup, which does it once",
            ),
            Op::Send | Op::Delete => (
                "outcome_unknown",
                "it may have been done all the same: `statemesh get` shows whether; with --dedup TOKEN, given from the start, it can be \
                 repeated safely, and of several daemons another is asked",
            ),
            _ => ("outcome_unknown", "it may have been done all the same: `statemesh get` shows whether"),
        };
        let what = format!("{error}; whether {} was done is not known", ask.op.as_str());
        let what = if ask.op.changes() { what } else { format!("{error}, before it answered") };
        Failure::new(Exit::Unreachable, code, what).hint(hint)
    }

    fn is_silent(&self, why: &str) -> Failure {
        let what = format!("{} does not answer as a daemon does: {why}", self.address);
        let hint = "a daemon that is stopped or has no core to run on is silent, and so is a program that waits for another protocol";
        Failure::new(Exit::Unreachable, "unreachable", what).hint(hint)
    }

    fn refuses_key(&self, why: &str) -> Failure {
        // As the codec says it; it has no kind of its own for that.
        if why.replace('"', "").contains("mechanism mismatch: ours=CURVE peer=NULL") {
            let what = format!("{} takes no keys: its security.mode is not curve", self.address);
            return Failure::new(Exit::Unreachable, "no_keys", what).hint(
                "leave out --key and --server-key, STATEMESH_KEY and STATEMESH_SERVER_KEY, and the context or file that has keys \
                 (`statemesh config` shows which); or is it another daemon than you mean?",
            );
        }
        // Only a daemon whose own key was right could read who asks, and says no.
        if why.contains("CURVE peer sent ERROR") {
            return Failure::new(
                Exit::Unreachable,
                "refused_key",
                format!("{} does not let this client's key in ({why})", self.address),
            )
            .hint(
                "--server-key is right, and the public key in the file of --key is not in the daemons' list: `statemesh keys list` where they run \
                 shows who is, `statemesh keys allow NAME PUBLIC_KEY` lets one in",
            );
        }
        Failure::new(Exit::Unreachable, "refused_key", format!("{} did not let this key in: {why}", self.address)).hint(
            "mostly --server-key is not the daemons' public key, which is daemon.pub where their keys were made; else `statemesh keys list` there \
             shows who is let in",
        )
    }

    fn wants_key(&self) -> Failure {
        let what = format!("{} wants keys: its security.mode is curve, and this client has none", self.address);
        Failure::new(Exit::Unreachable, "no_key", what).hint(
            "give --key FILE and --server-key 'Z85', STATEMESH_KEY and STATEMESH_SERVER_KEY, or a context that has both: `statemesh context add`; \
             `statemesh keys new FILE` makes a key, and who runs the daemons lets it in",
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

/// Whether the other side speaks CURVE and this one does not, as the codec says it; it has no kind of its own for that.
fn is_without_key(why: &str) -> bool {
    why.replace('"', "").contains("mechanism mismatch: ours=NULL peer=CURVE")
}

/// Whether not even a connection was made, as far as its error tells.
fn is_no_route(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable)
}

pub(crate) fn unreachable(address: &str, why: &str) -> Failure {
    Failure::new(Exit::Unreachable, "unreachable", format!("no daemon at {address}: {why}"))
        .hint("is it running? `statemesh up` starts a mesh here; --address, STATEMESH_ADDRESS or a context names another daemon")
}

/// An error reply as a failure, whose words may repeat names that begin lines of their own. Diagnostics of a definition are kept for the verb that can show them: see `verbs::define`.
fn refused(refusal: &Refusal) -> Failure {
    let reply: Value = serde_json::from_slice(&refusal.reply).unwrap_or_default();
    let message =
        if refusal.message.is_empty() { format!("the daemon answered {reply}") } else { printable(&refusal.message) };
    let code = if refusal.name.is_empty() { "error" } else { &refusal.name };
    let mut failure = Failure::new(Exit::Refused, code, message);
    failure.reply = refusal.code;
    failure.hint = (!refusal.hint.is_empty()).then(|| printable(&refusal.hint));
    failure.diagnostics = reply["error"]["diagnostics"].as_array().cloned().unwrap_or_default();
    failure
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use statemesh_client::{Answering, Conditions, ErrorCode};

    #[test]
    fn a_request_that_was_cut_off_may_have_been_done() {
        let address = "tcp://127.0.0.1:9000".to_owned();
        let peer = Peer { address, timeout: Duration::from_secs(5), secured: false };
        let source = io::ErrorKind::UnexpectedEof.into();
        let error = ClientError::Broken(ConnectionError::Io { address: ([127, 0, 0, 1], 9000).into(), source });
        let told = |ask: &Ask<'_>| {
            let failure = peer.cut_off(ask, &error, false);
            assert_eq!(failure.exit, Exit::Unreachable);
            format!("{} {}", failure.message, failure.hint.unwrap_or_default())
        };
        let send = about(Op::Send, "order", "1");
        assert!(told(&send).contains("whether send was done is not known") && told(&send).contains("--dedup TOKEN"));
        let conditions = Conditions { dedup: Some("t"), ..Conditions::default() };
        assert!(told(&Ask { conditions, ..send }).contains("with the same --dedup"));
        let get = about(Op::Get, "order", "1");
        assert!(told(&get).contains("does not answer as a daemon does"), "it may be a port for something else");
        let answer = Answering { until: Some(b"{}"), ..Answering::default() };
        let get = told(&Ask { answer, ..get });
        assert!(get.contains("before it answered") && !get.contains("not known") && !get.contains("--key"), "{get}");
    }

    #[test]
    fn a_daemon_without_keys_is_called_so() {
        let peer = Peer { address: "a".to_owned(), timeout: Duration::from_secs(5), secured: true };
        let plain = peer.refuses_key("127.0.0.1:1 violated ZMTP: mechanism mismatch: ours=\"CURVE\" peer=\"NULL\"");
        assert!(plain.message.contains("takes no keys") && plain.hint.unwrap().contains("leave out --key"));
        let hint = |why: &str| peer.refuses_key(why).hint.unwrap_or_default();
        assert!(hint("unexpected end of file").contains("mostly --server-key is not"));
        let unknown = hint("127.0.0.1:1 violated ZMTP: handshake failed: CURVE peer sent ERROR: 400");
        assert!(unknown.contains("--server-key is right") && unknown.contains("keys allow"), "{unknown}");
    }

    #[test]
    fn a_client_without_keys_is_told_that_it_needs_some() {
        assert!(is_without_key("127.0.0.1:1 violated ZMTP: mechanism mismatch: ours=\"NULL\" peer=\"CURVE\""));
        assert!(!is_without_key("mechanism mismatch: ours=\"NULL\" peer=\"PLAIN\""));
        let peer = Peer { address: "a".to_owned(), timeout: Duration::from_secs(5), secured: false };
        let told = peer.wants_key();
        assert_eq!(told.code, "no_key");
        assert!(told.message.contains("wants keys") && told.hint.unwrap().contains("--server-key"));
    }

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
