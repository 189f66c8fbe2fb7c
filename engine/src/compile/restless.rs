//! Loops that take no time: each step starts the next one, by a timer of no delay or by an event that is raised with a delay of 0. An
//! instance in such a loop takes a core of its daemon for as long as it lives.
//!
//! Followed is what the definition says for certain: events whose type is a constant, targets that are no history states, machines without
//! parallel states. A loop whose guards read what it assigns may end by itself, and is not reported.

use super::Compiler;
use crate::event_names::EventIx;
use crate::machine::{Action, Assignment, Delay, EventTemplate, Guard, Machine, Plan, Transition, TransitionIx};
use crate::state::StateKind;
use crate::state_set::StateIx;
use statemesh_expr::Str;
use std::collections::HashMap;

/// Moments that are looked at in one machine at most; a machine that has more is not searched to the end.
const MOMENTS_MAX: usize = 20_000;

/// A leaf that is active, and an event that is due there at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Moment {
    leaf: StateIx,
    event: EventIx,
}

/// A transition that may be taken at a moment, and a moment that it leads to.
#[derive(Debug, Clone, Copy)]
struct Step {
    from: Moment,
    transition: TransitionIx,
    to: Moment,
}

impl Compiler<'_> {
    pub(super) fn lint_restless(&mut self, machine: &Machine) {
        if machine.features.parallel {
            return;
        }
        let mut search = Search { machine, seen: HashMap::new() };
        for start in starts(machine) {
            for circle in search.circles_from(start) {
                self.warn_restless(machine, &circle);
            }
        }
    }

    fn warn_restless(&mut self, machine: &Machine, circle: &[Step]) {
        let Some(first) = circle.first() else { return };
        let tried: Vec<&Transition> = circle.iter().flat_map(|step| tried(machine, step)).collect();
        let guarded: Vec<&Transition> = tried.into_iter().filter(|transition| transition.guard.is_some()).collect();
        if self.is_full() || may_end(machine, &guarded, circle) {
            return;
        }
        let is_timer = |step: &Step| machine.events.name(step.from.event).starts_with("xstate.after.");
        let what = if circle.iter().all(is_timer) { "transitions after no time" } else { "events without delay" };
        let (how_long, way_out) = match guarded.len() {
            0 => ("without end", "a delay or a guard"),
            1 if circle.iter().any(|step| machine.transition(step.transition).guard.is_some()) => {
                ("as long as the guard holds", "a delay")
            }
            _ => ("as long as the guards on the way say the same", "a delay"),
        };
        let message = format!("from {:?} {what} lead back to it {how_long}", machine.state(first.from.leaf).id);
        let hint =
            format!("each step starts the next one at once, which keeps a core busy: give one on the way {way_out}");
        self.warn_at(machine.transition(first.transition).offset, "endless_after", message, &hint);
    }
}

/// How far a moment has been looked at.
enum Seen {
    /// It is on the way that is being followed, at this place.
    OnTheWay(usize),
    /// All that follows from it is known.
    Settled,
}

struct Search<'m> {
    machine: &'m Machine,
    seen: HashMap<Moment, Seen>,
}

/// A moment on the way, and which of its steps is followed.
struct Followed {
    moment: Moment,
    steps: Vec<Step>,
    next: usize,
}

impl Search<'_> {
    /// The circles that are found from a moment on, as a search in depth meets them; it is no recursion, as a chain may be long.
    fn circles_from(&mut self, start: Moment) -> Vec<Vec<Step>> {
        let (mut circles, mut way) = (Vec::new(), Vec::new());
        self.follow(start, &mut way);
        while let Some(last) = way.last_mut() {
            let Some(step) = last.steps.get(last.next).copied() else {
                self.seen.insert(last.moment, Seen::Settled);
                way.pop();
                continue;
            };
            last.next += 1;
            match self.seen.get(&step.to) {
                Some(Seen::OnTheWay(begin)) => {
                    let circle = way.iter().skip(*begin).filter_map(|one| one.steps.get(one.next.checked_sub(1)?));
                    circles.push(circle.copied().collect());
                }
                Some(Seen::Settled) => {}
                None => self.follow(step.to, &mut way),
            }
        }
        circles
    }

    fn follow(&mut self, moment: Moment, way: &mut Vec<Followed>) {
        if self.seen.len() < MOMENTS_MAX && !self.seen.contains_key(&moment) {
            self.seen.insert(moment, Seen::OnTheWay(way.len()));
            way.push(Followed { moment, steps: steps(self.machine, moment), next: 0 });
        }
    }
}

/// Where a loop can begin: what is due when a leaf is entered, and what a transition raises.
fn starts(machine: &Machine) -> Vec<Moment> {
    let mut found = Vec::new();
    let leaves = || (0..machine.states.len() as StateIx).filter(|leaf| machine.is_atomic(*leaf));
    for leaf in leaves() {
        let entered = std::iter::once(leaf).chain(machine.ancestors(leaf));
        let mut due = Due::default();
        entered.for_each(|state| due.of(machine, &machine.state(state).entry));
        found.extend(due.events.iter().map(|event| Moment { leaf, event: *event }));
    }
    for transition in &machine.transitions {
        let mut due = Due::default();
        due.of(machine, &transition.actions);
        if due.events.is_empty() {
            continue;
        }
        let is_source =
            |leaf: &StateIx| *leaf == transition.source || machine.is_descendant(*leaf, Some(transition.source));
        for leaf in leaves().filter(is_source).filter_map(|leaf| leads_to(machine, transition, leaf)) {
            found.extend(due.events.iter().map(|event| Moment { leaf, event: *event }));
        }
    }
    found
}

/// The steps from a moment: each transition that may be taken, with each event that is due after it.
fn steps(machine: &Machine, from: Moment) -> Vec<Step> {
    let mut steps = Vec::new();
    for index in candidates(machine, from) {
        let transition = machine.transition(index);
        let Some(leaf) = leads_to(machine, transition, from.leaf) else { continue };
        let due = due_after(machine, transition);
        if due.is_in_the_same_step || rests_not(machine, leaf) {
            continue;
        }
        steps.extend(due.events.iter().map(|event| Step {
            from,
            transition: index,
            to: Moment { leaf, event: *event },
        }));
    }
    steps
}

/// The transitions that a moment may take, in order, up to one that is certain.
fn candidates(machine: &Machine, Moment { leaf, event }: Moment) -> Vec<TransitionIx> {
    let name = machine.events.name(event);
    let states = std::iter::once(leaf).chain(machine.ancestors(leaf));
    let all = states.flat_map(|state| machine.state(state).reactions.candidates(Some(event), name));
    let mut found = Vec::new();
    for index in all {
        found.push(index);
        if machine.transition(index).guard.is_none() {
            break;
        }
    }
    found
}

/// The transitions that are tried for a step, up to its own.
fn tried<'m>(machine: &'m Machine, step: &Step) -> Vec<&'m Transition> {
    let candidates = candidates(machine, step.from);
    let last = candidates.iter().position(|index| *index == step.transition).unwrap_or(0);
    candidates.iter().take(last + 1).map(|index| machine.transition(*index)).collect()
}

/// The leaf that is active after a transition from a leaf. `None`: it depends on history.
fn leads_to(machine: &Machine, transition: &Transition, leaf: StateIx) -> Option<StateIx> {
    if transition.targets.as_deref().is_none_or(<[StateIx]>::is_empty) {
        return Some(leaf);
    }
    let plan = transition.plan.as_ref()?;
    match plan.enter.is_empty() {
        true => Some(leaf),
        false => plan.enter.iter().map(|(state, _)| *state).find(|state| machine.is_atomic(*state)),
    }
}

/// Whether a leaf may be left before anything that is due: by `always`, or because it is final.
fn rests_not(machine: &Machine, leaf: StateIx) -> bool {
    let mut states = std::iter::once(leaf).chain(machine.ancestors(leaf)).map(|state| machine.state(state));
    states.any(|state| state.kind == StateKind::Final || !state.reactions.always.is_empty())
}

/// What actions make due.
#[derive(Default)]
struct Due {
    /// By timers of no delay, and by events that are raised with a delay of 0.
    events: Vec<EventIx>,
    /// An event is raised without a delay, which is taken before any other.
    is_in_the_same_step: bool,
}

impl Due {
    fn of(&mut self, machine: &Machine, actions: &[Action]) {
        for action in actions {
            match action {
                Action::StartAfter(after) => {
                    let after = machine.afters.get(*after as usize);
                    let at_once = after.filter(|after| matches!(after.delay, Delay::Constant(0)));
                    self.events.extend(at_once.map(|after| after.event));
                }
                Action::Raise { delay: None, .. } => self.is_in_the_same_step = true,
                Action::Raise {
                    event: EventTemplate::Constant { kind, .. }, delay: Some(Delay::Constant(0)), ..
                } => {
                    self.events.push(*kind);
                }
                // Named actions lead to each other, but never back: that is refused.
                Action::Call { action, .. } => self.of(machine, &machine.named.action(*action).body),
                _ => {}
            }
        }
    }
}

fn due_after(machine: &Machine, transition: &Transition) -> Due {
    let mut due = Due::default();
    actions_of(machine, transition).for_each(|actions| due.of(machine, actions));
    due
}

/// The lists of actions that a transition runs, but for those of what it exits.
fn actions_of<'m>(machine: &'m Machine, transition: &'m Transition) -> impl Iterator<Item = &'m [Action]> {
    let entered = transition.plan.iter().flat_map(|plan: &Plan| plan.enter.iter());
    let inside = entered.flat_map(|(state, with_initial)| {
        let state = machine.state(*state);
        let initial = state.initial.as_ref().filter(|_| *with_initial).map(|initial| &*initial.actions);
        std::iter::once(&*state.entry).chain(initial)
    });
    std::iter::once(&*transition.actions).chain(inside)
}

/// Whether what the steps of a circle assign is read by its guards: it may end by itself then.
fn may_end(machine: &Machine, guarded: &[&Transition], circle: &[Step]) -> bool {
    let mut read = Vec::new();
    guarded
        .iter()
        .filter_map(|transition| transition.guard.as_ref())
        .for_each(|guard| sources(machine, guard, &mut read));
    let is_read = |key: &Str| read.iter().any(|source| source.contains(key.as_str()));
    let transitions = circle.iter().map(|step| machine.transition(step.transition));
    let mut lists = transitions.flat_map(|transition| actions_of(machine, transition));
    !read.is_empty() && lists.any(|actions| assigns(machine, actions, &is_read))
}

/// The texts of all expressions of a guard.
fn sources<'m>(machine: &'m Machine, guard: &'m Guard, into: &mut Vec<&'m str>) {
    match guard {
        Guard::Expression(program) => into.push(program.source()),
        Guard::Call { guard, params } => {
            params.iter().for_each(|params| params.sources(into));
            sources(machine, &machine.named.guard(*guard).body, into);
        }
        Guard::And(inner) | Guard::Or(inner) => inner.iter().for_each(|guard| sources(machine, guard, into)),
        Guard::Not(inner) => sources(machine, inner, into),
        Guard::StateIn(_) | Guard::Matches(_) | Guard::NoBranch(_) | Guard::Route(_) => {}
    }
}

/// Whether actions assign one of these keys, or any key there is.
fn assigns(machine: &Machine, actions: &[Action], is_one: &dyn Fn(&Str) -> bool) -> bool {
    actions.iter().any(|action| match action {
        Action::Assign(Assignment::Fields(fields)) => fields.iter().any(|field| is_one(&field.key)),
        Action::Assign(Assignment::Whole(_) | Assignment::Patch(_)) => true,
        Action::Call { action, .. } => assigns(machine, &machine.named.action(*action).body, is_one),
        _ => false,
    })
}
