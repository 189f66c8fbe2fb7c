//! One instance as a shard keeps it: the engine's state, its key, and what the daemon remembers beside it.

use std::sync::Arc;

use statemesh_engine::{Instance, Status};
use statemesh_expr::Str;
use statemesh_protocol::hash;
use statemesh_protocol::reply::{Encoding, MapWriter};
use statemesh_protocol::run::RunId;

use crate::dedup::Tokens;
use crate::history::History;
use crate::machines::Version;
use crate::removed::Place;
use crate::timer_wheel::TimerHandle;

/// One instance. There may be millions: what most of them have is in place, the rest is boxed.
///
/// The key, which finding it compares, comes first, with what a step begins with behind it: with thousands of instances their
/// cache line is what an event waits for.
#[derive(Debug)]
#[repr(C, align(32))]
pub(crate) struct Entry {
    /// The key.
    pub key: Str,
    /// Which life of the key it is.
    pub run: RunId,
    /// What it runs.
    pub version: Arc<Version>,
    /// The engine's state.
    pub instance: Instance,
    /// The instance's entry in the shard's wheel.
    pub armed: Option<TimerHandle>,
    /// Its last transitions.
    pub history: History,
    /// What was answered to requests with a `dedup` token, once there was one.
    pub tokens: Option<Box<Tokens>>,
}

impl Entry {
    /// Its partition, of so many, and the hash of its machine and key.
    pub(crate) fn place(&self, partitions: u16) -> Place {
        let hash = hash::key_hash(&self.version.name, &self.key);
        (hash::partition_of_hash(hash, partitions), hash)
    }

    /// Writes what every reply about an instance says.
    #[inline]
    pub(crate) fn write_head(&self, map: &mut MapWriter<'_>) {
        map.with("value", |out, encoding| self.write_value(out, encoding));
        let Self { instance, run, .. } = self;
        write_head(map, instance.status(), instance.is_stuck(), *run, instance.seq());
    }

    /// Writes the state value.
    pub(crate) fn write_value(&self, out: &mut Vec<u8>, encoding: Encoding) {
        match encoding {
            Encoding::Json => self.version.machine.write_value_json(&self.instance, out),
            Encoding::MsgPack => self.version.machine.write_value_msgpack(&self.instance, out),
        }
    }
}

/// Writes where an instance stands, beside its value.
#[inline]
pub(crate) fn write_head(map: &mut MapWriter<'_>, status: Status, stuck: bool, run: RunId, seq: u64) {
    map.plain("status", status.as_str());
    if stuck {
        map.bool("stuck", true);
    }
    // What would begin has no life yet.
    if run != RunId::default() {
        map.run(run);
    }
    map.uint("seq", seq);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instance_is_two_and_a_half_cache_lines_and_begins_at_half_a_one() {
        assert_eq!(size_of::<Option<Entry>>(), 160);
        assert_eq!((std::mem::offset_of!(Entry, key), size_of::<Str>()), (0, 24));
    }

    #[test]
    fn a_run_is_sixteen_digits_in_either_encoding() {
        let written = |encoding| {
            let mut out = Vec::new();
            let mut map = MapWriter::new(&mut out, encoding);
            map.run(RunId(0x12ab));
            map.end();
            out
        };
        assert_eq!(written(Encoding::Json), br#"{"run":"00000000000012ab"}"#);
        let packed: serde_json::Value = rmp_serde::from_slice(&written(Encoding::MsgPack)).unwrap();
        assert_eq!(packed, serde_json::json!({"run": "00000000000012ab"}));
    }
}
