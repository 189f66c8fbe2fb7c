//! What was heard of a partition that one process told: by one member, or by several whose knowledge is put together.
//!
//! All that a process tells of a partition is numbered. Who heard everything until some number knows that a key is not there any more; who
//! heard less may still have it. So of several members the one that knows everything up to the latest number is right, and of what
//! comes behind that each adds what it heard.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;

use statemesh_protocol::hash::key_hash;
use statemesh_protocol::key_index::{Key, KeyState};
use statemesh_protocol::run::RunId;
use statemesh_protocol::tenure::Tenure;

/// Machine and key.
pub(super) type Id = (Arc<str>, Box<str>);

/// Gaps in what was heard, while others are awaited: reactors tell theirs in the same turn, so notes come nearly in order. Beyond it
/// everything is known again once all keys are told the next time.
const GAPS: usize = 4_096;

/// What is known of a key's instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Known {
    /// The latest life.
    pub(super) run: RunId,
    pub(super) state: KeyState,
    /// Which copy had it.
    pub(super) tenure: Tenure,
    /// As of which number.
    number: u64,
}

impl Known {
    pub(super) fn of(key: &Key<'_>) -> Self {
        Self { run: key.run, state: key.state, tenure: key.tenure, number: key.number }
    }

    /// Whether it is known that there is nothing of it.
    fn is_removed(&self) -> bool {
        self.state == KeyState::Removed
    }

    /// Takes in what was told of it later, neither of them being that it was removed: of a key by its hash, and by name where a life
    /// took the place of another one, be it an earlier one.
    fn then(&mut self, later: Self) {
        match later.state {
            KeyState::Live => *self = later,
            _ => self.and(later),
        }
    }

    /// Takes in what is known of it besides, neither of them being that it was removed. One that is there is not lost, whatever else was
    /// said.
    pub(super) fn and(&mut self, other: Self) {
        if other.state == KeyState::Live {
            self.state = KeyState::Live;
        }
        match self.run.cmp(&other.run) {
            std::cmp::Ordering::Less => (self.run, self.tenure) = (other.run, other.tenure),
            std::cmp::Ordering::Equal => self.tenure = self.tenure.max(other.tenure),
            std::cmp::Ordering::Greater => {}
        }
        self.number = self.number.max(other.number);
    }
}

/// A key found no room.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Full;

/// What was heard of a partition.
#[derive(Debug, Default)]
pub(super) struct Heard {
    /// Everything is known until here; 0 before all keys were told once.
    until: u64,
    /// All keys are being told, as of this number.
    coming: Option<u64>,
    keys: BTreeMap<Id, Known>,
    /// Numbers behind which others are awaited: the first and the last of each run.
    ahead: BTreeMap<u64, u64>,
    /// Keys that were removed by those, which are kept until nothing is awaited before.
    removed: BTreeMap<u64, Id>,
    /// The last number of a key that found no room: who lacks one does not know everything.
    lacks: Option<u64>,
}

impl Heard {
    pub(super) fn len(&self) -> usize {
        self.keys.len()
    }

    /// All keys are told next, as of this number.
    pub(super) fn begins(&mut self, number: u64) {
        // Notes on the same link may have overtaken it.
        self.coming = Some(number).filter(|number| *number >= self.until);
    }

    /// The link ended, with what was to come on it.
    pub(super) fn link_ended(&mut self) {
        self.coming = None;
    }

    /// All keys have been told: others are not there, but for those that were noted since.
    pub(super) fn ends(&mut self) {
        let Some(whole) = self.coming.take() else { return };
        self.keys.retain(|_, known| if known.is_removed() { known.number > whole } else { known.number >= whole });
        self.removed = self.removed.split_off(&whole.saturating_add(1));
        self.lacks.take_if(|lacks| *lacks < whole);
        self.advance(whole);
    }

    /// Takes in how a key stands: told with all others, or since. `id` is none if there is no room for a name.
    pub(super) fn tell(&mut self, id: Option<Id>, key: &Key<'_>, is_full: bool) -> Result<(), Full> {
        let known = Known::of(key);
        let comes = self.coming == Some(known.number) && !known.is_removed();
        if known.number <= self.until && !comes {
            return Ok(());
        }
        self.take_lost(key);
        // What was removed since all that are coming is to be known until they have come.
        let is_next = self.coming.is_none() && self.until > 0 && known.number == self.until.saturating_add(1);
        let kept = self.put(id.clone(), known, is_next, is_full);
        if kept.is_err() {
            self.lacks = self.lacks.max(Some(known.number));
        }
        if is_next {
            self.advance(known.number);
        } else if !comes {
            self.note_ahead(known.number);
            let is_kept = |id: &Id| known.is_removed() && self.keys.get(id).is_some_and(|kept| *kept == known);
            if let Some(id) = id.filter(is_kept) {
                self.removed.insert(known.number, id);
            }
        }
        kept
    }

    /// A number was heard before others.
    fn note_ahead(&mut self, number: u64) {
        let (mut first, mut last) = (number, number);
        if let Some((&from, &to)) = self.ahead.range(..=number).next_back()
            && to.saturating_add(1) >= number
        {
            (first, last) = (from, to.max(number));
        }
        if let Some(to) = self.ahead.remove(&last.saturating_add(1)) {
            last = to;
        }
        self.ahead.insert(first, last);
        if self.ahead.len() > GAPS {
            self.ahead.pop_first();
        }
    }

    fn put(&mut self, id: Option<Id>, known: Known, is_next: bool, is_full: bool) -> Result<(), Full> {
        match id.map(|id| self.keys.entry(id)) {
            Some(Entry::Occupied(there)) if there.get().number > known.number => Ok(()),
            Some(Entry::Occupied(there)) if known.is_removed() && is_next => {
                there.remove();
                Ok(())
            }
            Some(Entry::Occupied(mut there)) => {
                match known.is_removed() || there.get().is_removed() {
                    true => _ = there.insert(known),
                    false => there.get_mut().then(known),
                }
                Ok(())
            }
            None | Some(Entry::Vacant(_)) if known.is_removed() && (is_next || is_full) => Ok(()),
            Some(Entry::Vacant(room)) if !is_full => {
                room.insert(known);
                Ok(())
            }
            _ => Err(Full),
        }
    }

    /// Everything is known until here, and until where nothing is awaited any more. That a key was removed is known by its absence then.
    fn advance(&mut self, until: u64) {
        self.until = until;
        while let Some(run) = self.ahead.first_entry().filter(|run| *run.key() <= self.until.saturating_add(1)) {
            self.until = self.until.max(run.remove());
        }
        while let Some(removed) = self.removed.first_entry().filter(|removed| *removed.key() <= self.until) {
            let (number, id) = removed.remove_entry();
            if self.keys.get(&id).is_some_and(|known| known.is_removed() && known.number == number) {
                self.keys.remove(&id);
            }
        }
    }

    /// Takes out that a key was lost, which was told by its hash alone: what is told of it by name comes behind that.
    fn take_lost(&mut self, key: &Key<'_>) {
        let is_by_hash = self.keys.first_key_value().is_some_and(|((machine, _), _)| machine.is_empty());
        if !is_by_hash || key.machine.is_empty() {
            return;
        }
        let hash = format!("{:016x}", key_hash(key.machine, key.key));
        if let Entry::Occupied(lost) = self.keys.entry((Arc::from(""), hash.into()))
            && lost.get().number <= key.number
        {
            lost.remove();
        }
    }

    /// Until which number everything is known; 0 if it is not.
    pub(super) fn until(&self) -> u64 {
        if self.lacks.is_some() { 0 } else { self.until }
    }

    /// All that is known, to be passed on: a key with the last number as of which it is known.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&Id, Known, u64)> {
        let until = self.until();
        self.keys.iter().map(move |(id, known)| (id, *known, known.number.max(until)))
    }

    /// Another member has passed on everything until this number.
    pub(super) fn is_whole_until(&mut self, number: u64) {
        self.until = self.until.max(number);
    }

    /// Takes in what another member knows of a key, as of its number.
    pub(super) fn join(&mut self, id: Option<Id>, known: Known, is_full: bool) -> Result<(), Full> {
        if known.number < self.until() {
            return Ok(());
        }
        let kept = self.put_passed(id, known, is_full);
        if kept.is_err() {
            self.lacks = self.lacks.max(Some(known.number));
        }
        kept
    }

    fn put_passed(&mut self, id: Option<Id>, known: Known, is_full: bool) -> Result<(), Full> {
        match id.map(|id| self.keys.entry(id)) {
            Some(Entry::Occupied(mut there)) => {
                let before = *there.get();
                match (known.number.cmp(&before.number), known.is_removed() || before.is_removed()) {
                    (std::cmp::Ordering::Less, _) => {}
                    (_, true) => _ = there.insert(known),
                    (std::cmp::Ordering::Equal, false) => there.get_mut().and(known),
                    (std::cmp::Ordering::Greater, false) => there.get_mut().then(known),
                }
                Ok(())
            }
            Some(Entry::Vacant(room)) if !is_full => {
                room.insert(known);
                Ok(())
            }
            _ => Err(Full),
        }
    }

    /// Takes in all that another member knows.
    pub(super) fn join_all(&mut self, other: &Self) {
        for (id, known, number) in other.iter() {
            // There is room: these are counted already.
            _ = self.join(Some(id.clone()), Known { number, ..known }, false);
        }
        self.is_whole_until(other.until());
    }

    /// What is left, where what several members know was put together: keys that are not there for the one who knows most are gone.
    pub(super) fn into_left(mut self) -> impl Iterator<Item = (Id, Known)> {
        let named = self.keys.iter().filter(|((machine, _), _)| !machine.is_empty());
        let is_any_by_hash = self.keys.first_key_value().is_some_and(|((machine, _), _)| machine.is_empty());
        if is_any_by_hash {
            let of_names = |((machine, key), known): (&Id, &Known)| (key_hash(machine, key), known.number);
            let later: Vec<(u64, u64)> = named.map(of_names).collect();
            for (hash, number) in later {
                let id = (Arc::from(""), format!("{hash:016x}").into());
                if self.keys.get(&id).is_some_and(|lost| lost.number < number) {
                    self.keys.remove(&id);
                }
            }
        }
        let until = self.until();
        self.keys.into_iter().filter(move |(_, known)| !known.is_removed() && known.number >= until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A process that has four keys, and how they stand by its last note.
    #[derive(Default)]
    struct Teller {
        number: u64,
        there: [bool; 4],
        /// The notes by which they began.
        began: [u64; 4],
    }

    /// A member that it tells: with what of that is under way, and whether there is a link.
    #[derive(Default)]
    struct Standby {
        heard: Heard,
        link: bool,
        under_way: Vec<(usize, bool, u64)>,
        /// Keys of which it heard that they began, by the number of that.
        began: BTreeMap<usize, u64>,
    }

    impl Standby {
        fn hear(&mut self, (name, is_there, number): (usize, bool, u64)) {
            if is_there {
                self.began.insert(name, number.max(self.began.get(&name).copied().unwrap_or_default()));
            }
            self.heard.tell(Some(id(name)), &key(name, is_there, number), false).unwrap();
        }

        /// It is told everything, in the middle of what else is told.
        fn hear_all(&mut self, teller: &Teller, dice: &mut impl FnMut(usize) -> usize) {
            let early = self.under_way.len().min(dice(3));
            self.under_way.drain(..early).collect::<Vec<_>>().into_iter().for_each(|note| self.hear(note));
            self.heard.begins(teller.number);
            for name in (0..4).filter(|name| teller.there[*name]) {
                if dice(4) == 0 && !self.under_way.is_empty() {
                    let note = self.under_way.remove(0);
                    self.hear(note);
                }
                self.hear((name, true, teller.number));
            }
            self.heard.ends();
        }
    }

    fn id(name: usize) -> Id {
        ("m".into(), name.to_string().into())
    }

    fn key(name: usize, is_there: bool, number: u64) -> Key<'static> {
        let state = if is_there { KeyState::Live } else { KeyState::Removed };
        let key = ["0", "1", "2", "3"][name];
        Key { partition: 1, machine: "m", key, run: RunId(1), state, tenure: Tenure(1), number }
    }

    fn left(all: &[&Standby]) -> Vec<usize> {
        let mut joined = Heard::default();
        all.iter().for_each(|standby| joined.join_all(&standby.heard));
        joined.into_left().map(|((_, key), _)| key.parse().unwrap()).collect()
    }

    /// Of what two members heard over links that end, and in which notes overtake each other, what is there is put together: all of it that
    /// one of them heard of, and nothing else if one of them heard everything.
    #[test]
    fn what_two_heard_comes_to_what_is_there() {
        let mut exact = 0;
        for seed in 0..4_000u64 {
            let mut state = seed;
            let mut dice = move |sides: usize| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (state >> 33) as usize % sides
            };
            let mut teller = Teller { number: 1, ..Teller::default() };
            let mut standbys = [Standby::default(), Standby::default()];
            for _ in 0..40 {
                match dice(12) {
                    0 => {
                        let standby = &mut standbys[dice(2)];
                        standby.link = false;
                        standby.under_way.clear();
                    }
                    1 | 2 => {
                        let standby = &mut standbys[dice(2)];
                        standby.link = true;
                        standby.hear_all(&teller, &mut dice);
                    }
                    3..=6 => {
                        let standby = &mut standbys[dice(2)];
                        for _ in 0..dice(4).min(standby.under_way.len()) {
                            let next = dice(2).min(standby.under_way.len() - 1);
                            let note = standby.under_way.remove(next);
                            standby.hear(note);
                        }
                    }
                    _ => {
                        let name = dice(4);
                        teller.number += 1;
                        teller.there[name] = !teller.there[name];
                        teller.began[name] = teller.number;
                        let note = (name, teller.there[name], teller.number);
                        standbys.iter_mut().filter(|standby| standby.link).for_each(|s| s.under_way.push(note));
                    }
                }
            }
            let [one, other] = &standbys;
            let left = left(&[one, other]);
            let there: Vec<usize> = (0..4).filter(|name| teller.there[*name]).collect();
            let whole = one.heard.until.max(other.heard.until);
            if whole == teller.number {
                exact += 1;
                assert_eq!(left, there, "seed {seed}");
            }
            let knows = |name: usize| standbys.iter().any(|of| of.began.get(&name) >= Some(&teller.began[name]));
            let known: Vec<usize> = there.into_iter().filter(|name| knows(*name)).collect();
            assert!(known.iter().all(|name| left.contains(name)), "seed {seed}: {left:?}, and there are {known:?}");
        }
        assert!(exact > 500, "{exact}");
    }
}
