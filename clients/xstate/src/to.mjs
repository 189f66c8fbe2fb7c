// An XState machine as a definition of Statemesh.

import { Actions } from './actions.mjs';
import { Actors } from './actors.mjs';
import { Answers } from './answers.mjs';
import { versionOf } from './builtins.mjs';
import { Functions } from './functions.mjs';
import { isComputed } from './javascript.mjs';
import { States } from './states.mjs';
import { eventName, Targets } from './targets.mjs';

/** The machine that was made, with what is left to say of it. */
export class Conversion {
  constructor(machine, { from, machines, id, lookup } = {}) {
    const isLive = machine !== null && typeof machine === 'object' && machine.config !== undefined;
    this.config = isLive ? machine.config : machine;
    this.version = from ?? (isLive && versionOf(machine) === 4 ? 4 : 5);
    const implementations = { ...(isLive ? (machine.implementations ?? machine.options) : {}) };
    this.id = id ?? this.config.id ?? this.config.key ?? '(machine)';
    this.report = [];
    const report = (found) => this.report.push({ ...found, path: found.path.replace(/\.$/, '') });
    this.functions = new Functions({ version: this.version, context: this.initialContext(), report, lookup });
    this.delayed = new Map();
    this.implementations = implementations;
    const delays = (delay, name) => this.delay(delay, name);
    this.actors = new Actors({ implementations, machines, key: this.id, report });
    const own = this.config.id ?? this.config.key ?? this.id;
    this.actors.scan(this.config, own, this.version);
    this.functions.hasChildren = this.actors.children.size > 0;
    this.answers = new Answers(own, this.initialContext());
    this.answers.scan(this.config, this.actors, this.version, (event) => (this.version === 4 ? eventName(event) : event));
    const shared = { version: this.version, functions: this.functions, actors: this.actors, delays, report };
    this.actions = new Actions({ ...shared, implementations, isData: !isLive, known: this.config.actions });
    this.states = new States({ ...shared, id: this.id, config: this.config, answers: this.answers, actions: this.actions, targets: new Targets(this.config, this.id) });
  }

  /** The context that the machine begins with, to know of which types its keys are. */
  initialContext() {
    const { context } = this.config;
    if (!isComputed(context)) return context;
    if (typeof context !== 'function') return undefined;
    const anything = new Proxy(() => undefined, { get: (_, key) => (key === Symbol.toPrimitive ? () => '' : undefined) });
    try {
      return context({ input: anything, spawn: () => null, self: anything });
    } catch {
      return undefined;
    }
  }

  /** The name of a delay that is no number: its value is kept at the root. */
  delay(delay, place) {
    const isNumber = typeof delay === 'number' || /^[0-9]+$/.test(String(delay));
    if (isNumber) return typeof delay === 'number' ? delay : Number(delay);
    const name = typeof delay === 'string' && !isComputed(delay) ? delay : (place ?? 'delay');
    if (this.delayed.has(name)) return name;
    const given = typeof delay === 'string' && !isComputed(delay) ? this.implementations.delays?.[delay] : delay;
    // A duration such as `5s` needs no entry; a name without an implementation is refused by `check`.
    if (given === undefined) return name;
    this.delayed.set(name, undefined);
    const written = isComputed(given) ? { duration: this.functions.template(given, `delays.${name}`) } : given;
    this.delayed.set(name, written);
    return name;
  }

  definition() {
    const { id, version, ...root } = this.config;
    const states = this.states.state({ ...root }, []);
    this.answers.keepLate(states);
    const { description, ...rest } = states;
    const head = { id: this.id };
    if (version !== undefined) head.version = version;
    if (description !== undefined) head.description = description;
    const context = this.context();
    if (context !== undefined) head.context = context;
    const maps = this.actions.maps();
    // What was given as data already has its maps.
    const given = this.functions.template({ guards: this.config.guards ?? {}, actions: this.config.actions ?? {}, delays: this.config.delays ?? {} }, '');
    maps.delays = Object.fromEntries(this.delayed);
    this.functions.finish();
    for (const name of ['guards', 'actions', 'delays']) {
      const all = { ...given[name], ...maps[name] };
      if (Object.keys(all).length > 0) head[name] = all;
    }
    const own = this.config.id ?? this.config.key;
    const made = { ...head, ...rest };
    return own === undefined || own === this.id ? made : renamed(made, own, this.id);
  }

  context() {
    const { context } = this.config;
    const attempts = Object.fromEntries([...this.states.attempts].map((key) => [key, 0]));
    if (context === undefined) return this.states.attempts.size === 0 ? undefined : attempts;
    const written = this.functions.template(context, 'context');
    if (this.states.attempts.size === 0 || written === null) return written;
    if (typeof written['@expr'] === 'string') {
      const zeros = Object.keys(attempts).map((key) => `'${key}': 0`);
      return { '@expr': `(${written['@expr']}).merge({${zeros.join(', ')}})` };
    }
    if (typeof written['@code'] !== 'string') return { ...written, ...attempts };
    const missing = Object.keys(attempts).map((key) => `\`${key}: 0\``);
    this.functions.report({ path: 'context', kind: 'note', message: `${missing.join(', ')} must be in it: ${missing.length === 1 ? 'it counts' : 'they count'} the attempts of effects` });
    return written;
  }
}

/** What data of a machine is, and names none of its states. */
const DATA = new Set(['@expr', '@code', '@statemesh', 'id', 'context', 'description', 'event', 'input', 'meta', 'output', 'params', 'args', 'schemas']);

/** The keys of what stands under these are names, whatever they are. */
const NAMES = new Set(['states', 'on', 'after']);

/** A definition in which what begins with the machine's old id begins with the new one: targets, ids in `stateIn`, names of its events. */
function renamed(value, old, id, areNames = false) {
  const begins = (text, sign = '') => text === sign + old || text.startsWith(`${sign}${old}.`);
  const name = (text) => (begins(text, '#') ? `#${id}${text.slice(old.length + 1)}` : text);
  const event = (key) => {
    const at = key.startsWith('xstate.') ? `${key}.`.indexOf(`.${old}.`) : -1;
    return at < 0 ? key : `${key.slice(0, at + 1)}${id}${key.slice(at + 1 + old.length)}`;
  };
  if (typeof value === 'string') return name(value);
  if (Array.isArray(value)) return value.map((item) => renamed(item, old, id));
  if (value === null || typeof value !== 'object') return value;
  const each = ([key, item]) => [event(key), !areNames && DATA.has(key) ? item : renamed(item, old, id, !areNames && NAMES.has(key))];
  const made = Object.fromEntries(Object.entries(value).map(each));
  if (made.type === 'xstate.stateIn' && typeof made.id === 'string' && begins(made.id)) made.id = `${id}${made.id.slice(old.length)}`;
  return made;
}

/**
 * The definition of a machine of XState 5 or 4, or of a configuration as data. What could not be translated stands in it as
 * `{"@code": "..."}`: `statemesh check` names each of these places.
 *
 * @param {object} machine what `createMachine` gave, or JSON
 * @param {object} [options]
 * @param {4|5} [options.from] the version whose configuration it is, where that is not a machine itself
 * @param {string} [options.id] the machine's name, if not its own
 * @param {string[]} [options.machines] names of actors that are machines of the mesh, though nothing here says so
 * @param {Function} [options.lookup] gives what a name outside of a function stands for: constants and functions are taken in
 * @param {object[]} [options.report] is given what happened to functions: `{path, kind, message, source}`
 * @param {Map} [options.children] is given the machines that have to be defined too, by their ids
 */
export function toStatemesh(machine, options = {}) {
  const conversion = new Conversion(machine, options);
  const definition = conversion.definition();
  options.report?.push(...conversion.report);
  for (const [id, child] of conversion.actors.children) options.children?.set(id, child);
  return definition;
}
