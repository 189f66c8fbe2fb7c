//! What watchers are told of an instance.

use statemesh_engine::Effect;
use statemesh_protocol::reply::{Encoding, MapWriter};

use crate::instance::Entry;
use crate::marks::{Conflict, KeyMark};
use crate::values::write_value;

/// One published change: the topic `machine/key` and the map in MessagePack, which begins with a two-byte count (`map 16`)
/// so that a field can be added for one subscriber without encoding it anew.
#[derive(Debug)]
pub struct Change {
    /// `machine/key`.
    pub topic: Box<[u8]>,
    /// The map.
    pub body: Box<[u8]>,
}

impl Change {
    /// Its size.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.topic.len() + self.body.len()
    }
}

/// A change as it is published: [topic `machine/key`, map in MessagePack].
pub(crate) fn change(entry: &Entry, event: &str, reason: &str, changed: bool, effects: &[Effect]) -> Change {
    change_with(entry, (event, reason), changed, |map| {
        if !effects.is_empty() {
            map.list("effects", effects.iter(), write_effect);
        }
    })
}

/// The state of a key that goes on, of which something is gone: what replies say of that.
pub(crate) fn conflict_change(entry: &Entry, conflict: Option<Conflict>) -> Change {
    change_with(entry, ("", "conflict"), false, |map| KeyMark { conflict, ..KeyMark::default() }.write(map))
}

fn change_with(
    entry: &Entry,
    (event, reason): (&str, &str),
    changed: bool,
    more: impl FnOnce(&mut MapWriter<'_>),
) -> Change {
    let topic = [entry.version.name.as_bytes(), b"/", entry.key.as_bytes()].concat();
    let mut body = Vec::with_capacity(160);
    let mut map = MapWriter::new(&mut body, Encoding::MsgPack);
    map.str("machine", &entry.version.name).str("key", &entry.key).str("reason", reason);
    if !event.is_empty() {
        map.str("event", event);
    }
    entry.write_head(&mut map);
    map.bool("changed", changed);
    more(&mut map);
    map.end();
    Change { topic: topic.into(), body: widen(body).into() }
}

/// A change of a key whose instance went with its owner.
pub(crate) fn lost_change(machine: &str, key: &str) -> Change {
    let mut body = Vec::new();
    let mut map = MapWriter::new(&mut body, Encoding::MsgPack);
    map.str("machine", machine).str("key", key).str("reason", "lost").bool("changed", true);
    map.end();
    Change { topic: [machine, "/", key].concat().into_bytes().into(), body: widen(body).into() }
}

/// Gives a map its count in two bytes, whatever its size: a subscriber's copy may get a field more.
fn widen(mut map: Vec<u8>) -> Vec<u8> {
    if let Some(header @ 0x80..=0x8f) = map.first().copied() {
        map.splice(0..1, [0xde, 0, header & 0x0f]);
    }
    map
}

/// `{"type","params"?}`, `{"type":"@xstate.emit","event"}` or `{"type":"@xstate.log","args"}`, as `simulate` shows them.
fn write_effect(out: &mut Vec<u8>, encoding: Encoding, effect: &Effect) {
    let mut map = MapWriter::new(out, encoding);
    map.str("type", effect.kind());
    let (name, value) = match effect {
        Effect::Custom { params, .. } => ("params", params.as_ref()),
        Effect::Emit { event } => ("event", Some(event)),
        Effect::Log { args } => ("args", Some(args)),
    };
    if let Some(value) = value {
        map.with(name, |out, encoding| write_value(out, encoding, value));
    }
    map.end();
}
