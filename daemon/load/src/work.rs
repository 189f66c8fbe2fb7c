//! What is asked, and what an answer means.

use crate::said::Said;

/// Requests, and how their answers are read.
pub trait Work {
    /// How many requests may be on their way at a time; each has a slot, from 0.
    fn slots(&self) -> usize;

    /// The request of a slot, carrying this id. It is asked for again when it must be sent again, until [`Work::done`] or
    /// [`Work::given_up`] says that the slot's next request is another one.
    fn request(&mut self, slot: usize, id: u32) -> &[u8];

    /// Reads a reply. `None`: it is no answer to any request.
    fn read(&mut self, reply: &[u8]) -> Option<Answer>;

    /// The request of a slot was answered as it should be.
    fn done(&mut self, _slot: usize, _answer: &Answer) {}

    /// No good answer to a slot's request will come. `applied`: it may have had its effect all the same.
    fn given_up(&mut self, _slot: usize, _applied: bool) {}
}

/// What a reply says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The request's id.
    pub id: u32,
    /// What to do about it.
    pub verdict: Verdict,
    /// What it says of the instance; nothing if that is not looked at.
    pub said: Said,
}

/// What to do about an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing: it is good.
    Done,
    /// Nothing can be done: the request is wrong, and had no effect.
    Refused(Box<Refusal>),
    /// Send it again.
    Again(Box<Refusal>),
    /// Send it again, by a connection to another daemon.
    Elsewhere(Box<Refusal>),
}

/// Why a daemon did not do what was asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Refusal {
    /// The protocol's code.
    pub code: String,
    /// In words.
    pub message: String,
}
