//! The core against TiKV's implementation of Raft (`raft` 0.7): a follower of each gets the same messages, and must decide the same; and what
//! either holds for a majority, with one set of voters and with two, must be the same.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test")]

use bytes::Bytes;
use raft::eraftpb::{ConfState, Entry as Theirs, Message as TheirMessage, MessageType};
use raft::storage::MemStorage;
use raft::{Config, Raft};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use statemesh_mesh::replication::config::{Configuration, Replica};
use statemesh_mesh::replication::group::Group;
use statemesh_mesh::replication::inputs::Input;
use statemesh_mesh::replication::message::{Append, Body, Entry, Envelope, Message, Position};
use statemesh_mesh::replication::outputs::Output;
use statemesh_mesh::replication::settings::Settings;
use statemesh_protocol::identity::MemberName;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

/// The follower is the first voter; leaders and candidates are the others.
const VOTERS: u64 = 5;

fn replica(id: u64) -> Replica {
    Replica { generation: 0, volume: 7, name: MemberName::new(&format!("m{id}")).unwrap() }
}

/// What a leader of each term has, as Raft could have come to it: what is committed in one is in all later ones.
struct Leader {
    term: u64,
    id: u64,
    log: Vec<u64>,
    commit: usize,
}

fn leaders(rng: &mut SmallRng) -> Vec<Leader> {
    let mut leaders: Vec<Leader> = Vec::new();
    for term in (1..9).filter(|_| rng.random_bool(0.8)).collect::<Vec<u64>>() {
        let (mut log, commit) = (Vec::new(), leaders.last().map_or(0, |last| last.commit));
        if let Some(last) = leaders.last() {
            let kept = &last.log[..commit];
            let like: Vec<&Leader> = leaders.iter().filter(|leader| leader.log.starts_with(kept)).collect();
            let from = like[rng.random_range(0..like.len())];
            log = from.log[..rng.random_range(commit..=from.log.len())].to_vec();
        }
        log.extend(std::iter::repeat_n(term, rng.random_range(1..5)));
        let commit = rng.random_range(commit..=log.len());
        leaders.push(Leader { term, id: rng.random_range(2..=VOTERS), log, commit });
    }
    leaders
}

struct Pair {
    ours: Group,
    theirs: Raft<MemStorage>,
    now: Instant,
}

/// What a follower said.
#[derive(Debug, PartialEq, Eq)]
enum Said {
    Taken,
    Rejected { index: u64, term: u64 },
    Newer,
    Granted,
    Refused,
}

impl Pair {
    fn new() -> Self {
        let now = Instant::now();
        let names = (1..=VOTERS).map(|id| (replica(id).name, 7));
        let ours = Group::first(replica(1), Arc::new(Configuration::first(names)), Arc::new(Settings::default()), now);
        let mut config = Config::new(1);
        config.pre_vote = true;
        let state = ConfState { voters: (1..=VOTERS).collect(), ..ConfState::default() };
        let logger = slog::Logger::root(slog::Discard, slog::o!());
        let theirs = Raft::new(&config, MemStorage::new_with_conf_state(state), &logger).unwrap();
        Self { ours, theirs, now }
    }

    fn ours(&mut self, from: u64, message: Message) -> Option<Said> {
        let mut out = Vec::new();
        let envelope = Envelope { from: replica(from), to: replica(1), message };
        self.ours.handle(Input::Message(envelope), self.now, &mut out);
        // The disk takes no time: the oracle knows no other.
        let written = |output: &Output| if let Output::Persist { write, .. } = output { Some(*write) } else { None };
        if let Some(write) = out.iter().filter_map(written).max() {
            self.ours.handle(Input::Durable(write), self.now, &mut out);
        }
        let said = |output: Output| match output {
            Output::Send(envelope) => Some(match envelope.message {
                Message::Ack { .. } => Said::Taken,
                Message::Nack { hint, .. } => Said::Rejected { index: hint.index, term: hint.term },
                Message::Newer { .. } => Said::Newer,
                Message::PreVoted { granted, .. } | Message::Voted { granted, .. } => {
                    if granted {
                        Said::Granted
                    } else {
                        Said::Refused
                    }
                }
                other => panic!("{other:?}"),
            }),
            _ => None,
        };
        out.into_iter().filter_map(said).next_back()
    }

    fn theirs(&mut self, from: u64, mut message: TheirMessage) -> Option<Said> {
        (message.from, message.to) = (from, 1);
        let older = message.term < self.theirs.term;
        self.theirs.step(message).unwrap();
        self.theirs
            .msgs
            .drain(..)
            .map(|answer| match answer.get_msg_type() {
                MessageType::MsgAppendResponse if older => Said::Newer,
                MessageType::MsgAppendResponse if answer.reject => {
                    Said::Rejected { index: answer.reject_hint, term: answer.log_term }
                }
                MessageType::MsgAppendResponse => Said::Taken,
                _ if answer.reject => Said::Refused,
                _ => Said::Granted,
            })
            .next_back()
    }

    fn append(&mut self, leader: &Leader, rng: &mut SmallRng) -> (Option<Said>, Option<Said>) {
        let prev = rng.random_range(0..=leader.log.len());
        let end = rng.random_range(prev..=leader.log.len());
        let at = |index: usize| if index == 0 { 0 } else { leader.log[index - 1] };
        let commit = rng.random_range(0..=leader.commit);
        if (prev as u64) < self.ours.committed() {
            // They do not look at it then, ours takes what is new of it: the same but for the message that takes it.
            return (None, None);
        }
        let body = |index: usize| index.to_le_bytes().to_vec();
        let entry =
            |index: usize| Entry { term: at(index), index: index as u64, body: Body::Record(Bytes::from(body(index))) };
        let their = |index: usize| Theirs {
            term: at(index),
            index: index as u64,
            data: body(index).into(),
            ..Theirs::default()
        };
        let append = Append {
            term: leader.term,
            round: 1,
            probe: true,
            prev: Position { term: at(prev), index: prev as u64 },
            commit: commit as u64,
            entries: (prev + 1..=end).map(entry).collect(),
        };
        let mut message = TheirMessage { term: leader.term, ..TheirMessage::default() };
        message.set_msg_type(MessageType::MsgAppend);
        (message.index, message.log_term, message.commit) = (prev as u64, at(prev), commit as u64);
        message.entries = (prev + 1..=end).map(their).collect::<Vec<_>>().into();
        (self.ours(leader.id, Message::Append(append)), self.theirs(leader.id, message))
    }

    fn vote(&mut self, leader: &Leader, pre: bool, rng: &mut SmallRng) -> (Option<Said>, Option<Said>) {
        let id = rng.random_range(2..=VOTERS);
        let term = leader.term + u64::from(rng.random_bool(0.3));
        // One that is further ahead tells ours of a later term; theirs waits until a vote is asked for.
        let term = if pre { term.min(self.ours.ballot().term + 1) } else { term };
        let end = rng.random_range(0..=leader.log.len());
        let last = Position { term: if end == 0 { 0 } else { leader.log[end - 1] }, index: end as u64 };
        // Who leads does not ask; ours concludes from it that it leads no more.
        let (hears, before) = (self.ours.leader().cloned(), self.ours.ballot().term);
        if hears == Some(replica(id)) {
            return (None, None);
        }
        let mut message = TheirMessage { term, index: last.index, log_term: last.term, ..TheirMessage::default() };
        message.set_msg_type(if pre { MessageType::MsgRequestPreVote } else { MessageType::MsgRequestVote });
        let theirs = self.theirs(id, message);
        let message = if pre { Message::PreVote { term, last } } else { Message::Vote { term, last } };
        let ours = self.ours(id, message);
        // They do not answer votes of an earlier term. They give pre-votes although they hear a leader, as they have no lease here; and for a
        // term that is not new to whom they voted for in it, where ours tells the term, so that the next one is asked for.
        let no = pre && (hears.is_some() || term <= before);
        let theirs = if no { Some(Said::Refused) } else { theirs.or(Some(Said::Refused)) };
        (ours, theirs)
    }

    fn same(&self) -> Result<(), String> {
        let vote = |id: u64| if id == 0 { None } else { Some(replica(id)) };
        let theirs = (
            self.theirs.term,
            vote(self.theirs.vote),
            self.theirs.raft_log.committed,
            self.theirs.raft_log.last_index(),
        );
        let ballot = self.ours.ballot();
        let ours = (ballot.term, ballot.vote.clone(), self.ours.committed(), self.ours.last().index);
        if ours != theirs {
            return Err(format!("ours has {ours:?}, theirs {theirs:?}"));
        }
        let terms = (0..=ours.3).all(|index| self.ours.term_at(index) == self.theirs.raft_log.term(index).ok());
        if terms { Ok(()) } else { Err("the logs differ".to_owned()) }
    }
}

/// Runs a seed. Returns how many messages were compared, by what was said.
fn schedule(seed: u64, counts: &mut [u64; 5]) -> Result<(), String> {
    let mut rng = SmallRng::seed_from_u64(seed);
    let leaders = leaders(&mut rng);
    let mut pair = Pair::new();
    for step in 0..60 {
        // Later leaders come later, and messages of earlier ones still come.
        let at = (step * leaders.len() / 60 + rng.random_range(0..3)).min(leaders.len().saturating_sub(1));
        let Some(leader) = leaders.get(at.saturating_sub(rng.random_range(0..2))) else { return Ok(()) };
        let before = format!("{:?} {:?}", pair.ours.ballot(), pair.ours.last());
        let (ours, theirs) = match rng.random_range(0..8) {
            0 => pair.vote(leader, false, &mut rng),
            1 => pair.vote(leader, true, &mut rng),
            _ if pair.theirs.leader_id != 0
                && pair.theirs.term == leader.term
                && pair.theirs.leader_id != leader.id =>
            {
                (None, None)
            }
            _ => pair.append(leader, &mut rng),
        };
        if ours != theirs {
            return Err(format!("step {step}, {before}: ours said {ours:?}, theirs {theirs:?}"));
        }
        pair.same().map_err(|why| format!("step {step}, {before}: {why}"))?;
        match ours {
            Some(Said::Taken) => counts[0] += 1,
            Some(Said::Rejected { .. }) => counts[1] += 1,
            Some(Said::Newer) => counts[2] += 1,
            Some(Said::Granted) => counts[3] += 1,
            Some(Said::Refused) => counts[4] += 1,
            None => {}
        }
    }
    Ok(())
}

#[test]
fn a_follower_decides_as_the_oracle_does() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let first = number("SEED").unwrap_or(1);
    let count = number("SEEDS").unwrap_or(3_000);
    let mut counts = [0; 5];
    for seed in first..first + count {
        if let Err(why) = schedule(seed, &mut counts) {
            panic!("seed {seed}: {why}");
        }
    }
    let [taken, rejected, newer, granted, refused] = counts;
    println!("{taken} taken, {rejected} rejected, {newer} older, {granted} granted, {refused} refused");
    assert!(counts.iter().all(|count| *count > count.min(&100) / 2) && counts.iter().all(|count| *count > 0));
}

#[test]
fn a_majority_is_what_the_oracle_holds_for_one() {
    let mut rng = SmallRng::seed_from_u64(7);
    for _ in 0..20_000 {
        let some = |rng: &mut SmallRng| -> BTreeSet<u64> { (1..=9).filter(|_| rng.random_bool(0.5)).collect() };
        let (mut voters, former) =
            (some(&mut rng), if rng.random_bool(0.3) { BTreeSet::new() } else { some(&mut rng) });
        voters.insert(1);
        let list = |ids: &BTreeSet<u64>| ids.iter().map(|id| replica(*id)).collect::<Vec<_>>();
        let ours = Configuration { voters: list(&voters), former: list(&former), learners: Vec::new() };
        let state = ConfState {
            voters: voters.iter().copied().collect(),
            voters_outgoing: former.iter().copied().collect(),
            ..ConfState::default()
        };
        let logger = slog::Logger::root(slog::Discard, slog::o!());
        let mut theirs = Raft::new(&Config::new(1), MemStorage::new_with_conf_state(state), &logger).unwrap();
        let matched: Vec<u64> = (0..10).map(|_| rng.random_range(0..6)).collect();
        let yes = some(&mut rng);
        for id in voters.union(&former) {
            theirs.mut_prs().get_mut(*id).unwrap().matched = matched[*id as usize];
        }
        let id = |replica: &Replica| replica.name.as_str()[1..].parse::<usize>().unwrap();
        assert_eq!(
            ours.decided(|voter| matched[id(voter)]),
            theirs.mut_prs().maximal_committed_index().0,
            "{ours:?} {matched:?}"
        );
        let agree = ours.majority(|voter| yes.contains(&(id(voter) as u64)));
        assert_eq!(agree, theirs.prs().has_quorum(&yes.iter().copied().collect()), "{ours:?} {yes:?}");
    }
}
