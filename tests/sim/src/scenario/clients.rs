//! What clients are promised: one answer, tokens, envelopes, and nothing of what was refused.

use statemesh_node::options::Limits;

use super::{SEC, Scenario, busy_clients, mesh, mesh_of, must, setup};
use crate::daemon::Setup;
use crate::net::Faults;
use crate::world::World;

pub(super) const ALL: &[Scenario] = &[
    Scenario {
        name: "changes_of_a_key_are_published_in_order_by_every_reactor",
        fault: 11,
        play: |seed| {
            let mut world = mesh(seed, 2);
            busy_clients(&mut world, &[0, 1], 8, 16);
            (0..8).for_each(|n| world.add_watcher(n % 2, 0.0));
            world.run(5 * SEC);
            world.finish();
            world
        },
        seeds: 3,
        lossless: true,
    },
    Scenario {
        name: "a_watcher_sees_every_change_or_is_told_how_many_it_missed",
        fault: 11,
        play: watched,
        seeds: 3,
        lossless: true,
    },
    Scenario {
        name: "a_refused_first_event_leaves_nothing_behind",
        fault: 16,
        play: |seed| {
            let mut world = mesh(seed, 2);
            let refused = world.send(0, "refused", "r", "LOOP");
            must(&mut world, refused["error"]["code"] == "event_failed", || format!("it was not refused: {refused}"));
            let said = world.get(0, "refused", "r");
            must(&mut world, said["error"]["code"] == "unknown_instance", || format!("it is there: {said}"));
            world
        },
        seeds: 1,
        lossless: true,
    },
    Scenario {
        name: "a_refused_first_event_does_not_use_up_what_is_to_be_said",
        fault: 16,
        play: refused_after_loss,
        seeds: 1,
        lossless: false,
    },
    Scenario {
        name: "a_token_answers_for_its_own_request_only",
        fault: 21,
        play: |seed| {
            let mut world = mesh(seed, 2);
            let add = |n: u64| {
                format!(
                    r#"{{"id":1,"op":"send","machine":"log","key":"k","event":{{"type":"ADD","n":{n}}},"dedup":"t"}}"#
                )
            };
            let first = world.ask(0, &add(1));
            let again = world.ask(1, &add(1));
            must(&mut world, again["seq"] == first["seq"] && again["ok"] == true, || format!("{first}, then {again}"));
            let other = world.ask(1, &add(2));
            must(&mut world, other["error"]["code"] == "dedup_mismatch", || format!("another event got: {other}"));
            let stop = world.ask(1, r#"{"id":1,"op":"stop","machine":"log","key":"k","dedup":"t"}"#);
            must(&mut world, stop["error"]["code"] == "dedup_mismatch", || format!("another op got: {stop}"));
            world
        },
        seeds: 1,
        lossless: true,
    },
    Scenario {
        name: "every_part_before_the_request_is_given_back",
        fault: 22,
        play: |seed| {
            let mut world = mesh(seed, 2);
            let ping: &[u8] = br#"{"id":1,"op":"ping"}"#;
            for envelope in
                [&[][..], &[&b""[..]], &[b"\x01\x02\x03\x04", b""], &[b"proxy", b"client", b""], &[b"client"]]
            {
                let sent: Vec<&[u8]> = envelope.iter().copied().chain([ping]).collect();
                let got = world.ask_parts(0, &sent);
                let back = got.split_last().map(|(_, front)| front.to_vec());
                let same = back.is_some_and(|back| back == envelope);
                must(&mut world, same, || format!("{envelope:?} came back as {got:?}"));
            }
            world
        },
        seeds: 1,
        lossless: true,
    },
    Scenario {
        name: "clients_that_do_not_read_harm_nobody_else",
        fault: 11,
        play: |seed| {
            let mut world = mesh(seed, 3);
            busy_clients(&mut world, &[0, 1, 2], 2, 8);
            for n in 0..3 {
                let keys = vec![format!("lazy{n}")];
                let habits = crate::client::Habits { keys, lazy: 0.2, window: 64, ..Default::default() };
                world.add_client(n, habits);
                world.add_watcher(n, 0.05);
            }
            world.run(6 * SEC);
            world.finish();
            world
        },
        seeds: 2,
        lossless: true,
    },
];

/// Watchers that read at once, and others that read now and then, of a daemon that keeps little for each.
fn watched(seed: u64) -> World {
    let setup = Setup { limits: Limits { subscriber_bytes: 8_192, ..Limits::default() }, ..setup() };
    let mut world = mesh_of(seed, 1, &setup, Faults { send_buffer: 8_192, receive_buffer: 4_096, ..Faults::default() });
    [0.0, 0.0, 0.1, 0.3].into_iter().for_each(|lazy| world.add_watcher(0, lazy));
    let there = world.run_until(60 * SEC, |world| world.subscriptions() == 4);
    must(&mut world, there.is_some(), || "not all watchers have subscribed".to_owned());
    busy_clients(&mut world, &[0], 8, 16);
    world.run(8 * SEC);
    world.finish();
    // One more change of each key says how many are missing before it.
    for key in world.keys() {
        let more = format!(r#"{{"id":1,"op":"send","machine":"log","key":"{key}","event":{{"type":"ADD","n":0}}}}"#);
        let said = world.ask(0, &more);
        must(&mut world, said["ok"] == true, || format!("{key}: {said}"));
    }
    world.run(60 * SEC);
    let missed = world.judge.missed();
    let (told, some) = (missed.iter().all(|(unseen, told)| unseen == told), missed.iter().any(|(_, told)| *told > 0));
    must(&mut world, missed.len() == 4 && told && some, || format!("unseen, and told of: {missed:?}"));
    world
}

/// A key is lost with its owner; its first event thereafter is refused; the next one must say that it was lost.
fn refused_after_loss(seed: u64) -> World {
    let mut world = mesh(seed, 3);
    let keys: Vec<String> = (0..40).map(|n| format!("r{n}")).collect();
    keys.iter().for_each(|key| drop(world.send(0, "refused", key, "NOTHING")));
    world.kill(2);
    world.settle(20 * SEC);
    let lost: Vec<&String> = keys.iter().filter(|key| world.get(0, "refused", key)["ok"] != true).collect();
    let mut said = 0;
    for key in &lost {
        world.send(0, "refused", key, "LOOP");
        said += usize::from(world.send(0, "refused", key, "NOTHING")["restarted"] == true);
    }
    let text = format!("{} instances were lost, and of {said} it was said", lost.len());
    let fine = !lost.is_empty() && said == lost.len();
    must(&mut world, fine, || text);
    world
}
