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
    Choice,
    Own,
    Matches,
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
    key("initial", Shape::Initial, "The child that is entered by default, by its key or `#id`."),
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
    key(
        "onError",
        Shape::Transitions,
        "Taken where an expression has no value, or a child fails that has no `onError` of its own, while the state is active; \
         `event.error` says why.",
    ),
    key(
        "timeout",
        Shape::Delay,
        "For how long the state may be active: milliseconds, a duration, the name of a delay, or an expression.",
    ),
    key("onTimeout", Shape::Transitions, "Transitions taken when `timeout` is over."),
    key("choice", Shape::Choice, "Of a state of type `choice`: where it leads at once."),
    key("tags", Shape::Strings, "Tags shown while the state is active."),
    key("meta", Shape::Object, "Anything; kept, not interpreted."),
    key("description", Shape::String, "Text for people."),
    key("output", Shape::Value, "Output of a final state or, on the root, of the machine."),
    key("input", Shape::Value, "Reserved for a description of the input; kept, not interpreted."),
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
    key("actorSources", Shape::Value, "The same as `actors`."),
    key("@statemesh", Shape::Own, "What is Statemesh's own, and no part of the chart."),
    key("version", Shape::String, "The definition's own version, kept for people."),
    key("schemas", Shape::Value, "Reserved for schemas; kept, not interpreted."),
    key("types", Shape::Value, "XState 5's place for TypeScript's types; kept, not interpreted."),
    key("$schema", Shape::String, "The JSON Schema for editors."),
];

/// A key of `@statemesh`, and the values of it that this version can honour, as JSON.
pub(crate) struct OwnKey {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    pub(crate) honoured: &'static [&'static str],
    /// A time such as `1h` can be honoured too.
    pub(crate) is_time: bool,
}

const fn own(name: &'static str, honoured: &'static [&'static str], about: &'static str) -> OwnKey {
    OwnKey { name, about, honoured, is_time: false }
}

/// All that is planned has its name here, so that a document for a later version is refused rather than misread.
pub(crate) const OWN: &[OwnKey] = &[
    own(
        "durability",
        &[r#""memory""#, r#""disk""#],
        "Where instances are kept: `memory`, or `disk`, where what was acknowledged outlives the daemon's process. It belongs to the machine's \
         id: its first definition decides. Without it the daemon's setting `durability` says so.",
    ),
    own("timers", &[r#"{"catchUp":"late"}"#], "A timer that is overdue fires once, as soon as it can."),
    own("journal", &["false"], "Whether payloads of events are kept."),
    OwnKey {
        is_time: true,
        ..own(
            "keep",
            &[r#""forever""#],
            "For how long an instance stays that is done, failed or stopped; then it is removed, as by `delete`. Without it the daemon's \
             `limits.keep` says so, 1 h. Where there are nearly `limits.instances`, the oldest of these go earlier, but for those with dedup tokens.",
        )
    },
    own(
        "faults",
        &[r#""hold""#, r#""fail""#],
        "What becomes of an expression without a value that no `onError` handles: `hold` refuses the event and holds the timer, `fail` \
         ends the instance with the status `error`, as XState does.",
    ),
    own(
        "engineEvents",
        &["true"],
        "Whether clients may send the engine's own events, `xstate.*`: without it that takes the right `engine`. The newest version of the machine decides.",
    ),
    own("effects", &["{}"], "Which effects are tasks: none."),
    own("sends", &["[]"], "Which machines it may send to by key: none."),
    own("migrations", &["{}"], "How instances of other versions come to this one: they do not."),
    own("feed", &["false"], "Whether changes are kept."),
];

pub(crate) const TRANSITION: &[Key] = &[
    key(
        "target",
        Shape::Strings,
        "Where to go: a sibling's key path, `.child`, `#id` or `#id.path`; several for parallel regions.",
    ),
    key("guard", Shape::Guard, "The transition is taken only if this is true."),
    key(
        "matches",
        Shape::Matches,
        "The transition is taken only if these fields of the event have these values, which are no objects or arrays.",
    ),
    key("actions", Shape::Actions, "Actions taken between exits and entries."),
    key("reenter", Shape::Boolean, "Exit and enter the source even if the target is the source or inside it."),
    key("context", Shape::Object, "Assigned to the context before the actions."),
    key("description", Shape::String, "Text for people."),
    key("meta", Shape::Object, "Anything; kept, not interpreted."),
];

pub(crate) const INITIAL: &[Key] = &[
    required("target", Shape::String, "Key of the child that is entered by default, or its `#id`."),
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
    key(
        "timeout",
        Shape::Delay,
        "For how long the machine may run while the state is active: milliseconds, a duration, or an expression.",
    ),
    key("onTimeout", Shape::Transitions, "Taken when `timeout` is over."),
    key("systemId", Shape::String, "Kept, not interpreted."),
    key("registryKey", Shape::String, "Kept, not interpreted: `check` warns of it."),
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

/// One branch of a `choice`.
pub(crate) const BRANCH: &[Key] = &[
    key("when", Shape::Guard, "The branch is taken only if this is true; the last may do without."),
    required("target", Shape::Strings, "Where to go."),
    key("context", Shape::Object, "Assigned to the context."),
    key("reenter", Shape::Boolean, "As of a transition."),
    key("description", Shape::String, "Text for people."),
    key("meta", Shape::Object, "Anything; kept, not interpreted."),
];

/// What a state of type `choice` cannot have: it is left as soon as it is entered.
pub(crate) const NOT_OF_A_CHOICE: &[&str] = &[
    "initial",
    "states",
    "on",
    "always",
    "after",
    "entry",
    "exit",
    "invoke",
    "onDone",
    "onError",
    "timeout",
    "onTimeout",
    "history",
    "target",
    "output",
];

/// An entry of the root's `guards` that is no guard itself.
pub(crate) const GUARD_DEFINITION: &[Key] = &[required("when", Shape::Guard, "The guard.")];

/// An entry of the root's `delays` that is no delay itself.
pub(crate) const DELAY_DEFINITION: &[Key] = &[required("duration", Shape::Delay, "The delay.")];

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
        about: "Reports an event to the programs that watch the instance.",
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
        keys: &[
            key("guards", Shape::Guards, "Exactly one guard."),
            key("params", Shape::Value, "Instead: `{\"guard\": ...}`, as XState 6 has it."),
        ],
        about: "True if the guard is not.",
    },
    BuiltIn {
        name: "xstate.stateIn",
        keys: &[
            key("id", Shape::String, "Id of a state, without `#`; `id.path` too."),
            key("stateValue", Shape::Value, "A state value that must match."),
            key("params", Shape::Value, "Instead of both: `{\"stateId\": \"#id\"}`, as XState 6 has it."),
        ],
        about: "True if the state is active.",
    },
];

/// An action of another version of XState, or one of its functions, which JSON cannot carry: what to write instead.
pub(crate) struct ForeignAction {
    pub(crate) name: &'static str,
    pub(crate) instead: &'static str,
    /// An effect of a user's own is hardly called like this.
    pub(crate) is_distinct: bool,
}

impl ForeignAction {
    /// Whether it is a built-in action without its prefix.
    pub(crate) fn is_built_in(&self) -> bool {
        BUILT_IN_ACTIONS.iter().any(|built_in| built_in.is_named_short(self.name))
    }
}

const fn foreign_action(name: &'static str, is_distinct: bool, instead: &'static str) -> ForeignAction {
    ForeignAction { name, instead, is_distinct }
}

pub(crate) const FOREIGN_ACTIONS: &[ForeignAction] = &[
    foreign_action("send", false, "use @xstate.sendTo, or @xstate.raise for the machine itself"),
    foreign_action("sendParent", true, "use @xstate.sendTo with \"to\": \"#_parent\""),
    foreign_action("respond", false, "use @xstate.sendTo: \"to\" names who asked"),
    foreign_action("forwardTo", true, "use @xstate.sendTo with \"event\": {\"@expr\": \"event\"}"),
    foreign_action("escalate", true, "use @xstate.sendTo with \"to\": \"#_parent\", or let an expression fail"),
    foreign_action("choose", true, "give guards to transitions, or use ?: in the expressions of one action"),
    foreign_action("pure", true, "write the actions themselves; what they need is computed by expressions"),
    foreign_action("enqueueActions", true, "write the actions themselves; guards decide on transitions"),
    foreign_action("start", false, "use `invoke`, or @xstate.spawnChild"),
    foreign_action("stop", false, "use @xstate.stopChild"),
    foreign_action("spawn", false, "use @xstate.spawnChild"),
    foreign_action("invoke", false, "use `invoke`"),
    foreign_action("error", false, "let an expression fail"),
    foreign_action("nullEvent", false, "use `always`"),
    // Built-in ones without their prefix, as Stately exports them. What may as well be an effect of the user's own (`log`, `emit`, `cancel`) is
    // not among them.
    foreign_action("assign", true, "write {\"type\": \"@xstate.assign\", \"context\": ...}"),
    foreign_action("raise", true, "write {\"type\": \"@xstate.raise\", \"event\": ...}"),
    foreign_action("sendTo", true, "write {\"type\": \"@xstate.sendTo\", \"to\": ..., \"event\": ...}"),
    foreign_action("spawnChild", true, "write {\"type\": \"@xstate.spawnChild\", \"src\": ...}"),
    foreign_action("stopChild", true, "write {\"type\": \"@xstate.stopChild\", \"id\": ...}"),
];

/// A key that other versions of XState have: refused rather than ignored, since a definition without it means
/// something else.
pub(crate) struct Foreign {
    pub(crate) name: &'static str,
    /// A key of the objects in which it would stand.
    pub(crate) beside: &'static str,
    pub(crate) instead: &'static str,
    /// How a diagnostic is called that says so.
    pub(crate) code: &'static str,
}

const fn foreign(name: &'static str, beside: &'static str, instead: &'static str) -> Foreign {
    Foreign { name, beside, instead, code: "unsupported_key" }
}

/// What is called so where a definition was written for XState 4: there is a way to have it put into today's words.
pub const XSTATE4: &str = "xstate4_key";

const fn of_four(name: &'static str, beside: &'static str, instead: &'static str) -> Foreign {
    Foreign { code: XSTATE4, ..foreign(name, beside, instead) }
}

pub(crate) const FOREIGN: &[Foreign] = &[
    // XState 6: a state's input, and functions that `serializeMachine` writes as code.
    foreign("input", "reenter", "put it into the context: entry actions do not see an input"),
    foreign("input", "target", "put it into the context: entry actions do not see an input"),
    foreign("to", "guard", "write \"target\", \"guard\" and \"actions\": a function cannot be read"),
    foreign("guard", "when", "in a branch it is `when`"),
    foreign("actions", "when", "a branch has no actions: put them on `entry` of its target"),
    foreign(
        "internalEvents",
        "schemas",
        "leave it out: a client's event is no other than the machine's own, unless a guard tells them apart",
    ),
    // XState 4 and before.
    of_four("autoForward", "src", "send the child its events: @xstate.sendTo with \"event\": {\"@expr\": \"event\"}"),
    of_four("forward", "src", "send the child its events: @xstate.sendTo with \"event\": {\"@expr\": \"event\"}"),
    of_four("parallel", "states", "write \"type\": \"parallel\""),
    of_four("key", "states", "a state's key is its name in `states`; `id` gives it another name for targets"),
    of_four("cond", "guard", "in XState 5 it is `guard`"),
    of_four("in", "guard", "in XState 5 it is a guard: {\"type\": \"xstate.stateIn\", \"id\": ...}"),
    of_four("internal", "reenter", "in XState 5 it is `reenter`, which says the opposite"),
    of_four("onEntry", "entry", "in XState 5 it is `entry`"),
    of_four("onExit", "exit", "in XState 5 it is `exit`"),
    of_four("activities", "invoke", "XState 5 has none: use `invoke`, or effects on `entry` and `exit`"),
    of_four("services", "actors", "define the machines by themselves; `src` names them"),
    of_four("data", "output", "in XState 5 it is `output`"),
    of_four("data", "input", "in XState 5 it is `input`"),
];
