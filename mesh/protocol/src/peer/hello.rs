//! The greeting of a peer link: each side says who it is and which mesh it belongs to, and may refuse the other.

use serde::{Deserialize, Serialize};

use super::{WireError, decode, encode};
use crate::identity::Identity;

/// Version of what daemons say to each other. Both sides of a link must have the same.
pub const PROTOCOL_VERSION: u16 = 1;

/// First on a link, from both sides.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// [`PROTOCOL_VERSION`] of the sender. First, so that other versions can read it.
    pub version: u16,
    /// Name of the sender's mesh.
    pub mesh: String,
    /// Its partition count.
    pub partitions: u16,
    /// Who the sender is.
    pub identity: Identity,
    /// Digest of the definitions that it has.
    pub definitions: u64,
}

/// Why a greeting is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum RefusalCode {
    /// The two speak different versions.
    VersionDiffers,
    /// They belong to different meshes.
    MeshDiffers,
    /// The mesh has another partition count.
    PartitionsDiffer,
    /// A live member at another address has the name.
    NameInUse,
    /// A newer process of the same name is known.
    Superseded,
}

impl RefusalCode {
    /// The stable code that logs, metrics and errors show.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::VersionDiffers => "version_differs",
            Self::MeshDiffers => "mesh_differs",
            Self::PartitionsDiffer => "partitions_differ",
            Self::NameInUse => "name_in_use",
            Self::Superseded => "superseded",
        }
    }
}

/// The answer to a greeting that is not accepted; the link is closed after it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// Why.
    pub code: RefusalCode,
    /// What differs, for a person.
    pub message: String,
    /// How to go on.
    pub hint: String,
}

impl Hello {
    /// The greeting as MessagePack.
    ///
    /// # Errors
    /// [`WireError::TooLarge`] if the mesh's name is absurd.
    pub fn encode(&self) -> Result<Vec<u8>, WireError> {
        encode(self)
    }

    /// Reads a greeting.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        decode(bytes)
    }

    /// May the sender of `theirs` talk to us? `known` is the incarnation of the newest process of its name that membership knows; `self` is our own greeting.
    ///
    /// # Errors
    /// What to answer it.
    pub fn check(&self, theirs: &Self, known: Option<u64>) -> Result<(), Refusal> {
        self.check_mesh(theirs)?;
        let (ours, other) = (&self.identity, &theirs.identity);
        if other.name == ours.name && !other.same_process(ours) {
            return Err(name_in_use(other, ours));
        }
        match known {
            Some(known) if known > other.incarnation => Err(Refusal {
                code: RefusalCode::Superseded,
                message: format!("a newer process than yours has the name {}", other.name),
                hint: "start the daemon again, or give it another name with --name".into(),
            }),
            _ => Ok(()),
        }
    }

    fn check_mesh(&self, theirs: &Self) -> Result<(), Refusal> {
        let refuse = |code, message, hint: &str| {
            let hint = hint.into();
            Err(Refusal { code, message, hint })
        };
        if self.version != theirs.version {
            return refuse(
                RefusalCode::VersionDiffers,
                format!("we speak version {}, you {}", self.version, theirs.version),
                "run the same release on all members",
            );
        }
        if self.mesh != theirs.mesh {
            return refuse(
                RefusalCode::MeshDiffers,
                format!("this is mesh '{}', yours is '{}'", self.mesh, theirs.mesh),
                "set --mesh to the name of the mesh to join, or look who is in your DNS record",
            );
        }
        if self.partitions != theirs.partitions {
            return refuse(
                RefusalCode::PartitionsDiffer,
                format!("this mesh has {} partitions, you have {}", self.partitions, theirs.partitions),
                "set --partitions to what the mesh was born with: it can't be changed later",
            );
        }
        Ok(())
    }
}

fn name_in_use(theirs: &Identity, by: &Identity) -> Refusal {
    Refusal {
        code: RefusalCode::NameInUse,
        message: format!("{} at {} has this name", theirs.name, by.peer_addr()),
        hint: "give each daemon a name of its own with --name".into(),
    }
}

impl Refusal {
    /// The refusal as MessagePack.
    ///
    /// # Errors
    /// Never for a refusal that [`Hello::check`] made, unless names are absurd.
    pub fn encode(&self) -> Result<Vec<u8>, WireError> {
        encode(self)
    }

    /// Reads a refusal.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        decode(bytes)
    }
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}; {}", self.code.as_str(), self.message, self.hint)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::{MemberName, Ports};

    fn hello(name: &str, incarnation: u64, ip: [u8; 4]) -> Hello {
        let name = MemberName::new(name).unwrap();
        Hello {
            version: PROTOCOL_VERSION,
            mesh: "default".into(),
            partitions: 1024,
            identity: Identity::new(name, incarnation, ip.into(), Ports::default()),
            definitions: 0,
        }
    }

    fn code(result: Result<(), Refusal>) -> Option<&'static str> {
        let refusal = result.err()?;
        let bytes = refusal.encode().unwrap();
        assert_eq!(Refusal::decode(&bytes).unwrap(), refusal);
        Some(refusal.code.as_str())
    }

    #[test]
    fn a_daemon_that_disagrees_is_told_so() {
        let ours = hello("a", 1, [10, 0, 0, 1]);
        let theirs = hello("b", 1, [10, 0, 0, 2]);
        assert_eq!(Hello::decode(&theirs.encode().unwrap()).unwrap(), theirs);
        assert_eq!(code(ours.check(&theirs, None)), None);
        let version = Hello { version: 2, ..theirs.clone() };
        assert_eq!(code(ours.check(&version, None)), Some("version_differs"));
        let mesh = Hello { mesh: "x".into(), ..theirs.clone() };
        assert_eq!(code(ours.check(&mesh, None)), Some("mesh_differs"));
        let partitions = Hello { partitions: 8, ..theirs };
        assert_eq!(code(ours.check(&partitions, None)), Some("partitions_differ"));
    }

    #[test]
    fn a_name_belongs_to_one_process_and_the_newest() {
        let ours = hello("a", 1, [10, 0, 0, 1]);
        let namesake = hello("a", 2, [10, 0, 0, 2]);
        assert_eq!(code(ours.check(&namesake, None)), Some("name_in_use"));
        let older = hello("b", 4, [10, 0, 0, 3]);
        assert_eq!(code(ours.check(&older, Some(5))), Some("superseded"));
        let newer = hello("b", 6, [10, 0, 0, 3]);
        assert_eq!(code(ours.check(&newer, Some(5))), None);
    }
}
