//! One connection's place, given back with the connection.

use crate::metrics::Metrics;
use crate::places::{Kind, Place, Places};
use parking_lot::Mutex;
use std::sync::Arc;
use tokio::sync::Notify;

/// All places of a server.
#[derive(Debug)]
pub(crate) struct Seats {
    places: Mutex<Places<Arc<Notify>>>,
    metrics: Metrics,
}

impl Seats {
    pub(crate) fn new(guests: usize, probes: usize, metrics: Metrics) -> Arc<Self> {
        Arc::new(Self { places: Mutex::new(Places::new(guests, probes)), metrics })
    }

    /// A place for a new connection, if there is one or can be made.
    pub(crate) fn take(self: &Arc<Self>) -> Option<Seat> {
        let end = Arc::new(Notify::new());
        let entered = self.places.lock().enter(Arc::clone(&end));
        let Some((place, ended)) = entered else {
            self.metrics.refused.inc();
            return None;
        };
        self.end(ended);
        self.count();
        Some(Seat { seats: Arc::clone(self), place, end })
    }

    /// Closes the connection that has asked nothing for longest; false: there is none.
    pub(crate) fn make_room(&self) -> bool {
        let ended = self.places.lock().make_room();
        let is_made = ended.is_some();
        self.end(ended);
        self.count();
        is_made
    }

    fn end(&self, connection: Option<Arc<Notify>>) {
        if let Some(end) = connection {
            self.metrics.evicted.inc();
            end.notify_one();
        }
    }

    fn count(&self) {
        let places = self.places.lock();
        let gauges = [(&self.metrics.open, Kind::Guest), (&self.metrics.probes, Kind::Probe)];
        for (gauge, kind) in gauges {
            gauge.set(i64::try_from(places.taken(kind)).unwrap_or(i64::MAX));
        }
    }
}

/// The place of one connection.
#[derive(Debug)]
pub(crate) struct Seat {
    seats: Arc<Seats>,
    place: Place,
    end: Arc<Notify>,
}

impl Seat {
    pub(crate) fn kind(&self) -> Kind {
        self.place.kind
    }

    /// Completes when the place is given to another connection.
    pub(crate) async fn is_lost(&self) {
        self.end.notified().await;
    }

    /// It asks something, and keeps its place until it is answered.
    pub(crate) fn asks(&self) -> Asking<'_> {
        // A connection that has just lost its place is not answered: it ends.
        self.seats.places.lock().asks(self.place);
        Asking(self)
    }
}

/// A request that is being answered.
#[derive(Debug)]
pub(crate) struct Asking<'a>(&'a Seat);

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        self.0.seats.places.lock().is_answered(self.0.place);
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.seats.places.lock().leave(self.place);
        self.seats.count();
    }
}
