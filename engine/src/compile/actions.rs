//! Actions: built-in ones, named ones, and everything else, which is an effect.

use super::Compiler;
use super::addresses::Addressee;
use super::expressions::Place;
use crate::definition::diagnostics::{Severity, closest, did_you_mean};
use crate::definition::json_pos::{Kind, Member, Node};
use crate::definition::keys;
use crate::event::Effect;
use crate::expression::{Template, expression_of, is_resolvable};
use crate::machine::{Action, Assignment, Field};
use statemesh_expr::{List, Map, Str, Type, Value};

impl<'d> Compiler<'d> {
    pub(super) fn compile_actions(&mut self, node: Option<&'d Node>, place: Place) -> Box<[Action]> {
        let Some(node) = node else { return Box::default() };
        node.one_or_many().iter().filter_map(|item| self.compile_action(item, place)).collect()
    }

    fn compile_action(&mut self, node: &'d Node, place: Place) -> Option<Action> {
        if self.is_unreadable(node, "write {\"type\": \"@xstate.assign\", ...}, or the name of an action or effect") {
            return None;
        }
        if expression_of(node).is_some() {
            return self.compile_patch(node, place);
        }
        match &node.kind {
            Kind::Str(name) => self.action_by_name(node, name, None, place),
            Kind::Object(_) => {
                let Some(kind) = node.get("type") else {
                    self.error(node, "missing_key", "an action needs a \"type\"", None);
                    return None;
                };
                let name = self.string(kind, "an action's `type`")?;
                match keys::BUILT_IN_ACTIONS.iter().find(|built_in| built_in.name == name) {
                    Some(built_in) => {
                        self.check_keys(node, &[built_in.keys, &keys::EFFECT[..1]]);
                        self.built_in_action(node, name, place)
                    }
                    None if self.is_built_in_meant(node, name) => None,
                    None => {
                        self.check_keys(node, &[keys::EFFECT]);
                        self.action_by_name(kind, name, node.get("params"), place)
                    }
                }
            }
            _ => {
                self.error(
                    node,
                    "wrong_type",
                    format!("an action must be a name or an object, not {}", node.type_name()),
                    None,
                );
                None
            }
        }
    }

    /// An action that is an expression, as XState 6 has it: it gives a map, of which `context` is assigned.
    fn compile_patch(&mut self, node: &'d Node, place: Place) -> Option<Action> {
        self.context_keys.assign_any();
        let template = self.compile_template(node, place)?;
        let kind = match &template {
            Template::Expression(program) => program.result_type(),
            _ => Type::Map,
        };
        if !kind.may_be(Type::Map) {
            let message =
                format!("an action that is an expression must give {{\"context\": ...}}, not {}", kind.name());
            let hint = Some("use @xstate.assign to change the context, or give the action a name".to_owned());
            self.error(node, "wrong_expression_type", message, hint);
            return None;
        }
        Some(Action::Assign(Assignment::Patch(template)))
    }

    /// Reports a built-in action whose name is cut short. An effect may be called `log` as long as it has none of
    /// the built-in one's keys, and one called `raise` is warned of then; no action of a user's own begins with `xstate.`.
    fn is_built_in_meant(&mut self, node: &'d Node, name: &str) -> bool {
        let keys = || node.members().unwrap_or(&[]).iter().map(|member| member.key.as_str());
        let is_meant = |built_in: &&keys::BuiltIn| {
            built_in.is_named_short(name) && (name.starts_with("xstate.") || built_in.has_one_of(keys()))
        };
        let Some(meant) = keys::BUILT_IN_ACTIONS.iter().find(is_meant) else { return false };
        if self.names.action_indices.contains_key(name) {
            return false;
        }
        let kind = node.get("type").unwrap_or(node);
        let hint = Some(format!("did you mean {:?}?", meant.name));
        self.error(kind, "unknown_action", format!("{name:?} is no built-in action"), hint);
        true
    }

    /// Reports what XState itself does in other versions, or where its functions run: as an effect it would do nothing. Its
    /// prefix is reserved; without it only names that are XState's alone are worth a word.
    fn is_of_another_version(&mut self, node: &'d Node, name: &str, has_params: bool) -> bool {
        if self.names.action_indices.contains_key(name) {
            return false;
        }
        let short = name.strip_prefix("xstate.");
        let known = keys::FOREIGN_ACTIONS.iter().find(|known| known.name == short.unwrap_or(name));
        if short.is_some() {
            let hint = known.map_or("give your own effect another name", |known| known.instead);
            let message = format!("{name:?} is no action that machines have; names with this prefix are XState's");
            self.error(node, "unknown_action", message, Some(hint.to_owned()));
            return true;
        }
        // What only a built-in action does is not done by an effect of that name, whatever it is given.
        let is_meant = |known: &&keys::ForeignAction| known.is_distinct && (!has_params || known.is_built_in());
        if let Some(known) = known.filter(is_meant) {
            let message = format!("{name:?} is reported as an effect: what XState's {name}() does is not done");
            self.warning(node, "effect_like_action", message, Some(known.instead.to_owned()));
        }
        false
    }

    fn action_by_name(&mut self, node: &'d Node, name: &str, params: Option<&'d Node>, place: Place) -> Option<Action> {
        if keys::BUILT_IN_ACTIONS.iter().any(|built_in| built_in.name == name) {
            let hint = Some(format!("write {{\"type\": {name:?}, ...}}"));
            self.error(node, "wrong_type", format!("the built-in action {name:?} must be an object"), hint);
            return None;
        }
        if name.starts_with("@xstate.") {
            let hint = did_you_mean(name, keys::BUILT_IN_ACTIONS.iter().map(|built_in| built_in.name));
            self.error(node, "unknown_action", format!("there is no built-in action {name:?}"), hint);
            return None;
        }
        if name.starts_with("xstate.") && self.is_built_in_meant(node, name) {
            return None;
        }
        if self.is_of_another_version(node, name, params.is_some()) {
            return None;
        }
        let has_params = params.is_some();
        let params = self.compile_data(params, place.value());
        if let Some(action) = self.names.action_indices.get(name) {
            return Some(Action::Call { action: *action, params });
        }
        let names = self.names.action_indices.keys().map(Str::as_str);
        // Any name is an effect; only one that is nearly a named action is worth a word.
        const NAMES_MAX: usize = 100;
        let names = names.take(if self.is_full() { 0 } else { NAMES_MAX });
        if let Some(near) = closest(name, names).filter(|_| !has_params) {
            let message = format!("{name:?} is no named action, so it is reported as an effect");
            self.report(
                Severity::Warning,
                node.offset,
                "effect_like_action",
                message,
                Some(format!("did you mean {near:?}?")),
            );
        }
        let kind = Str::new(name);
        Some(match params {
            None => Action::Effect(Effect::Custom { kind, params: None }),
            Some(Template::Constant(params)) => Action::Effect(Effect::Custom { kind, params: Some(params) }),
            Some(params) => Action::ComputedEffect { kind, params },
        })
    }

    fn built_in_action(&mut self, node: &'d Node, name: &str, place: Place) -> Option<Action> {
        let value = place.value();
        match name {
            "@xstate.assign" => Some(Action::Assign(self.compile_assignment(node.get("context")?, place)?)),
            "@xstate.raise" => {
                let event = self.compile_event(node.get("event")?, value);
                let delay = self.optional_delay(node, place)?;
                let id = self.compile_optional(node.get("id"), value);
                self.addresses.give(Addressee::DelayedEvent, id.as_ref());
                Some(Action::Raise { event: event?, delay, id })
            }
            "@xstate.cancel" => {
                let id = self.compile_template(node.get("id")?, value)?;
                self.addresses.name(Addressee::DelayedEvent, Some(&id), node.get("id"));
                Some(Action::Cancel { id })
            }
            "@xstate.emit" => {
                let event = node.get("event")?;
                self.compile_event(event, value)?;
                Some(Action::Emit { event: self.compile_template(event, value)? })
            }
            "@xstate.log" => {
                let args = self.compile_data(node.get("args"), value);
                Some(Action::Log { args: args.unwrap_or_else(|| Template::Constant(Value::List(List::new()))) })
            }
            "@xstate.sendTo" => {
                let event = self.compile_event(node.get("event")?, value);
                let to = self.compile_optional(node.get("to"), value);
                let delay = self.optional_delay(node, place)?;
                let id = self.compile_optional(node.get("id"), value);
                self.addresses.name(Addressee::Child, to.as_ref(), node.get("to"));
                self.addresses.give(Addressee::DelayedEvent, id.as_ref());
                Some(Action::SendTo { to, event: event?, delay, id })
            }
            "@xstate.spawnChild" => {
                let machine = self.child_machine(node.get("src")?);
                let id = self.compile_optional(node.get("id"), value);
                self.addresses.give(Addressee::Child, id.as_ref());
                let input = self.compile_input(node, value);
                let sync =
                    node.get("syncSnapshot").and_then(|sync| self.boolean(sync, "`syncSnapshot`")).unwrap_or(false);
                Some(Action::Spawn { machine: machine?, id, input, sync })
            }
            _ => {
                let id = self.compile_template(node.get("id")?, value)?;
                self.addresses.name(Addressee::Child, Some(&id), node.get("id"));
                Some(Action::Stop { id })
            }
        }
    }

    /// `Some(None)` without a delay, `None` if it is wrong.
    fn optional_delay(&mut self, node: &'d Node, place: Place) -> Option<Option<crate::machine::Delay>> {
        match node.get("delay") {
            Some(delay) => self.compile_delay(delay, place.value()).map(Some),
            None => Some(None),
        }
    }

    pub(super) fn compile_assignment(&mut self, node: &'d Node, place: Place) -> Option<Assignment> {
        if is_resolvable(node) {
            self.context_keys.assign_any();
            return self.compile_template(node, place.value()).map(Assignment::Whole);
        }
        let Some(members) = node.members() else {
            let message = format!("what is assigned must be an object or an expression, not {}", node.type_name());
            self.error(node, "wrong_type", message, None);
            return None;
        };
        let fields: Vec<_> = members.iter().map(|member| self.compile_field(member, place)).collect();
        fields.into_iter().collect::<Option<Box<[_]>>>().map(Assignment::Fields)
    }

    fn compile_field(&mut self, member: &'d Member, place: Place) -> Option<Field> {
        self.context_keys.assign(&member.key);
        self.warn_of_text(&member.value, place);
        let value = self.compile_template(&member.value, place.value())?;
        let model = self.context_model.as_ref().and_then(Value::as_map).map(Map::shape);
        let place = model.and_then(|shape| Some((shape.clone(), shape.slot_of(&member.key)?)));
        Some(Field { key: member.key.clone(), value, place })
    }
}
