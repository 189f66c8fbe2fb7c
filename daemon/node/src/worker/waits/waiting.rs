//! The requests of one reactor that wait, and whose turn comes next.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use slab::Slab;
use statemesh_transport::ConnId;

use super::wait::Wait;
use crate::options::Limits;

/// How many bytes of answers those may have that are asked after in one turn: an instance may be large, and many may wait for one.
const BYTES_PER_TURN: usize = 4 * 1024 * 1024;
/// All are looked through for those that are due no more often than this for each that waits: a few hundredths of a core, whose number
/// ever they are.
const LOOK: Duration = Duration::from_micros(1);

/// The requests of one reactor that wait.
#[derive(Debug, Default)]
pub(crate) struct Waiting {
    all: Slab<Wait>,
    numbers: u64,
    /// Bytes that they keep.
    bytes: usize,
    /// How many there are of each connection that has any.
    by_conn: BTreeMap<ConnId, usize>,
    /// Bytes of the answers that were heard in this turn.
    heard: usize,
    /// When the first of them has something to do, or earlier.
    next: Option<Instant>,
    /// When they are looked through next, at the earliest.
    look_at: Option<Instant>,
    /// The places of those that are due, or whose instance has changed, each once.
    queue: VecDeque<usize>,
}

impl Waiting {
    /// How many wait.
    pub(crate) fn len(&self) -> usize {
        self.all.len()
    }

    /// When one of them has something to do.
    pub(crate) fn next(&self, now: Instant) -> Option<Instant> {
        if self.queue.is_empty() {
            self.next.map(|next| self.look_at.map_or(next, |at| at.max(next)))
        } else {
            Some(now)
        }
    }

    pub(super) fn add(&mut self, wait: Wait) -> usize {
        self.bytes += wait.bytes();
        if let Some(conn) = wait.asker.conn {
            *self.by_conn.entry(conn).or_default() += 1;
        }
        self.all.insert(wait)
    }

    pub(super) fn remove(&mut self, place: usize) -> Option<Wait> {
        let wait = self.all.try_remove(place)?;
        self.bytes -= wait.bytes();
        if let Some(conn) = wait.asker.conn
            && let Some(count) = self.by_conn.get_mut(&conn)
        {
            *count -= 1;
            if *count == 0 {
                self.by_conn.remove(&conn);
            }
        }
        Some(wait)
    }

    /// Takes in an answer to one of them: what [`Wait::hear`] gives; and it is the end if there is no room for what is kept of its first
    /// answer. Of later ones nothing is kept: a request that has waited so far goes on, however many others came since.
    pub(super) fn hear(&mut self, place: usize, reply: &[u8], bytes_max: usize) -> Option<bool> {
        let wait = self.all.get_mut(place)?;
        let (was_done, before) = (wait.is_done(), wait.bytes());
        let reached = wait.hear(reply);
        self.bytes += wait.bytes() - before;
        self.heard += reply.len();
        let is_crowded = !was_done && self.bytes > bytes_max;
        reached.or(is_crowded.then_some(false))
    }

    /// Why one more may not wait.
    ///
    /// One connection may have no more than half of what it may have under way: it would not be read with all of it, neither what ends
    /// its waits nor that its client is gone, for as long as they wait.
    pub(super) fn refusal(&self, wait: &Wait, limits: &Limits) -> Option<String> {
        let (max, max_bytes) = (limits.waits, limits.parked_bytes);
        let max_of_one = (limits.in_flight_per_connection / 2).max(1);
        let of_one = wait.asker.conn.and_then(|conn| self.by_conn.get(&conn)).copied().unwrap_or_default();
        if self.len() >= max {
            Some(format!("limits.waits: {max} requests wait already"))
        } else if of_one >= max_of_one {
            Some(format!("limits.in_flight_per_connection: {max_of_one} requests of this connection wait, half of it"))
        } else if self.bytes + wait.bytes() > max_bytes {
            Some(format!("limits.parked_bytes: the requests that wait would have more than {max_bytes} bytes"))
        } else {
            None
        }
    }

    /// It is to have its turn.
    pub(super) fn queue(&mut self, place: usize) {
        if let Some(wait) = self.all.get_mut(place).filter(|wait| !wait.is_queued) {
            wait.is_queued = true;
            self.queue.push_back(place);
        }
    }

    /// Looks for those that are due, once in each turn.
    pub(super) fn look(&mut self, now: Instant) {
        self.heard = 0;
        if self.next.is_none_or(|next| next > now) || self.look_at.is_some_and(|at| at > now) {
            return;
        }
        self.next = None;
        for (place, wait) in &mut self.all {
            match wait.due() {
                Some(due) if due > now => self.next = Some(self.next.map_or(due, |next| next.min(due))),
                Some(_) if !wait.is_queued => {
                    wait.is_queued = true;
                    self.queue.push_back(place);
                }
                _ => {}
            }
        }
        self.look_at = Some(now + LOOK * u32::try_from(self.all.len()).unwrap_or(u32::MAX));
    }

    /// The next one whose turn it is, unless the answers of this turn have enough bytes.
    pub(super) fn pop(&mut self, now: Instant) -> Option<usize> {
        if self.heard > BYTES_PER_TURN {
            return None;
        }
        while let Some(place) = self.queue.pop_front() {
            let Some(wait) = self.all.get_mut(place).filter(|wait| wait.is_queued) else { continue };
            wait.is_queued = false;
            if wait.due().is_some_and(|due| due <= now) {
                return Some(place);
            }
        }
        None
    }

    /// One of them, by its place and number.
    pub(super) fn get(&mut self, place: usize, number: u64) -> Option<&mut Wait> {
        self.all.get_mut(place).filter(|wait| wait.number == number)
    }

    /// One of them has something to do at this time.
    pub(super) fn sooner(&mut self, at: Instant) {
        self.next = Some(self.next.map_or(at, |next| next.min(at)));
    }

    /// A number for one more, which tells it from others that have its place later.
    pub(super) fn next_number(&mut self) -> u64 {
        self.numbers = (self.numbers + 1) & 0xffff_ffff;
        self.numbers
    }

    /// The one at this place, whatever its number.
    pub(super) fn at(&mut self, place: usize) -> Option<&mut Wait> {
        self.all.get_mut(place)
    }

    /// The places of those of which this is true.
    pub(super) fn places(&self, is_one: impl Fn(&Wait) -> bool) -> Vec<usize> {
        self.all.iter().filter(|(_, wait)| is_one(wait)).map(|(place, _)| place).collect()
    }
}

#[cfg(test)]
mod tests {
    use statemesh_protocol::reply::Encoding;
    use statemesh_protocol::request::Request;

    use super::super::wait::Asker;
    use super::*;
    use crate::worker::ReplyTo;

    #[test]
    fn who_has_waited_goes_on_where_there_is_no_room_for_those_who_come() {
        let request = Request::parse(br#"{"op":"get","machine":"m","key":"k"}"#, Encoding::Json).unwrap();
        let mut waiting = Waiting::default();
        let add = |waiting: &mut Waiting| {
            let asker = Asker::new(&request, ReplyTo::Wait(0), None, None);
            waiting.add(Wait::new(1, asker, &request, Instant::now()))
        };
        let reply = br#"{"ok":true,"run":"a","status":"active","reached":false}"#;
        let first = add(&mut waiting);
        assert_eq!(waiting.hear(first, reply, usize::MAX), None);
        let full = waiting.bytes;
        let second = add(&mut waiting);
        assert_eq!(waiting.hear(first, reply, full), None);
        assert_eq!(waiting.hear(second, reply, full), Some(false));
    }
}
