//! x
use statemesh_model::world::World;
#[test]
fn seeds() {
    let count: u64 = std::env::var("SEEDS").ok().and_then(|n| n.parse().ok()).unwrap_or(300);
    let first: u64 = std::env::var("SEED").ok().and_then(|n| n.parse().ok()).unwrap_or(1);
    let started = std::time::Instant::now();
    let mut failed = 0;
    let mut t = statemesh_model::world::Counts::default();
    for seed in first..first+count {
        let mut world = World::new(seed);
        let r = world.run();
        let c = world.counts;
        t.steps += c.steps; t.terms += c.terms; t.committed += c.committed; t.crashes += c.crashes; t.cuts += c.cuts; t.images += c.images; t.swaps += c.swaps; t.lives += c.lives; t.damaged += c.damaged; t.transfers += c.transfers; t.reads += c.reads; t.full += c.full;
        if let Err(e) = r { println!("seed {seed}: {e}"); if count == 1 { println!("{world}") } failed += 1; if failed > 10 { break } }
    }
    println!("{t:?} {:?}", started.elapsed());
    assert_eq!(failed, 0);
}
