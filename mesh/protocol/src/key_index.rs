//! Key indexes as bytes: which keys exist in partitions, told to the member that would have to say what was lost with them.
//! A key whose instance is lost, and that no client has asked for since, is told as well, or its loss would be forgotten with
//! its holder; and so is one whose instance was removed, or it would be missed with its holder.

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
}

impl<'a> Key<'a> {
    /// Appends the key to an index.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.partition.to_le_bytes());
        out.push(match self.state {
            KeyState::Live => 0,
            KeyState::Lost => 1,
            KeyState::Removed => 2,
        });
        out.extend_from_slice(&self.run.0.to_le_bytes());
        out.extend_from_slice(&self.tenure.0.to_le_bytes());
        put_bytes(out, self.machine.as_bytes());
        put_bytes(out, self.key.as_bytes());
    }

    /// Reads the next key of an index.
    ///
    /// # Errors
    /// The bytes are no index.
    pub fn decode(input: &mut Input<'a>) -> Result<Self, Malformed> {
        let partition = Partition::from_le_bytes(*input.array()?);
        let state = match input.byte()? {
            0 => KeyState::Live,
            1 => KeyState::Lost,
            2 => KeyState::Removed,
            _ => return Err(input.malformed()),
        };
        let (run, tenure) = (RunId(input.u64()?), Tenure(input.u64()?));
        Ok(Self { partition, state, run, tenure, machine: input.text()?, key: input.text()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_read_back_and_cut_ones_are_errors() {
        for state in [KeyState::Live, KeyState::Lost, KeyState::Removed] {
            let key = Key { partition: 513, machine: "order", key: "42/é", run: RunId(7), state, tenure: Tenure(9) };
            let mut bytes = Vec::new();
            key.encode(&mut bytes);
            let len = bytes.len();
            key.encode(&mut bytes);
            let mut input = Input::new(&bytes);
            assert_eq!((Key::decode(&mut input), Key::decode(&mut input), input.is_empty()), (Ok(key), Ok(key), true));
            assert!((0..len).all(|cut| Key::decode(&mut Input::new(&bytes[..cut])).is_err()));
        }
    }
}
