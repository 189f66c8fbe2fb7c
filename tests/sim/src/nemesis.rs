//! What goes wrong: each fault has a name, is done at a time of the seed's choice, and ends by itself.

use std::time::Duration;

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
    /// DNS is silent, stale, or names nobody.
    Dns,
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
        Self::LinksBreakInHandOff,
        Self::LinksBreakInMerge,
        Self::Leave,
        Self::Join,
        Self::PlacesTaken,
        Self::NoDescriptors,
        Self::Dns,
        Self::ClockJumps,
        Self::BadNetwork,
        Self::ShardsHeld,
        Self::ReactorStalls,
        Self::FilesDiffer,
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
            Self::LinksBreakInHandOff => "links-break-in-hand-off",
            Self::LinksBreakInMerge => "links-break-in-merge",
            Self::Leave => "leave-under-load",
            Self::Join => "join",
            Self::PlacesTaken => "clients-take-every-place",
            Self::NoDescriptors => "no-descriptors",
            Self::Dns => "dns-gone",
            Self::ClockJumps => "clock-jumps",
            Self::BadNetwork => "bad-network",
            Self::ShardsHeld => "shards-held",
            Self::ReactorStalls => "reactor-stalls",
            Self::FilesDiffer => "machine-files-differ",
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
        )
    }

    /// How long it lasts, with what it needs to be over.
    #[must_use]
    pub fn lasts(self) -> Duration {
        Duration::from_secs(match self {
            Self::CutOff | Self::DiesCutOff | Self::LinksBreakInMerge => 12,
            Self::CutOneWay | Self::Leave | Self::Pause | Self::Dns | Self::FilesDiffer => 8,
            _ => 5,
        })
    }

    /// Begins it.
    pub fn begin(self, world: &mut World) {
        world.count(self.name());
        world.line(format!("fault: {}", self.name()));
        let mut dice = world.dice.fork();
        let running = world.running();
        let Some(one) = dice.pick(&running).copied() else { return };
        let others: Vec<usize> = running.iter().copied().filter(|n| *n != one).collect();
        let other = dice.pick(&others).copied();
        let soon = |world: &World, dice: &mut Dice, low, high| {
            world.now() + nanos(dice.time(Duration::from_millis(low), Duration::from_millis(high)))
        };
        match self {
            Self::Kill => {
                world.kill(one);
                let back = soon(world, &mut dice, 1_500, 4_000);
                world.at(back, move |world| world.start(one));
            }
            Self::KillAndStart => {
                world.kill(one);
                let back = soon(world, &mut dice, 1, 300);
                world.at(back, move |world| world.start(one));
            }
            Self::TwoDie => {
                world.kill(one);
                let back = soon(world, &mut dice, 500, 4_000);
                world.at(back, move |world| world.start(one));
                if let Some(other) = other.filter(|_| running.len() > 2) {
                    let also = soon(world, &mut dice, 0, 20);
                    world.at(also, move |world| world.kill(other));
                    let back = soon(world, &mut dice, 500, 4_000);
                    world.at(back, move |world| world.start(other));
                }
            }
            Self::DiesWhileOneJoins => {
                let spare = spare(world);
                let at = soon(world, &mut dice, 0, 1_200);
                if let Some(spare) = spare {
                    world.start(spare);
                    world.at(at, move |world| world.kill(one));
                    let back = at + nanos(Duration::from_secs(3));
                    world.at(back, move |world| world.start(one));
                }
            }
            Self::Pause => {
                let time = dice.time(Duration::from_millis(500), Duration::from_secs(6));
                world.pause(one, time);
            }
            Self::CutOneWay => {
                if let Some(other) = other {
                    world.cut(one, other);
                    let end = soon(world, &mut dice, 500, 7_000);
                    world.at(end, World::heal);
                }
            }
            Self::CutOff => {
                world.cut_off(&[one]);
                let end = soon(world, &mut dice, 1_000, 10_000);
                world.at(end, World::heal);
            }
            Self::DiesCutOff => {
                let Some(other) = other else { return };
                world.cut_off(&[one, other]);
                let heal = soon(world, &mut dice, 2_500, 6_000);
                world.at(heal, World::heal);
                let before = nanos(dice.time(Duration::ZERO, Duration::from_millis(1_200)));
                world.at(heal - before, move |world| world.kill(other));
                let back = heal + nanos(Duration::from_secs(3));
                world.at(back, move |world| world.start(other));
            }
            Self::LinksBreakInHandOff => {
                let joiner = spare(world);
                if let Some(spare) = joiner {
                    world.start(spare);
                } else {
                    world.leave(one);
                    let back = soon(world, &mut dice, 3_000, 4_500);
                    world.at(back, move |world| world.start(one));
                }
                let with = joiner.unwrap_or(one);
                for _ in 0..8 {
                    let at = soon(world, &mut dice, 0, 2_000);
                    if let Some(peer) = dice.pick(&running).copied() {
                        world.at(at, move |world| world.break_links(with, peer));
                    }
                }
            }
            Self::LinksBreakInMerge => {
                world.cut_off(&[one]);
                let heal = soon(world, &mut dice, 4_000, 7_000);
                world.at(heal, World::heal);
                for _ in 0..12 {
                    let at = heal + nanos(dice.time(Duration::ZERO, Duration::from_secs(3)));
                    if let Some(peer) = dice.pick(&others).copied() {
                        world.at(at, move |world| world.break_links(one, peer));
                    }
                }
            }
            Self::Leave => {
                world.leave(one);
                let back = soon(world, &mut dice, 3_000, 7_000);
                world.at(back, move |world| world.start(one));
            }
            Self::Join => {
                if let Some(spare) = spare(world) {
                    world.start(spare);
                }
            }
            Self::PlacesTaken => {
                let mut crowd = crate::finale::habits(&mut dice, &[]);
                crowd.keys = vec!["crowd".to_owned()];
                crowd.think = (Duration::from_secs(3), Duration::from_secs(5));
                crowd.window = 1;
                let limit = world.daemons.get(one).map_or(0, |daemon| daemon.setup.limits.connections);
                let crowd: Vec<usize> = (0..limit.min(64)).map(|_| world.add_client(one, crowd.clone())).collect();
                let end = soon(world, &mut dice, 2_500, 4_500);
                world.at(end, move |world| world.retire(&crowd));
                // A link of a joiner needs a place while all are taken.
                if let Some(spare) = spare(world) {
                    let at = soon(world, &mut dice, 500, 1_500);
                    world.at(at, move |world| world.start(spare));
                }
            }
            Self::NoDescriptors => {
                let host = world.host(one);
                let open = world.net.lock().open_sockets(host);
                world.net.lock().set_descriptors(host, open);
                let end = soon(world, &mut dice, 500, 4_000);
                world.at(end, move |world| world.net.lock().set_descriptors(host, usize::MAX));
            }
            Self::Dns => {
                let modes = [Mode::Silence, Mode::Stale(vec![std::net::IpAddr::from([10, 9, 9, 9])])];
                if let Some(mode) = dice.pick(&modes).cloned() {
                    world.set_dns(mode);
                }
                // Who joins meanwhile finds nobody, and is not alone.
                if let Some(spare) = spare(world) {
                    let at = soon(world, &mut dice, 0, 800);
                    world.at(at, move |world| world.start(spare));
                }
                // A resolver waits for five seconds.
                let end = soon(world, &mut dice, 1_000, 7_500);
                world.at(end, |world| world.set_dns(Mode::Answers));
            }
            Self::ClockJumps => {
                let by = dice.time(Duration::from_millis(200), Duration::from_secs(3_600));
                world.jump(one, by);
            }
            Self::BadNetwork => {
                let good = world.net.lock().faults().clone();
                let mut bad = good.clone();
                (bad.loss, bad.duplicate, bad.slow) = (0.1, 0.05, 0.05);
                bad.slow_max = Duration::from_millis(150);
                world.net.lock().set_faults(bad);
                let end = soon(world, &mut dice, 1_000, 4_500);
                world.at(end, move |world| world.net.lock().set_faults(good));
            }
            Self::FilesDiffer => {
                world.leave(one);
                let revision = world.now();
                if let Some(daemon) = world.daemons.get_mut(one) {
                    let version = revision / 1_000_000;
                    daemon.setup.machines_revision = Some(revision);
                    daemon
                        .setup
                        .machines
                        .push(format!(r#"{{"id":"late","initial":"v{version}","states":{{"v{version}":{{}}}}}}"#));
                }
                let back = soon(world, &mut dice, 3_000, 7_000);
                world.at(back, move |world| world.start(one));
            }
            Self::ReactorStalls => {
                let (reactor, times) = (dice.index(2), 1 + dice.index(4));
                for _ in 0..times {
                    let at = soon(world, &mut dice, 0, 3_000);
                    let time = dice.time(Duration::from_millis(20), Duration::from_millis(900));
                    world.at(at, move |world| world.stall(one, reactor, time));
                }
            }
            Self::ShardsHeld => {
                world.foreign_holders = Some(4);
                let end = soon(world, &mut dice, 1_000, 4_500);
                world.at(end, |world| world.foreign_holders = None);
            }
        }
    }
}

/// A place where no daemon runs.
fn spare(world: &World) -> Option<usize> {
    (0..world.daemons.len()).find(|n| world.daemons.get(*n).is_some_and(|daemon| !daemon.runs()))
}
