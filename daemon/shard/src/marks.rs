//! What the next reply about a key has to say: that the instance which was here before is gone, or what of it is.
//!
//! Marks belong to their partition: they are handed off with it.

use std::cmp::Ordering;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

use smallvec::SmallVec;
use statemesh_protocol::image::{self, Input, Malformed};
use statemesh_protocol::reply::MapWriter;
use statemesh_protocol::run::RunId;
use statemesh_protocol::tenure::{Tenure, Tenures};

use crate::removed::Place;
use crate::said::{Said, Saying};
use crate::shards::{KnownKey, LostLife};
use crate::unsaid_conflict::UnsaidConflict;

/// Why two states of a key met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConflictReason {
    /// It was served on both sides of a network partition, or while one of them was paused.
    Merged,
    /// Another daemon served it for a while, and died with what it did.
    OwnerLost,
}

impl ConflictReason {
    /// As it stands in replies and changes.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Merged => "merged",
            Self::OwnerLost => "owner_lost",
        }
    }

    /// As it stands in bytes.
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::Merged => 1,
            Self::OwnerLost => 3,
        }
    }

    /// The one of this code.
    pub(crate) fn of_code(code: u8) -> Option<Self> {
        [Self::Merged, Self::OwnerLost].into_iter().find(|reason| reason.code() == code)
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
    /// It did, and another one has begun since, by a request whose reply no client reads.
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
        out.push(self.reason.code());
        out.extend_from_slice(&self.lost_from.to_le_bytes());
        out.extend_from_slice(&self.run.0.to_le_bytes());
    }

    fn decode(input: &mut Input<'_>) -> Result<Self, Malformed> {
        let reason = ConflictReason::of_code(input.byte()?).ok_or_else(|| input.malformed())?;
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

/// That a life went with its owner, as a whole.
pub(crate) fn lost_life(run: RunId) -> Conflict {
    Conflict { reason: ConflictReason::OwnerLost, lost_from: 1, run }
}

/// Conflicts of one key that are kept until a client asks: of more than these the first ones are said.
const CONFLICTS: usize = 8;

/// What happened to a key and no reply has said: a conflict for each life that has lost something, which replies say one by one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Unsaid {
    lost: Lost,
    /// The life that was lost, if there is none since; and which copy had it.
    gone: RunId,
    tenure: Tenure,
    /// Earlier lives that were lost, which no reply has said either.
    also: SmallVec<[(RunId, Tenure); 1]>,
    /// With the copy that did what is gone, if that is known.
    conflicts: SmallVec<[(Conflict, Tenure); 1]>,
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
        let conflicts = self.conflict.into_iter().map(|conflict| (conflict, Tenure::default())).collect();
        Unsaid { lost: self.lost, gone: self.gone, conflicts, ..Unsaid::default() }.encode(out);
    }

    /// Reads what [`KeyMark::encode`] wrote.
    ///
    /// # Errors
    /// The bytes are none of ours.
    pub(crate) fn decode(body: &[u8]) -> Result<Self, Malformed> {
        Unsaid::decode(body).map(|mut unsaid| unsaid.next())
    }

    /// What standbys have to know of a record.
    pub(crate) fn known(record: &image::KeyMark<'_>) -> Vec<KnownKey> {
        Unsaid::decode(record.body).map(|unsaid| unsaid.known(record.hash)).unwrap_or_default()
    }
}

impl Unsaid {
    /// Of several lives that are lost, as of two daemons that served a key apart, the latest is the one that was here.
    fn add_gone(&mut self, run: RunId, tenure: Tenure) {
        let earlier = match run.cmp(&self.gone) {
            Ordering::Less => (run, tenure),
            // The later copy had it last.
            Ordering::Equal => return self.tenure = self.tenure.max(tenure),
            Ordering::Greater => (std::mem::replace(&mut self.gone, run), std::mem::replace(&mut self.tenure, tenure)),
        };
        self.add_also(earlier.0, earlier.1);
    }

    /// The life of this key that was lost, if there is none since.
    fn lost_life(&self, hash: u64) -> Option<LostLife> {
        let (run, tenure) = (self.gone, self.tenure);
        (self.lost == Lost::Gone).then_some(LostLife { hash, run, tenure })
    }

    /// What standbys have to know.
    fn known(&self, hash: u64) -> Vec<KnownKey> {
        let lost = self.lost_life(hash).map(KnownKey::Lost);
        lost.into_iter().chain(self.unsaid(hash).into_iter().map(KnownKey::Unsaid)).collect()
    }

    /// All that replies will say, one by one.
    fn sayings(&self, hash: u64) -> Vec<Saying> {
        let lost = self.lost_life(hash).map(|life| (lost_life(life.run), life.tenure));
        lost.into_iter().chain(self.unsaid(hash).into_iter().map(|unsaid| (unsaid.conflict, unsaid.tenure))).collect()
    }

    /// What replies will say, one by one, but for a life that was lost where there is none since.
    fn unsaid(&self, hash: u64) -> Vec<UnsaidConflict> {
        let began_anew = (self.lost == Lost::Anew && self.gone != RunId::default()).then_some((self.gone, self.tenure));
        let lives = self.also.iter().copied().chain(began_anew).map(|(run, tenure)| (lost_life(run), tenure));
        let all = self.conflicts.iter().copied().chain(lives);
        all.map(|(conflict, tenure)| UnsaidConflict { hash, conflict, tenure }).collect()
    }

    fn add_also(&mut self, run: RunId, tenure: Tenure) {
        if let Some((_, known)) = self.also.iter_mut().find(|(known, _)| *known == run) {
            *known = tenure.max(*known);
        } else if run != RunId::default() && self.also.len() < CONFLICTS {
            self.also.push((run, tenure));
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

    /// Of two conflicts of a life with one copy the earlier transition is the first that is gone. Those with several copies are void one by
    /// one, as these come, while there is room.
    fn add_conflict(&mut self, conflict: Conflict, tenure: Tenure) {
        let is_full = self.conflicts.len() >= CONFLICTS;
        let mut conflicts = self.conflicts.iter_mut();
        let is_same = |known: &Conflict, of: Tenure| of == tenure && known.reason == conflict.reason;
        if let Some((known, of)) =
            conflicts.find(|(known, of)| known.run == conflict.run && (is_same(known, *of) || is_full))
        {
            if *of != tenure {
                *of = Tenure::default();
            }
            if conflict.lost_from < known.lost_from {
                *known = conflict;
            }
        } else if !is_full {
            self.conflicts.push((conflict, tenure));
        }
    }

    /// All that is gone of the life that lost something first, which is one conflict when it is said.
    fn next_conflict(&mut self) -> Option<Conflict> {
        let whole = self.also.last().map(|(run, _)| lost_life(*run));
        let mut first = self.conflicts.first().map(|(conflict, _)| *conflict).or(whole)?;
        for conflict in self.of_life(first.run) {
            if conflict.lost_from < first.lost_from {
                first = conflict;
            }
        }
        self.forget_life(first.run);
        Some(first)
    }

    /// What is to be said of a life.
    fn of_life(&self, run: RunId) -> impl Iterator<Item = Conflict> {
        let whole = self.also.iter().map(|(run, _)| lost_life(*run));
        whole.chain(self.conflicts.iter().map(|(conflict, _)| *conflict)).filter(move |conflict| conflict.run == run)
    }

    /// All of a life has been said, whatever it was.
    fn forget_life(&mut self, run: RunId) {
        self.also.retain(|(gone, _)| *gone != run);
        self.conflicts.retain(|(conflict, _)| conflict.run != run);
    }

    /// It was said by a reply of another copy.
    fn was_said(&mut self, (conflict, tenure): Saying) {
        self.conflicts.retain(|known| *known != (conflict, tenure));
        if conflict != lost_life(conflict.run) {
            return;
        }
        self.also.retain(|known| *known != (conflict.run, tenure));
        if self.lost != Lost::No && (self.gone, self.tenure) == (conflict.run, tenure) {
            self.void_loss();
        }
    }

    /// A life is there, which others may have gone on with from its transition `seq`, in copies that are not: that much of it is not lost.
    fn found(&mut self, run: RunId, seq: u64) {
        let mut tenure = None;
        if self.lost != Lost::No && self.gone == run {
            tenure = Some(self.tenure);
            self.void_loss();
        }
        self.also.retain(|(gone, of)| {
            if *gone == run {
                tenure = tenure.max(Some(*of));
            }
            *gone != run
        });
        if let Some(tenure) = tenure {
            self.add_conflict(Conflict { reason: ConflictReason::OwnerLost, lost_from: seq + 1, run }, tenure);
        }
    }

    /// Drops what was held for lost with copies that are here: what they had is there, or has ended.
    fn drop_void(&mut self, has: impl Fn(Tenure) -> bool) {
        if self.lost != Lost::No && has(self.tenure) {
            self.void_loss();
        }
        self.also.retain(|(_, tenure)| !has(*tenure));
        // What lost a merge is over with no copy.
        self.conflicts.retain(|(conflict, tenure)| conflict.reason == ConflictReason::Merged || !has(*tenure));
    }

    /// The life that was lost was not.
    fn void_loss(&mut self) {
        (self.lost, self.gone) = (Lost::No, RunId::default());
    }

    /// The next thing to be said, which is over then.
    fn next(&mut self) -> KeyMark {
        if self.lost != Lost::No {
            // That it was lost says all of it.
            self.forget_life(self.gone);
        }
        let conflict = self.next_conflict();
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
        for (run, tenure) in &self.also {
            out.extend_from_slice(&run.0.to_le_bytes());
            out.extend_from_slice(&tenure.0.to_le_bytes());
        }
        encode_sayings(&self.conflicts, out);
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
            unsaid.also.push((RunId(input.u64()?), Tenure(input.u64()?)));
        }
        for (conflict, tenure) in decode_sayings(input)? {
            unsaid.add_conflict(conflict, tenure);
        }
        Ok(unsaid)
    }
}

/// Places in the order of marks that may be void, beside as many as there are.
const ORDER: usize = 64;

/// The marks of one shard. A key keeps its mark until a client asks for it, and so there is a bound.
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
    /// Conflicts that came, or were said or are void, and their partitions: what standbys are not told yet.
    news: Vec<(u16, KnownKey)>,
    /// What replies have said.
    said: Said,
}

impl Marks {
    /// None yet. Where there are `max` in all shards together, the oldest of the shard makes room for one more. `met` counts the members
    /// that this daemon meets.
    pub(crate) fn new(max: usize, total: Arc<AtomicUsize>, met: Arc<AtomicU64>) -> Self {
        Self {
            by_place: BTreeMap::new(),
            max: max.max(1),
            order: VecDeque::new(),
            last: 0,
            total,
            forgotten: 0,
            news: Vec::new(),
            said: Said::new(met),
        }
    }

    /// What replies have said of the keys of a partition may not be all of it.
    pub(crate) fn forget_said(&mut self, partition: u16) {
        self.said.forget(partition);
    }

    /// Whether a reply has said that a life was lost.
    pub(crate) fn is_loss_said(&self, partition: u16, life: LostLife) -> bool {
        self.said.has((partition, life.hash), (lost_life(life.run), life.tenure))
    }

    /// Whether there is none.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.by_place.is_empty()
    }

    /// Whether there is one of a key.
    pub(crate) fn has(&self, place: Place) -> bool {
        self.by_place.contains_key(&place)
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

    /// What standbys have to be told since this was asked last.
    pub(crate) fn take_news(&mut self) -> Vec<(u16, KnownKey)> {
        std::mem::take(&mut self.news)
    }

    /// Changes what is to be said of a key, and notes for its standbys which conflicts came and went by that.
    fn noting<T>(&mut self, place: Place, change: impl FnOnce(&mut Self) -> T) -> T {
        let unsaid = |marks: &Self| marks.by_place.get(&place).map(|mark| mark.unsaid(place.1)).unwrap_or_default();
        let before = unsaid(self);
        let changed = change(self);
        let after = unsaid(self);
        let went = before.iter().filter(|unsaid| !after.contains(unsaid)).map(|unsaid| KnownKey::Said(*unsaid));
        let came = after.iter().filter(|unsaid| !before.contains(unsaid)).map(|unsaid| KnownKey::Unsaid(*unsaid));
        self.news.extend(went.chain(came).map(|known| (place.0, known)));
        changed
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

    /// What is gone of a key that has an instance, with a copy of this tenure. Gives false if that was said.
    pub(crate) fn add_conflict(&mut self, partition: u16, hash: u64, conflict: Conflict, tenure: Tenure) -> bool {
        let place = (partition, hash);
        let is_news = !self.said.has(place, (conflict, tenure));
        if is_news {
            self.noting(place, |marks| marks.mark(place).add_conflict(conflict, tenure));
        }
        is_news
    }

    /// Takes in what one that died told of a conflict. A life that was lost as a whole may turn up.
    pub(crate) fn add_unsaid(&mut self, partition: u16, unsaid: &UnsaidConflict) {
        let UnsaidConflict { hash, conflict, tenure } = *unsaid;
        let place = (partition, hash);
        if self.said.has(place, (conflict, tenure)) {
            return;
        }
        self.noting(place, |marks| match conflict == lost_life(conflict.run) {
            true => marks.mark(place).add_also(conflict.run, tenure),
            false => marks.mark(place).add_conflict(conflict, tenure),
        });
    }

    /// A key's instance is gone.
    pub(crate) fn set_gone(&mut self, partition: u16, life: LostLife) {
        let place = (partition, life.hash);
        self.noting(place, |marks| {
            let mark = marks.mark(place);
            mark.add_gone(life.run, life.tenure);
            mark.lost = Lost::Gone;
        });
    }

    /// There is an instance of a key that was lost; who asks next is to be told all the same.
    pub(crate) fn began_anew(&mut self, partition: u16, hash: u64) {
        if self.is_gone(partition, hash) {
            self.change((partition, hash), |mark| mark.lost = Lost::Anew);
        }
    }

    /// Changes the mark of a key, which goes if nothing is left of it.
    fn change<T>(&mut self, place: Place, change: impl FnOnce(&mut Unsaid) -> T) -> Option<T> {
        self.has(place).then_some(())?;
        self.noting(place, |marks| {
            let mark = marks.by_place.get_mut(&place)?;
            let changed = change(mark);
            if mark.is_empty() {
                marks.remove(place);
            }
            Some(changed)
        })
    }

    /// Copies of a key's partition are here: what was held for lost with them is not. Gives the life, if there was none since.
    pub(crate) fn drop_void(&mut self, place: Place, has: impl Fn(Tenure) -> bool) -> Option<LostLife> {
        let void = self.change(place, |mark| {
            let gone = mark.lost_life(place.1);
            mark.drop_void(has);
            gone.filter(|_| mark.lost == Lost::No)
        });
        void.flatten()
    }

    /// The same of all keys of a partition.
    pub(crate) fn drop_void_of(&mut self, partition: u16, copy: &Tenures) -> Vec<LostLife> {
        let places = self.by_place.range((partition, 0)..=(partition, u64::MAX)).map(|(place, _)| *place);
        let places: Vec<Place> = places.collect();
        places.into_iter().filter_map(|place| self.drop_void(place, |tenure| copy.has(tenure))).collect()
    }

    /// A life of a key is there, which others may have gone on with from its transition `seq`, in copies that are not.
    pub(crate) fn found(&mut self, place: Place, run: RunId, seq: u64) {
        self.change(place, |mark| mark.found(run, seq));
    }

    /// A key that was lost has an instance after all, of another life, beside which that is gone. Gives whether that is a conflict.
    pub(crate) fn is_there(&mut self, place: Place, run: RunId) -> bool {
        let conflicts = self.change(place, |mark| {
            // One that has begun since has a higher run.
            let is_over = mark.lost == Lost::Gone || mark.lost == Lost::Anew && run <= mark.gone;
            let (gone, tenure) = (mark.gone, mark.tenure);
            if is_over {
                mark.void_loss();
                if gone != RunId::default() {
                    mark.add_conflict(lost_life(gone), tenure);
                }
            }
            is_over && gone != RunId::default()
        });
        conflicts.unwrap_or(false)
    }

    /// Two lives of a key met. Who is answered from now on knows one of them from before, so that neither is an instance that has
    /// begun since another was lost: that is a conflict.
    pub(crate) fn met(&mut self, place: Place) {
        self.change(place, |mark| {
            if mark.lost == Lost::Anew {
                let (gone, tenure) = (mark.gone, mark.tenure);
                mark.void_loss();
                mark.add_also(gone, tenure);
            }
        });
    }

    /// A reply said this about a key, and may have reached no client: another one has to say it. That a life was lost as a whole which
    /// is one of those that meet is not so, or is said by what comes of that.
    pub(crate) fn say_again(&mut self, place: Place, said: &KeyMark, meeting: [RunId; 2]) {
        let KeyMark { lost, gone, conflict } = *said;
        if lost != Lost::No && gone != RunId::default() && !meeting.contains(&gone) {
            self.noting(place, |marks| marks.mark(place).add_also(gone, Tenure::default()));
        }
        let is_there = |of: &Conflict| of.reason == ConflictReason::OwnerLost && meeting.contains(&of.run);
        if let Some(conflict) = conflict.filter(|conflict| !is_there(conflict)) {
            self.add_conflict(place.0, place.1, conflict, Tenure::default());
        }
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
        let conflicts = mark.conflicts.iter().map(|(conflict, _)| conflict.run);
        conflicts.chain(mark.also.iter().map(|(run, _)| *run)).chain([mark.gone]).max()
    }

    /// Whether the next reply about a key says that its instance was lost.
    pub(crate) fn says_lost(&self, partition: u16, hash: u64) -> bool {
        self.by_place.get(&(partition, hash)).is_some_and(|mark| mark.lost != Lost::No)
    }

    /// What the reply about a key has to say; it is said once.
    pub(crate) fn take(&mut self, partition: u16, hash: u64) -> Option<KeyMark> {
        let place = (partition, hash);
        let sayings = |marks: &Self| marks.by_place.get(&place).map(|mark| mark.sayings(hash)).unwrap_or_default();
        let before = sayings(self);
        let taken = self.change(place, Unsaid::next);
        let after = sayings(self);
        before.into_iter().filter(|saying| !after.contains(saying)).for_each(|saying| self.said.note(place, saying));
        taken
    }

    /// What [`Marks::take`] would give.
    pub(crate) fn show(&self, partition: u16, hash: u64) -> Option<KeyMark> {
        self.by_place.get(&(partition, hash)).map(|unsaid| unsaid.clone().next())
    }

    /// What a partition's standbys have to know: lives that are lost and conflicts, of which no reply has said anything.
    pub(crate) fn known(&self, partition: u16) -> impl Iterator<Item = KnownKey> {
        let marks = self.by_place.range((partition, 0)..=(partition, u64::MAX));
        marks.flat_map(|((_, hash), mark)| mark.known(*hash))
    }

    /// Keys of a partition, by hash, of which it is to be said that an instance was lost.
    pub(crate) fn saying_lost(&self, partition: u16) -> impl Iterator<Item = u64> {
        let marks = self.by_place.range((partition, 0)..=(partition, u64::MAX));
        marks.filter(|(_, mark)| mark.lost != Lost::No || !mark.also.is_empty()).map(|((_, hash), _)| *hash)
    }

    /// Forgets those of a partition.
    pub(crate) fn forget(&mut self, partition: u16) {
        let places: Vec<Place> =
            self.by_place.range((partition, 0)..=(partition, u64::MAX)).map(|(place, _)| *place).collect();
        places.into_iter().for_each(|place| self.remove(place));
        self.said.forget(partition);
    }

    /// Those of a partition, each as a record's hash and body; and what was said of its keys, in the same way.
    pub(crate) fn records(&self, partition: u16) -> impl Iterator<Item = (u64, Vec<u8>)> {
        let marks = self.by_place.range((partition, 0)..=(partition, u64::MAX)).map(|((_, hash), mark)| {
            let mut body = Vec::new();
            mark.encode(&mut body);
            (*hash, body)
        });
        let said = self.said.of(partition).map(|(hash, sayings)| {
            let mut body = vec![SAID];
            encode_sayings(&sayings, &mut body);
            (hash, body)
        });
        marks.chain(said)
    }

    /// Takes in one that came with a partition, beside what is marked here. What was lost with copies that are here is not. That a life
    /// was lost with its owner is said again, as that owner may have gone on with it where the mesh was apart, and who saw it
    /// die knows no more of the life than its name.
    pub(crate) fn receive(
        &mut self,
        partition: u16,
        record: &image::KeyMark<'_>,
        has: impl Fn(Tenure) -> bool,
    ) -> Result<(), Malformed> {
        let place = (partition, record.hash);
        if let Some((&SAID, sayings)) = record.body.split_first() {
            let sayings = decode_sayings(Input::new(sayings))?;
            sayings.iter().for_each(|saying| self.said.note(place, *saying));
            self.change(place, |mark| sayings.iter().for_each(|saying| mark.was_said(*saying)));
            return Ok(());
        }
        let mut came = Unsaid::decode(record.body)?;
        came.drop_void(has);
        let is_merged = |saying: &Saying| saying.0.reason == ConflictReason::Merged;
        let known =
            came.sayings(record.hash).into_iter().filter(is_merged).filter(|saying| self.said.has(place, *saying));
        known.collect::<Vec<_>>().into_iter().for_each(|saying| came.was_said(saying));
        if came.is_empty() {
            return Ok(());
        }
        let Unsaid { lost, gone, tenure, also, conflicts, .. } = came;
        self.noting(place, |marks| {
            let known = marks.mark(place);
            also.into_iter().for_each(|(run, tenure)| known.add_also(run, tenure));
            known.add_lost(lost, gone, tenure);
            conflicts.into_iter().for_each(|(conflict, tenure)| known.add_conflict(conflict, tenure));
        });
        Ok(())
    }
}

/// The first byte of a record of what was said, in the place of whether the key's instance was lost.
const SAID: u8 = 3;

fn encode_sayings(sayings: &[Saying], out: &mut Vec<u8>) {
    for (conflict, tenure) in sayings {
        conflict.encode(out);
        out.extend_from_slice(&tenure.0.to_le_bytes());
    }
}

fn decode_sayings(mut input: Input<'_>) -> Result<Vec<Saying>, Malformed> {
    let mut sayings = Vec::new();
    while !input.is_empty() {
        sayings.push((Conflict::decode(&mut input)?, Tenure(input.u64()?)));
    }
    Ok(sayings)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn marks_of(max: usize) -> Marks {
        Marks::new(max, Arc::default(), Arc::default())
    }

    #[test]
    fn what_is_held_for_lost_with_several_copies_is_void_once_all_of_them_are_there_and_is_said_once() {
        let lost = |lost_from| Conflict { reason: ConflictReason::OwnerLost, lost_from, run: RunId(5) };
        for (there, said) in [(&[1, 2][..], None), (&[1], Some(3)), (&[2], Some(1)), (&[], Some(1))] {
            let mut marks = marks_of(9);
            marks.add_conflict(1, 7, lost(1), Tenure(1));
            marks.add_conflict(1, 7, lost(3), Tenure(2));
            marks.add_conflict(1, 7, lost(4), Tenure(2));
            marks.drop_void((1, 7), |tenure| there.contains(&tenure.0));
            let next = marks.take(1, 7).and_then(|mark| mark.conflict);
            assert_eq!(next.map(|conflict| conflict.lost_from), said, "{there:?}");
            assert_eq!(marks.take(1, 7), None);
        }
        let mut marks = marks_of(9);
        (0..=CONFLICTS as u64).for_each(|n| _ = marks.add_conflict(1, 7, lost(9 - n), Tenure(n)));
        assert_eq!(marks.take(1, 7).and_then(|mark| mark.conflict), Some(lost(9 - CONFLICTS as u64)));
        assert_eq!(marks.len(), 0);
    }

    #[test]
    fn the_oldest_marks_make_room_for_others() {
        let total = Arc::new(AtomicUsize::new(0));
        let mut marks = Marks::new(3, Arc::clone(&total), Arc::default());
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
        let conflict = Conflict { reason: ConflictReason::OwnerLost, lost_from: 7, run: RunId(9) };
        let mut here = marks_of(9);
        here.set_gone(3, life(1, 4));
        here.add_conflict(3, 2, conflict, Tenure(1));
        here.set_gone(4, life(1, 4));
        let mut there = marks_of(9);
        for (hash, body) in here.records(3) {
            there.receive(3, &image::KeyMark { hash, body: &body }, |_| false).unwrap();
        }
        here.forget(3);
        assert_eq!((here.len(), there.len()), (1, 2));
        assert!(there.is_gone(3, 1) && !there.is_gone(3, 2) && !there.is_gone(4, 1));
        let mark = KeyMark { conflict: Some(conflict), ..KeyMark::default() };
        assert_eq!((there.take(3, 2), there.take(3, 2)), (Some(mark), None));
        assert!(there.receive(3, &image::KeyMark { hash: 1, body: &[9] }, |_| false).is_err());
    }

    #[test]
    fn what_nobody_was_told_is_said_whatever_comes_after_it() {
        let conflict = |run, lost_from| Conflict { reason: ConflictReason::Merged, lost_from, run: RunId(run) };
        let mark = |conflict| KeyMark { conflict: Some(conflict), ..KeyMark::default() };
        let mut marks = marks_of(9);
        // Lost; an instance begins of which no client hears, and conflicts twice.
        marks.set_gone(1, life(1, 4));
        marks.began_anew(1, 1);
        marks.is_there((1, 1), RunId(5));
        marks.add_conflict(1, 1, conflict(5, 9), Tenure(1));
        marks.add_conflict(1, 1, conflict(5, 7), Tenure(1));
        marks.add_conflict(1, 1, conflict(6, 2), Tenure(1));
        assert!(!marks.is_gone(1, 1) && marks.says_lost(1, 1));
        // One life after the other.
        assert_eq!(marks.take(1, 1), Some(KeyMark { lost: Lost::Anew, gone: RunId(4), ..mark(conflict(5, 7)) }));
        assert_eq!((marks.take(1, 1), marks.take(1, 1)), (Some(mark(conflict(6, 2))), None));
    }

    #[test]
    fn one_that_began_since_another_was_lost_and_meets_a_third_is_no_restart() {
        let mut marks = marks_of(9);
        marks.set_gone(1, life(1, 4));
        marks.met((1, 1));
        assert!(marks.is_gone(1, 1));
        marks.began_anew(1, 1);
        marks.met((1, 1));
        let conflict = Conflict { reason: ConflictReason::OwnerLost, lost_from: 1, run: RunId(4) };
        assert_eq!(marks.take(1, 1), Some(KeyMark { conflict: Some(conflict), ..KeyMark::default() }));
        assert_eq!(marks.take(1, 1), None);
    }

    #[test]
    fn what_was_held_for_lost_with_a_copy_is_not_if_that_is_there() {
        let mut marks = marks_of(9);
        let conflict = |reason| Conflict { reason, lost_from: 3, run: RunId(4) };
        let copy = |tenure| move |of| of == Tenure(tenure);
        for tenure in [1, 2] {
            marks.set_gone(1, life(1, 4));
            marks.set_gone(1, life(2, 4));
            marks.began_anew(1, 2);
            [5, 4].into_iter().for_each(|run| marks.set_gone(1, life(3, run)));
            marks.add_conflict(1, 4, conflict(ConflictReason::OwnerLost), Tenure(1));
            // What two copies did is over with neither of them alone, and what lost a merge is over with none.
            marks.add_conflict(1, 5, conflict(ConflictReason::OwnerLost), Tenure(1));
            marks.add_conflict(1, 5, conflict(ConflictReason::OwnerLost), Tenure(2));
            marks.add_conflict(1, 6, conflict(ConflictReason::Merged), Tenure::default());
            let void: Vec<u64> =
                (1..=6).filter_map(|hash| marks.drop_void((1, hash), copy(tenure))).map(|life| life.hash).collect();
            assert_eq!(void, if tenure == 1 { vec![1, 3] } else { vec![] });
            let said = [1, 2, 3, 4, 5, 6].map(|hash| marks.take(1, hash).is_some());
            let is_lost = tenure != 1;
            assert_eq!(said, [is_lost, is_lost, is_lost, is_lost, true, true], "{tenure}");
            marks.take(1, 3);
            assert!(marks.is_empty());
        }
        // Of a whole partition, and of marks that come.
        marks.set_gone(1, life(1, 4));
        let records: Vec<_> = marks.records(1).collect();
        let mut copy = Tenures::default();
        copy.begin(Tenure(1));
        assert_eq!(marks.drop_void_of(1, &copy), [life(1, 4)]);
        assert!(marks.is_empty());
        for (hash, body) in &records {
            marks.receive(1, &image::KeyMark { hash: *hash, body }, |tenure| copy.has(tenure)).unwrap();
        }
        assert!(marks.is_empty());
    }

    #[test]
    fn of_a_life_that_is_there_what_came_behind_is_lost_with_a_copy_that_is_not() {
        let mut marks = marks_of(9);
        let lost = |lost_from, run| Conflict { reason: ConflictReason::OwnerLost, lost_from, run: RunId(run) };
        let mark = |lost_from, run| Some(KeyMark { conflict: Some(lost(lost_from, run)), ..KeyMark::default() });
        marks.set_gone(1, life(1, 4));
        marks.found((1, 1), RunId(4), 2);
        // One of which no client heard had begun since.
        marks.set_gone(1, life(2, 4));
        marks.began_anew(1, 2);
        marks.found((1, 2), RunId(4), 2);
        assert_eq!([1, 2].map(|hash| marks.take(1, hash)), [mark(3, 4), mark(3, 4)]);
        // Of two that are lost the earlier one is there.
        [4, 9].into_iter().for_each(|run| marks.set_gone(1, life(3, run)));
        marks.found((1, 3), RunId(4), 0);
        assert_eq!(marks.take(1, 3), Some(KeyMark { lost: Lost::Gone, gone: RunId(9), ..mark(1, 4).unwrap() }));
        marks.found((1, 9), RunId(4), 2);
        assert!(marks.is_empty());
    }

    #[test]
    fn a_life_that_was_lost_is_in_conflict_with_another_one_that_is_there() {
        let mut marks = marks_of(9);
        let lost = |run| Conflict { reason: ConflictReason::OwnerLost, lost_from: 1, run: RunId(run) };
        let mark = |run| Some(KeyMark { conflict: Some(lost(run)), ..KeyMark::default() });
        marks.set_gone(1, life(2, 4));
        assert!(marks.is_there((1, 2), RunId(9)) && !marks.is_there((1, 2), RunId(9)));
        // It began since, and no client read the reply that says so.
        marks.set_gone(1, life(3, 4));
        marks.began_anew(1, 3);
        assert!(!marks.is_there((1, 3), RunId(9)));
        // It met one that had been there all the time, and wins.
        marks.set_gone(1, life(6, 9));
        marks.began_anew(1, 6);
        assert!(marks.is_there((1, 6), RunId(4)));
        let anew = Some(KeyMark { lost: Lost::Anew, gone: RunId(4), conflict: None });
        assert_eq!([2, 3, 6].map(|hash| marks.take(1, hash)), [mark(4), anew, mark(9)]);
    }

    #[test]
    fn a_life_that_is_marked_in_two_ways_is_said_once() {
        let unsaid = UnsaidConflict { hash: 7, conflict: lost_life(RunId(5)), tenure: Tenure(1) };
        let mut marks = marks_of(9);
        marks.add_conflict(1, 7, unsaid.conflict, unsaid.tenure);
        marks.add_unsaid(1, &unsaid);
        let mark = KeyMark { conflict: Some(unsaid.conflict), ..KeyMark::default() };
        assert_eq!((marks.take(1, 7), marks.take(1, 7)), (Some(mark), None));
        // One had begun since, of which no client heard.
        let unsaid = UnsaidConflict { hash: 8, ..unsaid };
        marks.set_gone(1, life(8, 5));
        marks.began_anew(1, 8);
        marks.add_unsaid(1, &unsaid);
        let mark = KeyMark { lost: Lost::Anew, gone: RunId(5), conflict: None };
        assert_eq!((marks.take(1, 8), marks.take(1, 8)), (Some(mark), None));
    }

    #[test]
    fn what_was_said_is_not_said_again_whatever_way_it_comes_and_wherever_the_partition_goes() {
        let conflict = Conflict { reason: ConflictReason::Merged, lost_from: 3, run: RunId(4) };
        let unsaid = UnsaidConflict { hash: 1, conflict, tenure: Tenure(2) };
        let mut marks = marks_of(9);
        marks.add_unsaid(1, &unsaid);
        marks.set_gone(1, life(2, 4));
        // What a third copy has unsaid, and a fourth.
        let [third, fourth] = [marks.records(1).collect::<Vec<_>>(), marks.records(1).collect()];
        assert!(marks.take(1, 1).is_some() && marks.take(1, 2).is_some());
        let receive = |marks: &mut Marks, records: &[(u64, Vec<u8>)]| {
            for (hash, body) in records {
                marks.receive(1, &image::KeyMark { hash: *hash, body }, |_| false).unwrap();
            }
        };
        marks.add_unsaid(1, &unsaid);
        assert!(!marks.add_conflict(1, 1, conflict, Tenure(2)) && marks.is_loss_said(1, life(2, 4)));
        // Its owner may have gone on with the life that was said to be lost.
        receive(&mut marks, &third);
        assert!(marks.take(1, 1).is_none() && marks.take(1, 2).is_some() && marks.is_empty());
        // It goes to the fourth one, which hears that they were said.
        let mut there = marks_of(9);
        receive(&mut there, &fourth);
        let said: Vec<_> = marks.records(1).collect();
        receive(&mut there, &said);
        receive(&mut there, &third);
        assert!(there.take(1, 1).is_none() && there.take(1, 2).is_some() && there.is_empty());
        let news: Vec<KnownKey> = there.take_news().into_iter().map(|(_, known)| known).collect();
        assert_eq!(news, [KnownKey::Unsaid(unsaid), KnownKey::Said(unsaid)]);
        // What another copy did of the same life is another thing; and with the copy goes what was said.
        assert!(!there.is_loss_said(1, LostLife { tenure: Tenure(3), ..life(2, 4) }));
        there.forget(1);
        assert!(!there.is_loss_said(1, life(2, 4)));
    }
}
