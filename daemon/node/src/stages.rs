//! Where the time of a request goes.

use std::time::Instant;

use statemesh_mesh::client_protocol::reply::{Encoding, MapWriter};

use crate::counters::Durations;

macro_rules! stages {
    ($($variant:ident $name:literal $meaning:literal;)*) => {
        /// What happens to a request at its owner, in this order.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Stage {
            $(#[doc = $meaning] $variant,)*
        }

        impl Stage {
            /// Every stage, in order.
            pub(crate) const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// Its name in replies and metrics.
            #[must_use]
            pub(crate) fn as_str(self) -> &'static str {
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

/// Takes the time of one request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stopwatch {
    begin: Instant,
    last: Instant,
    /// The client wants to know: the reply says it.
    asked: bool,
    ns: [u64; Stage::ALL.len()],
}

impl Stopwatch {
    /// Begins with a request that arrived at `begin`.
    pub(crate) fn new(begin: Instant, asked: bool) -> Self {
        Self { begin, last: begin, asked, ns: [0; Stage::ALL.len()] }
    }

    /// A stage has ended.
    pub(crate) fn lap(&mut self, stage: Stage, now: Instant) {
        if let Some(ns) = self.ns.get_mut(stage as usize) {
            *ns += nanos(self.last, now);
        }
        self.last = now;
    }

    /// Counts the stages, and gives the whole in nanoseconds.
    pub(crate) fn record(&self, stages: &[Durations; Stage::ALL.len()]) -> u64 {
        stages.iter().zip(self.ns).for_each(|(durations, ns)| durations.record(ns, 1));
        nanos(self.begin, self.last)
    }

    /// Adds `timing` to a reply, a finished map, if the client asked for it.
    pub(crate) fn show(&self, encoding: Encoding, reply: &mut Vec<u8>) {
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
