//! What other threads tell this reactor.

use statemesh_transport::Io;

use super::Worker;
use crate::command::Command;
use crate::forward::ReplyTo;

/// Commands taken in one turn, so that a flood of them does not starve the connections.
const PER_TURN: usize = 4_096;

impl Worker {
    pub(super) fn take_commands(&mut self, io: &mut Io) {
        for (reactor, command) in std::mem::take(&mut self.overflow) {
            self.tell(reactor, command);
        }
        for message in std::mem::take(&mut self.control_overflow) {
            self.tell_control(message);
        }
        for parked in std::mem::take(&mut self.not_held) {
            self.ask_again(&parked.waiting, io);
        }
        for _ in 0..PER_TURN {
            let Some(command) = self.shared.next_command(self.index) else {
                return;
            };
            self.command(command, io);
        }
        // More may wait: come back at once.
        self.shared.wake(self.index);
    }

    fn command(&mut self, command: Command, io: &mut Io) {
        match command {
            Command::Reply { correlation, reply, error } => {
                if let Some(count) = error.and_then(|code| self.counters.errors.get(code as usize)) {
                    count.add(1);
                }
                self.answered(correlation, &reply, io);
            }
            Command::Replies(replies) => self.all_answered(&replies, io),
            Command::Call { request, answer } => {
                let caller = self.callers.insert(answer);
                self.frame(&request, ReplyTo::Caller(caller), io);
            }
            Command::Route { partition, to } => self.route(partition, to, io),
            Command::Unroute { partition } => self.router.unroute(partition),
            Command::Member { member, address } => self.peers.member(member, address, self.now, io),
            Command::MemberGone { member } => self.member_gone(member, io),
            Command::Send { member, frame } => {
                if !self.peers.send(member, None, &frame, self.now, io) {
                    tracing::debug!(member, "a control message was dropped: the member is unknown or its link is full");
                }
            }
            Command::Transfer { partition, to } => self.transfer(partition, to, io),
            Command::Unlink { member } => self.unlink(member, io),
            Command::Expect { partition, merge } => {
                self.with_shard(partition, io, |state, _| state.expect(partition, merge))
            }
            Command::Discard { partition } => self.with_shard(partition, io, |state, _| state.discard(partition)),
            Command::Forget { partition } => self.with_shard(partition, io, |state, _| state.forget(partition)),
            Command::TakeBack { partition } => {
                self.with_shard(partition, io, |state, run| state.take_back(partition, run))
            }
            Command::TakeOver { partition, lost } => {
                self.with_shard(partition, io, |state, run| state.take_over(partition, &lost, run));
            }
            Command::Serve { partition } => self.with_shard(partition, io, |state, run| state.serve(partition, run)),
            Command::Publish(change) => self.subscribers.publish(&change, io),
            Command::ClientsChanged => self.clients_changed(io),
            Command::PeerKeysChanged => self.peer_keys_changed(io),
            Command::Stop => self.stopping = true,
        }
    }
}
