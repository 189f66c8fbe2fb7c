//! Mermaid's `stateDiagram-v2`.

use super::{Drawing, End, arrows, ends, history_default, inscriptions, name, whole_title};
use crate::machine::StateKind;
use crate::state_set::{StateIx, StateSet};

impl Drawing<'_> {
    pub(super) fn mermaid(&mut self, marked: Option<&StateSet>) {
        self.line(0, "stateDiagram-v2");
        // The root is drawn like any state: regions side by side, and arrows to a whole, need a state around them.
        self.mermaid_state(0, 1);
        self.mermaid_arrows();
        if let Some(marked) = marked {
            self.line(1, "classDef active fill:#fde68a,stroke:#b45309,stroke-width:2px");
            let is_only_state = self.machine.states.len() == 1;
            for state in marked.iter().filter(|state| *state > 0 || is_only_state) {
                self.line(1, &format!("class {} active", name(End::State(state))));
            }
        }
    }

    fn mermaid_state(&mut self, state: StateIx, depth: usize) {
        let node = self.machine.state(state);
        self.mermaid_title(End::State(state), &node.key, depth);
        if node.children.is_empty() {
            self.mermaid_inscriptions(state, End::State(state), depth);
        } else {
            self.line(depth, &format!("state {} {{", name(End::State(state))));
            self.mermaid_children(state, depth + 1);
            self.line(depth, "}");
        }
        if self.wholes.contains(state) {
            self.mermaid_title(End::Whole(state), &whole_title(self.machine, state), depth);
            self.mermaid_inscriptions(state, End::Whole(state), depth);
        }
        if node.kind == StateKind::Final {
            self.line(depth, &format!("{} --> [*]", name(End::State(state))));
        }
    }

    fn mermaid_title(&mut self, end: End, title: &str, depth: usize) {
        self.line(depth, &format!("state \"{}\" as {}", escaped(title), name(end)));
    }

    fn mermaid_inscriptions(&mut self, state: StateIx, end: End, depth: usize) {
        for text in inscriptions(self.machine, state) {
            self.line(depth, &format!("{} : {}", name(end), escaped(&text)));
        }
    }

    fn mermaid_children(&mut self, state: StateIx, depth: usize) {
        let machine = self.machine;
        let node = machine.state(state);
        if let Some(initial) = &node.initial {
            let label = match initial.actions.is_empty() {
                true => String::new(),
                false => format!(" : / {}", escaped(&machine.action_names(&initial.actions))),
            };
            self.line(depth, &format!("[*] --> {}{label}", name(End::State(initial.target))));
        }
        for (index, child) in node.children.iter().enumerate() {
            if node.kind == StateKind::Parallel && index > 0 {
                self.line(depth, "--");
            }
            self.mermaid_state(*child, depth);
        }
        for history in &node.histories {
            let kind = if machine.is_deep(*history) { "H*" } else { "H" };
            self.mermaid_title(End::State(*history), &format!("{} ({kind})", machine.state(*history).key), depth);
        }
    }

    fn mermaid_arrows(&mut self) {
        let machine = self.machine;
        for transition in &machine.transitions {
            let label = escaped(&machine.transition_label(transition));
            for (from, to) in arrows(machine, transition) {
                self.line(1, &format!("{} --> {} : {label}", name(from), name(to)));
            }
        }
        for state in 0..machine.states.len() as StateIx {
            for target in history_default(machine, state) {
                let (from, to) = ends(machine, state, *target);
                self.line(1, &format!("{} --> {} : default", name(from), name(to)));
            }
        }
    }
}

/// Text for Mermaid: what it would read as its own, as Markdown or as HTML is written as a character's number.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '"' | '#' | ';' | ':' | '{' | '}' | '<' | '*' | '`' | '\\' | '%' => {
                out.push_str(&format!("#{};", u32::from(character)));
            }
            other if other.is_control() => out.push(' '),
            other => out.push(other),
        }
    }
    out
}
