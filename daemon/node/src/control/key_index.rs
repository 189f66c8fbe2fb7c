//! Key indexes: whom this daemon tells which keys exist here, and what others told it (`statemesh_mesh::key_index`).
//!
//! A reactor tells a new key in the same turn in which it answers the request that created it ([`crate::worker`]). The control
//! plane tells the rest: everything of a partition, before it is served here; and everything that is here, to one of the standbys
//! that is new or has a new link, a little in each turn.

use std::time::Instant;

use statemesh_mesh::key_index::{self, FRAME_BYTES, KeyIndex, LostKey, PART_BYTES};
use statemesh_mesh::ownership;
use statemesh_protocol::identity::MemberName;
use statemesh_protocol::key_index::Told;
use statemesh_protocol::peer::PeerMessage;
use statemesh_protocol::peer::frame::PeerFrame;
use statemesh_protocol::peer::ownership::OwnershipMessage;
use statemesh_shard::KnownKeys;

use super::Control;
use crate::mailbox::Command;

/// Bytes of keys that are told in one turn: making them takes some milliseconds.
const BYTES_PER_TURN: usize = PART_BYTES;

/// Key indexes, and how far they are told.
#[derive(Debug)]
pub(super) struct Keys {
    pub(super) index: KeyIndex,
    /// More is to be told of keys than one turn should.
    pub(super) telling_at: Option<Instant>,
}

impl Keys {
    /// None. At most so many keys of others are kept.
    pub(super) fn new(max: usize) -> Self {
        Self { index: KeyIndex::new(max), telling_at: None }
    }
}

impl Control {
    /// Takes in keys that a member told: its own, or those that it was told of (`relayed`).
    pub(super) fn told_keys(&mut self, from: &MemberName, relayed: bool, body: &[u8], now: Instant) {
        if !self.membership.member(from).is_some_and(|known| known.status.is_live()) {
            // It was read before the link was closed: what a process told that is gone by now would never end.
            return;
        }
        let told = if relayed {
            self.keys.index.relayed(body, |partition| self.ownership.gathers(partition))
        } else {
            self.keys.index.tell(from, body)
        };
        if let Err(error) = told {
            tracing::warn!(member = %from, %error, "malformed keys");
        }
        self.index_changed(now);
    }

    /// Ownership has to know of which partitions keys are known.
    pub(super) fn index_changed(&mut self, now: Instant) {
        if let Some(indexed) = self.keys.index.changed() {
            self.own(ownership::Input::Indexed(indexed), now);
        }
    }

    /// What of a partition without a holder is lost, or may be older here.
    pub(super) fn take_keys(&mut self, partition: u16, from: Option<&MemberName>) -> Vec<LostKey> {
        let (lost, partial) = self.keys.index.take(partition);
        if partial {
            let owner = from.map_or("unknown", MemberName::as_str);
            tracing::warn!(partition, owner, "not all keys were known: some instances may be lost without being named");
        }
        self.warn_of_lost(partition, &lost, from);
        lost
    }

    /// Says in the log how many instances of a partition are lost.
    pub(super) fn warn_of_lost(&self, partition: u16, lost: &[LostKey], from: Option<&MemberName>) {
        let owner = from.map_or("unknown", MemberName::as_str);
        let instances = lost.iter().filter(|key| !key.before).count();
        if instances > 0 {
            tracing::warn!(partition, instances, owner, "instances were lost with their owner, or are older here");
        }
    }

    /// The mesh has changed: where another member is a standby now, it is told everything.
    pub(super) fn refresh_standbys(&mut self) {
        for partition in 0..self.shared.options.partitions {
            self.refresh_standbys_of(partition);
        }
        self.follow_key_index();
    }

    /// This daemon is about to serve a partition: its standbys are told first.
    pub(super) fn tell_standbys(&mut self, partition: u16) {
        self.keys.index.forget(partition, self.ownership.beside(partition));
        self.refresh_standbys_of(partition);
        self.keys.index.tell_first(partition);
        self.follow_key_index();
    }

    fn refresh_standbys_of(&mut self, partition: u16) {
        let here = self.ownership.has_copy(partition);
        let me = &self.membership.me().name;
        let in_reach = |name: &MemberName| !self.membership.is_out_of_reach(name);
        let standbys = key_index::standbys(self.ownership.view(), partition, me, in_reach).filter(|_| here);
        let standbys: Vec<MemberName> = standbys.cloned().collect();
        let members: Vec<u32> = standbys.iter().map(|name| self.members.number(name)).collect();
        // Reactors tell new keys there before all others are read.
        self.shared.mesh.standbys.set(partition, &members);
        self.keys.index.set_standbys(partition, standbys.iter());
    }

    /// Tells members more of what they are to know, as much as one turn should.
    pub(super) fn go_on_telling(&mut self, now: Instant) {
        let mut bytes = self.follow_key_index();
        while bytes < BYTES_PER_TURN && self.keys.index.go_on() {
            bytes += self.follow_key_index();
        }
        self.keys.telling_at = (bytes >= BYTES_PER_TURN).then_some(now);
    }

    /// Does what the key index asks for. Gives how many bytes of keys that sent.
    pub(super) fn follow_key_index(&mut self) -> usize {
        let mut bytes = 0;
        while let Some(output) = self.keys.index.poll() {
            self.reports.decided("key-index", output.name());
            match output {
                key_index::Output::Send { to, message } => {
                    let member = self.members.number(&to);
                    self.send(member, &PeerMessage::Index(message));
                }
                key_index::Output::Tell { partition, to } => {
                    let sent = self.tell_all_keys(partition, &to);
                    self.keys.index.sent(&to, sent);
                    bytes += sent;
                }
                key_index::Output::Relay { to, body } => {
                    let member = self.members.number(&to);
                    bytes += body.len();
                    self.send_frame(member, &PeerFrame::RelayedKeys(&body));
                }
                key_index::Output::Told { to, set, whole } => {
                    let (member, message) = self.ownership_message(&to, OwnershipMessage::Told { set, whole });
                    self.send(member, &message);
                }
            }
        }
        bytes
    }

    /// Gives how many bytes they are.
    fn tell_all_keys(&mut self, partition: u16, to: &MemberName) -> usize {
        let member = self.members.number(to);
        let KnownKeys { number, keys } = self.shared.shards.of(partition).claim().known_keys(partition);
        let (mut body, mut bytes) = (Vec::new(), 0);
        Told::All { partition, number }.encode(&mut body);
        for key in keys {
            key.encode(partition, number, &mut body);
            if body.len() >= FRAME_BYTES {
                bytes += body.len();
                self.send_frame(member, &PeerFrame::Keys(&std::mem::take(&mut body)));
            }
        }
        if !body.is_empty() {
            bytes += body.len();
            self.send_frame(member, &PeerFrame::Keys(&body));
        }
        bytes
    }

    fn send_frame(&mut self, member: u32, frame: &PeerFrame<'_>) {
        let mut bytes = Vec::new();
        frame.encode(&mut bytes);
        self.outbox.tell(0, Command::Send { member, frame: bytes });
    }
}
