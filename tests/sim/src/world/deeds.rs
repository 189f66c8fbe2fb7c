//! What is done to a world: daemons start, die, leave and stop, hosts do not hear each other, clocks jump.

use std::time::Duration;

use super::World;
use super::schedule::Actor;
use crate::dice::nanos;
use crate::dns::Mode;
use crate::memory;

impl World {
    /// Starts a daemon's process.
    pub fn start(&mut self, n: usize) {
        self.say("starts", n);
        let mut dice = self.dice.fork();
        let Some(daemon) = self.daemons.get_mut(n) else { return };
        if daemon.runs() {
            return;
        }
        let (started, grown) = memory::of_daemon(|| daemon.start(&self.net, &mut dice));
        if let Err(error) = started {
            return self.judge.wrong(format!("node-{n} does not start: {error}"));
        }
        daemon.process.iter_mut().for_each(|process| process.memory = grown);
        let pollers = daemon.process.as_ref().map(|process| process.pollers.clone()).unwrap_or_default();
        let control = pollers.len().saturating_sub(1);
        let now = self.now();
        for (index, poller) in pollers.into_iter().enumerate() {
            let actor = if index == control { Actor::Control(n) } else { Actor::Reactor(n, index) };
            self.schedule.seat(poller, actor, now);
        }
        self.update_dns();
    }

    /// A daemon has other keys for gossip from now on, the one to use first.
    pub fn rotate(&mut self, n: usize, keys: &[[u8; 32]]) {
        self.say("has other keys", n);
        let now = self.now();
        let Some(daemon) = self.daemons.get_mut(n) else { return };
        let (rotated, grown) = memory::of_daemon(|| daemon.rotate(keys));
        daemon.process.iter_mut().for_each(|process| process.memory += grown);
        let control = daemon.process.as_ref().and_then(|process| process.pollers.last().copied());
        control.into_iter().for_each(|poller| self.schedule.wants(poller, now));
        if let Err(error) = rotated {
            self.judge.wrong(format!("node-{n} cannot use its keys: {error}"));
        }
    }

    /// `kill -9`.
    pub fn kill(&mut self, n: usize) {
        self.say("killed", n);
        if let Some(daemon) = self.daemons.get_mut(n) {
            let had = daemon.process.as_ref().map_or(0, |process| process.memory);
            if let Some(process) = &mut daemon.process {
                process.pollers.iter().for_each(|poller| self.schedule.unseat(*poller));
                self.coverage.ends(process);
            }
            let ((), grown) = memory::of_daemon(|| daemon.kill(&self.net));
            if let Some(what) = memory::is_left(had + grown) {
                self.judge.wrong(format!("node-{n}: {what}"));
            }
        }
        self.update_dns();
    }

    /// SIGTERM.
    pub fn leave(&mut self, n: usize) {
        self.say("is told to leave", n);
        let now = self.now();
        let Some(daemon) = self.daemons.get_mut(n) else { return };
        daemon.leave();
        let control = daemon.process.as_ref().and_then(|process| process.pollers.last().copied());
        control.into_iter().for_each(|poller| self.schedule.wants(poller, now));
    }

    /// SIGSTOP, and SIGCONT after `time`.
    pub fn pause(&mut self, n: usize, time: Duration) {
        self.say("paused", n);
        self.invariants.may_be_split();
        let until = self.now() + nanos(time);
        if let Some(daemon) = self.daemons.get_mut(n).filter(|daemon| daemon.runs()) {
            daemon.paused_until = Some(until);
        }
        self.at(until, move |world| world.resume(n));
    }

    fn resume(&mut self, n: usize) {
        let now = self.now();
        let Some(daemon) = self.daemons.get_mut(n).filter(|d| d.paused_until.is_some_and(|until| until <= now)) else {
            return;
        };
        daemon.paused_until = None;
        let pollers = daemon.process.as_ref().map(|process| process.pollers.clone()).unwrap_or_default();
        self.say("goes on", n);
        pollers.into_iter().for_each(|poller| self.schedule.wants(poller, now));
    }

    /// A reactor has no turn for this time, as when its core is another's: what others tell it piles up.
    pub fn stall(&mut self, n: usize, reactor: usize, time: Duration) {
        self.line(format!("node-{n}: reactor {reactor} has no turn for {time:?}"));
        let process = self.process(n);
        let Some(poller) = process.map(|process| process.poller(reactor)) else { return };
        let now = self.now();
        self.schedule.busy(poller, now + nanos(time));
        self.schedule.wants(poller, now);
    }

    /// What one host sends is no longer heard by the other.
    pub fn cut(&mut self, from: usize, to: usize) {
        self.invariants.may_be_split();
        let hosts = (self.host(from), self.host(to));
        self.net.lock().cut(hosts.0, hosts.1);
        self.line(format!("cut from node-{from} to node-{to}"));
    }

    /// These daemons hear only each other, and the others only the others.
    pub fn cut_off(&mut self, group: &[usize]) {
        for a in 0..self.daemons.len() {
            for b in 0..self.daemons.len() {
                if group.contains(&a) != group.contains(&b) {
                    self.cut(a, b);
                }
            }
        }
    }

    /// Two hosts do not hear each other.
    pub fn part(&mut self, a: usize, b: usize) {
        self.cut(a, b);
        self.cut(b, a);
    }

    /// Two hosts hear each other again.
    pub fn mend(&mut self, a: usize, b: usize) {
        let hosts = (self.host(a), self.host(b));
        let mut net = self.net.lock();
        net.heal_one(hosts.0, hosts.1);
        net.heal_one(hosts.1, hosts.0);
        drop(net);
        self.line(format!("node-{a} and node-{b} hear each other again"));
    }

    /// Every host hears every other again.
    pub fn heal(&mut self) {
        self.line("healed".to_owned());
        self.net.lock().heal();
    }

    /// The connections between two daemons break, in the middle of what they carry. Gives how many there were.
    pub fn break_links(&mut self, a: usize, b: usize) -> usize {
        let hosts = (self.host(a), self.host(b));
        let broken = self.net.lock().break_between(hosts.0, hosts.1);
        self.judge.links_broken += broken;
        self.line(format!("{broken} connections between node-{a} and node-{b} break"));
        broken
    }

    /// A daemon's clock jumps ahead.
    pub fn jump(&mut self, n: usize, by: Duration) {
        self.say("its clock jumps", n);
        self.invariants.may_be_split();
        let host = self.host(n);
        self.net.lock().jump(host, by);
    }

    /// DNS behaves like this from now on.
    pub fn set_dns(&mut self, mode: Mode) {
        self.line(format!("DNS: {mode:?}"));
        self.dns.mode = mode;
        self.update_dns();
    }

    fn update_dns(&mut self) {
        let net = self.net.lock();
        self.dns.running =
            self.daemons.iter().filter(|daemon| daemon.runs()).map(|daemon| net.ip(daemon.host)).collect();
    }
}
