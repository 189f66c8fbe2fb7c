// A random machine, and events for it, from a seed.

import { Expressions, randomContext } from './expressions.mjs';
import { chooseFeatures } from './features.mjs';
import { mix, Random } from './random.mjs';
import { absoluteTarget, dotted, grow, nameTarget, stateId } from './tree.mjs';

const EVENTS = ['E', 'F', 'G', 'a.b', 'a.b.c', 'a.c'];
const RAISED = ['R', 'S', 'a.b'];
const WILDCARDS = ['*', 'a.*', 'a.b.*'];
const SYSTEM_WILDCARDS = ['xstate.*', 'xstate.done.*', 'xstate.after.*', 'xstate.done.state.*'];
const DELAYS = [5, 5, 10, 10, 20, 20, 25, 25, 0];
const ADVANCES = [0, 5, 5, 10, 10, 20, 30, 60];
const CHILDREN = ['child0', 'child1'];
const TIMER_IDS = ['t0', 't1'];

class Generator {
  /** `role` is the name of a machine that others invoke; its effects carry it. `children` are those it may invoke. */
  constructor(random, features, role, children) {
    this.random = random;
    this.features = features;
    this.role = role;
    this.childIds = [];
    this.invokes = 0;
    this.children = features.has('children') ? children : [];
    this.effects = 0;
    const { types, values } = randomContext(random);
    this.types = types;
    this.contextValues = values;
    this.expressions = new Expressions(random, { context: types, faults: features.has('faults') });
    this.namedGuards = features.has('namedGuards') ? ['g0', 'g1', 'g2'].slice(0, random.between(1, 3)) : [];
    this.namedActions = features.has('namedActions') ? ['act0', 'act1', 'act2'].slice(0, random.between(1, 3)) : [];
    this.namedDelays = features.has('after') && random.chance(0.6) ? ['d0', 'd1'] : [];
  }

  has(feature, probability = 1) {
    return this.features.has(feature) && this.random.chance(probability);
  }

  machine() {
    const { random } = this;
    const root = (this.root = grow(random, this.features, this.role));
    this.nodes = root.all;
    for (const node of this.nodes) this.describe(node);
    const json = this.assemble(root);
    if (random.chance(0.05)) json['@exprLang'] = 'cel';
    json.context = this.context();
    if (this.namedGuards.length) json.guards = this.guardMap();
    if (this.namedActions.length) json.actions = this.actionMap();
    if (this.namedDelays.length) json.delays = this.delayMap();
    if (this.has('outputs', 0.7)) json.output = this.rootOutput();
    return json;
  }

  assemble(node) {
    const { random } = this;
    const json = {};
    if (node.explicitId) json.id = node.explicitId;
    if (node.type !== 'atomic' && (node.type !== 'compound' || random.chance(0.1))) json.type = node.type;
    Object.assign(json, node.json);
    if (node.children.length) {
      json.states = Object.fromEntries(node.children.map((child) => [child.key, this.assemble(child)]));
    }
    return json;
  }

  context() {
    if (!this.has('input')) return this.contextValues;
    const fromInput = this.random.pick(["input != null && 'v' in input ? input.v : 3", 'input == null ? 7 : has(input.v) ? input.v + 1 : 0']);
    return { ...this.contextValues, n: { '@expr': fromInput } };
  }

  describe(node) {
    const { random } = this;
    const { json } = node;
    if (node.type === 'history') return this.describeHistory(node);
    this.invokeAt(node);
    if (node.type === 'compound') json.initial = this.initial(node);
    if (random.chance(0.55)) json.entry = this.actions(this.expressions, `in:${node.path.join('.')}`);
    if (random.chance(0.45)) json.exit = this.actions(this.expressions, `out:${node.path.join('.')}`);
    if (this.has('tags', 0.4)) json.tags = this.has('shorthands', 0.3) ? random.pick(['x', 'y']) : random.some(['x', 'y', 'z'], 2);
    if (this.has('meta', 0.3)) {
      json.meta = { note: 'm' };
      json.description = 'd';
    }
    if (this.has('route', 0.4) && node.explicitId && node.parent) json.route = this.route();
    if (node.type === 'final') {
      if (this.has('outputs', 0.7)) json.output = this.expressions.value() ?? 'null';
      return;
    }
    this.transitionsOf(node);
  }

  route() {
    const route = {};
    if (this.has('guards', 0.4)) route.guard = this.guard();
    return route;
  }

  describeHistory(node) {
    const { random } = this;
    const { json, parent } = node;
    const kind = random.pick(['shallow', 'deep', true, undefined, 'deep']);
    if (kind !== undefined) json.history = kind;
    const candidates = parent.all.filter((other) => other !== parent && other.isReal);
    // Without a target in a parallel state, XState can reach an illegal configuration; without one as the initial
    // state of its parent, a history state would lead back to itself.
    if (parent.type === 'parallel' || node.isInitial || random.chance(0.6)) {
      const target = random.pick(candidates);
      json.target = random.chance(0.5) ? absoluteTarget(target) : dotted(target.path.slice(parent.path.length));
    }
  }

  initial(node) {
    const { random } = this;
    const candidates = node.children.filter((child) => (child.isReal && child.type !== 'final') || this.has('initialHistory', 0.5));
    const chosen = candidates.length ? random.pick(candidates) : node.children.find((child) => child.isReal);
    chosen.isInitial = true;
    const { key } = chosen;
    if (!this.has('initialActions', 0.5)) return key;
    return { target: key, actions: this.actions(this.expressions) };
  }

  transitionsOf(node) {
    const { random } = this;
    const { json } = node;
    const isRoot = node.parent === undefined;
    if (!isRoot || this.features.has('rootTransitions')) {
      const on = {};
      for (const descriptor of this.descriptors(node)) on[descriptor] = this.transitions(node);
      if (Object.keys(on).length) json.on = on;
    }
    if (isRoot) return;
    if (this.has('always', 0.3)) json.always = this.alwaysOf(node);
    if (this.has('after', 0.4)) {
      json.after = {};
      for (let count = random.between(1, 2); count > 0; count--) json.after[this.afterKey()] = objectsInArrays(this.transitions(node, 0.7));
    }
    if (node.children.some(({ type }) => type === 'final') || (node.type === 'parallel' && this.has('finals', 0.6))) {
      if (random.chance(0.7)) json.onDone = this.transitions(node, 0.6);
    }
  }

  /** Invokes a machine, perhaps two; notes which children an action in this state can count on. */
  invokeAt(node) {
    const { random } = this;
    node.childIds = [...(node.parent?.childIds ?? [])];
    if (node.isActive && this.children.length && random.chance(node.parent ? 0.3 : 0.2)) {
      const list = Array.from({ length: random.chance(0.15) ? 2 : 1 }, () => this.invoke(node));
      node.json.invoke = list.length === 1 && random.chance(0.7) ? list[0] : list;
    }
    this.childIds = node.childIds;
  }

  invoke(node) {
    const { random } = this;
    const json = { src: random.pick(this.children) };
    if (random.chance(0.8)) {
      json.id = `c${this.invokes++}`;
      node.childIds.push(json.id);
    }
    if (random.chance(0.4)) json.input = { v: this.expressions.wrap(this.expressions.int(1)) };
    if (random.chance(0.7)) json.onDone = this.transitions(node, 0.6);
    if (random.chance(0.8)) json.onError = this.transitions(node, 0.6);
    if (random.chance(0.3)) json.onSnapshot = this.transitions(node, 0.3);
    return json;
  }

  descriptors(node) {
    const { random } = this;
    const chosen = new Set(random.some(EVENTS, random.between(0, 4)));
    if (this.features.has('raise') || this.features.has('delayedRaise')) random.some(RAISED, random.between(0, 2)).forEach((event) => chosen.add(event));
    if (this.has('wildcards', 0.5)) chosen.add(random.pick(WILDCARDS));
    if (this.has('systemWildcards', 0.2)) chosen.add(random.pick(SYSTEM_WILDCARDS));
    if (this.has('finals', 0.1)) chosen.add(`xstate.done.state.${random.pick(this.nodes).id}`);
    return [...chosen];
  }

  afterKey() {
    const { random } = this;
    return this.namedDelays.length && random.chance(0.35) ? random.pick(this.namedDelays) : String(random.pick(DELAYS));
  }

  /** The value of an `on`, `after` or `onDone` entry. */
  transitions(node, targeted = 0.75) {
    const { random } = this;
    if (this.has('forbidden', 0.12)) return random.pick([{}, []]);
    const count = random.weighted([[6, 1], [3, 2], [1, 3]]);
    const list = Array.from({ length: count }, (_, index) => this.transition(node, { targeted, guarded: index < count - 1 ? 0.9 : 0.35 }));
    return list.length === 1 && this.has('shorthands', 0.6) ? list[0] : list.map((item) => item);
  }

  alwaysOf(node) {
    const { random } = this;
    const list = Array.from({ length: random.chance(0.2) ? 2 : 1 }, () => this.eventless(node));
    return list.length === 1 && this.has('shorthands', 0.5) ? list[0] : list;
  }

  /** Mostly one that counts itself out: `n` only grows in machines that use `always`. */
  eventless(node) {
    const { random } = this;
    const json = this.transition(node, { targeted: 0.85, guarded: 0.9, forward: true });
    if (typeof json === 'string' || random.chance(0.15)) return json;
    const limit = `context.n < ${random.between(2, 6)}`;
    json.guard = { '@expr': random.chance(0.5) ? limit : `${limit} && ${this.expressions.bool(1)}` };
    json.actions = [{ type: '@xstate.assign', context: { n: { '@expr': 'context.n + 1' } } }, ...[json.actions ?? []].flat()];
    return json;
  }

  transition(node, { targeted, guarded, forward = false }) {
    const { random } = this;
    const json = {};
    if (this.nodes.length > 1 && random.chance(targeted)) json.target = this.targets(node, forward);
    if (this.has('guards', guarded)) json.guard = this.guard();
    if (random.chance(0.5)) json.actions = this.actions(this.expressions);
    if (json.target === `#${this.root.id}` || (Array.isArray(json.target) && json.target.includes(`#${this.root.id}`))) {
      json.reenter = true;
    } else if (this.has('reenter', 0.3)) {
      json.reenter = random.chance(0.85);
    }
    if (this.has('meta', 0.1)) json.description = 't';
    const keys = Object.keys(json);
    if (keys.length === 1 && keys[0] === 'target' && typeof json.target === 'string' && this.has('shorthands', 0.7)) return json.target;
    return json;
  }

  targets(node, forward) {
    const { random } = this;
    if (!forward && this.has('multipleTargets', 0.25)) {
      const several = this.severalTargets(node);
      if (several) return several;
    }
    if (!forward && node.parent && this.has('rootTargets', 0.1)) return `#${this.root.id}`;
    const target = this.target(node, forward);
    const name = nameTarget(random, this.features, node, target);
    return random.chance(0.06) ? [name] : name;
  }

  target(node, forward) {
    const { random } = this;
    let candidates = this.nodes.filter((other) => other.parent);
    if (forward && random.chance(0.8)) {
      const later = candidates.slice(candidates.indexOf(node) + 1);
      if (later.length) candidates = later;
    }
    if (random.chance(0.45)) {
      const near = candidates.filter((other) => other.parent === node.parent || other.within(node));
      if (near.length) candidates = near;
    }
    // Completed machines ignore what follows: most targets are not top-level final states.
    if (random.chance(0.4)) {
      const open = candidates.filter((other) => other.type !== 'final' || other.parent.parent);
      if (open.length) candidates = open;
    }
    if (this.has('history', 0.25)) {
      const remembered = candidates.filter(({ type }) => type === 'history');
      if (remembered.length) candidates = remembered;
    }
    return random.pick(candidates);
  }

  /** Targets in different regions of one parallel state. */
  severalTargets(node) {
    const { random } = this;
    const parallels = this.nodes.filter(({ type }) => type === 'parallel');
    if (!parallels.length) return undefined;
    const regions = random.pick(parallels).children.filter(({ isReal }) => isReal);
    const chosen = random.some(regions, random.between(2, regions.length));
    return chosen.map((region) => nameTarget(random, this.features, node, random.pick(region.all)));
  }

  guard(depth = 2) {
    const { random } = this;
    if (depth > 0 && this.has('composedGuards', 0.4)) return this.composedGuard(depth);
    if (this.has('stateIn', 0.2)) return this.stateIn();
    if (this.namedGuards.length && random.chance(0.5)) return this.guardCall(random.pick(this.namedGuards));
    return this.expressions.wrap(this.expressions.bool());
  }

  guardCall(name) {
    if (this.has('shorthands', 0.3) && name !== 'g1') return name;
    return name === 'g1' ? { type: name, params: { p: this.expressions.wrap(this.expressions.int(1)) } } : { type: name };
  }

  composedGuard(depth) {
    const { random } = this;
    const inner = (count) => Array.from({ length: count }, () => this.guard(depth - 1));
    const type = random.pick(['xstate.and', 'xstate.or', 'xstate.not']);
    return { type, guards: inner(type === 'xstate.not' ? 1 : random.between(1, 3)) };
  }

  stateIn() {
    const { random } = this;
    const target = random.pick(this.nodes.filter(({ isReal }) => isReal));
    // XState takes the dots of a state value's keys for a path.
    if (random.chance(0.6) || !target.parent || target.path.some((key) => key.includes('.'))) return { type: 'xstate.stateIn', id: stateId(target) };
    const { path } = target;
    if (random.chance(0.4)) return { type: 'xstate.stateIn', stateValue: dotted(path) };
    const nested = path.slice(0, -1).reduceRight((value, key) => ({ [key]: value }), path[path.length - 1]);
    return { type: 'xstate.stateIn', stateValue: nested };
  }

  /** A list of actions; `mark` is an effect that shows where it ran. */
  actions(expressions, mark, names = this.namedActions) {
    const { random } = this;
    const list = Array.from({ length: random.weighted([[3, 0], [5, 1], [3, 2], [1, 3]]) }, () => this.action(expressions, names));
    if (mark) mark = `${this.role}${mark}`;
    if (mark && random.chance(0.8)) list.splice(random.below(list.length + 1), 0, random.chance(0.5) ? mark : { type: mark });
    return list.length === 1 && this.has('shorthands', 0.4) ? list[0] : list;
  }

  action(expressions, names) {
    const { random } = this;
    const choices = [[4, () => ({ type: `${this.role}e${this.effects++}` })]];
    const add = (feature, weight, make) => this.features.has(feature) && choices.push([weight, make]);
    add('params', 1.5, () => ({ type: `${this.role}e${this.effects++}`, params: expressions.value() }));
    add('assign', 3, () => this.assign(expressions));
    add('raise', 0.5, () => ({ type: '@xstate.raise', event: this.event(RAISED, expressions) }));
    add('delayedRaise', 1, () => this.delayedRaise(expressions));
    add('cancel', 0.7, () => ({ type: '@xstate.cancel', id: random.chance(0.15) ? expressions.wrap("'t' + string(context.n % 2)") : random.pick(TIMER_IDS) }));
    add('sendSelf', 0.6, () => ({ type: '@xstate.sendTo', event: this.event(RAISED, expressions) }));
    add('emit', 1, () => ({ type: '@xstate.emit', event: this.event(['N', 'O'], expressions) }));
    add('log', 1, () => ({ type: '@xstate.log', args: [expressions.value(1), expressions.value(1)].slice(random.below(2)) }));
    if (this.children.length) choices.push([1.2, () => this.childAction(expressions)]);
    if (this.role) choices.push([0.8, () => ({ type: '@xstate.sendTo', to: '#_parent', event: this.event(EVENTS, expressions) })]);
    if (names.length) choices.push([2, () => this.actionCall(random.pick(names), expressions)]);
    return random.weighted(choices)();
  }

  childAction(expressions) {
    const { random } = this;
    const ids = random.chance(0.04) ? ['s0', 'c0'] : this.childIds;
    const kind = random.weighted([[1, 'spawn'], [ids.length ? 4 : 0, 'send'], [0.7, 'stop']]);
    if (kind === 'spawn') return { type: '@xstate.spawnChild', src: random.pick(this.children), id: 's0' };
    if (kind === 'stop') return { type: '@xstate.stopChild', id: random.pick([...ids, 's0', 's0']) };
    const action = { type: '@xstate.sendTo', to: random.pick(ids), event: this.event(EVENTS, expressions) };
    if (this.has('delayedRaise', 0.2)) {
      action.delay = random.pick(DELAYS);
      if (random.chance(0.5)) action.id = random.pick(TIMER_IDS);
    }
    return action;
  }

  actionCall(name, expressions) {
    if (name !== 'act1') return this.random.chance(0.5) ? name : { type: name };
    return { type: name, params: { p: expressions.wrap(expressions.int(1)) } };
  }

  assign(expressions) {
    const { random } = this;
    const keys = random.some(Object.keys(this.types), random.between(1, 2));
    const context = Object.fromEntries(keys.map((key) => [key, expressions.wrap(expressions.of(this.types[key]))]));
    if (random.chance(0.15)) context.k = random.chance(0.5) ? random.between(0, 9) : expressions.wrap(expressions.int(1));
    if (this.features.has('always')) context.n = { '@expr': 'context.n + 1' };
    else if (random.chance(0.06)) return { type: '@xstate.assign', context: { '@expr': `{'n': ${expressions.int(1)}}` } };
    return { type: '@xstate.assign', context };
  }

  delayedRaise(expressions) {
    const { random } = this;
    const action = { type: '@xstate.raise', event: this.event(RAISED, expressions), delay: random.pick(DELAYS) };
    if (this.namedDelays.length && random.chance(0.2)) action.delay = random.pick(this.namedDelays);
    else if (random.chance(0.15)) action.delay = expressions.wrap('(context.n % 3) * 5');
    if (random.chance(0.6)) action.id = random.pick(TIMER_IDS);
    return action;
  }

  event(types, expressions) {
    const { random } = this;
    const event = { type: random.pick(types) };
    if (random.chance(0.4)) event.v = random.chance(0.5) ? random.between(0, 5) : expressions.wrap(expressions.int(1));
    return event;
  }

  guardMap() {
    const { random } = this;
    const plain = this.expressions;
    const named = plain.withParams();
    const bodies = {
      g0: () => plain.wrap(plain.bool()),
      g1: () => named.wrap(named.bool()),
      g2: () => (random.chance(0.5) ? { type: 'xstate.not', guards: ['g0'] } : { type: 'xstate.or', guards: [{ type: 'g0' }, plain.wrap(plain.bool())] })
    };
    return Object.fromEntries(this.namedGuards.map((name) => [name, { when: bodies[name]() }]));
  }

  actionMap() {
    this.childIds = [];
    // Each may call those after it, so that no definition is circular.
    const order = ['act2', 'act1', 'act0'];
    const entries = this.namedActions.map((name) => {
      const callable = order.slice(0, order.indexOf(name)).filter((other) => this.namedActions.includes(other));
      const expressions = name === 'act1' ? this.expressions.withParams() : this.expressions;
      return [name, this.actions(expressions, undefined, callable)];
    });
    return Object.fromEntries(entries);
  }

  delayMap() {
    const { random } = this;
    const dynamic = { duration: { '@expr': `(context.n % 4) * 10 + ${random.pick([0, 5])}` } };
    return { d0: random.pick(DELAYS), d1: random.pick([random.pick(DELAYS), { duration: random.pick(DELAYS) }, dynamic]) };
  }

  rootOutput() {
    const { random } = this;
    return random.pick([
      { '@expr': "'output' in event ? event.output : 'none'" },
      { n: { '@expr': 'context.n' }, fixed: [1, 'x'] },
      { '@expr': 'event.type' },
      7
    ]);
  }

  events(length) {
    const { random } = this;
    const targets = this.nodes.filter((node) => node.explicitId && node.parent);
    const known = [...new Set(this.nodes.flatMap((node) => Object.keys(node.json.on ?? {})))].filter((type) => !type.includes('*') && !type.startsWith('xstate.'));
    return Array.from({ length }, () => {
      if (random.chance(this.timed() ? 0.3 : 0.02)) return { type: '@advance', ms: random.pick(ADVANCES) };
      if (this.has('route', 0.3) && targets.length) return { type: 'xstate.route', to: `#${random.pick(targets).id}` };
      if (this.has('systemEvents', 0.15)) return { type: random.pick(['xstate.stop', 'xstate.init', `xstate.done.state.${random.pick(this.nodes).id}`]) };
      if (this.has('errorEvents', 0.1)) return { type: 'xstate.error.actor.x', error: 'broken' };
      return this.input(random.chance(0.75) && known.length ? known : EVENTS);
    });
  }

  timed() {
    return this.features.has('after') || this.features.has('delayedRaise');
  }

  input(types) {
    const { random } = this;
    const event = { type: random.pick(random.chance(0.06) ? ['Z', 'a', 'R', 'S'] : types) };
    if (random.chance(0.5)) event.v = random.between(0, 5);
    if (random.chance(0.2)) event.w = random.pick(['w', 'ww']);
    if (random.chance(0.2)) event.b = random.chance(0.5);
    return event;
  }
}

/** In the arrays of `after`, and only there, XState mistakes strings for transitions without a target. */
function objectsInArrays(transitions) {
  if (!Array.isArray(transitions)) return transitions;
  return transitions.map((item) => (typeof item === 'string' ? { target: item } : item));
}

/** The machines that may be invoked; each may invoke those before it. */
function childMachines(random, names, switches) {
  const machines = {};
  for (const name of names) {
    const features = chooseFeatures(random, switches);
    machines[name] = new Generator(random, features, name, Object.keys(machines)).machine();
  }
  return machines;
}

/** The `index`-th case of a seed: `{machine, events, input?, machines?}`. */
export function generate(seed, index, switches = {}) {
  const random = new Random(mix(seed, index));
  const features = chooseFeatures(random, switches);
  const generator = new Generator(random, features, '', CHILDREN.slice(0, random.between(1, 2)));
  const machine = generator.machine();
  const generated = { machine, events: generator.events(random.between(6, 16)) };
  if (generator.children.length) generated.machines = childMachines(random, generator.children, switches);
  if (features.has('input')) generated.input = random.pick([{}, { v: 2 }, { v: 0, w: 'x' }]);
  return generated;
}
