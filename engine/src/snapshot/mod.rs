//! An instance as bytes, to be stored or moved to another daemon.
//!
//! Little-endian, lengths as varints, versioned, and bound to the definition by its hash. Timers are stored as the time
//! that is left, so that they keep it between daemons whose clocks differ. Bytes are checked as if from an enemy.

mod configuration;
mod value;

pub use configuration::ShownChild;

use crate::event::{Millis, Status, TimerCommand, TimerId};
use crate::instance::{ActorState, Aux, Child, Delayed, Extra, HeldTimer, Instance, Queued, ROOT, Timer, TimerKind};
use crate::limits::Limits;
use crate::machine::Machine;
use crate::runtime::Output;
use crate::state_set::StateSet;
use crate::weight;
use smallvec::SmallVec;
use statemesh_expr::{Str, Value};
use std::sync::Arc;
use value::{read_value, write_value};

const MAGIC: [u8; 2] = *b"SI";
const VERSION: u8 = 1;
/// Transitions and timers that an instance may have had. None lives that long; a number from an enemy near the end of
/// its range would overflow with the next one.
const PAST_MAX: u64 = 1 << 53;
/// What follows the actor: timers and children.
const EXTRA: u8 = 1;
/// The same, behind the timer that the instance is stuck with.
const EXTRA_STUCK: u8 = 2;

/// Why bytes are no instance of a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RestoreError {
    /// They are not a snapshot, or damaged.
    #[error("not a snapshot, or a damaged one")]
    Malformed,
    /// A version this program does not read.
    #[error("snapshot version {0} is not supported")]
    UnknownVersion(u8),
    /// They belong to another definition, or another version of it.
    #[error("the snapshot belongs to another definition")]
    WrongMachine,
    /// They exceed a bound.
    #[error("the snapshot exceeds the limit {0}")]
    Limit(&'static str),
}

impl RestoreError {
    /// Stable code; all are listed in docs/reference.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Malformed => "malformed_snapshot",
            Self::UnknownVersion(_) => "unknown_snapshot_version",
            Self::WrongMachine => "wrong_machine",
            Self::Limit(_) => "limit_exceeded",
        }
    }
}

impl Instance {
    /// Appends the instance as bytes. Deadlines are stored relative to `now`.
    pub fn to_bytes(&self, machine: &Machine, now: Millis, out: &mut Vec<u8>) {
        out.extend_from_slice(&MAGIC);
        out.push(VERSION);
        out.extend_from_slice(&machine.identity.hash);
        varint(self.seq, out);
        write_actor(&self.actor, out);
        let Some(extra) = &self.extra else {
            out.push(0);
            return;
        };
        let timers = in_firing_order(&extra.timers, now);
        match extra.held {
            None => out.push(EXTRA),
            Some(held) => {
                let known = timers.iter().find(|(_, timer)| timer.id == held.id().0);
                out.push(EXTRA_STUCK);
                varint(known.map_or(held.id().0, |(id, _)| *id), out);
            }
        }
        varint(extra.next_timer, out);
        varint(u64::from(extra.next_actor), out);
        varint(extra.children.len() as u64, out);
        for child in &extra.children {
            write_child(child, out);
        }
        varint(timers.len() as u64, out);
        for (id, timer) in timers {
            write_timer(id, timer, now, out);
        }
    }

    /// Restores an instance of `machine` and appends a `Schedule` command for each of its timers, unless it is stuck. On an error `out` is
    /// as it was.
    pub fn from_bytes(machine: &Machine, bytes: &[u8], now: Millis, out: &mut Output) -> Result<Self, RestoreError> {
        let limits = &machine.limits;
        if bytes.len() > limits.instance_bytes_max.saturating_add(weight::STUCK) {
            return Err(RestoreError::Limit("instance_bytes_max"));
        }
        let mut reader = Reader { bytes };
        if reader.take(2)? != MAGIC {
            return Err(RestoreError::Malformed);
        }
        match reader.byte()? {
            VERSION => {}
            other => return Err(RestoreError::UnknownVersion(other)),
        }
        if reader.take(32)? != machine.identity.hash {
            return Err(RestoreError::WrongMachine);
        }
        let seq = reader.past()?;
        let actor = reader.actor(machine, limits)?;
        let extra = match reader.byte()? {
            0 => None,
            EXTRA => Some(Box::new(reader.extra(machine, now)?)),
            EXTRA_STUCK => Some(Box::new(reader.stuck(machine, actor.status, now)?)),
            _ => return Err(RestoreError::Malformed),
        };
        if !reader.bytes.is_empty() {
            return Err(RestoreError::Malformed);
        }
        let instance = Self { actor, seq, fingerprint: machine.identity.fingerprint, extra };
        // What runs is bounded alike, so nothing that runs is refused here.
        let more = if instance.is_stuck() { weight::STUCK } else { 0 };
        if instance.weight() > limits.instance_bytes_max.saturating_add(more) {
            return Err(RestoreError::Limit("instance_bytes_max"));
        }
        if !instance.is_stuck() {
            out.timers.extend(instance.timers().map(|(id, deadline)| TimerCommand::Schedule { id, deadline }));
        }
        Ok(instance)
    }
}

pub(crate) fn varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn write_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    varint(bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}

fn write_set(set: &StateSet, out: &mut Vec<u8>) {
    varint(set.words().len() as u64, out);
    for word in set.words() {
        out.extend_from_slice(&word.to_le_bytes());
    }
}

fn write_optional(value: Option<&Value>, out: &mut Vec<u8>) {
    out.push(u8::from(value.is_some()));
    if let Some(value) = value {
        write_value(value, out);
    }
}

fn write_actor(actor: &ActorState, out: &mut Vec<u8>) {
    out.push(actor.status as u8);
    write_set(&actor.active, out);
    write_value(&actor.context, out);
    let Some(aux) = &actor.aux else {
        out.push(0);
        return;
    };
    out.push(1);
    write_optional(aux.output.as_ref(), out);
    write_optional(aux.error.as_ref(), out);
    varint(aux.history.len() as u64, out);
    for recorded in &aux.history {
        out.push(u8::from(recorded.is_some()));
        if let Some(recorded) = recorded {
            write_set(recorded, out);
        }
    }
}

fn write_child(child: &Child, out: &mut Vec<u8>) {
    varint(u64::from(child.number), out);
    varint(u64::from(child.parent), out);
    write_bytes(child.name.as_bytes(), out);
    out.extend_from_slice(&child.machine.identity.hash);
    out.push(u8::from(child.sync) | u8::from(child.listed) << 1 | u8::from(child.running) << 2);
    if child.running {
        write_actor(&child.state, out);
    }
}

/// Timers with their ids, which ascend. Of those that are overdue no time is left, and so they would fire in the order in which they were
/// started: they change their ids, so that this is the order of their deadlines.
fn in_firing_order(timers: &[Timer], now: Millis) -> SmallVec<[(u64, &Timer); 4]> {
    let is_overdue = |timer: &&Timer| timer.deadline <= now.0;
    let mut overdue: SmallVec<[&Timer; 4]> = timers.iter().filter(is_overdue).collect();
    overdue.sort_by_key(|timer| (timer.deadline, timer.id));
    let mut overdue = overdue.into_iter();
    let placed = timers.iter().map(|timer| {
        let next = if is_overdue(&timer) { overdue.next() } else { None };
        (timer.id, next.unwrap_or(timer))
    });
    placed.collect()
}

fn write_timer(id: u64, timer: &Timer, now: Millis, out: &mut Vec<u8>) {
    varint(id, out);
    varint(timer.deadline.saturating_sub(now.0), out);
    varint(u64::from(timer.actor), out);
    match &timer.kind {
        TimerKind::After(after) => {
            out.push(0);
            varint(u64::from(*after), out);
        }
        TimerKind::Delayed(delayed) => {
            out.push(if delayed.send_id.is_some() { 2 } else { 1 });
            if let Some(id) = &delayed.send_id {
                write_bytes(id.as_bytes(), out);
            }
            varint(u64::from(delayed.to), out);
            write_bytes(delayed.event.name.as_bytes(), out);
            write_value(&delayed.event.data, out);
        }
    }
}

pub(crate) struct Reader<'b> {
    pub(crate) bytes: &'b [u8],
}

impl<'b> Reader<'b> {
    pub(crate) fn take(&mut self, len: usize) -> Result<&'b [u8], RestoreError> {
        let (taken, rest) = self.bytes.split_at_checked(len).ok_or(RestoreError::Malformed)?;
        self.bytes = rest;
        Ok(taken)
    }

    pub(crate) fn byte(&mut self) -> Result<u8, RestoreError> {
        Ok(self.take(1)?[0])
    }

    pub(crate) fn word(&mut self) -> Result<u64, RestoreError> {
        let mut word = [0; 8];
        word.copy_from_slice(self.take(8)?);
        Ok(u64::from_le_bytes(word))
    }

    pub(crate) fn varint(&mut self) -> Result<u64, RestoreError> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7F);
            value |=
                bits.checked_shl(shift).filter(|shifted| shifted >> shift == bits).ok_or(RestoreError::Malformed)?;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(RestoreError::Malformed)
    }

    /// A number of things of which each takes at least one byte: more than there are bytes is a lie.
    pub(crate) fn count(&mut self) -> Result<usize, RestoreError> {
        let count = usize::try_from(self.varint()?).map_err(|_| RestoreError::Malformed)?;
        if count > self.bytes.len() { Err(RestoreError::Malformed) } else { Ok(count) }
    }

    fn number(&mut self) -> Result<u32, RestoreError> {
        u32::try_from(self.varint()?).map_err(|_| RestoreError::Malformed)
    }

    fn past(&mut self) -> Result<u64, RestoreError> {
        self.varint().and_then(|past| if past > PAST_MAX { Err(RestoreError::Malformed) } else { Ok(past) })
    }

    pub(crate) fn text(&mut self) -> Result<Str, RestoreError> {
        let len = self.count()?;
        std::str::from_utf8(self.take(len)?).map(Str::new).map_err(|_| RestoreError::Malformed)
    }

    fn flag(&mut self) -> Result<bool, RestoreError> {
        match self.byte()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(RestoreError::Malformed),
        }
    }

    fn set(&mut self, machine: &Machine) -> Result<StateSet, RestoreError> {
        let count = self.count()?;
        let words: Vec<u64> = (0..count).map(|_| self.word()).collect::<Result<_, _>>()?;
        StateSet::from_words(&words, machine.states.len()).ok_or(RestoreError::Malformed)
    }

    fn optional(&mut self) -> Result<Option<Value>, RestoreError> {
        if self.flag()? { read_value(self).map(Some) } else { Ok(None) }
    }

    /// An actor of `machine`; `limits` are those of the instance.
    fn actor(&mut self, machine: &Machine, limits: &Limits) -> Result<ActorState, RestoreError> {
        let status = Status::from_u8(self.byte()?).ok_or(RestoreError::Malformed)?;
        let active = self.set(machine)?;
        let mut context = read_value(self)?;
        if context.weight() > limits.context_bytes_max {
            return Err(RestoreError::Limit("context_bytes_max"));
        }
        if let Some(model) = machine.context.as_constant() {
            context.share_shapes(model);
        }
        let aux = if self.flag()? { Some(Box::new(self.aux(machine)?)) } else { None };
        Ok(ActorState { active, context, status, aux })
    }

    fn aux(&mut self, machine: &Machine) -> Result<Aux, RestoreError> {
        let output = self.optional()?;
        let error = self.optional()?;
        let count = self.count()?;
        if count != 0 && count != machine.history.len() {
            return Err(RestoreError::Malformed);
        }
        let mut history = Vec::with_capacity(count);
        for _ in 0..count {
            history.push(if self.flag()? { Some(self.set(machine)?) } else { None });
        }
        // A history state stands for other states, never for one of its own kind.
        let names_history = history.iter().flatten().any(|set| set.iter().any(|state| machine.is_history(state)));
        if names_history {
            return Err(RestoreError::Malformed);
        }
        Ok(Aux { history: history.into(), output, error })
    }

    fn extra(&mut self, machine: &Machine, now: Millis) -> Result<Extra, RestoreError> {
        let next_timer = self.past()?;
        let next_actor = self.number()?;
        let mut extra =
            Extra { timers: SmallVec::new(), next_timer, next_actor, weight: 0, children: Vec::new(), held: None };
        for _ in 0..self.count()? {
            let child = self.child(machine, &extra)?;
            extra.weigh_more(child.weight());
            extra.children.push(child);
        }
        check_limits(&extra, &machine.limits)?;
        for _ in 0..self.count()? {
            let timer = self.timer(machine, &extra, now)?;
            extra.weigh_more(timer.event_weight());
            extra.timers.push(timer);
        }
        if extra.timers.len() > machine.limits.timers_max {
            return Err(RestoreError::Limit("timers_max"));
        }
        Ok(extra)
    }

    /// The extra of a stuck instance: its status says so too, and it still has the timer.
    fn stuck(&mut self, machine: &Machine, status: Status, now: Millis) -> Result<Extra, RestoreError> {
        let held = self.past()?;
        let extra = self.extra(machine, now)?;
        if status != Status::Error || !extra.timers.iter().any(|timer| timer.id == held) {
            return Err(RestoreError::Malformed);
        }
        Ok(Extra { held: Some(HeldTimer::of(TimerId(held))), ..extra })
    }

    fn child(&mut self, machine: &Machine, extra: &Extra) -> Result<Child, RestoreError> {
        let number = self.number()?;
        let parent = self.number()?;
        let name = self.text()?;
        let hash = self.take(32)?;
        let flags = self.byte()?;
        // Numbers ascend, and parents come first.
        let follows = extra.children.last().map_or(number > ROOT, |last| number > last.number);
        if !follows || number >= extra.next_actor || parent >= number || flags > 7 {
            return Err(RestoreError::Malformed);
        }
        let family = match parent {
            ROOT => machine,
            _ => &find_child(extra, parent).ok_or(RestoreError::Malformed)?.machine,
        };
        let limits = &machine.limits;
        let found: Option<Arc<Machine>> = family
            .named
            .machines
            .iter()
            .find(|known| known.machine.identity.hash == hash)
            .map(|known| known.machine.clone());
        let machine = found.ok_or(RestoreError::WrongMachine)?;
        let running = flags & 4 != 0;
        let state = if running {
            self.actor(&machine, limits)?
        } else {
            ActorState { status: Status::Stopped, ..ActorState::default() }
        };
        Ok(Child { number, parent, name, machine, sync: flags & 1 != 0, listed: flags & 2 != 0, running, state })
    }

    fn timer(&mut self, machine: &Machine, extra: &Extra, now: Millis) -> Result<Timer, RestoreError> {
        let id = self.varint()?;
        let follows = extra.timers.last().is_none_or(|last| id > last.id);
        if !follows || id >= extra.next_timer {
            return Err(RestoreError::Malformed);
        }
        let deadline = now.0.saturating_add(self.varint()?);
        let actor = self.number()?;
        let owner = match actor {
            ROOT => machine,
            _ => &find_child(extra, actor).filter(|child| child.running).ok_or(RestoreError::Malformed)?.machine,
        };
        let kind = match self.byte()? {
            0 => {
                let after = self.number()?;
                if after as usize >= owner.afters.len() {
                    return Err(RestoreError::Malformed);
                }
                TimerKind::After(after)
            }
            tag @ (1 | 2) => {
                let send_id = if tag == 2 { Some(self.text()?) } else { None };
                let to = self.number()?;
                let event = Queued { name: self.text()?, data: read_value(self)? };
                TimerKind::Delayed(Box::new(Delayed { send_id, to, event }))
            }
            _ => return Err(RestoreError::Malformed),
        };
        Ok(Timer { id, deadline, actor, kind })
    }
}

fn find_child(extra: &Extra, number: u32) -> Option<&Child> {
    extra.children.iter().find(|child| child.number == number)
}

fn check_limits(extra: &Extra, limits: &Limits) -> Result<(), RestoreError> {
    let running = extra.children.iter().filter(|child| child.running).count();
    if running > limits.children_max { Err(RestoreError::Limit("children_max")) } else { Ok(()) }
}
