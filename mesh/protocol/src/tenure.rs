//! Which copy of a partition something was, or was told, in: so that two copies that meet know whether one comes from the other.
//!
//! A tenure begins when a daemon adopts a partition, installs one that came, or takes up again a copy that it had sent. It has a number that
//! no other has. A copy carries those that it went through, the last ones: what it had in one of them it still has, or its marks say
//! what became of it.

use crate::image::{Input, Malformed};

/// One daemon's time with one copy of a partition; 0 where it is not known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tenure(pub u64);

/// Tenures of a copy that are known. One that was handed over more often since is held for one that has nothing in common with the
/// copy before that, and rather says that something is lost than not.
pub const TENURES: usize = 8;

/// The last tenures of a copy, in their order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tenures(Vec<Tenure>);

impl Tenures {
    /// Begins one.
    pub fn begin(&mut self, tenure: Tenure) {
        self.0.push(tenure);
        self.limit();
    }

    /// The one that lasts; 0 if none has begun.
    #[must_use]
    pub fn current(&self) -> Tenure {
        self.0.last().copied().unwrap_or_default()
    }

    /// Whether the copy went through this one.
    #[must_use]
    pub fn has(&self, tenure: Tenure) -> bool {
        tenure != Tenure::default() && self.0.contains(&tenure)
    }

    /// Whether two copies were one.
    #[must_use]
    pub fn share(&self, other: &Self) -> bool {
        other.0.iter().any(|tenure| self.has(*tenure))
    }

    /// Another copy was merged into this one.
    pub fn join(&mut self, mut other: Self) {
        other.0.retain(|tenure| !self.0.contains(tenure));
        self.0.splice(0..0, other.0);
        self.limit();
    }

    fn limit(&mut self) {
        let over = self.0.len().saturating_sub(TENURES);
        self.0.drain(..over);
    }

    /// Appends the bytes for another daemon.
    pub fn encode(&self, out: &mut Vec<u8>) {
        self.0.iter().for_each(|Tenure(number)| out.extend_from_slice(&number.to_le_bytes()));
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

#[cfg(test)]
mod tests {
    use super::*;

    fn of(numbers: impl IntoIterator<Item = u64>) -> Tenures {
        let mut tenures = Tenures::default();
        numbers.into_iter().for_each(|number| tenures.begin(Tenure(number)));
        tenures
    }

    #[test]
    fn copies_share_what_they_went_through_together_and_the_last_ones_are_known() {
        let mut one = of([1, 2]);
        assert!(one.share(&of([2, 3])) && !one.share(&of([3])) && !Tenures::default().share(&of([])));
        assert!(one.has(Tenure(1)) && !one.has(Tenure(3)) && !of([0]).has(Tenure(0)));
        one.join(of([2, 3]));
        assert_eq!((one.clone(), one.current()), (of([3, 1, 2]), Tenure(2)));
        one.join(of(10..20));
        assert_eq!(one, of([15, 16, 17, 18, 19, 3, 1, 2]));
        assert_eq!(Tenures::default().current(), Tenure(0));
    }

    #[test]
    fn tenures_read_back_and_cut_ones_are_errors() {
        let tenures = of(1..=TENURES as u64);
        let mut bytes = Vec::new();
        tenures.encode(&mut bytes);
        assert_eq!(Tenures::decode(&bytes), Ok(tenures));
        assert!(Tenures::decode(&bytes[1..]).is_err());
    }
}
