//! The shell around a schedule: one connection, which is opened again when it ends.

use std::io;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::time::TimeSpec;
use statemesh_client::{Connection, ConnectionError, Endpoint, OpenError};
use statemesh_transport::Message;

use crate::round::Round;
use crate::schedule::{Pace, Schedule, Settled, Spec};
use crate::work::Work;

/// How long the thread polls before a request is due: waking from a sleep takes some tens of microseconds.
const AWAKE_BEFORE: Duration = Duration::from_micros(20);
/// By how much the kernel may let a sleep last longer than was asked for, to wake for several things at once. Its own choice, 50
/// microseconds, would need as much more time awake, which is most of what a low rate costs.
const SLACK_NANOS: u64 = 1_000;
/// How soon a run notices that it is to end early.
const STOPS_WITHIN: Duration = Duration::from_millis(100);
/// Between two attempts to connect: none before the first after a good answer, then these bounds.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(10), Duration::from_millis(500));
/// Looks at all slots in each span of the endpoint's timeout, for an answer that does not come.
const LOOKS_PER_TIMEOUT: u32 = 5;

/// Runs one round, on one connection at a time; `stop` ends it early.
///
/// # Errors
/// The first connection cannot be opened. Later ones are tried again and again.
pub fn run(endpoint: &mut Endpoint, work: &mut impl Work, spec: &Spec, stop: &AtomicBool) -> Result<Round, OpenError> {
    let client = Some(endpoint.open()?);
    if !spec.polls {
        // Without it requests may be some microseconds late, which the latencies show.
        let _ = nix::sys::prctl::set_timerslack(SLACK_NANOS);
    }
    let now = Instant::now();
    let schedule = Schedule::new(*spec, work.slots(), now);
    let mut run = Run {
        coarse: matches!(spec.pace, Pace::Closed { .. }),
        polls: spec.polls,
        endpoint,
        work,
        client,
        schedule,
        backoff: Duration::ZERO,
        look: now,
        elsewhere: false,
    };
    run.until_over(stop);
    Ok(run.schedule.finish())
}

struct Run<'a, W> {
    endpoint: &'a mut Endpoint,
    work: &'a mut W,
    client: Option<Connection>,
    schedule: Schedule,
    /// Nothing is due at a certain time, so a wait may be as coarse as a socket's timeout.
    coarse: bool,
    polls: bool,
    backoff: Duration,
    /// When to look next for an answer that does not come.
    look: Instant,
    /// The daemon has said that another one should be asked.
    elsewhere: bool,
}

impl<W: Work> Run<'_, W> {
    fn until_over(&mut self, stop: &AtomicBool) {
        let mut now = Instant::now();
        while !self.schedule.is_over(now) {
            if stop.load(Ordering::Relaxed) {
                self.schedule.stop(now, self.endpoint.timeout());
            }
            match self.client.take() {
                None => self.reconnect(),
                Some(mut client) => match self.turn(&mut client, now) {
                    Ok(()) if !self.elsewhere && !self.is_stuck(now) => self.client = Some(client),
                    Ok(()) => self.broken("no answer, or the daemon said to ask another one"),
                    Err(error) => self.broken(&error.to_string()),
                },
            }
            self.forget();
            now = Instant::now();
        }
        self.schedule.close(now);
        self.forget();
    }

    /// Sends what is due, and waits for an answer or for what is due next.
    fn turn(&mut self, client: &mut Connection, now: Instant) -> Result<(), ConnectionError> {
        while let Some(due) = self.schedule.next(now) {
            client.push(self.work.request(due.slot, due.id));
        }
        client.flush()?;
        if self.schedule.is_over(now) {
            return Ok(());
        }
        let Some(first) = self.wait(client)? else { return Ok(()) };
        let now = Instant::now();
        self.settle(&first, now);
        client.set_spin(Duration::ZERO);
        while let Some(next) = receive(client, Duration::ZERO)? {
            self.settle(&next, now);
        }
        Ok(())
    }

    fn wait(&self, client: &mut Connection) -> Result<Option<Message>, ConnectionError> {
        let due = self.schedule.next_due();
        let left = due.map_or(STOPS_WITHIN, |due| due.saturating_duration_since(Instant::now()));
        let left = left.min(STOPS_WITHIN).max(Duration::from_micros(1));
        if self.coarse {
            return receive(client, left);
        }
        let mut awake = left;
        if !self.polls && left > AWAKE_BEFORE {
            sleep_until_readable(client, left - AWAKE_BEFORE);
            awake = AWAKE_BEFORE;
        }
        client.set_spin(awake);
        receive(client, awake)
    }

    fn settle(&mut self, message: &Message, now: Instant) {
        let reply = message.part_slice(message.len().saturating_sub(1)).unwrap_or_default();
        let Some(answer) = self.work.read(reply) else {
            self.schedule.unreadable();
            return;
        };
        match self.schedule.settle(&answer, now) {
            Settled::Done(slot) => {
                self.backoff = Duration::ZERO;
                self.work.done(slot, &answer);
            }
            Settled::Refused(slot) => self.work.given_up(slot, false),
            Settled::Elsewhere => self.elsewhere = true,
            Settled::Again | Settled::Stranger => {}
        }
    }

    fn is_stuck(&mut self, now: Instant) -> bool {
        let limit = self.endpoint.timeout();
        if now < self.look {
            return false;
        }
        self.look = now + limit / LOOKS_PER_TIMEOUT;
        self.schedule.is_stuck(now, limit)
    }

    fn broken(&mut self, why: &str) {
        self.elsewhere = false;
        self.schedule.cut(Instant::now());
        let round = self.schedule.round_mut();
        round.reconnects += 1;
        round.broken.get_or_insert_with(|| why.to_owned());
    }

    fn reconnect(&mut self) {
        std::thread::sleep(self.backoff);
        let (least, most) = BACKOFF;
        self.backoff = (self.backoff * 2).clamp(least, most);
        match self.endpoint.open() {
            Ok(client) => self.client = Some(client),
            Err(_) => self.schedule.expire(Instant::now()),
        }
    }

    fn forget(&mut self) {
        for slot in self.schedule.take_given_up() {
            self.work.given_up(slot, true);
        }
    }
}

/// The next message; `None`: none came in time.
fn receive(client: &mut Connection, wait: Duration) -> Result<Option<Message>, ConnectionError> {
    match client.receive(wait) {
        Ok(message) => Ok(Some(message)),
        Err(ConnectionError::Io { source, .. }) if source.kind() == io::ErrorKind::TimedOut => Ok(None),
        Err(error) => Err(error),
    }
}

/// Sleeps until an answer comes, or for this long.
fn sleep_until_readable(client: &Connection, limit: Duration) {
    let mut watched = [PollFd::new(client.as_fd(), PollFlags::POLLIN)];
    // Interrupted or not: the caller looks at the socket and at the clock.
    let _ = ppoll(&mut watched, Some(TimeSpec::from_duration(limit)), None);
}
