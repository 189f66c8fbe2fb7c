//! Scenarios of membership, by name. Each runs with several seeds, which it prints.

use super::*;

const SEC: Duration = Duration::from_secs(1);

/// Members that started one after another and know each other.
fn mesh(seed: u64, members: usize, faults: Faults) -> World {
    let mut world = World::new(Options { faults, ..Options::new(seed) });
    world.start(&[]);
    for _ in 1..members {
        world.start(&[0]);
    }
    all_meet(&mut world, 20 * SEC);
    world
}

#[track_caller]
fn all_meet(world: &mut World, limit: Duration) -> Duration {
    let took = world.run_until(limit, World::all_see_all);
    took.unwrap_or_else(|| panic!("not all see all after {limit:?}; deaths: {:?}", world.deaths()))
}

fn seeds(count: u64) -> impl Iterator<Item = u64> {
    (0..count).inspect(|seed| println!("seed {seed}"))
}

#[test]
fn members_that_start_at_once_find_each_other() {
    for seed in seeds(5) {
        let mut world = World::new(Options::new(seed));
        for n in 0..5 {
            let others: Vec<_> = (0..5).filter(|m| *m != n).collect();
            world.start(&others);
        }
        all_meet(&mut world, 2 * SEC);
        assert_eq!(world.deaths(), []);
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
fn a_killed_member_is_dead_for_all_within_two_seconds() {
    for seed in seeds(8) {
        let mut world = mesh(seed, 3, Faults::default());
        world.run(SEC);
        world.crash(2);
        let took = world.run_until(2 * SEC, |world| world.who_hold_dead(2) == 2);
        assert!(took.is_some(), "{:?}, {:?}", world.status(2, 0), world.status(2, 1));
    }
}

#[test]
fn sides_of_a_cut_hold_each_other_for_dead_and_meet_again() {
    for seed in seeds(5) {
        for cut in [&[3, 4][..], &[1]] {
            let mut world = mesh(seed, 5, Faults::default());
            world.cut_off(cut);
            world.run(5 * SEC);
            assert!(cut.iter().all(|n| world.who_hold_dead(*n) == 5 - cut.len()), "{cut:?}");
            assert_eq!(world.who_hold_dead(0), cut.len());
            world.run(15 * SEC);
            world.heal();
            all_meet(&mut world, 30 * SEC);
        }
    }
}

#[test]
fn a_paused_member_declares_nobody_dead_and_comes_back() {
    for seed in seeds(4) {
        let mut world = mesh(seed, 4, Faults::default());
        world.pause(1, 30 * SEC);
        world.run(20 * SEC);
        assert_eq!(world.who_hold_dead(1), 3);
        world.run(15 * SEC);
        all_meet(&mut world, 20 * SEC);
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
        assert!(world.all_see_all());
    }
}

#[test]
fn losing_every_seed_changes_nothing_for_those_who_know_each_other() {
    let mut world = mesh(1, 4, Faults::default());
    world.crash(0);
    all_meet(&mut world, 5 * SEC);
    world.run(60 * SEC);
    assert!(world.all_see_all());
    assert_eq!(world.running().count(), 3);
}

#[test]
fn a_hundred_members_join_and_notice_a_death() {
    let mut world = World::new(Options { links: false, ..Options::new(5) });
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
