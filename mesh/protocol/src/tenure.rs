//! Which copy of a partition something was done, or told, in: so that two copies that meet know what of each the other has as well.
//!
//! A tenure is one daemon's time with one copy. It begins when the daemon adopts the partition, installs what came, or takes up again what it
//! had sent, and ends when the copy is packed to be sent. Nothing is done in it after that: so a copy that went through a tenure has
//! all that was done in it, and two copies of a life have in common what it did up to the first tenure that they do not share. It
//! is what Kafka's followers truncate their logs by, the epochs of its leaders (KIP-101), for copies that go on side by side.

use crate::image::{Input, Malformed};

/// One daemon's time with one copy of a partition: a number that no other has, and higher than that of those before it; 0 where it is
/// not known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tenure(pub u64);

/// Tenures of a copy that are known. What it had only in earlier ones is held for lost rather than not.
pub const TENURES: usize = 64;
/// Steps of a trail that are known: those of a life that made transitions in more copies begin with its last ones.
const STEPS: usize = 16;

/// The tenures that a copy went through, the last ones.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tenures {
    current: Tenure,
    /// In ascending order, the current one among them.
    all: Vec<Tenure>,
}

impl Tenures {
    /// Begins one.
    pub fn begin(&mut self, tenure: Tenure) {
        self.current = tenure;
        self.add(tenure);
    }

    /// The one that lasts; 0 if none has begun.
    #[must_use]
    pub fn current(&self) -> Tenure {
        self.current
    }

    /// The highest number of all.
    #[must_use]
    pub fn last(&self) -> Tenure {
        self.all.last().copied().unwrap_or_default()
    }

    /// Whether the copy went through this one.
    #[must_use]
    pub fn has(&self, tenure: Tenure) -> bool {
        self.all.binary_search(&tenure).is_ok()
    }

    /// Another copy was merged into this one.
    pub fn join(&mut self, other: &Self) {
        other.all.iter().for_each(|tenure| self.add(*tenure));
    }

    fn add(&mut self, tenure: Tenure) {
        if tenure == Tenure::default() {
            return;
        }
        if let Err(at) = self.all.binary_search(&tenure) {
            self.all.insert(at, tenure);
        }
        if self.all.len() > TENURES {
            let oldest = usize::from(self.all.first() == Some(&self.current));
            self.all.remove(oldest);
        }
    }

    /// Appends the bytes for another daemon.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let numbers = self.all.iter().filter(|tenure| **tenure != self.current).chain([&self.current]);
        numbers.for_each(|Tenure(number)| out.extend_from_slice(&number.to_le_bytes()));
    }

    /// Reads what [`Tenures::encode`] wrote, to the end.
    ///
    /// # Errors
    /// The bytes are none of ours.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut input = Input::new(bytes);
        let mut tenures = Self::default();
        while !input.is_empty() {
            tenures.begin(Tenure(input.u64()?));
        }
        Ok(tenures)
    }
}

/// The tenures in which a life made its transitions, each with the last one of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trail(Vec<(Tenure, u64)>);

impl Trail {
    /// The life has come to this transition, in this tenure if it has made any since the last one.
    #[must_use]
    pub fn and(mut self, tenure: Tenure, seq: u64) -> Self {
        match self.0.last_mut() {
            Some((last, end)) if *last == tenure => *end = seq,
            Some((_, end)) if *end >= seq => {}
            _ => self.0.push((tenure, seq)),
        }
        if self.0.len() > STEPS {
            self.0.remove(0);
        }
        self
    }

    /// The transitions of it that a copy has which went through some tenures; none if it does not know of the life.
    pub fn known(&self, has: impl Fn(Tenure) -> bool) -> Option<u64> {
        self.0.iter().take_while(|(tenure, _)| has(*tenure)).last().map(|(_, end)| *end)
    }

    /// The transitions that two copies of one life have in common; none if they share no tenure.
    #[must_use]
    pub fn common(&self, other: &Self) -> Option<u64> {
        let same = self.0.iter().zip(&other.0).take_while(|(one, another)| one == another).count();
        let parted = self.0.get(same).zip(other.0.get(same)).filter(|((one, _), (another, _))| one == another);
        let whole = || self.0.iter().take(same).next_back().map(|(_, end)| *end);
        parted.map(|((_, end), (_, also))| *end.min(also)).or_else(whole)
    }

    /// Its last transition.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.0.last().map(|(_, end)| *end).unwrap_or_default()
    }

    /// The tenure in which it was made; 0 if it is not known.
    #[must_use]
    pub fn last_tenure(&self) -> Tenure {
        self.0.last().map(|(tenure, _)| *tenure).unwrap_or_default()
    }

    /// Appends the bytes for another daemon.
    pub fn encode(&self, out: &mut Vec<u8>) {
        for (Tenure(number), end) in &self.0 {
            out.extend_from_slice(&number.to_le_bytes());
            out.extend_from_slice(&end.to_le_bytes());
        }
    }

    /// Reads what [`Trail::encode`] wrote, to the end.
    ///
    /// # Errors
    /// The bytes are none of ours.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut input = Input::new(bytes);
        let mut trail = Self::default();
        while !input.is_empty() {
            let step = (Tenure(input.u64()?), input.u64()?);
            if trail.0.len() == STEPS || trail.0.last().is_some_and(|last| last.1 >= step.1) {
                return Err(input.malformed());
            }
            trail.0.push(step);
        }
        Ok(trail)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(numbers: impl IntoIterator<Item = u64>) -> Tenures {
        let mut tenures = Tenures::default();
        numbers.into_iter().for_each(|number| tenures.begin(Tenure(number)));
        tenures
    }

    fn trail(steps: &[(u64, u64)]) -> Trail {
        steps.iter().fold(Trail::default(), |trail, (tenure, seq)| trail.and(Tenure(*tenure), *seq))
    }

    #[test]
    fn a_copy_knows_the_last_tenures_that_it_went_through_and_those_of_what_was_merged_into_it() {
        let mut one = of([5, 2]);
        assert!(one.has(Tenure(5)) && !one.has(Tenure(3)) && !of([0]).has(Tenure(0)));
        one.join(&of([9, 3]));
        assert_eq!((one.current(), one.last()), (Tenure(2), Tenure(9)));
        assert!([2, 3, 5, 9].into_iter().all(|tenure| one.has(Tenure(tenure))));
        one.join(&of(10..9 + TENURES as u64));
        assert!(one.has(Tenure(2)) && !one.has(Tenure(9)) && one.all.len() == TENURES);
        assert_eq!(Tenures::default().current(), Tenure(0));
    }

    #[test]
    fn what_copies_of_a_life_have_in_common_ends_with_the_first_tenure_that_they_do_not_share() {
        let one = trail(&[(1, 2), (1, 3), (4, 3), (5, 7)]);
        assert_eq!(one, trail(&[(1, 3), (5, 7)]));
        assert_eq!(one.common(&trail(&[(1, 3), (6, 9)])), Some(3));
        assert_eq!((one.common(&trail(&[(1, 2)])), one.common(&trail(&[(1, 9), (5, 12)]))), (Some(2), Some(3)));
        assert_eq!((one.common(&trail(&[(2, 3), (5, 7)])), one.common(&one)), (None, Some(7)));
        let known = |numbers: &[u64]| one.known(|tenure| of(numbers.iter().copied()).has(tenure));
        assert_eq!((known(&[1]), known(&[5]), known(&[1, 5, 8]), known(&[])), (Some(3), None, Some(7), None));
        // A life that has not moved.
        assert_eq!(trail(&[(3, 0)]).known(|tenure| tenure == Tenure(3)), Some(0));
    }

    #[test]
    fn tenures_read_back_and_cut_ones_are_errors() {
        let tenures = of([7, 9, 8]);
        let mut bytes = Vec::new();
        tenures.encode(&mut bytes);
        assert_eq!(Tenures::decode(&bytes), Ok(tenures));
        assert!(Tenures::decode(&bytes[1..]).is_err());
        let trail = trail(&(1..=STEPS as u64).map(|n| (n, n)).collect::<Vec<_>>());
        bytes.clear();
        trail.encode(&mut bytes);
        assert_eq!(Trail::decode(&bytes).as_ref(), Ok(&trail));
        assert!(Trail::decode(&bytes[1..]).is_err());
        trail.encode(&mut bytes);
        assert!(Trail::decode(&bytes).is_err());
    }
}
