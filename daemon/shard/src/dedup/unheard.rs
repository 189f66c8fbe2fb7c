//! Answers that nobody may have heard. A daemon that waits for another's answer as a cut comes sends the request again, by its token, to
//! whoever takes the other's place; its client hears that answer, and not what the first one said of what was lost.

use super::{Known, Tokens};
use crate::marks::KeyMark;

impl Tokens {
    /// What answers said of what was lost to requests that another copy of the key has answered as well, where that did not say it.
    pub(crate) fn unheard<'a>(&'a self, other: &'a Self) -> impl Iterator<Item = KeyMark> + 'a {
        self.0.iter().filter_map(|(asked, answer)| {
            let said = answer.mark.as_deref()?;
            match other.know(*asked) {
                Known::Same(also) if also.mark != answer.mark => Some(*said),
                _ => None,
            }
        })
    }
}
