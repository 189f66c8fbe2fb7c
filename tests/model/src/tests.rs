use crate::bounds::{Bounds, Plan};
use crate::mistakes;
use std::time::Instant;

const PLAIN: Bounds = Bounds { voters: 3, terms: 2, entries: 2, crashes: 0, pre_votes: false, tells: false, plan: Plan::None };

#[test]
fn look() {
    let all = [PLAIN, Bounds { terms: 3, ..PLAIN }, Bounds { crashes: 1, entries: 1, ..PLAIN }, Bounds { plan: Plan::NewLife, entries: 1, ..PLAIN }, Bounds { plan: Plan::Swap, entries: 1, ..PLAIN }];
    let only = std::env::var("ONLY").ok();
    for (name, model, _) in mistakes::ALL {
        if only.as_ref().is_some_and(|only| !name.contains(only.as_str())) { continue }
        for bounds in &all {
            let started = Instant::now();
            let found = model(bounds);
            println!("{name} {bounds:?}: {found:?} {:?}", started.elapsed());
            if found.is_some() { break }
        }
    }
}
