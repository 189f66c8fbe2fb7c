// What only XState 6 has, in XState 5's words.

import { list } from './actors.mjs';
import { quote } from './scope.mjs';

const UNITS = { ms: 1, s: 1_000, m: 60_000, min: 60_000, h: 3_600_000, d: 86_400_000 };

/** Milliseconds of `250ms`, `1.5s` or `PT5S`; nothing for anything else. */
export function milliseconds(written) {
  const text = written.trim();
  const short = /^([0-9]+(?:\.[0-9]+)?)(ms|s|m|min|h|d)$/.exec(text);
  if (short !== null) return Math.ceil(Number(short[1]) * UNITS[short[2]]);
  const iso = /^P(?:([0-9.]+)D)?(?:T(?:([0-9.]+)H)?(?:([0-9.]+)M)?(?:([0-9.]+)S)?)?$/.exec(text);
  if (iso === null || text.length < 3) return undefined;
  const [days, hours, minutes, seconds] = iso.slice(1).map((part) => Number(part ?? 0));
  return Math.ceil(days * UNITS.d + hours * UNITS.h + minutes * UNITS.m + seconds * UNITS.s);
}

class Lowering {
  constructor(definition) {
    this.delays = { ...definition.delays };
  }

  root({ '@statemesh': own, actors: _actors, actorSources: _sources, schemas: _schemas, types: _types, $schema, ...definition }) {
    const lowered = this.state(definition, [definition.id ?? '(machine)']);
    if (definition.actions !== undefined) lowered.actions = mapValues(definition.actions, (body) => this.actions(body));
    if (definition.guards !== undefined) lowered.guards = mapValues(definition.guards, (guard) => ({ when: this.guard(guard?.when ?? guard) }));
    for (const [name, delay] of Object.entries(this.delays)) {
      const duration = delay?.duration ?? delay;
      this.delays[name] = typeof duration === 'string' ? (milliseconds(duration) ?? duration) : delay;
    }
    if (Object.keys(this.delays).length > 0) lowered.delays = this.delays;
    if (own !== undefined) lowered.meta = { ...lowered.meta, statemesh: own };
    return lowered;
  }

  state(state, path) {
    const { choice, timeout, onTimeout, onError, states, after, ...lowered } = state;
    if (onError !== undefined) throw new Error(`${path.join('.')}: XState 5 has no \`onError\` of states`);
    for (const key of ['entry', 'exit']) {
      if (lowered[key] !== undefined) lowered[key] = this.actions(lowered[key]);
    }
    for (const key of ['always', 'onDone']) {
      if (lowered[key] !== undefined) lowered[key] = this.transitions(lowered[key]);
    }
    if (lowered.on !== undefined) lowered.on = mapValues(lowered.on, (value) => this.transitions(value));
    if (lowered.invoke !== undefined) lowered.invoke = list(lowered.invoke).map((invoke) => this.invoke(invoke, path));
    if (choice !== undefined) {
      delete lowered.type;
      lowered.always = list(choice).map(({ when, ...branch }) => this.transition(when === undefined ? branch : { ...branch, guard: when }));
    }
    const delayed = Object.entries(after ?? {}).map(([delay, value]) => [this.delay(delay), this.transitions(value)]);
    if (timeout !== undefined) delayed.push([this.timeout(timeout, path), this.transitions(onTimeout ?? {})]);
    if (delayed.length > 0) lowered.after = Object.fromEntries(delayed);
    if (states !== undefined) lowered.states = mapValues(states, (child, key) => this.state(child, [...path, key]));
    return lowered;
  }

  delay(delay) {
    return delay in this.delays ? delay : (milliseconds(delay) ?? delay);
  }

  timeout(timeout, path) {
    if (typeof timeout === 'number') return timeout;
    if (typeof timeout === 'string') return this.delay(timeout);
    const name = `timeout of ${path.join('.')}`;
    this.delays[name] = { duration: timeout?.duration ?? timeout };
    return name;
  }

  invoke({ timeout, onTimeout: _, ...invoke }, path) {
    if (timeout !== undefined) throw new Error(`${path.join('.')}: XState 5 has no \`timeout\` of \`invoke\``);
    for (const key of ['onDone', 'onError', 'onSnapshot']) {
      if (invoke[key] !== undefined) invoke[key] = this.transitions(invoke[key]);
    }
    return invoke;
  }

  actions(actions) {
    return list(actions).map((action) => this.action(action));
  }

  action(action) {
    // XState 6's action that is an expression: what it gives is assigned.
    if (typeof action['@expr'] === 'string') {
      const given = action['@expr'];
      return { type: '@xstate.assign', context: { '@expr': `has((${given}).context) ? (${given}).context : {}` } };
    }
    return typeof action.delay === 'string' ? { ...action, delay: this.delay(action.delay) } : action;
  }

  /** XState 6's spellings of `not` and `stateIn`. */
  guard(guard) {
    if (guard?.type === 'xstate.not') return { type: guard.type, guards: [this.guard(guard.params?.guard ?? list(guard.guards)[0])] };
    if (guard?.type === 'xstate.and' || guard?.type === 'xstate.or') return { ...guard, guards: guard.guards.map((inner) => this.guard(inner)) };
    if (guard?.type === 'xstate.stateIn' && guard.params !== undefined) return { type: guard.type, id: guard.params.stateId.replace(/^#/, '') };
    return guard;
  }

  transitions(value) {
    return Array.isArray(value) ? value.map((item) => this.transition(item)) : this.transition(value);
  }

  transition(value) {
    if (typeof value !== 'object') return value;
    const { matches, context, ...lowered } = value;
    if (lowered.guard !== undefined) lowered.guard = this.guard(lowered.guard);
    if (lowered.actions !== undefined) lowered.actions = this.actions(lowered.actions);
    if (matches !== undefined) lowered.guard = both(asked(matches), lowered.guard);
    if (context !== undefined) lowered.actions = [{ type: '@xstate.assign', context }, ...list(lowered.actions)];
    return lowered;
  }
}

function asked(matches) {
  const literal = (value) => (typeof value === 'string' ? quote(value) : JSON.stringify(value));
  return { '@expr': Object.entries(matches).map(([key, value]) => `${quote(key)} in event && event[${quote(key)}] == ${literal(value)}`).join(' && ') || 'true' };
}

function both(first, second) {
  return second === undefined ? first : { type: 'xstate.and', guards: [first, second] };
}

function mapValues(object, change) {
  return Object.fromEntries(Object.entries(object).map(([key, value]) => [key, change(value, key)]));
}

/** A definition that XState 5 has words for. */
export function lower(definition) {
  return new Lowering(definition).root(definition);
}
