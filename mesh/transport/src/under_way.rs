//! Messages of a connection that its handler has taken and could not answer at once.
//!
//! A count that is not lowered would stop a connection for good; so no code lowers it: what waits keeps a ticket, and
//! the tickets that exist are the count.

use std::sync::Arc;

/// Something under way. As long as it is kept, it counts against [`crate::reactor::Settings::in_flight`] of its connection.
#[derive(Debug)]
pub struct Ticket {
    _counted: Arc<()>,
}

/// What is under way for one connection. Most connections never have anything, so it takes no memory until then.
#[derive(Debug, Default)]
pub(crate) struct UnderWay(Option<Arc<()>>);

impl UnderWay {
    /// One more is under way.
    pub(crate) fn ticket(&mut self) -> Ticket {
        Ticket { _counted: Arc::clone(self.0.get_or_insert_default()) }
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        // One of them is ours.
        self.0.as_ref().map_or(0, |counted| Arc::strong_count(counted) - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tickets_that_exist_are_counted() {
        let mut under_way = UnderWay::default();
        assert_eq!(under_way.count(), 0);
        let tickets = [under_way.ticket(), under_way.ticket()];
        assert_eq!(under_way.count(), 2);
        drop(tickets);
        assert_eq!(under_way.count(), 0);
    }
}
