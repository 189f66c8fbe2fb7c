//! Seeds of one place under faults. `SEEDS=10000 cargo test -p statemesh-model --test seeds` runs more, `SEED=7 SEEDS=1` one of them, with what the
//! place came to. With `LATE=1` messages are repeated so late that their sender has another life by then.

use statemesh_model::world::{Counts, World};

#[test]
fn a_place_keeps_what_it_acknowledged_and_gets_well() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let (first, count) = (number("SEED").unwrap_or(1), number("SEEDS").unwrap_or(300));
    let late = number("LATE").is_some();
    let (mut all, mut failed) = (Counts::default(), Vec::new());
    for seed in first..first + count {
        let world = World::new(seed);
        let mut world = if late { world.with_late_repetitions() } else { world };
        if let Err(why) = world.run() {
            println!("seed {seed}: {why}");
            if count == 1 {
                println!("{world}");
            }
            failed.push(seed);
        }
        all.add(&world.counts);
    }
    println!("{count} seeds from {first}: {all:?}");
    assert!(failed.is_empty(), "seeds {failed:?}");
    assert!(count < 300 || all.everything_happened(), "something never happened: {all:?}");
}

#[test]
fn a_seed_replays() {
    let run = |seed| {
        let mut world = World::new(seed);
        (world.run(), world.counts, world.to_string())
    };
    for seed in [3, 17, 101] {
        assert_eq!(run(seed), run(seed));
    }
}
