// Actions and guards of a definition.

import { describe, describeGuard, nameOf } from './builtins.mjs';
import { parse, refuse, sourceOf, stately } from './javascript.mjs';
import { placeOf } from './functions.mjs';
import { stateValue } from './targets.mjs';

/** Writes the actions and guards of one machine, and gathers those that have names under the root. */
export class Actions {
  /** `isData` says that functions cannot stand in what is given: it is JSON. `known` are names that it gives a meaning itself. */
  constructor({ functions, implementations, actors, delays, report, isData = false, known = {} }) {
    Object.assign(this, { functions, implementations, actors, delays, report, isData, known });
    this.roots = { actions: new Map(), guards: new Map() };
    /** Functions by the type of their effect: two of one name are two effects. */
    this.types = new Map();
  }

  /** `where` is the place, `key` what an action without a name is called, `outcome` what `event.data` is. */
  list(given, at) {
    const actions = given === undefined ? [] : Array.isArray(given) ? given : [given];
    return actions.flatMap((action, index) => this.one(action, { ...at, where: actions.length > 1 ? `${at.where}.${index}` : at.where }));
  }

  one(action, at) {
    const name = typeof action === 'string' ? action : action?.type;
    const code = stately(name);
    if (code !== undefined) return [this.leave(code, at, 'an action that is code: write what it does, or name it')];
    if (isInline(name)) return [this.leave(name, at, 'an action without its code: name it')];
    const lost = this.isData ? this.lost(action, name) : undefined;
    if (lost !== undefined) return [this.leave(name, at, lost)];
    const described = describe(action);
    return this[described.kind](described, at);
  }

  /** Why JSON does not have all of one of XState's own actions: their functions are not in it. */
  lost(action, name) {
    const isNamed = this.implementations.actions?.[name] !== undefined || this.known[name] !== undefined;
    if (isNamed || typeof name !== 'string') return undefined;
    const own = BUILT_IN[name.replace(/^xstate\./, '')];
    if (own === undefined || own.needs.some((key) => isThere(action[key]))) return undefined;
    // An effect may be called so, if it says something.
    const isAlone = typeof action === 'string' || Object.keys(action).every((key) => key === 'type');
    if (!name.startsWith('xstate.') && !isAlone) return undefined;
    return `\`${name}\` is an action of XState, and this says nothing of what it does: ${own.write}`;
  }

  leave(source, at, message) {
    this.report({ path: at.where, kind: 'todo', message, source });
    return placeOf(source);
  }

  none() {
    return [];
  }

  own({ own }, at) {
    return [this.functions.template(own, at.where, at.outcome)];
  }

  refused({ reason, source }, at) {
    return [this.leave(source, at, reason)];
  }

  assign({ assignment }, at) {
    const context = this.functions.assignment(assignment, `${at.where}.context`, at.outcome);
    return [{ type: '@xstate.assign', context }];
  }

  raise({ event, ...timing }, at) {
    return [{ type: '@xstate.raise', event: this.event(event, at), ...this.timing(timing, at) }];
  }

  sendTo({ to, event, ...timing }, at) {
    const written = { event: this.event(event, at), ...this.timing(timing, at) };
    if (to === undefined || to === '#_internal') return [{ type: '@xstate.sendTo', ...written }];
    if (typeof to === 'string' && to.startsWith('#_')) return [{ type: '@xstate.sendTo', to, ...written }];
    const name = typeof to === 'string' ? this.actors.effectOf(to) : undefined;
    if (name !== undefined) return [{ type: `${name}.event`, params: { event: written.event } }];
    if (typeof to === 'string') return [{ type: '@xstate.sendTo', to, ...written }];
    if (typeof to === 'function' && /^\(?\{?\s*self\s*\}?\)?\s*=>\s*self$/.test(String(to))) return [{ type: '@xstate.sendTo', ...written }];
    return [this.leave(typeof to === 'function' ? sourceOf(to) : 'an actor', at, 'it sends to an actor that is kept somewhere: name a child by its id')];
  }

  emit({ event }, at) {
    return [{ type: '@xstate.emit', event: this.event(event, at) }];
  }

  cancel({ id }, at) {
    return [{ type: '@xstate.cancel', id: this.functions.template(id, at.where, at.outcome) }];
  }

  log({ value, label }, at) {
    const args = [...(label === undefined ? [] : [label]), this.functions.template(value, at.where, at.outcome)];
    return [{ type: '@xstate.log', args }];
  }

  spawnChild({ src, id, input, syncSnapshot }, at) {
    const actor = this.actors.find(src, { id, key: at.key });
    const given = input === undefined ? {} : { input: this.functions.template(input, at.where, at.outcome) };
    if (actor.kind !== 'machine') return [this.spawned(actor, id, given, at)];
    const name = id === undefined ? {} : { id: this.functions.template(id, at.where, at.outcome) };
    return [{ type: '@xstate.spawnChild', src: actor.name, ...name, ...given, ...(syncSnapshot ? { syncSnapshot } : {}) }];
  }

  /** A spawned actor that is no machine: the watching program reports its end with an event of the machine's own, as there is no `xstate.done.actor`. */
  spawned({ kind, name }, id, given, at) {
    if (typeof id === 'string') this.actors.effects.set(id, name);
    const what = kind === 'unknown' ? 'an actor' : `a ${kind}`;
    const message = `${what} that is spawned: the effect \`${name}\` is for a program that watches; what it is to be told of, send as an event of yours, as there is no \`xstate.done.actor\` of it`;
    this.report({ path: at.where, kind: 'effect', message });
    return Object.keys(given).length === 0 ? { type: name } : { type: name, params: given };
  }

  stopChild({ id }, at) {
    const name = typeof id === 'string' ? this.actors.effectOf(id) : undefined;
    if (name !== undefined) return [{ type: `${name}.stop` }];
    return [{ type: '@xstate.stopChild', id: typeof id === 'string' ? id : this.functions.template(id, at.where, at.outcome) }];
  }

  event(event, at) {
    if (typeof event === 'string') return { type: event };
    return this.functions.template(event, `${at.where}.event`, at.outcome);
  }

  timing({ delay, id }, at) {
    const written = {};
    if (delay !== undefined) written.delay = typeof delay === 'string' ? this.delays(delay) : this.functions.template(delay, `${at.where}.delay`, at.outcome);
    if (id !== undefined && id !== '') written.id = id;
    return written;
  }

  /** A function: an effect of its name, given what it reads. */
  function({ run, name }, at) {
    return [this.effect(name ?? this.typeOf(run, nameOf(run, at.key)), run, undefined, at)];
  }

  /** The name itself, and a number behind it from the second function of that name on: those of one place have all the place's name. */
  typeOf(run, name) {
    const known = this.types.get(name) ?? [];
    this.types.set(name, known);
    const index = known.includes(run) ? known.indexOf(run) : known.push(run) - 1;
    return index === 0 ? name : `${name}.${index + 1}`;
  }

  effect(type, run, params, at) {
    const reads = this.functions.reads(run, at.where, at.outcome);
    if ('@code' in reads) return reads;
    this.report({ path: at.where, kind: 'effect', message: `the effect \`${type}\` is for a program that watches`, source: sourceOf(run) });
    const all = { ...reads, ...params };
    for (const [key, given] of Object.entries(reads)) {
      if (/^params\b/.test(given['@expr'])) delete all[key];
    }
    return Object.keys({ ...all, ...params }).length === 0 ? { type } : { type, params: { ...all, ...params } };
  }

  /** A name: an effect, or an action of the root if it is made of built-in ones. */
  named(described, at) {
    const { name } = described;
    const params = described.params === undefined ? undefined : this.functions.template(described.params, `${at.where}.params`, at.outcome);
    const made = this.implementations.actions?.[name];
    const inner = made === undefined ? { kind: 'none' } : describe(made);
    if (inner.kind === 'function') return [this.effect(name, inner.run, params, at)];
    const use = (type) => (params === undefined ? [type] : [{ type, params }]);
    if (inner.kind === 'none') return use(name).map((action) => (typeof action === 'string' ? { type: name } : action));
    return use(this.root('actions', name, at, (where) => this.one(made, { ...at, where, key: name })));
  }

  /** The name under which something stands at the root: what reads `event.data` differently has one of its own. */
  root(map, name, at, write) {
    const key = `${name}\0${at.outcome ?? ''}`;
    const known = this.roots[map].get(key);
    if (known !== undefined) return known.name;
    const isFirst = ![...this.roots[map].keys()].some((other) => other.startsWith(`${name}\0`));
    const entry = { name: isFirst ? name : `${name}.${at.outcome ?? 'plain'}` };
    this.roots[map].set(key, entry);
    entry.body = write(`${map}.${entry.name}`);
    if (map === 'actions' && entry.body.length === 1) [entry.body] = entry.body;
    return entry.name;
  }

  /** `enqueueActions` with nothing but a sequence. */
  enqueue({ collect }, at) {
    const found = this.functions.left(collect, at.where, () => {
      const node = parse(collect);
      const scope = this.functions.scope(node, at.outcome);
      const statements = node.body.type === 'BlockStatement' ? node.body.body : [{ type: 'ExpressionStatement', expression: node.body }];
      return { actions: statements.map((statement) => this.enqueued(statement, scope)) };
    });
    return found.actions ?? [found];
  }

  enqueued(statement, scope) {
    const call = statement.type === 'ExpressionStatement' ? statement.expression : undefined;
    if (call?.type !== 'CallExpression') refuse('`enqueueActions` decides what to do: give each case a transition with a guard of its own');
    const { callee, arguments: args } = call;
    const json = (node) => this.functions.inner(node, scope);
    if (callee.type === 'Identifier' && callee.name === 'enqueue') {
      const given = json(args[0]);
      return typeof given === 'string' ? this.named({ kind: 'named', name: given }, { where: 'enqueueActions', key: given })[0] : given;
    }
    if (callee.type !== 'MemberExpression' || callee.object.name !== 'enqueue') refuse('`enqueueActions` does something besides enqueueing');
    switch (callee.property.name) {
      case 'assign':
        if (args[0]?.type === 'ObjectExpression') this.functions.assignsAll(args[0], scope);
        return { type: '@xstate.assign', context: json(args[0]) };
      case 'raise':
        return { type: '@xstate.raise', event: json(args[0]), ...(args[1] === undefined ? {} : json(args[1])) };
      case 'emit':
        return { type: '@xstate.emit', event: json(args[0]) };
      case 'sendTo':
        return { type: '@xstate.sendTo', to: json(args[0]), event: json(args[1]), ...(args[2] === undefined ? {} : json(args[2])) };
      case 'cancel':
        return { type: '@xstate.cancel', id: json(args[0]) };
      case 'stopChild':
        return { type: '@xstate.stopChild', id: json(args[0]) };
      default:
        return refuse(`\`enqueue.${callee.property.name}\` has no counterpart`);
    }
  }

  guard(guard, at) {
    const code = stately(guard) === undefined ? guard?.type : guard;
    if (typeof guard !== 'function' && stately(code) !== undefined) return this.functions.condition(code, at.where, at.outcome);
    const described = describeGuard(guard);
    const many = () => described.guards.map((inner, index) => this.guard(inner, { ...at, where: `${at.where}.guards.${index}` }));
    switch (described.kind) {
      case 'and':
      case 'or':
        return { type: `xstate.${described.kind}`, guards: many() };
      case 'not':
        return { type: 'xstate.not', guards: many() };
      case 'stateIn':
        return this.stateIn(described.state);
      case 'function':
        return this.functions.condition(described.test, at.where, at.outcome);
      case 'own':
        return this.functions.template(described.own, at.where, at.outcome);
      default:
        return this.namedGuard(described, at);
    }
  }

  stateIn(state) {
    if (typeof state === 'string' && state.startsWith('#')) return { type: 'xstate.stateIn', id: state.slice(1) };
    return { type: 'xstate.stateIn', stateValue: typeof state === 'string' ? stateValue(state) : state };
  }

  namedGuard({ name, params }, at) {
    const made = this.implementations.guards?.[name];
    const written = params === undefined ? undefined : this.functions.template(params, `${at.where}.params`, at.outcome);
    // A guard without an implementation is refused by `check`, at this place.
    const type = made === undefined ? name : this.root('guards', name, at, (where) => ({ when: this.guard(made, { ...at, where }) }));
    return written === undefined ? type : { type, params: written };
  }

  /** The root's maps of names. */
  maps() {
    const body = (map) => Object.fromEntries([...this.roots[map].values()].map((entry) => [entry.name, entry.body]));
    return { guards: body('guards'), actions: body('actions') };
  }
}

/** Stately's export names an action that has no name by its place. */
function isInline(name) {
  return /^inline:/.test(name);
}

/** XState's actions, the keys of which one says what is done, and what to write instead. */
const BUILT_IN = {
  assign: { needs: ['assignment', 'context'], write: 'write `@xstate.assign` with its `context`' },
  raise: { needs: ['event'], write: 'write `@xstate.raise` with its `event`' },
  send: { needs: ['event'], write: 'write `@xstate.raise` or `@xstate.sendTo` with its `event`' },
  sendTo: { needs: ['event'], write: 'write `@xstate.sendTo` with `to` and its `event`' },
  sendParent: { needs: ['event'], write: 'write `@xstate.sendTo` with `"to": "#_parent"` and its `event`' },
  forwardTo: { needs: [], write: 'write `@xstate.sendTo` with `to` and the `event`' },
  respond: { needs: [], write: 'write `@xstate.sendTo` with `to` and the `event`' },
  escalate: { needs: [], write: 'write `@xstate.sendTo` with `"to": "#_parent"` and an `event`' },
  sendUpdate: { needs: [], write: 'write `@xstate.sendTo` with `"to": "#_parent"` and an `event`' },
  cancel: { needs: ['sendId', 'id'], write: 'write `@xstate.cancel` with its `id`' },
  emit: { needs: ['event'], write: 'write `@xstate.emit` with its `event`' },
  log: { needs: ['value', 'expr', 'label', 'args'], write: 'write `@xstate.log` with its `args`' },
  spawnChild: { needs: ['src'], write: 'write `@xstate.spawnChild` with its `src`' },
  stopChild: { needs: ['actorRef', 'id'], write: 'write `@xstate.stopChild` with its `id`' },
  stop: { needs: ['activity', 'id'], write: 'write `@xstate.stopChild` with its `id`' },
  enqueueActions: { needs: [], write: 'write its actions one by one' },
  choose: { needs: ['conds'], write: 'give each case a transition with a guard of its own' },
  pure: { needs: [], write: 'write its actions, each in a transition with a guard' }
};

/** Functions leave nothing, or an empty object, in JSON. */
function isThere(value) {
  return value !== undefined && value !== null && !(typeof value === 'object' && Object.keys(value).length === 0);
}
