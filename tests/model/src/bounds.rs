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
    /// A leader sends images of what it has applied to any replica at any time, asked for or not.
    pub images: bool,
    /// Followers may ask for votes although they follow a leader: they do not hear it any more.
    pub lost: bool,
    /// Followers are told what is committed without a further entry.
    pub tells: bool,
    /// Steps from the beginning that are looked at, if not all.
    pub depth: Option<usize>,
    /// What is done to the copies.
    pub plan: Plan,
}

/// How a group begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// The place was just born.
    Birth,
    /// Two leaders have come and gone, of terms 1 and 2, each with an entry that no other replica has, at the same index (Raft, figure 8). Entries
    /// are sent one by one.
    Parted,
    /// The same, and the former of the two has a second entry: its log is the longer one, and the older one.
    Longer,
    /// A further member has all, and the leader has just begun to put it in the place of the last voter. No member has heard of that yet.
    Swapping,
    /// The leader holds the last voter for damaged, which it is not, and has added its next life. The former life has acknowledged that entry; neither
    /// this answer nor anything for the next life has come.
    Doubted,
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
    images: false,
    lost: false,
    tells: false,
    depth: None,
    plan: Plan::None,
};

/// Two leaders have come to nothing, and two more come.
pub const PARTED: Bounds = Bounds { start: Start::Parted, terms: 4, entries: 0, ..PLAIN };

/// The same with a log that is longer and older, and one leader more.
pub const LONGER: Bounds = Bounds { start: Start::Longer, terms: 3, entries: 0, ..PLAIN };

/// The former and the next voters have both to agree, and hardly any of them knows.
pub const SWAPPING: Bounds = Bounds { start: Start::Swapping, plan: Plan::Swap, lost: true, entries: 0, ..PLAIN };

/// A copy has two lives at once, as its leader sees it.
pub const DOUBTED: Bounds = Bounds { start: Start::Doubted, plan: Plan::NewLife, lost: true, entries: 0, ..PLAIN };
