//! What goes wrong: each fault has a name, is done at a time of the seed's choice, and ends by itself.

use std::time::Duration;

use crate::client::Habits;
use crate::dice::{Dice, nanos};
use crate::dns::Mode;
use crate::world::World;

/// A kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// A daemon is killed, and started again some seconds later.
    Kill,
    /// It is started again at once.
    KillAndStart,
    /// Two are killed together.
    TwoDie,
    /// One is killed in the moment in which another joins.
    DiesWhileOneJoins,
    /// A daemon is stopped for a while.
    Pause,
    /// One does not hear another.
    CutOneWay,
    /// Some and the others do not hear each other.
    CutOff,
    /// Two and the others do not hear each other, and one of the two dies about when they do again.
    DiesCutOff,
    /// Two groups do not hear each other, and one of them pauses; as they come together one pauses again, and some are cut off.
    CutsOverlap,
    /// Links break while partitions are handed off.
    LinksBreakInHandOff,
    /// Links break while what was cut off comes together.
    LinksBreakInMerge,
    /// A daemon leaves, and comes back.
    Leave,
    /// One more daemon joins.
    Join,
    /// Clients take every place for connections.
    PlacesTaken,
    /// A process has no descriptors left.
    NoDescriptors,
    /// DNS is silent or stale.
    Dns,
    /// DNS names to each daemon only itself.
    DnsNamesOneself,
    /// A clock jumps.
    ClockJumps,
    /// Datagrams are lost and everything is slow.
    BadNetwork,
    /// Another thread holds shards.
    ShardsHeld,
    /// A reactor has no turn for a while.
    ReactorStalls,
    /// A daemon comes back with other machine files, of a higher revision.
    FilesDiffer,
    /// Gossip's keys are rotated, one daemon after the other, while one more joins.
    KeysRotate,
}

impl Fault {
    /// Every kind.
    pub const ALL: &'static [Self] = &[
        Self::Kill,
        Self::KillAndStart,
        Self::TwoDie,
        Self::DiesWhileOneJoins,
        Self::Pause,
        Self::CutOneWay,
        Self::CutOff,
        Self::DiesCutOff,
        Self::CutsOverlap,
        Self::LinksBreakInHandOff,
        Self::LinksBreakInMerge,
        Self::Leave,
        Self::Join,
        Self::PlacesTaken,
        Self::NoDescriptors,
        Self::Dns,
        Self::DnsNamesOneself,
        Self::ClockJumps,
        Self::BadNetwork,
        Self::ShardsHeld,
        Self::ReactorStalls,
        Self::FilesDiffer,
        Self::KeysRotate,
    ];

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Kill => "kill",
            Self::KillAndStart => "kill-and-start-at-once",
            Self::TwoDie => "two-die-together",
            Self::DiesWhileOneJoins => "dies-while-one-joins",
            Self::Pause => "pause",
            Self::CutOneWay => "cut-one-way",
            Self::CutOff => "cut-off",
            Self::DiesCutOff => "dies-cut-off",
            Self::CutsOverlap => "cuts-overlap",
            Self::LinksBreakInHandOff => "links-break-in-hand-off",
            Self::LinksBreakInMerge => "links-break-in-merge",
            Self::Leave => "leave-under-load",
            Self::Join => "join",
            Self::PlacesTaken => "clients-take-every-place",
            Self::NoDescriptors => "no-descriptors",
            Self::Dns => "dns-gone",
            Self::DnsNamesOneself => "dns-names-only-who-asks",
            Self::ClockJumps => "clock-jumps",
            Self::BadNetwork => "bad-network",
            Self::ShardsHeld => "shards-held",
            Self::ReactorStalls => "reactor-stalls",
            Self::FilesDiffer => "machine-files-differ",
            Self::KeysRotate => "keys-rotate",
        }
    }

    /// Whether nothing may be lost in it.
    #[must_use]
    pub fn is_lossless(self) -> bool {
        matches!(
            self,
            Self::Leave
                | Self::Join
                | Self::PlacesTaken
                | Self::Dns
                | Self::BadNetwork
                | Self::ShardsHeld
                | Self::ReactorStalls
                | Self::FilesDiffer
                | Self::KeysRotate
        )
    }

    /// How long it lasts, with what it needs to be over.
    #[must_use]
    pub fn lasts(self) -> Duration {
        Duration::from_secs(match self {
            Self::CutsOverlap => 14,
            Self::CutOff | Self::DiesCutOff | Self::LinksBreakInMerge => 12,
            Self::CutOneWay | Self::Leave | Self::Pause | Self::Dns | Self::DnsNamesOneself | Self::FilesDiffer => 8,
            _ => 5,
        })
    }

    /// Begins it. It is counted if it could be done.
    pub fn begin(self, world: &mut World) {
        world.line(format!("fault: {}", self.name()));
        let mut dice = world.dice.fork();
        let running = world.running();
        let Some(one) = dice.pick(&running).copied() else { return };
        let others: Vec<usize> = running.iter().copied().filter(|n| *n != one).collect();
        let other = dice.pick(&others).copied();
        let mut scene = Scene { fault: self, world, dice, running, one, others, other };
        if scene.play().is_some() {
            scene.world.coverage.fault(self.name());
        }
    }
}

/// One fault at its time: the world, and those that it is done to.
struct Scene<'a> {
    fault: Fault,
    world: &'a mut World,
    dice: Dice,
    running: Vec<usize>,
    /// Who it is done to.
    one: usize,
    others: Vec<usize>,
    /// Another one, if more than one runs.
    other: Option<usize>,
}

impl Scene<'_> {
    /// None if it cannot be done now.
    fn play(&mut self) -> Option<()> {
        match self.fault {
            Fault::Kill => self.kill((1_500, 4_000)),
            Fault::KillAndStart => self.kill((1, 300)),
            Fault::TwoDie => self.two_die(),
            Fault::DiesWhileOneJoins => self.dies_while_one_joins(),
            Fault::Pause => self.pause(),
            Fault::CutOneWay => self.cut_one_way(),
            Fault::CutOff => self.cut_off(),
            Fault::DiesCutOff => self.dies_cut_off(),
            Fault::CutsOverlap => self.cuts_overlap(),
            Fault::LinksBreakInHandOff => self.links_break_in_hand_off(),
            Fault::LinksBreakInMerge => self.links_break_in_merge(),
            Fault::Leave => self.leave_and_come_back(),
            Fault::Join => self.join(),
            Fault::PlacesTaken => self.places_taken(),
            Fault::NoDescriptors => self.no_descriptors(),
            Fault::Dns => self.dns_is_gone(),
            Fault::DnsNamesOneself => self.dns_names_oneself(),
            Fault::ClockJumps => self.clock_jumps(),
            Fault::BadNetwork => self.bad_network(),
            Fault::ShardsHeld => self.shards_held(),
            Fault::ReactorStalls => self.reactor_stalls(),
            Fault::FilesDiffer => self.files_differ(),
            Fault::KeysRotate => self.keys_rotate(),
        }
    }

    /// A time of chance, so many milliseconds from now.
    fn soon(&mut self, low: u64, high: u64) -> u64 {
        self.world.now() + nanos(self.dice.time(Duration::from_millis(low), Duration::from_millis(high)))
    }

    fn starts_at(&mut self, n: usize, at: u64) {
        self.world.at(at, move |world| world.start(n));
    }

    fn kill(&mut self, (low, high): (u64, u64)) -> Option<()> {
        self.world.kill(self.one);
        let back = self.soon(low, high);
        self.starts_at(self.one, back);
        Some(())
    }

    fn two_die(&mut self) -> Option<()> {
        let other = self.other.filter(|_| self.running.len() > 2)?;
        self.kill((500, 4_000))?;
        let also = self.soon(0, 20);
        self.world.at(also, move |world| world.kill(other));
        let back = self.soon(500, 4_000);
        self.starts_at(other, back);
        Some(())
    }

    fn dies_while_one_joins(&mut self) -> Option<()> {
        let (one, spare) = (self.one, spare(self.world)?);
        let at = self.soon(0, 1_200);
        self.world.start(spare);
        self.world.at(at, move |world| world.kill(one));
        self.starts_at(one, at + nanos(Duration::from_secs(3)));
        Some(())
    }

    fn pause(&mut self) -> Option<()> {
        let time = self.dice.time(Duration::from_millis(500), Duration::from_secs(6));
        self.world.pause(self.one, time);
        Some(())
    }

    fn cut_one_way(&mut self) -> Option<()> {
        self.world.cut(self.one, self.other?);
        let end = self.soon(500, 7_000);
        self.world.at(end, World::heal);
        Some(())
    }

    fn cut_off(&mut self) -> Option<()> {
        self.other?;
        self.world.cut_off(&[self.one]);
        let end = self.soon(1_000, 10_000);
        self.world.at(end, World::heal);
        Some(())
    }

    fn dies_cut_off(&mut self) -> Option<()> {
        let other = self.other?;
        self.world.cut_off(&[self.one, other]);
        let heal = self.soon(2_500, 6_000);
        self.world.at(heal, World::heal);
        let before = nanos(self.dice.time(Duration::ZERO, Duration::from_millis(1_200)));
        self.world.at(heal - before, move |world| world.kill(other));
        self.starts_at(other, heal + nanos(Duration::from_secs(3)));
        Some(())
    }

    fn cuts_overlap(&mut self) -> Option<()> {
        self.other?;
        self.new_keys_at_all();
        let mut all = self.running.clone();
        self.dice.shuffle(&mut all);
        let half = all.split_at(all.len() / 2).0.to_vec();
        self.world.cut_off(&half);
        let paused = self.dice.pick(&all).copied()?;
        let (at, time) = (self.soon(0, 500), self.dice.time(Duration::from_secs(1), Duration::from_secs(2)));
        self.world.at(at, move |world| world.pause(paused, time));
        let heal = self.soon(1_500, 3_500);
        self.world.at(heal, World::heal);
        // Who comes back is away again before all that it has is merged.
        let after =
            |dice: &mut Dice, from: u64, max: u64| from + nanos(dice.time(Duration::ZERO, Duration::from_millis(max)));
        let also = if self.dice.chance(0.5) { paused } else { self.dice.pick(&all).copied()? };
        let (at, time) =
            (after(&mut self.dice, heal, 1_000), self.dice.time(Duration::from_millis(300), Duration::from_secs(5)));
        self.world.at(at, move |world| world.pause(also, time));
        self.dice.shuffle(&mut all);
        let group = all.split_at(if self.dice.chance(0.5) { 1 } else { all.len() / 2 }).0.to_vec();
        let cut = after(&mut self.dice, at, 1_000);
        self.world.at(cut, move |world| world.cut_off(&group));
        let end = cut + nanos(self.dice.time(Duration::from_millis(500), Duration::from_secs(6)));
        self.world.at(end, World::heal);
        Some(())
    }

    /// Clients at all daemons begin one key after the other, and go on with them until all is over.
    fn new_keys_at_all(&mut self) {
        let (name, until) = (self.world.now() / 1_000_000, self.world.now() + nanos(self.fault.lasts()));
        for n in self.running.clone() {
            let habits = Habits {
                keys: (0..400).map(|key| format!("new{name}-{key}")).collect(),
                think: (Duration::from_millis(5), Duration::from_millis(30)),
                window: 2,
                dedup: 0.7,
                reads: 0.0,
                grow: Duration::from_secs(8),
                until,
                ..Habits::default()
            };
            self.world.add_client(n, habits);
        }
    }

    fn links_break_in_hand_off(&mut self) -> Option<()> {
        let joiner = spare(self.world);
        if let Some(spare) = joiner {
            self.world.start(spare);
        } else {
            self.leave_and_come_back()?;
        }
        let with = joiner.unwrap_or(self.one);
        for _ in 0..8 {
            let at = self.soon(0, 2_000);
            self.links_break_at(at, with, None);
        }
        Some(())
    }

    fn links_break_in_merge(&mut self) -> Option<()> {
        self.other?;
        self.world.cut_off(&[self.one]);
        let heal = self.soon(4_000, 7_000);
        self.world.at(heal, World::heal);
        for _ in 0..12 {
            let at = heal + nanos(self.dice.time(Duration::ZERO, Duration::from_secs(3)));
            let peer = self.dice.pick(&self.others).copied();
            self.links_break_at(at, self.one, peer);
        }
        Some(())
    }

    /// The connections between this daemon and a peer, of those that run if none is named, break then.
    fn links_break_at(&mut self, at: u64, with: usize, peer: Option<usize>) {
        let peer = peer.or_else(|| self.dice.pick(&self.running).copied());
        if let Some(peer) = peer {
            let merging = self.fault == Fault::LinksBreakInMerge;
            let what = if merging { "links-broken-in-merge" } else { "links-broken-in-hand-off" };
            self.world.at(at, move |world| {
                if world.break_links(with, peer) > 0 {
                    world.coverage.fault(what);
                }
            });
        }
    }

    fn leave_and_come_back(&mut self) -> Option<()> {
        self.world.leave(self.one);
        let back = self.soon(3_000, 7_000);
        self.starts_at(self.one, back);
        Some(())
    }

    fn join(&mut self) -> Option<()> {
        let spare = spare(self.world)?;
        self.world.start(spare);
        Some(())
    }

    fn places_taken(&mut self) -> Option<()> {
        let mut crowd = crate::finale::habits(&mut self.dice, &[]);
        crowd.keys = vec!["crowd".to_owned()];
        crowd.think = (Duration::from_secs(3), Duration::from_secs(5));
        crowd.window = 1;
        let limit = self.world.daemons.get(self.one).map_or(0, |daemon| daemon.setup.limits.connections);
        let crowd: Vec<usize> = (0..limit.min(64)).map(|_| self.world.add_client(self.one, crowd.clone())).collect();
        let end = self.soon(2_500, 4_500);
        self.world.at(end, move |world| world.retire(&crowd));
        // A link of a joiner needs a place while all are taken.
        self.joins_within(500, 1_500);
        Some(())
    }

    fn joins_within(&mut self, low: u64, high: u64) {
        if let Some(spare) = spare(self.world) {
            let at = self.soon(low, high);
            self.starts_at(spare, at);
        }
    }

    fn no_descriptors(&mut self) -> Option<()> {
        let host = self.world.host(self.one);
        let open = self.world.net.lock().open_sockets(host);
        self.world.net.lock().set_descriptors(host, open);
        let end = self.soon(500, 4_000);
        self.world.at(end, move |world| world.net.lock().set_descriptors(host, usize::MAX));
        Some(())
    }

    fn dns_is_gone(&mut self) -> Option<()> {
        let modes = [Mode::Silence, Mode::Stale(vec![std::net::IpAddr::from([10, 9, 9, 9])])];
        let mode = self.dice.pick(&modes).cloned()?;
        // A daemon that joins meanwhile finds no other, and is not alone.
        if let Some(joiner) = spare(self.world) {
            self.is_asked_too_early(joiner);
        }
        self.dns_is(mode)
    }

    /// A client asks a daemon that has not joined, and waits for as long as that lets it wait.
    fn is_asked_too_early(&mut self, joiner: usize) {
        let (at, until) = (self.soon(800, 1_000), self.world.now() + nanos(self.fault.lasts()));
        let think = (Duration::from_millis(20), Duration::from_millis(300));
        let (keys, window) = (vec![format!("early{joiner}")], 4);
        let habits = Habits { keys, window, think, direct: 0.0, until, ..Habits::default() };
        self.world.at(at, move |world| _ = world.add_client(joiner, habits));
    }

    /// Who joins meanwhile is alone if that lasts long enough, unless it was told who else is to be there.
    fn dns_names_oneself(&mut self) -> Option<()> {
        self.world.invariants.may_be_split();
        self.dns_is(Mode::OnlyYourself)
    }

    fn dns_is(&mut self, mode: Mode) -> Option<()> {
        self.world.set_dns(mode);
        self.joins_within(0, 800);
        // A resolver waits for five seconds.
        let end = self.soon(1_000, 7_500);
        self.world.at(end, |world| world.set_dns(Mode::Answers));
        Some(())
    }

    fn clock_jumps(&mut self) -> Option<()> {
        let by = self.dice.time(Duration::from_millis(200), Duration::from_secs(3_600));
        self.world.jump(self.one, by);
        Some(())
    }

    fn bad_network(&mut self) -> Option<()> {
        let good = self.world.net.lock().faults().clone();
        let mut bad = good.clone();
        (bad.loss, bad.duplicate, bad.slow) = (0.1, 0.05, 0.05);
        bad.slow_max = Duration::from_millis(150);
        self.world.net.lock().set_faults(bad);
        let end = self.soon(1_000, 4_500);
        self.world.at(end, move |world| world.net.lock().set_faults(good));
        Some(())
    }

    /// As docs/how-to/keys.md has people do it: all take the new key, then all use it, then none takes the old one.
    fn keys_rotate(&mut self) -> Option<()> {
        let old = *self.world.daemons.get(self.one)?.setup.gossip_keys.first()?;
        let new = old.map(|byte| byte.wrapping_add(1));
        let steps: [(u64, &[[u8; 32]]); 3] = [(0, &[old, new]), (1_500, &[new, old]), (3_000, &[new])];
        for (at, keys) in steps {
            for n in 0..self.world.daemons.len() {
                let (at, keys) = (self.soon(at, at + 1_000), keys.to_vec());
                self.world.at(at, move |world| world.rotate(n, &keys));
            }
        }
        self.joins_within(0, 4_000);
        Some(())
    }

    fn files_differ(&mut self) -> Option<()> {
        self.leave_and_come_back()?;
        let revision = self.world.now();
        let setup = &mut self.world.daemons.get_mut(self.one)?.setup;
        let version = revision / 1_000_000;
        setup.machines_revision = Some(revision);
        // It has one such file, whatever was in it before: two with one id are refused.
        setup.machines.retain(|text| !text.contains(LATE));
        setup.machines.push(format!(r#"{{{LATE},"initial":"v{version}","states":{{"v{version}":{{}}}}}}"#));
        Some(())
    }

    fn reactor_stalls(&mut self) -> Option<()> {
        let (one, reactor, times) = (self.one, self.dice.index(2), 1 + self.dice.index(4));
        for _ in 0..times {
            let at = self.soon(0, 3_000);
            let time = self.dice.time(Duration::from_millis(20), Duration::from_millis(900));
            self.world.at(at, move |world| world.stall(one, reactor, time));
        }
        Some(())
    }

    fn shards_held(&mut self) -> Option<()> {
        self.world.foreign_holders = Some(4);
        let end = self.soon(1_000, 4_500);
        self.world.at(end, |world| world.foreign_holders = None);
        Some(())
    }
}

/// How the machine begins whose file differs.
const LATE: &str = r#""id":"late""#;

/// A place where no daemon runs.
fn spare(world: &World) -> Option<usize> {
    (0..world.daemons.len()).find(|n| world.daemons.get(*n).is_some_and(|daemon| !daemon.runs()))
}
