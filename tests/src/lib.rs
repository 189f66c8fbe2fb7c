//! End-to-end tests: whole daemons, real DNS, real clients.
//!
//! This library is the harness; the scenarios are under `scenarios/`. `README.md` says how to run them and what they need.

pub mod caller;
pub mod client_history;
pub mod cluster;
pub mod daemon;
pub mod dns;
pub mod figures;
pub mod http;
pub mod load;
pub mod mesh;
pub mod network;
pub mod process;
pub mod raw;
pub mod relay;
pub mod run;
pub mod watch;

use std::time::{Duration, Instant};

/// Why a scenario failed, or could not go on.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;

/// How a scenario, or a step of one, ended.
pub type Outcome<T = ()> = Result<T, Failure>;

/// Fails with the formatted text unless the condition holds.
#[macro_export]
macro_rules! ensure {
    ($condition:expr, $($text:tt)+) => {
        if !$condition {
            return Err(format!($($text)+).into());
        }
    };
}

/// How long [`wait_for`] pauses between two questions.
const ASK_AGAIN: Duration = Duration::from_millis(20);

/// Asks until the answer is `Ok(Some(_))`, and says how long that took.
///
/// # Errors
/// It did not come about within `limit`; the text has the last answer's error, if it was one.
pub fn wait_for<T>(what: &str, limit: Duration, mut ask: impl FnMut() -> Outcome<Option<T>>) -> Outcome<(T, Duration)> {
    let start = Instant::now();
    loop {
        let last = match ask() {
            Ok(Some(value)) => return Ok((value, start.elapsed())),
            Ok(None) => None,
            Err(failure) => Some(failure),
        };
        if start.elapsed() >= limit {
            let last = last.map_or_else(String::new, |failure| format!("; last: {failure}"));
            return Err(format!("after {limit:?} still not: {what}{last}").into());
        }
        std::thread::sleep(ASK_AGAIN);
    }
}
