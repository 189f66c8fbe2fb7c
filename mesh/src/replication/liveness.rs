//! Which members are heard: one value for all groups of a daemon, and one frame for each link where nothing else is sent.
//!
//! Groups with a heartbeat of their own cost a core at 30,000 idle ones (tikv/tikv#1440). Here any frame of a link is a sign of life, and a
//! member is *lost* when its link breaks or is silent for [`Settings::silence`]. That says nothing of its leading: it decides only when votes are
//! asked for.
//!
//! A daemon that did not run for a while (a paused machine, a core that others had) has heard no member meanwhile, which says nothing of them: what
//! it missed is added to their time. It finds that out by its own deadlines, which it meets too late.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use statemesh_protocol::identity::MemberName;

/// Times of links.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How long a member may be silent.
    pub silence: Duration,
    /// After how long without a frame one is sent for its own sake.
    pub idle: Duration,
    /// The same with more than [`MANY`] members.
    pub idle_of_many: Duration,
    /// By how much a deadline may be missed before it counts as a pause.
    pub late: Duration,
}

/// Members above which idle links are used less.
pub const MANY: usize = 10;

impl Default for Settings {
    fn default() -> Self {
        Self {
            silence: Duration::from_millis(250),
            idle: Duration::from_millis(50),
            idle_of_many: Duration::from_millis(100),
            late: Duration::from_millis(50),
        }
    }
}

/// What can happen to links.
#[derive(Clone, Debug)]
pub enum Input {
    /// There is a link to this member.
    Up(MemberName),
    /// It broke.
    Down(MemberName),
    /// Something came over it.
    Received(MemberName),
    /// Something was sent over it.
    Sent(MemberName),
    /// The deadline has come.
    Tick,
}

/// What the shell is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Tell each group that has a copy there: [`super::inputs::Input::Lost`].
    Lost(MemberName),
    /// Tell each group that has a copy there: [`super::inputs::Input::Heard`].
    Heard(MemberName),
    /// Send an empty frame, then say [`Input::Sent`].
    Beat(MemberName),
}

#[derive(Clone, Debug)]
struct Link {
    heard: Instant,
    sent: Instant,
    lost: bool,
}

/// The links of a daemon.
#[derive(Clone, Debug)]
pub struct Liveness {
    settings: Settings,
    links: BTreeMap<MemberName, Link>,
    /// When it last looked, and when it was to look next.
    looked: Option<Instant>,
    due: Option<Instant>,
}

impl Liveness {
    /// No links.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self { settings, links: BTreeMap::new(), looked: None, due: None }
    }

    /// Something happened at `now`. What is to be done is pushed.
    pub fn handle(&mut self, input: Input, now: Instant, out: &mut Vec<Output>) {
        self.forgive(now);
        match input {
            Input::Up(member) => {
                self.links.insert(member.clone(), Link { heard: now, sent: now, lost: false });
                // Also if it never was lost: what was on its way over the former link may be.
                out.push(Output::Heard(member));
            }
            Input::Down(member) => {
                if self.links.remove(&member).is_some_and(|link| !link.lost) {
                    out.push(Output::Lost(member));
                }
            }
            Input::Received(member) => {
                if let Some(link) = self.links.get_mut(&member) {
                    link.heard = now;
                    if std::mem::take(&mut link.lost) {
                        out.push(Output::Heard(member));
                    }
                }
            }
            Input::Sent(member) => {
                if let Some(link) = self.links.get_mut(&member) {
                    link.sent = now;
                }
            }
            Input::Tick => self.tick(now, out),
        }
        self.looked = Some(now);
        self.due = self.next_deadline();
    }

    /// When to say [`Input::Tick`].
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        let idle = self.idle();
        let of = |link: &Link| {
            let silent = if link.lost { None } else { link.heard.checked_add(self.settings.silence) };
            silent.into_iter().chain(link.sent.checked_add(idle)).min()
        };
        self.links.values().filter_map(of).min()
    }

    /// Whether this member is heard.
    #[must_use]
    pub fn hears(&self, member: &MemberName) -> bool {
        self.links.get(member).is_some_and(|link| !link.lost)
    }

    fn idle(&self) -> Duration {
        if self.links.len() < MANY { self.settings.idle } else { self.settings.idle_of_many }
    }

    /// Time in which this daemon did not run does not count for others.
    fn forgive(&mut self, now: Instant) {
        let Some((looked, due)) = self.looked.zip(self.due) else { return };
        let late = now.saturating_duration_since(due);
        if late > self.settings.late {
            // It ran until it looked last, and does so again from now on; frames that came meanwhile are read after this.
            let pause = now.saturating_duration_since(looked);
            self.links.values_mut().for_each(|link| link.heard = (link.heard + pause).min(now));
        }
    }

    fn tick(&mut self, now: Instant, out: &mut Vec<Output>) {
        let idle = self.idle();
        for (member, link) in &mut self.links {
            if !link.lost && now.saturating_duration_since(link.heard) >= self.settings.silence {
                link.lost = true;
                out.push(Output::Lost(member.clone()));
            }
            if now.saturating_duration_since(link.sent) >= idle {
                link.sent = now;
                out.push(Output::Beat(member.clone()));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn name(n: &str) -> MemberName {
        MemberName::new(n).unwrap()
    }

    /// Ticks at each deadline up to `until`, as a shell that runs would.
    fn run(liveness: &mut Liveness, until: Instant) -> Vec<Output> {
        let mut out = Vec::new();
        while let Some(at) = liveness.next_deadline().filter(|at| *at <= until) {
            liveness.handle(Input::Tick, at, &mut out);
        }
        out
    }

    #[test]
    fn a_silent_member_is_lost_once_and_heard_again_with_its_next_frame() {
        let start = Instant::now();
        let mut liveness = Liveness::new(Settings::default());
        let mut out = Vec::new();
        liveness.handle(Input::Up(name("a")), start, &mut out);
        assert_eq!(out, [Output::Heard(name("a"))]);
        let out = run(&mut liveness, start + 1000 * MS);
        assert_eq!(out.iter().filter(|output| **output == Output::Lost(name("a"))).count(), 1);
        assert_eq!(out.iter().filter(|output| **output == Output::Beat(name("a"))).count(), 20);
        assert!(!liveness.hears(&name("a")));
        let mut out = Vec::new();
        liveness.handle(Input::Received(name("a")), start + 1001 * MS, &mut out);
        liveness.handle(Input::Down(name("a")), start + 1002 * MS, &mut out);
        liveness.handle(Input::Down(name("a")), start + 1003 * MS, &mut out);
        assert_eq!(out, [Output::Heard(name("a")), Output::Lost(name("a"))]);
        assert_eq!(liveness.next_deadline(), None, "no links, nothing to do");
    }

    #[test]
    fn who_was_paused_does_not_hold_others_for_lost() {
        let start = Instant::now();
        let mut liveness = Liveness::new(Settings::default());
        let mut out = Vec::new();
        liveness.handle(Input::Up(name("a")), start, &mut out);
        run(&mut liveness, start + 100 * MS);
        let awake = start + 5000 * MS;
        liveness.handle(Input::Tick, awake, &mut out);
        assert!(liveness.hears(&name("a")));
        let out = run(&mut liveness, awake + 240 * MS);
        assert!(out.contains(&Output::Lost(name("a"))), "what it was silent for before the pause counts");
    }

    #[test]
    fn a_link_with_traffic_has_no_beats() {
        let start = Instant::now();
        let mut liveness = Liveness::new(Settings::default());
        let mut out = Vec::new();
        liveness.handle(Input::Up(name("a")), start, &mut out);
        for n in 1..50 {
            let now = start + n * 10 * MS;
            liveness.handle(Input::Sent(name("a")), now, &mut out);
            liveness.handle(Input::Received(name("a")), now, &mut out);
            liveness.handle(Input::Tick, now, &mut out);
        }
        assert_eq!(out, [Output::Heard(name("a"))]);
    }
}
