//! What a daemon takes of memory: bytes that are allocated in its turns and not freed there. Counted, not asked of gauges: these
//! say what a daemon knows of.
//!
//! A turn calls the virtual kernel, whose buffers and history are no daemon's: they are counted apart.

use std::cell::Cell;

/// What a daemon may have at any time beside what its gauges tell: tables, rings, machines, the instances of a seed, and what a
/// step or a message takes while it is worked on. Seeds came to 7 MB.
pub const MOST: i64 = 16 << 20;
/// What it may have with nothing under way, at the end of a seed; and what for each daemon of the mesh, for its links and what is known
/// of it. Seeds came to 4 MB, those of 50 daemons to 9 MB.
const AT_REST: i64 = 6 << 20;
const AT_REST_EACH: i64 = 128 << 10;
/// What is not freed with a process: caches of its threads, which are this one, and lists of the kernel that grew. Seeds came to
/// 12 kB.
const LEFT: i64 = 64 << 10;
/// A buffer that grows has twice what is in it, while it grows once more, and what is in it is copied to where it is written.
const ROOM: i64 = 4;

/// What is wrong with a daemon that has so much, if that is more than `most` beside what its gauges tell.
#[must_use]
pub fn is_over(bytes: i64, most: i64, told: i64) -> Option<String> {
    let may = most.saturating_add(told.saturating_mul(ROOM));
    (bytes > may)
        .then(|| format!("it has {bytes} bytes of memory, and its gauges tell of {told}: that makes {may} at most"))
}

/// What is wrong with a daemon that has so much with nothing under way, in a mesh of so many.
#[must_use]
pub fn is_restless(bytes: i64, daemons: usize) -> Option<String> {
    let may = AT_REST + AT_REST_EACH * i64::try_from(daemons).unwrap_or(0);
    (bytes > may).then(|| format!("it has {bytes} bytes of memory with nothing under way: {may} at most"))
}

/// What is wrong with a daemon that has ended and of which so much is there.
#[must_use]
pub fn is_left(bytes: i64) -> Option<String> {
    (bytes > LEFT).then(|| format!("it has ended, and {bytes} bytes that it allocated are not free: {LEFT} at most"))
}

thread_local! {
    /// Bytes by which the kernel has grown, within what is counted.
    static APART: Cell<i64> = const { Cell::new(0) };
}

/// Does something of a daemon. Gives also by how many bytes it has grown.
pub fn of_daemon<T>(deed: impl FnOnce() -> T) -> (T, i64) {
    let before = APART.get();
    let (result, grown) = counted(deed);
    (result, grown - (APART.get() - before))
}

/// Does something within what is counted of a daemon that is not its.
pub fn apart<T>(deed: impl FnOnce() -> T) -> T {
    let before = APART.get();
    let (result, grown) = counted(deed);
    // What was apart in there is a part of it.
    APART.set(before + grown);
    result
}

fn counted<T>(deed: impl FnOnce() -> T) -> (T, i64) {
    let mut result = None;
    let counts = allocation_counter::measure(|| result = Some(deed()));
    (result.unwrap_or_else(|| unreachable!("it was done")), counts.bytes_current)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_allocated_and_kept_counts_and_the_kernels_does_not() {
        let mut kernel = Vec::new();
        let (kept, grown) = of_daemon(|| {
            drop(vec![0_u8; 5_000]);
            apart(|| kernel = vec![0_u8; 70_000]);
            vec![0_u8; 300]
        });
        assert_eq!((kept.len(), kernel.len(), grown), (300, 70_000, 300));
        assert_eq!(of_daemon(|| drop(kept)).1, -300);
        assert_eq!(of_daemon(|| apart(|| drop(kernel))).1, 0);
    }
}
