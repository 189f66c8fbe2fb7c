//! Asking where an instance is, again and again: where its changes are heard of seldom, else at first soon and then less and less often.

use std::time::{Duration, Instant};

use statemesh_protocol::request::{Op, Request};
use statemesh_protocol::request_parts::Answering;
use statemesh_protocol::request_writer::Ask;

/// Where the instance is served elsewhere it is asked after again so soon, and then less and less often.
const AGAIN: (Duration, Duration) = (Duration::from_millis(5), Duration::from_millis(250));
/// The same where its changes are heard of: a change may be heard of by no reactor while the partition moves.
pub(super) const HEARD: Duration = Duration::from_secs(1);
/// How long an answer is waited for that is asked for when the time is over.
pub(super) const LAST_ANSWER: Duration = Duration::from_millis(100);

/// A question that is asked again and again.
#[derive(Debug)]
pub(super) struct Inquiry {
    /// The request that asks: all that is kept of the one that waits.
    pub(super) question: Box<[u8]>,
    /// When to ask again, if it is not asked now.
    again: Instant,
    pause: Duration,
    /// It is being asked.
    pub(super) is_asked: bool,
    /// A shard said meanwhile that the instance has changed.
    pub(super) is_woken: bool,
    /// The next change will be heard of.
    pub(super) is_heard: bool,
}

impl Inquiry {
    /// After the instance of a request that is being done, and whose answer is the first.
    pub(super) fn new(request: &Request<'_>, until: Instant) -> Self {
        let mut question = Vec::new();
        let about = Ask::about(Op::Get, request.encoding, &request.machine, &request.key);
        let answer = Answering { until: request.answer.until, ..Answering::default() };
        Ask { answer, ..about }.write(0, &mut question);
        Self {
            question: question.into(),
            again: until,
            pause: AGAIN.0,
            is_asked: true,
            is_woken: false,
            is_heard: false,
        }
    }

    /// When there is something to do for a request that waits until then.
    pub(super) fn due(&self, until: Instant) -> Instant {
        if self.is_asked { until + LAST_ANSWER } else { until.min(self.again) }
    }

    /// It is asked now.
    pub(super) fn begin(&mut self) {
        (self.is_asked, self.is_woken) = (true, false);
    }

    /// It was answered, and is to be asked again. Gives when.
    pub(super) fn pause(&mut self, now: Instant) -> Instant {
        let pause = match (std::mem::take(&mut self.is_woken), std::mem::take(&mut self.is_heard)) {
            (true, _) => Duration::ZERO,
            (false, true) => HEARD,
            (false, false) => {
                let pause = self.pause;
                self.pause = (pause * 2).min(AGAIN.1);
                pause
            }
        };
        self.again = now + pause;
        self.again
    }

    /// The instance has changed. Says whether to ask now: an answer that is under way may be older.
    pub(super) fn wake(&mut self, now: Instant) -> bool {
        self.is_woken = true;
        self.again = now;
        !self.is_asked
    }
}
