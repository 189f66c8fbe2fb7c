//! A chart as text that other tools draw: Mermaid's `stateDiagram-v2`, or Graphviz' DOT.

use crate::instance::Instance;
use crate::machine::{Action, Guard, Machine, StateKind, Transition};
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

impl Machine {
    /// The chart, with the active states of `instance` marked if one is given.
    pub fn draw(&self, format: DrawFormat, instance: Option<&Instance>) -> String {
        let marked = instance.filter(|instance| self.check(instance).is_ok()).map(|instance| &instance.actor.active);
        self.draw_marked(format, marked)
    }

    /// The chart, with the states of a state value marked: a key path such as `a.b`, or several for parallel regions.
    /// `Err` names the first path that leads nowhere.
    pub fn draw_paths<'p>(&self, format: DrawFormat, paths: &[&'p str]) -> Result<String, &'p str> {
        let mut marked = self.empty_set();
        for path in paths {
            let state = self.find_path(path).ok_or(*path)?;
            marked.insert(state);
            self.ancestors(state).for_each(|above| marked.insert(above));
        }
        Ok(self.draw_marked(format, Some(&marked)))
    }

    fn find_path(&self, path: &str) -> Option<StateIx> {
        if let Some(id) = path.strip_prefix('#') {
            return self.states.iter().position(|state| state.id == id).map(|index| index as StateIx);
        }
        let mut state = 0;
        for key in crate::compile::split_path(path) {
            let node = self.state(state);
            state = node.children.iter().chain(&node.histories).copied().find(|child| self.state(*child).key == key)?;
        }
        Some(state)
    }

    fn draw_marked(&self, format: DrawFormat, marked: Option<&StateSet>) -> String {
        let mut drawing = Drawing { machine: self, text: String::new() };
        match format {
            DrawFormat::Mermaid => drawing.mermaid(marked),
            DrawFormat::Dot => drawing.dot(marked),
        }
        drawing.text
    }
}

struct Drawing<'m> {
    machine: &'m Machine,
    text: String,
}

// Writing to a String cannot fail.
#[allow(clippy::let_underscore_must_use)]
impl Drawing<'_> {
    fn line(&mut self, depth: usize, text: &str) {
        let _ = writeln!(self.text, "{:1$}{text}", "", depth * 2);
    }

    fn mermaid(&mut self, marked: Option<&StateSet>) {
        self.line(0, "stateDiagram-v2");
        self.mermaid_children(0, 1);
        let machine = self.machine;
        for transition in &machine.transitions {
            self.mermaid_transition(transition);
        }
        if let Some(marked) = marked {
            self.line(1, "classDef active fill:#fde68a,stroke:#b45309,stroke-width:2px");
            for state in marked.iter().filter(|state| *state > 0) {
                self.line(1, &format!("class {} active", name(state)));
            }
        }
    }

    fn mermaid_children(&mut self, state: StateIx, depth: usize) {
        let machine = self.machine;
        let node = machine.state(state);
        if let Some(initial) = &node.initial {
            let label = match initial.actions.is_empty() {
                true => String::new(),
                false => format!(" : / {}", plain(&machine.action_names(&initial.actions))),
            };
            self.line(depth, &format!("[*] --> {}{label}", name(initial.target)));
        }
        for (index, child) in node.children.iter().enumerate() {
            if node.kind == StateKind::Parallel && index > 0 {
                self.line(depth, "--");
            }
            self.mermaid_state(*child, depth);
        }
        for history in &node.histories {
            let kind = if machine.is_deep(*history) { "H*" } else { "H" };
            self.line(
                depth,
                &format!("state \"{} ({kind})\" as {}", plain(&machine.state(*history).key), name(*history)),
            );
        }
    }

    fn mermaid_state(&mut self, state: StateIx, depth: usize) {
        let machine = self.machine;
        let node = machine.state(state);
        self.line(depth, &format!("state \"{}\" as {}", plain(&node.key), name(state)));
        for (what, actions) in [("entry", &node.entry), ("exit", &node.exit)] {
            let names = machine.action_names(actions);
            // A composite state has no room for lines of text.
            if !names.is_empty() && node.children.is_empty() {
                self.line(depth, &format!("{} : {what} / {}", name(state), plain(&names)));
            }
        }
        for invoke in &node.invokes {
            if node.children.is_empty() {
                let source = &machine.machines[usize::from(invoke.machine)].name;
                self.line(depth, &format!("{} : invoke / {}", name(state), plain(source)));
            }
        }
        if !node.children.is_empty() || !node.histories.is_empty() {
            self.line(depth, &format!("state {} {{", name(state)));
            self.mermaid_children(state, depth + 1);
            self.line(depth, "}");
        }
        if node.kind == StateKind::Final {
            self.line(depth, &format!("{} --> [*]", name(state)));
        }
    }

    fn mermaid_transition(&mut self, transition: &Transition) {
        let label = plain(&self.machine.transition_label(transition));
        let source = transition.source;
        let targets = transition.targets.as_deref().unwrap_or(&[]);
        // The root is the whole drawing: Mermaid has no arrow from it.
        if source == 0 {
            let targets: Vec<&str> = targets.iter().map(|target| self.machine.state(*target).id.as_str()).collect();
            self.line(1, &format!("%% from the root: {label} -> {}", targets.join(", ")));
            return;
        }
        if targets.is_empty() {
            self.line(1, &format!("{0} --> {0} : {label}", name(source)));
        }
        for target in targets.iter().filter(|target| **target > 0) {
            self.line(1, &format!("{} --> {} : {label}", name(source), name(*target)));
        }
    }

    fn dot(&mut self, marked: Option<&StateSet>) {
        self.line(0, &format!("digraph {} {{", quoted(&self.machine.id)));
        self.line(1, "compound=true; rankdir=LR; node [shape=box, style=\"rounded,filled\", fillcolor=white, fontname=Helvetica];");
        self.dot_children(0, 1, marked);
        let machine = self.machine;
        for transition in &machine.transitions {
            self.dot_transition(transition);
        }
        self.line(0, "}");
    }

    fn dot_children(&mut self, state: StateIx, depth: usize, marked: Option<&StateSet>) {
        let machine = self.machine;
        let node = machine.state(state);
        if let Some(initial) = &node.initial {
            self.line(depth, &format!("i{state} [shape=point];"));
            let (leaf, cluster) = (self.dot_end(initial.target), self.dot_cluster("lhead", initial.target));
            self.line(depth, &format!("i{state} -> {leaf} [{cluster}];"));
        }
        for child in node.children.iter().chain(&node.histories) {
            self.dot_state(*child, depth, marked);
        }
    }

    fn dot_state(&mut self, state: StateIx, depth: usize, marked: Option<&StateSet>) {
        let machine = self.machine;
        let node = machine.state(state);
        let fill = if marked.is_some_and(|marked| marked.contains(state)) { "#fde68a" } else { "white" };
        if !node.children.is_empty() {
            self.line(depth, &format!("subgraph cluster_{state} {{"));
            let style = if node.kind == StateKind::Parallel { "rounded,filled,dashed" } else { "rounded,filled" };
            self.line(depth + 1, &format!("label={}; style=\"{style}\"; fillcolor=\"{fill}\";", quoted(&node.key)));
            self.dot_children(state, depth + 1, marked);
            self.line(depth, "}");
            return;
        }
        let shape = match node.kind {
            StateKind::Final => ", peripheries=2",
            StateKind::History(_) => ", shape=circle",
            _ => "",
        };
        let label = match node.kind {
            StateKind::History(_) if machine.is_deep(state) => "H*".to_owned(),
            StateKind::History(_) => "H".to_owned(),
            _ => self.dot_label(state),
        };
        self.line(depth, &format!("{} [label={}, fillcolor=\"{fill}\"{shape}];", name(state), quoted(&label)));
    }

    fn dot_label(&self, state: StateIx) -> String {
        let node = self.machine.state(state);
        let mut label = node.key.to_string();
        for (what, actions) in [("entry", &node.entry), ("exit", &node.exit)] {
            let names = self.machine.action_names(actions);
            if !names.is_empty() {
                let _ = write!(label, "\n{what} / {names}");
            }
        }
        label
    }

    fn dot_transition(&mut self, transition: &Transition) {
        let label = quoted(&self.machine.transition_label(transition));
        let source = transition.source;
        let own = [source];
        let targets = transition.targets.as_deref().filter(|targets| !targets.is_empty()).unwrap_or(&own);
        for target in targets {
            let (tail, head) = (self.dot_cluster("ltail", source), self.dot_cluster("lhead", *target));
            let (from, to) = (self.dot_end(source), self.dot_end(*target));
            self.line(1, &format!("{from} -> {to} [label={label}, {tail} {head}];"));
        }
    }

    /// The node that stands for a state: itself, or a leaf of it, because DOT draws no edge to a cluster.
    fn dot_end(&self, state: StateIx) -> String {
        let mut at = state;
        while let Some(child) = self.machine.state(at).children.first() {
            at = *child;
        }
        name(at)
    }

    fn dot_cluster(&self, attribute: &str, state: StateIx) -> String {
        match self.machine.state(state).children.is_empty() || state == 0 {
            true => String::new(),
            false => format!("{attribute}=cluster_{state}"),
        }
    }
}

fn name(state: StateIx) -> String {
    format!("s{state}")
}

/// Text for Mermaid, which has no escapes: what would end a label is replaced.
fn plain(text: &str) -> String {
    text.chars()
        .map(|character| match character {
            '"' => '\'',
            ';' | ':' | '{' | '}' | '#' => ' ',
            other if other.is_control() => ' ',
            other => other,
        })
        .collect()
}

/// A string of DOT.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n"))
}

/// `after 500`, `done`: what a person wrote, not the event that stands for it.
fn short_descriptor(descriptor: &str, id: &str) -> String {
    let delay = || descriptor.strip_prefix("xstate.after.")?.strip_suffix(id)?.strip_suffix('.');
    match delay() {
        Some(delay) => format!("after {delay}"),
        None if descriptor.starts_with("xstate.done.state.") => "done".to_owned(),
        None => descriptor.to_owned(),
    }
}

impl Machine {
    fn is_deep(&self, state: StateIx) -> bool {
        matches!(self.state(state).kind, StateKind::History(index) if self.history[usize::from(index)].deep)
    }

    /// `EVENT [guard] / actions`.
    pub(crate) fn transition_label(&self, transition: &Transition) -> String {
        let mut label = match transition.descriptor.as_str() {
            "" => String::new(),
            descriptor => short_descriptor(descriptor, &self.state(transition.source).id),
        };
        if let Some(guard) = &transition.guard {
            let _ = write!(label, " [{}]", self.guard_text(guard));
        }
        let actions = self.action_names(&transition.actions);
        if !actions.is_empty() {
            let _ = write!(label, " / {actions}");
        }
        match label.trim_start() {
            "" => "always".to_owned(),
            text => text.to_owned(),
        }
    }

    /// A guard as a person would write it in a diagram.
    pub(crate) fn guard_text(&self, guard: &Guard) -> String {
        let list = |guards: &[Guard], between: &str| {
            let texts: Vec<String> = guards.iter().map(|guard| self.guard_text(guard)).collect();
            format!("({})", texts.join(between))
        };
        match guard {
            Guard::Expression(program) => program.source().to_owned(),
            Guard::Call { guard, .. } => self.guards[usize::from(*guard)].name.to_string(),
            Guard::And(guards) => list(guards, " && "),
            Guard::Or(guards) => list(guards, " || "),
            Guard::Not(guard) => format!("!{}", self.guard_text(guard)),
            Guard::StateIn(pattern) => format!("in {}", self.pattern_text(pattern)),
            Guard::Route(target) => format!("to {target}"),
        }
    }

    fn pattern_text(&self, pattern: &crate::machine::StatePattern) -> String {
        match pattern {
            crate::machine::StatePattern::Active(state) => self.state(*state).id.to_string(),
            crate::machine::StatePattern::All(_, children) => {
                let texts: Vec<String> = children.iter().map(|child| self.pattern_text(child)).collect();
                texts.join(" and ")
            }
        }
    }

    /// The names of actions, without those that only start and cancel timers.
    pub(crate) fn action_names(&self, actions: &[Action]) -> String {
        let names: Vec<&str> = actions.iter().filter_map(|action| self.action_name(action)).collect();
        names.join(", ")
    }

    fn action_name<'m>(&'m self, action: &'m Action) -> Option<&'m str> {
        Some(match action {
            Action::Effect(effect) => effect.kind(),
            Action::ComputedEffect { kind, .. } => kind,
            Action::Call { action, .. } => &self.actions[usize::from(*action)].name,
            Action::Assign(_) => "assign",
            Action::Raise { .. } => "raise",
            Action::Cancel { .. } => "cancel",
            Action::Emit { .. } => "emit",
            Action::Log { .. } => "log",
            Action::SendTo { .. } => "sendTo",
            Action::Spawn { .. } => "spawnChild",
            Action::Stop { .. } => "stopChild",
            Action::StartAfter(_) | Action::CancelAfter(_) => return None,
        })
    }
}
