// Guards and actions of a random machine, over its features, named parts and context.

import { Expressions, randomContext } from './expressions.mjs';
import { dotted, stateId } from './tree.mjs';
import { DELAYS, EVENTS, RAISED, TIMER_IDS } from './vocabulary.mjs';

export class Actions {
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
    // XState takes the dots of a state value's keys for a path, those of the value that the machine has among them.
    const dots = () => this.nodes.some(({ path }) => path.some((key) => key.includes('.')));
    if (random.chance(0.6) || !target.parent || dots()) return { type: 'xstate.stateIn', id: stateId(target) };
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
}
