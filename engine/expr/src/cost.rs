//! A budget for one evaluation, so that a short expression over long data
//! cannot hold up a shard.

/// What is left of an evaluation's budget. One unit is about one node visited;
/// work that grows with data (list elements, bytes compared or copied, regular
/// expressions) is charged by size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cost {
    left: u64,
    limit: u64,
}

impl Cost {
    /// A budget of `limit` units.
    pub fn new(limit: u64) -> Cost {
        Cost { left: limit, limit }
    }

    /// Units used so far.
    pub fn used(&self) -> u64 {
        self.limit - self.left
    }

    /// Takes `units`; false, and nothing left, when there are fewer.
    #[inline]
    pub(crate) fn take(&mut self, units: u64) -> bool {
        match self.left.checked_sub(units) {
            Some(left) => {
                self.left = left;
                true
            }
            None => {
                self.left = 0;
                false
            }
        }
    }
}
