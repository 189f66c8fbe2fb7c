//! A hierarchical timer wheel: what a shard keeps all its instances' timers in.
//!
//! Six levels of 64 slots; a slot of level n spans 64^n milliseconds, so the wheel reaches 2^36 ms, some two years.
//! What lies further waits in the top level and is looked at again when its slot comes round. Inserting and cancelling
//! take constant time; finding the next deadline looks at one bit mask a level. `advance` works in bounded slices, so
//! that a million timers that are due together do not hold up a shard's other work.
//!
//! Within one millisecond timers fire in the order in which they were inserted, as long as none is inserted between
//! the slices of one `advance`.

use std::num::NonZeroU32;

use statemesh_engine::Millis;

const SLOT_BITS: u32 = 6;
const SLOTS: usize = 1 << SLOT_BITS;
const LEVELS: usize = 6;
const NONE: u32 = u32::MAX;

/// Names a timer in a [`TimerWheel`]. A handle whose timer has fired or was cancelled is harmless: it names nothing,
/// also when its place was given to another timer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct TimerHandle {
    index: u32,
    generation: NonZeroU32,
}

/// What a call of [`TimerWheel::advance`] left to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Advance {
    /// Nothing is due any more.
    Done,
    /// The budget was used up; call again.
    More,
}

/// Timers by deadline, each with a key for its owner.
#[derive(Debug)]
pub(crate) struct TimerWheel {
    /// All deadlines up to and including this time have fired.
    now: u64,
    entries: Vec<Entry>,
    free: u32,
    live: usize,
    /// One bit for each slot that holds anything.
    occupied: [u64; LEVELS],
    slots: Box<[[List; SLOTS]; LEVELS]>,
    /// Timers that are due, in order.
    due: List,
}

#[derive(Debug, Clone, Copy)]
struct List {
    first: u32,
    last: u32,
}

const EMPTY: List = List { first: NONE, last: NONE };

#[derive(Debug)]
struct Entry {
    deadline: u64,
    key: u64,
    previous: u32,
    next: u32,
    generation: NonZeroU32,
    place: Place,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Free,
    Due,
    Slot { level: u8, slot: u8 },
}

impl TimerWheel {
    /// An empty wheel whose time is `now`.
    pub(crate) fn new(now: Millis) -> Self {
        Self {
            now: now.0,
            entries: Vec::new(),
            free: NONE,
            live: 0,
            occupied: [0; LEVELS],
            slots: Box::new([[EMPTY; SLOTS]; LEVELS]),
            due: EMPTY,
        }
    }

    /// Timers that are pending.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.live
    }

    /// Whether no timer is pending.
    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.live == 0
    }

    /// Adds a timer. One whose deadline has passed fires with the next `advance`.
    pub(crate) fn insert(&mut self, deadline: Millis, key: u64) -> TimerHandle {
        let index = self.allocate(deadline.0, key);
        self.place(index);
        self.live += 1;
        TimerHandle { index, generation: self.entries[index as usize].generation }
    }

    /// Removes a timer; returns its key, or `None` if it has fired or was cancelled before.
    pub(crate) fn cancel(&mut self, handle: TimerHandle) -> Option<u64> {
        self.deadline(handle)?;
        let key = self.entries.get(handle.index as usize)?.key;
        self.unlink(handle.index);
        self.release(handle.index);
        Some(key)
    }

    /// When a timer is due; `None` if it has fired or was cancelled.
    pub(crate) fn deadline(&self, handle: TimerHandle) -> Option<Millis> {
        let entry = self.entries.get(handle.index as usize)?;
        let named = entry.generation == handle.generation && entry.place != Place::Free;
        named.then_some(Millis(entry.deadline))
    }

    /// A time at which `advance` has something to do: the earliest deadline, or an earlier time at which far timers
    /// have to be sorted anew.
    pub(crate) fn next_deadline(&self) -> Option<Millis> {
        if self.due.first != NONE {
            return Some(Millis(self.now));
        }
        self.next_slot().map(|(_, _, time)| Millis(time))
    }

    /// Moves time on to `now` and gives the keys of timers that are due to `fire`, earliest first, at most `budget`
    /// of them (and as many moves between slots). Time never goes back: an earlier `now` only goes on with what is due.
    pub(crate) fn advance(&mut self, now: Millis, budget: usize, fire: &mut impl FnMut(u64)) -> Advance {
        let mut left = budget;
        loop {
            while self.due.first != NONE {
                if left == 0 {
                    return Advance::More;
                }
                left -= 1;
                let index = self.due.first;
                let key = self.entries[index as usize].key;
                self.unlink(index);
                self.release(index);
                fire(key);
            }
            let Some((level, slot, time)) = self.next_slot().filter(|(_, _, time)| *time <= now.0) else {
                self.now = self.now.max(now.0);
                return Advance::Done;
            };
            // The time before the slot's: its own timers are yet to come.
            self.now = self.now.max(time);
            if !self.open(level, slot, &mut left) {
                return Advance::More;
            }
        }
    }

    /// The slot whose time comes first, and that time. Of equal times the highest level comes first: its timers belong
    /// into lower slots of the same time.
    fn next_slot(&self) -> Option<(usize, usize, u64)> {
        let mut best: Option<(usize, usize, u64)> = None;
        for level in (0..LEVELS).rev() {
            let occupied = self.occupied[level];
            if occupied == 0 {
                continue;
            }
            let shift = SLOT_BITS * level as u32;
            let position = (self.now >> shift) & (SLOTS as u64 - 1);
            let ahead = occupied.rotate_right(position as u32).trailing_zeros();
            let slot = (position as usize + ahead as usize) % SLOTS;
            let start = ((self.now >> shift) + u64::from(ahead)) << shift;
            let time = start.max(self.now);
            if best.is_none_or(|(_, _, earliest)| time < earliest) {
                best = Some((level, slot, time));
            }
        }
        best
    }

    /// Sorts the timers of a slot whose time has come; false if the budget ends before the slot does.
    fn open(&mut self, level: usize, slot: usize, left: &mut usize) -> bool {
        while self.slots[level][slot].first != NONE {
            if *left == 0 {
                return false;
            }
            *left -= 1;
            let index = self.slots[level][slot].first;
            self.unlink(index);
            self.place(index);
        }
        true
    }

    fn place(&mut self, index: u32) {
        let deadline = self.entries[index as usize].deadline;
        let place = if deadline <= self.now {
            Place::Due
        } else {
            let distance = deadline ^ self.now;
            let level = ((63 - distance.leading_zeros()) / SLOT_BITS).min(LEVELS as u32);
            if level as usize >= LEVELS {
                // In another turn of the wheel: its slot, or the last one before the top level comes round again.
                let shift = SLOT_BITS * (LEVELS as u32 - 1);
                let slot = (deadline >> shift).min((self.now >> shift) + SLOTS as u64 - 1) & (SLOTS as u64 - 1);
                Place::Slot { level: LEVELS as u8 - 1, slot: slot as u8 }
            } else {
                let slot = (deadline >> (SLOT_BITS * level)) & (SLOTS as u64 - 1);
                Place::Slot { level: level as u8, slot: slot as u8 }
            }
        };
        self.link(index, place);
    }

    fn list(&mut self, place: Place) -> Option<&mut List> {
        match place {
            Place::Free => None,
            Place::Due => Some(&mut self.due),
            Place::Slot { level, slot } => self.slots.get_mut(usize::from(level))?.get_mut(usize::from(slot)),
        }
    }

    fn link(&mut self, index: u32, place: Place) {
        let Some(list) = self.list(place) else { return };
        let last = list.last;
        list.last = index;
        if last == NONE {
            list.first = index;
        }
        if let Some(before) = self.entries.get_mut(last as usize) {
            before.next = index;
        }
        let entry = &mut self.entries[index as usize];
        (entry.previous, entry.next, entry.place) = (last, NONE, place);
        if let Place::Slot { level, slot } = place {
            self.occupied[usize::from(level)] |= 1 << slot;
        }
    }

    fn unlink(&mut self, index: u32) {
        let Entry { previous, next, place, .. } = self.entries[index as usize];
        if let Some(before) = self.entries.get_mut(previous as usize) {
            before.next = next;
        }
        if let Some(after) = self.entries.get_mut(next as usize) {
            after.previous = previous;
        }
        let Some(list) = self.list(place) else { return };
        if list.first == index {
            list.first = next;
        }
        if list.last == index {
            list.last = previous;
        }
        let is_empty = list.first == NONE;
        if let (true, Place::Slot { level, slot }) = (is_empty, place) {
            self.occupied[usize::from(level)] &= !(1 << slot);
        }
    }

    fn allocate(&mut self, deadline: u64, key: u64) -> u32 {
        if self.free == NONE {
            self.entries.push(Entry {
                deadline,
                key,
                previous: NONE,
                next: NONE,
                generation: NonZeroU32::MIN,
                place: Place::Free,
            });
            return self.entries.len() as u32 - 1;
        }
        let index = self.free;
        let entry = &mut self.entries[index as usize];
        self.free = entry.next;
        (entry.deadline, entry.key) = (deadline, key);
        index
    }

    fn release(&mut self, index: u32) {
        let entry = &mut self.entries[index as usize];
        entry.place = Place::Free;
        entry.generation = entry.generation.checked_add(1).unwrap_or(NonZeroU32::MIN);
        entry.next = self.free;
        self.free = index;
        self.live -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn drain(wheel: &mut TimerWheel, now: u64) -> Vec<u64> {
        let mut fired = Vec::new();
        while wheel.advance(Millis(now), 3, &mut |key| fired.push(key)) == Advance::More {}
        fired
    }

    #[test]
    fn timers_fire_at_their_time_and_in_order() {
        let mut wheel = TimerWheel::new(Millis(1_000));
        wheel.insert(Millis(1_010), 1);
        wheel.insert(Millis(1_005), 2);
        wheel.insert(Millis(1_010), 3);
        wheel.insert(Millis(900), 4);
        assert_eq!(drain(&mut wheel, 1_000), [4]);
        assert_eq!(drain(&mut wheel, 1_004), [0; 0]);
        assert_eq!(drain(&mut wheel, 1_009), [2]);
        assert_eq!(drain(&mut wheel, 1_010), [1, 3]);
        assert!(wheel.is_empty());
        assert_eq!(wheel.next_deadline(), None);
    }

    #[test]
    fn a_stale_handle_names_nothing() {
        let mut wheel = TimerWheel::new(Millis(0));
        let first = wheel.insert(Millis(10), 1);
        assert_eq!(wheel.cancel(first), Some(1));
        assert_eq!(wheel.cancel(first), None);
        let second = wheel.insert(Millis(10), 2);
        assert_eq!(wheel.cancel(first), None);
        assert_eq!(drain(&mut wheel, 10), [2]);
        assert_eq!(wheel.cancel(second), None);
    }

    #[test]
    fn a_slice_does_no_more_than_its_budget() {
        let mut wheel = TimerWheel::new(Millis(0));
        for key in 0..1_000 {
            wheel.insert(Millis(5), key);
        }
        let mut fired = 0;
        assert_eq!(wheel.advance(Millis(5), 100, &mut |_| fired += 1), Advance::More);
        assert!(fired <= 100);
        assert_eq!(drain(&mut wheel, 5).len() + fired, 1_000);
    }

    #[test]
    fn years_ahead_is_not_too_far() {
        let mut wheel = TimerWheel::new(Millis(7));
        let far = 5 * 365 * 86_400_000;
        wheel.insert(Millis(far), 1);
        let mut steps = 0;
        while let Some(next) = wheel.next_deadline() {
            let fired = drain(&mut wheel, next.0);
            steps += 1;
            assert!(steps < 1_000);
            if !fired.is_empty() {
                assert_eq!(next.0, far);
                return;
            }
        }
        panic!("the timer was lost");
    }

    /// Against a sorted map, from seeds.
    #[test]
    fn it_agrees_with_a_sorted_map() {
        for seed in 1..=40_u64 {
            let mut state = seed;
            let mut random = |below: u64| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (state >> 33) % below
            };
            let mut now = random(1 << 20);
            let mut wheel = TimerWheel::new(Millis(now));
            let mut model: BTreeMap<(u64, u64), TimerHandle> = BTreeMap::new();
            for key in 0..400 {
                match random(4) {
                    0 | 1 => {
                        let span = 1 << random(24);
                        let deadline = now + random(span);
                        model.insert((deadline.max(now), key), wheel.insert(Millis(deadline), key));
                    }
                    2 => {
                        let pick = model.keys().nth(random(model.len().max(1) as u64) as usize).copied();
                        if let Some(handle) = pick.and_then(|place| model.remove(&place)) {
                            assert!(wheel.cancel(handle).is_some(), "seed {seed}");
                        }
                    }
                    _ => {
                        let span = 1 << random(22);
                        now += random(span);
                        let due: Vec<u64> = model.range(..(now + 1, 0)).map(|((_, key), _)| *key).collect();
                        model.retain(|(deadline, _), _| *deadline > now);
                        let earliest = wheel.next_deadline();
                        assert!(due.is_empty() || earliest.is_some_and(|next| next.0 <= now), "seed {seed}");
                        assert_eq!(drain(&mut wheel, now), due, "seed {seed}");
                    }
                }
                assert_eq!(wheel.len(), model.len(), "seed {seed}");
            }
        }
    }
}
