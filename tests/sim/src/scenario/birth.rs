//! How meshes begin: who is alone, and who must not believe so.

use super::{SEC, Scenario, empty, mesh, must, setup};
use crate::daemon::Setup;
use crate::dns::Mode;
use crate::net::Faults;
use crate::world::World;
use statemesh_node::parts;

pub(super) const ALL: &[Scenario] = &[
    Scenario {
        name: "daemons_that_start_at_once_share_the_partitions",
        fault: 0,
        play: |seed| {
            let mut world = mesh(seed, 5);
            super::busy_clients(&mut world, &[0, 1, 2], 2, 4);
            world.run(3 * SEC);
            world.finish();
            world
        },
        seeds: 3,
        lossless: true,
    },
    Scenario {
        name: "who_hears_nothing_from_dns_does_not_believe_to_be_alone",
        fault: 10,
        play: |seed| joins_behind(seed, Mode::Silence),
        seeds: 1,
        lossless: true,
    },
    Scenario {
        name: "who_finds_only_dead_addresses_does_not_believe_to_be_alone",
        fault: 10,
        play: |seed| joins_behind(seed, Mode::Stale(vec![std::net::IpAddr::from([10, 9, 9, 9])])),
        seeds: 1,
        lossless: true,
    },
    Scenario {
        name: "who_is_kept_out_by_its_seed_does_not_believe_to_be_alone",
        fault: 10,
        play: a_silent_seed,
        seeds: 1,
        lossless: true,
    },
    Scenario {
        name: "three_that_see_only_themselves_at_first_become_one_mesh",
        fault: 10,
        play: |seed| see_only_themselves(seed, &[], 3 * SEC),
        seeds: 4,
        lossless: true,
    },
    Scenario {
        name: "who_meets_only_some_of_those_that_dns_names_waits_for_the_others",
        fault: 0,
        play: meets_only_some,
        seeds: 4,
        lossless: true,
    },
    Scenario {
        name: "who_is_named_for_the_birth_is_not_alone_however_long_dns_names_nobody_else",
        fault: 10,
        play: |seed| see_only_themselves(seed, &["node-0", "node-1", "node-2"], 30 * SEC),
        seeds: 4,
        lossless: true,
    },
    Scenario {
        name: "machines_of_a_higher_revision_become_current_in_a_rolling_upgrade",
        fault: 3,
        play: rolling_upgrade,
        seeds: 6,
        lossless: true,
    },
];

/// A daemon starts while DNS is like this, and others run.
fn joins_behind(seed: u64, mode: Mode) -> World {
    let mut world = mesh(seed, 2);
    world.set_dns(mode);
    world.start(2);
    let ready = world.run_until(20 * SEC, |world| is_ready(world, 2));
    must(&mut world, ready.is_none(), || "it says that it is ready, and knows nobody of the mesh".to_owned());
    world.set_dns(Mode::Answers);
    world.settle(60 * SEC);
    world
}

/// Three daemons start while DNS names to each only itself, for this time.
fn see_only_themselves(seed: u64, birth: &[&str], time: std::time::Duration) -> World {
    let birth = birth.iter().map(|name| (*name).to_owned()).collect();
    let mut world = empty(seed, 3, &Setup { birth, ..setup() }, Faults::default());
    world.set_dns(Mode::OnlyYourself);
    (0..3).for_each(|n| world.start(n));
    let alone = world.run_until(time, |world| (0..3).any(|n| is_ready(world, n)));
    must(&mut world, alone.is_none(), || format!("one is ready and alone after {alone:?}"));
    world.set_dns(Mode::Answers);
    world.settle(40 * SEC);
    super::busy_clients(&mut world, &[0, 1, 2], 1, 4);
    world.run(2 * SEC);
    world.finish();
    world
}

/// Two pairs begin that do not hear each other yet: each would have every partition.
fn meets_only_some(seed: u64) -> World {
    let mut world = empty(seed, 4, &setup(), Faults::default());
    world.cut_off(&[0, 1]);
    (0..4).for_each(|n| world.start(n));
    let ready = world.run_until(4 * SEC, |world| (0..4).any(|n| is_ready(world, n)));
    must(&mut world, ready.is_none(), || format!("one is ready after {ready:?}, and has met one of three"));
    world.heal();
    world.settle(20 * SEC);
    super::busy_clients(&mut world, &[0, 2], 2, 4);
    world.run(SEC);
    world.finish();
    world
}

fn is_ready(world: &World, n: usize) -> bool {
    let process = world.process(n);
    process.is_some_and(|process| parts::standing(&process.shared).0)
}

fn a_silent_seed(seed: u64) -> World {
    let mut world = empty(seed, 2, &setup(), Faults::default());
    let seeds = vec![std::net::SocketAddr::new(world.net.lock().ip(0), 7999)];
    if let Some(daemon) = world.daemons.get_mut(1) {
        daemon.setup = Setup { service: None, seeds, ..setup() };
    }
    world.start(0);
    world.run(10 * SEC);
    world.set_dns(Mode::Silence);
    world.start(1);
    world.run(20 * SEC);
    // The other one may have found it: then it is not alone.
    let standing = world.process(1).map(|p| parts::standing(&p.shared));
    must(&mut world, standing != Some((true, 1)), || "its only seed is silent, and it is ready and alone".to_owned());
    world
}

/// Each daemon is told to leave and comes back with a file that has changed, and a higher revision.
fn rolling_upgrade(seed: u64) -> World {
    let text = |n: u64| format!(r#"{{"id":"file","initial":"v{n}","states":{{"v{n}":{{}}}}}}"#);
    let with = |n: u64| Setup { machines: vec![text(seed * 10 + n)], machines_revision: Some(n), ..setup() };
    let mut world = super::mesh_of(seed, 3, &with(1), Faults::default());
    for n in 0..3 {
        world.leave(n);
        world.run_until(20 * SEC, |world| world.daemons.get(n).is_some_and(|daemon| !daemon.runs()));
        if let Some(daemon) = world.daemons.get_mut(n) {
            daemon.setup = with(2);
        }
        world.start(n);
        world.settle(40 * SEC);
    }
    let new = format!("v{}", seed * 10 + 2);
    for n in 0..3 {
        let said = world.ask(n, &format!(r#"{{"id":1,"op":"start","machine":"file","key":"k{n}"}}"#));
        must(&mut world, said["value"] == new, || format!("node-{n} still starts the old version: {said}"));
    }
    world
}
