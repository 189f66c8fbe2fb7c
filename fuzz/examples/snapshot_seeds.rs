//! Writes the corpus of `snapshots` anew from that of `events`: what each sequence leaves behind, and what it passes by.
//! `cargo run --example snapshot_seeds --manifest-path fuzz/Cargo.toml` from the checkout's root, when the format changes.

use statemesh_engine::Payload;
use statemesh_fuzz::walk::Walk;
use statemesh_fuzz::{catalogue, script};
use std::path::Path;

/// Magic, version and hash: the target puts them there.
const HEADER_BYTES: usize = 3 + 32;

fn main() -> std::io::Result<()> {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    for entry in std::fs::read_dir(corpus.join("events"))? {
        let entry = entry?;
        let text = std::fs::read(entry.path())?;
        let Some((letter, inputs)) = script::read(&text) else { continue };
        let Some(mut walk) = Walk::start(catalogue::machine(letter), Payload::Empty) else { continue };
        for (step, input) in inputs.enumerate() {
            walk.take(&input);
            let seed = [&[letter], &walk.bytes()[HEADER_BYTES..]].concat();
            let name = format!("{}-{step:02}", entry.file_name().display());
            std::fs::write(corpus.join("snapshots").join(name), seed)?;
        }
    }
    Ok(())
}
