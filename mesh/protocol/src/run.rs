//! The life of a key: a number that its first instance gets, and the next one when it takes the place of one that ended.
//!
//! It is a time, in milliseconds since 1970, in the upper 44 bits, and random below. So the runs of one key ascend, as long as the
//! clocks of daemons agree better than the time that it takes to replace one of them; and two daemons that both begin a life
//! of the same key in the same millisecond, cut off from each other, give them the same number once in a million times; once in
//! 65,536 times where the life before was given by a clock that is ahead of theirs.

/// Bits below the time.
const RANDOM_BITS: u32 = 20;
/// The most by which a run is above the one before it where the clock says less. So 32 lives of a key, or of a shard if they are removed
/// at once, begin in a millisecond before their runs get ahead of the clock.
const STEP: u64 = 1 << 16;

/// A life of a key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RunId(pub u64);

impl RunId {
    /// A life that begins at this time and comes `after` another one, if there was one. The lowest bits of `random` are taken, also
    /// where the one before is ahead of the clock: two daemons that are cut off from each other may both begin the next life.
    #[must_use]
    pub fn begin(unix_ms: u64, random: u64, after: Option<Self>) -> Self {
        let run = Self(unix_ms << RANDOM_BITS | random & ((1 << RANDOM_BITS) - 1));
        let next = |Self(before): Self| Self(before.saturating_add(1 + random % STEP));
        after.map_or(run, |before| if before < run { run } else { next(before) })
    }

    /// When the life began, in milliseconds since 1970.
    #[must_use]
    pub fn began_ms(self) -> u64 {
        self.0 >> RANDOM_BITS
    }

    /// As it stands in requests and replies: sixteen hexadecimal digits, which compare as the numbers do.
    #[must_use]
    pub fn digits(self) -> [u8; 16] {
        // It is in every reply: eight digits at a time, a byte for each.
        let high = digits((self.0 >> 32) as u32);
        let low = digits(self.0 as u32);
        let mut all = [0; 16];
        all[..8].copy_from_slice(&high);
        all[8..].copy_from_slice(&low);
        all
    }

    /// Reads hexadecimal digits, one to sixteen.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let is_hex = text.len() <= 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        if is_hex { u64::from_str_radix(text, 16).ok().map(Self) } else { None }
    }
}

fn digits(number: u32) -> [u8; 8] {
    const ONES: u64 = 0x0101_0101_0101_0101;
    let mut spread = u64::from(number);
    spread = (spread | spread << 16) & 0x0000_ffff_0000_ffff;
    spread = (spread | spread << 8) & 0x00ff_00ff_00ff_00ff;
    spread = (spread | spread << 4) & 0x0f0f_0f0f_0f0f_0f0f;
    let letters = (spread + 6 * ONES) >> 4 & ONES;
    (spread + u64::from(b'0') * ONES + letters * u64::from(b'a' - b'0' - 10)).to_be_bytes()
}

impl std::fmt::Display for RunId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_of_a_key_ascend_even_if_the_clock_goes_back() {
        let first = RunId::begin(5_000, u64::MAX, None);
        let second = RunId::begin(4_000, 0, Some(first));
        assert!(first < second && second < RunId::begin(5_001, 0, Some(second)));
        assert_eq!(RunId::begin(1, 1 << RANDOM_BITS | 7, None), RunId(1 << RANDOM_BITS | 7));
        assert_eq!(first.began_ms(), 5_000);
        assert_eq!(RunId::begin(4_000, 1, Some(RunId(u64::MAX))), RunId(u64::MAX));
    }

    #[test]
    fn two_that_begin_the_next_life_give_it_two_runs_although_the_one_before_is_ahead_of_their_clocks() {
        let ahead = Some(RunId::begin(9_000, 5, None));
        let [one, other] = [0x1234, 0x5678].map(|random| RunId::begin(5_000, random, ahead));
        assert!(ahead < Some(one) && one != other);
    }

    #[test]
    fn a_run_is_read_as_it_is_written() {
        for run in [RunId(0), RunId(u64::MAX), RunId(0xfedc_ba98_7654_3210), RunId(0x0123_4567_89ab_cdef)] {
            let digits = run.digits();
            let text = std::str::from_utf8(&digits).unwrap();
            assert_eq!((text.to_owned(), RunId::parse(text)), (run.to_string(), Some(run)));
        }
        assert_eq!(["", "+1", "g", "00000000000000000"].map(RunId::parse), [None; 4]);
    }
}
