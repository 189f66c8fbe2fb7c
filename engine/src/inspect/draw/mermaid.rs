//! Mermaid's `stateDiagram-v2`.

use super::{Drawing, End, arrows, ends, history_default, inscriptions, name, whole_title};
use crate::state::StateKind;
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
        let is_alone = node.children.is_empty() && self.is_uninscribed(state);
        self.mermaid_title(End::State(state), &node.key.text, depth, is_alone);
        if node.children.is_empty() {
            self.mermaid_inscriptions(state, End::State(state), depth);
        } else {
            self.line(depth, &format!("state {} {{", name(End::State(state))));
            self.mermaid_children(state, depth + 1);
            self.line(depth, "}");
        }
        if self.wholes.contains(state) {
            let is_alone = self.is_uninscribed(state);
            self.mermaid_title(End::Whole(state), &whole_title(self.machine, state), depth, is_alone);
            self.mermaid_inscriptions(state, End::Whole(state), depth);
        }
        if node.kind == StateKind::Final {
            self.line(depth, &format!("{} --> [*]", name(End::State(state))));
        }
    }

    fn is_uninscribed(&self, state: StateIx) -> bool {
        inscriptions(self.machine, state).is_empty()
    }

    /// A title that is all that a box says is read as Markdown; with lines below it, or around others, it is not.
    fn mermaid_title(&mut self, end: End, title: &str, depth: usize, is_alone: bool) {
        let title = if is_alone { markdown(title) } else { plain(title) };
        self.line(depth, &format!("state \"{title}\" as {}", name(end)));
    }

    fn mermaid_inscriptions(&mut self, state: StateIx, end: End, depth: usize) {
        for text in inscriptions(self.machine, state) {
            self.line(depth, &format!("{} : {}", name(end), plain(&text)));
        }
    }

    fn mermaid_children(&mut self, state: StateIx, depth: usize) {
        let machine = self.machine;
        let node = machine.state(state);
        if let Some(initial) = &node.initial {
            let label = match initial.actions.is_empty() {
                true => String::new(),
                false => format!(" : / {}", markdown(&machine.action_names(&initial.actions))),
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
            self.mermaid_title(
                End::State(*history),
                &format!("{} ({kind})", machine.state(*history).key.text),
                depth,
                true,
            );
        }
    }

    fn mermaid_arrows(&mut self) {
        let machine = self.machine;
        for transition in &machine.transitions {
            let label = markdown(&machine.transition_label(transition));
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

/// Text where Mermaid reads no Markdown. As little as possible is written as a character's number, since some that show Mermaid do not
/// read those: what would end the text or the statement, and what would begin a number or an entity. A `<` that HTML would take for the
/// beginning of a tag has a space of no width behind it. (Tried with Mermaid 11.17.)
fn plain(text: &str) -> String {
    escaped(text, |_, _, _| false)
}

/// Text where it does: arrows, and titles that stand alone.
fn markdown(text: &str) -> String {
    let stars = text.matches('*').count();
    escaped(text, |before, character, after| match character {
        // One has no other to pair with; with blanks around it is a sign of arithmetic.
        '*' => stars > 1 && !(is_blank(before) && is_blank(after)),
        // Within a word it is a letter.
        '_' => !is_letter(before) || !is_letter(after),
        '\\' => after.is_some_and(|after| after.is_ascii_punctuation()),
        _ => false,
    })
}

fn is_blank(character: Option<char>) -> bool {
    character.is_none_or(char::is_whitespace)
}

fn is_letter(character: Option<char>) -> bool {
    character.is_some_and(char::is_alphanumeric)
}

/// `is_sign` says of a character, from what stands before and after it, whether a backslash must make it one that means itself.
fn escaped(text: &str, is_sign: impl Fn(Option<char>, char, Option<char>) -> bool) -> String {
    let mut out = String::with_capacity(text.len());
    let (mut before, mut characters) = (None, text.chars().peekable());
    while let Some(character) = characters.next() {
        let after = characters.peek().copied();
        let begins_entity = after.is_some_and(|after| after.is_alphanumeric() || after == '#');
        match character {
            '"' | ';' => out.push_str(&format!("#{};", u32::from(character))),
            '&' | '#' if begins_entity => out.push_str(&format!("#{};", u32::from(character))),
            ':' if after == Some(':') => out.push_str("#58;"),
            '<' if after.is_some_and(|after| after.is_ascii_alphabetic() || matches!(after, '/' | '!' | '?')) => {
                out.push_str("<\u{200b}");
            }
            other if other.is_control() => out.push(' '),
            other => {
                if is_sign(before, other, after) {
                    out.push('\\');
                }
                out.push(other);
            }
        }
        before = Some(character);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_mermaid_reads_as_text_is_written_as_it_is() {
        for text in
            ["a < b && c <= 3", "H*", "f(a) * b * c", "has(x): y", "x ? {a} : [b]", "100 % of a `b`", "snake_case"]
        {
            assert_eq!((plain(text).as_str(), markdown(text).as_str()), (text, text));
        }
    }

    #[test]
    fn what_it_reads_as_something_else_is_not() {
        assert_eq!(plain("say \"a;b\""), "say #34;a#59;b#34;");
        assert_eq!(plain("&amp; #9 a:::b"), "#38;amp#59; #35;9 a#58;#58;:b");
        assert_eq!(plain("a<b </i>"), "a<\u{200b}b <\u{200b}/i>");
        assert_eq!(plain("_it_ *st* a\nb"), "_it_ *st* a b");
        assert_eq!(markdown("__x__ a__b"), "\\_\\_x\\_\\_ a\\_\\_b");
        assert_eq!(markdown("_it_ a*b*c \\*"), "\\_it\\_ a\\*b\\*c \\\\\\*");
    }
}
