// Where the work is done: machines stay children; promises, callbacks and the like become effects, and events that come back.

import { isMachine, kindOf, nameOf } from './builtins.mjs';
import { stately } from './javascript.mjs';

/** A name that can stand in an event's type and, in `attemptKey`, in an expression. */
function clean(name) {
  return name.replace(/[^A-Za-z0-9_.-]+/g, '_').replace(/^_+|_+$/g, '') || 'work';
}

export function attemptKey(name) {
  const words = name.split(/[^A-Za-z0-9]+/).filter((word) => word !== '');
  const camel = words.map((word, index) => (index === 0 ? word[0].toLowerCase() + word.slice(1) : word[0].toUpperCase() + word.slice(1))).join('');
  return `${/^[0-9]/.test(camel) ? '_' : ''}${camel}Attempt`;
}

const UNNAMED = /^(\(machine\)|)$/;

export class Actors {
  /** `machines` are names that stand for machines though no implementation says so, `key` is the name of the machine itself. */
  constructor({ implementations, machines = [], key, report }) {
    this.known = { ...implementations.services, ...implementations.actors };
    this.machines = new Set(machines);
    this.report = report;
    this.key = key;
    /** Machines that have to be defined first. */
    this.children = new Map();
    /** Names of effects by the ids of the actors in whose place they are. */
    this.effects = new Map();
  }

  /** Reads all `invoke` of a configuration first, as actions before them may send to their ids. */
  scan(config, id, version, path = []) {
    const own = config.id !== undefined && path.length > 0 ? config.id : [id, ...path].join('.');
    list(config.invoke).forEach((invoke, index) => {
      const actor = this.ofInvoke(invoke, path.at(-1) ?? this.key);
      if (actor.kind !== 'machine') this.effects.set(idOf(invoke, index, own, version), actor.name);
    });
    for (const [key, child] of Object.entries(config.states ?? {})) this.scan(child ?? {}, id, version, [...path, key]);
  }

  effectOf(id) {
    return this.effects.get(id);
  }

  ofInvoke(invoke, key) {
    if (isMachine(invoke)) return this.find(invoke, { key });
    return this.find(invoke.src, { id: invoke.id, key });
  }

  /** `{kind, name, logic}` of a `src`. */
  find(src, { id, key }) {
    const given = typeof src === 'string' ? src : typeof src?.type === 'string' && !isMachine(src) ? src.type : undefined;
    // Code, and a place in Stately's export, are no names.
    const named = stately(given) !== undefined || /^inline:/.test(given) ? undefined : given;
    const logic = given === undefined ? src : this.known[given];
    const kind = named !== undefined && this.machines.has(named) ? 'machine' : kindOf(logic);
    if (kind === 'machine') {
      // A machine without an id of its own is known by the name that it is given here.
      const own = isMachine(logic) && !UNNAMED.test(logic.id) ? logic.id : undefined;
      const name = own ?? named ?? (typeof id === 'string' ? id : `${key}.child`);
      if (isMachine(logic)) this.children.set(name, logic);
      return { kind, name, logic };
    }
    const text = typeof id === 'string' ? id : undefined;
    return { kind, name: clean(named ?? text ?? nameOf(logic?.config ?? logic, `${key}.work`)), logic, given: named === undefined ? undefined : src };
  }
}

/** The id of an actor that a state invokes. */
export function idOf(invoke, index, state, version) {
  return invoke.id ?? (version === 4 ? `${state}:invocation[${index}]` : `${index}.${state}`);
}

export function list(value) {
  return value === undefined || value === null ? [] : Array.isArray(value) ? value : [value];
}
