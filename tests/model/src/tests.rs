use crate::bounds::{Bounds, PARTED, PLAIN, Plan};
use crate::mistakes;
use std::time::Instant;

#[test]
fn look() {
    let crash = Bounds { crashes: 1, entries: 1, ..PLAIN };
    let life = Bounds { plan: Plan::NewLife, entries: 0, ..PLAIN };
    let swap = Bounds { plan: Plan::Swap, entries: 0, ..PLAIN };
    let all = [("plain", PLAIN), ("crash", crash), ("parted", PARTED), ("life", life), ("swap", swap)];
    let only = std::env::var("ONLY").ok();
    for (name, model, world) in mistakes::ALL {
        if only.as_ref().is_some_and(|only| !name.contains(only.as_str())) { continue }
        for (what, bounds) in &all {
            let started = Instant::now();
            let found = model(bounds, 150_000);
            println!("{name} {what}: {found:?} {:?}", started.elapsed());
        }
        let started = Instant::now();
        let found = (1..150).find_map(|seed| Some((seed, std::panic::catch_unwind(|| world(seed)).unwrap_or(Some("panic".into()))?)));
        println!("{name}: {found:?} {:?}", started.elapsed());
    }
}
