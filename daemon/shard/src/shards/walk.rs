//! Looking at all instances, a slice at a time: the walker lets the shard go after each slice, and a reactor goes on with its
//! turn. A walk ends after a page, and the next one goes on from where it ended. What moves, comes or goes meanwhile may be seen
//! twice or not at all.

use std::collections::BTreeMap;
use std::sync::Arc;

use statemesh_engine::Status;
use statemesh_expr::{Str, Value};
use statemesh_protocol::reply::{Encoding, MapWriter};
use statemesh_protocol::run::RunId;

use super::Shards;
use crate::arena::Slice;
use crate::filter::Filter;
use crate::instance::{Entry, write_head};
use crate::machines::Version;
use crate::values::write_json;

/// Places of one slice: some 10 us, each instance being in no cache.
pub(crate) const SLICE: u32 = 64;
/// Kinds of instances that one page counts.
const KINDS: usize = 1_000;

/// Where a walk is: a shard, and a place in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// The shard.
    pub shard: usize,
    /// The place of an instance.
    pub place: u32,
}

/// One instance in a list.
#[derive(Clone, Debug)]
pub struct Line {
    version: Arc<Version>,
    key: Str,
    value: Vec<u8>,
    status: Status,
    stuck: bool,
    run: RunId,
    seq: u64,
    age_ms: u64,
}

impl Line {
    fn of(entry: &Entry, unix_ms: u64) -> Self {
        let mut value = Vec::new();
        entry.write_value(&mut value, Encoding::Json);
        let Entry { key, instance, run, version, .. } = entry;
        Self {
            version: Arc::clone(version),
            key: key.clone(),
            value,
            status: instance.status(),
            stuck: instance.is_stuck(),
            run: *run,
            seq: instance.seq(),
            age_ms: unix_ms.saturating_sub(run.began_ms()),
        }
    }

    /// Writes it into a list.
    pub fn write(&self, out: &mut Vec<u8>, encoding: Encoding) {
        let mut map = MapWriter::new(out, encoding);
        map.str("machine", &self.version.name).str("key", &self.key);
        map.with("value", |out, encoding| write_json(out, encoding, &self.value));
        write_head(&mut map, self.status, self.stuck, self.run, self.seq);
        map.uint("age_ms", self.age_ms).str("definition", &self.version.hash_hex());
        map.end();
    }

    /// About the bytes that it takes in a reply.
    fn bytes(&self) -> usize {
        const FIELDS: usize = 208;
        self.version.name.len() + self.key.len() + self.value.len() + FIELDS
    }
}

/// What instances are counted by.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Kind {
    machine: Arc<str>,
    value: Vec<u8>,
    status: &'static str,
    stuck: bool,
}

impl Kind {
    /// Writes how many there are into a list.
    pub fn write(&self, count: u64, out: &mut Vec<u8>, encoding: Encoding) {
        let mut map = MapWriter::new(out, encoding);
        map.str("machine", &self.machine);
        map.with("value", |out, encoding| write_json(out, encoding, &self.value));
        map.str("status", self.status);
        if self.stuck {
            map.bool("stuck", true);
        }
        map.uint("count", count);
        map.end();
    }
}

/// One page of a list.
#[derive(Debug, Default)]
pub struct Page {
    /// Instances by machine and key.
    pub lines: Vec<Line>,
    /// How many there are of each kind, if that is asked for.
    pub counts: BTreeMap<Kind, u64>,
    /// Partitions of the shards that were looked at whose durable instances are not served ([`super::State::set_damaged`]): those are on no
    /// page, and who asked for durable ones has to be told.
    pub damaged: Vec<u16>,
    /// Where to go on, if the walk has not seen all.
    pub next: Option<Place>,
}

/// What ends a page.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// So many instances that the filter takes.
    pub lines: usize,
    /// So many bytes of them.
    pub bytes: usize,
    /// So many places that were looked at, also those of instances that are gone: a daemon may have had millions of them.
    pub looks: usize,
}

/// A walk through all instances of this daemon for those that a filter takes.
#[derive(Debug)]
pub struct Walk {
    filter: Filter,
    bounds: Bounds,
    /// They are counted, not listed.
    counts: bool,
    /// Milliseconds since 1970.
    unix_ms: u64,
    at: Place,
    looks: usize,
    bytes: usize,
    page: Page,
}

impl Walk {
    /// From a place on. `unix_ms` is the time, in milliseconds since 1970.
    #[must_use]
    pub fn new(filter: Filter, bounds: Bounds, counts: bool, from: Place, unix_ms: u64) -> Self {
        Self { filter, bounds, counts, unix_ms, at: from, looks: 0, bytes: 0, page: Page::default() }
    }

    /// Looks at one slice more. Gives the page when that is full, or after the last slice; `None` also if another thread has the shard
    /// just now.
    pub fn step(&mut self, shards: &Shards) -> Option<Page> {
        let Some(shard) = shards.get(self.at.shard) else { return Some(self.end(None)) };
        if self.has_looked_enough() {
            return Some(self.end(Some(self.at)));
        }
        let state = shard.try_claim()?;
        let (from, before) = (self.at.place, self.looks);
        if from == 0 {
            self.page.damaged.extend(state.damaged());
        }
        let Slice { entries, to, next } = state.entries.slice(from, SLICE);
        for (place, entry) in entries {
            self.looks = before + (place - from) as usize;
            if self.is_full() {
                return Some(self.end(Some(Place { place, ..self.at })));
            }
            self.look(entry);
        }
        self.looks = before + to.saturating_sub(from) as usize;
        self.at = match next {
            Some(place) => Place { place, ..self.at },
            None => Place { shard: self.at.shard + 1, place: 0 },
        };
        None
    }

    /// The number of the shard that it looks at: the thread that claims it has to see to its inbox.
    #[must_use]
    pub fn shard(&self) -> usize {
        self.at.shard
    }

    fn has_looked_enough(&self) -> bool {
        self.looks >= self.bounds.looks.max(1)
    }

    fn is_full(&self) -> bool {
        let Self { bounds, page, .. } = self;
        // One that is too large alone is shown: there is no other way to get past it.
        self.has_looked_enough()
            || page.counts.len() >= KINDS
            || page.lines.len() >= bounds.lines.max(1)
            || self.bytes >= bounds.bytes.max(1)
    }

    fn look(&mut self, entry: &Entry) {
        if !self.filter.takes(entry, self.unix_ms) {
            return;
        }
        let line = Line::of(entry, self.unix_ms);
        if self.counts {
            let Line { version, value, status, stuck, .. } = line;
            let machine = Arc::clone(&version.name);
            *self.page.counts.entry(Kind { machine, value, status: status.as_str(), stuck }).or_default() += 1;
            return;
        }
        self.bytes += line.bytes();
        self.page.lines.push(line);
    }

    fn end(&mut self, next: Option<Place>) -> Page {
        let mut page = std::mem::take(&mut self.page);
        page.lines.sort_by(|a, b| (&a.version.name, &a.key).cmp(&(&b.version.name, &b.key)));
        page.next = next;
        page
    }
}

/// What instances of a daemon are counted by for its metrics.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Group {
    /// The machine.
    pub machine: Arc<str>,
    /// The states, as a path: `refunding.stuck`; of a parallel state one for each region, with `+` between them.
    pub state: String,
    /// `active`, `done`, `error`, `stopped`, or `stuck`.
    pub status: &'static str,
}

/// A state value as a label: in JSON it would have quotes.
fn path_of(value: &Value) -> String {
    match value {
        Value::Map(regions) => {
            let paths = regions.iter().map(|(key, below)| match path_of(below) {
                below if below.is_empty() => key.to_string(),
                // Of a region of regions all are named by their whole path.
                below => below.split('+').map(|path| format!("{key}.{path}")).collect::<Vec<_>>().join("+"),
            });
            paths.collect::<Vec<_>>().join("+")
        }
        Value::Str(state) => state.to_string(),
        _ => String::new(),
    }
}

impl Shards {
    /// Instances by machine, state and status, counted by looking at all of them, a slice at a time.
    pub fn count_by_group(&self) -> BTreeMap<Group, u64> {
        let mut counts = BTreeMap::new();
        for shard in &self.shards {
            let mut place = Some(0);
            while let Some(from) = place {
                let state = shard.claim();
                let Slice { entries, next, .. } = state.entries.slice(from, SLICE);
                for (_, Entry { version, instance, .. }) in entries {
                    let status = if instance.is_stuck() { "stuck" } else { instance.status().as_str() };
                    let state = path_of(&version.machine.state_value(instance));
                    *counts.entry(Group { machine: Arc::clone(&version.name), state, status }).or_default() += 1;
                }
                place = next;
            }
        }
        counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_is_a_path_without_quotes() {
        for (json, path) in [
            (r#""paid""#, "paid"),
            (r#"{"refunding":"stuck"}"#, "refunding.stuck"),
            (r#"{"x":{"a":"b"},"y":"c"}"#, "x.a.b+y.c"),
            (r#"{"p":{"x":"a","y":{}}}"#, "p.x.a+p.y"),
            ("{}", ""),
        ] {
            let value = Value::from_json(json.as_bytes(), &Default::default()).unwrap();
            assert_eq!(path_of(&value), path, "{json}");
        }
    }
}
