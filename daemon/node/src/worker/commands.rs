//! What other threads tell this reactor.

use std::collections::BTreeMap;

use statemesh_transport::Io;

use super::context::Arrived;
use super::{Ending, Worker};
use crate::mailbox::Command;

/// Commands taken in one turn, so that a flood of them does not starve the connections.
const PER_TURN: usize = 4_096;

impl Worker {
    pub(super) fn take_commands(&mut self, io: &mut Io) {
        self.outgoing.flush(&self.shared);
        for _ in 0..PER_TURN {
            let Some(command) = self.shared.reactors.next_command(self.index) else {
                return;
            };
            self.command(command, io);
        }
        // More may wait: come back at once.
        self.shared.reactors.wake(self.index);
    }

    /// How often other threads told it what, by the names of its kinds.
    #[must_use]
    pub fn commands(&self) -> &BTreeMap<&'static str, u64> {
        &self.commands
    }

    fn command(&mut self, command: Command, io: &mut Io) {
        *self.commands.entry(command.name()).or_default() += 1;
        match command {
            Command::Reply { correlation, reply, error } => {
                if let Some(count) = error.and_then(|code| self.counters.errors.get(code as usize)) {
                    count.add(1);
                }
                self.answered(correlation, &reply, io);
            }
            Command::Wake { waiter } => self.wake_waiter(waiter),
            Command::Replies(replies) => self.all_answered(&replies, io),
            Command::Call { request, answer } => {
                let caller = self.clients.called(answer);
                self.frame(request.bytes(), &Arrived::here(caller, self.time.now), io);
            }
            Command::Route { partition, to } => {
                self.partitions.withdraw(partition);
                self.delivery.switch(partition, to);
            }
            Command::Unroute { partition } => self.delivery.unroute(partition),
            Command::Member { member, address } => {
                self.links.to.member(member, address, self.time.now, io);
                self.delivery.look_again_at(member);
            }
            Command::MemberGone { member, greeting } => self.member_gone(member, greeting, io),
            Command::Send { member, frame } => self.say(member, frame, io),
            Command::SendKeys { member, frame } => self.say_now(member, &frame, io),
            Command::SendBehind(behind) => self.partitions.deferred.behind(behind, self.delivery.last_sent()),
            Command::HandOff { partition, .. }
            | Command::Receive { partition, .. }
            | Command::Suspend { partition }
            | Command::Discard { partition }
            | Command::Release { partition }
            | Command::Reopen { partition, .. }
            | Command::Mourn { partition, .. }
            | Command::Adopt { partition, .. }
            | Command::Serve { partition } => self.decided(partition, command, io),
            Command::Lease { until_ms, orders } => self.prolong(until_ms, orders),
            Command::Supersede { member, lane, greeting } => self.supersede(member, lane, greeting, io),
            Command::Unlink { member } => self.unlink(member, io),
            Command::Doubt => self.doubt(io),
            Command::ClientsChanged => self.clients_changed(io),
            Command::PeerKeysChanged => self.peer_keys_changed(io),
            Command::Close => {
                self.ending = Ending::Closing;
                // Else they would be asked after all the time, and each question is a request that is under way.
                self.end_all_waits(io);
            }
            Command::Stop => {
                self.end_all_waits(io);
                self.end_all_requests(io);
                self.ending = Ending::Over;
            }
        }
    }
}
