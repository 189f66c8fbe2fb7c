//! A hash of everything that happened, to see that a seed replays to the byte; and the last lines of what happened, for a
//! seed that fails.

use std::collections::VecDeque;

/// Lines that are kept.
const LINES: usize = 4_000;

/// What happened so far.
#[derive(Debug)]
pub struct Trace {
    hash: u64,
    lines: VecDeque<(u64, String)>,
    /// Hashes after so many things, to find the first one that differs between two runs.
    marks: Vec<(u64, u64)>,
    count: u64,
}

impl Default for Trace {
    fn default() -> Self {
        Self { hash: 0xcbf2_9ce4_8422_2325, lines: VecDeque::new(), marks: Vec::new(), count: 0 }
    }
}

/// Things between two marks.
const MARK: u64 = 512;

impl Trace {
    /// Something happened at this time: what, in numbers and bytes.
    pub fn note(&mut self, at: u64, what: &[u64], bytes: &[u8]) {
        let mut hash = (self.hash ^ at).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        for number in what {
            hash = (hash ^ number).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
        }
        let mut chunks = bytes.chunks_exact(8);
        for chunk in &mut chunks {
            let word = <[u8; 8]>::try_from(chunk).map_or(0, u64::from_le_bytes);
            hash = (hash ^ word).wrapping_mul(0xff51_afd7_ed55_8ccd).rotate_left(31);
        }
        for byte in chunks.remainder() {
            hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
        self.hash = hash.wrapping_add(bytes.len() as u64);
        self.count += 1;
        if self.count.is_multiple_of(MARK) {
            self.marks.push((at, self.hash));
        }
    }

    /// A line for people, which counts too.
    pub fn line(&mut self, at: u64, line: String) {
        self.note(at, &[0], line.as_bytes());
        if self.lines.len() == LINES {
            self.lines.pop_front();
        }
        self.lines.push_back((at, line));
    }

    /// The hash of all that happened.
    #[must_use]
    pub fn hash(&self) -> u64 {
        self.hash
    }

    /// Until when two runs were the same, if they were not to their end.
    #[must_use]
    pub fn differs_at(&self, other: &Self) -> Option<u64> {
        if self.hash == other.hash {
            return None;
        }
        let pair = self.marks.iter().zip(&other.marks).find(|(a, b)| a != b);
        Some(pair.map_or(u64::MAX, |(a, _)| a.0))
    }

    /// The last lines, oldest first.
    pub fn lines(&self) -> impl DoubleEndedIterator<Item = &(u64, String)> {
        self.lines.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_number_and_time_counts() {
        let hash = |at, number, bytes: &[u8]| {
            let mut trace = Trace::default();
            trace.note(at, &[number], bytes);
            trace.hash()
        };
        let all = [hash(1, 1, b"a"), hash(2, 1, b"a"), hash(1, 2, b"a"), hash(1, 1, b"b"), hash(1, 1, b"123456789")];
        for (n, a) in all.iter().enumerate() {
            assert!(all.iter().skip(n + 1).all(|b| a != b));
        }
        assert_eq!(hash(1, 1, b"a"), hash(1, 1, b"a"));
    }
}
