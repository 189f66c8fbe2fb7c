//! What replies say, typed. Values (`value`, `context`, `output`) stay bytes in the request's encoding.

use statemesh_protocol::reply_reader::Fields;
use statemesh_protocol::run::RunId;

/// A whole reply.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reply(pub(crate) Vec<u8>);

impl Reply {
    /// The bytes, as they came.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// Its fields.
    #[must_use]
    pub fn fields(&self) -> Fields<'_> {
        // It was read once when it came.
        Fields::read(&self.0).unwrap_or_default()
    }
}

/// Where an instance is now: the answer to `send`, `start` and `stop`, and the head of others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// The state value.
    pub value: Vec<u8>,
    /// `active`, `done`, `error`, `stopped`.
    pub status: String,
    /// Which life of the key this is; 0 if the daemon does not say.
    pub run: RunId,
    /// Whether a timer's step was refused: it takes no event until `retry`, `skip` or `stop`.
    pub stuck: bool,
    /// Transitions of it.
    pub seq: u64,
    /// Whether the event changed something.
    pub changed: bool,
    /// Whether something reacted to the event.
    pub handled: bool,
    /// Whether the instance began anew, its predecessor having been lost.
    pub restarted: bool,
}

impl Outcome {
    /// Reads it out of a reply.
    #[must_use]
    pub fn of(reply: &Fields<'_>) -> Self {
        Self {
            value: reply.raw("value").unwrap_or_default().to_vec(),
            status: reply.text("status").unwrap_or_default().into_owned(),
            run: run(reply),
            stuck: reply.bool("stuck").unwrap_or_default(),
            seq: reply.uint("seq").unwrap_or_default(),
            changed: reply.bool("changed").unwrap_or_default(),
            handled: reply.bool("handled").unwrap_or(true),
            restarted: reply.bool("restarted").unwrap_or_default(),
        }
    }
}

/// Which life of its key a reply or a change is about; 0 if it does not say.
#[must_use]
pub fn run(fields: &Fields<'_>) -> RunId {
    fields.text("run").and_then(|text| RunId::parse(&text)).unwrap_or_default()
}

/// One instance whole.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Instance {
    /// Where it is.
    pub outcome: Outcome,
    /// Its context.
    pub context: Vec<u8>,
    /// Its output, once it is done.
    pub output: Option<Vec<u8>>,
}

impl Instance {
    /// Reads it out of the answer to `get`.
    #[must_use]
    pub fn of(reply: &Fields<'_>) -> Self {
        Self {
            outcome: Outcome::of(reply),
            context: reply.raw("context").unwrap_or_default().to_vec(),
            output: reply.raw("output").map(<[u8]>::to_vec),
        }
    }
}

/// Where a key is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Whereabouts {
    /// Its partition.
    pub partition: u64,
    /// The daemon that serves it; `None`: none does just now.
    pub owner: Option<String>,
    /// That daemon's address for clients.
    pub address: Option<String>,
}

impl Whereabouts {
    /// Reads it out of the answer to `where`.
    #[must_use]
    pub fn of(reply: &Fields<'_>) -> Self {
        Self {
            partition: reply.uint("partition").unwrap_or_default(),
            owner: reply.text("owner").map(|text| text.into_owned()),
            address: reply.text("address").map(|text| text.into_owned()),
        }
    }
}

/// A daemon of the mesh.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Member {
    /// Its name.
    pub name: String,
    /// `alive`, `suspect`, `left`, `dead`.
    pub status: String,
    /// Its address for clients.
    pub clients: String,
    /// Where it publishes changes.
    pub changes: String,
    /// Whether it is the one that was asked.
    pub is_self: bool,
}

impl Member {
    fn of(fields: &Fields<'_>) -> Self {
        let text = |name| fields.text(name).unwrap_or_default().into_owned();
        Self {
            name: text("name"),
            status: text("status"),
            clients: text("clients"),
            changes: text("changes"),
            is_self: fields.bool("self").unwrap_or_default(),
        }
    }

    /// Reads them out of the answer to `members`.
    #[must_use]
    pub fn all(reply: &Fields<'_>) -> Vec<Self> {
        reply.maps("members").iter().map(Self::of).collect()
    }
}

/// A machine that was defined.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Defined {
    /// Its name.
    pub machine: String,
    /// Its version.
    pub version: u64,
    /// Daemons that have it.
    pub members: u64,
}

impl Defined {
    /// Reads it out of the answer to `define`.
    #[must_use]
    pub fn of(reply: &Fields<'_>) -> Self {
        Self {
            machine: reply.text("machine").unwrap_or_default().into_owned(),
            version: reply.uint("version").unwrap_or_default(),
            members: reply.uint("members").unwrap_or_default(),
        }
    }
}
