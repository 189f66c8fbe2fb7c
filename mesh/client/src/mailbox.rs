//! Where the futures of the async client and its thread meet: requests that were made, answers that came, and how much room is left.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};

use statemesh_protocol::request_writer::Ask;

use crate::answers::Reply;
use crate::error::ClientError;
use crate::kept::KeptAsk;
use crate::pipeline::JobId;

/// How much an async client has under way at most. A request counts until its future has given its answer, or is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// Requests.
    pub requests: usize,
    /// Bytes of what they say, and of the answers that are there.
    pub bytes: usize,
}

impl Default for Room {
    /// 1,024 requests and 64 MiB.
    fn default() -> Self {
        Self { requests: 1_024, bytes: 64 << 20 }
    }
}

/// Why a future has no good answer.
#[derive(Debug, thiserror::Error)]
pub enum AsyncError {
    /// As the blocking client says it.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The client has no room for the request, which was not sent: wait for others first.
    #[error("no room for the request among {requests} with {bytes} bytes that are under way")]
    Full {
        /// Requests that are under way.
        requests: usize,
        /// Their bytes.
        bytes: usize,
    },
    /// The request was answered, and the client has no room for the answer: it is gone.
    #[error("no room for an answer of {bytes} bytes")]
    NoRoom {
        /// Bytes of the answer.
        bytes: usize,
    },
    /// The client's thread has ended, which only a fault of the operating system or of the client brings about.
    #[error("the client's thread has ended")]
    Ended,
}

/// What a future waits for.
#[derive(Debug, Default)]
pub(crate) enum Slot {
    /// There is no answer yet.
    #[default]
    Waiting,
    /// There is none, and this is to be woken.
    Watched(Waker),
    /// The answer, and the room that it takes.
    Done(Result<Reply, AsyncError>, usize),
    /// The future has taken the answer, or was dropped.
    Over,
}

/// The thread's end of a request: the answer goes in here. Dropped without one, it says that the thread has ended.
#[derive(Debug)]
pub(crate) struct Promise {
    mailbox: Arc<Mailbox>,
    slot: Arc<Mutex<Slot>>,
}

/// The future's end of a request.
#[derive(Debug)]
pub(crate) struct Claim {
    mailbox: Arc<Mailbox>,
    slot: Arc<Mutex<Slot>>,
    id: JobId,
    bytes: usize,
}

/// What the clients, their futures and the thread share.
#[derive(Debug)]
pub(crate) struct Mailbox {
    waker: mio::Waker,
    room: Room,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    made: BTreeMap<JobId, (KeptAsk, Promise)>,
    /// Requests that the thread has and whose futures were dropped.
    forgotten: Vec<JobId>,
    requests: usize,
    bytes: usize,
    last: JobId,
    /// Clients that can still make requests.
    clients: usize,
    is_over: bool,
}

/// What the thread has not heard of yet.
#[derive(Debug, Default)]
pub(crate) struct News {
    pub(crate) made: BTreeMap<JobId, (KeptAsk, Promise)>,
    pub(crate) forgotten: Vec<JobId>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing that holds one of these locks leaves its value half written.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Mailbox {
    pub(crate) fn new(waker: mio::Waker, room: Room) -> Arc<Self> {
        let state = State { clients: 1, ..State::default() };
        Arc::new(Self { waker, room, state: Mutex::new(state) })
    }

    /// Wakes the thread.
    pub(crate) fn wake(&self) {
        // A full pipe has woken it already; without a poll there is no thread to wake.
        let _ = self.waker.wake();
    }

    /// Takes a request, if there is room.
    pub(crate) fn ask(self: &Arc<Self>, ask: &Ask<'_>) -> Result<Claim, AsyncError> {
        let bytes = KeptAsk::bytes_of(ask);
        let mut state = lock(&self.state);
        if state.is_over {
            return Err(AsyncError::Ended);
        }
        if state.requests >= self.room.requests || state.bytes.saturating_add(bytes) > self.room.bytes {
            return Err(AsyncError::Full { requests: state.requests, bytes: state.bytes });
        }
        state.requests += 1;
        state.bytes += bytes;
        state.last += 1;
        let id = state.last;
        let slot = Arc::new(Mutex::new(Slot::default()));
        let promise = Promise { mailbox: Arc::clone(self), slot: Arc::clone(&slot) };
        let was_empty = state.made.is_empty();
        state.made.insert(id, (KeptAsk::new(ask), promise));
        drop(state);
        // Otherwise it has been woken, and has not looked yet.
        if was_empty {
            self.wake();
        }
        Ok(Claim { mailbox: Arc::clone(self), slot, id, bytes })
    }

    /// For the thread: what is new; `None`: there is no client and no future any more.
    pub(crate) fn news(&self) -> Option<News> {
        let mut state = lock(&self.state);
        let news = News { made: std::mem::take(&mut state.made), forgotten: std::mem::take(&mut state.forgotten) };
        let is_used = state.clients > 0 || state.requests > 0;
        drop(state);
        is_used.then_some(news)
    }

    /// For the thread: it ends.
    pub(crate) fn close(&self) {
        let mut state = lock(&self.state);
        state.is_over = true;
        let owed = std::mem::take(&mut state.made);
        drop(state);
        // Each says so, and may wake its future.
        drop(owed);
    }

    pub(crate) fn add_client(&self) {
        lock(&self.state).clients += 1;
    }

    pub(crate) fn remove_client(&self) {
        lock(&self.state).clients -= 1;
        self.wake();
    }

    /// Makes room for an answer; says whether there is any.
    fn takes(&self, bytes: usize) -> bool {
        let mut state = lock(&self.state);
        let fits = state.bytes.saturating_add(bytes) <= self.room.bytes;
        state.bytes += if fits { bytes } else { 0 };
        fits
    }

    /// A future is over.
    fn release(&self, id: JobId, bytes: usize, was_waiting: bool) {
        let mut state = lock(&self.state);
        state.requests -= 1;
        state.bytes -= bytes;
        let unseen = state.made.remove(&id);
        if was_waiting && unseen.is_none() && !state.is_over {
            state.forgotten.push(id);
        }
        let is_news = was_waiting || (state.clients == 0 && state.requests == 0);
        drop(state);
        drop(unseen);
        if is_news {
            self.wake();
        }
    }
}

impl Promise {
    /// Says the answer.
    pub(crate) fn keep(self, result: Result<Reply, ClientError>) {
        self.settle(result.map_err(AsyncError::Client));
    }

    fn settle(&self, result: Result<Reply, AsyncError>) {
        let bytes = match &result {
            Ok(reply) => reply.bytes().len(),
            Err(AsyncError::Client(ClientError::Refused(refusal))) => refusal.reply.len(),
            Err(_) => 0,
        };
        let mut slot = lock(&self.slot);
        if !matches!(*slot, Slot::Waiting | Slot::Watched(_)) {
            return;
        }
        let done = if self.mailbox.takes(bytes) {
            Slot::Done(result, bytes)
        } else {
            Slot::Done(Err(AsyncError::NoRoom { bytes }), 0)
        };
        let before = std::mem::replace(&mut *slot, done);
        drop(slot);
        if let Slot::Watched(waker) = before {
            waker.wake();
        }
    }
}

impl Drop for Promise {
    fn drop(&mut self) {
        // Nothing, if the answer was said.
        self.settle(Err(AsyncError::Ended));
    }
}

impl Claim {
    /// The answer, if it is there; otherwise `waker` is woken when it is.
    pub(crate) fn poll(&mut self, waker: &Waker) -> Poll<Result<Reply, AsyncError>> {
        let mut slot = lock(&self.slot);
        match std::mem::replace(&mut *slot, Slot::Over) {
            Slot::Done(result, bytes) => {
                // It is the future's until that is dropped, and so is its room.
                self.bytes += bytes;
                Poll::Ready(result)
            }
            Slot::Over => Poll::Ready(Err(AsyncError::Ended)),
            Slot::Watched(known) if known.will_wake(waker) => {
                *slot = Slot::Watched(known);
                Poll::Pending
            }
            Slot::Waiting | Slot::Watched(_) => {
                *slot = Slot::Watched(waker.clone());
                Poll::Pending
            }
        }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let before = std::mem::replace(&mut *lock(&self.slot), Slot::Over);
        let was_waiting = matches!(before, Slot::Waiting | Slot::Watched(_));
        let held = if let Slot::Done(_, bytes) = before { bytes } else { 0 };
        self.mailbox.release(self.id, self.bytes + held, was_waiting);
    }
}

/// Ends the mailbox with the thread, however that ends.
#[derive(Debug)]
pub(crate) struct Closing(pub(crate) Arc<Mailbox>);

impl Drop for Closing {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// A mailbox that wakes the thread which waits with this poll.
pub(crate) fn mailbox_of(poll: &mio::Poll, room: Room) -> io::Result<Arc<Mailbox>> {
    let waker = mio::Waker::new(poll.registry(), WAKE)?;
    Ok(Mailbox::new(waker, room))
}

/// What wakes the thread, among what its poll tells of.
pub(crate) const WAKE: mio::Token = mio::Token(usize::MAX);

#[cfg(test)]
mod tests {
    use super::*;
    use statemesh_protocol::reply::Encoding;
    use statemesh_protocol::request::Op;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn mailbox(requests: usize, bytes: usize) -> (mio::Poll, Arc<Mailbox>) {
        let poll = mio::Poll::new().unwrap();
        let mailbox = mailbox_of(&poll, Room { requests, bytes }).unwrap();
        (poll, mailbox)
    }

    fn get(key: &str) -> Ask<'_> {
        Ask::about(Op::Get, Encoding::Json, "m", key)
    }

    fn reply(bytes: usize) -> Result<Reply, ClientError> {
        Ok(Reply(vec![0; bytes]))
    }

    #[test]
    fn an_answer_wakes_its_future_once() {
        let (_poll, mailbox) = mailbox(9, 99);
        let mut claim = mailbox.ask(&get("k")).unwrap();
        let count = Arc::new(Count::default());
        let waker = Waker::from(Arc::clone(&count));
        assert!(claim.poll(&waker).is_pending() && claim.poll(&waker).is_pending());
        let (_, (_, promise)) = mailbox.news().unwrap().made.pop_first().unwrap();
        promise.keep(reply(3));
        assert_eq!(count.0.load(Ordering::Relaxed), 1);
        assert!(matches!(claim.poll(&waker), Poll::Ready(Ok(reply)) if reply.bytes().len() == 3));
    }

    #[test]
    fn room_is_taken_by_requests_and_answers_and_given_back_with_the_future() {
        let (_poll, mailbox) = mailbox(2, 12);
        let first = mailbox.ask(&get("123")).unwrap();
        assert!(matches!(mailbox.ask(&get("123456789")), Err(AsyncError::Full { requests: 1, bytes: 4 })));
        let second = mailbox.ask(&get("1")).unwrap();
        assert!(matches!(mailbox.ask(&get("")), Err(AsyncError::Full { requests: 2, bytes: 6 })));
        let mut made = mailbox.news().unwrap().made;
        let mut promise = || made.pop_first().unwrap().1.1;
        promise().keep(reply(6));
        assert!(matches!(mailbox.ask(&get("")), Err(AsyncError::Full { requests: 2, bytes: 12 })));
        promise().keep(reply(1));
        let mut second = second;
        assert!(matches!(second.poll(Waker::noop()), Poll::Ready(Err(AsyncError::NoRoom { bytes: 1 }))));
        drop((first, second));
        let state = lock(&mailbox.state);
        assert_eq!((state.requests, state.bytes, state.forgotten.len()), (0, 0, 0));
    }

    #[test]
    fn a_request_whose_future_is_dropped_is_forgotten_or_never_reaches_the_thread() {
        let (_poll, mailbox) = mailbox(9, 99);
        drop(mailbox.ask(&get("1")).unwrap());
        let seen = mailbox.ask(&get("2")).unwrap();
        let News { made, forgotten } = mailbox.news().unwrap();
        assert_eq!((made.keys().copied().collect::<Vec<_>>(), forgotten), (vec![2], Vec::new()));
        drop(seen);
        assert_eq!(mailbox.news().unwrap().forgotten, [2]);
        made.into_values().for_each(|(_, promise)| promise.keep(reply(50)));
        assert_eq!(lock(&mailbox.state).bytes, 0, "an answer without a future takes no room");
    }

    #[test]
    fn the_mailbox_ends_with_its_last_client_and_future() {
        let (_poll, mailbox) = mailbox(9, 99);
        let claim = mailbox.ask(&get("1")).unwrap();
        mailbox.add_client();
        mailbox.remove_client();
        mailbox.remove_client();
        assert!(mailbox.news().is_some(), "a future waits");
        drop(claim);
        assert!(mailbox.news().is_none());
    }

    #[test]
    fn futures_hear_that_the_thread_has_ended() {
        let (_poll, mailbox) = mailbox(9, 99);
        let [mut unseen, mut seen] = ["1", "2"].map(|key| mailbox.ask(&get(key)).unwrap());
        let made = mailbox.news().unwrap().made;
        let mut third = mailbox.ask(&get("3")).unwrap();
        drop(made);
        drop(Closing(Arc::clone(&mailbox)));
        for claim in [&mut unseen, &mut seen, &mut third] {
            assert!(matches!(claim.poll(Waker::noop()), Poll::Ready(Err(AsyncError::Ended))));
        }
        assert!(matches!(mailbox.ask(&get("4")), Err(AsyncError::Ended)));
    }
}
