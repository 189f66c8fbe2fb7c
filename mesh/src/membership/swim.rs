//! foca, with what it asks for and what it does not tell of itself.

use std::time::Duration;

use bytes::Bytes;
use foca::{AccumulatingRuntime, Error, Foca, Member, NoCustomBroadcast, OwnedNotification, State, Timer};
use rand::rngs::StdRng;

use super::codec::WireCodec;
use super::config::Config;
use statemesh_protocol::hash::mix;
use statemesh_protocol::identity::Identity;

pub(super) struct Swim {
    foca: Foca<Identity, WireCodec, StdRng, NoCustomBroadcast>,
    runtime: AccumulatingRuntime<Identity>,
    /// foca's current timer token, without which its deadlines can't be set from outside.
    token: u8,
    /// For how many members foca is configured.
    configured_for: usize,
}

impl Swim {
    pub(super) fn new(me: Identity, config: &Config, rng: StdRng, codec: WireCodec) -> Self {
        let foca = Foca::new(me, config.foca(1), rng, codec);
        Self { foca, runtime: AccumulatingRuntime::new(), token: 0, configured_for: 1 }
    }

    /// This member, as it is known now.
    pub(super) fn me(&self) -> &Identity {
        self.foca.identity()
    }

    /// How many others are alive or suspect.
    pub(super) fn live(&self) -> usize {
        self.foca.num_members()
    }

    /// Others that are alive or suspect.
    pub(super) fn members(&self) -> impl Iterator<Item = &Member<Identity>> {
        self.foca.iter_members()
    }

    pub(super) fn suspects(&self) -> impl Iterator<Item = &Member<Identity>> {
        self.members().filter(|member| member.state() == State::Suspect)
    }

    /// All others that are known, those that are down included.
    pub(super) fn all(&self) -> impl Iterator<Item = &Member<Identity>> {
        self.foca.iter_membership_state()
    }

    /// The same for all members that hold the same processes, in their newest revisions, for live.
    pub(super) fn digest(&self) -> u64 {
        self.members().map(Member::id).chain(std::iter::once(self.me())).fold(0, |sum, id| {
            let version = mix(id.incarnation ^ mix(u64::from(id.revision)));
            sum ^ mix(id.name.hash64() ^ version)
        })
    }

    pub(super) fn datagram(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.foca.handle_data(bytes, &mut self.runtime)
    }

    pub(super) fn timer(&mut self, timer: Timer<Identity>) -> Result<(), Error> {
        self.foca.handle_timer(timer, &mut self.runtime)
    }

    /// Takes in what others know.
    pub(super) fn apply(&mut self, members: impl Iterator<Item = Member<Identity>>) -> Result<(), Error> {
        self.foca.apply_many(members, true, &mut self.runtime)
    }

    pub(super) fn change_identity(&mut self, next: Identity) -> Result<(), Error> {
        self.foca.change_identity(next, &mut self.runtime)
    }

    pub(super) fn leave(&mut self) -> Result<(), Error> {
        self.foca.leave_cluster(&mut self.runtime)
    }

    /// What it wants to be sent next.
    pub(super) fn next_datagram(&mut self) -> Option<(Identity, Bytes)> {
        self.runtime.to_send()
    }

    /// The next timer that it wants to be set.
    pub(super) fn next_timer(&mut self) -> Option<(Duration, Timer<Identity>)> {
        let scheduled = self.runtime.to_schedule();
        if let Some((_, Timer::ProbeRandomMember(token))) = &scheduled {
            self.token = *token;
        }
        scheduled
    }

    /// What it tells next.
    pub(super) fn next_notification(&mut self) -> Option<OwnedNotification<Identity>> {
        self.runtime.to_notify()
    }

    /// The timer that ends a suspicion.
    pub(super) fn end_of_suspicion(&self, suspect: &Member<Identity>) -> Timer<Identity> {
        Timer::ChangeSuspectToDown {
            member_id: suspect.id().clone(),
            incarnation: suspect.incarnation(),
            token: self.token,
        }
    }

    /// Whether it is the end of a suspicion that was refuted. foca 2.0.0 declares no member dead then, but tells the member that it
    /// did, which makes it take a new identity for no reason, to which no member speaks until the news has come around.
    pub(super) fn is_over(&self, timer: &Timer<Identity>) -> bool {
        let Timer::ChangeSuspectToDown { member_id, incarnation, .. } = timer else { return false };
        let suspect = Member::new(member_id.clone(), *incarnation, State::Suspect);
        !self.members().any(|member| *member == suspect)
    }

    /// Suspicion and news last longer in a larger mesh.
    pub(super) fn reconfigure(&mut self, config: &Config) {
        let members = self.live() + 1;
        if members != self.configured_for && self.foca.set_config(config.foca(members)).is_ok() {
            self.configured_for = members;
        }
    }
}
