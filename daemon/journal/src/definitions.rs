//! The definitions of a volume: one file for each, under the name of its hash, before any record names it. A durable instance outlives
//! the process that compiled its machine, so what it runs must be there again when its records are read.

use std::fmt::Write;
use std::io;

use statemesh_protocol::record::{Field, Fields, Unreadable, put_varint};

use crate::header::{self, DEFINITION, FileFault, HeaderFault};
use crate::storage::{self, Storage};

/// The folder.
pub const FOLDER: &str = "definitions";
/// Bytes of a file at most: more than `limits.definitions_bytes` may be for all.
const BYTES_MAX: u64 = 1 << 30;

/// A definition, as its file has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredDefinition {
    /// Its hash, which is the file's name.
    pub hash: [u8; 32],
    /// The machine's id.
    pub machine: String,
    /// The number of the tier in which instances of this id are kept; 0: it is here only since another definition names it.
    pub tier: u8,
    /// Of two definitions of an id the one with the higher number is the newer.
    pub number: u64,
    /// Its text, and the versions of the machines that it names, as members send it to each other.
    pub body: Vec<u8>,
}

/// Why definitions cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum DefinitionsError {
    /// The file could not be reached.
    #[error("definitions cannot be read: {0}")]
    Io(#[from] io::Error),
    /// It is not as it was written.
    #[error("{FOLDER}/{name}: {fault}")]
    Fault {
        /// The file.
        name: String,
        /// What is wrong with it.
        fault: FileFault,
    },
}

impl DefinitionsError {
    /// Its code, which stays the same in every version.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Io(_) => "storage_failed",
            Self::Fault { fault: FileFault::Header(HeaderFault::Later(_)), .. } => "storage_format",
            Self::Fault { .. } => "storage_damaged",
        }
    }
}

impl StoredDefinition {
    fn encode(&self) -> Vec<u8> {
        let mut body = Vec::new();
        body.extend_from_slice(&self.hash);
        self.machine.as_str().write(&mut body);
        body.push(self.tier);
        put_varint(self.number, &mut body);
        self.body.as_slice().write(&mut body);
        let mut bytes = Vec::new();
        header::write(DEFINITION, &body, &mut bytes);
        bytes
    }

    fn decode(name: &str, bytes: &[u8]) -> Result<Self, FileFault> {
        let mut body = Fields::new(header::read(DEFINITION, bytes)?);
        let definition = Self {
            hash: *body.array()?,
            machine: body.read::<&str>()?.to_owned(),
            tier: body.read()?,
            number: body.varint()?,
            body: body.read::<&[u8]>()?.to_vec(),
        };
        body.finish()?;
        if name_of(&definition.hash) == name { Ok(definition) } else { Err(Unreadable::Malformed("the name").into()) }
    }
}

fn name_of(hash: &[u8; 32]) -> String {
    hash.iter().fold(String::with_capacity(64), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Keeps a definition. It is on the device when this returns.
pub fn store<S: Storage>(storage: &S, definition: &StoredDefinition) -> io::Result<()> {
    storage.make_folder(FOLDER)?;
    storage::replace(storage, &format!("{FOLDER}/{}", name_of(&definition.hash)), &definition.encode())
}

/// All definitions of a volume, the oldest first.
pub fn load<S: Storage>(storage: &S) -> Result<Vec<StoredDefinition>, DefinitionsError> {
    storage.make_folder(FOLDER)?;
    storage::sweep(storage, FOLDER)?;
    let mut all = Vec::new();
    for name in storage.list(FOLDER)? {
        let bytes = storage::read(storage, &format!("{FOLDER}/{name}"), BYTES_MAX)?;
        match StoredDefinition::decode(&name, &bytes) {
            Ok(definition) => all.push(definition),
            Err(fault) => return Err(DefinitionsError::Fault { name, fault }),
        }
    }
    // What was read may be in the system's cache only.
    storage.sync_folder(FOLDER)?;
    all.sort_by_key(|definition| definition.number);
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::SimDisk;

    #[test]
    fn definitions_read_back_in_their_order_and_one_under_another_name_is_refused() {
        let disk = SimDisk::new(1);
        let definition = |n: u8, number| StoredDefinition {
            hash: [n; 32],
            machine: "order".to_owned(),
            tier: 1,
            number,
            body: vec![n; 100],
        };
        let both = [definition(9, 1), definition(3, 2)];
        both.iter().for_each(|definition| store(&disk, definition).unwrap());
        assert_eq!(load(&disk).unwrap(), both);
        disk.rename(&format!("{FOLDER}/{}", name_of(&[3; 32])), &format!("{FOLDER}/{}", name_of(&[4; 32]))).unwrap();
        assert_eq!(load(&disk).unwrap_err().code(), "storage_damaged");
    }
}
