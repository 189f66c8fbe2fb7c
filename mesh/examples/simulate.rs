//! Membership at size, in virtual time: how long joining takes, how soon a death is known, how often it is a false alarm,
//! and what it costs, with our defaults and with memberlist's for a LAN.
//!
//! `cargo run --release -p statemesh-mesh --features sim --example simulate -- [MEMBERS [SEED]] [statemesh|memberlist]`

use std::time::Duration;

use statemesh_mesh::membership::Config;
use statemesh_mesh::sim::{Faults, Options, World};

const SEC: Duration = Duration::from_secs(1);
const DEATHS: usize = 5;

fn main() {
    let mut numbers = std::env::args().filter_map(|arg| arg.parse().ok());
    let members = numbers.next().unwrap_or(1000);
    let seed = numbers.next().unwrap_or(1) as u64;
    // Naming one of the two leaves the other out.
    let only = |other: &str| !std::env::args().any(|arg| arg == other);
    println!("{members} members, seed {seed}");
    for (name, other, config) in
        [("statemesh", "memberlist", Config::default()), ("memberlist", "statemesh", Config::memberlist_lan())]
    {
        if !only(other) {
            continue;
        }
        println!("\n{name}");
        quiet_network(members, seed, &config);
        bad_network(members, seed, &config);
    }
}

fn start(members: usize, seed: u64, config: &Config) -> World {
    let mut world = World::new(Options { membership: config.clone(), links: false, ..Options::new(seed) });
    for _ in 0..members {
        world.start(&[0, 1, 2]);
    }
    world
}

/// Joining, idling, and deaths, where nothing is lost.
fn quiet_network(members: usize, seed: u64, config: &Config) {
    let mut world = start(members, seed, config);
    let joined = world.run_until(300 * SEC, World::all_count_all);
    println!("  all started at once; everyone knows everyone after {joined:?}");
    world.run(30 * SEC);
    print_traffic(&mut world, members, "idle");
    let (mut first, mut all) = (Vec::new(), Vec::new());
    for victim in (0..DEATHS).map(|n| 3 + n * members / (DEATHS + 3)) {
        world.crash(victim);
        first.push(world.run_until(300 * SEC, |world| world.who_hold_dead(victim) > 0));
        let rest = world.run_until(300 * SEC, World::all_count_all);
        all.push(first.last().copied().flatten().zip(rest).map(|(a, b)| a + b));
        world.run(5 * SEC);
    }
    println!("  a killed member is dead for the first after {first:?}");
    println!("  and for all after {all:?}");
}

/// False alarms in a minute of 5 % loss and 20 ms delay each way.
fn bad_network(members: usize, seed: u64, config: &Config) {
    let mut world = start(members, seed, config);
    world.run_until(300 * SEC, World::all_count_all);
    world.run(10 * SEC);
    world.set_faults(Faults::bad());
    let before = world.suspicions();
    print_traffic(&mut world, members, "with 5 % loss and 20 ms delay");
    world.run(50 * SEC);
    let suspicions = world.suspicions() - before;
    let deaths = world.deaths().len();
    println!(
        "  in a minute of it: {deaths} deaths declared, all false; {suspicions} times a member saw another suspected"
    );
}

fn print_traffic(world: &mut World, members: usize, what: &str) {
    let before = world.traffic();
    world.run(10 * SEC);
    let now = world.traffic();
    let per = |n: u64| n as f64 / members as f64 / 10.0;
    let (bytes, datagrams) = (per(now.bytes - before.bytes), per(now.datagrams - before.datagrams));
    println!("  {what}: each member sends {bytes:.0} bytes in {datagrams:.1} datagrams a second");
}
