//! Rosters: which keys exist where, told to the member that is next in line for their partition, so that after the death of
//! an owner it can be said exactly which instances went with it.
//!
//! A reactor tells a new key in the same turn in which it answers the request that created it ([`crate::worker`]). Here is
//! the rest: who is next in line, what a member is told when it becomes that, and what this daemon was told.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use statemesh_expr::Str;
use statemesh_mesh::identity::MemberName;

use super::Control;
use crate::command::Command;
use crate::peer_wire::PeerFrame;
use crate::shard::Fresh;
use crate::transfer::{Input, put_bytes};

/// Bytes of one roster frame.
pub(crate) const FRAME_BYTES: usize = 64 * 1024;
/// Keys remembered for other members. Beyond it, what is lost with them is not reported by name.
const MAX_KEYS: usize = 10_000_000;

/// Machine and key, each once.
type Keys = HashSet<(Arc<str>, Str)>;

/// Keys of other members, by partition, and whom to tell ours.
#[derive(Debug)]
pub(super) struct Rosters {
    by_partition: HashMap<u16, Keys>,
    keys: usize,
    names: HashSet<Arc<str>>,
    next_in_line: Vec<Option<MemberName>>,
}

impl Rosters {
    pub(super) fn new(partitions: u16) -> Self {
        Self {
            by_partition: HashMap::new(),
            keys: 0,
            names: HashSet::new(),
            next_in_line: vec![None; usize::from(partitions)],
        }
    }

    /// The partition is served by somebody who can speak for itself.
    pub(super) fn forget(&mut self, partition: u16) {
        self.take(partition);
    }

    /// Takes the keys that are known to exist in a partition.
    pub(super) fn take(&mut self, partition: u16) -> Vec<Fresh> {
        let keys = self.by_partition.remove(&partition).unwrap_or_default();
        self.keys -= keys.len();
        keys.into_iter().map(|(machine, key)| Fresh { partition, machine, key }).collect()
    }

    fn add(&mut self, partition: u16, machine: &str, key: &str) {
        if self.keys >= MAX_KEYS {
            return;
        }
        let machine = match self.names.get(machine) {
            Some(known) => Arc::clone(known),
            None => {
                let name: Arc<str> = machine.into();
                self.names.insert(Arc::clone(&name));
                name
            }
        };
        if self.by_partition.entry(partition).or_default().insert((machine, key.into())) {
            self.keys += 1;
        }
    }
}

impl Control {
    /// Takes in what a member told of its keys.
    pub(super) fn roster(&mut self, member: u32, body: &[u8]) {
        let mut input = Input::new(body);
        while !input.is_empty() {
            let read = input
                .array::<2>()
                .and_then(|partition| Ok((u16::from_le_bytes(*partition), input.text()?, input.text()?)));
            match read {
                Ok((partition, machine, key)) => self.rosters.add(partition, machine, key),
                Err(error) => return tracing::warn!(member, %error, "malformed roster"),
            }
        }
    }

    /// Tells the member next in line all keys of a partition.
    fn tell_all_keys(&mut self, partition: u16, member: u32) {
        let keys = self.shared.shards.of(partition).claim().keys(partition);
        let mut body = Vec::new();
        for fresh in keys {
            write_key(&mut body, &fresh);
            if body.len() >= FRAME_BYTES {
                self.send_roster(member, &std::mem::take(&mut body));
            }
        }
        if !body.is_empty() {
            self.send_roster(member, &body);
        }
    }

    fn send_roster(&mut self, member: u32, body: &[u8]) {
        let mut frame = Vec::with_capacity(body.len() + 1);
        PeerFrame::Roster(body).encode(&mut frame);
        self.outbox.tell(0, Command::Send { member, frame });
    }

    /// There is a link to a member: it is told what it has to know as the next in line.
    pub(super) fn tell_keys_to(&mut self, name: &MemberName, member: u32) {
        for partition in 0..self.shared.options.partitions {
            if self.rosters.next_in_line.get(usize::from(partition)).is_some_and(|next| next.as_ref() == Some(name)) {
                self.tell_all_keys(partition, member);
            }
        }
    }

    /// The mesh has changed: where another member is next in line now, it is told everything anew, and rosters that are no
    /// longer this daemon's business are forgotten.
    pub(super) fn refresh_rosters(&mut self) {
        let me = self.membership.me().name.clone();
        for partition in 0..self.shared.options.partitions {
            let holder = self.ownership.holder(partition).cloned();
            let next = self.ownership.view().ranking(partition).find(|name| Some(*name) != holder.as_ref()).cloned();
            let held = holder.as_ref() == Some(&me);
            let ours = if held { next.clone() } else { None };
            let Some(known) = self.rosters.next_in_line.get_mut(usize::from(partition)) else {
                continue;
            };
            if *known != ours {
                known.clone_from(&ours);
                let member = ours.map(|name| self.number(&name));
                self.shared.set_next_in_line(partition, member);
                if let Some(member) = member {
                    self.tell_all_keys(partition, member);
                }
            }
            // Without a holder the roster may be about to be needed.
            if holder.is_some() && next.as_ref() != Some(&me) && !held {
                self.rosters.forget(partition);
            }
        }
    }
}

/// Appends one key to a roster's body.
pub(crate) fn write_key(body: &mut Vec<u8>, fresh: &Fresh) {
    body.extend_from_slice(&fresh.partition.to_le_bytes());
    put_bytes(body, fresh.machine.as_bytes());
    put_bytes(body, fresh.key.as_bytes());
}
