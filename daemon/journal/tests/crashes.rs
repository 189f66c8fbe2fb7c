//! Loops of crashes over a virtual disk. A seed decides everything; a failing one is printed, and `JOURNAL_SEED=N` repeats it.
//! `JOURNAL_CRASHES=N` runs until there were N crashes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // It is a test.

mod rig;

use rig::{Rig, Seen, Start};
use statemesh_journal::testing::{Counts, Faults};

/// What a disk may do to a program that trusts it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// The power goes, there is no room, it is slow.
    Honest,
    /// Beside that a sync may fail.
    Failing,
    /// A sync may be a lie.
    Lying,
    /// Bits flip, writes go astray.
    Rotting,
}

fn faults(mode: Mode) -> Faults {
    let honest = Faults { no_room: 20, stall: 5, ..Faults::default() };
    match mode {
        Mode::Honest => honest,
        Mode::Failing => Faults { failed_sync: 10, ..honest },
        Mode::Lying => Faults { lost_sync: 20, ..honest },
        Mode::Rotting => Faults { flip_on_read: 10, misdirected: 5, ..honest },
    }
}

fn mode(seed: u64) -> Mode {
    [Mode::Honest, Mode::Failing, Mode::Lying, Mode::Rotting][(seed % 4) as usize]
}

/// A disk with its crashes. Gives what happened.
fn life_of_a_disk(seed: u64) -> (Seen, Counts, [u64; 4]) {
    let mode = mode(seed);
    let mut rig = Rig::new(seed);
    rig.set_faults(faults(mode));
    let mut starts = [0; 4];
    for _ in 0..25 {
        if rig.chance.per_mille(200) {
            // Within recovery, or soon after it.
            let operations = rig.chance.below(30);
            rig.disk.cut_after(operations);
        }
        let start = rig.start();
        match &start {
            Start::Whole => starts[0] += 1,
            Start::Off => starts[1] += 1,
            Start::Short => {
                starts[2] += 1;
                assert!(matches!(mode, Mode::Lying | Mode::Rotting), "{mode:?}: acknowledged and gone");
            }
            Start::Said(said) => {
                starts[3] += 1;
                let may = match mode {
                    Mode::Honest => said.contains("storage_full"),
                    Mode::Failing => said.contains("storage_f") || said.contains("the device failed"),
                    Mode::Lying | Mode::Rotting => true,
                };
                assert!(may, "{mode:?}: {said}");
                if said.starts_with("lost") || said.contains("damaged") {
                    break;
                }
            }
        }
        if matches!(start, Start::Whole | Start::Short) {
            let operations = rig.chance.below(150);
            rig.disk.cut_after(operations);
            let steps = 20 + rig.chance.below(200);
            if rig.run(steps) && rig.chance.per_mille(500) {
                rig.settle();
            }
        }
        rig.crash();
        if mode == Mode::Rotting && rig.chance.per_mille(300) {
            rig.rot();
        }
    }
    (rig.seen, rig.disk.counts(), starts)
}

fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn nothing_acknowledged_is_lost_in_silence_and_nothing_is_read_that_was_not_written() {
    if let Some(seed) = setting("JOURNAL_SEED") {
        println!("{:?}", life_of_a_disk(seed));
        return;
    }
    let crashes = setting("JOURNAL_CRASHES").unwrap_or(2_000);
    let mut counts = Counts::default();
    let mut starts = [0; 4];
    let mut seen: Vec<Seen> = Vec::new();
    let mut seed = 0;
    while counts.crashes < crashes {
        seed += 1;
        let life = std::panic::catch_unwind(|| life_of_a_disk(seed));
        let Ok((one, happened, ended)) = life else { panic!("JOURNAL_SEED={seed} in mode {:?}", mode(seed)) };
        counts.add(&happened);
        seen.push(one);
        starts.iter_mut().zip(ended).for_each(|(all, one)| *all += one);
    }
    let total = |of: fn(&Seen) -> u64| seen.iter().map(of).sum::<u64>();
    let met = [
        ("batches", total(|seen| seen.batches)),
        ("empty batches", total(|seen| seen.empty_batches)),
        ("recycled", total(|seen| seen.recycled)),
        ("removed", total(|seen| seen.removed)),
        ("full", total(|seen| seen.full)),
        ("stopped", total(|seen| seen.stopped)),
        ("checkpoints", total(|seen| seen.checkpoints)),
        ("checkpoints too early", total(|seen| seen.too_early)),
        ("records replayed", total(|seen| seen.replayed)),
        ("records left out", total(|seen| seen.left_out)),
        ("checkpoints set aside", total(|seen| seen.set_aside)),
        ("lost ranges said", total(|seen| seen.lost)),
        ("shards spared", total(|seen| seen.spared_shards)),
    ];
    println!("{seed} disks; starts whole, off, short, said: {starts:?}; {met:?}; {:?}", counts.all());
    for (name, count) in met.into_iter().chain(counts.all()) {
        assert!(count > 0, "no {name}: the rig does not reach it");
    }
}
