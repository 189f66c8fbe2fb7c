//! Event names of one machine, interned: a name becomes an index with one hash and, mostly, one comparison.

use statemesh_expr::{Str, Value};

/// Index of an event name that the machine knows.
pub(crate) type EventIx = u32;

/// The names, and an open-addressing table over them that never changes once compiled.
#[derive(Debug, Default)]
pub(crate) struct EventNames {
    names: Vec<Str>,
    /// A power of two, at most half full.
    table: Vec<Entry>,
    /// `{"type": NAME}`, for events that have nothing else. Made once all names are known.
    values: Box<[Value]>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Entry {
    key: Key,
    /// Index plus one; 0 is free.
    index: u32,
}

/// What tells names of up to 16 bytes apart, in three words: comparing these costs a third of comparing bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Key {
    first: u64,
    last: u64,
    len: u32,
}

/// Bytes of a name that a [`Key`] holds; the middle of a longer one is compared besides.
const KEY_BYTES: usize = 16;

impl Key {
    #[inline]
    fn of(name: &str) -> Self {
        let bytes = name.as_bytes();
        let (first, last) = if let (Some(first), Some(last)) = (bytes.first_chunk(), bytes.last_chunk()) {
            // They overlap in a name of less than 16 bytes, which does no harm.
            (u64::from_le_bytes(*first), u64::from_le_bytes(*last))
        } else if let (Some(first), Some(last)) = (bytes.first_chunk(), bytes.last_chunk()) {
            (u64::from(u32::from_le_bytes(*first)), u64::from(u32::from_le_bytes(*last)))
        } else {
            (bytes.iter().fold(0, |word, byte| word << 8 | u64::from(*byte)), 0)
        };
        // No event's name has four gigabytes: what is cut off tells none apart.
        Self { first, last, len: bytes.len() as u32 }
    }

    /// The table holds only the definition's own names, so a definition that makes them collide slows down only
    /// itself, and by no more than its number of names.
    #[inline]
    fn hash(&self, name: &str) -> usize {
        const MULTIPLIER: u64 = 0x9E37_79B9_7F4A_7C15;
        let mut state = self.first ^ self.last.rotate_left(29) ^ u64::from(self.len);
        if name.len() > KEY_BYTES {
            let middle = name.as_bytes().chunks_exact(8).skip(1);
            let word = |chunk: &[u8]| chunk.iter().fold(0, |word, byte| word << 8 | u64::from(*byte));
            state = middle.fold(state, |state, chunk| (state.rotate_left(5) ^ word(chunk)).wrapping_mul(MULTIPLIER));
        }
        // The high bits of a product are the mixed ones; the table uses the low ones.
        (state.wrapping_mul(MULTIPLIER) >> 32) as usize
    }
}

impl EventNames {
    /// The index of `name`, adding it if it is new.
    pub(crate) fn intern(&mut self, name: &str) -> EventIx {
        if let Some(found) = self.find(name) {
            return found;
        }
        let index = self.names.len() as u32;
        self.names.push(Str::new(name));
        if self.names.len() * 2 > self.table.len() {
            self.rebuild();
        } else {
            self.put(index);
        }
        index
    }

    pub(crate) fn name(&self, index: EventIx) -> &Str {
        &self.names[index as usize]
    }

    /// All names are known: makes the events that have nothing but their type.
    pub(crate) fn complete(mut self) -> Self {
        let value = |name: &Str| Value::Map([("type", Value::Str(name.clone()))].into_iter().collect());
        self.values = self.names.iter().map(value).collect();
        self
    }

    /// The event of this name that has nothing else.
    #[inline]
    pub(crate) fn value(&self, index: EventIx) -> &Value {
        &self.values[index as usize]
    }

    /// The name of an index, if there are so many.
    pub(crate) fn get(&self, index: EventIx) -> Option<&Str> {
        self.names.get(index as usize)
    }

    /// The index of `name`, if the machine knows it.
    // Not left to the compiler: with one more caller it makes a call of it, which is a fifth of the shortest step.
    #[inline(always)]
    pub(crate) fn find(&self, name: &str) -> Option<EventIx> {
        let mask = self.table.len().wrapping_sub(1);
        let key = Key::of(name);
        let mut slot = key.hash(name) & mask;
        loop {
            let entry = self.table.get(slot)?;
            let index = entry.index.checked_sub(1)?;
            if entry.key == key && (name.len() <= KEY_BYTES || self.name(index) == name) {
                return Some(index);
            }
            slot = (slot + 1) & mask;
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Str> {
        self.names.iter()
    }

    fn put(&mut self, index: EventIx) {
        let mask = self.table.len() - 1;
        let name = &self.names[index as usize];
        let key = Key::of(name);
        let mut slot = key.hash(name) & mask;
        while self.table[slot].index != 0 {
            slot = (slot + 1) & mask;
        }
        self.table[slot] = Entry { key, index: index + 1 };
    }

    fn rebuild(&mut self) {
        let size = (self.names.len() * 4).next_power_of_two().max(8);
        self.table.clear();
        self.table.resize(size, Entry::default());
        for index in 0..self.names.len() as u32 {
            self.put(index);
        }
    }
}

/// Whether an event descriptor that is not the event's name matches it: `*`, and `a.b.*` for `a.b` and what begins with `a.b.`.
pub(crate) fn wildcard_matches(descriptor: &str, name: &str) -> bool {
    if descriptor == "*" {
        return true;
    }
    let Some(prefix) = descriptor.strip_suffix(".*") else { return false };
    // XState stops at the first `*` token; one that is not the last matches nothing.
    if prefix.split('.').any(|token| token == "*") {
        return false;
    }
    name.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

/// Whether a descriptor can match names other than itself.
pub(crate) fn is_wildcard(descriptor: &str) -> bool {
    descriptor == "*" || descriptor.ends_with(".*")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_whatever_their_number_and_length() {
        let mut names = EventNames::default();
        assert_eq!(names.find("x"), None);
        for number in 0..500 {
            assert_eq!(names.intern(&format!("event.with.a.long.name.{number}")), number);
        }
        for number in 0..500 {
            assert_eq!(names.find(&format!("event.with.a.long.name.{number}")), Some(number));
        }
        assert_eq!(names.find("event"), None);
        assert_eq!(names.find(""), None);
        let short: Vec<String> = (0..40).map(|len| "ab".repeat(20)[..len].to_owned()).collect();
        let twins = short.iter().filter(|name| name.len() > 2).map(|name| format!("{}\0{}", &name[..1], &name[2..]));
        let all: Vec<String> = short.iter().cloned().chain(twins).collect();
        let numbers: Vec<_> = all.iter().map(|name| names.intern(name)).collect();
        assert!(numbers.iter().copied().eq(500..500 + all.len() as u32));
        assert!(all.iter().zip(numbers).all(|(name, number)| names.find(name) == Some(number)));
    }

    #[test]
    fn partial_wildcards_match_tokens() {
        assert!(wildcard_matches("a.*", "a"));
        assert!(wildcard_matches("a.*", "a.b.c"));
        assert!(!wildcard_matches("a.*", "ab"));
        assert!(!wildcard_matches("a.*", "b.a"));
        assert!(wildcard_matches("*", "anything"));
        assert!(!wildcard_matches("a.*.b.*", "a.x.b.c"));
        assert!(!wildcard_matches("*.*", "a.b"));
    }
}
