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
        for command in std::mem::take(&mut self.retry) {
            self.command(command, io);
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
            Command::Reply { correlation, reply } => self.answered(correlation, &reply, io),
            Command::Bounced { correlation } => self.answered(correlation, &[], io),
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
            Command::Transfer { partition, to } => self.transfer_or_retry(partition, to, io),
            Command::Publish(change) => self.subscribers.publish(&change, io),
            Command::Stop => self.stopping = true,
        }
    }
}
