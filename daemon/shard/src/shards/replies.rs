//! Writing replies about an instance.

use statemesh_engine::{Event, Faults, Millis, ShownChild};
use statemesh_protocol::reply::{Encoding, MapWriter, write_str};
use statemesh_protocol::request::{Faults as Asked, Op, Request};
use statemesh_protocol::run::RunId;

use super::ops::{Done, payload};
use crate::dedup::Answer;
use crate::history::{How, Past};
use crate::instance::Entry;
use crate::until::Until;
use crate::values::{write_json, write_value};

/// What a reply is about.
pub(super) struct Reply<'a> {
    pub(super) entry: &'a Entry,
    pub(super) request: &'a Request<'a>,
    pub(super) done: &'a Done,
    pub(super) now: u64,
    /// Nothing further is written once there are more bytes: the reply will be refused.
    pub(super) bytes_max: usize,
}

impl Reply<'_> {
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        let mut map = MapWriter::new(out, self.request.encoding);
        if let Some(id) = self.request.id {
            map.raw("id", id);
        }
        match self.request.op {
            Op::Get => write_whole(&mut map, self.entry, self.now, self.bytes_max),
            Op::History => self.history(&mut map),
            Op::Explain => self.explanation(&mut map),
            _ => write_outcome(&mut map, self.entry, self.done),
        }
        if let Some(mark) = &self.done.mark {
            mark.write(&mut map);
        }
        if let Some(until) = self.request.answer.until {
            let until = Until::read(until, self.request.encoding);
            map.bool("reached", until.is_ok_and(|until| until.is_met(self.entry)));
        }
        if self.request.op != Op::History
            && self.request.op != Op::Explain
            && let Some(error) = self.entry.instance.error()
        {
            map.str("fault", &error.to_string());
        }
        map.end();
    }

    fn history(&self, map: &mut MapWriter<'_>) {
        let Self { entry, now, .. } = self;
        map.bool("ok", true);
        map.run(entry.run).uint("seq", entry.instance.seq());
        let machine = &entry.version.machine;
        let past: Vec<Past<'_>> = entry.history.read(machine).collect();
        let mut from: Option<Vec<u8>> = None;
        map.list("history", past.iter(), |out, encoding, past| {
            if out.len() > self.bytes_max {
                return;
            }
            let mut to = Vec::new();
            machine.write_configuration_json(past.configuration, &mut to);
            let mut line = MapWriter::new(out, encoding);
            line.uint("seq", past.seq).str("event", past.event);
            match past.how {
                None => {}
                Some(How::Stuck) => _ = line.bool("stuck", true),
                Some(How::Retry) => _ = line.str("reason", "retry"),
                Some(How::Skip) => _ = line.str("reason", "skip"),
            }
            match &from {
                Some(from) => line.with("from", |out, encoding| write_json(out, encoding, from)),
                None => line.null("from"),
            };
            line.with("to", |out, encoding| write_json(out, encoding, &to));
            let age = i64::try_from(*now).unwrap_or(i64::MAX).saturating_sub(past.at);
            line.uint("ageMs", u64::try_from(age).unwrap_or(0));
            line.end();
            from = Some(to);
        });
    }

    fn explanation(&self, map: &mut MapWriter<'_>) {
        let Self { entry, request, now, .. } = self;
        let event = Event { kind: &request.event_type, payload: payload(request.encoding, request.event) };
        map.bool("ok", true);
        entry.write_head(map);
        if entry.run == RunId::default() {
            map.bool("new", true);
        }
        let machine = &entry.version.machine;
        let explained = match request.faults {
            None => machine.explain(&entry.instance, &event, Millis(*now)),
            Some(Asked::Hold) => machine.explain_with(&entry.instance, &event, Millis(*now), Faults::Hold),
            Some(Asked::Fail) => machine.explain_with(&entry.instance, &event, Millis(*now), Faults::Fail),
        };
        match explained {
            Ok(explanation) => {
                map.with("explanation", |out, encoding| write_value(out, encoding, &explanation.to_value()))
            }
            Err(error) => map.str("fault", &error.to_string()),
        };
    }
}

fn write_outcome(map: &mut MapWriter<'_>, entry: &Entry, done: &Done) {
    map.bool("ok", true);
    entry.write_head(map);
    map.bool("changed", done.changed);
    if done.unhandled {
        map.bool("handled", false);
    }
    if done.made {
        map.bool("new", true);
    }
}

fn write_whole(map: &mut MapWriter<'_>, entry: &Entry, now: u64, bytes_max: usize) {
    map.bool("ok", true);
    entry.write_head(map);
    map.with("context", |out, encoding| write_value(out, encoding, entry.instance.context()));
    let tags = entry.version.machine.tags(&entry.instance);
    map.list("tags", tags.iter(), |out, encoding, tag| write_str(out, encoding, tag));
    if let Some(output) = entry.instance.output() {
        map.with("output", |out, encoding| write_value(out, encoding, output));
    }
    let timers = entry.version.machine.pending_timers(&entry.instance);
    if !timers.is_empty() {
        map.list("timers", timers.iter(), |out, encoding, (event, Millis(deadline))| {
            let mut timer = MapWriter::new(out, encoding);
            timer.str("event", event.as_deref().unwrap_or("xstate.after")).uint("due_ms", deadline.saturating_sub(now));
            timer.end();
        });
    }
    let mut used = 0;
    map.with("definition", |out, encoding| {
        write_str(out, encoding, &entry.version.hash_hex());
        used = out.len();
    });
    // The last quarter is for what comes behind the children: a fault, and what was lost.
    write_children(map, entry, (bytes_max - bytes_max / 4).saturating_sub(used));
}

/// Writes the children that run, as many as fit into so many bytes: an instance is not refused to be shown because it has many.
fn write_children(map: &mut MapWriter<'_>, entry: &Entry, bytes_max: usize) {
    let encoding = map.encoding();
    let (mut shown, mut bytes, mut left_out) = (Vec::new(), 0, 0);
    for child in entry.instance.running_children() {
        let mut written = Vec::new();
        // What does not fit is not even written.
        if bytes < bytes_max {
            write_child(&child, encoding, &mut written);
            bytes += written.len() + 1;
        }
        if bytes < bytes_max {
            shown.push(written);
        } else {
            left_out += 1;
        }
    }
    if !shown.is_empty() {
        map.list("children", shown.iter(), |out, _, child| out.extend_from_slice(child));
    }
    if left_out > 0 {
        map.uint("children_left_out", left_out);
    }
}

fn write_child(child: &ShownChild<'_>, encoding: Encoding, out: &mut Vec<u8>) {
    let mut map = MapWriter::new(out, encoding);
    write_path(&mut map, "child", &child.path);
    map.str("machine", child.machine);
    map.with("value", |out, encoding| write_value(out, encoding, &child.value));
    map.str("status", child.status.as_str());
    map.with("context", |out, encoding| write_value(out, encoding, child.context));
    map.end();
}

fn write_path(map: &mut MapWriter<'_>, name: &str, path: &[&str]) {
    map.list(name, path.iter(), |out, encoding, id| write_str(out, encoding, id));
}

/// Writes the answer of long ago again, with the id of today.
pub(super) fn repeat(answer: &Answer, entry: Option<&Entry>, request: &Request<'_>, reply: &mut Vec<u8>) {
    let mut map = MapWriter::new(reply, request.encoding);
    if let Some(id) = request.id {
        map.raw("id", id);
    }
    answer.write(&mut map, entry);
    map.end();
}
