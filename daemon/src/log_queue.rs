//! Log lines on their way out. One thread writes them: the reader of stderr may stand still, and a reactor that waited for it would
//! hold a shard meanwhile. Lines without room are left out, and the log says how many.

use std::io::{self, Write};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Bytes of lines that wait, those that are being written included.
const BYTES_MAX: usize = 1 << 20;
/// For how long a process that ends waits until its lines are written.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// The lines of a process that are not written yet.
#[derive(Debug, Default)]
pub(crate) struct LogQueue {
    waiting: Mutex<Waiting>,
    /// There is something to write, or something was written.
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Waiting {
    lines: Vec<u8>,
    /// Bytes that the thread is writing.
    being_written: usize,
    /// Lines that had no room since the last ones were taken.
    left_out: u64,
}

impl Waiting {
    fn has_room(&self, bytes: usize) -> bool {
        // What comes behind a line that was left out waits until the log has said so.
        self.left_out == 0 && self.lines.len() + self.being_written + bytes <= BYTES_MAX
    }

    fn is_empty(&self) -> bool {
        self.lines.is_empty() && self.left_out == 0
    }
}

impl LogQueue {
    // No line is half-queued when a thread panics: the lock protects memory moves only.
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues a line, or counts it where there is no room.
    fn add(&self, line: &[u8]) {
        let mut waiting = self.lock();
        if waiting.has_room(line.len()) {
            waiting.lines.extend_from_slice(line);
        } else {
            waiting.left_out += 1;
        }
        drop(waiting);
        self.changed.notify_all();
    }

    /// Writes what is queued, and does not return. `left_out` makes the line that says how many are missing.
    pub(crate) fn write_to(&self, mut out: impl Write, left_out: impl Fn(u64) -> String) {
        loop {
            let waiting = self.lock();
            let waiting = self.changed.wait_while(waiting, |waiting| waiting.is_empty());
            let mut waiting = waiting.unwrap_or_else(PoisonError::into_inner);
            let (mut lines, missing) = (std::mem::take(&mut waiting.lines), std::mem::take(&mut waiting.left_out));
            if missing > 0 {
                lines.extend_from_slice(left_out(missing).as_bytes());
            }
            waiting.being_written = lines.len();
            drop(waiting);
            // A reader that is gone changes nothing for the daemon.
            let _ = out.write_all(&lines).and_then(|()| out.flush());
            self.lock().being_written = 0;
            self.changed.notify_all();
        }
    }

    /// The process ends: waits a while until all is written. Says whether it is.
    pub(crate) fn flush(&self) -> bool {
        let is_left = |waiting: &mut Waiting| !waiting.is_empty() || waiting.being_written > 0;
        let waited = self.changed.wait_timeout_while(self.lock(), LAST_WORDS, is_left);
        !waited.unwrap_or_else(PoisonError::into_inner).1.timed_out()
    }
}

/// One call is one line.
impl Write for &LogQueue {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.add(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

    /// Takes what is written when it is asked to, and not before.
    struct Slow(SyncSender<Vec<u8>>);

    impl Write for Slow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.send(bytes.to_vec()).map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn queue() -> (Arc<LogQueue>, Receiver<Vec<u8>>) {
        let queue = Arc::new(LogQueue::default());
        let (sender, receiver) = sync_channel(0);
        let writer = Arc::clone(&queue);
        std::thread::spawn(move || writer.write_to(Slow(sender), |missing| format!("{missing} are missing\n")));
        (queue, receiver)
    }

    #[test]
    fn what_has_no_room_is_left_out_and_the_log_says_how_much_as_soon_as_it_is_read_again() {
        let (queue, reader) = queue();
        let line = [vec![b'x'; 99], vec![b'\n']].concat();
        (0..20_000).for_each(|_| queue.add(&line));
        assert!(!queue.flush(), "nobody reads");
        // The writer may have taken some before all were there: then the log says twice how many are missing.
        let (mut there, mut missing) = (0, 0);
        while there / 100 + missing < 20_000 {
            let mut read = reader.recv().unwrap();
            let said = String::from_utf8(read.split_off(read.len() / 100 * 100)).unwrap();
            missing += said.split(' ').next().unwrap().parse::<usize>().unwrap_or(0);
            assert!(read.chunks(100).all(|one| one == line));
            there += read.len();
        }
        assert_eq!(there / 100 + missing, 20_000, "each line is there or counted");
        assert!(there <= BYTES_MAX && there > BYTES_MAX - 100, "{there}");
        queue.add(b"next\n");
        assert_eq!(reader.recv().unwrap(), b"next\n");
        assert!(queue.flush());
    }

    #[test]
    fn lines_are_written_in_the_order_in_which_they_were_logged_and_a_reader_that_is_gone_ends_nothing() {
        let (queue, reader) = queue();
        ["a\n", "b\n", "c\n"].iter().for_each(|line| queue.add(line.as_bytes()));
        let mut read = Vec::new();
        while read.len() < 6 {
            read.extend(reader.recv().unwrap());
        }
        assert_eq!(read, b"a\nb\nc\n");
        drop(reader);
        queue.add(b"d\n");
        assert!(queue.flush());
    }
}
