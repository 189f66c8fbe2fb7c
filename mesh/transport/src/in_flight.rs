//! Messages in flight: a connection's, that its handler has taken and could not answer at once.
//!
//! A count that is not lowered would stop a connection for good; so no code lowers it: what waits keeps a ticket, and
//! the tickets that exist are the count.

use std::sync::Arc;

/// A message in flight. As long as it is kept, it counts against [`crate::reactor::Settings::in_flight`] of its connection.
#[derive(Debug)]
pub struct Ticket {
    _counted: Arc<()>,
}

/// The messages in flight of one connection. Most connections never have one, so it takes no memory until then.
#[derive(Debug, Default)]
pub(crate) struct InFlight(Option<Arc<()>>);

impl InFlight {
    /// One more is in flight.
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
        let mut in_flight = InFlight::default();
        assert_eq!(in_flight.count(), 0);
        let tickets = [in_flight.ticket(), in_flight.ticket()];
        assert_eq!(in_flight.count(), 2);
        drop(tickets);
        assert_eq!(in_flight.count(), 0);
    }
}
