//! The file of the gossip keys: one on each line in hexadecimal, the one to send with first.
//!
//! A key is changed in three steps, each of which must have reached every daemon before the next: the new key is *added*,
//! so that all understand it; it is *used*, so that all send with it; the old one is *dropped*. Which step was taken last cannot be seen by the
//! keys, so it stands in a comment behind each that is not sent with. A file that a person wrote has none: then any step is taken.

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

/// Behind a key that no daemon sends with yet.
const ADDED: &str = "added";
/// Behind a key that daemons sent with before.
const FORMER: &str = "former";

/// Takes a step from `text`, which has these keys. Gives the new text, and what is to be done next.
pub(crate) fn rotated(text: &str, keys: Vec<[u8; 32]>, step: Step) -> Result<(String, &'static str), Failure> {
    let last = last_step(text);
    let (keys, next) = stepped(keys, last, step)?;
    let comment = if step == Step::Add { ADDED } else { FORMER };
    Ok((text_of(&keys, comment), next))
}

/// The step of which the comments behind the keys tell.
fn last_step(text: &str) -> Option<Step> {
    let mut comments = text.lines().filter_map(|line| line.split_once('#')).map(|(_, comment)| comment.trim());
    comments.find_map(|comment| match comment {
        ADDED => Some(Step::Add),
        FORMER => Some(Step::Use),
        _ => None,
    })
}

/// The text of a first key.
pub(crate) fn first() -> String {
    text_of(&[rand::random()], "")
}

/// `comment`: of the keys that are not sent with.
fn text_of(keys: &[[u8; 32]], comment: &str) -> String {
    let mut text = String::from("# Gossip keys, the one to send with first; `statemesh keys rotate` changes them.\n");
    for (index, key) in keys.iter().enumerate() {
        text.push_str(&hexadecimal(key));
        if index > 0 {
            text.push_str(&format!(" # {comment}"));
        }
        text.push('\n');
    }
    text
}

/// 64 digits.
pub(crate) fn hexadecimal(key: &[u8; 32]) -> String {
    key.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// `last`: the step before, if that is known.
fn stepped(mut keys: Vec<[u8; 32]>, last: Option<Step>, step: Step) -> Result<(Vec<[u8; 32]>, &'static str), Failure> {
    let refused = |what: &str| Failure::new(Exit::Refused, "wrong_step", what.to_owned());
    let next = match step {
        // Daemons may still send with the one before, which would be labelled as added and go when the rotation is given up.
        Step::Add if last == Some(Step::Use) => {
            return Err(refused("the key before this one is not dropped yet")
                .hint("first, once every daemon has this file: statemesh keys rotate drop"));
        }
        Step::Add if keys.len() >= MAX_KEYS => {
            return Err(
                refused("there are too many keys").hint(
                    "`statemesh keys rotate use` takes the one that was added last, and `statemesh keys rotate drop` then removes the others"
                )
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
        Step::Use if last == Some(Step::Use) => {
            return Err(refused(
                "the key that was added last is used already: this would go back to the one before it",
            )
            .hint("next, once every daemon has this file: statemesh keys rotate drop"));
        }
        Step::Use => {
            keys.rotate_right(1);
            "once every daemon has this file: statemesh keys rotate drop"
        }
        Step::Drop if keys.len() < 2 => {
            return Err(refused("there is one key only").hint("first: statemesh keys rotate add, then use"));
        }
        Step::Drop if last == Some(Step::Add) => {
            return Err(refused("a key was added that is not used yet: this would remove it, and keep the one that is to go").hint(
                "first, once every daemon has this file: statemesh keys rotate use; or to give the rotation up, take the lines out that end in \
                 `# added`",
            ));
        }
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
            rotated("", keys.to_vec(), step).map(|(text, _)| parse(&text).unwrap()).map_err(|failure| failure.code)
        };
        let first = stepped(&[], Step::Add).unwrap();
        assert_eq!(first.len(), 1);
        assert!(stepped(&first, Step::Use).is_err() && stepped(&first, Step::Drop).is_err());
        let both = stepped(&first, Step::Add).unwrap();
        assert_eq!((both.len(), both[0]), (2, first[0]));
        let (_, next) = rotated("", both.clone(), Step::Add).unwrap();
        assert!(next.contains("more than one key is not used"), "{next}");
        let used = stepped(&both, Step::Use).unwrap();
        assert_eq!(used, [both[1], both[0]]);
        assert_eq!(stepped(&used, Step::Drop).unwrap(), [both[1]]);
    }

    #[test]
    fn a_step_waits_for_the_one_before_it() {
        let step = |text: &str, step| rotated(text, parse(text).unwrap_or_default(), step).map(|(text, _)| text);
        let refused = |text: &str, wrong| step(text, wrong).unwrap_err().message;
        let first = step("", Step::Add).unwrap();
        let added = step(&first, Step::Add).unwrap();
        assert!(refused(&added, Step::Drop).contains("is not used yet"), "{added}");
        let used = step(&added, Step::Use).unwrap();
        assert!(refused(&used, Step::Use).contains("is used already"), "{used}");
        let new = parse(&used).unwrap()[0];
        assert_eq!(parse(&step(&used, Step::Drop).unwrap()).unwrap(), [new]);
        assert!(refused(&used, Step::Add).contains("is not dropped yet"), "{used}");
        assert!(!first.contains("# added") && step(&added.replace("# added", ""), Step::Drop).is_ok(), "by hand");
    }

    #[test]
    fn a_wrong_line_is_named_and_not_repeated() {
        let (line, what) = parse(&format!("# a\n{}\n{}g\n", "0".repeat(64), "1".repeat(63))).unwrap_err();
        assert!(line == 3 && !what.contains('1'), "{line}: {what}");
        assert!(parse("\n# nothing\n").is_err());
    }
}
