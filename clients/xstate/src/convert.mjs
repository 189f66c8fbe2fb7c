// A definition as a configuration of XState 5, whose functions evaluate the expressions.
//
// Nothing is imported here: the caller brings XState and an evaluator, as the oracle of the tests does with its own.

/** An expression has no value: the machine that evaluates it ends with the status `error`, as with a function that throws. */
export class ExpressionFault extends Error {}

export function isExpression(value) {
  return value !== null && typeof value === 'object' && typeof value['@expr'] === 'string';
}

/** True where a JSON value contains an expression at any depth. */
export function isDynamic(value) {
  if (isExpression(value)) return true;
  if (Array.isArray(value)) return value.some(isDynamic);
  return value !== null && typeof value === 'object' && Object.values(value).some(isDynamic);
}

/** Drops undefined values, which XState puts into its own events: CEL has no such value. */
export function defined(value) {
  if (value === null || typeof value !== 'object' || Array.isArray(value)) return value;
  return Object.fromEntries(Object.entries(value).filter(([, item]) => item !== undefined));
}

function list(value) {
  if (value === undefined) return [];
  return Array.isArray(value) ? value : [value];
}

/** One machine being converted. */
class Conversion {
  constructor(machine, { library, actors, evaluate }) {
    this.machine = machine;
    this.x = library;
    this.actors = actors;
    this.evaluate = evaluate;
  }

  /** The value of a template: JSON with `{"@expr": ...}` at any depth. */
  resolve(template, scope) {
    if (isExpression(template)) return this.evaluate(template['@expr'], scope);
    if (Array.isArray(template)) return template.map((item) => this.resolve(item, scope));
    if (template === null || typeof template !== 'object') return template;
    return mapValues(template, (item) => this.resolve(item, scope));
  }

  config() {
    const { actions: _actions, guards: _guards, delays: _delays, '@exprLang': language, context, ...root } = this.machine;
    if ((language ?? 'cel') !== 'cel') throw new Error(`unknown expression language ${language}`);
    const config = this.state(root);
    if (context !== undefined) {
      // An input that is not given is an empty one: CEL has no undefined.
      config.context = ({ input = {} }) => this.resolve(context, { input });
    }
    return config;
  }

  implementations() {
    const { actions = {}, guards: named = {}, delays = {} } = this.machine;
    return {
      actors: this.actors,
      actions: mapValues(actions, (body) =>
        this.x.enqueueActions(({ enqueue }, params) => {
          for (const action of list(body)) enqueue(this.action(action, { params }));
        })
      ),
      guards: mapValues(named, ({ when }) => this.namedGuard(when)),
      delays: mapValues(delays, (delay) => this.delay(delay?.duration ?? delay))
    };
  }

  /** XState finds out that a name is missing when it runs; a definition must be refused for it. */
  known(map, name) {
    if (this.machine[map]?.[name] === undefined) throw new Error(`${name} is not in the machine's ${map}`);
    return name;
  }

  knownActor(src) {
    if (this.actors[src] === undefined) throw new Error(`there is no machine ${src}`);
    return src;
  }

  state(node) {
    const converted = { ...node };
    if (node.states) converted.states = mapValues(node.states, (child) => this.state(child));
    if (node.initial?.target !== undefined) {
      converted.initial = { ...node.initial, actions: this.actions(node.initial.actions) };
    }
    if (node.on) converted.on = mapValues(node.on, (value) => this.transitions(value));
    if (node.after) {
      converted.after = mapValues(node.after, (value, delay) => {
        if (Number.isNaN(Number(delay))) this.known('delays', delay);
        return this.transitions(value);
      });
    }
    for (const key of ['always', 'onDone']) {
      if (node[key] !== undefined) converted[key] = this.transitions(node[key]);
    }
    if (node.entry !== undefined) converted.entry = this.actions(node.entry);
    if (node.exit !== undefined) converted.exit = this.actions(node.exit);
    if (node.invoke !== undefined) converted.invoke = list(node.invoke).map((invoke) => this.invoke(invoke));
    if (node.route?.guard !== undefined) converted.route = { ...node.route, guard: this.guard(node.route.guard) };
    if (isDynamic(node.output)) converted.output = this.template(node.output);
    return converted;
  }

  transitions(value) {
    if (Array.isArray(value)) return value.map((item) => this.transition(item));
    return this.transition(value);
  }

  transition(value) {
    if (typeof value === 'string') return value;
    const converted = { ...value };
    if (value.guard !== undefined) converted.guard = this.guard(value.guard);
    if (value.actions !== undefined) converted.actions = this.actions(value.actions);
    return converted;
  }

  actions(value) {
    return list(value).map((action) => this.action(action, {}));
  }

  action(action, extra) {
    if (typeof action === 'string') return action;
    if (typeof action.type !== 'string') throw new Error('an action needs a type');
    const { x } = this;
    const value = (template) => this.template(template, extra);
    switch (action.type) {
      case '@xstate.assign':
        return x.assign(value(action.context));
      case '@xstate.raise':
        return x.raise(value(action.event), this.timing(action, extra));
      case '@xstate.cancel':
        return x.cancel(value(action.id));
      case '@xstate.emit':
        return x.emit(value(action.event));
      case '@xstate.log':
        return x.log(value(action.args ?? []));
      case '@xstate.sendTo':
        return x.sendTo(value(action.to), value(action.event), this.timing(action, extra));
      case '@xstate.spawnChild': {
        const { src, id, input, syncSnapshot } = action;
        return x.spawnChild(this.knownActor(src), { id, syncSnapshot, ...(input === undefined ? {} : { input: value(input) }) });
      }
      case '@xstate.stopChild':
        return x.stopChild(value(action.id));
      default:
        return 'params' in action ? { type: action.type, params: value(action.params) } : { type: action.type };
    }
  }

  timing({ id, delay }, extra) {
    return {
      ...(id === undefined ? {} : { id }),
      ...(delay === undefined ? {} : { delay: this.delay(delay, extra) })
    };
  }

  delay(delay, extra = {}) {
    if (typeof delay === 'string') return this.known('delays', delay);
    if (!isDynamic(delay)) return typeof delay === 'bigint' ? Number(delay) : delay;
    const template = this.template(delay, extra);
    return (args) => {
      const value = template(args);
      if (typeof value !== 'bigint' && typeof value !== 'number') throw new ExpressionFault(`${typeof value} is no delay`);
      return Number(value);
    };
  }

  invoke(invoke) {
    const converted = { ...invoke, src: this.knownActor(invoke.src) };
    if (invoke.input !== undefined) converted.input = this.template(invoke.input);
    for (const key of ['onDone', 'onError', 'onSnapshot']) {
      if (invoke[key] !== undefined) converted[key] = this.transitions(invoke[key]);
    }
    return converted;
  }

  guard(guard) {
    if (typeof guard === 'string') return this.known('guards', guard);
    const { x } = this;
    switch (guard.type) {
      case 'xstate.and':
        return x.and(guard.guards.map((inner) => this.guard(inner)));
      case 'xstate.or':
        return x.or(guard.guards.map((inner) => this.guard(inner)));
      case 'xstate.not':
        return x.not(this.guard(guard.guards[0]));
      case 'xstate.stateIn':
        return x.stateIn(guard.id === undefined ? guard.stateValue : `#${guard.id}`);
      case undefined:
        return this.condition(guard, () => ({}));
      default:
        this.known('guards', guard.type);
        return 'params' in guard ? { type: guard.type, params: this.template(guard.params) } : { type: guard.type };
    }
  }

  namedGuard(when) {
    return isDynamic(when) && when.type === undefined ? this.condition(when, (params) => ({ params })) : this.guard(when);
  }

  condition(expression, extra) {
    return ({ context, event }, params) => {
      const result = this.resolve(expression, { context, event: scopeEvent(event), ...defined(extra(params)) });
      if (typeof result !== 'boolean') throw new ExpressionFault(`a guard must be boolean, not ${typeof result}`);
      return result;
    };
  }

  /** A function of XState's arguments that evaluates a template. */
  template(template, extra = {}) {
    return ({ context, event }) => this.resolve(template, { context, event: scopeEvent(event), ...defined(extra) });
  }
}

// At the start MachineJSON's expressions see no input: `event` is `{"type":"xstate.init"}`.
const INIT = { type: 'xstate.init' };

function scopeEvent(event) {
  if (event.type === INIT.type) return INIT;
  if (event.snapshot === undefined) return defined(event);
  const { status, value, context, output } = event.snapshot;
  return defined({ ...event, snapshot: defined({ status, value, context, output }) });
}

function mapValues(object, change) {
  return Object.fromEntries(Object.entries(object).map(([key, value]) => [key, change(value, key)]));
}

/**
 * `{config, implementations}` for `createMachine(config, implementations)`. `library` is the XState to build for, `actors` has the
 * machines that `src` names, `evaluate(text, scope)` gives the value of an expression.
 */
export function convert(machine, { library, actors, evaluate }) {
  const conversion = new Conversion(machine, { library, actors, evaluate });
  return { config: conversion.config(), implementations: conversion.implementations() };
}
