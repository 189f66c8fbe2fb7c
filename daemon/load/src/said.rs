//! What a good answer says of its key: where it stands, and what of it is gone. These are the rules of
//! `docs/reference/protocol.md` that every history checker goes by.
//!
//! There are two checkers, and they share no more than this. [`crate::HistoryChecker`] counts while a run goes on, a few words for each
//! key, and can, since its run alone writes a key and has one event under way for each. The judge of the simulator (`tests/sim`) has
//! clients that share keys and keep many requests under way, so only the whole history and what each key has in the end can
//! tell what is wrong: it keeps every request with its times, which no run of a million events a second could.

use statemesh_client::answers;
use statemesh_protocol::reply_reader::Fields;
use statemesh_protocol::run::RunId;

/// A transition of a key: the life of the key, and the transition's number in that life. Lives of a key ascend.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The life; none if a reply does not say.
    pub run: Option<RunId>,
    /// Transitions since it began.
    pub seq: u64,
}

impl Place {
    /// Reads it out of a reply or a change.
    #[must_use]
    pub fn of(fields: &Fields<'_>) -> Self {
        Self { run: life(fields), seq: fields.uint("seq").unwrap_or_default() }
    }

    /// Whether both are in one life.
    #[must_use]
    pub fn is_in_life_of(self, other: Self) -> bool {
        self.run == other.run
    }
}

/// What `explain` shows of a key without an instance has the life 0: that is none.
fn life(fields: &Fields<'_>) -> Option<RunId> {
    Some(answers::run(fields)).filter(|run| *run != RunId::default())
}

/// Transitions of a key that a reply says are gone, beside the state that it shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gone {
    /// The first of them; all later ones of its life are gone too.
    pub from: Place,
    /// They went with an owner, of whom it is not known that it did any.
    pub with_owner: bool,
}

impl Gone {
    /// Whether this transition is among them. One of an unknown life may be.
    #[must_use]
    pub fn has(self, place: Place) -> bool {
        (place.run.is_none() || place.is_in_life_of(self.from)) && self.from.seq <= place.seq
    }
}

/// What a good answer says of its key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Said {
    /// Where the instance is.
    pub place: Place,
    /// Whether the event made a transition.
    pub changed: bool,
    /// Whether the instance began anew, its predecessor having been lost with its owner.
    pub restarted: bool,
    /// What is gone besides.
    pub gone: Option<Gone>,
}

impl Said {
    /// Reads it out of a reply.
    #[must_use]
    pub fn of(reply: &Fields<'_>) -> Self {
        let is = |name| reply.bool(name) == Some(true);
        let gone = reply.map("conflict").map(|gone| Gone {
            from: Place { run: life(&gone), seq: gone.uint("lost_from").unwrap_or_default() },
            with_owner: gone.text("reason").as_deref() == Some("owner_lost"),
        });
        Self { place: Place::of(reply), changed: is("changed"), restarted: is("restarted"), gone }
    }

    /// Whether it says that this transition is gone: it names it, or says that another instance was before its own, of a higher life,
    /// since what has begun later is no answer to what was there before.
    #[must_use]
    pub fn loses(&self, place: Place) -> bool {
        let another = self.restarted && (place.run.is_none() || self.place.run > place.run);
        another || self.gone.is_some_and(|gone| gone.has(place))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(reply: &str) -> Said {
        Said::of(&Fields::read(reply.as_bytes()).unwrap())
    }

    fn place(run: u64, seq: u64) -> Place {
        Place { run: Some(RunId(run)), seq }
    }

    #[test]
    fn a_reply_is_read_with_what_is_gone() {
        let reply = r#"{"ok":true,"run":"b","seq":4,"changed":true,"conflict":{"reason":"owner_lost","lost_from":3,"run":"a"}}"#;
        let gone = Some(Gone { from: place(10, 3), with_owner: true });
        assert_eq!(said(reply), Said { place: place(11, 4), changed: true, restarted: false, gone });
        assert_eq!(
            said(r#"{"ok":true,"new":true,"run":"b","restarted":true}"#),
            Said { place: place(11, 0), restarted: true, ..Said::default() },
            "an instance that a request made"
        );
        assert_eq!(
            said(r#"{"ok":true,"new":true,"run":"0000000000000000"}"#),
            Said::default(),
            "one that is only explained"
        );
    }

    #[test]
    fn what_is_named_is_gone_from_there_on_and_what_was_before_a_later_life_as_a_whole() {
        let named =
            Said { place: place(12, 9), gone: Some(Gone { from: place(10, 3), with_owner: false }), ..Said::default() };
        assert_eq!([2, 3, 7].map(|seq| named.loses(place(10, seq))), [false, true, true]);
        assert!(!named.loses(place(11, 3)) && named.loses(Place { run: None, seq: 3 }));
        let anew = Said { place: place(12, 1), restarted: true, ..Said::default() };
        assert_eq!([11, 12, 13].map(|run| anew.loses(place(run, 1))), [true, false, false]);
    }
}
