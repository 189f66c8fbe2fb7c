//! Flat combining (Hendler, Incze, Shavit and Tzafrir, SPAA 2010): whoever holds a value does what the others have for it too.
//!
//! Between cores it is not the claim that is dear but the value's cache lines, which follow it: a transition of 60 ns takes
//! several times as long if another core made the one before. So a thread that finds the value taken puts its job aside
//! ([`Aside`]) and goes on with its turn. At the end of the turn it does all that it put aside with one claim, or, if the value
//! is still taken, leaves all of it to the holder with one push. After that it does so for the next turn's jobs as well: a claim
//! won by chance in the middle of a turn would move the value for the sake of one job.

#[cfg(not(loom))]
use crossbeam::queue::ArrayQueue;

use crate::{Claim, Claimed, settle};

#[cfg(loom)]
use crate::loom_queue::ArrayQueue;

/// A value that one thread at a time works on, with an inbox for what the others have for it.
#[derive(Debug)]
pub struct Combining<T, J> {
    claim: Claim<T>,
    inbox: ArrayQueue<Vec<J>>,
}

impl<T, J> Combining<T, J> {
    /// A free value, in whose inbox so many lists of jobs have room.
    pub fn new(value: T, inbox: usize) -> Self {
        Self { claim: Claim::new(value), inbox: ArrayQueue::new(inbox) }
    }

    /// Claims the value, or says at once that somebody else has it. Whoever lets it go calls [`Combining::serve`].
    pub fn try_claim(&self) -> Option<Claimed<'_, T>> {
        self.claim.try_claim()
    }

    /// The same, for a job of one's own: it must not overtake what the same thread left here before, so `run` does first
    /// what waits.
    pub fn enter(&self, mut run: impl FnMut(&mut T, Vec<J>)) -> Option<Claimed<'_, T>> {
        let mut held = self.try_claim()?;
        // Taking from an empty inbox costs a fence, looking at it does not.
        if self.has_jobs() {
            self.run_inbox(&mut held, &mut run);
        }
        Some(held)
    }

    /// Whether something waits.
    pub fn has_jobs(&self) -> bool {
        !self.inbox.is_empty()
    }

    /// Does what waits and then these jobs, or leaves them to whoever has the value: then it says true. [`Combining::serve`]
    /// must follow.
    ///
    /// # Errors
    /// The inbox is full: the jobs come back, to be kept and tried again.
    pub fn submit(&self, jobs: Vec<J>, mut run: impl FnMut(&mut T, Vec<J>)) -> Result<bool, Vec<J>> {
        if jobs.is_empty() {
            return Ok(false);
        }
        if let Some(mut held) = self.enter(&mut run) {
            held.with(|value| run(value, jobs));
            return Ok(false);
        }
        self.inbox.push(jobs)?;
        settle();
        Ok(true)
    }

    /// Does what waits, unless somebody else is at it: to be called after each release of the claim, since somebody may have
    /// left a job before the release and gone on trusting the holder. True if something waits all the same: because the holder
    /// has not come to it, or because more is left all the time than one should do in one go. Then it must be called again
    /// before long, unless it is certain that every holder calls it.
    pub fn serve(&self, mut run: impl FnMut(&mut T, Vec<J>)) -> bool {
        for _ in 0..ROUNDS {
            if !self.has_jobs() {
                return false;
            }
            let Some(mut held) = self.try_claim() else { return true };
            self.run_inbox(&mut held, &mut run);
        }
        self.has_jobs()
    }

    /// Does what waits, at most as much as the inbox holds: others may leave more all the time.
    fn run_inbox(&self, held: &mut Claimed<'_, T>, run: &mut impl FnMut(&mut T, Vec<J>)) {
        for _ in 0..self.inbox.capacity() {
            let Some(jobs) = self.inbox.pop() else { return };
            held.with(|value| run(value, jobs));
        }
    }
}

/// How often an inbox that fills again and again is emptied in one go.
const ROUNDS: usize = 2;

/// What one thread has put aside: jobs for values that somebody else had, in the order in which they came; and the values to
/// come back to, whose next jobs are put aside as well.
#[derive(Debug)]
pub struct Aside<J> {
    lists: Vec<(usize, Vec<J>)>,
}

impl<J> Default for Aside<J> {
    fn default() -> Self {
        Self { lists: Vec::new() }
    }
}

impl<J> Aside<J> {
    /// Whether there is nothing, and no value to come back to.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.lists.is_empty()
    }

    /// Whether there is no job.
    #[must_use]
    pub fn has_no_jobs(&self) -> bool {
        self.lists.iter().all(|(_, list)| list.is_empty())
    }

    /// Whether the next job for the value of this number must be put aside: behind others, or because the value was taken in
    /// the last turn.
    #[must_use]
    pub fn has(&self, value: usize) -> bool {
        self.lists.iter().any(|(of, _)| *of == value)
    }

    /// Puts jobs aside; none just to come back to the value.
    pub fn put(&mut self, value: usize, jobs: impl IntoIterator<Item = J>) {
        match self.lists.iter_mut().find(|(of, _)| *of == value) {
            Some((_, list)) => list.extend(jobs),
            None => self.lists.push((value, jobs.into_iter().collect())),
        }
    }

    /// Takes everything, by value.
    #[must_use]
    pub fn take(&mut self) -> Vec<(usize, Vec<J>)> {
        std::mem::take(&mut self.lists)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn what_was_left_is_done_first_and_in_order() {
        let desk = Combining::new(Vec::new(), 2);
        let run = |done: &mut Vec<u32>, jobs: Vec<u32>| done.extend(jobs);
        let held = desk.try_claim().unwrap();
        assert_eq!([desk.submit(vec![1, 2], run), desk.submit(vec![3], run)], [Ok(true), Ok(true)]);
        assert_eq!(desk.submit(vec![4], run), Err(vec![4]), "the inbox is full");
        assert!(desk.serve(run), "somebody else is at it");
        drop(held);
        assert_eq!(desk.submit(vec![4, 5], run), Ok(false));
        assert_eq!(*desk.try_claim().unwrap(), [1, 2, 3, 4, 5]);
        assert!(!desk.has_jobs());
    }

    #[test]
    fn who_is_given_more_all_the_time_comes_back_later() {
        let desk = Combining::new(0, 2);
        let (mut done, mut given) = (0, 0);
        let left = desk.inbox.push(vec![()]).is_ok();
        let more = desk.serve(|_, jobs| {
            done += jobs.len();
            given += usize::from(desk.inbox.push(vec![()]).is_ok());
        });
        assert!(left && more && desk.has_jobs());
        assert_eq!((done, given), (4, 4));
    }

    #[test]
    fn no_job_is_lost_or_done_twice_between_threads() {
        let turns = if cfg!(miri) { 20 } else { 5_000u64 };
        let desk = Combining::new(0, 2);
        let run = |sum: &mut u64, jobs: Vec<u64>| *sum += jobs.iter().sum::<u64>();
        let turn = |aside: &mut Aside<u64>, jobs: std::ops::Range<u64>| {
            for job in jobs {
                match if aside.has(0) { None } else { desk.enter(run) } {
                    Some(mut held) => *held += job,
                    None => aside.put(0, [job]),
                }
            }
            for (_, jobs) in aside.take() {
                match desk.submit(jobs, run) {
                    Ok(true) => aside.put(0, []),
                    Ok(false) => {}
                    Err(jobs) => aside.put(0, jobs),
                }
            }
            desk.serve(run);
        };
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let mut aside = Aside::default();
                    (0..turns).for_each(|_| turn(&mut aside, 1..4));
                    while !aside.has_no_jobs() {
                        std::thread::yield_now();
                        turn(&mut aside, 0..0);
                    }
                });
            }
        });
        assert!(!desk.has_jobs(), "a job was left lying");
        assert_eq!(*desk.try_claim().unwrap(), 4 * turns * (1 + 2 + 3));
    }

    #[test]
    fn jobs_of_one_value_stay_in_order() {
        let mut aside = Aside::default();
        aside.put(7, [1]);
        aside.put(3, [2]);
        aside.put(7, [3, 4]);
        assert!(aside.has(3) && !aside.has(4) && !aside.has_no_jobs());
        assert_eq!(aside.take(), [(7, vec![1, 3, 4]), (3, vec![2])]);
        assert!(aside.is_empty());
        aside.put(5, []);
        assert!(aside.has(5) && aside.has_no_jobs() && !aside.is_empty());
    }
}
