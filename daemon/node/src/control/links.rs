//! Links between this daemon and each other: there is a link when each side's control lane to the other is greeted. What
//! arrives before both are is kept, so that nothing said first is missed, and nothing is answered on a lane that is not there.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use statemesh_protocol::peer::{MAX_CONTROL_BYTES, PeerMessage};

/// Messages kept for a link that is half there, keys behind each other counting as one, and the bytes of all as they came: room for the
/// largest message, and for some 100,000 keys.
const EARLY: usize = 256;
const EARLY_BYTES: usize = MAX_CONTROL_BYTES + 8 * 1024 * 1024;

#[derive(Debug)]
struct Link<L> {
    to: bool,
    /// Lanes that the member opened: for a moment there may be an old and a new one. By themselves, and not by their number:
    /// the end of one that was forgotten with an earlier process of the member may be told of late.
    from: BTreeSet<L>,
    up: bool,
    early: Vec<Said>,
    early_bytes: usize,
}

/// What a member says to the control plane, of which the order counts: keys that it tells stand between what it says of them.
#[derive(Debug, PartialEq)]
pub(super) enum Said {
    /// A message.
    Message(PeerMessage),
    /// Keys, one behind the other.
    Keys {
        /// Those that others told it.
        relayed: bool,
        /// As they came.
        body: Vec<u8>,
    },
}

impl Said {
    /// Puts keys behind these. Gives back what cannot be put there.
    fn extend(&mut self, next: Self) -> Option<Self> {
        match (self, next) {
            (Self::Keys { relayed, body }, Self::Keys { relayed: also, body: more }) if *relayed == also => {
                body.extend_from_slice(&more);
                None
            }
            (_, next) => Some(next),
        }
    }
}

/// More came early than there is room for: the lanes have to end, as what comes behind cannot be taken without it.
#[derive(Debug, PartialEq)]
pub(super) struct NoRoom;

/// What became of a link.
#[derive(Debug, PartialEq)]
pub(super) enum Change {
    /// Nothing that matters.
    None,
    /// It is there now; these messages came before.
    Up(Vec<Said>),
    /// It is gone.
    Down,
}

impl<L> Default for Link<L> {
    fn default() -> Self {
        Self { to: false, from: BTreeSet::new(), up: false, early: Vec::new(), early_bytes: 0 }
    }
}

impl<L> Link<L> {
    /// What came early, which is kept no more.
    fn forget_early(&mut self) -> Vec<Said> {
        self.early_bytes = 0;
        std::mem::take(&mut self.early)
    }
}

/// All links, by the member's number. An `L` names a lane that a member opened.
#[derive(Debug)]
pub(super) struct Links<L> {
    by_member: BTreeMap<u32, Link<L>>,
    /// Members that left a moment ago, and when their links end.
    departed: BTreeMap<u32, Instant>,
}

impl<L> Default for Links<L> {
    fn default() -> Self {
        Self { by_member: BTreeMap::new(), departed: BTreeMap::new() }
    }
}

impl<L: Ord> Links<L> {
    /// Our lane to a member is ready, or gone.
    pub(super) fn to(&mut self, member: u32, up: bool) -> Change {
        self.change(member, |link| link.to = up)
    }

    /// A member's lane to us is greeted, or gone.
    pub(super) fn from(&mut self, member: u32, lane: L, up: bool) -> Change {
        self.change(member, |link| {
            if up {
                link.from.insert(lane);
            } else {
                link.from.remove(&lane);
            }
        })
    }

    fn change(&mut self, member: u32, change: impl FnOnce(&mut Link<L>)) -> Change {
        let link = self.by_member.entry(member).or_default();
        let had_lanes = !link.from.is_empty();
        change(link);
        if had_lanes && link.from.is_empty() {
            // The member says anew what holds when it opens the next lane.
            link.forget_early();
        }
        let up = link.to && !link.from.is_empty();
        let changed = match (std::mem::replace(&mut link.up, up), up) {
            (false, true) => Change::Up(link.forget_early()),
            (true, false) => {
                link.forget_early();
                Change::Down
            }
            _ => Change::None,
        };
        if !link.to && link.from.is_empty() {
            self.by_member.remove(&member);
        }
        changed
    }

    /// Gives what was said, in so many bytes, back if the link is up; otherwise keeps it until it is, unless the lanes that it may
    /// have come by are gone. They are from here on where there is no room for it.
    pub(super) fn receive(&mut self, member: u32, said: Said, bytes: usize) -> Result<Option<Said>, NoRoom> {
        let link = self.by_member.get_mut(&member).filter(|link| !link.from.is_empty());
        let Some(link) = link else { return Ok(None) };
        if link.up {
            return Ok(Some(said));
        }
        // A probe that waited answers nothing any more.
        if matches!(said, Said::Message(PeerMessage::Membership(_))) {
            return Ok(None);
        }
        if link.early.len() >= EARLY || link.early_bytes + bytes > EARLY_BYTES {
            link.from.clear();
            link.forget_early();
            return Err(NoRoom);
        }
        link.early_bytes += bytes;
        let said = match link.early.last_mut() {
            Some(last) => last.extend(said),
            None => Some(said),
        };
        link.early.extend(said);
        Ok(None)
    }

    /// The members to which there is a link.
    pub(super) fn up(&self) -> impl Iterator<Item = u32> + '_ {
        self.by_member.iter().filter(|(_, link)| link.up).map(|(member, _)| *member)
    }

    /// A member has left: its link ends by itself, or at this time.
    pub(super) fn depart(&mut self, member: u32, at: Instant) {
        self.departed.insert(member, at);
    }

    /// A member is there again. Says whether its link is still to end.
    pub(super) fn is_back(&mut self, member: u32) -> bool {
        self.departed.remove(&member).is_some()
    }

    /// When the link of a member that has left ends next.
    pub(super) fn next_end(&self) -> Option<Instant> {
        self.departed.values().min().copied()
    }

    /// Takes out the members that have left and whose links end now.
    pub(super) fn ends(&mut self, now: Instant) -> Vec<u32> {
        self.departed.extract_if(.., |_, at| *at <= now).map(|(member, _)| member).collect()
    }

    /// Forgets a member. Says whether there was a link.
    pub(super) fn forget(&mut self, member: u32) -> bool {
        self.by_member.remove(&member).is_some_and(|link| link.up)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use statemesh_protocol::peer::definition::DefinitionMessage;

    fn said() -> Said {
        Said::Message(PeerMessage::Definitions(DefinitionMessage::Digest { digest: 7 }))
    }

    fn keys(relayed: bool, body: &[u8]) -> Said {
        Said::Keys { relayed, body: body.to_vec() }
    }

    /// Seed 607: what was said before the keys (which partitions are told of at all) was taken in behind them, and they were forgotten.
    #[test]
    fn keys_that_come_early_keep_their_place() {
        let mut links = Links::default();
        links.from(1, 'a', true);
        let all = [said(), keys(false, b"a"), keys(false, b"b"), keys(true, b"c"), said(), keys(false, b"d")];
        for one in all {
            assert_eq!(links.receive(1, one, 1), Ok(None));
        }
        let kept = vec![said(), keys(false, b"ab"), keys(true, b"c"), said(), keys(false, b"d")];
        assert_eq!(links.to(1, true), Change::Up(kept));
        assert_eq!(links.receive(1, keys(false, b"e"), 1), Ok(Some(keys(false, b"e"))));
    }

    #[test]
    fn a_link_is_up_when_both_lanes_are_and_then_gives_what_came_before() {
        let mut links = Links::default();
        assert_eq!(links.from(1, 'a', true), Change::None);
        assert_eq!(links.receive(1, said(), 9), Ok(None));
        assert_eq!(links.to(1, true), Change::Up(vec![said()]));
        assert_eq!(links.receive(1, said(), 9), Ok(Some(said())));
        // The member opened a new lane before its old one was seen to end.
        assert_eq!(links.from(1, 'b', true), Change::None);
        assert_eq!(links.from(1, 'a', false), Change::None);
        assert_eq!(links.to(1, false), Change::Down);
        assert!(!links.forget(1));
        // Of a member without lanes nothing is kept, whenever the end of the last one is told of.
        assert_eq!((links.from(1, 'b', false), links.by_member.len()), (Change::None, 0));
    }

    #[test]
    fn what_comes_early_is_bounded_in_number_and_bytes() {
        for (bytes, kept) in [(1, EARLY), (EARLY_BYTES / 4, 4), (EARLY_BYTES, 1)] {
            let mut links = Links::default();
            links.from(1, 'a', true);
            (0..kept).for_each(|_| assert_eq!(links.receive(1, said(), bytes), Ok(None)));
            let all = (0..kept).map(|_| said()).collect();
            assert_eq!(links.to(1, true), Change::Up(all));
        }
    }

    #[test]
    fn a_link_on_which_too_much_came_early_comes_up_only_with_a_new_lane() {
        let mut links = Links::default();
        links.from(1, 'a', true);
        assert_eq!(links.receive(1, said(), EARLY_BYTES), Ok(None));
        assert_eq!(links.receive(1, said(), 1), Err(NoRoom));
        assert_eq!(links.receive(1, said(), 1), Ok(None), "it is said once");
        assert_eq!(links.to(1, true), Change::None);
        links.from(1, 'b', true);
        assert_eq!(links.from(1, 'a', false), Change::None);
        assert_eq!(links.receive(1, said(), 1), Ok(Some(said())));
    }

    #[test]
    fn the_end_of_a_forgotten_lane_ends_no_other() {
        let mut links = Links::default();
        links.from(1, 'a', true);
        links.to(1, true);
        assert!(links.forget(1));
        // What was read of it before, and is heard now.
        assert_eq!(links.receive(1, said(), 9), Ok(None));
        // Its successor is there before the old lane is seen to end.
        links.from(1, 'b', true);
        assert_eq!(links.from(1, 'a', false), Change::None);
        assert_eq!(links.to(1, true), Change::Up(Vec::new()));
    }

    #[test]
    fn what_came_over_a_lane_that_ended_before_the_link_was_up_is_discarded() {
        let mut links = Links::default();
        links.from(1, 'a', true);
        assert_eq!(links.receive(1, said(), 9), Ok(None));
        assert_eq!(links.from(1, 'a', false), Change::None);
        links.from(1, 'b', true);
        assert_eq!(links.to(1, true), Change::Up(Vec::new()));
    }
}
