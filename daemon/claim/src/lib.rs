//! The claim: one writer at a time, without a lock and without waiting.
//!
//! A thread that has work for a shard tries to claim it with one compare-and-swap. The winner gets `&mut` until the guard is
//! dropped; a loser does not wait: it leaves its work in an inbox and goes on ([`Combining`]). This file holds the only
//! `unsafe` code of the project. loom explores its interleavings (`cargo xtask test loom`), and its tests run under
//! AddressSanitizer, ThreadSanitizer and Miri.
//!
//! # No work is left lying
//! A holder that lets go looks at the inbox once more, *after* the guard is dropped; a loser tries to claim once more,
//! *after* its work is in the inbox (and `settle` in between). Of the two, one sees the other. That needs a full fence on
//! both sides: without it each may still see what was before the other's write. `Claimed::drop` has the one, `settle` is
//! the other.
#![allow(unsafe_code)]

#[deny(unsafe_code)]
mod combining;
#[cfg(loom)]
#[deny(unsafe_code)]
mod loom_queue;

pub use combining::{Aside, Combining, Held};

#[cfg(loom)]
use loom::{
    cell::UnsafeCell,
    sync::atomic::{AtomicBool, Ordering, fence},
};
use std::marker::PhantomData;
#[cfg(not(loom))]
use std::ops::{Deref, DerefMut};
#[cfg(not(loom))]
use std::{
    cell::UnsafeCell,
    sync::atomic::{AtomicBool, Ordering, fence},
};

/// To be called between leaving work in an inbox and trying to claim again.
pub(crate) fn settle() {
    fence(Ordering::SeqCst);
}

/// A value that one thread at a time may claim. Aligned so that two claims never share a cache line.
#[derive(Debug)]
#[repr(align(128))]
pub struct Claim<T> {
    claimed: Flag,
    value: UnsafeCell<T>,
}

/// In a cache line of its own: losers look at it while the holder works on the value.
#[derive(Debug)]
#[repr(align(128))]
struct Flag(AtomicBool);

// SAFETY: `value` is reached only through a `Claimed` guard, of which `claimed` lets one exist at a time; the guard's
// acquire/release pair makes one holder's writes visible to the next. Handing `&mut T` to another thread needs `T: Send`
// and nothing more: no two threads ever see the value at once, so `T: Sync` is not needed.
unsafe impl<T: Send> Sync for Claim<T> {}

impl<T> Claim<T> {
    /// A free claim.
    pub fn new(value: T) -> Self {
        Self { claimed: Flag(AtomicBool::new(false)), value: UnsafeCell::new(value) }
    }

    /// Claims the value, or says at once that another thread has it.
    pub fn try_claim(&self) -> Option<Claimed<'_, T>> {
        // A compare-and-swap takes the line away from the holder even where it fails; a look does not.
        if self.claimed.0.load(Ordering::Relaxed) {
            return None;
        }
        self.claimed
            .0
            .compare_exchange(false, true, Ordering::Acquire, Ordering::Relaxed)
            .is_ok()
            .then(|| Claimed { claim: self, value: PhantomData })
    }
}

/// The right to the value, until it is dropped.
///
/// It may go to another thread as the value may, and be shared by threads only if the value may be:
///
/// ```compile_fail
/// let claim = statemesh_claim::Claim::new(std::cell::Cell::new(0));
/// let held = claim.try_claim().unwrap();
/// std::thread::scope(|scope| {
///     scope.spawn(|| held.set(1));
///     held.set(2);
/// });
/// ```
#[derive(Debug)]
pub struct Claimed<'a, T> {
    claim: &'a Claim<T>,
    /// `Send` and `Sync` as the `&mut T` that it stands for: the claim's own `Sync` promises less than a shared guard needs.
    value: PhantomData<&'a mut T>,
}

impl<T> Claimed<'_, T> {
    /// Does something with the value; loom, which watches each access, knows no other way.
    pub fn with<R>(&mut self, act: impl FnOnce(&mut T) -> R) -> R {
        #[cfg(not(loom))]
        return act(self);
        #[cfg(loom)]
        // SAFETY: as in `deref_mut`; loom fails the test if two accesses overlap.
        return self.claim.value.with_mut(|value| act(unsafe { &mut *value }));
    }
}

#[cfg(not(loom))]
impl<T> Deref for Claimed<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: this guard exists, so no other does, and `&self` keeps `deref_mut` away.
        unsafe { &*self.claim.value.get() }
    }
}

#[cfg(not(loom))]
impl<T> DerefMut for Claimed<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: this guard exists, so no other does, and `&mut self` makes this the only reference.
        unsafe { &mut *self.claim.value.get() }
    }
}

impl<T> Drop for Claimed<'_, T> {
    fn drop(&mut self) {
        self.claim.claimed.0.store(false, Ordering::Release);
        // The holder will look at the inbox now: not before others can see that the claim is free.
        fence(Ordering::SeqCst);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn a_claimed_value_cannot_be_claimed_again_until_it_is_given_back() {
        let claim = Claim::new(1);
        let mut first = claim.try_claim().unwrap();
        assert!(claim.try_claim().is_none());
        *first += 1;
        drop(first);
        assert_eq!(*claim.try_claim().unwrap(), 2);
    }

    #[test]
    fn a_guard_is_shared_and_sent_as_its_value_may_be() {
        fn is_sync<T: Sync>() {}
        fn is_send<T: Send>() {}
        is_sync::<Claimed<'_, u64>>();
        is_send::<Claimed<'_, std::cell::Cell<u64>>>();
        is_sync::<Claim<std::cell::Cell<u64>>>();
        is_sync::<Combining<std::cell::Cell<u64>, std::cell::Cell<u64>>>();
    }

    #[test]
    fn no_increment_is_lost_between_threads() {
        let each = if cfg!(miri) { 50 } else { 10_000 };
        let claim = Arc::new(Claim::new(0u64));
        let threads: Vec<_> = (0..4)
            .map(|_| {
                let claim = Arc::clone(&claim);
                std::thread::spawn(move || {
                    let mut done = 0;
                    while done < each {
                        match claim.try_claim() {
                            Some(mut value) => {
                                *value += 1;
                                done += 1;
                            }
                            None => std::thread::yield_now(),
                        }
                    }
                })
            })
            .collect();
        threads.into_iter().for_each(|t| t.join().unwrap());
        assert_eq!(*claim.try_claim().unwrap(), 4 * each);
    }
}

#[cfg(all(test, loom))]
mod loom_tests {
    use super::*;
    use loom::sync::Arc;
    use std::collections::VecDeque;

    type Combiner = Combining<usize, usize>;

    fn run(value: &mut usize, jobs: &mut VecDeque<usize>) {
        *value += jobs.drain(..).sum::<usize>();
    }

    /// What a reactor does with an event, at the latest at the end of its turn.
    fn event(combiner: &Combiner) {
        match combiner.enter(run) {
            Some(mut held) => held.with(|value| *value += 1),
            None => assert!(combiner.submit(vec![1], run).is_ok(), "there is room"),
        }
        // Once is enough here: there are fewer jobs than one holder does in one go.
        combiner.drain(run);
    }

    #[test]
    fn every_event_is_run_once_and_none_is_left_lying() {
        loom::model(|| {
            let combiner = Arc::new(Combiner::new(0, 2));
            let other = Arc::clone(&combiner);
            let thread = loom::thread::spawn(move || event(&other));
            event(&combiner);
            thread.join().unwrap();
            assert!(!combiner.has_jobs(), "a job was left lying");
            assert_eq!(combiner.try_claim().unwrap().with(|value| *value), 2);
        });
    }
}
