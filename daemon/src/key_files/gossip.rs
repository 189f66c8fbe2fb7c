//! The file of the gossip keys: one on each line in hexadecimal, the one to send with first.
//!
//! A key is changed in three steps, each of which must have reached every daemon before the next: the new key is *added*,
//! so that all understand it; it is *used*, so that all send with it; the old one is *dropped*.

use super::{read_text, wrong};
use crate::failure::{Exit, Failure};
use crate::kind::key as gossip_key;
use std::path::Path;

/// The most keys that a daemon takes.
const MAX_KEYS: usize = 8;

/// Reads the keys.
pub(crate) fn read(path: &Path) -> Result<Vec<[u8; 32]>, Failure> {
    parse(&read_text(path)?).map_err(|(line, what)| wrong(path.display(), line, what))
}

/// The keys of a text, or in which line what is wrong.
pub(crate) fn parse(text: &str) -> Result<Vec<[u8; 32]>, (usize, String)> {
    let mut keys = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.split('#').next().unwrap_or_default().trim();
        if line.is_empty() {
            continue;
        }
        // The line is not repeated: it may be a key but for one digit.
        let key = gossip_key(line).ok_or_else(|| (index + 1, "this is not 64 hexadecimal digits".to_owned()))?;
        keys.push(key);
    }
    match keys.len() {
        0 => Err((1, "there is no key in it; `statemesh keys rotate add` writes one".to_owned())),
        1..=MAX_KEYS => Ok(keys),
        count => Err((1, format!("{count} keys; a rotation needs two, and {MAX_KEYS} are accepted"))),
    }
}

/// A step of a rotation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Step {
    /// Add a new key that is understood, but not sent with (the first key of a new file is both)
    Add,
    /// Send with the key that was added last
    Use,
    /// Drop all keys but the one that is sent with
    Drop,
}

/// Takes a step. Gives the new text, and what is to be done next.
pub(crate) fn rotated(keys: Vec<[u8; 32]>, step: Step) -> Result<(String, &'static str), Failure> {
    let (keys, next) = stepped(keys, step)?;
    Ok((text_of(&keys), next))
}

/// The text of a first key.
pub(crate) fn first() -> String {
    text_of(&[rand::random()])
}

fn text_of(keys: &[[u8; 32]]) -> String {
    let mut text = String::from("# Gossip keys, the one to send with first; `statemesh keys rotate` changes them.\n");
    for key in keys {
        text.push_str(&hexadecimal(key));
        text.push('\n');
    }
    text
}

/// 64 digits.
pub(crate) fn hexadecimal(key: &[u8; 32]) -> String {
    key.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn stepped(mut keys: Vec<[u8; 32]>, step: Step) -> Result<(Vec<[u8; 32]>, &'static str), Failure> {
    let refused = |what: &str| Failure::new(Exit::Refused, "wrong_step", what.to_owned());
    let next = match step {
        Step::Add if keys.len() >= MAX_KEYS => {
            return Err(
                refused("there are too many keys").hint("`statemesh keys rotate drop` removes those that are not used")
            );
        }
        Step::Add => {
            keys.push(rand::random());
            if keys.len() == 1 {
                "give every daemon this file (gossip.keys_file)"
            } else if keys.len() > 2 {
                "more than one key is not used: statemesh keys rotate use takes this one, and drop removes all others; once every daemon \
                 has this file: statemesh keys rotate use"
            } else {
                "once every daemon has this file: statemesh keys rotate use"
            }
        }
        Step::Use if keys.len() < 2 => {
            return Err(refused("there is no other key to use").hint("first: statemesh keys rotate add"));
        }
        Step::Use => {
            keys.rotate_right(1);
            "once every daemon has this file: statemesh keys rotate drop"
        }
        Step::Drop if keys.len() < 2 => return Err(refused("there is one key only")),
        Step::Drop => {
            keys.truncate(1);
            "done, once every daemon has this file"
        }
    };
    Ok((keys, next))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_steps_change_the_key() {
        let stepped = |keys: &[[u8; 32]], step| {
            rotated(keys.to_vec(), step).map(|(text, _)| parse(&text).unwrap()).map_err(|failure| failure.code)
        };
        let first = stepped(&[], Step::Add).unwrap();
        assert_eq!(first.len(), 1);
        assert!(stepped(&first, Step::Use).is_err() && stepped(&first, Step::Drop).is_err());
        let both = stepped(&first, Step::Add).unwrap();
        assert_eq!((both.len(), both[0]), (2, first[0]));
        let (_, next) = rotated(both.clone(), Step::Add).unwrap();
        assert!(next.contains("more than one key is not used"), "{next}");
        let used = stepped(&both, Step::Use).unwrap();
        assert_eq!(used, [both[1], both[0]]);
        assert_eq!(stepped(&used, Step::Drop).unwrap(), [both[1]]);
    }

    #[test]
    fn a_wrong_line_is_named_and_not_repeated() {
        let (line, what) = parse(&format!("# a\n{}\n{}g\n", "0".repeat(64), "1".repeat(63))).unwrap_err();
        assert!(line == 3 && !what.contains('1'), "{line}: {what}");
        assert!(parse("\n# nothing\n").is_err());
    }
}
