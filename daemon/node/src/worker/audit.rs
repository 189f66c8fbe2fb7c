//! The audit log: who had a machine defined, an instance stopped or let go on, and who was refused. One line for each, under the target
//! `audit`, by which collectors tell it from the rest; everyday requests have none.

use std::time::{Duration, Instant};

use statemesh_protocol::request::{Op, Request};
use statemesh_protocol::rights::{self, Right};

/// Lines of one reactor in a second: a client that may stop instances may stop many, and a log that is written for each would stop us.
const LINES_PER_SECOND_MAX: u32 = 50;

/// Characters of a machine, a key or a reason.
const TEXT_MAX: usize = 256;

/// One reactor's share.
#[derive(Debug, Default)]
pub(super) struct Audit {
    since: Option<Instant>,
    lines: u32,
    /// Lines that were not written, which the next one tells.
    unsaid: u64,
}

impl Audit {
    /// Whether a request is none of everyday's.
    pub(super) fn wants(request: &Request<'_>) -> bool {
        request.force || request.op == Op::Stop || !matches!(Right::of(request.op), Right::Read | Right::Send)
    }

    /// Writes down that a client asked for this, or why it was refused. Without CURVE clients have no names.
    pub(super) fn note(&mut self, client: Option<&str>, request: &Request<'_>, refused: Option<&str>, now: Instant) {
        if !self.has_room(now) {
            self.unsaid += 1;
            return;
        }
        let client = client.unwrap_or("anybody");
        let (op, key) = (request.op.as_str(), &*request.key);
        let defined = (request.op == Op::Define).then(|| rights::defined_id(request)).flatten();
        let machine = brief(defined.as_deref().unwrap_or(&*request.machine));
        let key = brief(key);
        let unsaid = std::mem::take(&mut self.unsaid);
        match refused {
            None => tracing::info!(target: "audit", client, op, machine, key, unsaid, "asked for"),
            Some(why) => {
                tracing::warn!(target: "audit", client, op, machine, key, unsaid, "refused: {}", brief(why));
            }
        }
    }

    fn has_room(&mut self, now: Instant) -> bool {
        if self.since.is_none_or(|since| now.saturating_duration_since(since) >= Duration::from_secs(1)) {
            self.since = Some(now);
            self.lines = 0;
        }
        self.lines = self.lines.saturating_add(1);
        self.lines <= LINES_PER_SECOND_MAX
    }
}

/// The beginning of a text that a client chose: a line of the log is written at once, and kept.
fn brief(text: &str) -> &str {
    text.char_indices().nth(TEXT_MAX).map_or(text, |(end, _)| text.get(..end).unwrap_or(text))
}

#[cfg(test)]
mod tests {
    use statemesh_protocol::reply::Encoding;

    use super::*;

    #[test]
    fn everyday_requests_are_not_written_down() {
        let wants = |text: &str| Audit::wants(&Request::parse(text.as_bytes(), Encoding::Json).unwrap());
        let of = |op: &str| format!(r#"{{"op":"{op}","machine":"m","key":"k"}}"#);
        for (op, wanted) in [("get", false), ("start", false), ("stop", true), ("retry", true)] {
            assert_eq!(wants(&of(op)), wanted, "{op}");
        }
        assert!(wants(r#"{"op":"start","machine":"m","key":"k","force":true}"#));
    }

    #[test]
    fn of_a_long_text_the_beginning_is_written() {
        assert_eq!((brief("k"), brief(&"é".repeat(300)).chars().count()), ("k", 256));
    }

    #[test]
    fn no_more_lines_are_written_in_a_second_than_the_bound() {
        let (mut audit, start) = (Audit::default(), Instant::now());
        let written = (0..80).filter(|_| audit.has_room(start)).count();
        assert_eq!(written, 50);
        assert!(audit.has_room(start + Duration::from_secs(1)));
    }
}
