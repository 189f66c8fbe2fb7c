//! Bytes that wait to be written: a buffer for what is small, and large messages as they come, so that none is copied and what
//! was written in front of a long backlog is given back without moving the rest.

use std::collections::VecDeque;

/// A buffer that grew beyond this for one burst is given back once it is empty.
const KEEP_BYTES: usize = 64 * 1024;
/// What comes behind so much begins a new buffer.
const CHUNK_BYTES: usize = 256 * 1024;

/// Bytes in the order in which they are written.
#[derive(Debug, Default)]
pub(crate) struct Unsent {
    first: Vec<u8>,
    /// How much of the first buffer is on the wire already.
    written: usize,
    behind: VecDeque<Vec<u8>>,
}

impl Unsent {
    /// Where to append.
    pub(crate) fn end(&mut self) -> &mut Vec<u8> {
        let Self { first, behind, .. } = self;
        let last = if behind.is_empty() { first.len() } else { behind.back().map_or(0, Vec::len) };
        if last >= CHUNK_BYTES {
            behind.push_back(Vec::new());
        }
        behind.back_mut().unwrap_or(first)
    }

    /// Appends bytes that the caller gives away: many are kept as they are and not copied.
    pub(crate) fn push(&mut self, bytes: Vec<u8>) {
        if bytes.len() < KEEP_BYTES {
            return self.end().extend_from_slice(&bytes);
        }
        self.behind.push_back(bytes);
        // What comes next is not to grow it.
        self.behind.push_back(Vec::new());
    }

    /// The bytes to write next; empty if nothing is left.
    pub(crate) fn next(&self) -> &[u8] {
        self.first.get(self.written..).unwrap_or_default()
    }

    /// Bytes in all.
    pub(crate) fn len(&self) -> usize {
        self.first.len() - self.written + self.behind.iter().map(Vec::len).sum::<usize>()
    }

    /// The next `bytes` are on the wire.
    pub(crate) fn advance(&mut self, bytes: usize) {
        self.written += bytes;
        if self.written < self.first.len() {
            return;
        }
        self.written = 0;
        self.first.clear();
        if self.first.capacity() > KEEP_BYTES {
            self.first = Vec::new();
        }
        while self.first.is_empty()
            && let Some(next) = self.behind.pop_front()
        {
            self.first = next;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_appended_comes_out_in_its_order_whatever_is_written_at_a_time() {
        let mut unsent = Unsent::default();
        let mut expected = Vec::new();
        for round in 0u8..40 {
            let small = vec![round; 20_000];
            let large = vec![round | 0x80; 100_000 + usize::from(round)];
            unsent.end().extend_from_slice(&small);
            expected.extend_from_slice(&small);
            expected.extend_from_slice(&large);
            unsent.push(large);
        }
        let mut written = Vec::new();
        let mut step = 1;
        while !unsent.next().is_empty() {
            assert_eq!(unsent.len(), expected.len() - written.len());
            let take = unsent.next().len().min(step);
            written.extend_from_slice(&unsent.next()[..take]);
            unsent.advance(take);
            step = step * 3 % 90_001 + 1;
        }
        assert!(written == expected && unsent.len() == 0 && unsent.behind.is_empty());
    }
}
