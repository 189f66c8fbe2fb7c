//! Sides: who counted whom while the mesh was apart, which decides whose copy of a partition wins in a merge.
//!
//! Two members are *apart* when one of them declared the other dead and it came back, by itself and not as a new process. A
//! member's side is those live members of the last common view that it is not apart from, itself included. So a daemon that was
//! paused, and buried by everyone, is a side of one; when a network is cut, each side counts its own. What a partition's holder
//! received it with travels along, as it may have been on the other side itself.
//!
//! The last common view is the one before the first death while none of it was missing. It stays as long as some of it are missing,
//! however late another one dies: so all sides count of the same members.
//! Who leaves in order has handed off what it held, and goes on counting for the side where it did, until that comes apart itself. A process
//! that begins meanwhile takes over the common view, and those who are missing, from a member of the side where it begins ([`Cut`]): it
//! counts what they count, and is apart from whom they are apart from.
//!
//! Two sides may both take themselves for more than half where a name counts on both: that of a process that began on one side while
//! its predecessor is on the other, or of processes that began on both, as neither holds the other for dead; and where a member
//! was met by one side alone before the deaths were declared; where some have heard that all are back and others have not, and the mesh
//! comes apart again with many that joined meanwhile; and where one has left within [`CUT`] of the deaths. Both then serve until the
//! merge, which says what is lost by it.
//!
//! Marks fade [`SETTLED`] after a return
//! at a member that has no copy that is in doubt or is being merged, or else some time later ([`super::Settings::reunion`]): the next cut
//! is counted anew. That a member with nothing in doubt counts more than the side that it was on is right: others' doubt is of it.
//!
//! When the mesh comes together each side hears, from the other or from its own members, that some are dead whom the other did not
//! hear for a while. Who says within [`RUMOUR`] that it is not dead was never apart.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use statemesh_protocol::hash::Partition;
use statemesh_protocol::identity::MemberName;
use statemesh_protocol::peer::ownership::{Cut, Missing};

/// How long a member may take to refute a rumour of its death. Of a cut that ends so soon after a death was declared, both sides
/// count the member.
pub(super) const RUMOUR: Duration = Duration::from_secs(1);
/// How long a member that finds that it was apart waits for those that it held for dead, once it has heard of one of them: they come
/// back one after the other, as gossip gets around.
pub(super) const RETURN: Duration = Duration::from_secs(1);
/// Of one cut no death is declared so long after another, nor so long after one of its sides was left in order.
const CUT: Duration = Duration::from_secs(5);
/// After so long a return is over where nothing is in doubt: links are there, and have said who buried whom.
const SETTLED: Duration = Duration::from_secs(5);
/// How long the death of a member is remembered in case it comes back.
const GRAVE: Duration = Duration::from_secs(24 * 3600);

/// Whose state of a key wins that two copies of a partition have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Winner {
    /// That of the copy that is here.
    Here,
    /// That of the copy that comes.
    Coming,
    /// That with more transitions, for each key: the sides are equal.
    Longer,
}

impl Winner {
    /// The side that counted more members.
    #[must_use]
    pub fn of(here: u32, coming: u32) -> Self {
        match here.cmp(&coming) {
            std::cmp::Ordering::Greater => Self::Here,
            std::cmp::Ordering::Less => Self::Coming,
            std::cmp::Ordering::Equal => Self::Longer,
        }
    }
}

#[derive(Debug)]
struct Grave {
    incarnation: u64,
    until: Instant,
    /// When it came back.
    back: Option<Instant>,
}

#[derive(Debug)]
pub(super) struct Sides {
    reunion: Duration,
    /// Whom this member declared dead, in case it was not.
    buried: BTreeMap<MemberName, Grave>,
    /// Who was declared dead a moment ago, and when: that may be a rumour.
    rumoured: BTreeMap<MemberName, (u64, Instant)>,
    /// Processes that were met for the first time after others had been declared dead: they may have joined those.
    joined: BTreeMap<MemberName, Instant>,
    /// Who said that it had declared this member dead.
    buried_by: BTreeMap<MemberName, Instant>,
    /// Processes that died before what they had done apart from this member was merged.
    died_apart: BTreeMap<MemberName, Instant>,
    /// The last common view.
    common: BTreeSet<MemberName>,
    /// Those of it that have left in order since, when, and are not back.
    left: BTreeMap<MemberName, Instant>,
    /// It is that of the side where this process began.
    took_over: bool,
    /// With which count the copy of a partition that is here came, while it may meet another.
    standing: BTreeMap<Partition, (u32, Instant)>,
}

impl Sides {
    pub(super) fn new(reunion: Duration) -> Self {
        Self {
            reunion,
            buried: BTreeMap::new(),
            rumoured: BTreeMap::new(),
            joined: BTreeMap::new(),
            buried_by: BTreeMap::new(),
            died_apart: BTreeMap::new(),
            common: BTreeSet::new(),
            left: BTreeMap::new(),
            took_over: false,
            standing: BTreeMap::new(),
        }
    }

    /// Lets fade what is over.
    pub(super) fn forget(&mut self, now: Instant) {
        self.buried.retain(|_, grave| grave.until > now);
        for (name, (incarnation, at)) in self.rumoured.extract_if(.., |_, (_, at)| *at + RUMOUR <= now) {
            if self.common.contains(&name) {
                // Who left before may count on its side as well.
                self.left.retain(|_, left| *left + CUT > at);
            }
            self.buried.insert(name, Grave { incarnation, until: at + GRAVE, back: None });
        }
        self.buried_by.retain(|_, until| *until > now);
        self.died_apart.retain(|_, until| *until > now);
        self.joined.retain(|_, until| *until > now);
        self.standing.retain(|_, (_, until)| *until > now);
    }

    /// Nothing here is in doubt or being merged: returns that are long enough ago are over.
    pub(super) fn settle(&mut self, now: Instant) {
        let is_over = |at: Instant| at + SETTLED <= now;
        let began = |until: Instant| until.checked_sub(self.reunion);
        self.buried.retain(|_, grave| !grave.back.is_some_and(is_over));
        self.buried_by.retain(|_, until| !began(*until).is_some_and(is_over));
        self.standing.retain(|_, (_, until)| !began(*until).is_some_and(is_over));
    }

    /// Whether there are marks that may fade.
    pub(super) fn is_marked(&self) -> bool {
        self.buried.values().any(|grave| grave.back.is_some())
            || !self.buried_by.is_empty()
            || !self.standing.is_empty()
    }

    /// A member was declared dead; `live` are all that were there until now.
    pub(super) fn died<'a>(
        &mut self,
        name: &MemberName,
        incarnation: u64,
        live: impl Iterator<Item = &'a MemberName>,
        now: Instant,
    ) {
        if self.missing().next().is_none() {
            (self.common, self.took_over) = (live.cloned().collect(), false);
            self.left.clear();
        }
        let was_back = self.buried.get(name).is_some_and(|grave| grave.back.is_some());
        if was_back || self.buried_by.remove(name).is_some() {
            self.died_apart.insert(name.clone(), now + self.reunion);
        }
        self.joined.remove(name);
        self.rumoured.insert(name.clone(), (incarnation, now));
    }

    /// A member has left, and what it held is with others of this side.
    pub(super) fn left(&mut self, name: &MemberName, now: Instant) {
        if self.common.contains(name) && !self.is_apart(name) {
            self.left.insert(name.clone(), now);
        }
    }

    /// What a process is told that began after others had been declared dead.
    pub(super) fn cut_for(&self, name: &MemberName, now: Instant) -> Option<Cut> {
        if !self.joined.contains_key(name) || self.missing().next().is_none() {
            return None;
        }
        let missing = |member: &MemberName, incarnation, rumoured, until: Instant| {
            let remembered = until.saturating_duration_since(now).as_millis();
            let remembered_ms = u64::try_from(remembered).unwrap_or(u64::MAX);
            Missing { member: member.clone(), incarnation, rumoured, remembered_ms }
        };
        let silent = self.buried.iter().filter(|(_, grave)| grave.back.is_none());
        let buried = silent.map(|(name, grave)| missing(name, grave.incarnation, false, grave.until));
        let rumoured = self.rumoured.iter().map(|(name, (of, at))| missing(name, *of, true, *at + GRAVE));
        Some(Cut {
            common: self.common.iter().cloned().collect(),
            left: self.left.keys().cloned().collect(),
            missing: buried.chain(rumoured).collect(),
        })
    }

    /// Takes over what a member says of the side where this process began, which has nothing yet. Gives those who are missing there
    /// and are there by now: `incarnation` says which process of a name is alive.
    pub(super) fn take_over(
        &mut self,
        from: &MemberName,
        cut: Cut,
        incarnation: impl Fn(&MemberName) -> Option<u64>,
        now: Instant,
    ) -> Vec<MemberName> {
        if self.took_over || self.may_return(from) {
            return Vec::new();
        }
        self.common = cut.common.into_iter().collect();
        // When they left is not told: long enough ago that they count on no side of the next cut.
        let left_at = now.checked_sub(CUT).unwrap_or(now);
        self.left = cut.left.into_iter().map(|name| (name, left_at)).collect();
        self.took_over = true;
        let mut back = Vec::new();
        for Missing { member, incarnation: of, rumoured, remembered_ms } in cut.missing {
            let until = now + GRAVE.min(Duration::from_millis(remembered_ms));
            match incarnation(&member) {
                None if rumoured => drop(self.rumoured.insert(member, (of, now))),
                None => drop(self.buried.insert(member, Grave { incarnation: of, until, back: None })),
                Some(there) if there == of && !rumoured => {
                    let until = now + self.reunion;
                    self.buried.insert(member.clone(), Grave { incarnation: of, until, back: Some(now) });
                    back.push(member);
                }
                // It has said that it is not dead, or another process of the name is there.
                Some(_) => {}
            }
        }
        back
    }

    /// Whether this process began where others are missing.
    pub(super) fn took_over(&self) -> bool {
        self.took_over
    }

    /// Whether a process was met for the first time after others had been declared dead.
    pub(super) fn joined(&self, name: &MemberName) -> bool {
        self.joined.contains_key(name)
    }

    /// A member is there that was not. Says whether it is the process that was taken for dead.
    pub(super) fn back(&mut self, name: &MemberName, incarnation: u64, now: Instant) -> bool {
        self.left.remove(name);
        let was_same = match (self.rumoured.remove(name), self.buried.get_mut(name)) {
            (Some((of, _)), _) => of == incarnation,
            (None, Some(grave)) if grave.incarnation == incarnation => {
                (grave.until, grave.back) = (now + self.reunion, Some(now));
                true
            }
            _ => false,
        };
        if was_same {
            self.died_apart.remove(name);
        } else {
            // A new process has nothing of what the old one held.
            self.buried.remove(name);
            if !self.buried.is_empty() || !self.rumoured.is_empty() {
                self.joined.insert(name.clone(), now + self.reunion);
            }
        }
        was_same
    }

    /// Whether a process was apart from this one when it died: what it had done then is nowhere else.
    pub(super) fn died_apart(&self, name: &MemberName) -> bool {
        self.died_apart.contains_key(name)
    }

    /// Whether there is such a process.
    pub(super) fn any_died_apart(&self) -> bool {
        !self.died_apart.is_empty()
    }

    /// Whether a member's death may be a rumour.
    pub(super) fn is_rumoured(&self, name: &MemberName) -> bool {
        self.rumoured.contains_key(name)
    }

    /// Whether a death may be what those on the other side of a network partition say, who held all of this one for dead: some of them
    /// are back; or there are some, and with all that is said too few would be left here, which are `side` with the rumours.
    pub(super) fn may_be_a_rumour(&self, name: &MemberName, side: u32) -> bool {
        if !self.is_rumoured(name) {
            return false;
        }
        let rumours = self.rumoured.keys().filter(|name| self.common.contains(*name)).count();
        let others = side.saturating_sub(u32::try_from(rumours).unwrap_or(u32::MAX));
        let is_back = self.buried.values().any(|grave| grave.back.is_some());
        let is_missing = self.buried.keys().any(|name| self.common.contains(name));
        is_back || is_missing && !self.is_majority(others)
    }

    /// Whether a member that is held for dead may be back as it was.
    pub(super) fn may_return(&self, name: &MemberName) -> bool {
        self.buried.contains_key(name) || self.rumoured.contains_key(name)
    }

    /// A member says that it had declared this one dead. False if that is known.
    pub(super) fn buried_me(&mut self, name: &MemberName, now: Instant) -> bool {
        self.buried_by.insert(name.clone(), now + self.reunion).is_none()
    }

    /// Whether this member and that one were apart lately, or it may have joined those who were.
    pub(super) fn is_apart(&self, name: &MemberName) -> bool {
        let joined = || self.joined.contains_key(name) && self.buried.values().any(|grave| grave.back.is_some());
        self.may_return(name) || self.buried_by.contains_key(name) || joined()
    }

    /// The same, also if none of those that it may have joined has come back yet.
    pub(super) fn may_be_apart(&self, name: &MemberName) -> bool {
        self.is_apart(name) || self.joined.contains_key(name)
    }

    pub(super) fn buried(&self, name: &MemberName) -> bool {
        self.buried.contains_key(name)
    }

    /// Whom this member held for dead of the last common view, and of whom it has not heard since.
    pub(super) fn missing(&self) -> impl Iterator<Item = &MemberName> {
        let silent = self.buried.iter().filter(|(_, grave)| grave.back.is_none()).map(|(name, _)| name);
        silent.chain(self.rumoured.keys()).filter(|name| self.common.contains(*name))
    }

    pub(super) fn buried_any(&self) -> bool {
        !self.buried.is_empty()
    }

    /// How many members this one's side has, of these that are live and those that may be.
    pub(super) fn count<'a>(&'a self, live: impl Iterator<Item = &'a MemberName>) -> u32 {
        let is_common = |name: &MemberName| self.common.is_empty() || self.common.contains(name);
        let is_apart = |name: &MemberName| self.buried.contains_key(name) || self.buried_by.contains_key(name);
        let counts = |name: &&MemberName| is_common(name) && !is_apart(name);
        u32::try_from(live.chain(self.rumoured.keys()).chain(self.left.keys()).filter(counts).count())
            .unwrap_or(u32::MAX)
    }

    /// Whether a count is more than half of the last common view: no other side can have as many.
    pub(super) fn is_majority(&self, count: u32) -> bool {
        count as usize * 2 > self.common.len()
    }

    /// The count that the copy of a partition came with, if it came lately.
    pub(super) fn standing(&self, partition: Partition) -> Option<u32> {
        self.standing.get(&partition).map(|(count, _)| *count)
    }

    pub(super) fn set_standing(&mut self, partition: Partition, count: u32, now: Instant) {
        self.standing.insert(partition, (count, now + self.reunion));
    }

    /// There is no copy here any more, or a new one.
    pub(super) fn forget_standing(&mut self, partition: Partition) {
        self.standing.remove(&partition);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> MemberName {
        MemberName::new(text).unwrap()
    }

    const REUNION: Duration = Duration::from_secs(60);

    #[test]
    fn a_side_is_who_neither_was_buried_nor_buried() {
        let (now, mut sides) = (Instant::now(), Sides::new(REUNION));
        let [me, b, c, d] = ["a", "b", "c", "d"].map(name);
        let others = [b.clone(), c.clone(), d.clone()];
        assert_eq!(sides.count(others.iter().chain([&me])), 4);
        sides.died(&c, 1, others.iter().chain([&me]), now);
        let now = now + RUMOUR;
        sides.forget(now);
        assert_eq!(sides.count([&b, &d, &me].into_iter()), 3);
        // It comes back and counts for the other side, as does one that says that it buried this one.
        sides.back(&c, 1, now);
        assert!(sides.buried_me(&d, now) && !sides.buried_me(&d, now));
        assert_eq!(sides.count(others.iter().chain([&me])), 2);
        assert!(!sides.is_majority(2) && sides.is_majority(3));
        // Where nothing is in doubt that is over soon.
        sides.settle(now);
        assert_eq!(sides.count(others.iter().chain([&me])), 2);
        sides.settle(now + SETTLED);
        assert_eq!(sides.count(others.iter().chain([&me])), 4);
    }

    #[test]
    fn a_grave_of_one_that_has_not_come_back_does_not_fade_with_the_returns_of_others() {
        let (now, mut sides) = (Instant::now(), Sides::new(REUNION));
        let [me, b, c] = ["a", "b", "c"].map(name);
        sides.died(&b, 1, [&b, &c, &me].into_iter(), now);
        let now = now + RUMOUR;
        sides.forget(now);
        sides.settle(now + SETTLED);
        assert!(sides.may_return(&b) && sides.back(&b, 1, now + SETTLED));
        sides.forget(now + SETTLED + REUNION);
        assert!(!sides.buried(&b));
    }

    #[test]
    fn rumours_of_the_other_side_bury_nobody_who_refutes_them() {
        let (now, mut sides) = (Instant::now(), Sides::new(REUNION));
        let [me, b, c, d, e] = ["a", "b", "c", "d", "e"].map(name);
        sides.died(&d, 1, [&b, &c, &d, &e, &me].into_iter(), now);
        sides.died(&e, 1, [&b, &c, &e, &me].into_iter(), now);
        let now = now + RUMOUR;
        sides.forget(now);
        assert!(sides.back(&d, 1, now) && sides.buried(&d));
        // What it held for dead meanwhile.
        sides.died(&b, 1, [&b, &c, &d, &me].into_iter(), now);
        sides.died(&c, 1, [&c, &d, &me].into_iter(), now);
        assert_eq!(sides.count([&d, &me].into_iter()), 3);
        assert!(sides.may_return(&b) && sides.back(&b, 1, now) && !sides.buried(&b));
        assert_eq!(sides.count([&b, &d, &me].into_iter()), 3);
        // One that says nothing was dead, or was apart as well; another process is not the one that was.
        sides.forget(now + RUMOUR);
        assert_eq!(sides.count([&b, &d, &me].into_iter()), 2);
        assert!(!sides.back(&c, 2, now + RUMOUR));
    }

    #[test]
    fn who_joined_while_the_mesh_was_apart_does_not_count_nor_is_a_new_process_apart() {
        let (now, mut sides) = (Instant::now(), Sides::new(REUNION));
        let [me, b, c, d] = ["a", "b", "c", "d"].map(name);
        sides.died(&b, 1, [&b, &c, &me].into_iter(), now);
        let now = now + RUMOUR;
        sides.forget(now);
        assert_eq!(sides.count([&c, &d, &me].into_iter()), 2);
        sides.back(&b, 2, now);
        assert!(!sides.buried(&b));
        assert_eq!(sides.count([&b, &c, &me].into_iter()), 3);
        assert!(!sides.is_apart(&b));
        // One that comes while others are held for dead, and they come back, may have joined them.
        sides.died(&c, 1, [&b, &c, &me].into_iter(), now);
        sides.forget(now + RUMOUR);
        sides.back(&d, 1, now + RUMOUR);
        assert!(!sides.is_apart(&d));
        sides.back(&c, 1, now + RUMOUR);
        assert!(sides.is_apart(&d) && sides.is_apart(&c) && !sides.is_apart(&b));
        sides.forget(now + RUMOUR + REUNION);
        assert!(!sides.is_apart(&d));
    }

    /// Sides of `a` in a mesh of five, where these are dead, and were declared so in this order, each so long after the one before.
    fn cut(dead: &[&str], between: Duration, mut now: Instant) -> (Sides, Instant) {
        let mut sides = Sides::new(REUNION);
        let mut live: Vec<MemberName> = ["a", "b", "c", "d", "e"].map(name).into();
        for dead in dead.iter().copied().map(name) {
            sides.died(&dead, 1, live.iter(), now);
            live.retain(|member| *member != dead);
            now += between;
            sides.forget(now);
        }
        (sides, now)
    }

    #[test]
    fn all_sides_count_of_the_same_view_however_late_another_one_dies() {
        for (dead, late, left) in [(&["c", "d", "e"][..], "b", &["a"][..]), (&["d", "e"], "c", &["a", "b"])] {
            let (mut sides, now) = cut(dead, RUMOUR, Instant::now());
            let left: Vec<MemberName> = left.iter().copied().map(name).collect();
            let now = now + REUNION;
            sides.died(&name(late), 1, left.iter().chain([&name(late)]), now);
            sides.forget(now + RUMOUR);
            let count = sides.count(left.iter());
            assert_eq!((count as usize, sides.is_majority(count), sides.common.len()), (left.len(), false, 5));
        }
    }

    #[test]
    fn who_has_left_in_order_counts_for_its_side_until_it_is_back() {
        let (mut sides, now) = cut(&["d", "e"], RUMOUR, Instant::now());
        let [a, b, c, d] = ["a", "b", "c", "d"].map(name);
        // The last one is dead, and was on the other side.
        [&b, &c, &d].into_iter().for_each(|name| sides.left(name, now));
        assert_eq!(sides.count([&a].into_iter()), 3);
        assert!(!sides.back(&c, 2, now));
        assert_eq!(sides.count([&a, &c].into_iter()), 3);
    }

    #[test]
    fn who_has_left_before_a_cut_counts_on_neither_side() {
        let (mut sides, now) = cut(&["e"], RUMOUR, Instant::now());
        let [a, b, c, d] = ["a", "b", "c", "d"].map(name);
        [&c, &d].into_iter().for_each(|name| sides.left(name, now));
        assert_eq!(sides.count([&a, &b].into_iter()), 4);
        // Of a cut some deaths are declared later than others, and one may have left in between.
        let soon = now + SETTLED - RUMOUR;
        sides.died(&b, 1, [&a, &b].into_iter(), soon);
        sides.forget(soon + RUMOUR);
        assert_eq!(sides.count([&a].into_iter()), 3);
        let (mut sides, now) = cut(&["e"], RUMOUR, Instant::now());
        [&c, &d].into_iter().for_each(|name| sides.left(name, now));
        let later = now + SETTLED;
        sides.died(&b, 1, [&a, &b].into_iter(), later);
        assert_eq!(sides.count([&a].into_iter()), 4, "that may be a rumour");
        sides.forget(later + RUMOUR);
        let count = sides.count([&a].into_iter());
        assert_eq!((count, sides.is_majority(count)), (1, false), "b counts as many");
    }

    #[test]
    fn who_has_begun_since_a_death_that_is_over_counts_in_the_next_cut() {
        let now = Instant::now();
        let mut sides = Sides::new(REUNION);
        let [a, b, c, d, e] = ["a", "b", "c", "d", "e"].map(name);
        sides.died(&c, 1, [&a, &b, &c].into_iter(), now);
        sides.forget(now + RUMOUR);
        sides.back(&c, 2, now + RUMOUR);
        let now = now + SETTLED;
        let mut live = vec![&a, &b, &c, &d, &e];
        for dead in [&b, &c] {
            sides.died(dead, 2, live.iter().copied(), now);
            live.retain(|name| *name != dead);
        }
        sides.forget(now + RUMOUR);
        let count = sides.count(live.into_iter());
        assert_eq!((count, sides.is_majority(count)), (3, true));
    }

    #[test]
    fn a_process_that_begins_while_the_mesh_is_apart_counts_what_those_count_where_it_began() {
        let (mut sides, now) = cut(&["a", "b", "c"], RUMOUR, Instant::now());
        let [a, d, e, f] = ["a", "d", "e", "f"].map(name);
        assert_eq!(sides.cut_for(&f, now), None);
        sides.back(&f, 1, now);
        let cut = sides.cut_for(&f, now).unwrap();
        assert_eq!((cut.common.len(), cut.missing.len()), (5, 3));
        let mut new = Sides::new(REUNION);
        assert!(!new.took_over() && new.take_over(&d, cut.clone(), |_| None, now).is_empty() && new.took_over());
        assert_eq!(new.count([&d, &e, &f].into_iter()), 2);
        assert!(!new.is_majority(2));
        // They are back, and hear that it holds them for dead.
        assert!(new.back(&a, 1, now) && new.buried(&a));
        // What those say is not its side.
        assert!(
            new.take_over(&a, Cut { common: Vec::new(), left: Vec::new(), missing: Vec::new() }, |_| None, now)
                .is_empty()
        );
        assert_eq!(new.common.len(), 5);
        // One that is there by then is told; one of which that was only said is not apart; another process of the name was never here.
        let mut new = Sides::new(REUNION);
        let mut cut = cut;
        cut.missing[1].rumoured = true;
        let alive = |member: &MemberName| Some(if *member == name("c") { 2 } else { 1 });
        assert_eq!(new.take_over(&d, cut, alive, now), std::slice::from_ref(&a));
        assert!(new.is_apart(&a) && !new.may_return(&name("b")));
        assert_eq!(new.count([&a, &d, &e].into_iter()), 2);
    }
}
