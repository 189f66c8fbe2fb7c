//! Machines that came by `define`: a daemon that serves has them.

use super::{SEC, Scenario, busy_clients, mesh_of, must, setup};
use crate::daemon::Setup;
use crate::machines;
use crate::net::Faults;
use crate::world::World;

pub(super) const ALL: &[Scenario] = &[Scenario {
    name: "a_daemon_that_is_killed_and_starts_at_once_serves_nothing_without_the_machines_that_were_defined",
    fault: 0,
    play: killed_and_started,
    seeds: 5,
    lossless: false,
}];

/// What a daemon knew by `define` alone dies with its process.
fn killed_and_started(seed: u64) -> World {
    let mut world = mesh_of(seed, 3, &Setup { machines: Vec::new(), ..setup() }, Faults::default());
    for machine in machines::ALL {
        let said = world.ask(0, &format!(r#"{{"id":1,"op":"define","definition":{machine}}}"#));
        must(&mut world, said["members"] == 3, || format!("not defined everywhere: {said}"));
    }
    busy_clients(&mut world, &[0, 1, 2], 2, 8);
    world.run(SEC);
    // Two that start at once find each other as well, and neither has anything.
    for killed in [&[1][..], &[1, 2], &[2]] {
        killed.iter().for_each(|n| world.kill(*n));
        killed.iter().for_each(|n| world.start(*n));
        world.run(4 * SEC);
    }
    world.finish();
    world
}
