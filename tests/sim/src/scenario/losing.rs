//! Owners that die, are stopped or cut off: whatever is lost is said, and nothing else.

use std::time::Duration;

use super::{SEC, Scenario, busy_clients, mesh, must};
use crate::world::World;

pub(super) const ALL: &[Scenario] = &[
    Scenario {
        name: "what_a_killed_daemon_held_answers_again_within_two_seconds",
        fault: 0,
        play: |seed| {
            let mut world = mesh(seed, 5);
            busy_clients(&mut world, &[0, 1], 2, 4);
            world.run(2 * SEC);
            world.kill(4);
            let took = world.run_until(5 * SEC, |world| world.is_settled());
            must(&mut world, took.is_some_and(|took| took <= 2 * SEC), || format!("settled after {took:?}"));
            world.finish();
            world
        },
        seeds: 5,
        lossless: false,
    },
    Scenario {
        name: "what_a_killed_daemon_held_answers_again_within_two_seconds_though_another_joins",
        fault: 7,
        play: |seed| {
            let mut world = mesh(seed, 5);
            busy_clients(&mut world, &[0, 1], 2, 4);
            world.run(2 * SEC);
            world.start(5);
            world.run(Duration::from_millis(30 * seed));
            world.kill(4);
            let took = world.run_until(8 * SEC, |world| world.is_settled());
            must(&mut world, took.is_some_and(|took| took <= 2 * SEC), || format!("settled after {took:?}"));
            world.finish();
            world
        },
        seeds: 8,
        lossless: false,
    },
    Scenario {
        name: "what_is_lost_with_a_daemon_that_starts_again_at_once_is_said",
        fault: 7,
        play: |seed| {
            let mut world = mesh(seed, 3);
            busy_clients(&mut world, &[0, 1], 3, 4);
            world.run(2 * SEC);
            world.kill(2);
            world.run(Duration::from_millis(10 + 60 * seed));
            world.start(2);
            world.run(3 * SEC);
            world.finish();
            world
        },
        seeds: 6,
        lossless: false,
    },
    Scenario {
        name: "what_is_lost_with_a_daemon_while_another_joins_is_said",
        fault: 7,
        play: |seed| {
            let mut world = mesh(seed, 3);
            busy_clients(&mut world, &[0, 1], 3, 4);
            world.run(2 * SEC);
            world.start(3);
            world.run(Duration::from_millis(100 * seed));
            world.kill(2);
            world.run(3 * SEC);
            world.finish();
            world
        },
        seeds: 10,
        lossless: false,
    },
    Scenario {
        name: "what_is_lost_while_a_daemon_that_joined_is_told_of_many_keys_is_said",
        fault: 0,
        play: many_keys,
        seeds: 2,
        lossless: false,
    },
    Scenario {
        name: "what_was_removed_is_not_lost_with_its_daemon",
        fault: 0,
        play: removed,
        seeds: 3,
        lossless: false,
    },
    Scenario {
        name: "what_was_removed_is_not_lost_with_its_daemon_though_a_standby_did_not_hear_of_it",
        fault: 0,
        play: removed_unheard,
        seeds: 8,
        lossless: false,
    },
    Scenario {
        name: "what_was_lost_is_said_also_after_its_partition_has_moved_on",
        fault: 7,
        play: lost_and_moved,
        seeds: 3,
        lossless: false,
    },
    Scenario {
        name: "after_a_pause_of_two_seconds_no_answered_event_is_gone_without_a_word",
        fault: 24,
        play: |seed| {
            let mut world = mesh(seed, 3);
            busy_clients(&mut world, &[0, 1], 3, 4);
            world.run(2 * SEC);
            world.pause(2, Duration::from_millis(1_700 + 200 * seed));
            world.run(6 * SEC);
            world.finish();
            world
        },
        seeds: 5,
        lossless: false,
    },
    Scenario {
        name: "after_a_cut_of_some_seconds_no_answered_event_is_gone_without_a_word",
        fault: 24,
        play: |seed| {
            let mut world = mesh(seed, 5);
            busy_clients(&mut world, &[0, 1, 4], 2, 4);
            world.run(2 * SEC);
            world.cut_off(&[3, 4]);
            world.run(Duration::from_millis(3_000 + 400 * seed));
            world.heal();
            world.run(6 * SEC);
            world.finish();
            world
        },
        seeds: 5,
        lossless: false,
    },
    Scenario {
        name: "links_that_break_during_a_merge_lose_no_copy",
        fault: 6,
        play: |seed| {
            let mut world = mesh(seed, 3);
            let keys: Vec<String> = (0..60).map(|n| format!("k{n}")).collect();
            // Written before the cut and never after: no side has anything that the other lacks.
            for key in &keys {
                let said = world.ask(
                    0,
                    &format!(r#"{{"id":1,"op":"send","machine":"log","key":"{key}","event":{{"type":"ADD","n":1}}}}"#),
                );
                must(&mut world, said["ok"] == true, || format!("{key}: {said}"));
            }
            world.cut_off(&[2]);
            world.run(5 * SEC);
            world.heal();
            for step in 0..20 {
                world.run(Duration::from_millis(10 + 7 * seed));
                world.break_links(2, step % 2);
            }
            let merged = world.run_until(60 * SEC, |world| world.is_merged());
            must(&mut world, merged.is_some(), || "not merged within a minute".to_owned());
            let gone: Vec<&String> =
                keys.iter().filter(|key| world.get(0, "log", key)["context"]["count"] != 1).collect();
            let text = format!("{} of {} keys are gone, and no process has ended: {gone:?}", gone.len(), keys.len());
            let none = gone.is_empty();
            must(&mut world, none, || text);
            world
        },
        seeds: 10,
        lossless: false,
    },
    Scenario {
        name: "timers_are_not_late_after_a_pause",
        fault: 23,
        play: |seed| {
            let mut world = mesh(seed, 1);
            (0..10).for_each(|n| drop(world.send(0, "tick", &format!("t{n}"), "GO")));
            world.pause(0, 3 * SEC);
            world.run(4 * SEC);
            let ticked = (0..10).filter(|n| world.get(0, "tick", &format!("t{n}"))["context"]["ticks"] == 1).count();
            must(&mut world, ticked == 10, || format!("{ticked} of 10 timers had fired a second after the pause"));
            world
        },
        seeds: 2,
        lossless: true,
    },
    Scenario {
        name: "what_was_removed_while_the_mesh_was_apart_is_not_said_to_be_lost",
        fault: 0,
        play: removed_while_apart,
        seeds: 8,
        lossless: false,
    },
    Scenario {
        name: "what_two_that_die_at_once_held_is_said_to_be_lost",
        fault: 0,
        play: two_at_once,
        seeds: 16,
        lossless: false,
    },
];

/// One of three is cut off, and holds the others for dead; they go on, and what they had is removed there.
fn removed_while_apart(seed: u64) -> World {
    let mut world = mesh(seed, 3);
    let keys = written(&mut world);
    world.cut_off(&[2]);
    world.run(5 * SEC);
    let remove = |world: &mut World, key: &String| {
        world.ask(0, &format!(r#"{{"id":1,"op":"delete","machine":"log","key":"{key}"}}"#))["ok"] == true
    };
    let removed: Vec<&String> = keys.iter().filter(|key| remove(&mut world, key)).collect();
    world.heal();
    let merged = world.run_until(60 * SEC, |world| world.is_merged());
    must(&mut world, merged.is_some(), || "not merged within a minute".to_owned());
    let said: Vec<_> = removed.iter().map(|key| world.send(0, "log", key, "PROBE")).collect();
    let lost = said.iter().filter(|said| said["restarted"] == true || !said["conflict"].is_null()).count();
    must(&mut world, removed.len() > 20 && lost == 0, || {
        format!(
            "{} keys were removed, and of {lost} it was said that they were lost: {:?}",
            removed.len(),
            said.first()
        )
    });
    world
}

/// Writes keys through the first daemon.
fn written(world: &mut World) -> Vec<String> {
    let keys: Vec<String> = (0..60).map(|n| format!("k{n}")).collect();
    keys.iter().for_each(|key| drop(super::add(world, 0, key, 1)));
    keys
}

/// Of each key whose instance is gone the next reply says so.
fn what_is_lost_is_said(world: &mut World, keys: &[String]) {
    let (mut lost, mut said) = (0, 0);
    for key in keys {
        if world.get(0, "log", key)["context"]["count"] != 1 {
            lost += 1;
            let probe = world.send(0, "log", key, "PROBE");
            said += usize::from(probe["restarted"] == true);
        }
    }
    must(world, lost > 0 && said == lost, || format!("{lost} instances were lost, and of {said} it was said"));
}

/// Two of five die in the same moment, and are heard to have died in the same turn.
fn two_at_once(seed: u64) -> World {
    let mut world = mesh(seed, 5);
    let keys = written(&mut world);
    let pair = [(1, 2), (1, 3), (1, 4), (2, 3), (2, 4), (3, 4)][seed as usize % 6];
    [pair.0, pair.1].into_iter().for_each(|n| world.kill(n));
    world.settle(20 * SEC);
    what_is_lost_is_said(&mut world, &keys);
    world
}

/// Instances are removed, some of their keys begin anew, and their owner dies at once or a while later.
fn removed(seed: u64) -> World {
    let mut world = mesh(seed, 3);
    let keys: Vec<String> = (0..60).map(|n| format!("k{n}")).collect();
    let add = r#""op":"send","event":{"type":"ADD","n":1}"#;
    for (n, key) in keys.iter().enumerate() {
        let deeds = [add, r#""op":"delete""#, add];
        for deed in &deeds[..if n % 2 == 0 { 2 } else { 3 }] {
            let said = world.ask(n % 3, &format!(r#"{{"id":1,{deed},"machine":"log","key":"{key}"}}"#));
            must(&mut world, said["ok"] == true, || format!("{key}: {said}"));
        }
    }
    world.run(Duration::from_millis(2_000 * (seed - 1)));
    world.kill(2);
    world.settle(20 * SEC);
    let (mut lost, mut said) = (0, 0);
    for (n, key) in keys.iter().enumerate() {
        let is_there = world.get(0, "log", key)["context"]["count"] == 1;
        let probe = world.send(0, "log", key, "PROBE");
        let says = probe["restarted"] == true;
        match n % 2 == 0 {
            true => must(&mut world, !says && !is_there, || format!("{key} was removed: {probe}")),
            false => {
                lost += usize::from(!is_there);
                said += usize::from(says);
            }
        }
    }
    must(&mut world, lost > 0 && said == lost, || format!("{lost} instances were lost, and of {said} it was said"));
    world
}

/// Keys are removed while their owner does not reach one of its standbys, or a moment after the links to it broke; then it dies.
fn removed_unheard(seed: u64) -> World {
    let mut world = mesh(seed, 3);
    let keys = written(&mut world);
    world.run(3 * SEC);
    if seed.is_multiple_of(2) {
        world.part(1, 2);
        world.run(2 * SEC);
    } else {
        world.break_links(1, 2);
    }
    let began = world.now();
    for key in keys.iter().step_by(2) {
        let said = world.ask(0, &format!(r#"{{"id":1,"op":"delete","machine":"log","key":"{key}"}}"#));
        must(&mut world, said["ok"] == true, || format!("{key}: {said}"));
    }
    let took = Duration::from_nanos(world.now() - began);
    world.kill(2);
    world.mend(1, 2);
    world.settle(20 * SEC);
    let says = |world: &mut World, key: &String| world.send(0, "log", key, "PROBE")["restarted"] == true;
    let wrong: Vec<&String> = keys.iter().step_by(2).filter(|key| says(&mut world, key)).collect();
    let text = format!("removed within {took:?}, and said to be lost: {wrong:?}");
    must(&mut world, wrong.is_empty(), || text);
    what_is_lost_is_said(&mut world, &keys.into_iter().skip(1).step_by(2).collect::<Vec<_>>());
    world
}

/// An owner dies; before its keys are asked for, another daemon joins and is given some of their partitions.
fn lost_and_moved(seed: u64) -> World {
    let mut world = mesh(seed, 3);
    let keys = written(&mut world);
    world.kill(2);
    world.settle(20 * SEC);
    world.start(3);
    world.settle(20 * SEC);
    what_is_lost_is_said(&mut world, &keys);
    world
}

/// Keys of more bytes than one part of what a standby is told. A daemon joins, and while it is told of them another dies.
fn many_keys(seed: u64) -> World {
    let mut world = mesh(seed, 3);
    let long = "k".repeat(900);
    let keys: Vec<String> = (0..6_000).map(|n| format!("{long}{n}")).collect();
    for key in &keys {
        world
            .ask(0, &format!(r#"{{"id":1,"op":"send","machine":"log","key":"{key}","event":{{"type":"ADD","n":1}}}}"#));
    }
    world.start(3);
    world.run(Duration::from_millis(300 + 40 * seed));
    world.kill(2);
    world.settle(20 * SEC);
    let (mut lost, mut said) = (0, 0);
    for key in &keys {
        if world.get(0, "log", key)["context"]["count"] != 1 {
            lost += 1;
            said += usize::from(world.send(0, "log", key, "PROBE")["restarted"] == true);
        }
    }
    must(&mut world, lost > 0 && said == lost, || format!("{lost} instances were lost, and of {said} it was said"));
    world
}
