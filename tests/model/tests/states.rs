use stateright::{Checker, Model};
use statemesh_model::model::{Bounds, Place, Plan};
use std::time::Instant;

fn main_bounds() -> Bounds {
    Bounds { voters: 3, terms: 2, entries: 2, crashes: 0, pre_votes: false, tells: false, plan: Plan::None }
}

#[test]
fn count() {
    for (entries, crashes, terms) in [(1, 0, 1), (2, 0, 1), (2, 0, 2), (2, 1, 2), (3, 0, 2)] {
        let started = Instant::now();
        let checker = Place::new(Bounds { entries, crashes, terms, ..main_bounds() }).checker().timeout(std::time::Duration::from_secs(60)).spawn_bfs().join();
        println!("{entries} {crashes} {terms}: {} states, {} unique, depth {}, {:?}, done {} {:?}", checker.state_count(), checker.unique_state_count(), checker.max_depth(), started.elapsed(), checker.is_done(), checker.discoveries().keys());
        if let Some(path) = checker.discovery("nothing is violated") { println!("{:?}", path.last_state().violation); for action in path.into_actions() { println!("  {action:?}") } break }
    }
}
