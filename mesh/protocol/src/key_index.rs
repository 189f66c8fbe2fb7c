//! Key indexes as bytes: which keys exist in partitions, told to the members that would have to say what was lost with them.
//! A key whose instance is lost, and that no client has asked for since, is told as well, or its loss would be forgotten with
//! its holder; and so is one whose instance was removed, or it would be missed with its holder.
//!
//! All that a process tells of a partition has a number, in the order in which it became so there. Of two members that it told the one that
//! knows everything up to a later number knows better, also what is not there any more.

use crate::hash::Partition;
use crate::image::{Input, Malformed, put_bytes};
use crate::run::RunId;
use crate::tenure::Tenure;

/// How a key stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyState {
    /// It has an instance.
    Live,
    /// Its instance is lost, or some of it is gone, which was published and counted, but not told to a client that asked for it.
    Lost,
    /// Its instance was removed, or what is gone was told: there is nothing to be lost.
    Removed,
}

/// One key, and how it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key<'a> {
    /// Its partition.
    pub partition: Partition,
    /// Its machine.
    pub machine: &'a str,
    /// The key.
    pub key: &'a str,
    /// The life of its instance.
    pub run: RunId,
    /// How it stands.
    pub state: KeyState,
    /// In which copy of its partition it was seen last.
    pub tenure: Tenure,
    /// As of which number.
    pub number: u64,
}

/// What is told of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told<'a> {
    /// How a key stands.
    Key(Key<'a>),
    /// All keys of a partition are told next, as of this number and under it.
    All {
        /// Which partition.
        partition: Partition,
        /// The number.
        number: u64,
    },
    /// What comes next of a partition is passed on. Who told it is `teller`, and everything up to a number is among it.
    Of {
        /// Which partition.
        partition: Partition,
        /// Who told it.
        teller: &'a str,
        /// Which process of that name.
        incarnation: u64,
        /// The number; 0 if that is not so, or not yet.
        whole: u64,
    },
}

const ALL: u8 = 3;
const OF: u8 = 4;

impl<'a> Told<'a> {
    /// Appends it to an index.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let (kind, partition, number) = match *self {
            Self::Key(Key { state: KeyState::Live, partition, number, .. }) => (0, partition, number),
            Self::Key(Key { state: KeyState::Lost, partition, number, .. }) => (1, partition, number),
            Self::Key(Key { state: KeyState::Removed, partition, number, .. }) => (2, partition, number),
            Self::All { partition, number } => (ALL, partition, number),
            Self::Of { partition, whole, .. } => (OF, partition, whole),
        };
        out.push(kind);
        out.extend_from_slice(&partition.to_le_bytes());
        out.extend_from_slice(&number.to_le_bytes());
        match *self {
            Self::Key(Key { machine, key, run, tenure, .. }) => {
                out.extend_from_slice(&run.0.to_le_bytes());
                out.extend_from_slice(&tenure.0.to_le_bytes());
                put_bytes(out, machine.as_bytes());
                put_bytes(out, key.as_bytes());
            }
            Self::All { .. } => {}
            Self::Of { teller, incarnation, .. } => {
                out.extend_from_slice(&incarnation.to_le_bytes());
                put_bytes(out, teller.as_bytes());
            }
        }
    }

    /// Reads what is told next.
    ///
    /// # Errors
    /// The bytes are no index.
    pub fn decode(input: &mut Input<'a>) -> Result<Self, Malformed> {
        let kind = input.byte()?;
        let partition = Partition::from_le_bytes(*input.array()?);
        let number = input.u64()?;
        let state = match kind {
            0 => KeyState::Live,
            1 => KeyState::Lost,
            2 => KeyState::Removed,
            ALL => return Ok(Self::All { partition, number }),
            OF => {
                let incarnation = input.u64()?;
                return Ok(Self::Of { partition, teller: input.text()?, incarnation, whole: number });
            }
            _ => return Err(input.malformed()),
        };
        let (run, tenure) = (RunId(input.u64()?), Tenure(input.u64()?));
        Ok(Self::Key(Key { partition, state, run, tenure, number, machine: input.text()?, key: input.text()? }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_reads_back_and_what_is_cut_is_an_error() {
        let (partition, number) = (513, u64::MAX);
        let key = |state| {
            let (run, tenure) = (RunId(7), Tenure(9));
            Told::Key(Key { partition, machine: "order", key: "42/é", run, state, tenure, number })
        };
        let of = Told::Of { partition, teller: "node-1", incarnation: 7, whole: 0 };
        let all = Told::All { partition, number };
        for told in [key(KeyState::Live), key(KeyState::Lost), key(KeyState::Removed), all, of] {
            let mut bytes = Vec::new();
            told.encode(&mut bytes);
            let len = bytes.len();
            told.encode(&mut bytes);
            let mut input = Input::new(&bytes);
            let read = (Told::decode(&mut input), Told::decode(&mut input), input.is_empty());
            assert_eq!(read, (Ok(told), Ok(told), true));
            assert!((0..len).all(|cut| Told::decode(&mut Input::new(&bytes[..cut])).is_err()));
        }
    }
}
