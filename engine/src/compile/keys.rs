//! The keys that each object of the format may have: what the compiler checks names against, and what the JSON Schema
//! is generated from.

/// The JSON shape of a key's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    String,
    Strings,
    Boolean,
    /// Any JSON, expressions included.
    Value,
    /// An object whose values may be expressions.
    Object,
    StateType,
    HistoryKind,
    Initial,
    States,
    Transitions,
    TransitionMap,
    Actions,
    Guard,
    Guards,
    Invokes,
    Delay,
    Route,
    ActionDefinitions,
    GuardDefinitions,
    DelayDefinitions,
    Language,
}

/// One key: its name, its value's shape and what it is for.
pub(crate) struct Key {
    pub(crate) name: &'static str,
    pub(crate) shape: Shape,
    pub(crate) about: &'static str,
    pub(crate) required: bool,
}

const fn key(name: &'static str, shape: Shape, about: &'static str) -> Key {
    Key { name, shape, about, required: false }
}

const fn required(name: &'static str, shape: Shape, about: &'static str) -> Key {
    Key { name, shape, about, required: true }
}

/// Keys of every state node, the root included.
pub(crate) const STATE: &[Key] = &[
    key(
        "id",
        Shape::String,
        "Name by which `#id` targets find the state; by default the path of keys below the root's id.",
    ),
    key("type", Shape::StateType, "By default `compound` with child states, `history` with `history`, else `atomic`."),
    key("initial", Shape::Initial, "The child that is entered by default."),
    key("states", Shape::States, "The child states, in document order."),
    key("on", Shape::TransitionMap, "Transitions by event type; `*` and `a.*` are wildcards, `{}` forbids the event."),
    key("always", Shape::Transitions, "Eventless transitions, tried after every step."),
    key(
        "after",
        Shape::TransitionMap,
        "Delayed transitions by milliseconds, a duration such as `5s`, or the name of a delay.",
    ),
    key("entry", Shape::Actions, "Actions taken when the state is entered."),
    key("exit", Shape::Actions, "Actions taken when the state is left."),
    key("invoke", Shape::Invokes, "Machines that run while the state is active."),
    key("onDone", Shape::Transitions, "Transitions taken when the state is done."),
    key("tags", Shape::Strings, "Tags shown while the state is active."),
    key("meta", Shape::Object, "Anything; kept, not interpreted."),
    key("description", Shape::String, "Text for people."),
    key("output", Shape::Value, "Output of a final state or, on the root, of the machine."),
    key("history", Shape::HistoryKind, "Makes a history state: `shallow` or `deep`."),
    key("target", Shape::Strings, "Where a history state leads when nothing is recorded."),
    key("route", Shape::Route, "Lets `{\"type\":\"xstate.route\",\"to\":\"#id\"}` enter the state directly."),
];

/// Further keys of the root.
pub(crate) const ROOT: &[Key] = &[
    key("@exprLang", Shape::Language, "Language of expressions without `@lang`: `cel`."),
    key("context", Shape::Object, "The context an instance starts with; expressions see `input`."),
    key("actions", Shape::ActionDefinitions, "Named actions; a name used elsewhere expands in place."),
    key("guards", Shape::GuardDefinitions, "Named guards."),
    key(
        "delays",
        Shape::DelayDefinitions,
        "Named delays: milliseconds, a duration such as `\"5s\"`, or an expression that gives either.",
    ),
    key(
        "actors",
        Shape::Value,
        "XState 6's list of the machines that `src` names, whose code JSON cannot carry; kept, not interpreted.",
    ),
    key("version", Shape::String, "The definition's own version, kept for people."),
    key("input", Shape::Value, "Reserved for a description of the input; kept, not interpreted."),
    key("schemas", Shape::Value, "Reserved for schemas; kept, not interpreted."),
    key("types", Shape::Value, "XState 5's place for TypeScript's types; kept, not interpreted."),
    key("$schema", Shape::String, "The JSON Schema for editors."),
];

pub(crate) const TRANSITION: &[Key] = &[
    key(
        "target",
        Shape::Strings,
        "Where to go: a sibling's key path, `.child`, `#id` or `#id.path`; several for parallel regions.",
    ),
    key("guard", Shape::Guard, "The transition is taken only if this is true."),
    key("actions", Shape::Actions, "Actions taken between exits and entries."),
    key("reenter", Shape::Boolean, "Exit and enter the source even if the target is the source or inside it."),
    key("context", Shape::Object, "Assigned to the context before the actions."),
    key("description", Shape::String, "Text for people."),
    key("meta", Shape::Object, "Anything; kept, not interpreted."),
];

pub(crate) const INITIAL: &[Key] = &[
    required("target", Shape::String, "Key of the child that is entered by default."),
    key("actions", Shape::Actions, "Actions taken when the default is used."),
    key("description", Shape::String, "Text for people."),
    key("meta", Shape::Object, "Anything; kept, not interpreted."),
];

pub(crate) const INVOKE: &[Key] = &[
    required("src", Shape::String, "Id of a machine that is already defined, in the version that is the newest then."),
    key("id", Shape::String, "Name of the child; by default INDEX.STATE_ID."),
    key("input", Shape::Value, "The child's input."),
    key("onDone", Shape::Transitions, "Taken when the child is done; `event.output` is its output."),
    key("onError", Shape::Transitions, "Taken when the child fails; without it the failure is this machine's too."),
    key("onSnapshot", Shape::Transitions, "Taken after each of the child's steps; `event.snapshot` is its snapshot."),
    key("systemId", Shape::String, "Kept, not interpreted."),
    key("description", Shape::String, "Text for people."),
    key("meta", Shape::Object, "Anything; kept, not interpreted."),
];

pub(crate) const ROUTE: &[Key] = &[
    key("guard", Shape::Guard, "The route is open only if this is true."),
    key("reenter", Shape::Boolean, "Enter the state again if it is active."),
    key("actions", Shape::Actions, "Actions taken between exits and entries."),
    key("description", Shape::String, "Text for people."),
    key("meta", Shape::Object, "Anything; kept, not interpreted."),
];

pub(crate) const EXPRESSION: &[Key] = &[
    required("@expr", Shape::String, "The expression's text."),
    key("@lang", Shape::Language, "The expression's language."),
];

pub(crate) const EFFECT: &[Key] = &[
    required("type", Shape::String, "Name of a root action, or of an effect that is reported."),
    key("params", Shape::Value, "Parameters; expressions see `context` and `event`."),
];

pub(crate) const NAMED_GUARD: &[Key] = &[
    required("type", Shape::String, "Name of a root guard."),
    key("params", Shape::Value, "Parameters, `params` inside the guard."),
];

/// A built-in action or guard: its type and its keys (`type` aside).
pub(crate) struct BuiltIn {
    pub(crate) name: &'static str,
    pub(crate) keys: &'static [Key],
    pub(crate) about: &'static str,
}

impl BuiltIn {
    /// Whether `name` is this type without what it begins with: `assign`, and `xstate.assign` too, for `@xstate.assign`.
    pub(crate) fn is_named_short(&self, name: &str) -> bool {
        let rest = self.name.strip_suffix(name);
        rest.is_some_and(|rest| matches!(rest, "@" | "xstate." | "@xstate."))
    }

    /// Whether one of these keys is one of its own.
    pub(crate) fn has_one_of<'k>(&self, mut keys: impl Iterator<Item = &'k str>) -> bool {
        keys.any(|key| self.keys.iter().any(|own| own.name == key))
    }
}

pub(crate) const BUILT_IN_ACTIONS: &[BuiltIn] = &[
    BuiltIn {
        name: "@xstate.assign",
        keys: &[required("context", Shape::Object, "The keys to set, or one expression that gives them.")],
        about: "Sets keys of the context; all values see the context as it was.",
    },
    BuiltIn {
        name: "@xstate.raise",
        keys: &[
            required("event", Shape::Object, "The event, with its `type`."),
            key(
                "delay",
                Shape::Delay,
                "Milliseconds, a duration such as `\"5s\"`, the name of a delay, or an expression.",
            ),
            key("id", Shape::Value, "Name by which `@xstate.cancel` finds it."),
        ],
        about: "Puts an event in the machine's own queue, now or later.",
    },
    BuiltIn {
        name: "@xstate.cancel",
        keys: &[required("id", Shape::Value, "The id given to the delayed event.")],
        about: "Cancels a delayed event.",
    },
    BuiltIn {
        name: "@xstate.emit",
        keys: &[required("event", Shape::Object, "The event, with its `type`.")],
        about: "Reports an event to whoever watches the instance.",
    },
    BuiltIn {
        name: "@xstate.log",
        keys: &[key("args", Shape::Value, "What to log.")],
        about: "Reports values for a log.",
    },
    BuiltIn {
        name: "@xstate.sendTo",
        keys: &[
            key("to", Shape::Value, "A child's id, `#_parent`, or nothing for the machine itself."),
            required("event", Shape::Object, "The event, with its `type`."),
            key(
                "delay",
                Shape::Delay,
                "Milliseconds, a duration such as `\"5s\"`, the name of a delay, or an expression.",
            ),
            key("id", Shape::Value, "Name by which `@xstate.cancel` finds it."),
        ],
        about: "Sends an event to a child or to the parent.",
    },
    BuiltIn {
        name: "@xstate.spawnChild",
        keys: &[
            required(
                "src",
                Shape::String,
                "Id of a machine that is already defined, in the version that is the newest then.",
            ),
            key("id", Shape::Value, "Name of the child."),
            key("input", Shape::Value, "The child's input."),
            key("syncSnapshot", Shape::Boolean, "Send `xstate.snapshot.ID` after each of the child's steps."),
        ],
        about: "Starts a machine as a child that lives until it is stopped or done.",
    },
    BuiltIn {
        name: "@xstate.stopChild",
        keys: &[required("id", Shape::Value, "The child's id.")],
        about: "Stops a child.",
    },
];

pub(crate) const BUILT_IN_GUARDS: &[BuiltIn] = &[
    BuiltIn {
        name: "xstate.and",
        keys: &[required("guards", Shape::Guards, "All of these must be true.")],
        about: "True if all guards are.",
    },
    BuiltIn {
        name: "xstate.or",
        keys: &[required("guards", Shape::Guards, "One of these must be true.")],
        about: "True if any guard is.",
    },
    BuiltIn {
        name: "xstate.not",
        keys: &[required("guards", Shape::Guards, "Exactly one guard.")],
        about: "True if the guard is not.",
    },
    BuiltIn {
        name: "xstate.stateIn",
        keys: &[
            key("id", Shape::String, "Id of a state, without `#`; `id.path` too."),
            key("stateValue", Shape::Value, "A state value that must match."),
        ],
        about: "True if the state is active.",
    },
];

/// A key that other versions of XState have: refused rather than ignored, since a definition without it means
/// something else.
pub(crate) struct Foreign {
    pub(crate) name: &'static str,
    /// A key of the objects in which it would stand.
    pub(crate) beside: &'static str,
    pub(crate) instead: &'static str,
}

const fn foreign(name: &'static str, beside: &'static str, instead: &'static str) -> Foreign {
    Foreign { name, beside, instead }
}

pub(crate) const FOREIGN: &[Foreign] = &[
    // XState 6.
    foreign("choice", "states", "use a state with guarded `always` transitions"),
    foreign("timeout", "states", "use `after`"),
    foreign("onTimeout", "states", "use `after`"),
    foreign("onError", "states", "put `onError` on the `invoke` it is for"),
    // XState 4.
    foreign("cond", "guard", "in XState 5 it is `guard`"),
    foreign("in", "guard", "in XState 5 it is a guard: {\"type\": \"xstate.stateIn\", \"id\": ...}"),
    foreign("internal", "reenter", "in XState 5 it is `reenter`, which says the opposite"),
    foreign("activities", "invoke", "XState 5 has none: use `invoke`, or effects on `entry` and `exit`"),
    foreign("services", "actors", "define the machines by themselves; `src` names them"),
    foreign("data", "output", "in XState 5 it is `output`"),
    foreign("data", "input", "in XState 5 it is `input`"),
];
