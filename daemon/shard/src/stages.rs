//! Where the time of a request goes.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use statemesh_expr::{Limits, Payload, Value};
use statemesh_protocol::reply::{Encoding, MapWriter};

use crate::cells::Durations;

macro_rules! stages {
    ($($variant:ident $name:literal $meaning:literal;)*) => {
        /// What happens to a request at its owner, in this order.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Stage {
            $(#[doc = $meaning] $variant,)*
        }

        impl Stage {
            /// Every stage, in order.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// Its name in replies and metrics.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }
        }
    };
}

stages! {
    Read "read" "From the socket to an envelope that is understood, what came before it in the same read included.";
    Route "route" "Finding the partition and who has it.";
    Queue "queue" "Waiting for the shard.";
    Step "step" "Finding the instance, the transition, history and timers.";
    Persist "persist" "Waiting for durability: nothing, with memory.";
    Write "write" "Making the reply.";
}

/// What laps are read from: the shell's clock, or a virtual one. It is asked only about requests that are timed.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> Instant + Send + Sync>);

impl Clock {
    /// A clock that this gives the time of.
    pub fn new(now: impl Fn() -> Instant + Send + Sync + 'static) -> Self {
        Self(Arc::new(now))
    }

    /// The time.
    #[must_use]
    pub fn now(&self) -> Instant {
        (self.0)()
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clock")
    }
}

/// When a timed request came in, for one that is passed on.
#[derive(Clone, Copy, Debug)]
pub struct Begun {
    at: Instant,
    /// The client wants to know: the reply says it.
    asked: bool,
}

impl Begun {
    /// Nanoseconds since then.
    pub fn elapsed_ns(&self, now: Instant) -> u64 {
        nanos(self.at, now)
    }

    /// The owner's reply with `forward` added to its `timing`: what is left of the whole beside the owner's own stages.
    /// `None` if the client does not want to know, or the reply has no timing, as errors have none.
    pub fn show_forward(&self, encoding: Encoding, reply: &[u8], whole_ns: u64) -> Option<Vec<u8>> {
        if !self.asked {
            return None;
        }
        let (reply_map, end): (_, &[u8]) = match encoding {
            Encoding::Json => (Payload::Json(reply), b"}"),
            Encoding::MsgPack => (Payload::MsgPack(reply), b""),
        };
        let timing = reply_map.get("timing").ok()??;
        let limits = Limits::default();
        let stages = Stage::ALL.iter().filter_map(|stage| match timing.get(stage.as_str()).ok()??.to_value(&limits) {
            Ok(Value::Int(ns)) => u64::try_from(ns).ok(),
            _ => None,
        });
        let owner_ns = stages.fold(0, u64::saturating_add);
        let (Payload::Json(bytes) | Payload::MsgPack(bytes)) = timing else { return None };
        // The owner added it last.
        let before = reply.strip_suffix(end)?.strip_suffix(bytes)?;
        let mut inner = bytes.to_vec();
        let mut map = MapWriter::reopen(&mut inner, encoding)?;
        map.uint("forward", whole_ns.saturating_sub(owner_ns));
        map.end();
        Some([before, &inner, end].concat())
    }
}

/// Takes the time of one request.
#[derive(Clone, Copy, Debug)]
pub struct Stopwatch {
    begin: Instant,
    last: Instant,
    /// The client wants to know: the reply says it.
    asked: bool,
    ns: [u64; Stage::ALL.len()],
}

impl Stopwatch {
    /// Begins with a request that arrived at `begin`.
    pub fn new(begin: Instant, asked: bool) -> Self {
        Self { begin, last: begin, asked, ns: [0; Stage::ALL.len()] }
    }

    /// When the request came in.
    pub fn begun(&self) -> Begun {
        Begun { at: self.begin, asked: self.asked }
    }

    /// A stage has ended.
    pub fn lap(&mut self, stage: Stage, now: Instant) {
        if let Some(ns) = self.ns.get_mut(stage as usize) {
            *ns += nanos(self.last, now);
        }
        self.last = now;
    }

    /// Counts the stages, and gives the whole in nanoseconds.
    pub fn record(&self, stages: &[Durations; Stage::ALL.len()]) -> u64 {
        stages.iter().zip(self.ns).for_each(|(durations, ns)| durations.record(ns, 1));
        nanos(self.begin, self.last)
    }

    /// Adds `timing` to a reply, a finished map, if the client asked for it.
    pub fn show(&self, encoding: Encoding, reply: &mut Vec<u8>) {
        if !self.asked {
            return;
        }
        if let Some(mut map) = MapWriter::reopen(reply, encoding) {
            map.map("timing", |timing| {
                for (stage, ns) in Stage::ALL.iter().zip(self.ns) {
                    timing.uint(stage.as_str(), ns);
                }
            });
            map.end();
        }
    }
}

/// Nanoseconds from one time to another.
fn nanos(from: Instant, to: Instant) -> u64 {
    u64::try_from(to.saturating_duration_since(from).as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn what_passing_on_took_stands_beside_the_owners_stages() {
        for encoding in [Encoding::Json, Encoding::MsgPack] {
            let begin = Instant::now();
            let mut watch = Stopwatch::new(begin, true);
            for (stage, ns) in Stage::ALL.iter().zip([10, 20, 30, 40_000, 0, 50]) {
                watch.lap(*stage, watch.last + Duration::from_nanos(ns));
            }
            let mut reply = Vec::new();
            let mut map = MapWriter::new(&mut reply, encoding);
            map.bool("ok", true);
            map.end();
            let plain = reply.clone();
            watch.show(encoding, &mut reply);
            let begun = watch.begun();
            let shown = begun.show_forward(encoding, &reply, 100_000).unwrap();
            let shown: serde_json::Value = match encoding {
                Encoding::Json => serde_json::from_slice(&shown).unwrap(),
                Encoding::MsgPack => rmp_serde::from_slice(&shown).unwrap(),
            };
            assert_eq!((&shown["ok"], &shown["timing"]["step"]), (&true.into(), &40_000.into()));
            assert_eq!(shown["timing"]["forward"], 100_000 - 40_110);
            assert_eq!(begun.show_forward(encoding, &plain, 100_000), None);
            assert_eq!(Begun { asked: false, ..begun }.show_forward(encoding, &reply, 100_000), None);
        }
    }

    #[test]
    fn the_stages_add_up_to_the_whole() {
        let begin = Instant::now();
        let mut watch = Stopwatch::new(begin, true);
        for (stage, ns) in Stage::ALL.iter().zip([10, 20, 30, 40, 0, 50]) {
            watch.lap(*stage, watch.last + Duration::from_nanos(ns));
        }
        let stages = Default::default();
        assert_eq!(watch.record(&stages), 150);
        assert_eq!(stages.iter().map(|durations| durations.read().1).sum::<u64>(), 150);
        let mut reply = b"{\"ok\":true}".to_vec();
        watch.show(Encoding::Json, &mut reply);
        let timing = r#""timing":{"read":10,"route":20,"queue":30,"step":40,"persist":0,"write":50}"#;
        assert_eq!(String::from_utf8(reply).unwrap(), format!("{{\"ok\":true,{timing}}}"));
    }
}
