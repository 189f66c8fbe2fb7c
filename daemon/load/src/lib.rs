//! Load on a mesh: the loops of `statemesh bench` and of the benchmarks.
//!
//! [`Schedule`] decides, as a value without clock or socket, what leaves when, what is owed and what is sent again. [`run`] is its
//! shell around one connection of the direct client, which it opens again when it ends. What is asked, and what an answer means,
//! is a [`Work`]; [`Sends`] is the one that keeps [`HistoryChecker`] about events that were lost or applied twice. [`Said`] has the
//! rules of histories, which the simulator's judge goes by too.

mod history_checker;
mod round;
mod run;
mod said;
mod schedule;
mod sends;
mod work;

pub use history_checker::HistoryChecker;
pub use round::{Errors, Round, histogram};
pub use run::run;
pub use said::{Gone, Place, Said};
pub use schedule::{Due, MAX_SLOTS, Pace, Schedule, Settled, Spec};
pub use sends::{Each, Sends};
pub use statemesh_client::{Endpoint, OpenError};
pub use work::{Answer, Refusal, Verdict, Work};
