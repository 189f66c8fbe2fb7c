//! One request, one reply: what most steps of a scenario need of a client.

use crate::Outcome;
use omq_proto::SocketType;
use serde_json::{Value, json};
use statemesh_client::Connection as Client;
use statemesh_transport::curve::Security;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// For a connection, and for each answer.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// The two encodings of the client protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// JSON.
    Json,
    /// MessagePack.
    MsgPack,
}

impl Encoding {
    /// Writes a value.
    ///
    /// # Errors
    /// It has no such form.
    pub fn write(self, value: &Value) -> Outcome<Vec<u8>> {
        Ok(match self {
            Self::Json => serde_json::to_vec(value)?,
            Self::MsgPack => rmp_serde::to_vec(value)?,
        })
    }

    /// Reads a value.
    ///
    /// # Errors
    /// The bytes are no such value.
    pub fn read(self, bytes: &[u8]) -> Outcome<Value> {
        let shown = || String::from_utf8_lossy(bytes.get(..bytes.len().min(120)).unwrap_or_default()).into_owned();
        let value = match self {
            Self::Json => serde_json::from_slice(bytes).map_err(|error| error.to_string()),
            Self::MsgPack => rmp_serde::from_slice(bytes).map_err(|error| error.to_string()),
        };
        value.map_err(|error| format!("a reply that is no {self:?}: {error}: {:?}", shown()).into())
    }
}

/// A client that waits for each answer.
#[derive(Debug)]
pub struct Caller {
    client: Client,
    encoding: Encoding,
    next_id: u64,
}

impl Caller {
    /// Connects and speaks JSON.
    ///
    /// # Errors
    /// No daemon listens there.
    pub fn connect(address: SocketAddr) -> Outcome<Self> {
        Self::speaking(address, Encoding::Json)
    }

    /// Connects with keys and speaks JSON.
    ///
    /// # Errors
    /// No daemon listens there, or the keys are refused.
    pub fn secured(address: SocketAddr, security: &Security) -> Outcome<Self> {
        let client = Client::connect_secured(address, SocketType::Dealer, security, PATIENCE)?;
        Ok(Self { client, encoding: Encoding::Json, next_id: 1 })
    }

    /// Connects and speaks `encoding`.
    ///
    /// # Errors
    /// No daemon listens there.
    pub fn speaking(address: SocketAddr, encoding: Encoding) -> Outcome<Self> {
        Ok(Self { client: Client::connect(address, SocketType::Dealer, PATIENCE)?, encoding, next_id: 1 })
    }

    /// Asks, and gives the reply whether `ok` or not.
    ///
    /// # Errors
    /// No reply came within [`PATIENCE`], or one that answers something else.
    pub fn ask(&mut self, request: Value) -> Outcome<Value> {
        self.ask_within(request, PATIENCE)
    }

    /// As [`Caller::ask`], with a limit of its own.
    ///
    /// # Errors
    /// No reply came within `limit`. A late one is skipped by the next call.
    pub fn ask_within(&mut self, mut request: Value, limit: Duration) -> Outcome<Value> {
        let id = self.next_id;
        self.next_id += 1;
        if let Some(fields) = request.as_object_mut() {
            fields.insert("id".to_owned(), id.into());
        }
        self.client.push(&self.encoding.write(&request)?);
        self.client.flush()?;
        let deadline = Instant::now() + limit;
        loop {
            let reply = self.receive(deadline.saturating_duration_since(Instant::now()))?;
            match reply["id"].as_u64() {
                Some(answered) if answered < id => {}
                Some(answered) if answered == id => return Ok(reply),
                _ => return Err(format!("a reply to nothing that was asked: {reply}").into()),
            }
        }
    }

    /// Asks, and takes nothing but `"ok":true`.
    ///
    /// # Errors
    /// As [`Caller::ask`], and for an error reply.
    pub fn ok(&mut self, request: Value) -> Outcome<Value> {
        let asked = request.to_string();
        let reply = self.ask(request)?;
        crate::ensure!(
            reply["ok"] == true,
            "{} was answered with {reply}",
            asked.get(..asked.len().min(200)).unwrap_or("?")
        );
        Ok(reply)
    }

    /// Asks, and takes nothing but an error of this code.
    ///
    /// # Errors
    /// As [`Caller::ask`], and for any other reply.
    pub fn refused(&mut self, request: Value, code: &str) -> Outcome<Value> {
        let asked = request.to_string();
        let reply = self.ask(request)?;
        let start: String = asked.chars().take(200).collect();
        crate::ensure!(is_refusal(&reply, code), "{start} was answered with {reply}, not with the error {code}");
        Ok(reply)
    }

    /// Sends whole frames as they are.
    ///
    /// # Errors
    /// The connection failed.
    pub fn push_raw(&mut self, frame: &[u8]) -> Outcome {
        self.client.push(frame);
        Ok(self.client.flush()?)
    }

    /// The next reply, in JSON or MessagePack, whichever it is.
    ///
    /// # Errors
    /// None came within `limit`, or the connection has ended.
    pub fn receive(&mut self, limit: Duration) -> Outcome<Value> {
        let message = self.client.receive(limit)?;
        let bytes = message.part_slice(message.len().saturating_sub(1)).unwrap_or_default();
        match bytes.first() {
            Some(b'{' | b'[') => Encoding::Json.read(bytes),
            _ => Encoding::MsgPack.read(bytes),
        }
    }

    /// Sends an event.
    ///
    /// # Errors
    /// As [`Caller::ok`].
    pub fn send(&mut self, machine: &str, key: &str, event: Value) -> Outcome<Value> {
        self.ok(json!({"op": "send", "machine": machine, "key": key, "event": event}))
    }

    /// The daemon that serves a key; none does while its partition moves.
    ///
    /// # Errors
    /// As [`Caller::ok`].
    pub fn owner(&mut self, machine: &str, key: &str) -> Outcome<Option<String>> {
        let reply = self.ok(json!({"op": "where", "machine": machine, "key": key}))?;
        Ok(reply["owner"].as_str().map(str::to_owned))
    }

    /// The daemon that serves each partition, as this one sees it; none does while it moves.
    ///
    /// # Errors
    /// As [`Caller::ok`], and for a map that names no daemon.
    pub fn servers(&mut self) -> Outcome<Vec<Option<String>>> {
        let reply = self.ok(json!({"op": "placement"}))?;
        let list = |field: &str| reply[field].as_array().ok_or_else(|| format!("placement without {field}: {reply}"));
        let mut servers = Vec::new();
        for index in list("map")? {
            let index = usize::try_from(index.as_u64().ok_or("an index that is no number")?)?;
            servers.push(Some(reply["owners"][index].as_str().ok_or("an index of no daemon")?.to_owned()));
        }
        for partition in list("moving")? {
            let partition = usize::try_from(partition.as_u64().ok_or("a partition that is no number")?)?;
            if let Some(server) = servers.get_mut(partition) {
                *server = None;
            }
        }
        Ok(servers)
    }

    /// The members as this daemon sees them, by name: status and partitions owned.
    ///
    /// # Errors
    /// As [`Caller::ok`].
    pub fn members(&mut self) -> Outcome<Vec<Member>> {
        let reply = self.ok(json!({"op": "members"}))?;
        let members = reply["members"].as_array().ok_or("members is no list")?;
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        Ok(members
            .iter()
            .map(|member| Member {
                name: text(&member["name"]),
                status: text(&member["status"]),
                partitions: member["partitions"].as_u64().unwrap_or(0),
                address: text(&member["address"]),
            })
            .collect())
    }
}

/// A member as a daemon sees it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Member {
    /// Its name.
    pub name: String,
    /// `alive`, `suspect`, `left` or `dead`.
    pub status: String,
    /// Partitions that it owns.
    pub partitions: u64,
    /// Its address.
    pub address: String,
}

impl Member {
    /// Whether it is a member all the same: at any moment one may be suspected, and say that it is alive.
    #[must_use]
    pub fn is_there(&self) -> bool {
        is_there(&self.status)
    }
}

/// As [`Member::is_there`], of a status.
#[must_use]
pub fn is_there(status: &str) -> bool {
    matches!(status, "alive" | "suspect")
}

/// Whether a reply is an error of this code, with a message.
#[must_use]
pub fn is_refusal(reply: &Value, code: &str) -> bool {
    let message = reply["error"]["message"].as_str().unwrap_or_default();
    reply["ok"] == false && reply["error"]["code"] == code && !message.is_empty()
}
