//! Links that take long, lose and break, also in the midst of a hand-off or a merge.

use std::time::Duration;

use super::{KEY, SEC, Scenario, add, alive_for, busy_clients, empty, mesh, mesh_of, must, nobody_dies, setup};
use crate::client::Habits;
use crate::daemon::Setup;
use crate::dice::nanos;
use crate::net::Faults;
use crate::world::World;
use statemesh_node::parts;

pub(super) const ALL: &[Scenario] = &[
    Scenario {
        name: "links_that_take_long_to_come_about_make_nobody_serve_what_another_does",
        fault: 0,
        play: slow_links,
        seeds: 8,
        lossless: true,
    },
    Scenario {
        name: "who_began_alone_is_waited_for_however_long_links_to_it_take",
        fault: 0,
        play: slow_links_to_the_first,
        seeds: 4,
        lossless: true,
    },
    Scenario {
        name: "a_minute_of_loss_and_delay_makes_nobody_dead",
        fault: 0,
        play: |seed| {
            let mut world = mesh_of(seed, 3, &setup(), bad());
            busy_clients(&mut world, &[0, 1, 2], 1, 2);
            nobody_dies(&mut world, 60 * SEC);
            world.finish();
            world
        },
        seeds: 2,
        lossless: true,
    },
    Scenario {
        name: "while_gossip_keys_are_rotated_nobody_is_taken_for_dead_and_others_join",
        fault: 0,
        play: keys_rotate,
        seeds: 2,
        lossless: true,
    },
    Scenario {
        name: "joins_and_leaves_at_the_same_time_lose_and_double_nothing",
        fault: 0,
        play: |seed| join_and_leave(seed, Faults::default(), Duration::from_millis(7 * seed)),
        seeds: 8,
        lossless: true,
    },
    Scenario {
        name: "joins_and_leaves_at_the_same_time_with_loss_and_delay_lose_and_double_nothing",
        fault: 0,
        play: |seed| join_and_leave(seed, bad(), Duration::from_millis(150 * seed)),
        seeds: 6,
        lossless: true,
    },
    Scenario {
        name: "all_daemons_but_one_can_leave_and_the_last_one_may_go_too",
        fault: 0,
        play: |seed| {
            let mut world = mesh(seed, 4);
            busy_clients(&mut world, &[0], 4, 4);
            world.run(SEC);
            (1..4).for_each(|n| world.leave(n));
            world.settle(20 * SEC);
            world.finish();
            world.leave(0);
            let gone = world.run_until(5 * SEC, |world| world.daemons.first().is_some_and(|daemon| !daemon.runs()));
            must(&mut world, gone.is_some(), || "the last one is told to leave and goes on for 5 s".to_owned());
            world
        },
        seeds: 4,
        lossless: true,
    },
    Scenario {
        name: "links_that_break_whenever_a_partition_has_arrived_lose_nothing",
        fault: 0,
        play: break_at_arrivals,
        seeds: 12,
        lossless: true,
    },
    Scenario {
        name: "what_had_half_arrived_when_a_link_broke_is_not_there_again_after_the_next_hand_off",
        fault: 0,
        play: half_arrived,
        seeds: 8,
        lossless: true,
    },
    Scenario {
        name: "what_a_third_daemon_passes_on_late_is_not_applied_behind_what_came_after_it",
        fault: 0,
        play: passed_on_late,
        seeds: 20,
        lossless: true,
    },
    Scenario {
        name: "what_waits_beyond_a_link_that_has_ended_is_discarded_before_anything_comes_by_another",
        fault: 0,
        play: waits_and_ended,
        seeds: 8,
        lossless: true,
    },
    Scenario {
        name: "what_waits_at_a_daemon_that_was_paused_is_refused_when_it_goes_on",
        fault: 0,
        play: waits_and_doubted,
        seeds: 8,
        lossless: false,
    },
    Scenario {
        name: "what_lies_unread_on_a_link_that_has_ended_is_not_applied_behind_what_came_by_the_next",
        fault: 0,
        play: unread_and_ended,
        seeds: 8,
        lossless: true,
    },
    Scenario {
        name: "a_daemon_that_dies_while_partitions_come_to_it_loses_nothing_without_a_word",
        fault: 0,
        play: dies_while_given,
        seeds: 12,
        lossless: false,
    },
    Scenario {
        name: "a_link_that_breaks_at_any_place_of_a_merge_loses_no_copy",
        fault: 0,
        play: break_in_merge,
        seeds: 240,
        lossless: true,
    },
    Scenario {
        name: "what_was_lost_is_said_also_when_the_next_owner_has_died",
        fault: 0,
        play: lost_twice,
        seeds: 4,
        lossless: false,
    },
];

/// Step by step, one daemon long after the other, and one joins in the midst of each step.
fn keys_rotate(seed: u64) -> World {
    let mut world = mesh(seed, 3);
    busy_clients(&mut world, &[0, 1, 2], 1, 2);
    let new = [8; 32];
    for (step, keys) in [&[KEY, new][..], &[new, KEY], &[new]].into_iter().enumerate() {
        // Who has not begun yet finds what the first one was given.
        for n in [0, 3, 4, 1, 2] {
            world.rotate(n, keys);
            if n == 4 && step < 2 {
                world.start(3 + step);
                let settled = world.run_until(20 * SEC, |world| world.is_settled());
                must(&mut world, settled.is_some(), || format!("who joins in step {step} is not settled after 20 s"));
            }
            nobody_dies(&mut world, 3 * SEC);
        }
    }
    world.finish();
    world
}

/// 20 ms each way; a twentieth of the datagrams is lost, and of what connections carry so much is sent again.
fn bad() -> Faults {
    let millis = Duration::from_millis;
    Faults {
        delay_min: millis(18),
        delay_max: millis(22),
        loss: 0.05,
        duplicate: 0.01,
        slow: 0.05,
        slow_max: millis(222),
        ..Faults::default()
    }
}

/// Lets time pass, in which no partition is served twice. The world itself looks only once all have met.
fn nowhere_twice(world: &mut World, time: Duration) {
    let until = world.now() + nanos(time);
    while world.now() < until {
        world.run(Duration::from_millis(2));
        let twice = (0..world.partitions()).map(|p| (p, world.servers_of(p))).find(|(_, s)| s.len() > 1);
        if let Some((partition, servers)) = twice {
            let at = crate::judge::time(world.now());
            return world.judge.wrong(format!("partition {partition} is served by {servers:?} at {at}"));
        }
    }
}

fn slow_links(seed: u64) -> World {
    let (daemons, longest) = [(2, 30), (3, 5), (3, 30), (5, 15)][seed as usize % 4];
    let faults = Faults { connect_max: longest * SEC, ..Faults::default() };
    let mut world = empty(seed, daemons, &setup(), faults);
    (0..daemons).for_each(|n| world.start(n));
    nowhere_twice(&mut world, 35 * SEC);
    world.net.lock().set_faults(Faults::default());
    world.settle(40 * SEC);
    world
}

fn slow_links_to_the_first(seed: u64) -> World {
    let mut world = empty(seed, 4, &setup(), Faults::default());
    world.start(0);
    world.settle(20 * SEC);
    let keys: Vec<String> = (0..30).map(|n| format!("k{n}")).collect();
    keys.iter().for_each(|key| write(&mut world, 0, key));
    world.net.lock().set_faults(Faults { connect_max: 30 * SEC, ..Faults::default() });
    (1..4).for_each(|n| world.start(n));
    nowhere_twice(&mut world, 35 * SEC);
    world.net.lock().set_faults(Faults::default());
    world.settle(40 * SEC);
    all_are_there(&mut world, &keys);
    world
}

/// One event of the machine that writes down its events' numbers.
fn write(world: &mut World, daemon: usize, key: &str) {
    let said = add(world, daemon, key, 1);
    must(world, said["ok"] == true, || format!("{key} at node-{daemon}: {said}"));
}

/// Each of these keys has its one event.
fn all_are_there(world: &mut World, keys: &[String]) {
    let at = world.running().first().copied().unwrap_or_default();
    let gone: Vec<&String> = keys.iter().filter(|key| world.get(at, "log", key)["context"]["count"] != 1).collect();
    let (text, none) = (format!("{} of {} keys are gone: {gone:?}", gone.len(), keys.len()), gone.is_empty());
    must(world, none, || text);
}

fn join_and_leave(seed: u64, faults: Faults, between: Duration) -> World {
    let mut world = mesh_of(seed, 4, &setup(), faults);
    busy_clients(&mut world, &[0, 1], 3, 3);
    world.run(SEC);
    world.leave(2);
    world.start(4);
    world.run(between);
    world.start(5);
    world.leave(3);
    world.run(4 * SEC);
    world.finish();
    let left = world.coverage.left_behind();
    must(&mut world, left == 0, || format!("{left} instances were left behind"));
    world
}

/// Partitions that a daemon serves.
fn served_by(world: &World, n: usize) -> usize {
    let Some(process) = world.process(n) else { return 0 };
    (0..world.partitions()).filter(|p| parts::serves(&process.shared, *p)).count()
}

/// Lets time pass until a daemon serves so many partitions, looking often enough to see what lasts for one hand-off.
fn until_it_serves(world: &mut World, n: usize, partitions: usize) -> bool {
    let until = world.now() + nanos(SEC);
    while world.now() < until {
        if served_by(world, n) >= partitions {
            return true;
        }
        world.run(Duration::from_micros(100));
    }
    false
}

fn many_partitions() -> Setup {
    Setup { partitions: 48, ..setup() }
}

/// Some daemons of a mesh that one more joins, under load.
fn one_joins(seed: u64) -> World {
    let mut world = mesh_of(seed, 3, &many_partitions(), Faults::default());
    busy_clients(&mut world, &[0, 1, 2], 2, 4);
    world.run(SEC);
    world.start(3);
    world
}

fn break_at_arrivals(seed: u64) -> World {
    let mut world = one_joins(seed);
    for step in 0..6 {
        let served = served_by(&world, 3);
        if !until_it_serves(&mut world, 3, served + 1) {
            break;
        }
        world.run(Duration::from_micros(150 * (seed - 1)));
        (0..3).filter(|n| *n != step % 4).for_each(|n| _ = world.break_links(n, 3));
    }
    world.run(2 * SEC);
    world.finish();
    world
}

/// Far apart, and little fits into a connection: moves take long.
fn far() -> Faults {
    let millis = Duration::from_millis;
    Faults {
        delay_min: millis(5),
        delay_max: millis(8),
        send_buffer: 64 * 1024,
        receive_buffer: 64 * 1024,
        ..Faults::default()
    }
}

/// Keys whose instances are large.
fn fat_keys(world: &mut World, number: usize, bytes: usize) -> Vec<String> {
    let keys: Vec<String> = (0..number).map(|n| format!("f{n}")).collect();
    let text = "x".repeat(bytes);
    for key in &keys {
        let grow = format!(r#"{{"type":"GROW","text":"{text}"}}"#);
        let said = world.ask(0, &format!(r#"{{"id":1,"op":"send","machine":"fat","key":"{key}","event":{grow}}}"#));
        must(world, said["ok"] == true, || format!("{key}: {said}"));
    }
    keys
}

/// Instances that a daemon has taken in.
fn taken_in(world: &World, n: usize) -> u64 {
    let process = world.process(n);
    let counters = process.iter().flat_map(|process| &process.shared.counters);
    counters.map(|counters| counters.handoff_instances.get()).sum()
}

/// Lets time pass until the first instances have arrived.
fn until_some_arrive(world: &mut World, n: usize) {
    let until = world.now() + nanos(20 * SEC);
    while taken_in(world, n) == 0 && world.now() < until {
        world.run(Duration::from_micros(100));
    }
    let some = taken_in(world, n) > 0;
    must(world, some, || format!("nothing has arrived at node-{n} after 20 s"));
}

/// Half of a partition has arrived when the link breaks. Its instances are removed where they still are, and it is handed over again.
fn half_arrived(seed: u64) -> World {
    let mut world = mesh_of(seed, 2, &Setup { partitions: 8, ..setup() }, far());
    let keys = fat_keys(&mut world, 60, 40_000);
    world.start(2);
    until_some_arrive(&mut world, 2);
    world.run(Duration::from_millis(4 * (seed - 1)));
    (0..2).for_each(|n| _ = world.break_links(n, 2));
    let delete = |key: &String| format!(r#"{{"id":1,"op":"delete","machine":"fat","key":"{key}"}}"#);
    let all: Vec<String> = keys.iter().map(delete).collect();
    let said = world.ask(0, &format!("[{}]", all.join(",")));
    let fine = said.as_array().is_some_and(|said| said.iter().all(|said| said["ok"] == true));
    must(&mut world, fine, || format!("not all are removed: {said}"));
    world.settle(40 * SEC);
    world.run(5 * SEC);
    let back: Vec<&String> = keys.iter().filter(|key| world.get(1, "fat", key)["ok"] == true).collect();
    let (text, none) = (format!("{back:?} were removed, and are there"), back.is_empty());
    must(&mut world, none, || text);
    world
}

/// Partitions move under load, and the links between the clients' daemon and those who hand over break now and then: what these
/// had, and have passed on, is on its way behind many bytes.
fn passed_on_late(seed: u64) -> World {
    let mut world = mesh_of(seed, 3, &Setup { partitions: 8, ..setup() }, far());
    fat_keys(&mut world, 60, 40_000);
    hasty_clients(&mut world, 8);
    world.run(Duration::from_millis(300));
    world.start(3);
    until_some_arrive(&mut world, 3);
    for step in 0..30 {
        world.run(Duration::from_millis(7 + (seed * 5 + step * 3) % 11));
        world.break_links(0, 1 + step as usize % 2);
    }
    world.run(SEC);
    world.finish();
    world
}

/// Two clients at the first daemon that write so many keys as fast as they are answered.
fn hasty_clients(world: &mut World, keys: usize) {
    for _ in 0..2 {
        let keys = (0..keys).map(|n| format!("k{n}")).collect();
        let think = (Duration::from_micros(200), Duration::from_millis(5));
        let habits = Habits { keys, window: 16, think, dedup: 0.5, direct: 0.0, reads: 0.0, ..Habits::default() };
        world.add_client(0, habits);
    }
}

/// Partitions have moved from one daemon to a third, of which the first does not hear yet: it passes requests on to the second,
/// where they wait for a link to the third.
fn waits_for_a_link(seed: u64) -> World {
    let mut world = mesh_of(seed, 3, &many_partitions(), Faults::default());
    // So many that each reactor has some.
    (0..3).for_each(|_| hasty_clients(&mut world, 24));
    world.run(Duration::from_millis(300));
    world.start(3);
    until_it_serves(&mut world, 3, 1);
    // It hears that on its control lane, which another reactor minds than the one that asks.
    world.stall(0, 0, Duration::from_millis(200));
    let some = until_it_serves(&mut world, 3, 6);
    must(&mut world, some, || "node-3 does not serve six partitions after a second".to_owned());
    world.cut(3, 0);
    world.part(1, 3);
    world.break_links(1, 3);
    let waits = world.run_until(SEC, |world| parked_at(world, 1) > 0);
    must(&mut world, waits.is_some(), || "nothing waits at node-1 after a second".to_owned());
    world
}

/// The link that the waiting requests came on ends, and what is sent next goes to the third daemon.
fn waits_and_ended(seed: u64) -> World {
    let mut world = waits_for_a_link(seed);
    world.part(0, 1);
    world.break_links(0, 1);
    world.run(Duration::from_millis(5));
    let left = parked_at(&world, 1);
    must(&mut world, left == 0, || format!("{left} requests of a link that has ended wait on"));
    world.mend(0, 3);
    world.run(Duration::from_millis(200));
    world.mend(1, 3);
    world.leave(3);
    world.run(2 * SEC);
    world.heal();
    world.settle(40 * SEC);
    world.finish();
    world
}

/// The daemon where they wait is paused for longer than the others wait for it.
fn waits_and_doubted(seed: u64) -> World {
    let mut world = waits_for_a_link(seed);
    world.cut(0, 1);
    world.pause(1, 3 * SEC);
    world.run(3 * SEC + Duration::from_millis(10));
    let left = parked_at(&world, 1);
    must(&mut world, left == 0, || format!("{left} requests wait on that others may have given up"));
    world.heal();
    world.settle(40 * SEC);
    world.finish();
    world
}

fn parked_at(world: &World, n: usize) -> u64 {
    let process = world.process(n);
    process.map_or(0, |process| parts::parked(&process.shared))
}

/// One reactor of the second daemon has no turn while its links end, so that what they carried lies there; the other one reads
/// what comes by the next.
fn unread_and_ended(seed: u64) -> World {
    let mut world = mesh(seed, 2);
    hasty_clients(&mut world, 8);
    world.run(Duration::from_millis(300));
    for step in 0..16 {
        world.stall(1, step % 2, Duration::from_millis(60));
        world.run(Duration::from_millis(3 + (seed + step as u64) % 5));
        world.break_links(0, 1);
        world.run(Duration::from_millis(150));
    }
    world.run(SEC);
    world.finish();
    world
}

fn dies_while_given(seed: u64) -> World {
    let mut world = one_joins(seed);
    let some = until_it_serves(&mut world, 3, seed as usize);
    must(&mut world, some, || format!("it does not serve {seed} partitions after a second"));
    world.kill(3);
    world.settle(10 * SEC);
    world.finish();
    world
}

/// Two daemons and one write keys of their own while they do not hear each other. Then a link between them breaks once, each
/// seed a little later.
fn break_in_merge(seed: u64) -> World {
    let mut world = mesh(seed, 3);
    world.cut_off(&[2]);
    world.run(5 * SEC);
    let keys: Vec<String> = (0..30).map(|n| format!("k{n}")).collect();
    keys.iter().enumerate().for_each(|(n, key)| write(&mut world, n % 3, key));
    world.heal();
    let until = world.now() + nanos(20 * SEC);
    while (0..3).any(|n| alive_for(&world, n) < 3) && world.now() < until {
        world.run(Duration::from_micros(100));
    }
    world.run(Duration::from_micros(PLACES * (seed / 2)));
    world.break_links(2, seed as usize % 2);
    // It is settled before all copies have met.
    world.run(5 * SEC);
    world.settle(40 * SEC);
    all_are_there(&mut world, &keys);
    world
}

/// Microseconds between two places of a merge, which takes some 60 ms.
const PLACES: u64 = 500;

/// An owner dies, another daemon joins, and the one that came after the first owner dies before it is asked.
fn lost_twice(seed: u64) -> World {
    let mut world = mesh(seed, 4);
    let keys: Vec<String> = (0..60).map(|n| format!("k{n}")).collect();
    keys.iter().for_each(|key| write(&mut world, 0, key));
    // Who dies a moment after a move takes along what it had not told yet.
    let settle = |world: &mut World| {
        world.settle(20 * SEC);
        world.run(SEC);
    };
    world.kill(3);
    settle(&mut world);
    world.start(4);
    settle(&mut world);
    world.kill(2);
    settle(&mut world);
    let (mut lost, mut unsaid) = (0, Vec::new());
    for key in &keys {
        if world.get(0, "log", key)["context"]["count"] != 1 {
            lost += 1;
            if world.send(0, "log", key, "PROBE")["restarted"] != true {
                unsaid.push(key);
            }
        }
    }
    let (text, fine) = (format!("{lost} instances were lost, and of {unsaid:?} it was not said"), unsaid.is_empty());
    must(&mut world, lost > 20 && fine, || text);
    world
}
