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
    /// Whether the request made the instance: there was none, or `start` put it in the place of another.
    pub new: bool,
    /// Whether the instance began anew, its predecessor having been lost.
    pub restarted: bool,
    /// What is gone of what was answered before about this key.
    pub conflict: Option<Conflict>,
}

/// What a key has lost: its transitions from one on, in one of its lives. Of several lives each is named by a reply of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// Why.
    pub reason: ConflictReason,
    /// The first transition that is gone.
    pub lost_from: u64,
    /// The life that had it.
    pub run: RunId,
}

/// Why something is gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConflictReason {
    /// Two daemons served the key, on two sides of a cut or while one was paused, and the other's state won.
    Merged,
    /// Another daemon served it for a while, and died with whatever it answered.
    OwnerLost,
    /// One that this version does not know, as it came.
    Other(String),
}

impl Conflict {
    fn of(conflict: &Fields<'_>) -> Self {
        let reason = match conflict.text("reason").unwrap_or_default().as_ref() {
            "merged" => ConflictReason::Merged,
            "owner_lost" => ConflictReason::OwnerLost,
            other => ConflictReason::Other(other.to_owned()),
        };
        Self { reason, lost_from: conflict.uint("lost_from").unwrap_or_default(), run: run(conflict) }
    }
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
            new: reply.bool("new").unwrap_or_default(),
            restarted: reply.bool("restarted").unwrap_or_default(),
            conflict: reply.map("conflict").map(|conflict| Conflict::of(&conflict)),
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

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(reply: &str) -> Outcome {
        Outcome::of(&Fields::read(reply.as_bytes()).unwrap())
    }

    #[test]
    fn a_reply_says_of_what_it_made_and_of_what_is_gone() {
        let first = outcome(r#"{"ok":true,"value":"a","status":"active","run":"00000000000000ab","seq":0,"new":true}"#);
        assert_eq!((first.new, first.restarted, first.conflict), (true, false, None));
        let conflict = |reason: &str| {
            let conflict = format!(r#"{{"reason":"{reason}","lost_from":7,"run":"00000000000000cd"}}"#);
            outcome(&format!(r#"{{"ok":true,"restarted":true,"conflict":{conflict}}}"#)).conflict.unwrap()
        };
        let merged = Conflict { reason: ConflictReason::Merged, lost_from: 7, run: RunId(0xcd) };
        assert_eq!(conflict("merged"), merged);
        assert_eq!(conflict("owner_lost"), Conflict { reason: ConflictReason::OwnerLost, ..merged.clone() });
        let of_tomorrow = ConflictReason::Other("eaten".to_owned());
        assert_eq!(conflict("eaten"), Conflict { reason: of_tomorrow, ..merged });
    }
}
