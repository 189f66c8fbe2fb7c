//! What a chart says at its states and arrows. Explanations name guards and actions in the same words.

use crate::machine::{Action, Guard, Machine, NamedGuard, Transition};
use crate::state::StateKind;
use crate::state_set::StateIx;
use std::fmt::Write;

/// `after 500`, `done`: what a person wrote, not the event that stands for it.
fn short_descriptor(descriptor: &str, id: &str) -> String {
    let delay = || descriptor.strip_prefix("xstate.after.")?.strip_suffix(id)?.strip_suffix('.');
    match delay() {
        Some(delay) => format!("after {delay}"),
        None if descriptor.starts_with("xstate.done.state.") => "done".to_owned(),
        None if descriptor.strip_prefix("xstate.timeout.") == Some(id) => "timeout".to_owned(),
        None => descriptor.to_owned(),
    }
}

// Writing to a String cannot fail.
#[allow(clippy::let_underscore_must_use)]
impl Machine {
    pub(super) fn is_deep(&self, state: StateIx) -> bool {
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

    /// The same for a transition that leads nowhere; without actions its event is taken and comes to nothing.
    pub(super) fn inscription(&self, transition: &Transition) -> String {
        let label = self.transition_label(transition);
        match transition.actions.is_empty() {
            true => format!("{label} forbidden"),
            false => label,
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
            Guard::Call { guard, .. } => self.named.guard(*guard).name.to_string(),
            Guard::And(guards) => list(guards, " && "),
            Guard::Or(guards) => list(guards, " || "),
            Guard::Not(guard) => format!("!{}", self.guard_text(guard)),
            Guard::StateIn(pattern) => format!("in {}", self.pattern_text(pattern)),
            Guard::Matches(fields) => {
                let texts: Vec<String> = fields.iter().map(|(key, value)| format!("{key} is {value}")).collect();
                format!("({})", texts.join(" && "))
            }
            Guard::NoBranch(_) => "else".to_owned(),
            Guard::Route(target) => format!("to {target}"),
        }
    }

    /// The named guards in a guard, each once, with what it is; what stands in one of them keeps its name, so that the texts have an end.
    pub(crate) fn named_guards(&self, guard: &Guard) -> Vec<(&str, String)> {
        let mut found = Vec::new();
        self.add_named_guards(guard, &mut found);
        found.into_iter().map(|named| (named.name.as_str(), self.guard_text(&named.body))).collect()
    }

    fn add_named_guards<'m>(&'m self, guard: &Guard, found: &mut Vec<&'m NamedGuard>) {
        match guard {
            Guard::Call { guard, .. } => {
                let named = &self.named.guards[usize::from(*guard)];
                if !found.iter().any(|known| std::ptr::eq(*known, named)) {
                    found.push(named);
                }
            }
            Guard::And(guards) | Guard::Or(guards) => {
                guards.iter().for_each(|guard| self.add_named_guards(guard, found));
            }
            Guard::Not(guard) => self.add_named_guards(guard, found),
            _ => {}
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
            Action::Call { action, .. } => &self.named.action(*action).name,
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
