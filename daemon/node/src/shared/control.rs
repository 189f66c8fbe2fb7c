//! What reactors tell the control plane: a bounded queue, and a bound in bytes of what other daemons say.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicU64, AtomicUsize};

use tokio::sync::mpsc;

use crate::mailbox::ToControl;

/// The queue of the control plane.
#[derive(Debug)]
pub(crate) struct ControlQueue {
    messages: mpsc::Sender<ToControl>,
    /// Of what members have said and the control plane has not taken in.
    bytes: AtomicUsize,
    bytes_max: usize,
    /// Times that there was no room for a message.
    full: AtomicU64,
}

impl ControlQueue {
    /// An empty one. What members say may have so many bytes in it (`limits.control_bytes`).
    pub(super) fn new(messages: mpsc::Sender<ToControl>, bytes_max: usize) -> Self {
        Self { messages, bytes: AtomicUsize::new(0), bytes_max, full: AtomicU64::new(0) }
    }

    /// Tells the control plane something.
    ///
    /// # Errors
    /// Its queue is full: the message comes back.
    pub(crate) fn tell(&self, message: ToControl) -> Result<(), ToControl> {
        self.messages.try_send(message).map_err(|error| match error {
            mpsc::error::TrySendError::Full(message) => {
                self.full.fetch_add(1, Relaxed);
                message
            }
            mpsc::error::TrySendError::Closed(message) => message,
        })
    }

    /// Times that there was no room for a message.
    pub(crate) fn full(&self) -> u64 {
        self.full.load(Relaxed)
    }

    /// Whether what a member says may wait for the control plane. It counts from now on, and until [`ControlQueue::took`].
    pub(crate) fn lets_in(&self, message: &ToControl) -> bool {
        let fits = self.bytes() < self.bytes_max;
        if fits {
            self.bytes.fetch_add(message.weight(), Relaxed);
        }
        fits
    }

    /// The control plane has taken in a message.
    pub(crate) fn took(&self, message: &ToControl) {
        let less = |bytes: usize| Some(bytes.saturating_sub(message.weight()));
        let _ = self.bytes.fetch_update(Relaxed, Relaxed, less);
    }

    /// Bytes of what members have told the control plane and it has not taken in.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes.load(Relaxed)
    }

    /// Whether the control plane still listens.
    #[must_use]
    pub(crate) fn is_open(&self) -> bool {
        !self.messages.is_closed()
    }
}
