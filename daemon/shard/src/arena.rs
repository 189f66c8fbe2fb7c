//! Entries by number, in chunks: growing never copies what is there, and a freed place is used again.

/// Entries of one chunk: small enough that a shard with a few instances costs little.
const CHUNK: usize = 64;

/// A growable arena with stable numbers.
#[derive(Debug)]
pub(crate) struct Arena<T> {
    chunks: Vec<Box<[Option<T>]>>,
    free: Vec<u32>,
    next: u32,
}

impl<T> Default for Arena<T> {
    fn default() -> Self {
        Self { chunks: Vec::new(), free: Vec::new(), next: 0 }
    }
}

impl<T> Arena<T> {
    /// Puts a value in and gives its number.
    pub(crate) fn insert(&mut self, value: T) -> u32 {
        let index = self.free.pop().unwrap_or_else(|| {
            if self.next as usize == self.chunks.len() * CHUNK {
                self.chunks.push((0..CHUNK).map(|_| None).collect());
            }
            self.next += 1;
            self.next - 1
        });
        if let Some(place) = self.place(index) {
            *place = Some(value);
        }
        index
    }

    fn place(&mut self, index: u32) -> Option<&mut Option<T>> {
        self.chunks.get_mut(index as usize / CHUNK)?.get_mut(index as usize % CHUNK)
    }

    /// The entry of this number.
    pub(crate) fn get(&self, index: u32) -> Option<&T> {
        self.chunks.get(index as usize / CHUNK)?.get(index as usize % CHUNK)?.as_ref()
    }

    /// The entry of this number, to change it.
    pub(crate) fn get_mut(&mut self, index: u32) -> Option<&mut T> {
        self.place(index)?.as_mut()
    }

    /// Takes the entry of this number out.
    pub(crate) fn remove(&mut self, index: u32) -> Option<T> {
        let value = self.place(index)?.take()?;
        self.free.push(index);
        Some(value)
    }

    /// The entries of at most `count` places from this one on.
    pub(crate) fn slice(&self, from: u32, count: u32) -> Slice<impl Iterator<Item = (u32, &T)>> {
        let to = from.saturating_add(count).min(self.next);
        let entries = (from..to).filter_map(|index| Some((index, self.get(index)?)));
        Slice { entries, to, next: (to < self.next).then_some(to) }
    }
}

/// Some places of an arena.
pub(crate) struct Slice<I> {
    /// The entries in them, with their numbers.
    pub(crate) entries: I,
    /// The place behind them.
    pub(crate) to: u32,
    /// The same, if there are any from there on.
    pub(crate) next: Option<u32>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stay_and_freed_places_are_used_again() {
        let mut arena = Arena::default();
        let numbers: Vec<u32> = (0..200).map(|n| arena.insert(n)).collect();
        assert_eq!(arena.remove(numbers[70]), Some(70));
        assert_eq!(arena.remove(numbers[70]), None);
        assert_eq!(arena.get(numbers[199]), Some(&199));
        assert_eq!(arena.insert(1_000), numbers[70]);
        assert_eq!(arena.slice(0, u32::MAX).entries.count(), 200);
    }

    #[test]
    fn slices_have_a_bound_and_see_each_entry_once() {
        let mut arena = Arena::default();
        (0..200).for_each(|n| _ = arena.insert(n));
        arena.remove(64);
        let (mut seen, mut from) = (Vec::new(), Some(0));
        while let Some(at) = from {
            let Slice { entries, next, .. } = arena.slice(at, 50);
            seen.push(entries.count());
            from = next;
        }
        assert_eq!(seen, [50, 49, 50, 50]);
    }
}
