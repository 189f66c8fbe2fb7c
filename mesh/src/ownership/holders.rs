//! Which other members hold what, as far as this one was told, and with whom a partition was lost.

use std::collections::BTreeMap;

use statemesh_protocol::hash::Partition;
use statemesh_protocol::identity::MemberName;
use statemesh_protocol::partition_set::PartitionSet;

#[derive(Debug)]
pub(super) struct Holders {
    /// The holder of each partition; none for those held here.
    known: Vec<Option<MemberName>>,
    /// Of these the holder said that it serves them. Of others it is known by an answer, and may have but a copy.
    announced: PartitionSet,
    /// Whose death took the partition, until a member takes it again.
    lost: Vec<Option<MemberName>>,
    /// Which member holds a partition on this side, while a member of another side holds it as well.
    beside: BTreeMap<Partition, MemberName>,
}

impl Holders {
    pub(super) fn new(partitions: u16) -> Self {
        let n = usize::from(partitions);
        Self { known: vec![None; n], announced: PartitionSet::new(), lost: vec![None; n], beside: BTreeMap::new() }
    }

    /// The holder of a partition that is not held here.
    pub(super) fn of(&self, partition: Partition) -> Option<&MemberName> {
        self.known.get(usize::from(partition))?.as_ref()
    }

    /// A member has a copy of a partition. Gives the member that was known for its holder before.
    pub(super) fn note(&mut self, partition: Partition, name: &MemberName) -> Option<MemberName> {
        self.lost[usize::from(partition)] = None;
        if self.of(partition) != Some(name) {
            self.announced.remove(partition);
        }
        self.known[usize::from(partition)].replace(name.clone())
    }

    /// The holder of a partition said that it serves it.
    pub(super) fn announce(&mut self, partition: Partition) {
        self.announced.insert(partition);
    }

    /// What each of the members that are meant announced that it serves.
    pub(super) fn announced(&self, is_meant: impl Fn(&MemberName) -> bool) -> BTreeMap<MemberName, PartitionSet> {
        let mut announced: BTreeMap<MemberName, PartitionSet> = BTreeMap::new();
        for partition in self.announced.iter() {
            if let Some(holder) = self.of(partition).filter(|holder| is_meant(holder)) {
                announced.entry(holder.clone()).or_default().insert(partition);
            }
        }
        announced
    }

    /// A partition is held here, or its holder is not known any more.
    pub(super) fn forget(&mut self, partition: Partition) {
        self.known[usize::from(partition)] = None;
    }

    /// This member begins to serve a partition.
    pub(super) fn serve_here(&mut self, partition: Partition) {
        self.forget(partition);
        self.lost[usize::from(partition)] = None;
    }

    /// A partition was handed off to `holder`; to none if it is known who holds it by now.
    pub(super) fn handed_off_to(&mut self, partition: Partition, holder: Option<MemberName>) {
        if holder.is_some() {
            self.known[usize::from(partition)] = holder;
        }
        self.lost[usize::from(partition)] = None;
    }

    /// A member holds nothing any more. Gives what it held.
    pub(super) fn drained(&mut self, name: &MemberName) -> Vec<Partition> {
        let mut held = Vec::new();
        for (p, known) in self.known.iter_mut().enumerate() {
            if known.take_if(|holder| holder == name).is_some() {
                held.push(p as Partition);
            }
        }
        held
    }

    /// A member is gone, with what it held. Gives that.
    pub(super) fn lose(&mut self, name: &MemberName) -> Vec<Partition> {
        let held = self.drained(name);
        for partition in &held {
            self.lost[usize::from(*partition)] = Some(name.clone());
        }
        held
    }

    /// Whose death took a partition.
    pub(super) fn lost_with(&self, partition: Partition) -> Option<&MemberName> {
        self.lost[usize::from(partition)].as_ref()
    }

    /// A partition may have been lost with this member, if no other is known to have taken it along.
    pub(super) fn may_be_lost_with(&mut self, partition: Partition, name: &MemberName) {
        self.lost[usize::from(partition)].get_or_insert_with(|| name.clone());
    }

    /// Which member of this side holds a partition that one of another side holds as well.
    pub(super) fn beside(&self, partition: Partition) -> Option<&MemberName> {
        self.beside.get(&partition)
    }

    pub(super) fn set_beside(&mut self, partition: Partition, name: MemberName) {
        self.beside.insert(partition, name);
    }

    pub(super) fn forget_beside(&mut self, partition: Partition) {
        self.beside.remove(&partition);
    }

    /// The sides are one again.
    pub(super) fn forget_all_beside(&mut self) {
        self.beside.clear();
    }
}
