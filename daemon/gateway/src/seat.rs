//! One connection's place, given back with the connection.

use crate::metrics::Metrics;
use crate::places::{Kind, Place, Places};
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until, timeout};

/// After which a descriptor is looked for again: it may also be another part of the process that has given one back.
const PAUSE: Duration = Duration::from_millis(20);

/// All places of a server.
#[derive(Debug)]
pub(crate) struct Seats {
    places: Mutex<Places<Arc<Notify>>>,
    /// A connection has ended, and its descriptor is free.
    left: Notify,
    metrics: Metrics,
}

impl Seats {
    pub(crate) fn new(guests: usize, probes: usize, metrics: Metrics) -> Arc<Self> {
        Arc::new(Self { places: Mutex::new(Places::new(guests, probes)), left: Notify::new(), metrics })
    }

    /// A place for a new connection, if there is one or can be made.
    pub(crate) fn take(self: &Arc<Self>) -> Option<Seat> {
        let end = Arc::new(Notify::new());
        let entered = self.places.lock().enter(Arc::clone(&end), now());
        let Some((place, ended)) = entered else {
            self.metrics.refused.inc();
            return None;
        };
        self.end(ended);
        self.count();
        Some(Seat { seats: Arc::clone(self), place, end })
    }

    /// Waits until there may be a place for one more.
    pub(crate) async fn has_place(&self) {
        let open_at = self.places.lock().open_at();
        until(open_at).await;
    }

    /// Closes the connection that has asked nothing for longest, if there is one, and waits until a descriptor is free. That is
    /// no pause of so many milliseconds: a thousand that wait to be let in, and say nothing, would be a thousand of them, and a probe
    /// behind them late.
    pub(crate) async fn make_room(&self) {
        let spared_until = self.places.lock().spared_until();
        until(spared_until).await;
        // Told of each connection that ends from now on.
        let left = self.left.notified();
        let ended = self.places.lock().make_room();
        self.end(ended);
        self.count();
        let _ = timeout(PAUSE, left).await;
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

fn now() -> std::time::Instant {
    Instant::now().into_std()
}

async fn until(at: Option<std::time::Instant>) {
    if let Some(at) = at.filter(|at| *at > now()) {
        sleep_until(at.into()).await;
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
        self.0.seats.places.lock().is_answered(self.0.place, now());
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.seats.places.lock().leave(self.place);
        self.seats.count();
        // Behind the connection, which has ended before its seat.
        self.seats.left.notify_waiters();
    }
}
