//! `statemesh simulate --batch` as a filter: batch lines on stdin, result lines on stdout. What the oracles drive.

// The engine itself does no I/O; this example is the shell around it.
#![allow(clippy::disallowed_methods)]

use std::io::{self, BufRead, BufWriter, Write};

fn main() -> io::Result<()> {
    let limits = statemesh_engine::Limits::default();
    let stdout = io::stdout();
    let mut out = BufWriter::new(stdout.lock());
    for line in io::stdin().lock().split(b'\n') {
        let line = line?;
        if line.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        out.write_all(&statemesh_engine::simulate_batch_line(&line, &limits))?;
        out.write_all(b"\n")?;
        // One result for each line, at once: a caller may wait for it.
        out.flush()?;
    }
    Ok(())
}
