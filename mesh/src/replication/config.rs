//! Who keeps copies of a place, and how many of them decide.
//!
//! Voters change by joint consensus (Raft, section 6; Ongaro's dissertation, 4.3): while they do, a majority of the former and one of
//! the next voters must agree. So a swap of A for D goes on when D dies half-way, which changes of one server at a time do not
//! survive: with A gone and D dead, two of four would be no majority.

use statemesh_protocol::identity::MemberName;
use std::fmt;

/// Copies of a place at most: voters, former voters and learners. What a peer says of more is refused.
pub const REPLICAS_MAX: usize = 16;

/// One life of a copy of a place.
///
/// A name alone does not tell a member from one that came back without its disk, nor a disk that was repaired from what it was
/// before: such a copy has promised nothing. Each life is therefore a server of its own in the sense of Raft, and never
/// answers for another.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Replica {
    /// The index of the entry that added it; 0 for those of the first configuration.
    pub generation: u64,
    /// The volume that it is on: a random number, fixed when the volume was made.
    pub volume: u64,
    /// The member.
    pub name: MemberName,
}

impl fmt::Debug for Replica {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{:x}#{}", self.name, self.volume, self.generation)
    }
}

impl Replica {
    /// Whether both are copies on one volume, in whatever life.
    #[must_use]
    pub fn same_volume(&self, other: &Self) -> bool {
        self.volume == other.volume && self.name == other.name
    }
}

/// The copies of a place. It is in force from when it is appended, committed or not (Raft, section 6).
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Configuration {
    /// The voters, the one that should lead first. While they change, the next ones.
    pub voters: Vec<Replica>,
    /// While the voters change, the former ones; else empty.
    pub former: Vec<Replica>,
    /// Those who get everything and do not vote.
    pub learners: Vec<Replica>,
}

/// What a leader is asked to change.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Change {
    /// This member begins to learn on this volume: a new life of it.
    AddLearner {
        /// The member.
        name: MemberName,
        /// Its volume.
        volume: u64,
    },
    /// This copy learns no more.
    RemoveLearner(Replica),
    /// These are the voters from now on, the one that should lead first. Those who did not vote before are learners now.
    Voters(Vec<Replica>),
}

impl Configuration {
    /// The first configuration of a place: voters of generation 0.
    #[must_use]
    pub fn first(voters: impl IntoIterator<Item = (MemberName, u64)>) -> Self {
        let replica = |(name, volume)| Replica { generation: 0, volume, name };
        Self { voters: voters.into_iter().map(replica).collect(), ..Self::default() }
    }

    /// Whether the voters are changing.
    #[must_use]
    pub fn is_joint(&self) -> bool {
        !self.former.is_empty()
    }

    /// All who vote: the next voters first, then those of the former ones that are not among them.
    pub fn all_voters(&self) -> impl Iterator<Item = &Replica> {
        self.voters.iter().chain(self.former.iter().filter(|former| !self.voters.contains(former)))
    }

    /// All copies, each once.
    pub fn replicas(&self) -> impl Iterator<Item = &Replica> {
        let votes = |replica: &&Replica| self.votes(replica);
        self.all_voters().chain(self.learners.iter().filter(move |learner| !votes(learner)))
    }

    /// Whether this copy votes.
    #[must_use]
    pub fn votes(&self, replica: &Replica) -> bool {
        self.voters.contains(replica) || self.former.contains(replica)
    }

    /// Whether this copy is one of them.
    #[must_use]
    pub fn has(&self, replica: &Replica) -> bool {
        self.votes(replica) || self.learners.contains(replica)
    }

    /// Whether those for whom `agrees` is true are a majority of the voters, and of the former ones while they change.
    pub fn majority(&self, agrees: impl Fn(&Replica) -> bool) -> bool {
        let half = |voters: &[Replica]| voters.iter().filter(|voter| agrees(voter)).count() > voters.len() / 2;
        half(&self.voters) && (self.former.is_empty() || half(&self.former))
    }

    /// The highest index that a majority has, where `has` says up to which index a voter has all.
    pub fn decided(&self, has: impl Fn(&Replica) -> u64) -> u64 {
        let half = |voters: &[Replica]| {
            // A majority has what the one in the middle has, or the one below the middle of an even number.
            let mut indexes: [u64; REPLICAS_MAX] = [0; REPLICAS_MAX];
            let indexes = indexes.get_mut(..voters.len())?;
            indexes.iter_mut().zip(voters).for_each(|(index, voter)| *index = has(voter));
            indexes.sort_unstable();
            indexes.get(voters.len().checked_sub(1)? / 2).copied()
        };
        let next = half(&self.voters).unwrap_or(0);
        if self.former.is_empty() { next } else { next.min(half(&self.former).unwrap_or(0)) }
    }

    /// The configuration that follows from a change, appended as the entry of this index. `None` if the change is not possible: voters
    /// are changing already, the copy is there, or is not, or a new voter does not learn yet.
    #[must_use]
    pub fn after(&self, change: &Change, index: u64) -> Option<Self> {
        if self.is_joint() {
            return None;
        }
        let mut next = self.clone();
        match change {
            Change::AddLearner { name, volume } => {
                let learner = Replica { generation: index, volume: *volume, name: name.clone() };
                // An earlier life of the copy cannot learn any more; it stays a voter until the new life takes its place.
                next.learners.retain(|other| other.name != learner.name);
                next.learners.push(learner);
            }
            Change::RemoveLearner(replica) => {
                next.learners.retain(|learner| learner != replica);
            }
            Change::Voters(voters) => {
                if !voters.iter().all(|voter| self.has(voter)) {
                    return None;
                }
                next.former = std::mem::replace(&mut next.voters, voters.clone());
                next.learners.retain(|learner| !voters.contains(learner));
            }
        }
        (next != *self && next.former != next.voters && next.is_sound()).then_some(next)
    }

    /// The configuration that ends a change of voters.
    #[must_use]
    pub fn settled(&self) -> Self {
        Self { voters: self.voters.clone(), former: Vec::new(), learners: self.learners.clone() }
    }

    /// Whether it can be one: there is a voter, no member votes twice, and there are no more copies than [`REPLICAS_MAX`].
    #[must_use]
    pub fn is_sound(&self) -> bool {
        let once = |list: &[Replica]| (1..list.len()).all(|i| list[..i].iter().all(|other| other.name != list[i].name));
        let total = self.voters.len() + self.former.len() + self.learners.len();
        let apart = self.learners.iter().all(|learner| !self.votes(learner));
        !self.voters.is_empty()
            && total <= REPLICAS_MAX
            && apart
            && [&self.voters, &self.former, &self.learners].into_iter().all(|list| once(list))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn replica(name: &str, generation: u64) -> Replica {
        Replica { generation, volume: 7, name: MemberName::new(name).unwrap() }
    }

    fn of(names: &str) -> Configuration {
        Configuration::first(names.chars().map(|name| (MemberName::new(&name.to_string()).unwrap(), 7)))
    }

    #[test]
    fn a_majority_is_more_than_half_of_both() {
        let mut configuration = of("abc");
        let agree = |configuration: &Configuration, names: &str| {
            configuration.majority(|replica| names.contains(replica.name.as_str()))
        };
        assert!(agree(&configuration, "ab") && !agree(&configuration, "a"));
        configuration.former = of("cde").voters;
        assert!(agree(&configuration, "bcd") && !agree(&configuration, "abd"));
        assert!(!Configuration::default().majority(|_| true), "without voters there is no majority");
    }

    #[test]
    fn what_is_decided_is_what_a_majority_of_both_has() {
        let mut configuration = of("abcd");
        let index = |replica: &Replica| u64::from(replica.name.as_str().as_bytes()[0] - b'a') * 10;
        assert_eq!(configuration.decided(index), 10);
        configuration.former = of("bce").voters;
        assert_eq!(configuration.decided(index), 10);
        configuration.former = of("a").voters;
        assert_eq!(configuration.decided(index), 0);
        assert_eq!(Configuration::default().decided(|_| 9), 0, "without voters nothing is decided");
    }

    #[test]
    fn a_swap_goes_by_a_learner_and_both_sets_of_voters() {
        let first = of("abc");
        let d = Change::AddLearner { name: MemberName::new("d").unwrap(), volume: 9 };
        let learning = first.after(&d, 5).unwrap();
        let d = Replica { generation: 5, volume: 9, name: MemberName::new("d").unwrap() };
        assert_eq!(learning.learners, std::slice::from_ref(&d));
        let next = vec![d.clone(), replica("b", 0), replica("c", 0)];
        assert_eq!(first.after(&Change::Voters(next.clone()), 6), None, "d does not learn yet");
        let joint = learning.after(&Change::Voters(next.clone()), 6).unwrap();
        assert_eq!((&joint.voters, &joint.former, joint.learners.len()), (&next, &first.voters, 0));
        assert_eq!(joint.after(&Change::RemoveLearner(d), 7), None, "one change at a time");
        assert_eq!(joint.settled().voters, next);
        assert_eq!(joint.replicas().count(), 4);
    }

    #[test]
    fn what_cannot_be_is_refused() {
        assert!(!Configuration::default().is_sound());
        let mut twice = of("ab");
        twice.voters.push(replica("a", 3));
        assert!(!twice.is_sound());
        let crowd = Configuration::first((0..17).map(|n| (MemberName::new(&format!("n{n}")).unwrap(), 1)));
        assert!(!crowd.is_sound());
        assert_eq!(crowd.decided(|_| 1), 0, "and counts for nothing");
        assert_eq!(of("ab").after(&Change::Voters(of("ab").voters), 3), None, "no change");
    }
}
