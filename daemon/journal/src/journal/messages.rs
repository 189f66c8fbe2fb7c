//! What the journal is told and what it says: its sizes, where it begins, inputs and outputs.

use crate::segment::SEGMENT_BYTES;

/// Sizes and times.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// Bytes of a segment.
    pub segment_bytes: u64,
    /// Bytes of a batch's payload beyond which it takes no further record.
    pub batch_bytes: usize,
    /// Bytes from which on a record goes into a batch alone.
    pub alone_bytes: usize,
    /// Bytes that may gather: [`super::Journal::room`].
    pub gather_bytes: usize,
    /// Segments that are there ahead: the next one and the reserve. Two that are empty take all that may gather.
    pub ahead: usize,
    /// Milliseconds behind the last batch after which an empty one follows.
    pub idle_ms: u64,
    /// Milliseconds after which a segment is asked for again where there was no room for it; twice as many after each attempt, up to 32 times.
    pub retry_ms: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            segment_bytes: SEGMENT_BYTES,
            batch_bytes: 1024 * 1024,
            alone_bytes: 64 * 1024,
            gather_bytes: 64 * 1024 * 1024,
            ahead: 3,
            idle_ms: 10,
            retry_ms: 1_000,
        }
    }
}

/// A byte of the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// The segment.
    pub segment: u64,
    /// Offset in its file.
    pub offset: u64,
}

/// What a journal begins with: what recovery found.
#[derive(Clone, Debug, Default)]
pub struct Start {
    /// The volume.
    pub volume: u64,
    /// Number of the next batch.
    pub next_lsn: u64,
    /// Where it is written; `None`: into the first segment ahead.
    pub at: Option<Position>,
    /// Segments behind which the journal goes on, each with the lsn of its last batch, oldest first.
    pub closed: Vec<(u64, u64)>,
    /// Segments that are there for what comes next.
    pub ahead: Vec<u64>,
    /// The last batch has records, and none behind it proves that it was synced: an empty one follows at once.
    pub lacks_proof: bool,
}

/// What happened.
#[derive(Clone, Copy, Debug)]
pub enum Input<'a> {
    /// Whole records, one behind the other. [`super::Journal::last_lsn`] says which batch has them.
    Records(&'a [u8]),
    /// The batch in flight is written.
    Wrote,
    /// Its segment is synced.
    Synced,
    /// It could not be written or synced, or a segment could not be made for another reason than room.
    Failed,
    /// The segment that was asked for is there.
    Prepared(u64),
    /// There is no room for it.
    NoRoom,
    /// What is in batches below this lsn is needed no more.
    Release(u64),
    /// Time has passed.
    Time,
    /// Nothing more comes for now: the last batch gets its proof at once.
    Idle,
}

/// What is to be done, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// Write [`super::Journal::in_flight`] there, then say [`Input::Wrote`].
    Write(Position),
    /// Sync this segment, then say [`Input::Synced`].
    Sync(u64),
    /// Everything up to this lsn is durable.
    Durable(u64),
    /// Make this segment, of the one named if there is one; then say [`Input::Prepared`].
    Prepare {
        /// The segment.
        segment: u64,
        /// One that is used no more.
        from: Option<u64>,
    },
    /// Remove this segment: it is used no more.
    Remove(u64),
    /// Whether there is room for new events.
    Full(bool),
    /// It is over: nothing more becomes durable.
    Stop,
}

/// Records that no daemon makes: the journal takes none of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Not whole records, one behind the other.
    #[error("bytes that are no records")]
    Malformed,
    /// A record that no segment holds.
    #[error("a record of {0} bytes, which no segment holds")]
    TooLong(usize),
    /// The journal is over.
    #[error("the journal has stopped")]
    Stopped,
}
