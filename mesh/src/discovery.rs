//! Where to look for other members: a plan of DNS questions, asked one at a time, and a static list.
//!
//! A round asks for the SRV records of `_gossip._udp.<service>`, then for the addresses of each target, which gives ports as
//! well. Without SRV records it asks for the service's own A and AAAA records, whose members listen on the usual port. A round
//! starts a tenth of a second after the first one, and then less and less often, every second at last, until this member has
//! joined: a pod's own records appear a moment after it has started, and those of its fellows with them. Then a round starts
//! every [`Config::joined_interval`], to find a part of the mesh that the members here have forgotten. A round that fails
//! changes nothing: members that know each other need no DNS.
//!
//! [`Discovery::alone_at`] says from when on no other member can be there: silence is no answer, and a name without records,
//! or one that does not exist, is none either. DNS must have named this member and no other, [`ANSWERS`] times at least and
//! for the whole patience; another member that is named, by DNS or as a seed, is waited for.
//!
//! A record may point at anything. What answers there is asked for its list like a member; if it is of another mesh, its
//! seal drops the question, and ours its answer.

use std::collections::{BTreeSet, VecDeque};
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

/// Targets of SRV records that are resolved in a round. One that answers knows all others.
pub const MAX_TARGETS: usize = 64;
/// Addresses that a round may find.
pub const MAX_ADDRESSES: usize = 256;
/// Answers in a row that name this member and no other, before it can be alone.
pub const ANSWERS: u32 = 3;
/// From the first round to the second; each further pause is half as long again, up to [`Config::joining_interval`].
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// Where to look, and how often.
#[derive(Debug, Clone)]
pub struct Config {
    /// DNS name of the headless Service. It is taken for absolute, with or without a trailing dot.
    pub service: Option<String>,
    /// The gossip port of members whose records do not tell it.
    pub port: u16,
    /// Gossip addresses that are always tried.
    pub seeds: Vec<SocketAddr>,
    /// This member's own gossip address: it is not tried.
    pub own: SocketAddr,
    /// From round to round until joined, at most: the first ones follow each other faster.
    pub joining_interval: Duration,
    /// From round to round afterwards.
    pub joined_interval: Duration,
}

impl Config {
    /// The usual intervals: a second, and half a minute.
    #[must_use]
    pub fn new(service: Option<String>, port: u16, seeds: Vec<SocketAddr>, own: SocketAddr) -> Self {
        Self {
            service,
            port,
            seeds,
            own,
            joining_interval: Duration::from_secs(1),
            joined_interval: Duration::from_secs(30),
        }
    }
}

/// What a DNS question asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Targets and ports.
    Srv,
    /// IPv4 addresses.
    A,
    /// IPv6 addresses.
    Aaaa,
}

/// A DNS question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// Absolute name, with its trailing dot.
    pub name: String,
    /// Which records.
    pub kind: Kind,
}

impl fmt::Display for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            Kind::Srv => "SRV",
            Kind::A => "A",
            Kind::Aaaa => "AAAA",
        };
        write!(f, "{kind} of {}", self.name)
    }
}

/// A DNS answer. One without records, or that there is no such name, has an empty list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Records {
    /// Targets and their ports.
    Srv(Vec<(String, u16)>),
    /// Addresses.
    Addresses(Vec<IpAddr>),
}

/// What can happen to discovery.
#[derive(Debug, Clone)]
pub enum Input {
    /// The deadline has come.
    Tick,
    /// The question was answered.
    Answer(Records),
    /// The question was not answered: no server, a time-out, or an error.
    Failed,
    /// Does this member know of others?
    Joined(bool),
}

/// What the shell does next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Ask this, and say what came of it.
    Ask(Question),
    /// Try these gossip addresses. Each round ends with this, be they none.
    Found(Vec<SocketAddr>),
}

/// What the newest round says of others.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Round {
    /// No round has ended yet.
    #[default]
    NotYet,
    /// There is neither a service nor a seed other than this member.
    NobodyToAsk,
    /// DNS names this member and no other.
    Itself,
    /// These may be others: seeds, and what DNS names.
    Others(Vec<SocketAddr>),
    /// This question was not answered, or a target that was named has no address: there may be others, whatever was found.
    Silence(Question),
    /// The service has no addresses, or there is no such name.
    NoAddresses,
}

#[derive(Debug)]
enum Asked {
    Service,
    /// An SRV record named this host if it is a `target`: then DNS has to say its address.
    Host {
        port: u16,
        target: bool,
    },
}

/// The plan. See the module.
#[derive(Debug)]
pub struct Discovery {
    config: Config,
    joined: bool,
    /// From this round to the next one, until joined.
    pause: Duration,
    next_round: Instant,
    /// Questions of this round; the first one is being asked.
    questions: VecDeque<(Asked, Question)>,
    found: BTreeSet<SocketAddr>,
    failures: u64,
    begun: Instant,
    /// The first question of this round that was not answered, or the one for a target that has no address.
    silent: Option<Question>,
    /// The host that is asked for has an address.
    has_address: bool,
    /// Since when each round was answered wholly.
    whole_since: Option<Instant>,
    /// In this round, DNS named this member.
    itself: bool,
    round: Round,
    /// Since when, and in how many rounds, DNS names this member and no other.
    only_itself: Option<(Instant, u32)>,
    out: VecDeque<Output>,
}

impl Discovery {
    /// A plan whose first round starts now.
    #[must_use]
    pub fn new(config: Config, now: Instant) -> Self {
        Self {
            config,
            joined: false,
            pause: FIRST_PAUSE,
            next_round: now,
            questions: VecDeque::new(),
            found: BTreeSet::new(),
            failures: 0,
            begun: now,
            silent: None,
            has_address: false,
            whole_since: None,
            itself: false,
            round: Round::NotYet,
            only_itself: None,
            out: VecDeque::new(),
        }
    }

    /// Takes in what happened; [`Discovery::poll`] gives what follows from it.
    pub fn handle(&mut self, input: Input, now: Instant) {
        match input {
            Input::Tick => {
                if self.questions.is_empty() && self.next_round <= now {
                    self.start_round(now);
                }
            }
            Input::Answer(records) => self.answered(records, now),
            Input::Failed => {
                self.failures += 1;
                if let Some((_, question)) = self.questions.front() {
                    self.silent.get_or_insert_with(|| question.clone());
                }
                self.answered(Records::Addresses(Vec::new()), now);
            }
            Input::Joined(joined) => self.joined(joined, now),
        }
    }

    /// The next thing to do.
    pub fn poll(&mut self) -> Option<Output> {
        self.out.pop_front()
    }

    /// When [`Input::Tick`] is due; none while a question is being asked.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        self.questions.is_empty().then_some(self.next_round)
    }

    /// Questions that were not answered, since the start.
    #[must_use]
    pub fn failures(&self) -> u64 {
        self.failures
    }

    /// What the newest round says of others.
    #[must_use]
    pub fn round(&self) -> &Round {
        &self.round
    }

    /// Since when each round was answered wholly: only then do they name all that there may be.
    #[must_use]
    pub fn whole_since(&self) -> Option<Instant> {
        self.whole_since
    }

    /// When a member with this patience is alone, if the rounds until then say what the last ones did. `None`: not by what is known.
    #[must_use]
    pub fn alone_at(&self, patience: Duration) -> Option<Instant> {
        let since = match (&self.round, self.only_itself) {
            (Round::NobodyToAsk, _) => Some(self.begun),
            (Round::Itself, Some((since, ANSWERS..))) => Some(since),
            _ => None,
        };
        since.map(|since| since + patience)
    }

    fn joined(&mut self, joined: bool, now: Instant) {
        if joined != self.joined {
            self.joined = joined;
            self.pause = self.config.joining_interval;
            self.next_round = now + self.interval();
        }
    }

    fn interval(&self) -> Duration {
        if self.joined { self.config.joined_interval } else { self.pause }
    }

    fn start_round(&mut self, now: Instant) {
        self.next_round = now;
        self.found = self.config.seeds.iter().copied().collect();
        (self.silent, self.itself) = (None, false);
        match &self.config.service {
            Some(service) => {
                let name = absolute(&format!("_gossip._udp.{service}"));
                let question = Question { name, kind: Kind::Srv };
                self.questions.push_back((Asked::Service, question));
                self.ask();
            }
            None => self.end_round(None),
        }
    }

    fn answered(&mut self, records: Records, now: Instant) {
        let Some((asked, question)) = self.questions.pop_front() else {
            return;
        };
        let kind = question.kind;
        match (asked, records) {
            (Asked::Service, Records::Srv(targets)) if !targets.is_empty() => {
                for (host, port) in targets.into_iter().take(MAX_TARGETS) {
                    self.ask_for_host(&host, port, true);
                }
            }
            (Asked::Service, _) => {
                let service = self.config.service.clone().unwrap_or_default();
                self.ask_for_host(&service, self.config.port, false);
            }
            (Asked::Host { port, target }, Records::Addresses(addresses)) => {
                self.has_address = !addresses.is_empty() || (kind == Kind::Aaaa && self.has_address);
                if target && kind == Kind::Aaaa && !self.has_address {
                    self.silent.get_or_insert(question);
                }
                let room = MAX_ADDRESSES.saturating_sub(self.found.len());
                let addresses = addresses.into_iter().take(room).map(|ip| SocketAddr::new(ip, port));
                for address in addresses {
                    self.itself |= address == self.config.own;
                    self.found.insert(address);
                }
            }
            (Asked::Host { .. }, Records::Srv(_)) => {}
        }
        if self.questions.is_empty() {
            self.end_round(Some(now));
        } else {
            self.ask();
        }
    }

    fn ask_for_host(&mut self, host: &str, port: u16, target: bool) {
        for kind in [Kind::A, Kind::Aaaa] {
            let name = absolute(host);
            let question = Question { name, kind };
            self.questions.push_back((Asked::Host { port, target }, question));
        }
    }

    fn ask(&mut self) {
        if let Some((_, question)) = self.questions.front() {
            self.out.push_back(Output::Ask(question.clone()));
        }
    }

    /// Rounds are an interval apart, counted from the end of one when it took time.
    fn end_round(&mut self, ended: Option<Instant>) {
        self.next_round = ended.unwrap_or(self.next_round) + self.interval();
        self.pause = (self.pause * 3 / 2).min(self.config.joining_interval);
        self.found.remove(&self.config.own);
        let found: Vec<SocketAddr> = std::mem::take(&mut self.found).into_iter().collect();
        self.round = self.judge(&found);
        let since = self.whole_since.or(ended).unwrap_or(self.begun);
        self.whole_since = (!matches!(self.round, Round::Silence(_))).then_some(since);
        self.only_itself = match (&self.round, self.only_itself, ended) {
            (Round::Itself, Some((since, rounds)), _) => Some((since, rounds.saturating_add(1))),
            (Round::Itself, None, Some(now)) => Some((now, 1)),
            _ => None,
        };
        self.out.push_back(Output::Found(found));
    }

    fn judge(&self, others: &[SocketAddr]) -> Round {
        match (&self.config.service, &self.silent, self.itself) {
            (_, Some(question), _) => Round::Silence(question.clone()),
            _ if !others.is_empty() => Round::Others(others.to_vec()),
            (None, ..) => Round::NobodyToAsk,
            (_, _, true) => Round::Itself,
            _ => Round::NoAddresses,
        }
    }
}

fn absolute(name: &str) -> String {
    format!("{}.", name.trim_end_matches('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addr(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    fn discovery(service: Option<&str>, seeds: &[&str], now: Instant) -> Discovery {
        let seeds = seeds.iter().map(|s| addr(s)).collect();
        let config = Config::new(service.map(Into::into), 7403, seeds, addr("10.0.0.1:7403"));
        Discovery::new(config, now)
    }

    fn asked(discovery: &mut Discovery) -> (String, Kind) {
        match discovery.poll() {
            Some(Output::Ask(question)) => (question.name, question.kind),
            other => panic!("asked nothing, but {other:?}"),
        }
    }

    fn ips(texts: &[&str]) -> Input {
        let ips = texts.iter().map(|ip| ip.parse().unwrap());
        Input::Answer(Records::Addresses(ips.collect()))
    }

    #[test]
    fn srv_records_give_ports_and_own_addresses_are_not_tried() {
        let now = Instant::now();
        let mut d = discovery(Some("mesh.default.svc"), &["10.0.0.9:9"], now);
        d.handle(Input::Tick, now);
        assert_eq!(asked(&mut d), ("_gossip._udp.mesh.default.svc.".into(), Kind::Srv));
        assert_eq!(d.next_deadline(), None);
        let targets = vec![("a.mesh.".into(), 7403), ("b.mesh".into(), 99)];
        d.handle(Input::Answer(Records::Srv(targets)), now);
        assert_eq!(asked(&mut d), ("a.mesh.".into(), Kind::A));
        d.handle(ips(&["10.0.0.1"]), now);
        assert_eq!(asked(&mut d), ("a.mesh.".into(), Kind::Aaaa));
        d.handle(ips(&[]), now);
        assert_eq!(asked(&mut d), ("b.mesh.".into(), Kind::A));
        d.handle(Input::Failed, now);
        assert_eq!(asked(&mut d), ("b.mesh.".into(), Kind::Aaaa));
        d.handle(ips(&["fd00::2"]), now);
        let found = vec![addr("10.0.0.9:9"), addr("[fd00::2]:99")];
        assert_eq!(d.poll(), Some(Output::Found(found)));
        assert_eq!((d.poll(), d.failures()), (None, 1));
    }

    #[test]
    fn without_srv_records_the_service_itself_is_asked_for() {
        let now = Instant::now();
        let mut d = discovery(Some("mesh."), &[], now);
        d.handle(Input::Tick, now);
        assert_eq!(asked(&mut d).1, Kind::Srv);
        d.handle(Input::Answer(Records::Srv(Vec::new())), now);
        assert_eq!(asked(&mut d), ("mesh.".into(), Kind::A));
        d.handle(ips(&["10.0.0.1", "10.0.0.2"]), now);
        assert_eq!(asked(&mut d), ("mesh.".into(), Kind::Aaaa));
        d.handle(ips(&[]), now);
        assert_eq!(d.poll(), Some(Output::Found(vec![addr("10.0.0.2:7403")])));
    }

    #[test]
    fn a_dead_server_ends_each_round_with_the_static_list() {
        let now = Instant::now();
        let mut d = discovery(Some("mesh."), &["10.0.0.2:7403"], now);
        d.handle(Input::Tick, now);
        for _ in 0..3 {
            asked(&mut d);
            d.handle(Input::Failed, now);
        }
        assert_eq!(d.poll(), Some(Output::Found(vec![addr("10.0.0.2:7403")])));
        assert_eq!(d.next_deadline(), Some(now + FIRST_PAUSE));
    }

    #[test]
    fn rounds_follow_each_other_fast_at_first_then_every_second_until_joined_and_again_when_alone() {
        let mut now = Instant::now();
        let mut d = discovery(None, &["10.0.0.2:7403"], now);
        for pause_ms in [100, 150, 225] {
            d.handle(Input::Tick, now);
            assert!(matches!(d.poll(), Some(Output::Found(_))));
            assert_eq!(d.next_deadline(), Some(now + Duration::from_millis(pause_ms)));
            now += Duration::from_millis(pause_ms);
        }
        for _ in 0..10 {
            d.handle(Input::Tick, now);
            assert!(matches!(d.poll(), Some(Output::Found(_))));
            now = d.next_deadline().unwrap();
        }
        d.handle(Input::Tick, now);
        assert!(matches!(d.poll(), Some(Output::Found(_))));
        assert_eq!(d.next_deadline(), Some(now + Duration::from_secs(1)));
        d.handle(Input::Joined(true), now);
        assert_eq!(d.next_deadline(), Some(now + Duration::from_secs(30)));
        d.handle(Input::Tick, now + Duration::from_secs(2));
        assert_eq!(d.poll(), None);
        d.handle(Input::Joined(false), now + Duration::from_secs(3));
        assert_eq!(d.next_deadline(), Some(now + Duration::from_secs(4)));
    }

    #[test]
    fn after_a_pause_the_rounds_that_were_missed_are_not_made_up_for() {
        let now = Instant::now();
        let mut d = discovery(None, &["10.0.0.2:7403"], now);
        d.handle(Input::Tick, now);
        let late = now + Duration::from_secs(3600);
        d.handle(Input::Tick, late);
        assert!(d.next_deadline() > Some(late));
    }

    /// One round in which the service's name has these addresses; `None`: the questions are not answered.
    fn round(d: &mut Discovery, addresses: Option<&[&str]>, now: Instant) {
        d.handle(Input::Tick, now);
        while let Some(output) = d.poll() {
            let Output::Ask(question) = output else { continue };
            let answer = match (addresses, question.kind) {
                (None, _) => Input::Failed,
                (Some(texts), Kind::A) => ips(texts),
                (Some(_), Kind::Srv) => Input::Answer(Records::Srv(Vec::new())),
                (Some(_), Kind::Aaaa) => ips(&[]),
            };
            d.handle(answer, now);
        }
    }

    #[test]
    fn only_answers_that_name_this_member_and_nobody_else_count_and_all_else_begins_the_count_anew() {
        const PATIENCE: Duration = Duration::from_secs(5);
        let mut now = Instant::now();
        let mut d = discovery(Some("mesh."), &[], now);
        let me: &[&str] = &["10.0.0.1"];
        for (says, spoils) in [
            (Round::Silence(Question { name: "_gossip._udp.mesh.".into(), kind: Kind::Srv }), None),
            (Round::NoAddresses, Some(&[][..])),
            (Round::Others(vec![addr("10.0.0.2:7403")]), Some(&["10.0.0.1", "10.0.0.2"][..])),
        ] {
            round(&mut d, spoils, now);
            assert_eq!((d.round(), d.alone_at(PATIENCE)), (&says, None));
            let since = d.next_deadline().unwrap();
            for answers in 1..=ANSWERS {
                now = d.next_deadline().unwrap();
                round(&mut d, Some(me), now);
                let alone_at = (answers == ANSWERS).then_some(since + PATIENCE);
                assert_eq!((d.round(), d.alone_at(PATIENCE)), (&Round::Itself, alone_at));
            }
            now = d.next_deadline().unwrap();
        }
    }

    #[test]
    fn a_seed_is_waited_for_whatever_dns_says_and_its_own_address_is_no_seed() {
        let now = Instant::now();
        let mut d = discovery(Some("mesh."), &["10.0.0.2:7403"], now);
        round(&mut d, Some(&["10.0.0.1"]), now);
        assert_eq!(d.round(), &Round::Others(vec![addr("10.0.0.2:7403")]));
        let mut d = discovery(None, &["10.0.0.1:7403"], now);
        round(&mut d, None, now);
        assert_eq!((d.round(), d.alone_at(Duration::ZERO)), (&Round::NobodyToAsk, Some(now)));
    }

    #[test]
    fn a_round_in_which_anything_was_silent_says_nothing_of_all_whatever_it_found() {
        let now = Instant::now();
        let mut d = discovery(Some("mesh."), &["10.0.0.9:9"], now);
        for silent in [true, false] {
            d.handle(Input::Tick, now + Duration::from_secs(9));
            asked(&mut d);
            d.handle(Input::Answer(Records::Srv(vec![("a.mesh.".into(), 1), ("b.mesh.".into(), 2)])), now);
            for answer in
                [ips(&["10.0.0.1"]), ips(&[]), if silent { Input::Failed } else { ips(&["10.0.0.2"]) }, ips(&[])]
            {
                asked(&mut d);
                d.handle(answer, now);
            }
            assert!(matches!(d.poll(), Some(Output::Found(_))));
            assert_eq!(matches!(d.round(), Round::Silence(_)), silent);
        }
        d.handle(Input::Tick, now + Duration::from_secs(9));
        asked(&mut d);
        d.handle(Input::Answer(Records::Srv(vec![("a.mesh.".into(), 7403), ("b.mesh.".into(), 2)])), now);
        for answer in [ips(&["10.0.0.1"]), ips(&[]), ips(&[]), ips(&[])] {
            asked(&mut d);
            d.handle(answer, now);
        }
        let Round::Silence(question) = d.round() else { panic!("{:?}", d.round()) };
        assert_eq!(question.to_string(), "AAAA of b.mesh.", "another is named, whose address is not told");
    }

    #[test]
    fn a_record_with_a_thousand_addresses_is_cut() {
        let now = Instant::now();
        let mut d = discovery(Some("mesh."), &[], now);
        d.handle(Input::Tick, now);
        d.handle(Input::Failed, now);
        let many = (0..1000).map(|n| std::net::Ipv4Addr::from_bits(n).into()).collect();
        d.handle(Input::Answer(Records::Addresses(many)), now);
        d.handle(Input::Failed, now);
        let found = std::iter::from_fn(|| d.poll()).find_map(|o| match o {
            Output::Found(found) => Some(found.len()),
            Output::Ask(_) => None,
        });
        assert_eq!(found, Some(MAX_ADDRESSES));
    }
}
