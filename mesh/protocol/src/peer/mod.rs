//! What daemons say to each other over a peer link: frames, the greeting, and control messages.

pub mod body;
pub mod definition;
pub mod frame;
pub mod hello;
pub mod index;
pub mod ownership;

use serde::{Deserialize, Serialize};

use definition::DefinitionMessage;
use index::IndexMessage;
use ownership::OwnershipMessage;

/// Largest control message, encoded: a definition of the largest size that is accepted, and room around it.
pub const MAX_CONTROL_BYTES: usize = 4 << 20;

/// A control message between two daemons, after the greeting.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum PeerMessage {
    /// About partitions.
    Ownership {
        /// Hash of the sender's view, to tell a difference of views in logs and metrics.
        view: u64,
        /// What it says.
        message: OwnershipMessage,
    },
    /// About machine definitions.
    Definitions(DefinitionMessage),
    /// About who is there: what membership would rather not lose as a datagram again, sealed as one.
    Membership(Vec<u8>),
    /// About key indexes.
    Index(IndexMessage),
}

/// A control message that can't be sent or read.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    /// Over [`MAX_CONTROL_BYTES`].
    #[error("a control message of {0} bytes: at most {MAX_CONTROL_BYTES} are allowed")]
    TooLarge(usize),
    /// It could not be encoded.
    #[error("a control message could not be encoded: {0}")]
    Encode(#[from] rmp_serde::encode::Error),
    /// It is not a control message of this version.
    #[error("not a control message: {0}")]
    Decode(#[from] rmp_serde::decode::Error),
}

impl PeerMessage {
    /// The message as MessagePack.
    ///
    /// # Errors
    /// [`WireError::TooLarge`] over the limit.
    pub fn encode(&self) -> Result<Vec<u8>, WireError> {
        encode(self)
    }

    /// Reads a message.
    ///
    /// # Errors
    /// What is wrong with it. The link that it came over should be closed.
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        decode(bytes)
    }
}

fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>, WireError> {
    let bytes = rmp_serde::to_vec(value)?;
    if bytes.len() > MAX_CONTROL_BYTES {
        return Err(WireError::TooLarge(bytes.len()));
    }
    Ok(bytes)
}

fn decode<'de, T: Deserialize<'de>>(bytes: &'de [u8]) -> Result<T, WireError> {
    if bytes.len() > MAX_CONTROL_BYTES {
        return Err(WireError::TooLarge(bytes.len()));
    }
    Ok(rmp_serde::from_slice(bytes)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::MemberName;
    use crate::partition_set::PartitionSet;
    use ownership::{Answer, Cut, Known, Missing, Purpose};

    fn messages() -> Vec<PeerMessage> {
        let set: PartitionSet = [1, 5, 1023].into_iter().collect();
        let all: PartitionSet = (0..1024).collect();
        let known = Known { member: MemberName::new("node-1").unwrap(), set: set.clone() };
        let answer = Answer { held: all.clone(), claimed: vec![known.clone()], lost: vec![known], ..Answer::default() };
        let missing =
            Missing { member: MemberName::new("b").unwrap(), incarnation: 9, rumoured: true, remembered_ms: 5 };
        let common = ["a", "b"].map(|name| MemberName::new(name).unwrap()).into();
        let cut = Cut { common, left: Vec::new(), missing: vec![missing] };
        let ownership = [
            OwnershipMessage::Query { id: 7, purpose: Purpose::Claim, set: all },
            OwnershipMessage::Answer { id: 7, answer: Box::new(answer) },
            OwnershipMessage::Offer { number: u64::MAX, side: 3, came: true, doubtful: true, set: set.clone() },
            OwnershipMessage::Met { buried: true, cut: Some(Box::new(cut)) },
            OwnershipMessage::NotHere { set },
        ];
        let ownership = ownership.map(|message| PeerMessage::Ownership { view: u64::MAX, message });
        ownership.into_iter().chain([PeerMessage::Membership(vec![0, 255])]).collect()
    }

    #[test]
    fn messages_arrive_as_they_were_sent_and_no_prefix_does() {
        for message in messages() {
            let bytes = message.encode().unwrap();
            assert!(bytes.len() < 400, "{} bytes", bytes.len());
            assert_eq!(PeerMessage::decode(&bytes).unwrap(), message);
            assert!((0..bytes.len()).all(|len| PeerMessage::decode(&bytes[..len]).is_err()));
        }
    }

    #[test]
    fn hostile_lengths_are_an_error_and_cost_no_memory() {
        // An array of 2^32-1 elements, in a message of a few bytes.
        for bytes in [&[0xdd, 255, 255, 255, 255][..], &[0xc6, 255, 255, 255, 255], &[0xc1]] {
            assert!(PeerMessage::decode(bytes).is_err());
        }
        assert!(PeerMessage::decode(&[0x91; 100_000]).is_err());
        let large = vec![0; MAX_CONTROL_BYTES + 1];
        assert!(matches!(PeerMessage::decode(&large), Err(WireError::TooLarge(_))));
    }
}
