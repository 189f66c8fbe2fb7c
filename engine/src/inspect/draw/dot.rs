//! Graphviz' DOT.

use super::{Drawing, End, arrows, ends, history_default, inscriptions, name, whole_title};
use crate::state::StateKind;
use crate::state_set::{StateIx, StateSet};

// From top to bottom, as Mermaid draws: labels are wide, and one after the other they make a chart several times as wide as a page.
const STYLE: &str = "compound=true; fontname=Helvetica; edge [fontname=Helvetica]; \
     node [shape=box, style=\"rounded,filled\", fillcolor=white, fontname=Helvetica];";

impl Drawing<'_> {
    pub(super) fn dot(&mut self, marked: Option<&StateSet>) {
        self.line(0, &format!("digraph {} {{", quoted(&self.machine.identity.id)));
        self.line(1, STYLE);
        self.dot_state(0, 1, marked);
        self.dot_arrows();
        self.line(0, "}");
    }

    fn dot_state(&mut self, state: StateIx, depth: usize, marked: Option<&StateSet>) {
        let machine = self.machine;
        let node = machine.state(state);
        let is_marked = marked.is_some_and(|marked| marked.contains(state)) && (state > 0 || node.children.is_empty());
        let fill = if is_marked { "#fde68a" } else { "white" };
        if self.wholes.contains(state) {
            let label = quoted(&self.dot_label(state, whole_title(machine, state)));
            let whole = name(End::Whole(state));
            self.line(depth, &format!("{whole} [label={label}, style=\"rounded,filled,dashed\"];"));
        }
        if !node.children.is_empty() {
            return self.dot_cluster(state, depth, marked, fill);
        }
        let shape = match node.kind {
            StateKind::Final => ", peripheries=2",
            StateKind::History(_) => ", shape=circle",
            _ => "",
        };
        let label = match node.kind {
            StateKind::History(_) if machine.is_deep(state) => "H*".to_owned(),
            StateKind::History(_) => "H".to_owned(),
            _ => self.dot_label(state, node.key.text.to_string()),
        };
        let leaf = name(End::State(state));
        self.line(depth, &format!("{leaf} [label={}, fillcolor=\"{fill}\"{shape}];", quoted(&label)));
    }

    fn dot_cluster(&mut self, state: StateIx, depth: usize, marked: Option<&StateSet>, fill: &str) {
        let node = self.machine.state(state);
        self.line(depth, &format!("subgraph cluster_{state} {{"));
        let style = if node.kind == StateKind::Parallel { "rounded,filled,dashed" } else { "rounded,filled" };
        self.line(depth + 1, &format!("label={}; style=\"{style}\"; fillcolor=\"{fill}\";", quoted(&node.key.text)));
        self.dot_children(state, depth + 1, marked);
        self.line(depth, "}");
    }

    fn dot_children(&mut self, state: StateIx, depth: usize, marked: Option<&StateSet>) {
        let machine = self.machine;
        let node = machine.state(state);
        if let Some(initial) = &node.initial {
            self.line(depth, &format!("i{state} [shape=point, fillcolor=black];"));
            let label = match initial.actions.is_empty() {
                true => String::new(),
                false => format!("/ {}", machine.action_names(&initial.actions)),
            };
            self.dot_arrow(depth, &format!("i{state}"), End::State(initial.target), &label, "");
        }
        for child in node.children.iter().chain(&node.histories) {
            self.dot_state(*child, depth, marked);
        }
    }

    fn dot_label(&self, state: StateIx, title: String) -> String {
        std::iter::once(title).chain(inscriptions(self.machine, state)).collect::<Vec<_>>().join("\n")
    }

    fn dot_arrows(&mut self) {
        let machine = self.machine;
        for transition in &machine.transitions {
            let label = machine.transition_label(transition);
            for (from, to) in arrows(machine, transition) {
                self.dot_arrow(1, &self.dot_tail(from, to), to, &label, &self.dot_frame("ltail", from));
            }
        }
        for state in 0..machine.states.len() as StateIx {
            for target in history_default(machine, state) {
                let (from, to) = ends(machine, state, *target);
                self.dot_arrow(1, &self.dot_tail(from, to), to, "default", "");
            }
        }
    }

    fn dot_arrow(&mut self, depth: usize, from: &str, to: End, label: &str, tail: &str) {
        let attributes = [tail.to_owned(), self.dot_frame("lhead", to)];
        let attributes: String =
            attributes.iter().filter(|one| !one.is_empty()).map(|one| format!(", {one}")).collect();
        let to = self.dot_head(to);
        self.line(depth, &format!("{from} -> {to} [label={}{attributes}];", quoted(label)));
    }

    /// The node that an arrow leads to. DOT draws no edge to a cluster, but one to a node in it that ends at its frame: to the first one, or
    /// the arrow's label would stand in the frame.
    fn dot_head(&self, end: End) -> String {
        let End::State(mut at) = end else { return name(end) };
        while let Some(child) = self.machine.state(at).children.first() {
            if self.machine.state(at).initial.is_some() {
                return format!("i{at}");
            }
            at = *child;
        }
        name(End::State(at))
    }

    /// The node that an arrow comes from: the last leaf of a cluster if it leads to a final state, for the same reason; else the first one.
    /// Where all arrows come from the last one, Graphviz 2.43 finds no layout for charts in which some lead back.
    fn dot_tail(&self, from: End, to: End) -> String {
        let End::State(mut at) = from else { return name(from) };
        let is_last = matches!(to, End::State(to) if self.machine.state(to).kind == StateKind::Final);
        let next = |children: &[StateIx]| if is_last { children.last().copied() } else { children.first().copied() };
        while let Some(child) = next(&self.machine.state(at).children) {
            at = child;
        }
        name(End::State(at))
    }

    fn dot_frame(&self, attribute: &str, end: End) -> String {
        match end {
            End::State(state) if !self.machine.state(state).children.is_empty() => {
                format!("{attribute}=cluster_{state}")
            }
            _ => String::new(),
        }
    }
}

/// A string of DOT.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n"))
}
