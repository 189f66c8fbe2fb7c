//! The changes of a mesh as futures: a [`Watcher`] in a thread of its own.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};
use std::time::Duration;

use crate::client::Client;
use crate::error::ClientError;
use crate::watch::{Notice, Watcher};

/// Notices that were not taken yet; those beyond it stay with the [`Watcher`], which has a bound of its own.
const UNSEEN: usize = 16;
/// How often the thread looks whether its watcher was dropped.
const LOOKS: Duration = Duration::from_millis(500);

/// Follows the changes of a mesh, and says what it missed. Its thread ends within a second after it is dropped.
#[derive(Debug)]
pub struct AsyncWatcher {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    has_room: Condvar,
}

#[derive(Debug, Default)]
struct State {
    notices: VecDeque<Result<Notice, ClientError>>,
    waker: Option<Waker>,
    /// Nothing comes any more.
    is_over: bool,
    /// The watcher was dropped.
    is_left: bool,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for room, and says whether the watcher is still there.
    fn tell(&self, notice: Result<Notice, ClientError>) -> bool {
        let mut state = self.lock();
        while state.notices.len() >= UNSEEN && !state.is_left {
            state = self.has_room.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.notices.push_back(notice);
        let (waker, is_heard) = (state.waker.take(), !state.is_left);
        drop(state);
        waker.into_iter().for_each(Waker::wake);
        is_heard
    }
}

impl AsyncWatcher {
    /// Watches all topics that begin with `topic`. `client` is asked for the members.
    ///
    /// # Errors
    /// The operating system has no thread for it.
    pub fn new(client: Client, topic: &str) -> io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let (ending, topic) = (Ending(Arc::clone(&shared)), topic.to_owned());
        std::thread::Builder::new()
            .name("statemesh-watch".to_owned())
            .spawn(move || watch(&ending.0, client, &topic))?;
        Ok(Self { shared })
    }

    /// What comes next; `None`: nothing any more. An error says that the members could not be asked for at first, and is the last.
    pub async fn next(&mut self) -> Option<Result<Notice, ClientError>> {
        poll_fn(|context| {
            let mut state = self.shared.lock();
            if let Some(notice) = state.notices.pop_front() {
                self.shared.has_room.notify_one();
                return Poll::Ready(Some(notice));
            }
            if state.is_over {
                return Poll::Ready(None);
            }
            state.waker = Some(context.waker().clone());
            Poll::Pending
        })
        .await
    }
}

impl Drop for AsyncWatcher {
    fn drop(&mut self) {
        self.shared.lock().is_left = true;
        self.shared.has_room.notify_one();
    }
}

fn watch(shared: &Shared, client: Client, topic: &str) {
    let mut watcher = match Watcher::new(client, topic) {
        Ok(watcher) => watcher,
        Err(error) => {
            shared.tell(Err(error));
            return;
        }
    };
    while !shared.lock().is_left {
        if let Some(notice) = watcher.next(LOOKS)
            && !shared.tell(Ok(notice))
        {
            return;
        }
    }
}

/// Says that nothing comes any more, however the thread ends.
struct Ending(Arc<Shared>);

impl Drop for Ending {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.is_over = true;
        let waker = state.waker.take();
        drop(state);
        waker.into_iter().for_each(Waker::wake);
    }
}
