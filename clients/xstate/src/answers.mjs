// The answers of effects that stand for actors: which of them count.
//
// XState stops an actor with its state, and its answer never comes. An effect is carried out elsewhere, so its answer may be late:
// what asked for it carries a number, and an answer with another one, or to a state that is left, must change nothing.

import { attemptKey, idOf, list } from './actors.mjs';

/** What an invocation may be told, by XState's key for it, and the word of the event that tells it. */
export const ANSWERS = { onDone: 'done', onError: 'failed', onSnapshot: 'snapshot' };

export class Answers {
  /** `id` is that of the machine, as the states' ids have it, `context` what the machine begins with. */
  constructor(id, context) {
    this.id = id;
    /** Whose the keys of the context are: the machine's own, and those that are added. */
    this.owners = new Map(Object.keys(context ?? {}).map((key) => [key, null]));
    /** Where each effect is asked for, by its name: the path of the state, its id, that of the actor, and the key of the context with its number. */
    this.places = new Map();
    /** Words of answers, by the effect's name, that states handle by the event's name. */
    this.handled = new Map();
    /** Types of the answers that a state waits for, with the effect's name. */
    this.types = new Map();
    this.parallel = new Set();
  }

  /** Reads a configuration: where its effects are asked for, and which answers are handled by their events' names. */
  scan(config, actors, version, eventName) {
    this.walk(config, [], ({ invoke }, path, id) => {
      list(invoke).forEach((one, index) => {
        const actor = actors.ofInvoke(one, path.at(-1) ?? actors.key);
        if (actor.kind === 'machine') return;
        const places = this.places.get(actor.name) ?? [];
        const own = idOf(one, index, id, version);
        this.places.set(actor.name, [...places, { path, id, own, index, key: this.keyOf(actor.name) }]);
      });
    });
    this.walk(config, [], ({ on }) => {
      for (const event of eventsOf(on)) {
        const answer = this.of(eventName(event), actors);
        if (answer !== undefined) this.handled.set(answer.name, (this.handled.get(answer.name) ?? new Set()).add(answer.word));
      }
    });
    for (const [name, places] of this.places) {
      // What is asked for twice at a time has a number for each.
      const isShared = places.some((one, index) => places.slice(index + 1).some((other) => !this.excludes(one.path, other.path)));
      if (!isShared) continue;
      places.forEach((place, index) => (place.key = this.keyOf([name, ...place.path, String(index + 1)].join('.'))));
    }
  }

  walk(config, path, visit) {
    if (config?.type === 'parallel' || config?.parallel === true) this.parallel.add(path.join('\0'));
    visit(config ?? {}, path, config?.id !== undefined && path.length > 0 ? config.id : [this.id, ...path].join('.'));
    for (const [key, child] of Object.entries(config?.states ?? {})) this.walk(child, [...path, key], visit);
  }

  /** The effect, and the word of its answer, in whose place XState has this event. */
  of(event, actors) {
    const [, what, id] = /^xstate\.(done\.actor|error\.actor|snapshot)\.(.+)$/.exec(event) ?? [];
    const name = id === undefined ? undefined : actors.effectOf(id);
    const isInvoked = this.places.get(name)?.some(({ own }) => own === id) === true;
    return !isInvoked ? undefined : { name, id, word: { 'done.actor': 'done', 'error.actor': 'failed', snapshot: 'snapshot' }[what] };
  }

  placeOf(name, path, index) {
    return this.places.get(name).find((place) => place.index === index && same(place.path, path));
  }

  /** The key that counts what is asked for in all places. */
  counterOf(name) {
    return this.keyOf(name);
  }

  /** A key of the context that no other effect uses. */
  keyOf(name) {
    let key = attemptKey(name);
    while (this.owners.has(key) && this.owners.get(key) !== name) key += '_';
    this.owners.set(key, name);
    return key;
  }

  /** The places of the actor that an event of XState's names. */
  placesOf(event, actors) {
    const { name, id } = this.of(event, actors);
    return this.places.get(name).filter(({ own }) => own === id);
  }

  /** Whether a state takes such an answer by the event's name. */
  handles(name, word) {
    return this.handled.get(name)?.has(word) === true;
  }

  waitFor(name, word) {
    this.types.set(`${name}.${word}`, name);
  }

  /** Whether two states can never be active together. */
  excludes(one, other) {
    const length = one.findIndex((key, index) => key !== other[index]);
    return length >= 0 && length < other.length && !this.parallel.has(one.slice(0, length).join('\0'));
  }

  /** The guard, seen from the state at `path`, that takes only the answer to what these places have asked last, and while they are active. */
  current(places, path) {
    const guards = places.map((place) => {
      const number = { '@expr': `has(event.attempt) && event.attempt == context.${place.key}` };
      return within(path, place.path) ? number : { type: 'xstate.and', guards: [{ type: 'xstate.stateIn', id: place.id }, number] };
    });
    return guards.length > 1 ? { type: 'xstate.or', guards } : guards[0];
  }

  /** Transitions for the answer of some places, of which no other is to be taken. */
  guarded(made, places, path) {
    const current = this.current(places, path);
    return list(made).map((one) => {
      const transition = typeof one === 'string' ? { target: one } : one;
      return { ...transition, guard: transition.guard === undefined ? current : { type: 'xstate.and', guards: [current, transition.guard] } };
    });
  }

  /** A state that takes any event leaves those answers alone that come too late. */
  keepLate(written, path = []) {
    const patterns = Object.keys(written.on ?? {}).filter((key) => key.endsWith('*'));
    for (const [type, name] of this.types) {
      const branches = list(written.on?.[type]);
      const isTaken = branches.some((branch) => typeof branch === 'string' || branch.guard === undefined);
      if (isTaken || !patterns.some((pattern) => matches(pattern, type))) continue;
      const places = this.places.get(name).filter((place) => !this.excludes(path, place.path));
      const late = places.length === 0 ? {} : { guard: not(this.current(places, path)) };
      written.on[type] = branches.length === 0 ? late : [...branches, late];
    }
    for (const [key, child] of Object.entries(written.states ?? {})) this.keepLate(child, [...path, key]);
  }

  /** Whether the state at `path`, or one that may be active with it and is asked after it or beside it, takes this event by its name or any. */
  isTaken(config, path, type, eventOf) {
    let found = false;
    this.walk(config, [], ({ on }, other) => {
      const isAsked = (!within(other, path) || same(other, path)) && !this.excludes(other, path);
      if (isAsked && eventsOf(on).some((event) => matches(eventOf(event), type))) found = true;
    });
    return found;
  }
}

function eventsOf(on) {
  return Array.isArray(on) ? on.map(({ event }) => event) : Object.keys(on ?? {});
}

function not(guard) {
  return guard['@expr'] === undefined ? { type: 'xstate.not', guards: [guard] } : { '@expr': `!(${guard['@expr']})` };
}

function same(one, other) {
  return one.length === other.length && within(one, other);
}

/** Whether the state at `path` is the one at `outer`, or inside it. */
function within(path, outer) {
  return outer.every((key, index) => path[index] === key);
}

function matches(pattern, type) {
  return pattern === '*' || pattern === type || (pattern.endsWith('.*') && type.startsWith(pattern.slice(0, -1)));
}
