//! A conflict that no reply has said yet, as standbys are told of it: who takes the place of its holder has to say it.
//!
//! In a key index it is a key without a machine, as a life that was lost is, with a longer name: that of all that tells it from others.

use statemesh_protocol::key_index::{Key, KeyState, Told};
use statemesh_protocol::run::RunId;
use statemesh_protocol::tenure::Tenure;

use crate::marks::{Conflict, ConflictReason};

/// Hexadecimal digits of a number.
const DIGITS: usize = 16;

/// A conflict of a key which no reply has said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnsaidConflict {
    /// The hash of `machine/key`.
    pub hash: u64,
    /// What is gone.
    pub conflict: Conflict,
    /// The copy that did what is gone.
    pub tenure: Tenure,
}

impl UnsaidConflict {
    /// Appends it to an index.
    pub(crate) fn encode(&self, partition: u16, number: u64, state: KeyState, out: &mut Vec<u8>) {
        let Self { hash, conflict: Conflict { reason, lost_from, run }, tenure } = *self;
        let name = format!(
            "{hash:0DIGITS$x}{:0DIGITS$x}{lost_from:0DIGITS$x}{:0DIGITS$x}{:x}",
            run.0,
            tenure.0,
            reason.code()
        );
        Told::Key(Key { partition, machine: "", key: &name, run, state, tenure, number }).encode(out);
    }

    /// Reads the name that [`UnsaidConflict::encode`] gave it; none if it is another's.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        let number = |n: usize| u64::from_str_radix(name.get(n * DIGITS..(n + 1) * DIGITS)?, 16).ok();
        let reason = ConflictReason::of_code(u8::from_str_radix(name.get(4 * DIGITS..)?, 16).ok()?)?;
        let conflict = Conflict { reason, run: RunId(number(1)?), lost_from: number(2)? };
        Some(Self { hash: number(0)?, conflict, tenure: Tenure(number(3)?) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use statemesh_protocol::image::Input;

    #[test]
    fn what_is_told_reads_back_and_a_life_that_was_lost_is_none() {
        for reason in [ConflictReason::Merged, ConflictReason::OwnerLost] {
            let conflict = Conflict { reason, lost_from: 7, run: RunId(u64::MAX) };
            let unsaid = UnsaidConflict { hash: 3, conflict, tenure: Tenure(9) };
            let mut bytes = Vec::new();
            unsaid.encode(5, 1, KeyState::Lost, &mut bytes);
            let Ok(Told::Key(key)) = Told::decode(&mut Input::new(&bytes)) else { panic!("it reads back") };
            assert_eq!((key.partition, key.machine, key.run, key.tenure), (5, "", conflict.run, unsaid.tenure));
            assert_eq!(UnsaidConflict::parse(key.key), Some(unsaid));
            for len in 0..key.key.len() {
                assert_eq!(UnsaidConflict::parse(&key.key[..len]), None);
            }
            // Who knows only lives that were lost passes over it.
            assert!(u64::from_str_radix(key.key, 16).is_err());
        }
        assert_eq!(UnsaidConflict::parse(&"é".repeat(40)), None);
    }
}
