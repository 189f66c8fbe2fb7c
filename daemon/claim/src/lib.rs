//! The claim: one writer at a time, without a lock and without waiting.
//!
//! Whoever has work for a shard tries to claim it with one compare-and-swap. The winner gets `&mut` until the guard is
//! dropped; a loser does not wait: it leaves its work in an inbox and goes on. This file holds the only `unsafe` code of
//! the project. loom explores its interleavings (`cargo xtask test loom`) and Miri runs its tests.
//!
//! # Nobody's work is left lying
//! A holder that lets go looks at the inbox once more, *after* the guard is dropped; a loser tries to claim once more,
//! *after* its work is in the inbox (and [`settle`] in between). Of the two, one sees the other. That needs a full fence on
//! both sides: without it each may still see what was before the other's write. `Claimed::drop` has the one, [`settle`] is
//! the other.
#![allow(unsafe_code)]

#[cfg(loom)]
use loom::{
    cell::UnsafeCell,
    sync::atomic::{AtomicBool, Ordering, fence},
};
#[cfg(not(loom))]
use std::ops::{Deref, DerefMut};
#[cfg(not(loom))]
use std::{
    cell::UnsafeCell,
    sync::atomic::{AtomicBool, Ordering, fence},
};

/// To be called between leaving work in an inbox and trying to claim again.
pub fn settle() {
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

    /// Claims the value, or says at once that somebody else has it.
    pub fn try_claim(&self) -> Option<Claimed<'_, T>> {
        // A compare-and-swap takes the line away from the holder even where it fails; a look does not.
        if self.claimed.0.load(Ordering::Relaxed) {
            return None;
        }
        self.claimed
            .0
            .compare_exchange(false, true, Ordering::Acquire, Ordering::Relaxed)
            .is_ok()
            .then(|| Claimed { claim: self })
    }
}

/// The right to the value, until it is dropped.
#[derive(Debug)]
pub struct Claimed<'a, T> {
    claim: &'a Claim<T>,
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
    use loom::sync::atomic::AtomicUsize;

    /// An inbox that holds only how many jobs there are.
    #[derive(Default)]
    struct Jobs(AtomicUsize);

    impl Jobs {
        fn push(&self) {
            self.0.fetch_add(1, Ordering::AcqRel);
        }

        fn take_all(&self) -> usize {
            self.0.swap(0, Ordering::AcqRel)
        }

        fn is_empty(&self) -> bool {
            self.0.load(Ordering::Acquire) == 0
        }
    }

    impl Claimed<'_, usize> {
        fn add(&mut self, n: usize) {
            // SAFETY: the guard is held; loom itself fails the test if two accesses overlap.
            self.claim.value.with_mut(|value| unsafe { *value += n });
        }
    }

    fn total(claim: &Claim<usize>) -> usize {
        let held = claim.try_claim().unwrap();
        // SAFETY: as above.
        held.claim.value.with(|value| unsafe { *value })
    }

    fn serve(claim: &Claim<usize>, jobs: &Jobs) {
        while !jobs.is_empty() {
            let Some(mut held) = claim.try_claim() else {
                return;
            };
            held.add(jobs.take_all());
        }
    }

    /// What a reactor does with one event.
    fn event(claim: &Claim<usize>, jobs: &Jobs) {
        if let Some(mut held) = claim.try_claim() {
            held.add(jobs.take_all());
            held.add(1);
        } else {
            jobs.push();
            settle();
        }
        serve(claim, jobs);
    }

    #[test]
    fn every_event_is_run_once_and_none_is_left_lying() {
        loom::model(|| {
            let shard = Arc::new((Claim::new(0usize), Jobs::default()));
            let other = Arc::clone(&shard);
            let thread = loom::thread::spawn(move || event(&other.0, &other.1));
            event(&shard.0, &shard.1);
            thread.join().unwrap();
            assert!(shard.1.is_empty(), "a job was left lying");
            assert_eq!(total(&shard.0), 2);
        });
    }
}
