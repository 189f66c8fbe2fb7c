use stateright::{Checker, Model};
use statemesh_model::bounds::{Bounds, Plan, Start};
use statemesh_model::model::Place;
use std::time::Instant;


const PLAIN: Bounds = Bounds { voters: 3, terms: 2, start: Start::Birth, entries: 2, crashes: 0, pre_votes: false, tells: false, plan: Plan::None };

#[test]
fn count() {
    let parted = Bounds { start: Start::Parted, terms: 4, entries: 0, ..PLAIN };
    for bounds in [
        parted.clone(),
        Bounds { plan: Plan::NewLife, terms: 1, entries: 0, ..PLAIN },
        Bounds { plan: Plan::Swap, terms: 1, entries: 0, ..PLAIN },
        Bounds { plan: Plan::NewLife, terms: 2, entries: 0, ..PLAIN },
        Bounds { plan: Plan::Swap, terms: 2, entries: 0, ..PLAIN },
        Bounds { plan: Plan::Transfer, terms: 2, entries: 2, ..PLAIN },
        Bounds { pre_votes: true, terms: 2, entries: 1, ..PLAIN },
        Bounds { tells: true, terms: 2, entries: 1, ..PLAIN },
    ] {
        let started = Instant::now();
        let checker = Place::new(bounds.clone()).checker().timeout(std::time::Duration::from_secs(50)).spawn_dfs().join();
        println!("{bounds:?}: {} states, {} unique, depth {}, {:?}, done {} {:?}", checker.state_count(), checker.unique_state_count(), checker.max_depth(), started.elapsed(), checker.is_done(), checker.discoveries().keys());
        if let Some(path) = checker.discovery("nothing is violated") { println!("{:?}", path.last_state().violation); for action in path.into_actions() { println!("  {action:?}") } break }
    }
}
