//! Work that takes milliseconds and more, for which gossip and the lease must not wait: compiling definitions. The control plane
//! gives it away as a value, and takes the result as one.

use std::collections::VecDeque;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use statemesh_engine::Machine;
use statemesh_protocol::error::ErrorCode;
use statemesh_protocol::peer::definition::{Definition, DefinitionHash};
use statemesh_protocol::reply::{Encoding, write_error};
use statemesh_protocol::request::Request;

use super::compile::{Good, Reply, WhyNot, compile, compile_received};
use crate::shared::Shared;

/// A piece of work.
pub struct Work {
    shared: Arc<Shared>,
    job: Job,
}

enum Job {
    /// A client's `define`.
    Define(Requested),
    /// A version that another member compiled.
    Received(Definition),
    /// A definition of a durable machine, to be kept on the volume.
    Keep { asked: Asked, good: Good },
}

/// A piece of work that is done.
#[derive(Debug)]
pub struct Done(pub(super) Finished);

/// What came of a piece of work.
#[derive(Debug)]
pub(super) enum Finished {
    /// A client's `define` compiles, or the reply says why not.
    Defined { asked: Asked, result: Result<Good, Reply> },
    /// A definition is kept on the volume, or could not be.
    Kept { asked: Asked, good: Good, result: io::Result<()> },
    /// A version of another member compiles, or not.
    Received { machine: String, hash: DefinitionHash, result: Result<Arc<Machine>, WhyNot> },
}

/// Who asked for something, and how the reply must look.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) reactor: usize,
    pub(super) correlation: u64,
    pub(super) encoding: Encoding,
    pub(super) id: Option<Vec<u8>>,
}

/// A request that a reactor passed on.
#[derive(Debug)]
pub(super) struct Requested {
    pub(super) reactor: usize,
    pub(super) correlation: u64,
    pub(super) raw: Bytes,
    /// It is not waited for any longer than this.
    pub(super) until: Instant,
}

/// A line of work of which one piece is done at a time, in their order. There are two of them, and so no more than two compilers beside
/// the threads that must not wait; neither can starve the other.
#[derive(Debug)]
pub(super) struct Line<T> {
    waiting: VecDeque<T>,
    is_working: bool,
}

impl<T> Default for Line<T> {
    fn default() -> Self {
        Self { waiting: VecDeque::new(), is_working: false }
    }
}

impl<T> Line<T> {
    pub(super) fn add(&mut self, piece: T) {
        self.waiting.push_back(piece);
    }

    /// The piece that is to be begun now, if none is under way.
    pub(super) fn next(&mut self) -> Option<T> {
        if self.is_working { None } else { self.waiting.pop_front() }
    }

    /// A piece is under way.
    pub(super) fn begun(&mut self) {
        self.is_working = true;
    }

    /// The piece that was under way is done.
    pub(super) fn done(&mut self) {
        self.is_working = false;
    }
}

impl Line<Requested> {
    /// Drops those that are not waited for any more: what is left is no more than what reactors have in flight, and bound.
    pub(super) fn drop_overdue(&mut self, now: Instant) {
        while self.waiting.front().is_some_and(|first| first.until <= now) {
            self.waiting.pop_front();
        }
    }
}

impl Work {
    pub(super) fn define(shared: Arc<Shared>, requested: Requested) -> Self {
        Self { shared, job: Job::Define(requested) }
    }

    pub(super) fn received(shared: Arc<Shared>, definition: Definition) -> Self {
        Self { shared, job: Job::Received(definition) }
    }

    pub(super) fn keep(shared: Arc<Shared>, asked: Asked, good: Good) -> Self {
        Self { shared, job: Job::Keep { asked, good } }
    }

    /// Does it.
    #[must_use]
    pub fn run(self) -> Done {
        let Self { shared, job } = self;
        Done(match job {
            Job::Define(requested) => define(&requested, &shared),
            Job::Keep { asked, good } => {
                let none = || Err(io::ErrorKind::NotFound.into());
                let result = shared.volume.get().map_or_else(none, |volume| volume.keep(&good.machine));
                Finished::Kept { asked, good, result }
            }
            Job::Received(definition) => {
                let result = guarded(|| compile_received(&definition, &shared)).unwrap_or_else(|| Err(WhyNot::fault()));
                let Definition { machine, hash, .. } = definition;
                Finished::Received { machine, hash, result }
            }
        })
    }
}

/// Nothing if it panics: whatever else waits for its turn does not wait for ever.
fn guarded<T>(work: impl FnOnce() -> T) -> Option<T> {
    catch_unwind(AssertUnwindSafe(work)).ok()
}

fn define(requested: &Requested, shared: &Shared) -> Finished {
    let Requested { reactor, correlation, raw, .. } = requested;
    let encoding = Encoding::of(raw);
    let parsed = Request::parse(raw, encoding);
    let id = parsed.as_ref().map_or_else(|refusal| refusal.id, |request| request.id);
    let asked = Asked { reactor: *reactor, correlation: *correlation, encoding, id: id.map(<[u8]>::to_vec) };
    let refuse = |code, message: &str, hint| {
        let mut reply = Vec::new();
        write_error(&mut reply, encoding, id, code, message, hint);
        Err((reply, Some(code)))
    };
    let result = match &parsed {
        Ok(request) => guarded(|| compile(request, shared)).unwrap_or_else(|| {
            refuse(
                ErrorCode::Internal,
                "the compiler failed",
                "please report it, with the definition and the daemon's log",
            )
        }),
        Err(refusal) => refuse(refusal.code, &refusal.message, refusal.hint),
    };
    Finished::Defined { asked, result }
}

impl std::fmt::Debug for Work {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut work = f.debug_struct("Work");
        match &self.job {
            Job::Define(requested) => work.field("reactor", &requested.reactor),
            Job::Received(definition) => work.field("machine", &definition.machine),
            Job::Keep { good, .. } => work.field("machine", &good.machine.id()),
        };
        work.finish_non_exhaustive()
    }
}
