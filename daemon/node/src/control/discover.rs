//! Looking for other members: the plan of [`statemesh_mesh::discovery`], whose questions the shell asks.

use std::net::SocketAddr;
use std::time::Instant;

use statemesh_mesh::discovery::{self, Config, Records};
use statemesh_mesh::membership;

use super::{Control, Output, Unanswered};
use crate::options::Options;

/// Where this daemon looks, whose own gossip address is `own`.
pub(super) fn config(options: &Options, own: SocketAddr) -> Config {
    let (service, seeds) = (options.discovery.service.clone(), options.discovery.seeds.clone());
    Config::new(service, options.listen.gossip.port(), seeds, own)
}

impl Control {
    /// What came of the question that was asked.
    pub(super) fn answered(&mut self, answer: Result<Records, Unanswered>, now: Instant) {
        let input = answer.map_or(discovery::Input::Failed, discovery::Input::Answer);
        self.discovery.handle(input, now);
    }

    /// Goes on with the plan, which depends on whether this daemon has joined and knows others, and tries the addresses that it found.
    pub(super) fn look_for_members(&mut self, now: Instant) {
        self.discovery.handle(discovery::Input::Joined(self.joining.joined && self.membership.live() > 0), now);
        self.discovery.handle(discovery::Input::Tick, now);
        while let Some(output) = self.discovery.poll() {
            match output {
                discovery::Output::Ask(question) => self.outbox.put(Output::Ask(question)),
                discovery::Output::Found(seeds) => {
                    self.gossip.rejections.asks(&seeds);
                    self.membership.handle(membership::Input::Join { seeds }, now);
                    self.follow_membership(now);
                }
            }
        }
    }
}
