//! What members say to each other about machine definitions.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

/// Content hash of a definition.
pub type DefinitionHash = [u8; 32];

/// A version of a machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Definition {
    /// The machine's id.
    pub machine: String,
    /// When it was defined, in logical time: larger is newer.
    pub clock: u64,
    /// The shell's hash of what was defined.
    pub hash: DefinitionHash,
    /// What was defined, with its options, as the shell wrote it.
    #[serde(with = "body")]
    pub body: Vec<u8>,
}

/// A version without its body.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VersionId {
    /// The machine's id.
    pub machine: String,
    /// When it was defined.
    pub clock: u64,
    /// The shell's hash of what was defined.
    pub hash: DefinitionHash,
}

/// Where a version stands in a list: its machine, and its hash.
pub type Place = (String, DefinitionHash);

/// What members say to each other about definitions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum DefinitionMessage {
    /// Take this, and acknowledge it.
    Push {
        /// Matches the acknowledgement with the push.
        id: u64,
        /// The new version.
        definition: Definition,
    },
    /// I have it, and it compiles here.
    Ack {
        /// The push's id.
        id: u64,
    },
    /// Digest of all that I have. Sent when two members meet.
    Digest {
        /// The same for all members that have the same versions with the same clocks.
        digest: u64,
    },
    /// What I have, or the next part of it, in the order of machine and hash. The answer to another digest.
    Versions {
        /// Without bodies.
        versions: Vec<VersionId>,
        /// They come behind this one; none: they are the first.
        after: Option<Place>,
        /// More come behind them, and are to be asked for with [`DefinitionMessage::List`].
        more: bool,
    },
    /// Send me these.
    Fetch {
        /// By hash.
        hashes: BTreeSet<DefinitionHash>,
    },
    /// Some of what was asked for.
    Definitions {
        /// With bodies.
        definitions: Vec<Definition>,
    },
    /// I do not run what you pushed.
    Refused {
        /// The push's id.
        id: u64,
        /// Why, for a person.
        reason: String,
    },
    /// Tell me what you have behind this version.
    List {
        /// The last one that I was told.
        after: Place,
    },
    /// I have what your digest says, and nothing else. The answer to an equal digest, to one that I had not heard of on this link.
    Same,
}

/// Bodies are bytes on the wire, not lists of numbers.
mod body {
    use serde::de::{Error, Visitor};
    use serde::{Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(body: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(body)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Vec<u8>, D::Error> {
        struct Bytes;
        impl Visitor<'_> for Bytes {
            type Value = Vec<u8>;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("bytes")
            }
            fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Vec<u8>, E> {
                Ok(bytes.to_vec())
            }
        }
        d.deserialize_bytes(Bytes)
    }
}
