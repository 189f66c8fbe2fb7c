//! Turns: a reactor, a control plane, a client or a watcher does what it has to, and says when it wants the next one.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use statemesh_node::parts::{self, Unanswered};
use statemesh_transport::reactor::Due;

use super::World;
use super::schedule::Actor;
use crate::daemon::{self, ControlTurn};
use crate::dice::nanos;
use crate::memory;
use crate::net::PollerId;
use crate::outside::Surroundings;

/// Bounds of what a turn takes.
const TURN: (Duration, Duration) = (Duration::from_micros(2), Duration::from_micros(40));
/// For how long at most other threads have the same shards: that of several turns of all reactors, so that each leaves requests there.
const HOLD: Duration = Duration::from_millis(40);
/// How long DNS takes, and how long a resolver waits for it.
const DNS: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(30));
const DNS_SILENCE: Duration = Duration::from_secs(5);

impl World {
    pub(super) fn turn(&mut self, poller: PollerId, actor: Actor, now: u64) {
        let took = self.dice.time(TURN.0, TURN.1);
        self.schedule.busy(poller, now + nanos(took));
        let _logged = match actor {
            Actor::Reactor(n, _) | Actor::Control(n) => Some(tracing::info_span!("node", n).entered()),
            Actor::Client(_) | Actor::Watcher(_) => None,
        };
        let next = match actor {
            Actor::Reactor(n, index) => self.turn_reactor(n, index, now),
            Actor::Control(n) => self.turn_control(n, now),
            Actor::Client(_) | Actor::Watcher(_) => self.turn_outside(actor, now),
        };
        next.into_iter().for_each(|next| self.schedule.wants(poller, next));
    }

    fn turn_reactor(&mut self, n: usize, index: usize, now: u64) -> Option<u64> {
        let daemon = self.daemons.get_mut(n)?;
        if daemon.paused_until.is_some() {
            return None;
        }
        let host = daemon.host;
        let clock = self.net.lock().instant(host);
        let process = daemon.process.as_mut()?;
        let shared = Arc::clone(&process.shared);
        daemon.held = daemon.held.filter(|(_, until)| now < *until);
        if daemon.held.is_none() && self.foreign_holders.is_some_and(|of| self.dice.below(of) == 0) {
            daemon.held = Some((self.dice.bits(), now + nanos(self.dice.time(Duration::ZERO, HOLD))));
        }
        // None is held in turns in which the reactor does with shards what other daemons told it to.
        let held = daemon.held.filter(|_| !self.net.lock().hears_members(process.poller(index)));
        let held = held.map(|(shards, _)| parts::hold(&shared, shards, index));
        let (due, grown) = memory::of_daemon(|| process.turn_reactor(index, clock));
        process.memory += grown;
        drop(held);
        let control = process.pollers.last().copied();
        let wanted = process.control_is_wanted();
        if wanted && let Some(control) = control {
            let late = self.dice.between(500, 30_000);
            self.schedule.wants(control, now + late);
        }
        match due {
            Ok(Due::Now) => Some(now),
            Ok(Due::At(at)) => Some(self.net.lock().when(host, at).max(now + 1_000)),
            Ok(Due::Never) => None,
            Err(error) => {
                self.judge.wrong(format!("node-{n}: reactor {index} ended: {error}"));
                None
            }
        }
    }

    fn turn_control(&mut self, n: usize, now: u64) -> Option<u64> {
        let daemon = self.daemons.get_mut(n)?;
        if daemon.paused_until.is_some() {
            return None;
        }
        let host = daemon.host;
        let (clock, ip, datagrams) = {
            let mut net = self.net.lock();
            let ip = net.ip(host);
            let own = SocketAddr::new(ip, daemon::GOSSIP);
            let datagrams: Vec<_> = std::iter::from_fn(|| net.receive_datagram(host, own)).take(64).collect();
            (net.instant(host), ip, datagrams)
        };
        let process = daemon.process.as_mut()?;
        let (net, dns, dice, wakes) = (&self.net, &mut self.dns, &mut self.dice, self.coverage.wakes());
        let ((due, questions), grown) = memory::of_daemon(|| {
            // A copy of its own, which it frees.
            let received = datagrams.clone();
            let turned = process.turn_control(ControlTurn { now: clock, at: now, datagrams: received, dice, wakes });
            memory::apart(|| {
                let mut net = net.lock();
                let own = SocketAddr::new(ip, daemon::GOSSIP);
                turned.datagrams.iter().for_each(|(to, bytes)| net.send_datagram(own, *to, bytes));
            });
            (turned.due, memory::apart(|| turned.questions.clone()))
        });
        process.memory += grown;
        for question in questions {
            let answer = dns.answer(&question, ip).ok_or(Unanswered);
            let took = if answer.is_err() { DNS_SILENCE } else { self.dice.time(DNS.0, DNS.1) };
            let ((), grown) = memory::of_daemon(|| process.answers.push_back((now + nanos(took), answer.clone())));
            process.memory += grown;
        }
        let more = process.control_is_wanted();
        let on_its_way = process.control_is_due();
        let failed = process.failed.clone();
        let ended = process.left.is_some() && process.has_ended();
        let due = due.map(|due| self.net.lock().when(host, due).max(now + 1_000));
        if let Some(reason) = failed {
            self.line(format!("node-{n} cannot go on: {reason}"));
            self.kill(n);
            return None;
        }
        if ended {
            self.end(n);
            return None;
        }
        [due, on_its_way, more.then_some(now)].into_iter().flatten().min()
    }

    /// A daemon that has left ends.
    fn end(&mut self, n: usize) {
        let left = self.process(n).and_then(|process| process.left);
        if let Some(left) = left {
            self.coverage.left(&left);
            self.line(format!("node-{n} has left: {left:?}"));
        }
        self.kill(n);
    }

    fn addresses(&self) -> Vec<SocketAddr> {
        let net = self.net.lock();
        self.daemons.iter().map(|daemon| SocketAddr::new(net.ip(daemon.host), daemon::CLIENTS)).collect()
    }

    /// A client or a watcher has a turn.
    fn turn_outside(&mut self, actor: Actor, now: u64) -> Option<u64> {
        let addresses = self.addresses();
        let Self { clients, watchers, judge, numbers, stopped, .. } = self;
        let mut around = Surroundings { now, judge, numbers, addresses: &addresses, stopped: *stopped };
        let next = match actor {
            Actor::Watcher(n) => watchers.get_mut(n)?.turn(&mut around),
            Actor::Client(n) => clients.get_mut(n)?.turn(&mut around),
            Actor::Reactor(..) | Actor::Control(_) => None,
        };
        next.map(|next| next.max(now + 1_000))
    }
}
