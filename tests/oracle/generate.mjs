// A random machine, and events for it, from a seed.

import { chooseFeatures } from './features.mjs';
import { mix, Random } from './random.mjs';
import { Transitions } from './transitions.mjs';
import { absoluteTarget, dotted, grow } from './tree.mjs';
import { ADVANCES, CHILDREN, DELAYS, EVENTS, RAISED, SYSTEM_WILDCARDS, WILDCARDS } from './vocabulary.mjs';

class Generator extends Transitions {
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
