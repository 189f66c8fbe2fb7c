//! Partitions that move: what is under way stays in order, nothing is lost, and what cannot be moved stays where it is.

use std::time::Duration;

use super::{SEC, Scenario, busy_clients, mesh, mesh_of, must, setup};
use statemesh_node::options::Mailboxes;

use crate::daemon::Setup;
use crate::net::Faults;
use crate::world::World;

pub(super) const ALL: &[Scenario] = &[
    Scenario {
        name: "a_join_under_load_loses_and_doubles_nothing",
        fault: 0,
        play: |seed| {
            let mut world = mesh(seed, 3);
            busy_clients(&mut world, &[0, 1, 2], 3, 8);
            world.run(SEC);
            world.start(3);
            world.run(3 * SEC);
            world.finish();
            world
        },
        seeds: 5,
        lossless: true,
    },
    Scenario {
        name: "a_leave_under_load_loses_and_doubles_nothing",
        fault: 0,
        play: |seed| {
            let mut world = mesh(seed, 3);
            busy_clients(&mut world, &[0, 1], 3, 8);
            world.run(SEC);
            world.leave(2);
            world.run(4 * SEC);
            world.finish();
            world
        },
        seeds: 5,
        lossless: true,
    },
    Scenario {
        name: "clients_of_a_daemon_that_leaves_are_answered_and_never_that_nobody_knows",
        fault: 0,
        play: |seed| {
            // On their way for so long that there is always one at another daemon.
            let slow = Faults { delay_max: Duration::from_millis(2), ..Faults::default() };
            let mut world = mesh_of(seed, 3, &setup(), slow);
            busy_clients(&mut world, &[2], 12, 16);
            for _ in 0..4 {
                world.run(SEC);
                world.leave(2);
                world.run_until(10 * SEC, |world| world.daemons.get(2).is_some_and(|daemon| !daemon.runs()));
                world.start(2);
                world.settle(20 * SEC);
            }
            world.finish();
            what_became_of_each_is_known(&mut world);
            world
        },
        seeds: 4,
        lossless: true,
    },
    Scenario {
        name: "a_leave_while_a_reactor_elsewhere_stands_still_leaves_no_outcome_unknown",
        fault: 0,
        play: |seed| {
            // Now and then so slow that what is passed on by one link is overtaken on another one.
            let slow = Faults { slow: 0.1, slow_max: Duration::from_millis(300), ..Faults::default() };
            let mut world = mesh_of(seed, 3, &setup(), slow);
            busy_clients(&mut world, &[1], 8, 8);
            world.run(SEC);
            world.leave(0);
            // What it was told of the routes it takes when it goes on, behind what its clients have asked meanwhile.
            world.run(Duration::from_millis(4 * (seed - 1)));
            world.stall(1, seed as usize % 2, Duration::from_millis(300));
            world.run(4 * SEC);
            world.finish();
            what_became_of_each_is_known(&mut world);
            world
        },
        seeds: 12,
        lossless: true,
    },
    Scenario {
        name: "what_a_daemon_that_starts_again_at_once_passes_on_is_answered_though_others_let_go_of_its_last_process",
        fault: 0,
        play: |seed| {
            let setup = Setup { mailboxes: Mailboxes { reactor: 1, control: 1 }, ..setup() };
            let mut world = mesh_of(seed, 4, &setup, Faults::default());
            busy_clients(&mut world, &[0, 1, 2], 3, 8);
            for _ in 0..6 {
                world.leave(0);
                world.run(Duration::from_millis(10 * seed));
                world.leave(1);
                world.run_until(10 * SEC, |world| world.daemons.iter().take(2).all(|daemon| !daemon.runs()));
                (0..2).for_each(|n| world.start(n));
                world.settle(20 * SEC);
            }
            world.finish();
            world
        },
        seeds: 6,
        lossless: true,
    },
    Scenario {
        name: "events_of_a_key_stay_in_order_while_it_moves_and_others_look_into_its_shard",
        fault: 5,
        play: |seed| {
            let mut world = mesh(seed, 2);
            busy_clients(&mut world, &[0, 1], 6, 64);
            world.foreign_holders = Some(2);
            world.run(SEC);
            world.start(2);
            world.run(2 * SEC);
            world.leave(2);
            world.run(3 * SEC);
            world.finish();
            world
        },
        seeds: 8,
        lossless: true,
    },
    Scenario {
        name: "links_that_break_during_a_hand_off_lose_nothing",
        fault: 6,
        play: |seed| {
            let mut world = mesh(seed, 3);
            busy_clients(&mut world, &[0, 1, 2], 2, 4);
            world.run(SEC);
            world.start(3);
            for step in 0..12 {
                world.run(Duration::from_millis(20 * (step + 1)));
                world.break_links(step as usize % 3, 3);
            }
            world.run(2 * SEC);
            world.finish();
            world
        },
        seeds: 5,
        lossless: true,
    },
    Scenario {
        name: "an_instance_with_a_large_table_moves_like_any_other",
        fault: 12,
        play: large_table,
        seeds: 1,
        lossless: true,
    },
    Scenario {
        name: "the_owner_named_to_a_client_is_never_the_daemon_that_names_it",
        fault: 14,
        play: named_owners,
        seeds: 3,
        lossless: true,
    },
    Scenario {
        name: "timers_go_on_where_a_partition_has_moved",
        fault: 0,
        play: |seed| {
            let mut world = mesh(seed, 2);
            (0..20).for_each(|n| drop(world.send(n % 2, "tick", &format!("t{n}"), "GO")));
            world.start(2);
            world.run(5 * SEC);
            for n in 0..20 {
                let said = world.get(n % 3, "tick", &format!("t{n}"));
                must(&mut world, said["context"]["ticks"] == 1, || format!("t{n} did not tick once: {said}"));
            }
            world
        },
        seeds: 3,
        lossless: true,
    },
    Scenario {
        name: "what_a_daemon_that_joins_cannot_read_stays_where_it_is",
        fault: 12,
        play: no_room_for_machines,
        seeds: 2,
        lossless: true,
    },
];

/// A contradiction, if a client was told that it is not known what became of its request.
fn what_became_of_each_is_known(world: &mut World) {
    let unknown: Vec<_> = ["outcome_unknown", "timeout"].map(|code| world.judge.codes.get(code).copied()).into();
    must(world, unknown == [None, None], || format!("outcome_unknown, timeout: {unknown:?}"));
}

/// Clients ask every daemon for everything and are not forwarded: a daemon that joins too, before it has what it will have, and those
/// that will have what a leaving one still has.
fn named_owners(seed: u64) -> World {
    let mut world = mesh(seed, 2);
    let keys: Vec<String> = (0..24).map(|n| format!("k{n}")).collect();
    let habits = || {
        let think = (Duration::from_millis(5), Duration::from_millis(20));
        crate::client::Habits { keys: keys.clone(), think, direct: 1.0, ..Default::default() }
    };
    (0..4).for_each(|n| _ = world.add_client(n % 2, habits()));
    world.run(SEC);
    world.start(2);
    let guests: Vec<usize> = (0..2).map(|_| world.add_client(2, habits())).collect();
    world.run(2 * SEC);
    world.retire(&guests);
    world.leave(2);
    world.run(2 * SEC);
    world.finish();
    world
}

/// A daemon joins that has no room for the machines of the mesh: what it cannot read stays where it is.
fn no_room_for_machines(seed: u64) -> World {
    let mut world = mesh(seed, 2);
    // Definitions and their instances' texts.
    world.invariants.allow_memory(64 << 20);
    let machines: Vec<String> = (0..4).map(|n| format!("large{n}")).collect();
    for machine in &machines {
        let text = "x".repeat(600_000);
        let on = r#""GO":{"actions":[{"type":"@xstate.assign","context":{"count":{"@expr":"context.count + 1"}}}]}"#;
        let definition = format!(
            r#"{{"id":"{machine}","description":"{text}","context":{{"count":0}},"initial":"on","states":{{"on":{{"on":{{{on}}}}}}}}}"#
        );
        let said = world.ask(0, &format!(r#"{{"id":1,"op":"define","definition":{definition}}}"#));
        must(&mut world, said["ok"] == true, || format!("{machine} is not defined: {said}"));
    }
    let keys: Vec<(&String, String)> =
        machines.iter().flat_map(|machine| (0..12).map(move |n| (machine, format!("k{n}")))).collect();
    for (machine, key) in &keys {
        let said = world.send(0, machine, key, "GO");
        must(&mut world, said["ok"] == true, || format!("{machine}/{key}: {said}"));
    }
    if let Some(daemon) = world.daemons.get_mut(2) {
        daemon.setup.limits.definitions_bytes = 1 << 20;
    }
    world.start(2);
    world.run(30 * SEC);
    let gone: Vec<String> = keys
        .iter()
        .filter(|(machine, key)| world.get(0, machine, key)["context"]["count"] != 1)
        .map(|(machine, key)| format!("{machine}/{key}"))
        .collect();
    let (text, none) = (format!("one that cannot read them has joined, and gone are {gone:?}"), gone.is_empty());
    must(&mut world, none, || text);
    world
}

/// A definition whose context is a table of 8,000 small maps, which every event accepts.
fn large_table(seed: u64) -> World {
    let rows: Vec<String> = (0..8_000).map(|n| format!(r#"{{"n":{n}}}"#)).collect();
    let machine = format!(
        r#"{{"id":"table","context":{{"rows":[{}]}},"initial":"a","states":{{"a":{{"on":{{"GO":"b"}}}},"b":{{"on":{{"GO":"a"}}}}}}}}"#,
        rows.join(",")
    );
    let setup = Setup { machines: vec![machine], ..setup() };
    let mut world = super::mesh_of(seed, 2, &setup, Faults::default());
    // Each instance has a table of its own.
    world.invariants.allow_memory(48 << 20);
    let mut there = Vec::new();
    for n in 0..30 {
        let key = format!("k{n}");
        if world.send(0, "table", &key, "GO")["ok"] == true {
            there.push(key);
        }
    }
    world.start(2);
    world.settle(60 * SEC);
    world.leave(2);
    world.run(5 * SEC);
    world.settle(60 * SEC);
    let gone: Vec<&String> = there.iter().filter(|key| world.get(0, "table", key)["value"] != "b").collect();
    let text = format!("{} of {} instances are gone after a planned join and leave", gone.len(), there.len());
    let none = gone.is_empty();
    must(&mut world, none, || text);
    world
}
