//! Who serves which partition: without a coordinator, and exactly once in planned changes.
//!
//! # The protocol
//! 1. **The holder decides when to hand over; a would-be owner takes only what no member holds.** A member whose view says that
//!    another owns a partition that it holds *offers* it there. The other accepts, the holder freezes the partition, sends it
//!    ([`Output::HandOff`]) and forwards behind it, on the same ordered link, whatever still arrives. It drops its copy
//!    when it is told that the other has *installed* it. Every hand-off has a number: what is said of one, and the parts of one,
//!    never count for another, and whether one arrived is asked and answered by number. That the other holds the partition
//!    proves nothing: it may have held a copy of its own before.
//! 2. A member whose view says that it owns a partition that it does not hold asks all members that it can. If one holds it (or
//!    is being given it) it waits to be offered it. It takes the partition when every live member has answered that no
//!    member does. A member that was told of a holder which then denied it asks once more: the answer of a member that handed a
//!    partition on is only as new as the next holder's.
//! 3. Of members that claim at once, the one that rendezvous hashing prefers goes on. Members remember a claim for
//!    [`Settings::claim_memory`] and tell a second claimant, which waits if it does not know the first.
//! 4. A member that takes or installs a partition says so to all ([`OwnershipMessage::Serving`]), and two members that meet
//!    exchange what they hold. So all know holders rather than guess them, and a claimant learns which member died with what.
//! 5. After a network partition both sides may hold a partition. The view of the healed mesh has one owner: others offer it
//!    theirs as in 1, and it merges key by key ([`Output::Receive`] with `merge`). The copy of the *side* that counted more
//!    members of the last common view wins, see `sides.rs`.
//! 6. A leaving member that has handed everything over tells everyone, and goes when all have confirmed that they route no
//!    events to it any more. Links keep order, so by then it has passed on, and answered, all that were on the way to it.
//! 7. A member that was taken for dead, or was paused, *doubts* its copies ([`Input::Doubt`], `doubt.rs`): it serves none before
//!    every live member has said that it holds no other. If one does, the two are merged there, or when it offers its own.
//!    The same is done with a copy whose new holder died before it said that it had installed it.
//! 8. A holder tells a standby which keys a partition has (`key_index`). A member that begins to serve what no member holds
//!    first fetches the keys from every member that was told any, so that what is lost can be named.
//! 9. What a member did on one side of a network partition, and died with before the sides met, is said to the holder on the other
//!    side by the members that knew its keys (`mourn.rs`).
//!
//! # Guarantees
//! While all members of the mesh are connected and see each other as alive, a partition has at most one member that serves
//! it, and no accepted event is lost or applied twice by joins and planned leaves. After a crash, what the dead member held is
//! taken afresh by its owner, which is told which member died ([`Output::Adopt`]), after all that is known of its keys has come.
//!
//! # Assumptions
//! Messages between two processes arrive in order while a link lives ([`Input::LinkUp`] to [`Input::LinkDown`]); whatever was
//! under way when it ends may or may not have arrived. The shell reports a link's end before it reports its successor. It closes
//! the link to a member that is reported dead; that member's next link is a new one, greeted anew. The link to a member that left
//! it lets end by itself: the last answers may still be on it when gossip already says that the member is gone.
//!
//! # Caveats
//! No member that is alive is passed over: what a member claims waits until each live one has answered, however long a link to it
//! takes to come about, or has died. A time after which to go on without it would serve partitions twice whenever links take
//! longer than that, as on a network that loses the first packets of TCP. So a member that gossip reaches and links do not, behind
//! a firewall, keeps others from taking anything: they say so, and what is held is served meanwhile.

mod arrivals;
mod claims;
mod doubt;
mod events;
mod gather;
mod handoff;
mod holders;
mod mourn;
mod outbox;
mod peers;
mod review;
mod sides;
mod slots;
mod told_keys;
mod unheard;

use std::time::{Duration, Instant};

use statemesh_protocol::hash::Partition;
use statemesh_protocol::identity::MemberName;
use statemesh_protocol::partition_set::PartitionSet;
use statemesh_protocol::peer::ownership::OwnershipMessage;

use crate::view::View;
use arrivals::Arrivals;
use claims::Claims;
pub use events::{Input, Output, Reason, Target};
use holders::Holders;
use outbox::Outbox;
use peers::Peers;
use review::Review;
use sides::Sides;
pub use sides::Winner;
use slots::{Copy, Slot, Slots, Stage};
use told_keys::ToldKeys;
use unheard::Unheard;

/// How often one input may call for further offers and claims before the rest waits for the next tick.
const MAX_PASSES: usize = 4;

/// Bits of the numbers that one process gives: the milliseconds of its start are above them. More than a million in each
/// millisecond would be needed to come across those of the next process.
const IDS_OF_A_LIFE: u32 = 20;

/// Bounds and times of ownership, each a name that documentation and metrics use.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Partitions on offer or under way to one member at a time.
    pub transfers_per_peer: usize,
    /// How long a claim of another member is remembered.
    pub claim_memory: Duration,
    /// How long after an offer was declined, or a claim came to nothing, until the next try.
    pub retry: Duration,
    /// How often an owner that waits to be handed a partition checks that its holder still has it.
    pub recheck: Duration,
    /// How long a member that was taken for dead counts for the other side after it came back: merges are over by then.
    pub reunion: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            transfers_per_peer: 16,
            claim_memory: Duration::from_secs(1),
            retry: Duration::from_millis(100),
            recheck: Duration::from_secs(1),
            reunion: Duration::from_secs(60),
        }
    }
}

/// How far this member is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// It claims nothing yet.
    Waiting,
    Active,
    Leaving {
        /// How often it began to hold nothing.
        drained: u64,
    },
}

/// A member's part of the protocol. See the module.
#[derive(Debug)]
pub struct Ownership {
    me: MemberName,
    settings: Settings,
    view: View,
    phase: Phase,
    peers: Peers,
    slots: Slots,
    holders: Holders,
    claims: Claims,
    arrivals: Arrivals,
    told: ToldKeys,
    sides: Sides,
    unheard: Unheard,
    review: Review,
    /// The last id or number that was given. No process of this name gave it before.
    last_id: u64,
    out: Outbox,
}

impl Ownership {
    /// A member that holds nothing and takes nothing until [`Input::Activate`]. A process has a larger `incarnation` than those
    /// of the same name before it.
    #[must_use]
    pub fn new(me: MemberName, incarnation: u64, partitions: u16, settings: Settings) -> Self {
        let mut view = View::new(partitions);
        view.set(&me, true);
        Self {
            me,
            phase: Phase::Waiting,
            peers: Peers::default(),
            slots: Slots::new(view.partitions()),
            holders: Holders::new(view.partitions()),
            claims: Claims::default(),
            arrivals: Arrivals::default(),
            told: ToldKeys::default(),
            sides: Sides::new(settings.reunion),
            unheard: Unheard::default(),
            review: Review::new(settings.retry, settings.recheck),
            last_id: incarnation << IDS_OF_A_LIFE,
            out: Outbox::default(),
            settings,
            view,
        }
    }

    /// Takes in what happened; [`Ownership::poll`] gives what follows from it.
    pub fn handle(&mut self, input: Input, now: Instant) {
        self.sides.forget(now);
        if self.sides.is_marked() && !self.slots.are_merging() && !self.receives_from_apart() {
            self.sides.settle(now);
        }
        if !self.sides.is_marked() {
            self.holders.forget_all_beside();
        }
        match input {
            Input::Activate => self.activate(),
            Input::MemberUp { name, incarnation, placeable } => self.member_up(&name, incarnation, placeable, now),
            Input::MemberDown { name, left } => self.member_down(&name, left, now),
            Input::Doubt(reason) => self.maybe_doubt(reason, now),
            Input::Indexed(indexed) => self.told.update(indexed),
            Input::Leave => self.leave(),
            Input::LinkUp(name) => self.link_up(&name, now),
            Input::LinkDown(name) => self.link_down(&name),
            Input::Message { from, message } => self.message(&from, message, now),
            Input::Unreadable { partition, number, from } => self.refuse(partition, number, &from),
            Input::HandedOff { partition, number } => self.slots.sent(partition, number),
            Input::Received { partition, number, from } => self.installed(partition, number, &from, now),
            Input::Misrouted { partition, from } => self.misrouted(partition, &from),
            Input::Tick => {}
        }
        self.settle(now);
        self.out.announce(self.peers.linked());
        self.say_drained();
        self.report_routes();
    }

    /// The next thing to do.
    pub fn poll(&mut self) -> Option<Output> {
        self.out.pop()
    }

    /// When [`Input::Tick`] is due.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        self.review.next_deadline().into_iter().chain(self.unheard.next_deadline()).min()
    }

    /// This member's view.
    #[must_use]
    pub fn view(&self) -> &View {
        &self.view
    }

    /// Where an event for a partition goes now.
    #[must_use]
    pub fn target(&self, partition: Partition) -> Target {
        match self.slots.get(partition) {
            Some(Slot::Held | Slot::Offered { doubtful: false, .. } | Slot::Receiving { copy: Copy::Served, .. }) => {
                Target::Local
            }
            Some(Slot::Sending { to, stage: Stage::Behind, .. }) => Target::Forward(to.clone()),
            Some(Slot::Elsewhere | Slot::Claiming) => self.elsewhere(partition),
            // Not to another holder, if one is known: it would answer before this copy is merged there, and so without a word of what is
            // lost of it.
            Some(Slot::Doubtful { .. } | Slot::Offered { .. } | Slot::Sending { .. } | Slot::Receiving { .. })
            | None => Target::Park,
        }
    }

    /// Who holds a partition, as far as this member knows.
    #[must_use]
    pub fn holder(&self, partition: Partition) -> Option<&MemberName> {
        if self.slots.speaks_for(partition) {
            return Some(&self.me);
        }
        self.holders.of(partition)
    }

    /// What is not as the view says, for a failed test or a support bundle: partitions that are not held here although this
    /// member is their owner, or not elsewhere although it is not.
    pub fn in_transition(&self) -> impl Iterator<Item = (Partition, String)> {
        let strange = |p: &Partition| {
            let mine = self.view.owner(*p) == Some(&self.me);
            self.slots[*p] != if mine { Slot::Held } else { Slot::Elsewhere }
        };
        self.slots.partitions().filter(strange).map(|p| (p, format!("{:?}", self.slots[p])))
    }

    /// Whether there is a copy of a partition here, served or not, which is to be lost with this member.
    #[must_use]
    pub fn has_copy(&self, partition: Partition) -> bool {
        self.slots.holds(partition)
    }

    /// How many partitions are held here, those that are being handed over included.
    #[must_use]
    pub fn held(&self) -> usize {
        self.slots.held()
    }

    /// True when a leaving member may go: all that it held is held by others, who said so, and no member sends it
    /// events any more. What it has passed on must still be answered. Also true when there is no member to hand anything to, nor one that
    /// was held for dead and may come back.
    #[must_use]
    pub fn drained(&self) -> bool {
        let may_come = || self.sides.missing().next().is_some() && self.held() > 0;
        let alone = self.view.members().len() == 0 && !may_come();
        self.is_leaving() && (alone || (self.slots.are_idle() && self.peers.all_noted_drained()))
    }

    /// Whether a member has said that it is leaving and holds nothing any more. One that goes before that takes with it what it holds, or
    /// comes back with it.
    #[must_use]
    pub fn has_drained(&self, name: &MemberName) -> bool {
        self.peers.get(name).is_some_and(|peer| peer.drained)
    }

    fn is_leaving(&self) -> bool {
        matches!(self.phase, Phase::Leaving { .. })
    }

    /// Tells everyone, once, that this leaving member holds nothing any more.
    fn say_drained(&mut self) {
        let Phase::Leaving { drained } = &mut self.phase else {
            return;
        };
        if !self.slots.are_idle() {
            // What was noted before says nothing about what is handed over from now on.
            *drained += 1;
            return self.peers.forget_drained();
        }
        for name in self.peers.tell_drained() {
            self.out.send(&name, OwnershipMessage::Drained { number: *drained });
        }
    }

    fn drained_noted(&mut self, from: &MemberName, number: u64) {
        if self.phase == (Phase::Leaving { drained: number }) {
            self.peers.note_drained(from);
        }
    }

    fn peer_drained(&mut self, from: &MemberName, number: u64) {
        for partition in self.holders.drained(from) {
            self.slots.touch(partition);
        }
        self.set_placeable(from, false);
        if let Some(peer) = self.peers.get_mut(from) {
            peer.drained = true;
        }
        // Routes first: what is sent after the confirmation must not go there.
        self.report_routes();
        self.out.push(Output::SendBehind { to: from.clone(), message: OwnershipMessage::DrainedNoted { number } });
        self.review.request();
    }

    /// Does what the input calls for, and what that calls for in turn: a claim that no member can contest ends at once, and
    /// what it took may belong to another member already.
    fn settle(&mut self, now: Instant) {
        let mut recheck = self.review.tick(now);
        if self.unheard.tick(now) {
            self.review.request();
        }
        self.mourn(now);
        self.advance_claims(now);
        for _ in 0..MAX_PASSES {
            if !self.review.begin() {
                return;
            }
            let recheck = std::mem::take(&mut recheck);
            self.claim_what_is_mine(recheck, now);
            self.ask_about_doubtful(recheck, now);
            self.offer_what_is_not_mine();
            self.advance_claims(now);
        }
        self.review.retry_after(now);
    }

    fn activate(&mut self) {
        if self.phase == Phase::Waiting {
            self.phase = Phase::Active;
        }
        self.review.request();
    }

    fn leave(&mut self) {
        if !self.is_leaving() {
            self.phase = Phase::Leaving { drained: 0 };
        }
        self.abandon_claims();
        let me = self.me.clone();
        self.set_placeable(&me, false);
    }

    fn member_up(&mut self, name: &MemberName, incarnation: u64, placeable: bool, now: Instant) {
        if *name == self.me {
            return;
        }
        let peer = self.peers.meet(name);
        let met = !peer.live;
        (peer.live, peer.incarnation) = (true, incarnation);
        if met {
            let is_back = self.sides.back(name, incarnation, now);
            if is_back {
                self.told.is_back(name);
                self.out.push(Output::Back { name: name.clone(), incarnation });
            } else {
                self.arrivals.forget(|from| from == name);
            }
            if self.slots.are_merging() {
                self.unheard.insert(name);
            }
            if self.unheard.returned(name) {
                self.review.request();
            }
            self.greet(name, now);
            self.ask_again(name);
            if is_back && self.sides.buried(name) {
                self.maybe_doubt_for_others(now);
            }
        }
        self.set_placeable(name, placeable);
        self.review.request();
    }

    fn member_down(&mut self, name: &MemberName, left: bool, now: Instant) {
        if *name == self.me {
            return;
        }
        if left {
            self.sides.left(name, now);
        } else if let Some(peer) = self.peers.get(name) {
            self.sides.died(name, peer.incarnation, self.peers.live().chain([&self.me]), now);
        }
        self.set_placeable(name, false);
        self.end_handoffs_with(name, true);
        self.peers.remove(name);
        self.unheard.remove(name);
        // One that comes back may still ask whether what it sent has arrived.
        self.arrivals.forget(|from| !self.peers.contains(from) && !self.sides.may_return(from));
        for partition in self.holders.lose(name) {
            self.slots.touch(partition);
            if !left {
                // It had a copy as well, which is gone now with what it answered.
                self.doubt(partition);
            }
        }
        self.served_without(name);
        self.review.request();
    }

    /// A member is gone that did not hold what others do: what it had told of that is of no use any more.
    fn served_without(&mut self, gone: &MemberName) {
        let served = self.holders.announced(|holder| holder != gone && self.peers.contains(holder));
        served.into_iter().for_each(|(holder, set)| self.served(&holder, set));
    }

    fn link_up(&mut self, name: &MemberName, now: Instant) {
        if *name == self.me {
            return;
        }
        self.peers.meet(name).linked = true;
        self.greet(name, now);
        self.confirm_with(name);
        self.ask_again(name);
        self.review.request();
    }

    fn link_down(&mut self, name: &MemberName) {
        let Some(peer) = self.peers.get_mut(name) else {
            return;
        };
        peer.unlinked();
        let unknown = !peer.live;
        self.end_handoffs_with(name, unknown);
        if unknown {
            // Neither alive nor linked: it is not waited for.
            self.peers.remove(name);
        }
        self.review.request();
    }

    fn set_placeable(&mut self, name: &MemberName, placeable: bool) {
        if self.view.contains(name) == placeable {
            return;
        }
        let before: Vec<_> = self.slots.partitions().map(|p| self.view.owner(p).cloned()).collect();
        self.view.set(name, placeable);
        for (partition, owner) in self.slots.partitions().zip(before) {
            if self.view.owner(partition) != owner.as_ref() {
                self.slots.touch(partition);
            }
        }
        self.review.request();
    }

    /// Tells a member that was just met what is held here.
    fn greet(&mut self, name: &MemberName, now: Instant) {
        if !self.peers.is_linked(name) {
            return;
        }
        let (buried, cut) = (self.sides.buried(name), self.sides.cut_for(name, now).map(Box::new));
        self.out.send(name, OwnershipMessage::Met { buried, cut });
        let set: PartitionSet = self.slots.partitions().filter(|p| self.slots.speaks_for(*p)).collect();
        if !set.is_empty() {
            self.out.send(name, OwnershipMessage::Serving { set });
        }
    }

    fn message(&mut self, from: &MemberName, message: OwnershipMessage, now: Instant) {
        if !self.peers.is_linked(from) {
            return;
        }
        match message {
            OwnershipMessage::Query { id, purpose, set } => {
                self.query(from, id, purpose, &set, now);
            }
            OwnershipMessage::Answer { id, answer } => self.answer(from, id, &answer, now),
            OwnershipMessage::Met { buried, cut } => self.met(from, buried, cut.map(|cut| *cut), now),
            OwnershipMessage::Offer { number, side, came, doubtful, set } => {
                self.offered(from, number, (side, came), doubtful, &set, now);
            }
            OwnershipMessage::Accept { number, set } => self.accepted(from, number, &set),
            OwnershipMessage::Decline { number, set } => self.declined(from, number, &set, now),
            OwnershipMessage::Withdraw { number, set } => self.withdrawn(from, number, &set),
            OwnershipMessage::Received { number, set } => self.confirmed(from, number, &set),
            OwnershipMessage::Confirm { number, set } => self.confirm(from, number, &set),
            OwnershipMessage::Arrived { number, asked, set } => self.arrived(from, number, &asked, &set),
            OwnershipMessage::Serving { set } => self.holding(from, &set),
            OwnershipMessage::Fetch { purpose, set } => self.fetched(from, purpose, &set),
            OwnershipMessage::Told { set, whole } => self.told_all(from, &set, &whole),
            OwnershipMessage::Drained { number } => self.peer_drained(from, number),
            OwnershipMessage::DrainedNoted { number } => self.drained_noted(from, number),
            OwnershipMessage::NotHere { set } => {
                self.slots.known(&set).into_iter().for_each(|p| self.not_here(from, p))
            }
        }
    }

    fn holding(&mut self, from: &MemberName, set: &PartitionSet) {
        let known = self.slots.known(set);
        if let Some(peer) = self.peers.get_mut(from) {
            peer.drained = false;
        }
        for p in &known {
            self.note_holder(*p, from);
            self.holders.announce(*p);
        }
        self.served(from, known.into_iter().collect());
        self.review.request();
    }

    /// What dead members told of these may be of no use any more.
    fn served(&mut self, by: &MemberName, set: PartitionSet) {
        self.told.served(&set);
        let apart = self.sides.may_be_apart(by) || self.sides.any_died_apart();
        self.out.push(Output::Served { by: by.clone(), apart, set });
    }

    /// Of two members that say that they hold a partition, as after a network partition, the preferred one will have it.
    fn note_holder(&mut self, partition: Partition, name: &MemberName) {
        self.claims.forget_remembered(partition);
        self.end_claim(partition);
        if let Some(known) = self.holders.note(partition, name) {
            self.note_beside(partition, known, name);
        }
        self.slots.touch(partition);
    }

    fn not_here(&mut self, from: &MemberName, partition: Partition) {
        self.forget_beside(partition, from);
        if self.holders.of(partition) == Some(from) {
            self.holders.forget(partition);
            self.slots.touch(partition);
            self.review.request();
        }
    }

    fn misrouted(&mut self, partition: Partition, from: &MemberName) {
        let known = self.slots.get(partition);
        if known == Some(&Slot::Elsewhere) {
            self.out.send(from, OwnershipMessage::NotHere { set: std::iter::once(partition).collect() });
        }
    }

    fn report_routes(&mut self) {
        for partition in self.slots.take_touched().iter() {
            let to = self.target(partition);
            if self.slots.reroute(partition, &to) {
                self.out.push(Output::Route { partition, to });
            }
        }
    }

    fn elsewhere(&self, partition: Partition) -> Target {
        match self.holders.of(partition).or_else(|| self.view.owner(partition)) {
            Some(name) if *name != self.me => Target::Forward(name.clone()),
            _ => Target::Park,
        }
    }

    /// A live member that holds this partition as well.
    fn other_holder(&self, partition: Partition) -> Option<&MemberName> {
        let holder = self.holders.of(partition)?;
        (*holder != self.me && self.peers.contains(holder)).then_some(holder)
    }

    fn next_id(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }

    /// Starts to serve a partition, and will tell everyone.
    fn serve(&mut self, partition: Partition) {
        self.slots.set(partition, Slot::Held);
        self.holders.serve_here(partition);
        self.sides.forget_standing(partition);
        self.claims.forget_remembered(partition);
        self.out.serves(partition);
        self.review.request();
    }
}

#[cfg(test)]
mod tests;
