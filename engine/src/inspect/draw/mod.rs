//! A chart as text that other tools draw: Mermaid's `stateDiagram-v2`, or Graphviz' DOT.
//!
//! Neither draws an arrow between a state with child states and itself or one of those: the arrow would end at some
//! leaf, or vanish. Such arrows start or end at a node beside the state that stands for it as a whole. That node also
//! says what the state does on its own, for which neither has room in the frame around child states.

mod dot;
mod labels;
mod mermaid;

use crate::instance::Instance;
use crate::machine::{Machine, Transition};
use crate::state::StateKind;
use crate::state_set::{StateIx, StateSet};
use std::fmt::Write;

/// The language to draw in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DrawFormat {
    /// Mermaid, for Markdown pages.
    Mermaid,
    /// Graphviz.
    Dot,
}

/// Why there is no drawing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DrawError<'p> {
    /// No state that can be active is at the end of this path.
    #[error("there is no state {0:?}")]
    UnknownState(&'p str),
    /// It would have more bytes than `output_bytes_max`.
    #[error("the drawing is too large (output_bytes_max is {0})")]
    TooLarge(usize),
}

impl Machine {
    /// The chart, with the active states of `instance` marked if one is given.
    ///
    /// # Errors
    /// When it is too large: one label may stand at many arrows.
    pub fn draw(&self, format: DrawFormat, instance: Option<&Instance>) -> Result<String, DrawError<'static>> {
        let marked = instance.filter(|instance| self.check(instance).is_ok()).map(|instance| &instance.actor.active);
        self.draw_marked(format, marked)
    }

    /// The chart, with the states of a state value marked: a key path such as `a.b`, or several for parallel regions.
    ///
    /// # Errors
    /// When a path leads to no state that can be active (the first one is named), or as [`Machine::draw`].
    pub fn draw_paths<'p>(&self, format: DrawFormat, paths: &[&'p str]) -> Result<String, DrawError<'p>> {
        let mut marked = self.empty_set();
        for path in paths {
            let state = self.find_path(path).ok_or(DrawError::UnknownState(path))?;
            marked.insert(state);
            self.ancestors(state).for_each(|above| marked.insert(above));
        }
        self.draw_marked(format, Some(&marked))
    }

    fn find_path(&self, path: &str) -> Option<StateIx> {
        if let Some(id) = path.strip_prefix('#') {
            let found = self.states.iter().position(|state| state.id == id).map(|index| index as StateIx);
            return found.filter(|state| !self.is_history(*state));
        }
        let mut state = 0;
        for key in crate::definition::state_path::split_path(path) {
            state = self.state(state).children.iter().copied().find(|child| self.state(*child).key.text == key)?;
        }
        Some(state)
    }

    fn draw_marked(&self, format: DrawFormat, marked: Option<&StateSet>) -> Result<String, DrawError<'static>> {
        let mut drawing = Drawing { machine: self, text: String::new(), is_full: false, wholes: wholes(self) };
        match format {
            DrawFormat::Mermaid => drawing.mermaid(marked),
            DrawFormat::Dot => drawing.dot(marked),
        }
        match drawing.is_full {
            true => Err(DrawError::TooLarge(self.limits.output_bytes_max)),
            false => Ok(drawing.text),
        }
    }
}

struct Drawing<'m> {
    machine: &'m Machine,
    text: String,
    /// There was no room for a line: it is not drawn on.
    is_full: bool,
    /// The states with child states that a node beside them stands for.
    wholes: StateSet,
}

/// Where an arrow starts or ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    State(StateIx),
    /// The node that stands for a state with child states.
    Whole(StateIx),
}

impl Drawing<'_> {
    // Writing to a String cannot fail.
    #[allow(clippy::let_underscore_must_use)]
    fn line(&mut self, depth: usize, text: &str) {
        self.is_full |= self.text.len() + depth * 2 + text.len() >= self.machine.limits.output_bytes_max;
        if self.is_full {
            return;
        }
        let _ = writeln!(self.text, "{:1$}{text}", "", depth * 2);
    }
}

/// What stands inside the box of a state: its own actions, what it invokes, and events that lead nowhere.
fn inscriptions(machine: &Machine, state: StateIx) -> Vec<String> {
    let node = machine.state(state);
    let own = [("entry", &node.entry), ("exit", &node.exit)];
    let own = own.map(|(what, actions)| (what, machine.action_names(actions)));
    let own = own.into_iter().filter(|(_, names)| !names.is_empty()).map(|(what, names)| format!("{what} / {names}"));
    let invoked = node.invokes.iter().map(|invoke| &machine.named.machine(invoke.machine).name);
    let invoked = invoked.map(|name| format!("invoke / {name}"));
    let mut reactions: Vec<_> =
        node.reactions.on.iter().flat_map(|(_, all)| all.iter()).chain(&node.reactions.always).copied().collect();
    // Transitions are numbered in the order of the document.
    reactions.sort_unstable();
    // One that is written for all events of a kind stands under the names of several.
    reactions.dedup();
    let reactions = reactions.into_iter().map(|index| machine.transition(index));
    let internal = reactions.filter(|transition| is_internal(transition));
    own.chain(invoked).chain(internal.map(|transition| machine.inscription(transition))).collect()
}

fn is_internal(transition: &Transition) -> bool {
    transition.targets.as_deref().is_none_or(<[StateIx]>::is_empty)
}

/// The ends of all arrows of a transition.
fn arrows<'m>(machine: &'m Machine, transition: &'m Transition) -> impl Iterator<Item = (End, End)> + 'm {
    transition.targets.iter().flatten().map(|target| ends(machine, transition.source, *target))
}

fn ends(machine: &Machine, from: StateIx, to: StateIx) -> (End, End) {
    let end = |state: StateIx, other: StateIx| {
        let is_apart = state != other && !machine.is_descendant(other, Some(state));
        match is_apart || machine.state(state).children.is_empty() {
            true => End::State(state),
            false => End::Whole(state),
        }
    };
    (end(from, to), end(to, from))
}

/// Where a history state leads at first, if the definition says so.
fn history_default(machine: &Machine, state: StateIx) -> &[StateIx] {
    let StateKind::History(index) = machine.state(state).kind else { return &[] };
    let history = &machine.history[usize::from(index)];
    match history.is_parents_initial {
        true => &[],
        false => &history.targets,
    }
}

fn wholes(machine: &Machine) -> StateSet {
    let mut found = machine.empty_set();
    let from_transitions = machine.transitions.iter().flat_map(|transition| arrows(machine, transition));
    let states = 0..machine.states.len() as StateIx;
    let from_history = states
        .clone()
        .flat_map(|state| history_default(machine, state).iter().map(move |target| ends(machine, state, *target)));
    for (from, to) in from_transitions.chain(from_history) {
        for end in [from, to] {
            if let End::Whole(state) = end {
                found.insert(state);
            }
        }
    }
    for state in states {
        if !machine.state(state).children.is_empty() && !inscriptions(machine, state).is_empty() {
            found.insert(state);
        }
    }
    found
}

/// What the node that stands for a state with child states is called.
fn whole_title(machine: &Machine, state: StateIx) -> String {
    format!("{} as a whole", machine.state(state).key.text)
}

fn name(end: End) -> String {
    match end {
        End::State(state) => format!("s{state}"),
        End::Whole(state) => format!("w{state}"),
    }
}
