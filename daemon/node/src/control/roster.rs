//! Rosters: which keys exist where, told to the member that is next in line for their partition, so that after the death of
//! an owner it can be said exactly which instances went with it.
//!
//! They are told every hundred milliseconds, off the path of events: an instance that came into being within the last tenth
//! of a second before its owner died is not reported.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Instant;

use statemesh_mesh::identity::MemberName;

use super::{Control, ROSTER_PERIOD};
use crate::command::Command;
use crate::peer_wire::PeerFrame;
use crate::shard::Fresh;
use crate::transfer::{Input, put_bytes};

/// Bytes of one roster frame.
const FRAME_BYTES: usize = 64 * 1024;
/// Keys remembered for other members. Beyond it, what is lost with them is not reported by name.
const MAX_KEYS: usize = 10_000_000;

/// Machine and key, each once.
type Keys = HashSet<(Arc<str>, Box<str>)>;

/// Keys of other members, by partition, and whom to tell ours.
#[derive(Debug)]
pub(super) struct Rosters {
    by_partition: HashMap<u16, Keys>,
    keys: usize,
    names: HashSet<Arc<str>>,
    next_in_line: Vec<Option<MemberName>>,
    sent_at: Option<Instant>,
}

impl Rosters {
    pub(super) fn new(partitions: u16) -> Self {
        Self {
            by_partition: HashMap::new(),
            keys: 0,
            names: HashSet::new(),
            next_in_line: vec![None; usize::from(partitions)],
            sent_at: None,
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

    /// Tells what came into being here.
    pub(super) fn send_rosters(&mut self, now: Instant) {
        if self.rosters.sent_at.is_some_and(|at| now < at + ROSTER_PERIOD) {
            return;
        }
        self.rosters.sent_at = Some(now);
        let mut frames: HashMap<u32, Vec<u8>> = HashMap::new();
        let shared = Arc::clone(&self.shared);
        for shard in shared.shards.iter() {
            let fresh = shard.claim().take_fresh();
            for fresh in fresh {
                let next = self.rosters.next_in_line.get(usize::from(fresh.partition)).cloned().flatten();
                let Some(next) = next else { continue };
                let member = self.number(&next);
                let body = frames.entry(member).or_default();
                body.extend_from_slice(&fresh.partition.to_le_bytes());
                put_bytes(body, fresh.machine.as_bytes());
                put_bytes(body, fresh.key.as_bytes());
                if body.len() >= FRAME_BYTES {
                    let body = std::mem::take(body);
                    self.send_roster(member, &body);
                }
            }
        }
        for (member, body) in frames {
            if !body.is_empty() {
                self.send_roster(member, &body);
            }
        }
    }

    fn send_roster(&mut self, member: u32, body: &[u8]) {
        let mut frame = Vec::with_capacity(body.len() + 1);
        PeerFrame::Roster(body).encode(&mut frame);
        self.outbox.tell(0, Command::Send { member, frame });
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
                if ours.is_some() {
                    self.shared.shards.of(partition).claim().refresh(partition);
                }
            }
            // Without a holder the roster may be about to be needed.
            if holder.is_some() && next.as_ref() != Some(&me) && !held {
                self.rosters.forget(partition);
            }
        }
    }
}
