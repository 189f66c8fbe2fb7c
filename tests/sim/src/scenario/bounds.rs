//! Bounds: of bytes, of connections, of what one input may cause.

use std::time::Duration;

use statemesh_node::options::{Limits, Mailboxes};

use super::{SEC, Scenario, busy_clients, mesh, mesh_of, must, setup};
use crate::client::Habits;
use crate::daemon::Setup;
use crate::net::Faults;
use crate::world::World;

pub(super) const ALL: &[Scenario] = &[
    Scenario {
        name: "two_daemons_that_owe_each_other_much_go_on_reading",
        fault: 1,
        play: owe_each_other,
        seeds: 1,
        lossless: true,
    },
    Scenario {
        name: "a_timer_whose_step_never_ends_holds_up_nobody",
        fault: 2,
        play: stuck_timers,
        seeds: 1,
        lossless: true,
    },
    Scenario {
        name: "an_array_of_reads_has_a_bounded_answer",
        fault: 4,
        play: array_of_reads,
        seeds: 1,
        lossless: true,
    },
    Scenario {
        name: "clients_that_take_every_place_keep_no_daemon_out",
        fault: 8,
        play: places_taken,
        seeds: 2,
        lossless: true,
    },
    Scenario {
        name: "threads_with_room_for_one_message_to_each_other_lose_none",
        fault: 0,
        play: tiny_mailboxes,
        seeds: 8,
        lossless: true,
    },
];

/// Both daemons have much for each other, requests and answers, through small buffers, while a third one joins and one of them leaves.
fn owe_each_other(seed: u64) -> World {
    let faults = Faults { send_buffer: 16 * 1_024, receive_buffer: 16 * 1_024, ..Faults::default() };
    let setup = Setup { limits: Limits { unsent_bytes: 64 * 1_024, ..Limits::default() }, ..setup() };
    let mut world = mesh_of(seed, 2, &setup, faults);
    let text = "x".repeat(10_000);
    for n in 0..16 {
        let request =
            format!(r#"{{"id":1,"op":"send","machine":"fat","key":"f{n}","event":{{"type":"GROW","text":"{text}"}}}}"#);
        let said = world.ask(0, &request);
        must(&mut world, said["ok"] == true, || format!("f{n} did not grow: {said}"));
    }
    let others = (0..16).map(|n| format!(r#"{{"id":%,"op":"get","machine":"fat","key":"f{n}"}}"#)).collect::<Vec<_>>();
    for n in 0..10 {
        let keys = (0..8).map(|m| format!("k{n}-{m}")).collect();
        let think = (Duration::ZERO, Duration::from_micros(100));
        let (others, large) = (others.clone(), (0.5, 8_000));
        let habits = Habits {
            keys,
            window: 200,
            think,
            large,
            others,
            others_share: 0.5,
            arrays: 0.0,
            patience: 60 * SEC,
            ..Habits::default()
        };
        world.add_client(n % 2, habits);
    }
    world.run(SEC / 8);
    world.start(2);
    let took = world.run_until(20 * SEC, |world| world.is_settled());
    must(&mut world, took.is_some(), || {
        "a daemon that joins is not settled after 20 s, behind what is owed".to_owned()
    });
    world.leave(1);
    let gone = world.run_until(20 * SEC, |world| world.daemons.get(1).is_some_and(|daemon| !daemon.runs()));
    must(&mut world, gone.is_some(), || "who was told to leave has not left after 20 s".to_owned());
    let left = world.coverage.left_behind();
    must(&mut world, left == 0, || format!("{left} instances were left behind"));
    world.stopped = true;
    let all = world.run_until(20 * SEC, |world| world.clients.iter().all(crate::client::Client::is_idle));
    let waiting = world.judge.unanswered();
    must(&mut world, all.is_some(), || format!("{waiting} requests have no answer after 20 s"));
    world
}

/// Seventy instances whose timers' steps never end, and others that tick.
fn stuck_timers(seed: u64) -> World {
    let mut world = mesh(seed, 1);
    for n in 0..70 {
        world.send(0, "stuck", &format!("s{n}"), "GO");
    }
    for n in 0..10 {
        world.send(0, "tick", &format!("t{n}"), "GO");
    }
    let before = world.taken();
    let busy = world.run_until(2 * SEC, |world| world.taken() - before > 400);
    must(&mut world, busy.is_none(), || format!("400 turns were taken within {busy:?} of idling"));
    if busy.is_none() {
        let ticked = (0..10).filter(|n| world.get(0, "tick", &format!("t{n}"))["context"]["ticks"] == 1).count();
        must(&mut world, ticked == 10, || format!("only {ticked} of 10 other timers fired"));
        let said = world.get(0, "stuck", "s0");
        must(&mut world, said["stuck"] == true, || format!("it is stuck and does not say so: {said}"));
    }
    world
}

/// 160 reads of half a megabyte in one small frame.
fn array_of_reads(seed: u64) -> World {
    let mut world = mesh(seed, 2);
    // One turn makes a reply as large as limits.array_bytes allows; gauges are of the turn before.
    world.invariants.allow_memory(64 << 20);
    let text = "x".repeat(500_000);
    world.ask(
        0,
        &format!(r#"{{"id":1,"op":"send","machine":"fat","key":"f","event":{{"type":"GROW","text":"{text}"}}}}"#),
    );
    let gets = vec![r#"{"id":1,"op":"get","machine":"fat","key":"f"}"#; 160].join(",");
    let reply = world.ask_parts(0, &[format!("[{gets}]").as_bytes()]);
    let bytes = reply.last().map_or(0, Vec::len);
    must(&mut world, bytes > 0 && bytes < (66 << 20), || format!("{} bytes in, {bytes} bytes out", gets.len()));
    world
}

/// As many clients as there are places, which stay; then a daemon joins, another leaves.
fn places_taken(seed: u64) -> World {
    let setup = Setup { limits: Limits { connections: 24, ..Limits::default() }, ..setup() };
    let mut world = mesh_of(seed, 2, &setup, Faults::default());
    for n in 0..80 {
        let think = (20 * SEC, 30 * SEC);
        world.add_client(n % 2, Habits { keys: vec!["crowd".to_owned()], window: 1, think, ..Habits::default() });
    }
    world.run(2 * SEC);
    world.start(2);
    let took = world.run_until(20 * SEC, |world| world.is_settled());
    must(&mut world, took.is_some(), || "a daemon that joins is not settled after 20 s, for want of places".to_owned());
    world.leave(0);
    world.run(10 * SEC);
    let left = world.coverage.left_behind();
    must(&mut world, left == 0, || format!("{left} instances were left behind"));
    world
}

/// Mailboxes with a single place, which are full all the time, while daemons join, leave and come back, and reactors stand still.
fn tiny_mailboxes(seed: u64) -> World {
    let setup = Setup { mailboxes: Mailboxes { reactor: 1, control: 1 }, ..setup() };
    let mut world = mesh_of(seed, 3, &setup, Faults::default());
    busy_clients(&mut world, &[0, 1, 2], 3, 8);
    world.run(SEC);
    world.start(3);
    for n in 0..4 {
        world.stall(n, n % 2, Duration::from_millis(100 * seed));
    }
    let took = world.run_until(20 * SEC, |world| world.is_settled());
    must(&mut world, took.is_some(), || "a daemon that joins is not settled after 20 s".to_owned());
    world.leave(0);
    world.run(Duration::from_millis(10 * seed));
    world.leave(1);
    let gone = world.run_until(20 * SEC, |world| world.daemons.iter().take(2).all(|daemon| !daemon.runs()));
    must(&mut world, gone.is_some(), || "who was told to leave has not left after 20 s".to_owned());
    (0..2).for_each(|n| world.start(n));
    world.finish();
    let full = world.coverage.counted(&world.daemons);
    must(&mut world, full.full_rings > 0 && full.full_queues > 0, || format!("nothing was full: {full:?}"));
    world
}
