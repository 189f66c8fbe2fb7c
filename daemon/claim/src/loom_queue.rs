//! What takes the place of crossbeam's queue when loom explores the interleavings: the same verbs, and no more ordering than
//! an inbox must give.

use std::collections::VecDeque;

use loom::sync::Mutex;
use loom::sync::atomic::{AtomicUsize, Ordering};

#[derive(Debug)]
pub(crate) struct ArrayQueue<T> {
    /// What a look at the queue sees: the lock would order more than crossbeam promises.
    len: AtomicUsize,
    items: Mutex<VecDeque<T>>,
    capacity: usize,
}

impl<T> ArrayQueue<T> {
    pub(crate) fn new(capacity: usize) -> Self {
        Self { len: AtomicUsize::new(0), items: Mutex::new(VecDeque::new()), capacity }
    }

    pub(crate) fn capacity(&self) -> usize {
        self.capacity
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len.load(Ordering::Acquire) == 0
    }

    pub(crate) fn push(&self, item: T) -> Result<(), T> {
        let Ok(mut items) = self.items.lock() else { return Err(item) };
        if items.len() >= self.capacity {
            return Err(item);
        }
        items.push_back(item);
        drop(items);
        self.len.fetch_add(1, Ordering::AcqRel);
        Ok(())
    }

    pub(crate) fn pop(&self) -> Option<T> {
        if self.is_empty() {
            return None;
        }
        let item = self.items.lock().ok()?.pop_front();
        if item.is_some() {
            self.len.fetch_sub(1, Ordering::AcqRel);
        }
        item
    }
}
