//! How much may happen in a model.

/// How much may happen.
#[derive(Clone, Debug)]
pub struct Bounds {
    /// Voters.
    pub voters: usize,
    /// Terms.
    pub terms: u64,
    /// How it begins.
    pub start: Start,
    /// Entries of a log.
    pub entries: u64,
    /// Restarts of one of the copies, each of which forgets what was not durable. The disks of all others take no time: as long as they do
    /// not crash, a slow one is a message that comes later.
    pub crashes: u8,
    /// Elections begin with pre-votes.
    pub pre_votes: bool,
    /// Followers are told what is committed without a further entry.
    pub tells: bool,
    /// What is done to the copies.
    pub plan: Plan,
}

/// How a group begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// The place was just born.
    Birth,
    /// Two leaders have come and gone, of terms 1 and 2, each with an entry that nobody else has, at the same index (Raft, figure 8). Entries
    /// are sent one by one.
    Parted,
}

/// What is done to the copies, once in a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plan {
    /// Nothing.
    None,
    /// Another member takes the place of the last voter.
    Swap,
    /// The last voter's disk is damaged, and it begins a new life.
    NewLife,
    /// The leader hands over.
    Transfer,
}

/// Three voters, two terms, nothing but messages.
pub const PLAIN: Bounds = Bounds {
    voters: 3,
    terms: 2,
    start: Start::Birth,
    entries: 2,
    crashes: 0,
    pre_votes: false,
    tells: false,
    plan: Plan::None,
};

/// Two leaders have come to nothing, and two more come.
pub const PARTED: Bounds = Bounds { start: Start::Parted, terms: 4, entries: 0, ..PLAIN };
