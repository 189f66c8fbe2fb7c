//! Flat combining (Hendler, Incze, Shavit and Tzafrir, SPAA 2010): the holder of a value also does the other threads' jobs.
//!
//! Between cores it is not the claim that is dear but the value's cache lines, which follow it: a transition of 60 ns takes
//! several times as long if another core made the one before. So a thread that finds the value taken puts its job aside
//! ([`Aside`]) and goes on with its turn. At the end of the turn it does all that it put aside with one claim, or, if the value
//! is still taken, leaves all of it to the holder with one push. After that it does so for the next turn's jobs as well: a claim
//! won by chance in the middle of a turn would move the value for the sake of one job.

use std::collections::VecDeque;
#[cfg(not(loom))]
use std::ops::{Deref, DerefMut};
use std::sync::atomic::Ordering::Relaxed;

#[cfg(not(loom))]
use {crossbeam::queue::ArrayQueue, std::sync::atomic::AtomicBool};

use crate::{Claim, Claimed, settle};

#[cfg(loom)]
use {crate::loom_queue::ArrayQueue, loom::sync::atomic::AtomicBool};

/// A value that one thread at a time works on, with an inbox for what the others have for it.
#[derive(Debug)]
pub struct Combining<T, J> {
    claim: Claim<Combiner<T, J>>,
    inbox: ArrayQueue<Vec<J>>,
    /// [`Combiner::left`] is not empty. Written by holders only; a holder sees it as it is.
    has_left: AtomicBool,
}

/// A value, and what is left of the list of jobs that was taken last: it goes before all that is in the inbox.
#[derive(Debug)]
struct Combiner<T, J> {
    value: T,
    left: VecDeque<J>,
}

/// The right to the value, until it is dropped.
#[derive(Debug)]
pub struct Held<'a, T, J>(Claimed<'a, Combiner<T, J>>);

impl<T, J> Held<'_, T, J> {
    /// Does something with the value; loom, which watches each access, knows no other way.
    pub fn with<R>(&mut self, act: impl FnOnce(&mut T) -> R) -> R {
        self.0.with(|combiner| act(&mut combiner.value))
    }
}

#[cfg(not(loom))]
impl<T, J> Deref for Held<'_, T, J> {
    type Target = T;

    fn deref(&self) -> &T {
        let combiner: &Combiner<T, J> = &self.0;
        &combiner.value
    }
}

#[cfg(not(loom))]
impl<T, J> DerefMut for Held<'_, T, J> {
    fn deref_mut(&mut self) -> &mut T {
        let combiner: &mut Combiner<T, J> = &mut self.0;
        &mut combiner.value
    }
}

impl<T, J> Combining<T, J> {
    /// A free value, in whose inbox so many lists of jobs have room.
    pub fn new(value: T, inbox: usize) -> Self {
        let combiner = Combiner { value, left: VecDeque::new() };
        Self { claim: Claim::new(combiner), inbox: ArrayQueue::new(inbox), has_left: AtomicBool::new(false) }
    }

    /// Claims the value, or says at once that another thread has it. A thread that lets it go calls [`Combining::drain`].
    pub fn try_claim(&self) -> Option<Held<'_, T, J>> {
        self.claim.try_claim().map(Held)
    }

    /// The same, for a job of the caller: it must not overtake jobs that the same thread left here before, so `None` while any
    /// job waits.
    pub fn try_enter(&self) -> Option<Held<'_, T, J>> {
        self.try_claim().filter(|_| !self.has_jobs())
    }

    /// Claims the value for jobs of the caller, after `run` has done what waits. `run` does jobs from the front, and may leave
    /// some: the next holder does those first, and no thread enters before.
    pub fn enter(&self, mut run: impl FnMut(&mut T, &mut VecDeque<J>)) -> Option<Held<'_, T, J>> {
        let mut held = self.try_claim()?;
        // Taking from an empty inbox costs a fence, looking at it does not.
        (!self.has_jobs() || self.run_inbox(&mut held, &mut run)).then_some(held)
    }

    /// Whether something waits.
    pub fn has_jobs(&self) -> bool {
        !self.inbox.is_empty() || self.has_left.load(Relaxed)
    }

    /// Does what waits and then these jobs, or leaves them, or some of them, to the next holder: then it says true.
    /// [`Combining::drain`] must follow.
    ///
    /// # Errors
    /// The inbox is full: the jobs come back, to be kept and tried again.
    pub fn submit(&self, jobs: Vec<J>, mut run: impl FnMut(&mut T, &mut VecDeque<J>)) -> Result<bool, Vec<J>> {
        if jobs.is_empty() {
            return Ok(false);
        }
        if let Some(mut held) = self.enter(&mut run) {
            return Ok(!self.run_list(&mut held, jobs, &mut run));
        }
        self.inbox.push(jobs)?;
        settle();
        Ok(true)
    }

    /// Does what waits, unless another thread holds the value: to be called after each release of the claim, since a thread may
    /// have left a job before the release and gone on trusting the holder. True if something waits all the same: because the
    /// holder has not come to it, or because more is left than one should do in one go. Then it must be called again before
    /// long, unless it is certain that every holder calls it.
    pub fn drain(&self, mut run: impl FnMut(&mut T, &mut VecDeque<J>)) -> bool {
        for _ in 0..ROUNDS {
            if !self.has_jobs() {
                return false;
            }
            let Some(mut held) = self.try_claim() else { return true };
            if !self.run_inbox(&mut held, &mut run) {
                return true;
            }
        }
        self.has_jobs()
    }

    /// Does what waits, at most as much as the inbox holds: others may leave more all the time. False if `run` left something.
    fn run_inbox(&self, held: &mut Held<'_, T, J>, run: &mut impl FnMut(&mut T, &mut VecDeque<J>)) -> bool {
        if self.has_left.load(Relaxed) && !self.run_list(held, Vec::new(), run) {
            return false;
        }
        for _ in 0..self.inbox.capacity() {
            let Some(jobs) = self.inbox.pop() else { return true };
            if !self.run_list(held, jobs, run) {
                return false;
            }
        }
        true
    }

    /// Does what is left of the last list, or else these jobs. False if `run` left something.
    fn run_list(
        &self,
        held: &mut Held<'_, T, J>,
        jobs: Vec<J>,
        run: &mut impl FnMut(&mut T, &mut VecDeque<J>),
    ) -> bool {
        let is_done = held.0.with(|Combiner { value, left }| {
            if left.is_empty() {
                *left = jobs.into();
            }
            run(value, left);
            left.is_empty()
        });
        self.has_left.store(!is_done, Relaxed);
        is_done
    }
}

/// How often an inbox that fills again and again is emptied in one go.
const ROUNDS: usize = 2;

/// What one thread has put aside: jobs for values that other threads had, in the order in which they came; and the values to
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
        let combiner = Combining::new(Vec::new(), 2);
        let run = |done: &mut Vec<u32>, jobs: &mut VecDeque<u32>| done.extend(jobs.drain(..));
        let held = combiner.try_claim().unwrap();
        assert_eq!([combiner.submit(vec![1, 2], run), combiner.submit(vec![3], run)], [Ok(true), Ok(true)]);
        assert_eq!(combiner.submit(vec![4], run), Err(vec![4]), "the inbox is full");
        assert!(combiner.drain(run), "another thread is at it");
        drop(held);
        assert_eq!(combiner.submit(vec![4, 5], run), Ok(false));
        assert_eq!(*combiner.try_claim().unwrap(), [1, 2, 3, 4, 5]);
        assert!(!combiner.has_jobs());
    }

    #[test]
    fn who_is_given_more_all_the_time_comes_back_later() {
        let combiner = Combining::new(0, 2);
        let (mut done, mut given) = (0, 0);
        let left = combiner.inbox.push(vec![()]).is_ok();
        let more = combiner.drain(|_, jobs| {
            done += jobs.drain(..).len();
            given += usize::from(combiner.inbox.push(vec![()]).is_ok());
        });
        assert!(left && more && combiner.has_jobs());
        assert_eq!((done, given), (4, 4));
    }

    #[test]
    fn what_is_left_of_a_list_goes_first_and_nobody_enters_before() {
        let combiner = Combining::new(Vec::new(), 2);
        let one = |done: &mut Vec<u32>, jobs: &mut VecDeque<u32>| done.extend(jobs.pop_front());
        let all = |done: &mut Vec<u32>, jobs: &mut VecDeque<u32>| done.extend(jobs.drain(..));
        assert_eq!(combiner.submit(vec![1, 2, 3], one), Ok(true));
        assert!(combiner.has_jobs() && combiner.try_enter().is_none() && combiner.enter(one).is_none());
        // Two are done; what comes now waits behind the third.
        let held = combiner.try_claim().unwrap();
        assert_eq!(*held, [1, 2]);
        assert_eq!(combiner.submit(vec![4], one), Ok(true));
        drop(held);
        assert!(!combiner.drain(all) && !combiner.has_jobs());
        assert_eq!(*combiner.try_enter().unwrap(), [1, 2, 3, 4]);
    }

    #[test]
    fn no_job_is_lost_or_done_twice_between_threads() {
        let turns = if cfg!(miri) { 20 } else { 5_000u64 };
        let combiner = Combining::new(0, 2);
        // Each time it leaves some.
        let run = |sum: &mut u64, jobs: &mut VecDeque<u64>| *sum += jobs.drain(..jobs.len().min(2)).sum::<u64>();
        let turn = |aside: &mut Aside<u64>, jobs: std::ops::Range<u64>| {
            for job in jobs {
                match if aside.has(0) { None } else { combiner.enter(run) } {
                    Some(mut held) => *held += job,
                    None => aside.put(0, [job]),
                }
            }
            for (_, jobs) in aside.take() {
                match combiner.submit(jobs, run) {
                    Ok(true) => aside.put(0, []),
                    Ok(false) => {}
                    Err(jobs) => aside.put(0, jobs),
                }
            }
            combiner.drain(run);
        };
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let mut aside = Aside::default();
                    (0..turns).for_each(|_| turn(&mut aside, 1..4));
                    while !aside.has_no_jobs() || combiner.has_jobs() {
                        std::thread::yield_now();
                        turn(&mut aside, 0..0);
                    }
                });
            }
        });
        assert!(!combiner.has_jobs(), "a job was left lying");
        assert_eq!(*combiner.try_claim().unwrap(), 4 * turns * (1 + 2 + 3));
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
