//! What can happen to a copy: what its shell tells it.

use std::sync::Arc;

use statemesh_protocol::identity::MemberName;

use super::config::{Configuration, Replica};
use super::message::{Entry, Envelope, Position};
use super::vote::Ballot;

/// What can happen to a group. What the shell asks of a leader are methods: [`Group::propose`](super::group::Group::propose),
/// [`Group::reconfigure`](super::group::Group::reconfigure), [`Group::transfer`](super::group::Group::transfer).
#[derive(Clone, Debug)]
pub enum Input {
    /// A message came.
    Message(Envelope),
    /// This write and all before it are durable.
    Durable(u64),
    /// The deadline has come.
    Tick,
    /// This member is not heard any more: its link broke, or is silent (`liveness.rs`).
    Lost(MemberName),
    /// This member is heard again.
    Heard(MemberName),
    /// Something that was sent to this member may not have come: a link was full. It is said once, however much was lost, and when there is
    /// room again.
    Missed(MemberName),
    /// Images for this follower were sent, or could not be.
    ImagesEnded(Replica),
    /// Ask for votes without pre-votes: the first leader of a place that was just born.
    Campaign,
    /// What is on the disk is not what was acknowledged. Nothing is promised any more in this life.
    Damaged,
    /// Images were made durable here, and take the place of what this copy had applied.
    Installed(Images),
}

/// What a copy needs to know of images that a leader sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Images {
    /// The leader's term when it knew that they are committed.
    pub term: u64,
    /// The last entry that they have.
    pub position: Position,
    /// The configuration at that entry.
    pub configuration: Arc<Configuration>,
}

/// What a copy was, from its journal.
#[derive(Clone, Debug)]
pub struct Restored {
    /// Term and vote.
    pub ballot: Ballot,
    /// What checkpoints have.
    pub base: Position,
    /// The configuration at the base.
    pub configuration: Arc<Configuration>,
    /// The entries behind it.
    pub entries: Vec<Entry>,
    /// An index that is known to be committed.
    pub commit: u64,
    /// This life was given up, or never began.
    pub gave_up: bool,
}
