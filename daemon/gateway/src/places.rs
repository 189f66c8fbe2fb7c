//! Who has a place. Guests have `http.connections` of them; when all are taken, the one that has asked nothing for longest makes
//! room for the next. Where none can, as all of them wait for the node, there are `http.probe_connections` more, for probes only:
//! whether the daemon works must be seen above all when it is asked too much.
//!
//! A connection that has only just come makes no room: between being connected and asking there is a moment. Where places are few and many
//! come, the next one waits for that long, and not in a place.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// For how long one that asks nothing keeps its place in any case. Longer than a client takes from being connected to sending a head;
/// and short, since with eight places for a thousand that say nothing the last one waits a hundred and twenty times as long.
const GRACE: Duration = Duration::from_millis(2);

/// Which of the two kinds of place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// May ask everything.
    Guest,
    /// May ask for health only.
    Probe,
}

/// A place that was given, by its number within its kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) kind: Kind,
    number: u64,
}

/// All places. A `C` ends the connection that it came with.
#[derive(Debug)]
pub(crate) struct Places<C> {
    guests: Pool<C>,
    probes: Pool<C>,
}

impl<C> Places<C> {
    pub(crate) fn new(guests: usize, probes: usize) -> Self {
        Self { guests: Pool::new(guests), probes: Pool::new(probes) }
    }

    /// A place for a new connection, and what ends the one that had it before. `None`: there is none.
    pub(crate) fn enter(&mut self, end: C, now: Instant) -> Option<(Place, Option<C>)> {
        let as_guest = |(number, ended)| (Place { kind: Kind::Guest, number }, ended);
        let as_probe = |(number, ended)| (Place { kind: Kind::Probe, number }, ended);
        match self.guests.enter(end, now) {
            Ok(entered) => Some(as_guest(entered)),
            Err(end) => self.probes.enter(end, now).ok().map(as_probe),
        }
    }

    /// When there is a place for a new connection, as far as that is known: at once, or once the oldest one has had its moment.
    pub(crate) fn open_at(&self) -> Option<Instant> {
        let pool = if self.guests.is_full() && self.guests.waiting.is_empty() { &self.probes } else { &self.guests };
        if pool.is_full() { pool.spared_until() } else { None }
    }

    /// When the one that would make room has had its moment.
    pub(crate) fn spared_until(&self) -> Option<Instant> {
        self.guests.spared_until()
    }

    /// It asks something: from now on it keeps its place. False: it has lost it already.
    pub(crate) fn asks(&mut self, place: Place) -> bool {
        self.pool(place.kind).asks(place.number)
    }

    /// It has its answer.
    pub(crate) fn is_answered(&mut self, place: Place, now: Instant) {
        self.pool(place.kind).waits(place.number, now);
    }

    /// Its connection has ended.
    pub(crate) fn leave(&mut self, place: Place) {
        self.pool(place.kind).leave(place.number);
    }

    /// Takes the place of the guest that has asked nothing for longest, for the sake of its descriptor.
    pub(crate) fn make_room(&mut self) -> Option<C> {
        self.guests.oldest()
    }

    /// Places of a kind that are taken.
    pub(crate) fn taken(&self, kind: Kind) -> usize {
        match kind {
            Kind::Guest => self.guests.places.len(),
            Kind::Probe => self.probes.places.len(),
        }
    }

    fn pool(&mut self, kind: Kind) -> &mut Pool<C> {
        match kind {
            Kind::Guest => &mut self.guests,
            Kind::Probe => &mut self.probes,
        }
    }
}

/// Places of one kind.
#[derive(Debug)]
struct Pool<C> {
    limit: usize,
    /// Numbers of places and of turns.
    next: u64,
    places: BTreeMap<u64, Held<C>>,
    /// Places that ask nothing, by the turn in which they began to; and when that was.
    waiting: BTreeMap<u64, (u64, Instant)>,
}

#[derive(Debug)]
struct Held<C> {
    end: C,
    /// Since when it asks nothing.
    turn: Option<u64>,
}

impl<C> Pool<C> {
    fn new(limit: usize) -> Self {
        Self { limit, next: 0, places: BTreeMap::new(), waiting: BTreeMap::new() }
    }

    /// # Errors
    /// All places are taken by connections that have asked something.
    fn enter(&mut self, end: C, now: Instant) -> Result<(u64, Option<C>), C> {
        let mut ended = None;
        if self.is_full() {
            ended = self.oldest();
            if ended.is_none() {
                return Err(end);
            }
        }
        let number = self.number();
        self.places.insert(number, Held { end, turn: None });
        self.waits(number, now);
        Ok((number, ended))
    }

    fn is_full(&self) -> bool {
        self.places.len() >= self.limit
    }

    /// Until when the one that has asked nothing for longest keeps its place in any case.
    fn spared_until(&self) -> Option<Instant> {
        self.waiting.first_key_value().map(|(_, (_, since))| *since + GRACE)
    }

    fn oldest(&mut self) -> Option<C> {
        let (_, (number, _)) = self.waiting.pop_first()?;
        self.places.remove(&number).map(|held| held.end)
    }

    fn asks(&mut self, number: u64) -> bool {
        let Some(held) = self.places.get_mut(&number) else { return false };
        if let Some(turn) = held.turn.take() {
            self.waiting.remove(&turn);
        }
        true
    }

    fn waits(&mut self, number: u64, now: Instant) {
        let turn = self.number();
        if let Some(held) = self.places.get_mut(&number)
            && held.turn.is_none()
        {
            held.turn = Some(turn);
            self.waiting.insert(turn, (number, now));
        }
    }

    fn leave(&mut self, number: u64) {
        if let Some(turn) = self.places.remove(&number).and_then(|held| held.turn) {
            self.waiting.remove(&turn);
        }
    }

    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn full(guests: usize, probes: usize) -> (Places<usize>, Vec<Place>, Instant) {
        let (mut places, now) = (Places::new(guests, probes), start());
        let taken = (0..guests).map(|n| places.enter(n, now).unwrap().0).collect();
        (places, taken, now)
    }

    /// Any time.
    fn start() -> Instant {
        tokio::time::Instant::now().into_std()
    }

    #[test]
    fn who_has_just_come_is_not_chased_away_by_the_next() {
        let (mut places, guests, now) = full(2, 1);
        assert_eq!(places.open_at(), Some(now + GRACE));
        // The one that asks keeps its place: the other one's will be free.
        let later = now + GRACE / 2;
        places.asks(guests[0]);
        places.is_answered(guests[0], later);
        assert_eq!((places.open_at(), places.spared_until()), (Some(now + GRACE), Some(now + GRACE)));
        places.asks(guests[1]);
        assert_eq!(places.open_at(), Some(later + GRACE));
        places.asks(guests[0]);
        assert_eq!(places.open_at(), None, "there is one for probes");
        places.enter(2, later);
        assert_eq!(places.open_at(), Some(later + GRACE), "and then there is none");
        places.leave(guests[0]);
        assert_eq!(places.open_at(), None);
    }

    #[test]
    fn who_has_asked_nothing_for_longest_makes_room() {
        let (mut places, guests, now) = full(3, 1);
        assert!(places.asks(guests[0]));
        places.is_answered(guests[0], now);
        let ended: Vec<_> = (3..6).map(|n| places.enter(n, now).unwrap().1).collect();
        assert_eq!(ended, [Some(1), Some(2), Some(0)], "the first one has asked since");
        assert!(!places.asks(guests[1]), "a place that is gone is gone");
        places.leave(guests[1]);
        assert_eq!((places.taken(Kind::Guest), places.taken(Kind::Probe)), (3, 0));
    }

    #[test]
    fn while_all_guests_wait_for_an_answer_there_is_room_for_probes() {
        let (mut places, guests, now) = full(2, 2);
        assert!(guests.iter().all(|guest| places.asks(*guest)));
        let entered: Vec<_> = (2..5).map(|n| places.enter(n, now).unwrap()).collect();
        assert!(entered.iter().all(|(place, _)| place.kind == Kind::Probe));
        assert_eq!(entered[2].1, Some(2), "a probe asks at once, so who is silent makes room for the next");
        assert!(places.asks(entered[1].0) && places.asks(entered[2].0));
        assert_eq!(places.enter(5, now), None);
        places.leave(entered[1].0);
        places.is_answered(guests[1], now);
        let (place, ended) = places.enter(6, now).unwrap();
        assert_eq!((place.kind, ended), (Kind::Guest, Some(1)));
    }

    #[test]
    fn a_descriptor_comes_from_a_guest_that_asks_nothing() {
        let (mut places, guests, _) = full(2, 2);
        places.asks(guests[0]);
        assert_eq!((places.make_room(), places.make_room()), (Some(1), None));
        places.leave(guests[0]);
        assert_eq!(places.taken(Kind::Guest), 0);
    }
}
