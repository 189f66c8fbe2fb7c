//! What the next reply about a key has to say: that the instance which was here before is gone, or what of it is.
//!
//! Marks belong to their partition: they are handed off with it.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use smallvec::SmallVec;
use statemesh_protocol::image::{self, Input, Malformed};
use statemesh_protocol::reply::MapWriter;
use statemesh_protocol::run::RunId;
use statemesh_protocol::tenure::{Tenure, Tenures};

use crate::removed::Place;
use crate::shards::LostLife;

/// Why two states of a key met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConflictReason {
    /// It was served on both sides of a network partition.
    Merged,
    /// Its daemon was taken for dead while it paused.
    Paused,
    /// Another daemon served it for a while, and died with what it did.
    OwnerLost,
}

impl ConflictReason {
    /// As it stands in replies and changes.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Merged => "merged",
            Self::Paused => "paused",
            Self::OwnerLost => "owner_lost",
        }
    }
}

/// Whether a key's instance went with its owner.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Lost {
    /// No.
    #[default]
    No,
    /// It did, and there is none.
    Gone,
    /// It did, and another one has begun since, by a request whose reply nobody reads.
    Anew,
}

/// It was served twice, and one side's events are gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// Why.
    pub reason: ConflictReason,
    /// The first transition that is gone.
    pub lost_from: u64,
    /// The life that had it.
    pub run: RunId,
}

impl Conflict {
    fn encode(self, out: &mut Vec<u8>) {
        out.push(match self.reason {
            ConflictReason::Merged => 1,
            ConflictReason::Paused => 2,
            ConflictReason::OwnerLost => 3,
        });
        out.extend_from_slice(&self.lost_from.to_le_bytes());
        out.extend_from_slice(&self.run.0.to_le_bytes());
    }

    fn decode(input: &mut Input<'_>) -> Result<Self, Malformed> {
        let reason = match input.byte()? {
            1 => ConflictReason::Merged,
            2 => ConflictReason::Paused,
            3 => ConflictReason::OwnerLost,
            _ => return Err(input.malformed()),
        };
        Ok(Self { reason, lost_from: input.u64()?, run: RunId(input.u64()?) })
    }
}

/// What one reply about a key, or one change, says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KeyMark {
    /// Whether its instance was lost.
    pub lost: Lost,
    /// The life that was, if it was.
    pub gone: RunId,
    /// What is gone of it.
    pub conflict: Option<Conflict>,
}

/// Conflicts of one key that are kept until somebody asks: of more than these the first ones are said.
const CONFLICTS: usize = 8;

/// What happened to a key and nobody was told: a conflict for each life that has lost something, which replies say one by one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Unsaid {
    lost: Lost,
    /// The life that was lost, if there is none since; and which copy had it.
    gone: RunId,
    tenure: Tenure,
    /// Earlier lives that were lost, and of which nobody was told either.
    also: SmallVec<[RunId; 1]>,
    conflicts: SmallVec<[Conflict; 1]>,
    /// Its number among all that a shard has had.
    number: u64,
}

impl KeyMark {
    /// Writes it into a reply or a change.
    pub(crate) fn write(&self, map: &mut MapWriter<'_>) {
        if self.lost != Lost::No {
            map.bool("restarted", true);
        }
        if let Some(Conflict { reason, lost_from, run }) = self.conflict {
            map.map("conflict", |map| {
                map.str("reason", reason.as_str()).uint("lost_from", lost_from).str("run", &run.to_string());
            });
        }
    }

    /// Appends the bytes for another daemon.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        let conflicts = self.conflict.into_iter().collect();
        Unsaid { lost: self.lost, gone: self.gone, conflicts, ..Unsaid::default() }.encode(out);
    }

    /// Reads what [`KeyMark::encode`] wrote.
    ///
    /// # Errors
    /// The bytes are none of ours.
    pub(crate) fn decode(body: &[u8]) -> Result<Self, Malformed> {
        Unsaid::decode(body).map(|mut unsaid| unsaid.next())
    }

    /// The life that was lost, if a record says that it was, and that there is none.
    pub(crate) fn loss(record: &image::KeyMark<'_>) -> Option<LostLife> {
        Unsaid::decode(record.body).ok()?.lost_life(record.hash)
    }
}

impl Unsaid {
    /// Of several lives that are lost, as of two daemons that served a key apart, the latest is the one that was here.
    fn add_gone(&mut self, run: RunId, tenure: Tenure) {
        let earlier = match run.cmp(&self.gone) {
            Ordering::Less => run,
            Ordering::Equal => return self.tenure = self.tenure.max(tenure),
            Ordering::Greater => {
                self.tenure = tenure;
                std::mem::replace(&mut self.gone, run)
            }
        };
        if earlier != RunId::default() {
            self.add_also(earlier);
        }
    }

    /// The life of this key that was lost, if there is none since.
    fn lost_life(&self, hash: u64) -> Option<LostLife> {
        let (run, tenure) = (self.gone, self.tenure);
        (self.lost == Lost::Gone).then_some(LostLife { hash, run, tenure })
    }

    fn add_also(&mut self, run: RunId) {
        if !self.also.contains(&run) && self.also.len() < CONFLICTS {
            self.also.push(run);
        }
    }

    fn add_lost(&mut self, lost: Lost, gone: RunId, tenure: Tenure) {
        self.add_gone(gone, tenure);
        self.lost = match (self.lost, lost) {
            (Lost::No, lost) | (lost, Lost::No) => lost,
            (Lost::Gone, Lost::Gone) => Lost::Gone,
            _ => Lost::Anew,
        };
    }

    /// Of two conflicts of a life the earlier transition is the first that is gone.
    fn add_conflict(&mut self, conflict: Conflict) {
        if let Some(known) = self.conflicts.iter_mut().find(|known| known.run == conflict.run) {
            if conflict.lost_from < known.lost_from {
                *known = conflict;
            }
        } else if self.conflicts.len() < CONFLICTS {
            self.conflicts.push(conflict);
        }
    }

    /// Drops what is not lost of a life, there being a copy of it up to `seq`, but for what stays whatever is there.
    fn is_back(&mut self, run: RunId, seq: u64, stays: impl Fn(u64) -> bool) {
        self.also.retain(|gone| *gone != run || stays(1));
        self.conflicts.retain(|conflict| {
            let is_over =
                conflict.run == run && conflict.reason == ConflictReason::OwnerLost && conflict.lost_from <= seq.max(1);
            !is_over || stays(conflict.lost_from)
        });
    }

    /// The copy is there that had the life which was lost: that is there, or has ended.
    fn is_void(&mut self) {
        (self.lost, self.gone) = (Lost::No, RunId::default());
    }

    /// The next thing to be said, which is over then.
    fn next(&mut self) -> KeyMark {
        let lost_life = |run| Conflict { reason: ConflictReason::OwnerLost, lost_from: 1, run };
        let conflict =
            if self.conflicts.is_empty() { self.also.pop().map(lost_life) } else { Some(self.conflicts.remove(0)) };
        KeyMark { lost: std::mem::take(&mut self.lost), gone: std::mem::take(&mut self.gone), conflict }
    }

    fn is_empty(&self) -> bool {
        self.lost == Lost::No && self.also.is_empty() && self.conflicts.is_empty()
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.push(match self.lost {
            Lost::No => 0,
            Lost::Gone => 1,
            Lost::Anew => 2,
        });
        out.extend_from_slice(&self.gone.0.to_le_bytes());
        out.extend_from_slice(&self.tenure.0.to_le_bytes());
        out.push(u8::try_from(self.also.len()).unwrap_or(u8::MAX));
        self.also.iter().for_each(|run| out.extend_from_slice(&run.0.to_le_bytes()));
        self.conflicts.iter().for_each(|conflict| conflict.encode(out));
    }

    fn decode(body: &[u8]) -> Result<Self, Malformed> {
        let mut input = Input::new(body);
        let lost = match input.byte()? {
            0 => Lost::No,
            1 => Lost::Gone,
            2 => Lost::Anew,
            _ => return Err(input.malformed()),
        };
        let (gone, tenure) = (RunId(input.u64()?), Tenure(input.u64()?));
        let mut unsaid = Self { lost, gone, tenure, ..Self::default() };
        let also = input.byte()?;
        if usize::from(also) > CONFLICTS {
            return Err(input.malformed());
        }
        for _ in 0..also {
            unsaid.also.push(RunId(input.u64()?));
        }
        while !input.is_empty() {
            unsaid.add_conflict(Conflict::decode(&mut input)?);
        }
        Ok(unsaid)
    }
}

/// Places in the order of marks that may be void, beside as many as there are.
const ORDER: usize = 64;

/// What marks that came with a copy said is lost: keys by hash, lives, and the first transition.
pub(crate) type Said = BTreeSet<(u64, RunId, u64)>;

/// Notes what a mark says is lost.
///
/// # Errors
/// It cannot be read.
pub(crate) fn said_by(record: &image::KeyMark<'_>, said: &mut Said) -> Result<(), Malformed> {
    let came = Unsaid::decode(record.body)?;
    let gone = (came.lost != Lost::No).then_some(&came.gone);
    said.extend(came.also.iter().chain(gone).map(|run| (record.hash, *run, 1)));
    said.extend(came.conflicts.iter().map(|conflict| (record.hash, conflict.run, conflict.lost_from)));
    Ok(())
}

/// The marks of one shard. A key that nobody asks for keeps its mark, and so there is a bound.
#[derive(Debug)]
pub(crate) struct Marks {
    by_place: BTreeMap<Place, Unsaid>,
    /// So many of the whole daemon.
    max: usize,
    /// In the order in which they came. What is not there any more is skipped.
    order: VecDeque<(u64, Place)>,
    last: u64,
    /// How many there are in the whole daemon.
    total: Arc<AtomicUsize>,
    forgotten: u64,
}

impl Marks {
    /// None yet. Where there are `max` in all shards together, the oldest of the shard makes room for one more.
    pub(crate) fn new(max: usize, total: Arc<AtomicUsize>) -> Self {
        Self { by_place: BTreeMap::new(), max: max.max(1), order: VecDeque::new(), last: 0, total, forgotten: 0 }
    }

    /// Whether there is none.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.by_place.is_empty()
    }

    /// Number of marks.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.by_place.len()
    }

    /// How many were forgotten for others since this was asked last.
    pub(crate) fn take_forgotten(&mut self) -> u64 {
        std::mem::take(&mut self.forgotten)
    }

    /// The mark of a key, which is added if there is none: the oldest one makes room.
    fn mark(&mut self, place: Place) -> &mut Unsaid {
        if !self.by_place.contains_key(&place) {
            while self.total.load(Relaxed) >= self.max
                && let Some((number, oldest)) = self.order.pop_front()
            {
                if self.is_that(number, oldest) {
                    self.remove(oldest);
                    self.forgotten += 1;
                }
            }
            if self.order.len() >= 2 * self.by_place.len() + ORDER {
                let order = std::mem::take(&mut self.order);
                self.order = order.into_iter().filter(|(number, place)| self.is_that(*number, *place)).collect();
            }
            self.last += 1;
            self.order.push_back((self.last, place));
            self.total.fetch_add(1, Relaxed);
        }
        let number = self.last;
        self.by_place.entry(place).or_insert_with(|| Unsaid { number, ..Unsaid::default() })
    }

    fn is_that(&self, number: u64, place: Place) -> bool {
        self.by_place.get(&place).is_some_and(|mark| mark.number == number)
    }

    fn remove(&mut self, place: Place) {
        if self.by_place.remove(&place).is_some() {
            self.total.fetch_sub(1, Relaxed);
        }
    }

    /// What is gone of a key that has an instance.
    pub(crate) fn add_conflict(&mut self, partition: u16, hash: u64, conflict: Conflict) {
        self.mark((partition, hash)).add_conflict(conflict);
    }

    /// A key's instance is gone.
    pub(crate) fn set_gone(&mut self, partition: u16, life: LostLife) {
        let mark = self.mark((partition, life.hash));
        mark.add_gone(life.run, life.tenure);
        mark.lost = Lost::Gone;
    }

    /// There is an instance of a key that was lost; who asks next is to be told all the same.
    pub(crate) fn began_anew(&mut self, partition: u16, hash: u64) {
        if let Some(mark) = self.by_place.get_mut(&(partition, hash)).filter(|mark| mark.lost == Lost::Gone) {
            mark.lost = Lost::Anew;
        }
    }

    /// A key that was lost has an instance after all: the life that was lost, which then is not, whatever has begun since and met it;
    /// or another one, beside which that is gone. Gives whether that is a conflict.
    pub(crate) fn is_there(&mut self, partition: u16, hash: u64, run: RunId) -> bool {
        let is_over = |mark: &Unsaid| match mark.lost {
            Lost::No => false,
            Lost::Gone => true,
            // One that has begun since has a higher run.
            Lost::Anew => run <= mark.gone,
        };
        let Some(mark) = self.by_place.get_mut(&(partition, hash)) else { return false };
        let mut conflicts = false;
        mark.also.retain(|gone| *gone != run);
        if is_over(mark) {
            mark.lost = Lost::No;
            let gone = std::mem::take(&mut mark.gone);
            if gone != run && gone != RunId::default() {
                mark.add_conflict(Conflict { reason: ConflictReason::OwnerLost, lost_from: 1, run: gone });
                conflicts = true;
            }
        }
        if mark.is_empty() {
            self.remove((partition, hash));
        }
        conflicts
    }

    /// Two lives of a key met. Who is answered from now on knows one of them from before, so that neither is an instance that has
    /// begun since another was lost: unless that is one of the two, it is a conflict.
    pub(crate) fn met(&mut self, partition: u16, hash: u64, lives: [RunId; 2]) {
        let known = self.by_place.get_mut(&(partition, hash));
        if let Some(mark) = known.filter(|mark| mark.lost == Lost::Anew) {
            mark.lost = Lost::No;
            let gone = std::mem::take(&mut mark.gone);
            if gone != RunId::default() && !lives.contains(&gone) {
                mark.add_also(gone);
            }
        }
    }

    /// A copy of a life is there with its transitions up to `seq`: it did not go with an owner that was held for dead, as a whole or
    /// from one of these on. `said` is what who had the copy said of another one.
    pub(crate) fn is_back(&mut self, place: Place, run: RunId, seq: u64, said: &Said) {
        let Some(mark) = self.by_place.get_mut(&place) else { return };
        mark.is_back(run, seq, |lost_from| said.contains(&(place.1, run, lost_from)));
        if mark.is_empty() {
            self.remove(place);
        }
    }

    /// A copy of a partition is merged: what was held for lost with it is not, unless it `said` so itself.
    pub(crate) fn came(&mut self, partition: u16, copy: &Tenures, said: &Said) {
        let mut needless = Vec::new();
        for (place, mark) in self.by_place.range_mut((partition, 0)..=(partition, u64::MAX)) {
            if mark.lost != Lost::No && copy.has(mark.tenure) && !said.contains(&(place.1, mark.gone, 1)) {
                mark.is_void();
                if mark.is_empty() {
                    needless.push(*place);
                }
            }
        }
        needless.into_iter().for_each(|place| self.remove(place));
    }

    /// Whether a key's instance was lost, and there is none.
    pub(crate) fn is_gone(&self, partition: u16, hash: u64) -> bool {
        self.by_place.get(&(partition, hash)).is_some_and(|mark| mark.lost == Lost::Gone)
    }

    /// The life of a key that was lost, if there is none since.
    pub(crate) fn gone(&self, partition: u16, hash: u64) -> Option<LostLife> {
        self.by_place.get(&(partition, hash))?.lost_life(hash)
    }

    /// The latest life of a key of which something is still to be said: the next one comes after it.
    pub(crate) fn latest(&self, partition: u16, hash: u64) -> Option<RunId> {
        let mark = self.by_place.get(&(partition, hash))?;
        let conflicts = mark.conflicts.iter().map(|conflict| conflict.run);
        conflicts.chain(mark.also.iter().copied()).chain([mark.gone]).max()
    }

    /// Whether the next reply about a key says that its instance was lost.
    pub(crate) fn says_lost(&self, partition: u16, hash: u64) -> bool {
        self.by_place.get(&(partition, hash)).is_some_and(|mark| mark.lost != Lost::No)
    }

    /// What the reply about a key has to say; it is said once.
    pub(crate) fn take(&mut self, partition: u16, hash: u64) -> Option<KeyMark> {
        let unsaid = self.by_place.get_mut(&(partition, hash))?;
        let mark = unsaid.next();
        if unsaid.is_empty() {
            self.remove((partition, hash));
        }
        Some(mark)
    }

    /// What [`Marks::take`] would give.
    pub(crate) fn show(&self, partition: u16, hash: u64) -> Option<KeyMark> {
        self.by_place.get(&(partition, hash)).map(|unsaid| unsaid.clone().next())
    }

    /// The lives of a partition that are lost and that nobody asked for since.
    pub(crate) fn lost(&self, partition: u16) -> impl Iterator<Item = LostLife> {
        let marks = self.by_place.range((partition, 0)..=(partition, u64::MAX));
        marks.filter_map(|((_, hash), mark)| mark.lost_life(*hash))
    }

    /// Keys of a partition, by hash, of which it is to be said that an instance was lost.
    pub(crate) fn saying_lost(&self, partition: u16) -> impl Iterator<Item = u64> {
        let marks = self.by_place.range((partition, 0)..=(partition, u64::MAX));
        marks.filter(|(_, mark)| mark.lost != Lost::No).map(|((_, hash), _)| *hash)
    }

    /// Forgets those of a partition.
    pub(crate) fn forget(&mut self, partition: u16) {
        let places: Vec<Place> =
            self.by_place.range((partition, 0)..=(partition, u64::MAX)).map(|(place, _)| *place).collect();
        places.into_iter().for_each(|place| self.remove(place));
    }

    /// Those of a partition, each as a record's hash and body.
    pub(crate) fn records(&self, partition: u16) -> impl Iterator<Item = (u64, Vec<u8>)> {
        self.by_place.range((partition, 0)..=(partition, u64::MAX)).map(|((_, hash), mark)| {
            let mut body = Vec::new();
            mark.encode(&mut body);
            (*hash, body)
        })
    }

    /// Takes in one that came with a partition, beside what is marked here, and notes what it said. What was held for lost where it comes
    /// from is not, if it is `here`: a life, and its last transition; nor what was lost with the copy that is here, of these tenures.
    pub(crate) fn receive(
        &mut self,
        partition: u16,
        record: &image::KeyMark<'_>,
        here: Option<(RunId, u64)>,
        tenures: &Tenures,
        said: &mut Said,
    ) -> Result<(), Malformed> {
        said_by(record, said)?;
        let mut came = Unsaid::decode(record.body)?;
        if tenures.has(came.tenure) {
            came.is_void();
        }
        if let Some((run, seq)) = here {
            came.is_back(run, seq, |_| false);
        }
        if came.is_empty() {
            return Ok(());
        }
        let Unsaid { lost, gone, tenure, also, conflicts, .. } = came;
        let known = self.mark((partition, record.hash));
        also.into_iter().for_each(|run| known.add_also(run));
        known.add_lost(lost, gone, tenure);
        conflicts.into_iter().for_each(|conflict| known.add_conflict(conflict));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn marks_of(max: usize) -> Marks {
        Marks::new(max, Arc::default())
    }

    #[test]
    fn the_oldest_marks_make_room_for_others() {
        let total = Arc::new(AtomicUsize::new(0));
        let mut marks = Marks::new(3, Arc::clone(&total));
        // What was said and marked again is not what was there first.
        for (hash, is_said) in [(1, true), (2, false), (1, false), (3, false), (2, false)] {
            marks.set_gone(1, life(hash, 4));
            if is_said {
                marks.take(1, hash);
            }
        }
        assert_eq!((marks.len(), total.load(Relaxed), marks.take_forgotten()), (3, 3, 0));
        marks.set_gone(2, life(4, 4));
        assert_eq!((marks.len(), total.load(Relaxed), marks.take_forgotten()), (3, 3, 1));
        assert!(!marks.is_gone(1, 2) && marks.is_gone(1, 1) && marks.is_gone(1, 3) && marks.is_gone(2, 4));
        for _ in 0..100 {
            marks.set_gone(3, life(9, 4));
            marks.take(3, 9);
        }
        assert!(marks.order.len() <= ORDER + 6, "{}", marks.order.len());
        marks.forget(1);
        assert_eq!(total.load(Relaxed), marks.len());
    }

    fn life(hash: u64, run: u64) -> LostLife {
        LostLife { hash, run: RunId(run), tenure: Tenure(1) }
    }

    #[test]
    fn marks_of_a_partition_go_with_it_and_are_said_once() {
        let conflict = Conflict { reason: ConflictReason::Paused, lost_from: 7, run: RunId(9) };
        let mut here = marks_of(9);
        here.set_gone(3, life(1, 4));
        here.add_conflict(3, 2, conflict);
        here.set_gone(4, life(1, 4));
        let mut there = marks_of(9);
        for (hash, body) in here.records(3) {
            there
                .receive(3, &image::KeyMark { hash, body: &body }, None, &Tenures::default(), &mut Said::new())
                .unwrap();
        }
        here.forget(3);
        assert_eq!((here.len(), there.len()), (1, 2));
        assert!(there.is_gone(3, 1) && !there.is_gone(3, 2) && !there.is_gone(4, 1));
        let mark = KeyMark { conflict: Some(conflict), ..KeyMark::default() };
        assert_eq!((there.take(3, 2), there.take(3, 2)), (Some(mark), None));
        assert!(
            there
                .receive(3, &image::KeyMark { hash: 1, body: &[9] }, None, &Tenures::default(), &mut Said::new())
                .is_err()
        );
    }

    #[test]
    fn what_nobody_was_told_is_said_whatever_comes_after_it() {
        let conflict = |run, lost_from| Conflict { reason: ConflictReason::Merged, lost_from, run: RunId(run) };
        let mark = |conflict| KeyMark { conflict: Some(conflict), ..KeyMark::default() };
        let mut marks = marks_of(9);
        // Lost; an instance begins that nobody hears of, and conflicts twice.
        marks.set_gone(1, life(1, 4));
        marks.began_anew(1, 1);
        marks.is_there(1, 1, RunId(5));
        marks.add_conflict(1, 1, conflict(5, 9));
        marks.add_conflict(1, 1, conflict(5, 7));
        marks.add_conflict(1, 1, conflict(6, 2));
        assert!(!marks.is_gone(1, 1) && marks.says_lost(1, 1));
        // One life after the other.
        assert_eq!(marks.take(1, 1), Some(KeyMark { lost: Lost::Anew, gone: RunId(4), ..mark(conflict(5, 7)) }));
        assert_eq!((marks.take(1, 1), marks.take(1, 1)), (Some(mark(conflict(6, 2))), None));
        // One that is there after all was not lost, but for its conflict.
        marks.set_gone(1, life(2, 4));
        marks.is_there(1, 2, RunId(4));
        marks.set_gone(1, life(3, 4));
        marks.add_conflict(1, 3, conflict(5, 9));
        marks.is_there(1, 3, RunId(4));
        assert_eq!((marks.take(1, 2), marks.take(1, 3)), (None, Some(mark(conflict(5, 9)))));
    }

    #[test]
    fn one_that_began_since_another_was_lost_and_meets_a_third_is_no_restart() {
        let mut marks = marks_of(9);
        let lives = [RunId(5), RunId(6)];
        marks.set_gone(1, life(1, 4));
        marks.met(1, 1, lives);
        assert!(marks.is_gone(1, 1));
        marks.began_anew(1, 1);
        marks.met(1, 1, lives);
        let conflict = Conflict { reason: ConflictReason::OwnerLost, lost_from: 1, run: RunId(4) };
        assert_eq!(marks.take(1, 1), Some(KeyMark { conflict: Some(conflict), ..KeyMark::default() }));
        assert_eq!(marks.take(1, 1), None);
        // It is there after all: what becomes of the two says how they met.
        marks.set_gone(1, life(1, 5));
        marks.began_anew(1, 1);
        marks.met(1, 1, lives);
        assert_eq!(marks.take(1, 1), Some(KeyMark::default()));
    }

    #[test]
    fn what_was_held_for_lost_with_its_owner_is_not_if_that_comes_back() {
        let mut marks = marks_of(9);
        let conflict = |reason, lost_from| Conflict { reason, lost_from, run: RunId(4) };
        for (reason, lost_from, seq, is_lost) in [
            (ConflictReason::OwnerLost, 1, 0, false),
            (ConflictReason::OwnerLost, 7, 7, false),
            (ConflictReason::OwnerLost, 7, 6, true),
            (ConflictReason::Merged, 1, 9, true),
        ] {
            marks.add_conflict(1, 1, conflict(reason, lost_from));
            marks.is_back((1, 1), RunId(5), 9, &Said::new());
            // Who had the copy said it of another one.
            marks.is_back((1, 1), RunId(4), seq, &Said::from([(1, RunId(4), lost_from)]));
            marks.is_back((1, 1), RunId(4), seq, &Said::from([(2, RunId(4), lost_from)]));
            assert_eq!(marks.take(1, 1).is_some(), is_lost, "{reason:?} {lost_from} {seq}");
        }
        [4, 9].into_iter().for_each(|run| marks.set_gone(1, life(1, run)));
        marks.is_back((1, 1), RunId(4), 3, &Said::new());
        assert_eq!(marks.take(1, 1), Some(KeyMark { lost: Lost::Gone, gone: RunId(9), conflict: None }));
    }

    #[test]
    fn a_life_that_was_lost_is_not_if_it_is_there_and_is_in_conflict_with_another_that_is() {
        let mut marks = marks_of(9);
        marks.set_gone(1, life(1, 4));
        marks.set_gone(1, life(2, 4));
        marks.is_there(1, 1, RunId(4));
        marks.is_there(1, 2, RunId(9));
        let lost = Conflict { reason: ConflictReason::OwnerLost, lost_from: 1, run: RunId(4) };
        let mark = KeyMark { conflict: Some(lost), ..KeyMark::default() };
        assert_eq!((marks.take(1, 1), marks.take(1, 2)), (None, Some(mark)));
        // Two daemons that served it apart died, and the earlier life is there after all.
        for run in [9, 4] {
            marks.set_gone(1, life(4, run));
        }
        marks.is_there(1, 4, RunId(4));
        assert_eq!(marks.take(1, 4).and_then(|mark| mark.conflict).map(|conflict| conflict.run), Some(RunId(9)));
        // The later one is there after all, and the earlier one is lost.
        for run in [4, 9] {
            marks.set_gone(1, life(5, run));
        }
        let mut there = marks_of(9);
        for (hash, body) in marks.records(1) {
            there
                .receive(1, &image::KeyMark { hash, body: &body }, None, &Tenures::default(), &mut Said::new())
                .unwrap();
        }
        there.is_there(1, 5, RunId(9));
        assert_eq!((there.take(1, 5), there.take(1, 5)), (Some(mark), None));
        assert_eq!(marks.take(1, 5), Some(KeyMark { lost: Lost::Gone, gone: RunId(9), ..mark }));
        // One that nobody heard of had begun since, and met the one that was lost.
        for run in [4, 9] {
            marks.set_gone(1, life(3, 4));
            marks.began_anew(1, 3);
            marks.is_there(1, 3, RunId(run));
            assert_eq!(marks.take(1, 3).is_some(), run != 4);
        }
        // It met one that had been there all the time, and wins.
        marks.set_gone(1, life(6, 9));
        marks.began_anew(1, 6);
        marks.is_there(1, 6, RunId(4));
        let lost = Conflict { reason: ConflictReason::OwnerLost, lost_from: 1, run: RunId(9) };
        assert_eq!(marks.take(1, 6), Some(KeyMark { conflict: Some(lost), ..KeyMark::default() }));
    }
}
