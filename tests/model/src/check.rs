//! What must be true of all copies of a place at every moment, and what must ever have been.

use super::node::Node;
use super::replication::message::{Body, Entry};
use std::collections::BTreeMap;

/// What happened so far, as no member of the mesh can know it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Ghost {
    /// Who led which term, by number.
    pub leaders: BTreeMap<u64, usize>,
    /// What was committed: the entry, the term in which it was, and the digest of all up to it. By index, from 1.
    pub committed: Vec<(Entry, u64, u64)>,
}

impl Ghost {
    /// A copy was elected.
    pub fn elected(&mut self, term: u64, node: usize) -> Result<(), String> {
        match self.leaders.insert(term, node) {
            Some(other) => Err(format!("two leaders in term {term}: {other} and {node}")),
            None => Ok(()),
        }
    }

    /// A copy committed an entry in a term.
    pub fn commit(&mut self, entry: &Entry, term: u64, digest: u64) -> Result<(), String> {
        let at = usize::try_from(entry.index - 1).unwrap_or(usize::MAX);
        let count = self.committed.len();
        match self.committed.get_mut(at) {
            Some((known, since, same)) if known == entry && *same == digest => *since = (*since).min(term),
            Some((known, ..)) => return Err(format!("committed {entry:?} where {known:?} was")),
            None if at == count => self.committed.push((entry.clone(), term, digest)),
            None => return Err(format!("committed {entry:?} with a gap")),
        }
        Ok(())
    }

    /// The digest of all up to an index.
    pub fn digest(&self, index: u64) -> Option<u64> {
        let at = usize::try_from(index).ok()?;
        if at == 0 { Some(0) } else { self.committed.get(at - 1).map(|(_, _, digest)| *digest) }
    }

    /// Looks at all copies.
    pub fn check<'a>(&self, nodes: impl Iterator<Item = &'a Node> + Clone) -> Result<(), String> {
        for node in nodes.clone().filter(|node| !node.group.gave_up()) {
            self.one(node)?;
        }
        for (number, one) in nodes.clone().enumerate() {
            nodes.clone().skip(number + 1).try_for_each(|other| logs_match(one, other))?;
        }
        Ok(())
    }

    /// Looks at one copy, after something happened to it.
    pub fn check_one<'a>(&self, node: &Node, all: impl Iterator<Item = &'a Node>) -> Result<(), String> {
        if node.group.gave_up() {
            return Ok(());
        }
        self.one(node)?;
        all.filter(|other| !std::ptr::eq(*other, node)).try_for_each(|other| logs_match(node, other))
    }

    fn one(&self, node: &Node) -> Result<(), String> {
        let group = &node.group;
        let name = group.me();
        if self.digest(node.applied.0) != Some(node.applied.1) {
            return Err(format!("{name:?} has applied something else up to {}", node.applied.0));
        }
        if !group.leads() && node.speculative > group.committed().max(node.applied.0) {
            return Err(format!("{name:?} does not lead and has steps that are not committed"));
        }
        let base = usize::try_from(group.base().index).unwrap_or(usize::MAX);
        for (entry, term, _) in self.committed.iter().skip(base) {
            let here = group.entries(entry.index).next();
            if entry.index <= group.committed() && here != Some(entry) {
                return Err(format!("{name:?} lost {entry:?}, which it had committed"));
            }
            if group.leads() && group.ballot().term >= *term && here != Some(entry) {
                return Err(format!("{name:?} leads without {entry:?}, which was committed in term {term}"));
            }
        }
        Ok(())
    }
}

/// Looks at what a leader has just committed: a majority of the voters has it on their disks. That is what an acknowledgement means; a mistake
/// in one is seen here long before a leader is elected that lacks the entry.
pub fn backed<'a>(
    leader: &Node,
    committed: &[Entry],
    nodes: impl Iterator<Item = &'a Node> + Clone,
) -> Result<(), String> {
    for entry in committed {
        let configuration = match &entry.body {
            // The one that follows it needs fewer, and is in force as soon as this one is committed.
            Body::Configuration(own) if own.is_joint() => own,
            _ => leader.group.configuration(),
        };
        if !configuration.majority(|voter| nodes.clone().any(|node| node.keeps(voter, entry))) {
            return Err(format!("{:?} committed {entry:?}, which no majority has", leader.group.me()));
        }
    }
    Ok(())
}

/// Where two logs have an entry of one term at one index, all before it is the same.
fn logs_match(one: &Node, other: &Node) -> Result<(), String> {
    let (one, other) = (&one.group, &other.group);
    let from = one.base().index.max(other.base().index) + 1;
    let both = one.entries(from).zip(other.entries(from));
    let (mut differs, mut matched) = (None, true);
    for (a, b) in both {
        if a.term == b.term && (a != b || !matched) {
            differs = Some(a.index);
        }
        matched &= a == b;
    }
    differs.map_or(Ok(()), |at| Err(format!("{:?} and {:?} differ before {at}", one.me(), other.me())))
}
