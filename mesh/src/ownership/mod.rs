//! Who serves which partition: without a coordinator, and exactly once in planned changes.
//!
//! # The protocol
//! 1. **The holder decides when to hand over; a would-be owner takes only what nobody holds.** A member whose view says that
//!    another owns a partition that it holds *offers* it there. The other accepts, the holder freezes the partition, sends it
//!    ([`Output::HandOff`]) and forwards behind it, on the same ordered link, whatever still arrives. It drops its copy
//!    when it is told that the other has *installed* it. Every hand-off has a number: what is said of one, and the parts of one,
//!    never count for another, and whether one arrived is asked and answered by number. That the other holds the partition
//!    proves nothing: it may have held a copy of its own before.
//! 2. A member whose view says that it owns a partition that it does not hold asks all members that it can. If one holds it (or
//!    is being given it) it waits to be offered it. It takes the partition when every live member has answered that nobody
//!    does. A member that was told of a holder which then denied it asks once more: the answer of a member that handed a
//!    partition on is only as new as the next holder's.
//! 3. Of members that claim at once, the one that rendezvous hashing prefers goes on. Members remember a claim for
//!    [`Settings::claim_memory`] and tell a second claimant, who waits if it does not know the first.
//! 4. Who takes or installs a partition says so to everyone ([`OwnershipMessage::Serving`]), and two members that meet
//!    exchange what they hold. So everyone knows holders rather than guesses them, and a claimant learns who died with what.
//! 5. After a network partition both sides may hold a partition. The view of the healed mesh has one owner: others offer it
//!    theirs as in 1, and it merges key by key ([`Output::Receive`] with `merge`). The copy of the *side* that counted more
//!    members of the last common view wins, see `sides.rs`.
//! 6. A leaving member that has handed everything over tells everyone, and goes when all have confirmed that they route no
//!    events to it any more. Links keep order, so by then it has passed on, and answered, all that were on the way to it.
//! 7. A member that was taken for dead, or was paused, *doubts* its copies ([`Input::Doubt`], `doubt.rs`): it serves none before
//!    every live member has said that it holds no other. If one does, the two are merged there, or when it offers its own.
//!    The same is done with a copy whose new holder died before it said that it had installed it.
//! 8. A holder tells a standby which keys a partition has (`key_index`). Who begins to serve a partition that nobody holds
//!    first fetches the keys from every member that was told any, so that what is lost can be named.
//! 9. What a member did on one side of a network partition, and died with before the sides met, is said to the holder on the other
//!    side by whoever knew its keys (`mourn.rs`).
//!
//! # Guarantees
//! While all members of the mesh are connected and see each other as alive, a partition has at most one member that serves
//! it, and no accepted event is lost or applied twice by joins and planned leaves. After a crash, what the dead member held is
//! taken afresh by its owner, who is told who died ([`Output::Adopt`]), after all that is known of its keys has come.
//!
//! # Assumptions
//! Messages between two processes arrive in order while a link lives ([`Input::LinkUp`] to [`Input::LinkDown`]); whatever was
//! under way when it ends may or may not have arrived. The shell reports a link's end before it reports its successor. It closes
//! the link to a member that is reported dead; that member's next link is a new one, greeted anew. The link to a member that left
//! it lets end by itself: the last answers may still be on it when gossip already says that the member is gone.
//!
//! # Caveats
//! Nobody who is alive is passed over: what a member claims waits until each live one has answered, however long a link to it
//! takes to come about, or has died. A time after which to go on without it would serve partitions twice whenever links take
//! longer than that, as on a network that loses the first packets of TCP. So a member that gossip reaches and links do not, behind
//! a firewall, keeps others from taking anything: they say so, and what is held is served meanwhile.

mod claims;
mod doubt;
mod gather;
mod handoff;
mod mourn;
mod sides;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use statemesh_protocol::hash::Partition;
use statemesh_protocol::identity::MemberName;
use statemesh_protocol::partition_set::PartitionSet;
use statemesh_protocol::peer::ownership::{HandoffNumber, OwnershipMessage, Purpose};

use crate::key_index::Indexed;
use crate::view::View;
use claims::{Claim, Remembered};
use gather::Gather;
use sides::Sides;
pub use sides::Winner;

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
    /// How long a claim that somebody else made is remembered.
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

/// Where an event for a partition goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// Here.
    Local,
    /// To this member.
    Forward(MemberName),
    /// It waits: the partition is on its way, or nobody serves it for the moment.
    Park,
}

/// What can happen to ownership.
#[derive(Debug, Clone)]
pub enum Input {
    /// From now on partitions may be claimed: this member has joined, or is alone on purpose.
    Activate,
    /// A member is there and alive, or said something new about itself.
    MemberUp {
        /// Its name.
        name: MemberName,
        /// Which process of that name.
        incarnation: u64,
        /// May partitions be placed on it (it is not leaving)?
        placeable: bool,
    },
    /// A member is dead or has left. Before a newer process of the same name is reported up, the older one is reported down.
    MemberDown {
        /// Its name.
        name: MemberName,
        /// It said goodbye.
        left: bool,
    },
    /// Others may have adopted what this member holds.
    Doubt(Reason),
    /// It is known, or no longer known, which keys there were in these partitions, as their holders told.
    Indexed(Indexed),
    /// This member begins to leave: it hands everything over.
    Leave,
    /// There is an ordered link to this member, greeted and accepted.
    LinkUp(MemberName),
    /// The link to this member is gone, with what was under way on it.
    LinkDown(MemberName),
    /// A message came over the link.
    Message {
        /// Who sent it.
        from: MemberName,
        /// What it says.
        message: OwnershipMessage,
    },
    /// The last piece of this partition is queued on the link to whom [`Output::HandOff`] named.
    HandedOff {
        /// The partition.
        partition: Partition,
        /// The hand-off's number.
        number: HandoffNumber,
    },
    /// All of this partition has arrived from this member and is installed (or merged).
    Received {
        /// The partition.
        partition: Partition,
        /// The hand-off's number.
        number: HandoffNumber,
        /// Who sent it.
        from: MemberName,
    },
    /// All of this partition has arrived from this member, and not all of it can be read: it is not taken.
    Unreadable {
        /// The partition.
        partition: Partition,
        /// The hand-off's number.
        number: HandoffNumber,
        /// Who sent it.
        from: MemberName,
    },
    /// This member forwarded an event for a partition that is not here.
    Misrouted {
        /// The partition.
        partition: Partition,
        /// Who forwarded it.
        from: MemberName,
    },
    /// The deadline has come.
    Tick,
}

/// Why a member doubts its copies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// It did not run for a while, or its clock jumped.
    Paused,
    /// Others say that it was dead.
    TakenForDead,
}

/// What the shell does next, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Send this over the link to `to`.
    Send {
        /// The member.
        to: MemberName,
        /// The message.
        message: OwnershipMessage,
    },
    /// Stop serving this partition, send all of it to `to`, then say [`Input::HandedOff`]. Keep the copy.
    HandOff {
        /// The partition.
        partition: Partition,
        /// The hand-off's number.
        number: HandoffNumber,
        /// The new holder.
        to: MemberName,
    },
    /// This partition will come from `from`. With `merge`, there is a copy here already.
    Receive {
        /// The partition.
        partition: Partition,
        /// The hand-off's number.
        number: HandoffNumber,
        /// The holder until now.
        from: MemberName,
        /// Both hold it, after a network partition or a pause: whose state of a key wins that both have.
        merge: Option<Winner>,
    },
    /// What came of this partition from `from` is void (with a merge under way: only what was not merged yet).
    Discard {
        /// The partition.
        partition: Partition,
        /// Who was sending it.
        from: MemberName,
    },
    /// The new holder has it: forget the copy.
    Release(Partition),
    /// All copies are in doubt: what others have passed on may be old, and given up meanwhile.
    Doubt,
    /// Do not serve this partition, nor fire its timers, until something else is said of it: others may have adopted it.
    Suspend(Partition),
    /// Serve the kept copy again: the new holder is gone, or never got it; or nobody else held what was in doubt. Keys that
    /// others were told of meanwhile ([`Output::Relay`] at those) were served elsewhere: they are lost, or older here.
    Reopen {
        /// The partition.
        partition: Partition,
        /// Who had it meanwhile, and died.
        died: Option<MemberName>,
        /// All that were told of its keys died as well: what is lost of it is not known.
        unnamed: bool,
        /// All were asked who had it meanwhile. Otherwise nobody had it, and nothing that others were told of its keys is lost.
        asked: bool,
    },
    /// Send `to` the keys that this member was told of in these partitions, and [`OwnershipMessage::Told`] behind those of each:
    /// the key index does that as fast as `to` takes them.
    Relay {
        /// The member.
        to: MemberName,
        /// What it is about to do: one that doubts has no use for what it told itself.
        purpose: Purpose,
        /// The partitions.
        set: PartitionSet,
    },
    /// `by` serves these: what a dead member told of their keys was about an earlier life of theirs.
    Served {
        /// The member.
        by: MemberName,
        /// It was apart from this one, and may serve what it had then: it need not know what the dead one did meanwhile.
        apart: bool,
        /// The partitions.
        set: PartitionSet,
    },
    /// This process was taken for dead, and is there: what it told of its keys holds.
    Back {
        /// Its name.
        name: MemberName,
        /// Which process of that name.
        incarnation: u64,
    },
    /// Keep a copy of this partition that has nothing but what dead members told of it, which is lost. Do not serve it: it is to be
    /// merged with what its holder has, who was apart and knows nothing of that.
    Mourn {
        /// The partition.
        partition: Partition,
        /// A member that died with it.
        lost_from: MemberName,
    },
    /// Serve this partition, empty. The keys that are known by now are lost.
    Adopt {
        /// The partition.
        partition: Partition,
        /// Its holder died with it; none if no member knows of anyone who ever held it.
        lost_from: Option<MemberName>,
        /// All that were told of its keys died as well: which instances are lost is not known.
        unnamed: bool,
    },
    /// Events for this partition now go there: tell the router.
    Route {
        /// The partition.
        partition: Partition,
        /// Where to.
        to: Target,
    },
}

impl Output {
    /// The name of each kind.
    pub const NAMES: &'static [&'static str] = &[
        "send", "hand-off", "receive", "discard", "release", "doubt", "suspend", "reopen", "relay", "served", "back",
        "mourn", "adopt", "route",
    ];

    /// The name of its kind.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Send { .. } => "send",
            Self::HandOff { .. } => "hand-off",
            Self::Receive { .. } => "receive",
            Self::Discard { .. } => "discard",
            Self::Release(_) => "release",
            Self::Doubt => "doubt",
            Self::Suspend(_) => "suspend",
            Self::Reopen { .. } => "reopen",
            Self::Relay { .. } => "relay",
            Self::Served { .. } => "served",
            Self::Back { .. } => "back",
            Self::Mourn { .. } => "mourn",
            Self::Adopt { .. } => "adopt",
            Self::Route { .. } => "route",
        }
    }
}

/// A partition, as this member sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Slot {
    /// Served here.
    Held,
    /// Offered to its owner, and served meanwhile; or in doubt, and offered to the holder of another copy.
    Offered { to: MemberName, number: HandoffNumber, doubtful: bool },
    /// Sent to its new holder, who has not confirmed yet; `doubtful`: if it comes back, others may have adopted it meanwhile.
    Sending { to: MemberName, number: HandoffNumber, stage: Stage, doubtful: bool },
    /// Coming from its holder; or, `doubtful`, from a member that is not sure to be that, or was not when this one began to doubt.
    Receiving { from: MemberName, number: HandoffNumber, copy: Copy, doubtful: bool },
    /// A copy is here, but others may hold a newer one: it is not served.
    Doubtful {
        /// Everyone is being asked. Otherwise another holder is known, or the next try is a little later.
        asking: bool,
    },
    /// Claimed by this member.
    Claiming,
    /// Not here. The holder is whom `holders` names, if it names one.
    Elsewhere,
}

/// What there is of a partition besides what comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Copy {
    None,
    Served,
    Doubtful,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Pieces are being queued: whatever arrives waits.
    Pieces,
    /// All pieces are queued: whatever arrives is forwarded behind them.
    Behind,
    /// The link broke: it is not known what arrived.
    Unsure,
}

/// What is known of another member.
#[derive(Debug, Clone, Default)]
struct Peer {
    live: bool,
    linked: bool,
    /// Partitions offered to it or under way to it.
    busy: usize,
    incarnation: u64,
    /// It was told that this leaving member holds nothing any more.
    told_drained: bool,
    /// It said that it sends nothing here any more.
    noted_drained: bool,
    /// It is leaving, and said that it holds nothing any more.
    drained: bool,
}

/// A member's part of the protocol. See the module.
#[derive(Debug)]
pub struct Ownership {
    me: MemberName,
    settings: Settings,
    view: View,
    active: bool,
    leaving: bool,
    peers: BTreeMap<MemberName, Peer>,
    slots: Vec<Slot>,
    /// The holder of each partition as its holder said; none for those held here.
    holders: Vec<Option<MemberName>>,
    /// Of these the holder said that it serves them. Of others it is known by an answer, and may have but a copy.
    announced: PartitionSet,
    /// Whose death took the partition, until somebody takes it again.
    lost: Vec<Option<MemberName>>,
    claims: BTreeMap<u64, Claim>,
    remembered: BTreeMap<Partition, Remembered>,
    /// Not to be claimed or offered before then.
    held_off: BTreeMap<Partition, Instant>,
    /// Who holds a partition on this side, while a member of another side holds it as well.
    beside: BTreeMap<Partition, MemberName>,
    /// Claims that are over but for the keys that others were told of.
    gathers: BTreeMap<Partition, Gather>,
    /// Partitions whose keys this member was told.
    indexed: Indexed,
    /// Partitions of whose holder was heard since: what is still to be said of them will be heard of.
    unsettled: PartitionSet,
    /// The hand-offs that were installed here, the last of each partition from each member that is there.
    installed: BTreeMap<(MemberName, Partition), HandoffNumber>,
    /// Merges that were given up, the last of each partition from each member: their last part may have been merged before.
    given_up: BTreeMap<(MemberName, Partition), HandoffNumber>,
    sides: Sides,
    /// Who has not said since the last doubt whether it had declared this member dead: how many this side counts is not known before.
    unheard: BTreeSet<MemberName>,
    /// Who was held for dead when this member found that it was apart, and may come back: until then nothing of a doubt is concluded.
    missing: BTreeSet<MemberName>,
    missing_until: Option<Instant>,
    /// The last question that was asked before the last doubt.
    doubted_after: u64,
    /// The last id or number that was given. No process of this name gave it before.
    last_id: u64,
    /// How often this leaving member began to hold nothing.
    drained: u64,
    /// Set by what may call for offers or claims; done once at the end of the input.
    review: bool,
    /// When to look again at what came to nothing.
    retry_at: Option<Instant>,
    /// When to ask again about what others hold for this member.
    recheck_at: Option<Instant>,
    /// To be announced at the end of the input.
    announce: PartitionSet,
    /// Handed over; to be said at the end of the input.
    handed_off: PartitionSet,
    /// Routes as last reported.
    routes: Vec<Target>,
    /// Partitions whose route may have changed.
    touched: PartitionSet,
    out: VecDeque<Output>,
}

impl Ownership {
    /// A member that holds nothing and takes nothing until [`Input::Activate`]. A process has a larger `incarnation` than those
    /// of the same name before it.
    #[must_use]
    pub fn new(me: MemberName, incarnation: u64, partitions: u16, settings: Settings) -> Self {
        let mut view = View::new(partitions);
        view.set(&me, true);
        let n = usize::from(view.partitions());
        Self {
            sides: Sides::new(settings.reunion),
            unheard: BTreeSet::new(),
            missing: BTreeSet::new(),
            missing_until: None,
            doubted_after: 0,
            me,
            settings,
            view,
            active: false,
            leaving: false,
            peers: BTreeMap::new(),
            slots: vec![Slot::Elsewhere; n],
            holders: vec![None; n],
            announced: PartitionSet::new(),
            lost: vec![None; n],
            claims: BTreeMap::new(),
            remembered: BTreeMap::new(),
            held_off: BTreeMap::new(),
            beside: BTreeMap::new(),
            gathers: BTreeMap::new(),
            indexed: Indexed::default(),
            unsettled: PartitionSet::new(),
            installed: BTreeMap::new(),
            given_up: BTreeMap::new(),
            last_id: incarnation << IDS_OF_A_LIFE,
            drained: 0,
            review: false,
            retry_at: None,
            recheck_at: None,
            announce: PartitionSet::new(),
            handed_off: PartitionSet::new(),
            routes: vec![Target::Park; n],
            touched: PartitionSet::new(),
            out: VecDeque::new(),
        }
    }

    /// Takes in what happened; [`Ownership::poll`] gives what follows from it.
    pub fn handle(&mut self, input: Input, now: Instant) {
        self.sides.forget(now);
        if self.sides.is_marked() && !self.is_merging() && !self.receives_from_apart() {
            self.sides.settle(now);
        }
        if !self.sides.is_marked() {
            self.beside.clear();
        }
        match input {
            Input::Activate => self.activate(),
            Input::MemberUp { name, incarnation, placeable } => self.member_up(&name, incarnation, placeable, now),
            Input::MemberDown { name, left } => self.member_down(&name, left, now),
            Input::Doubt(reason) => self.maybe_doubt(reason, now),
            Input::Indexed(indexed) => (self.indexed, self.unsettled) = (indexed, PartitionSet::new()),
            Input::Leave => self.leave(),
            Input::LinkUp(name) => self.link_up(&name),
            Input::LinkDown(name) => self.link_down(&name),
            Input::Message { from, message } => self.message(&from, message, now),
            Input::Unreadable { partition, number, from } => self.refuse(partition, number, &from),
            Input::HandedOff { partition, number } => self.transferred(partition, number),
            Input::Received { partition, number, from } => self.installed(partition, number, &from, now),
            Input::Misrouted { partition, from } => self.misrouted(partition, &from),
            Input::Tick => {}
        }
        self.settle(now);
        self.announce();
        self.say_drained();
        self.report_routes();
    }

    /// The next thing to do.
    pub fn poll(&mut self) -> Option<Output> {
        self.out.pop_front()
    }

    /// When [`Input::Tick`] is due.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        self.retry_at.into_iter().chain(self.recheck_at).chain(self.missing_until).min()
    }

    /// This member's view.
    #[must_use]
    pub fn view(&self) -> &View {
        &self.view
    }

    /// Where an event for a partition goes now.
    #[must_use]
    pub fn target(&self, partition: Partition) -> Target {
        match self.slots.get(usize::from(partition)) {
            Some(Slot::Held | Slot::Offered { doubtful: false, .. } | Slot::Receiving { copy: Copy::Served, .. }) => {
                Target::Local
            }
            Some(Slot::Sending { to, stage: Stage::Behind, .. }) => Target::Forward(to.clone()),
            Some(Slot::Elsewhere | Slot::Claiming) => self.elsewhere(partition),
            Some(Slot::Doubtful { .. } | Slot::Offered { .. }) => match self.other_holder(partition) {
                Some(name) => Target::Forward(name.clone()),
                None => Target::Park,
            },
            Some(Slot::Sending { .. } | Slot::Receiving { .. }) | None => Target::Park,
        }
    }

    /// Who holds a partition, as far as this member knows.
    #[must_use]
    pub fn holder(&self, partition: Partition) -> Option<&MemberName> {
        if self.speaks_for(partition) {
            return Some(&self.me);
        }
        self.holders.get(usize::from(partition))?.as_ref()
    }

    /// What is not as the view says, for a failed test or a support bundle: partitions whose state is neither that of their
    /// holder nor that of somebody else.
    pub fn in_transition(&self) -> impl Iterator<Item = (Partition, String)> {
        let strange = |p: &Partition| {
            let mine = self.view.owner(*p) == Some(&self.me);
            let slot = &self.slots[usize::from(*p)];
            *slot != if mine { Slot::Held } else { Slot::Elsewhere }
        };
        let partitions = (0..self.slots.len()).map(|p| p as Partition).filter(strange);
        partitions.map(|p| (p, format!("{:?}", self.slots[usize::from(p)])))
    }

    /// Whether there is a copy of a partition here, served or not, which is to be lost with this member.
    #[must_use]
    pub fn has_copy(&self, partition: Partition) -> bool {
        self.holds(partition)
    }

    /// How many partitions are held here, those that are being handed over included.
    #[must_use]
    pub fn held(&self) -> usize {
        (0..self.slots.len()).filter(|p| self.holds(*p as Partition)).count()
    }

    /// True when a leaving member may go: all that it held is held by others, who said so, and nobody sends it events any
    /// more. What it has passed on must still be answered. Also true when there is nobody to hand anything to, nor anybody who was held for
    /// dead and may come back.
    #[must_use]
    pub fn drained(&self) -> bool {
        let unaware = |peer: &Peer| peer.live && peer.linked && !peer.noted_drained;
        let may_come = || self.sides.missing().next().is_some() && self.held() > 0;
        let alone = self.view.members().len() == 0 && !may_come();
        self.leaving && (alone || (self.is_idle() && !self.peers.values().any(unaware)))
    }

    /// Whether a member has said that it is leaving and holds nothing any more. One that goes before that takes with it what it holds, or
    /// comes back with it.
    #[must_use]
    pub fn has_drained(&self, name: &MemberName) -> bool {
        self.peers.get(name).is_some_and(|peer| peer.drained)
    }

    fn is_idle(&self) -> bool {
        self.slots.iter().all(|slot| *slot == Slot::Elsewhere)
    }

    /// Tells everyone, once, that this leaving member holds nothing any more.
    fn say_drained(&mut self) {
        if !self.leaving {
            return;
        }
        let idle = self.is_idle();
        let mut unaware = Vec::new();
        for (name, peer) in &mut self.peers {
            if !idle {
                (peer.told_drained, peer.noted_drained) = (false, false);
            } else if peer.linked && !peer.told_drained {
                peer.told_drained = true;
                unaware.push(name.clone());
            }
        }
        if !idle {
            // What was noted before says nothing about what is handed over from now on.
            self.drained += 1;
        }
        let number = self.drained;
        for name in unaware {
            self.send(&name, OwnershipMessage::Drained { number });
        }
    }

    fn drained_noted(&mut self, from: &MemberName, number: u64) {
        if let Some(peer) = self.peers.get_mut(from).filter(|_| number == self.drained) {
            peer.noted_drained = peer.told_drained;
        }
    }

    fn peer_drained(&mut self, from: &MemberName, number: u64) {
        for p in 0..self.slots.len() {
            if self.holders[p].as_ref() == Some(from) {
                self.holders[p] = None;
                self.touched.insert(p as Partition);
            }
        }
        self.set_placeable(from, false);
        if let Some(peer) = self.peers.get_mut(from) {
            peer.drained = true;
        }
        // Routes first: what is sent after the confirmation must not go there.
        self.report_routes();
        self.send(from, OwnershipMessage::DrainedNoted { number });
        self.review = true;
    }

    /// Does what the input calls for, and what that calls for in turn: a claim that nobody can contest ends at once, and
    /// what it took may be somebody else's already.
    fn settle(&mut self, now: Instant) {
        let retry = elapsed(&mut self.retry_at, now);
        let mut recheck = elapsed(&mut self.recheck_at, now);
        if elapsed(&mut self.missing_until, now) {
            self.missing.clear();
            self.review = true;
        }
        self.review |= retry || recheck;
        self.held_off.retain(|_, until| *until > now);
        if retry {
            self.retry_at = self.held_off.values().min().copied();
        }
        self.mourn(now);
        self.advance_claims();
        for _ in 0..MAX_PASSES {
            if !std::mem::take(&mut self.review) {
                return;
            }
            let recheck = std::mem::take(&mut recheck);
            self.claim_what_is_mine(recheck, now);
            self.ask_about_doubtful(recheck, now);
            self.offer_what_is_not_mine();
            self.advance_claims();
        }
        self.retry_after(now);
    }

    fn activate(&mut self) {
        self.active = true;
        self.review = true;
    }

    fn leave(&mut self) {
        self.leaving = true;
        self.abandon_claims();
        let me = self.me.clone();
        self.set_placeable(&me, false);
    }

    fn member_up(&mut self, name: &MemberName, incarnation: u64, placeable: bool, now: Instant) {
        if *name == self.me {
            return;
        }
        let peer = self.peers.entry(name.clone()).or_default();
        let met = !peer.live;
        (peer.live, peer.incarnation) = (true, incarnation);
        if met {
            if self.sides.back(name, incarnation, now) {
                self.indexed.of_dead.remove(name);
                self.out.push_back(Output::Back { name: name.clone(), incarnation });
            } else {
                self.forget_arrivals(|_, from| from == name);
            }
            if self.is_merging() {
                self.unheard.insert(name.clone());
            }
            if self.missing.remove(name) && self.missing.is_empty() {
                (self.missing_until, self.review) = (None, true);
            }
            self.greet(name);
            self.ask_again(name);
        }
        self.set_placeable(name, placeable);
        self.review = true;
    }

    fn member_down(&mut self, name: &MemberName, left: bool, now: Instant) {
        if *name == self.me {
            return;
        }
        if let Some(peer) = self.peers.get(name).filter(|_| !left) {
            let live = self.peers.iter().filter(|(_, peer)| peer.live).map(|(name, _)| name);
            self.sides.died(name, peer.incarnation, live.chain([&self.me]), now);
        }
        self.set_placeable(name, false);
        self.end_handoffs_with(name, true);
        self.peers.remove(name);
        self.unheard.remove(name);
        // One that comes back may still ask whether what it sent has arrived.
        self.forget_arrivals(|this, from| !this.peers.contains_key(from) && !this.sides.may_return(from));
        for p in 0..self.slots.len() {
            if self.holders[p].as_ref() == Some(name) {
                self.lost[p] = self.holders[p].take();
                self.touched.insert(p as Partition);
                if !left {
                    // It had a copy as well, which is gone now with what it answered.
                    self.doubt(p as Partition);
                }
            }
        }
        self.served_without(name);
        self.review = true;
    }

    /// A member is gone that did not hold what others do: what it had told of that is of no use any more.
    fn served_without(&mut self, gone: &MemberName) {
        let mut served: BTreeMap<MemberName, PartitionSet> = BTreeMap::new();
        for (p, holder) in self.holders.iter().enumerate() {
            let is_there = |holder: &&MemberName| *holder != gone && self.peers.contains_key(*holder);
            if let Some(holder) = holder.as_ref().filter(is_there)
                && self.announced.contains(p as Partition)
            {
                served.entry(holder.clone()).or_default().insert(p as Partition);
            }
        }
        served.into_iter().for_each(|(holder, set)| self.served(&holder, set));
    }

    fn link_up(&mut self, name: &MemberName) {
        if *name == self.me {
            return;
        }
        self.peers.entry(name.clone()).or_default().linked = true;
        self.greet(name);
        self.confirm_with(name);
        self.ask_again(name);
        self.review = true;
    }

    fn link_down(&mut self, name: &MemberName) {
        let Some(peer) = self.peers.get_mut(name) else {
            return;
        };
        peer.linked = false;
        (peer.told_drained, peer.noted_drained) = (false, false);
        let unknown = !peer.live;
        self.end_handoffs_with(name, unknown);
        if unknown {
            // Neither alive nor linked: nobody to wait for.
            self.peers.remove(name);
        }
        self.review = true;
    }

    fn set_placeable(&mut self, name: &MemberName, placeable: bool) {
        let before: Vec<_> = if self.view.contains(name) == placeable {
            return;
        } else {
            (0..self.slots.len()).map(|p| self.view.owner(p as Partition).cloned()).collect()
        };
        self.view.set(name, placeable);
        for (p, owner) in before.iter().enumerate() {
            if self.view.owner(p as Partition) != owner.as_ref() {
                self.touched.insert(p as Partition);
            }
        }
        self.review = true;
    }

    /// Tells a member that was just met what is held here.
    fn greet(&mut self, name: &MemberName) {
        if !self.peers.get(name).is_some_and(|peer| peer.linked) {
            return;
        }
        let buried = self.sides.buried(name);
        self.send(name, OwnershipMessage::Met { buried });
        let set: PartitionSet = self.partitions(|this, p| this.speaks_for(p)).collect();
        if !set.is_empty() {
            self.send(name, OwnershipMessage::Serving { set });
        }
    }

    fn message(&mut self, from: &MemberName, message: OwnershipMessage, now: Instant) {
        if !self.peers.get(from).is_some_and(|peer| peer.linked) {
            return;
        }
        match message {
            OwnershipMessage::Query { id, purpose, set } => {
                self.query(from, id, purpose, &set, now);
            }
            OwnershipMessage::Answer { id, answer } => self.answer(from, id, &answer, now),
            OwnershipMessage::Met { buried } => self.met(from, buried, now),
            OwnershipMessage::Offer { number, side, doubtful, set } => {
                self.offered(from, number, side, doubtful, &set, now);
            }
            OwnershipMessage::Accept { number, set } => self.accepted(from, number, &set),
            OwnershipMessage::Decline { number, set } => self.declined(from, number, &set, now),
            OwnershipMessage::Withdraw { number, set } => self.withdrawn(from, number, &set),
            OwnershipMessage::Received { number, set } => self.confirmed(from, number, &set),
            OwnershipMessage::Confirm { number, set } => self.confirm(from, number, &set),
            OwnershipMessage::Arrived { number, asked, set } => self.arrived(from, number, &asked, &set),
            OwnershipMessage::Serving { set } => self.holding(from, &set),
            OwnershipMessage::Fetch { purpose, set } => self.fetched(from, purpose, &set),
            OwnershipMessage::Told { set, whole } => self.told(from, &set, &whole),
            OwnershipMessage::Drained { number } => self.peer_drained(from, number),
            OwnershipMessage::DrainedNoted { number } => self.drained_noted(from, number),
            OwnershipMessage::NotHere { set } => self.known(&set).into_iter().for_each(|p| self.not_here(from, p)),
        }
    }

    fn holding(&mut self, from: &MemberName, set: &PartitionSet) {
        let known = self.known(set);
        if let Some(peer) = self.peers.get_mut(from) {
            peer.drained = false;
        }
        for p in &known {
            self.note_holder(*p, from);
            self.announced.insert(*p);
        }
        self.served(from, known.into_iter().collect());
        self.review = true;
    }

    /// What dead members told of these may be of no use any more.
    fn served(&mut self, by: &MemberName, set: PartitionSet) {
        for p in set.iter() {
            if self.indexed.of_dead.values().any(|of_dead| of_dead.contains(p)) {
                self.unsettled.insert(p);
            }
        }
        let apart = self.sides.may_be_apart(by) || self.sides.any_died_apart();
        self.out.push_back(Output::Served { by: by.clone(), apart, set });
    }

    /// Of two members that say that they hold a partition, as after a network partition, the preferred one will have it.
    fn note_holder(&mut self, partition: Partition, name: &MemberName) {
        let p = usize::from(partition);
        self.lost[p] = None;
        self.remembered.remove(&partition);
        self.end_claim(partition);
        if self.holders[p].as_ref() != Some(name) {
            self.announced.remove(partition);
        }
        if let Some(known) = self.holders[p].replace(name.clone()) {
            self.note_beside(partition, known, name);
        }
        self.touched.insert(partition);
    }

    fn not_here(&mut self, from: &MemberName, partition: Partition) {
        let p = usize::from(partition);
        self.forget_beside(partition, from);
        if self.holders.get(p).is_some_and(|h| h.as_ref() == Some(from)) {
            self.holders[p] = None;
            self.touched.insert(partition);
            self.review = true;
        }
    }

    fn misrouted(&mut self, partition: Partition, from: &MemberName) {
        let known = self.slots.get(usize::from(partition));
        if known == Some(&Slot::Elsewhere) {
            self.send(from, OwnershipMessage::NotHere { set: std::iter::once(partition).collect() });
        }
    }

    fn announce(&mut self) {
        let (held, gone) = (std::mem::take(&mut self.announce), std::mem::take(&mut self.handed_off));
        let said = [(held, true), (gone, false)];
        for (set, held) in said.into_iter().filter(|(set, _)| !set.is_empty()) {
            for name in self.linked() {
                let set = set.clone();
                // What this member told of itself when it met another may come behind what the new holder tells.
                let message = if held { OwnershipMessage::Serving { set } } else { OwnershipMessage::NotHere { set } };
                self.send(&name, message);
            }
        }
    }

    fn report_routes(&mut self) {
        for partition in std::mem::take(&mut self.touched).iter() {
            let to = self.target(partition);
            let known = &mut self.routes[usize::from(partition)];
            if *known != to {
                known.clone_from(&to);
                self.out.push_back(Output::Route { partition, to });
            }
        }
    }

    fn elsewhere(&self, partition: Partition) -> Target {
        let holder = self.holders[usize::from(partition)].as_ref();
        match holder.or_else(|| self.view.owner(partition)) {
            Some(name) if *name != self.me => Target::Forward(name.clone()),
            _ => Target::Park,
        }
    }

    /// Whether there is a copy here, served or not.
    fn holds(&self, partition: Partition) -> bool {
        match self.slots.get(usize::from(partition)) {
            Some(Slot::Held | Slot::Offered { .. } | Slot::Sending { .. } | Slot::Doubtful { .. }) => true,
            Some(Slot::Receiving { copy, .. }) => *copy != Copy::None,
            Some(Slot::Claiming | Slot::Elsewhere) | None => false,
        }
    }

    /// Whether this member serves a partition, or hands it over as its holder.
    fn speaks_for(&self, partition: Partition) -> bool {
        match self.slots.get(usize::from(partition)) {
            Some(Slot::Held | Slot::Sending { .. } | Slot::Offered { doubtful: false, .. }) => true,
            Some(Slot::Receiving { copy, .. }) => *copy == Copy::Served,
            _ => false,
        }
    }

    /// A live member that holds this partition as well.
    fn other_holder(&self, partition: Partition) -> Option<&MemberName> {
        let holder = self.holders.get(usize::from(partition))?.as_ref()?;
        (*holder != self.me && self.peers.contains_key(holder)).then_some(holder)
    }

    fn next_id(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }

    fn set_slot(&mut self, partition: Partition, slot: Slot) {
        self.slots[usize::from(partition)] = slot;
        self.touched.insert(partition);
    }

    /// Starts to serve a partition, and will tell everyone.
    fn serve(&mut self, partition: Partition) {
        self.set_slot(partition, Slot::Held);
        self.holders[usize::from(partition)] = None;
        self.lost[usize::from(partition)] = None;
        self.sides.forget_standing(partition);
        self.remembered.remove(&partition);
        self.announce.insert(partition);
        self.review = true;
    }

    /// Those of a set that this mesh has: a message may name others.
    fn known(&self, set: &PartitionSet) -> Vec<Partition> {
        let n = self.slots.len();
        set.iter().filter(|p| usize::from(*p) < n).collect()
    }

    fn partitions<'a>(
        &'a self,
        wanted: impl Fn(&Self, Partition) -> bool + 'a,
    ) -> impl Iterator<Item = Partition> + 'a {
        (0..self.slots.len()).map(|p| p as Partition).filter(move |p| wanted(self, *p))
    }

    fn linked(&self) -> Vec<MemberName> {
        let linked = self.peers.iter().filter(|(_, peer)| peer.linked);
        linked.map(|(name, _)| name.clone()).collect()
    }

    fn send(&mut self, to: &MemberName, message: OwnershipMessage) {
        self.out.push_back(Output::Send { to: to.clone(), message });
    }

    fn retry_after(&mut self, now: Instant) {
        let at = now + self.settings.retry;
        self.retry_at = Some(self.retry_at.map_or(at, |already| already.min(at)));
    }
}

/// Has this timer run out? Then it is off.
fn elapsed(timer: &mut Option<Instant>, now: Instant) -> bool {
    timer.take_if(|at| *at <= now).is_some()
}

#[cfg(test)]
mod tests;
