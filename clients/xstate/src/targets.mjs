// Where transitions lead: XState 4 exits and enters the source where 5 does not, unless it is told to.

/** The ids and paths of a configuration's states. */
export class Targets {
  constructor(config, id) {
    this.paths = new Map();
    this.states = new Set();
    this.#add(config, id, [], id);
  }

  #add(config, id, path, rootId) {
    this.paths.set(id, path);
    this.states.add(path.join('\0'));
    if (config.id !== undefined) this.paths.set(config.id, path);
    for (const [key, child] of Object.entries(config.states ?? {})) {
      const childPath = [...path, key];
      this.#add(child ?? {}, [rootId, ...childPath].join('.'), childPath, rootId);
    }
  }

  /** The path of the state that `target` names, seen from the state at `source`. */
  resolve(target, source) {
    if (target.startsWith('#')) {
      const id = target.slice(1);
      const known = [...this.paths.keys()].filter((key) => id === key || id.startsWith(`${key}.`));
      const longest = known.sort((a, b) => b.length - a.length)[0];
      if (longest === undefined) return undefined;
      const rest = id.slice(longest.length + 1);
      return [...this.paths.get(longest), ...(rest === '' ? [] : rest.split('.'))];
    }
    if (target.startsWith('.')) return [...source, ...target.slice(1).split('.')];
    return [...source.slice(0, -1), ...target.split('.')];
  }

  /** A target in XState 5's words: from the root a child is `.child`. */
  written(target, source) {
    if (source.length > 0 || target.startsWith('#') || target.startsWith('.')) return target;
    return `.${target}`;
  }

  /** Whether XState 4's transition exits its source, and XState 5's does not unless it says `reenter`. */
  isExternal({ target, internal }, source) {
    if (internal === true || target === undefined) return false;
    return target.some((one) => {
      if (one.startsWith('.') && internal !== false) return false;
      const path = this.resolve(one, source);
      return path !== undefined && source.every((key, index) => path[index] === key);
    });
  }
}

/** XState 4's dotted state as a state value: `a.b` is `{a: 'b'}`. */
export function stateValue(dotted) {
  const keys = dotted.split('.');
  return keys.slice(0, -1).reduceRight((inner, key) => ({ [key]: inner }), keys.at(-1));
}

/** The names of XState 4's own events in the words of 5. */
export function eventName(name) {
  return name
    .replace(/^done\.state\./, 'xstate.done.state.')
    .replace(/^done\.invoke\./, 'xstate.done.actor.')
    .replace(/^error\.platform\./, 'xstate.error.actor.')
    .replace(/^error\.execution$/, 'xstate.error.*');
}
