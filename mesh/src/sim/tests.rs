//! Scenarios, by name. Each runs with several seeds, which it prints.

use super::*;

const SEC: Duration = Duration::from_secs(1);

/// Members that started one after another, settled.
fn mesh(seed: u64, members: usize, faults: Faults) -> World {
    let mut world = World::new(Options { faults, ..Options::new(seed) });
    world.start(&[]);
    for _ in 1..members {
        world.start(&[0]);
    }
    settle(&mut world, 20 * SEC);
    world
}

#[track_caller]
fn settle(world: &mut World, limit: Duration) -> Duration {
    let took = world.run_until(limit, World::is_settled);
    took.unwrap_or_else(|| panic!("not settled after {limit:?}: {}", describe(world)))
}

fn describe(world: &World) -> String {
    let served: Vec<_> = (0..world.options.partitions).map(|p| world.servers_of(p)).collect();
    let (all, tally) = (world.all_see_all(), world.tally());
    let rest = world.unsettled().join("\n");
    format!("all see all: {all}, servers: {served:?}, {tally:?}\n{rest}")
}

/// Everything was answered without error, applied once and in order.
#[track_caller]
fn nothing_lost_or_doubled(world: &mut World) {
    world.run(SEC / 10);
    world.stop_clients();
    world.run_until(10 * SEC, |world| world.load().all_answered());
    assert!(world.load().all_answered(), "unanswered events; {}", describe(world));
    assert_eq!(world.load().failed_in_all(), 0, "clients saw errors");
    let Tally { gaps, doubles, applied, .. } = world.tally();
    assert_eq!((gaps, doubles), (0, 0), "gaps and doubles");
    assert!(applied > 1000, "only {applied} events");
    for key in 0..world.load().clients() {
        assert_eq!(world.applied(key), [world.load().sent(key)], "key {key}");
    }
}

/// While `time` passes, no partition is served by two members.
#[track_caller]
fn at_most_one_server(world: &mut World, time: Duration) {
    let until = world.elapsed() + time;
    // Often enough to see what lasts for a hand-over.
    let step = (time / 5_000).max(Duration::from_micros(300));
    while world.elapsed() < until {
        world.run(step);
        for p in 0..world.options.partitions {
            assert!(world.servers_of(p) <= 1, "partition {p} at {:?}; {:?}", world.elapsed(), world.deaths());
        }
    }
}

fn seeds(count: u64) -> impl Iterator<Item = u64> {
    (0..count).inspect(|seed| println!("seed {seed}"))
}

#[test]
fn members_that_start_at_once_find_each_other_and_share_the_partitions() {
    for seed in seeds(5) {
        let mut world = World::new(Options::new(seed));
        for n in 0..5 {
            let others: Vec<_> = (0..5).filter(|m| *m != n).collect();
            world.start(&others);
        }
        settle(&mut world, 10 * SEC);
        assert_eq!(world.tally().fresh, 64);
    }
}

#[test]
fn links_that_take_long_to_come_about_make_nobody_serve_what_another_holds() {
    for seed in seeds(20) {
        for (members, connect_max) in [(2, 30), (3, 5), (3, 30), (5, 15)] {
            // Nothing is lost: with two members and no link, nobody can be asked to try, and deaths would be declared.
            let faults = Faults { loss: 0.0, connect_max: connect_max * SEC, ..Faults::bad() };
            let mut world = World::new(Options { faults, ..Options::new(seed) });
            for n in 0..members {
                let others: Vec<_> = (0..members).filter(|m| *m != n).collect();
                world.start(&others);
            }
            at_most_one_server(&mut world, 35 * SEC);
            settle(&mut world, 20 * SEC);
            assert_eq!(world.deaths(), []);
        }
    }
}

#[test]
fn lost_datagrams_make_nobody_dead() {
    // Two: none can ask others to try.
    for seed in seeds(100) {
        let mut world = mesh(seed, 2, Faults::bad());
        world.run(60 * SEC);
        assert_eq!(world.deaths(), []);
    }
}

#[test]
fn who_began_alone_is_waited_for_however_long_links_to_it_take() {
    for seed in seeds(20) {
        let faults = Faults { loss: 0.0, ..Faults::bad() };
        let mut world = World::new(Options { faults: faults.clone(), ..Options::new(seed) });
        world.start(&[]);
        world.run(SEC);
        world.set_faults(Faults { connect_max: 30 * SEC, ..faults });
        for _ in 0..3 {
            world.start(&[0]);
        }
        at_most_one_server(&mut world, 35 * SEC);
        settle(&mut world, 20 * SEC);
        assert_eq!(world.deaths(), []);
        assert_eq!(world.tally().fresh, 64);
    }
}

#[test]
fn a_join_under_load_loses_and_doubles_nothing() {
    for seed in seeds(6) {
        let mut world = mesh(seed, 3, Faults::default());
        (0..30).for_each(|n| world.client(n % 3, 4));
        world.run(SEC / 10);
        let joined = world.start(&[0]);
        at_most_one_server(&mut world, SEC / 5);
        world.client(joined, 4);
        settle(&mut world, 10 * SEC);
        nothing_lost_or_doubled(&mut world);
    }
}

#[test]
fn a_planned_leave_under_load_loses_and_doubles_nothing() {
    for seed in seeds(6) {
        let mut world = mesh(seed, 4, Faults::default());
        (0..30).for_each(|n| world.client(n % 3, 4));
        world.run(SEC / 10);
        world.leave(3);
        at_most_one_server(&mut world, SEC / 5);
        settle(&mut world, 10 * SEC);
        assert!(world.has_ended(3));
        nothing_lost_or_doubled(&mut world);
        assert_eq!(world.status(3, 0), Some(Status::Left));
    }
}

#[test]
fn joins_and_leaves_at_the_same_time_lose_and_double_nothing() {
    for seed in seeds(8) {
        let mut world = mesh(seed, 4, Faults::default());
        (0..24).for_each(|n| world.client(n % 2, 3));
        world.run(SEC / 10);
        world.leave(2);
        world.start(&[0]);
        world.run(Duration::from_millis(seed * 7));
        world.start(&[1]);
        world.leave(3);
        settle(&mut world, 10 * SEC);
        nothing_lost_or_doubled(&mut world);
    }
}

#[test]
fn joins_over_a_bad_network_lose_and_double_nothing() {
    for seed in seeds(4) {
        let mut world = mesh(seed, 3, Faults::bad());
        (0..12).for_each(|n| world.client(n % 3, 8));
        world.run(SEC);
        world.start(&[0, 1, 2]);
        world.run(10 * SEC);
        settle(&mut world, 30 * SEC);
        nothing_lost_or_doubled(&mut world);
        assert_eq!(world.deaths(), []);
    }
}

#[test]
fn what_a_killed_member_held_is_served_again_within_two_seconds() {
    for seed in seeds(8) {
        let mut world = mesh(seed, 3, Faults::default());
        world.run(SEC);
        world.crash(2);
        let took = settle(&mut world, 5 * SEC);
        println!("seed {seed}: settled after {took:?}");
        assert!(took < 2 * SEC, "settled after {took:?}");
        assert!(world.tally().lost > 0);
        assert_eq!(world.status(2, 0), Some(Status::Dead));
    }
}

#[test]
fn a_member_that_comes_back_at_once_is_a_new_one_and_what_it_held_is_lost() {
    for seed in seeds(4) {
        let mut world = mesh(seed, 3, Faults::default());
        (0..10).for_each(|_| world.client(0, 2));
        world.run(SEC / 10);
        let before = world.tally().lost;
        world.crash(2);
        world.run(Duration::from_millis(50));
        world.restart(2, &[0, 1]);
        settle(&mut world, 10 * SEC);
        assert!(world.tally().lost > before, "{:?}", world.tally());
    }
}

#[test]
fn nobody_is_declared_dead_in_a_minute_of_loss_and_delay() {
    for seed in seeds(3) {
        for members in [3, 10] {
            let mut world = mesh(seed, members, Faults::bad());
            world.run(60 * SEC);
            assert_eq!(world.deaths(), [], "{members} members");
        }
    }
}

#[test]
fn a_partition_heals_and_doubly_held_keys_are_merged() {
    for seed in seeds(5) {
        let mut world = mesh(seed, 5, Faults::default());
        (0..20).for_each(|n| world.client(n % 5, 2));
        world.run(SEC / 10);
        world.cut_off(&[3, 4]);
        world.run(5 * SEC);
        assert_eq!(world.status(3, 0), Some(Status::Dead));
        assert_eq!(world.status(0, 3), Some(Status::Dead));
        world.heal();
        let took = settle(&mut world, 30 * SEC);
        println!("seed {seed}: healed after {took:?}");
        assert!(world.tally().conflicts > 0);
    }
}

#[test]
fn a_member_cut_off_alone_comes_back() {
    for seed in seeds(5) {
        let mut world = mesh(seed, 3, Faults::default());
        world.cut_off(&[1]);
        world.run(20 * SEC);
        world.heal();
        let took = settle(&mut world, 30 * SEC);
        println!("seed {seed}: healed after {took:?}");
    }
}

#[test]
fn a_paused_member_declares_nobody_dead_and_comes_back() {
    for seed in seeds(4) {
        let mut world = mesh(seed, 4, Faults::default());
        world.pause(1, 30 * SEC);
        world.run(20 * SEC);
        assert_eq!(world.status(1, 0), Some(Status::Dead));
        world.run(15 * SEC);
        settle(&mut world, 20 * SEC);
        let by_the_paused = world.deaths().iter().filter(|(_, by, _)| *by == 1);
        assert_eq!(by_the_paused.count(), 0, "{:?}", world.deaths());
    }
}

#[test]
fn a_clock_that_jumps_an_hour_kills_nobody() {
    for seed in seeds(3) {
        let mut world = mesh(seed, 4, Faults::default());
        world.jump_clock(2, 3600 * SEC);
        world.run(10 * SEC);
        assert_eq!(world.deaths(), []);
        assert!(world.is_settled());
    }
}

#[test]
fn losing_every_seed_changes_nothing_for_those_who_know_each_other() {
    let mut world = mesh(1, 4, Faults::default());
    world.crash(0);
    settle(&mut world, 5 * SEC);
    world.run(60 * SEC);
    assert!(world.is_settled());
    assert_eq!(world.running().count(), 3);
}

#[test]
fn links_that_break_during_a_hand_over_leave_one_holder_and_double_nothing() {
    for seed in seeds(20) {
        let mut world = mesh(seed, 3, Faults::default());
        (0..12).for_each(|n| world.client(n % 3, 2));
        world.run(SEC / 10);
        let joined = world.start(&[0]);
        for step in 0..12 {
            at_most_one_server(&mut world, Duration::from_micros(700 * (step + 1)));
            world.break_link(step as usize % 3, joined);
        }
        settle(&mut world, 10 * SEC);
        assert_eq!(world.tally().doubles, 0);
        assert_eq!(world.tally().lost, 0);
        assert_eq!(world.deaths(), []);
    }
}

#[test]
fn a_new_owner_that_dies_during_the_hand_over_leaves_the_old_one_serving() {
    let mut restored = 0;
    for seed in seeds(20) {
        let mut world = mesh(seed, 3, Faults::default());
        let joined = world.start(&[0]);
        world.run_until(SEC, |world| (0..64).any(|p| world.nodes[joined].serves(p)));
        world.crash(joined);
        settle(&mut world, 10 * SEC);
        restored += world.tally().restored;
    }
    assert!(restored > 0, "no hand-over was interrupted");
}

#[test]
fn all_members_but_one_can_leave_and_the_last_one_may_go_too() {
    for seed in seeds(4) {
        let mut world = mesh(seed, 4, Faults::default());
        (0..24).for_each(|_| world.client(0, 2));
        world.run(SEC / 10);
        for leaver in [1, 2, 3] {
            world.leave(leaver);
        }
        settle(&mut world, 10 * SEC);
        nothing_lost_or_doubled(&mut world);
        world.leave(0);
        world.run(SEC);
        assert!(world.has_ended(0));
    }
}

#[test]
fn a_hundred_members_join_and_notice_a_death() {
    let mut world = World::new(Options { partitions: 0, ..Options::new(5) });
    for _ in 0..100 {
        world.start(&[0, 1, 2]);
    }
    assert!(world.run_until(5 * SEC, World::all_count_all).is_some());
    world.run(5 * SEC);
    world.crash(50);
    let took = world.run_until(5 * SEC, |world| world.who_hold_dead(50) == 99);
    assert!(took.is_some(), "{} know after 5 s", world.who_hold_dead(50));
    assert!(world.deaths().iter().all(|(_, _, of)| *of == 50));
}
