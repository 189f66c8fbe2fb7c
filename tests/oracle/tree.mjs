// The skeleton of a random machine: which states there are, before any behaviour is added.

const LETTERS = ['a', 'b', 'c', 'd', 'e'];
const NUMBERS = ['10', '2', '1'];
const DOTTED = ['x.y', 'c.'];
const STATES_MAX = 18;
const DEPTH_MAX = 4;

/** A state under construction: its place in the tree and the JSON it becomes. */
export class Node {
  constructor(key, parent, type) {
    this.key = key;
    this.parent = parent;
    this.type = type;
    this.children = [];
    this.json = {};
    this.explicitId = undefined;
  }

  get path() {
    return this.parent ? [...this.parent.path, this.key] : [];
  }

  get root() {
    return this.parent ? this.parent.root : this;
  }

  get id() {
    return this.explicitId ?? [this.root.explicitId ?? '(machine)', ...this.path].join('.');
  }

  get ancestors() {
    return this.parent ? [this.parent, ...this.parent.ancestors] : [];
  }

  /** This state and those below it, in the order of the keys. */
  get all() {
    return [this, ...this.children.flatMap((child) => child.all)];
  }

  get isReal() {
    return this.type !== 'history';
  }

  /** Can have transitions, timers and children of its own. */
  get isActive() {
    return this.type !== 'history' && this.type !== 'final';
  }

  within(other) {
    return this.ancestors.includes(other);
  }
}

/** Grows a random tree; `id` is the root's, when it must have a certain one. */
export function grow(random, features, id) {
  let budget = random.between(3, STATES_MAX);
  const rootType = features.has('parallel') && random.chance(0.3) ? 'parallel' : random.chance(0.03) ? 'atomic' : 'compound';
  const root = new Node('', undefined, rootType);
  if (id) root.explicitId = id;
  else if (random.chance(0.8)) root.explicitId = random.pick(['m', 'machine', 'top']);
  let ids = 0;

  const keysFor = (count) => {
    const pool = [...LETTERS];
    if (features.has('integerKeys') && random.chance(0.5)) pool.unshift(...NUMBERS);
    if (features.has('dottedKeys') && random.chance(0.5)) pool.push(...DOTTED);
    const keys = random.some(pool, count);
    if (random.chance(0.3)) keys.reverse();
    return keys;
  };

  const typeOfChild = (parent, depth) => {
    if (depth >= DEPTH_MAX || budget <= 0) return 'atomic';
    const choices = [[6, 'atomic'], [3, 'compound']];
    if (features.has('parallel')) choices.push([parent.type === 'parallel' ? 0.7 : 2, 'parallel']);
    if (features.has('finals')) choices.push([parent.type === 'parallel' ? 0.4 : parent.parent ? 1.6 : 1.8, 'final']);
    return random.weighted(choices);
  };

  const fill = (node, depth) => {
    if (node.type !== 'compound' && node.type !== 'parallel') return;
    const count = node.type === 'parallel' ? random.between(2, 3) : random.between(node.parent ? 1 : 2, 4);
    const keys = keysFor(count + (features.has('history') ? 1 : 0));
    const historyAt = features.has('history') && random.chance(0.5) ? random.below(keys.length) : -1;
    keys.forEach((key, index) => {
      if (index === historyAt && keys.length > count) {
        node.children.push(new Node(key, node, 'history'));
        return;
      }
      budget -= 1;
      const child = new Node(key, node, typeOfChild(node, depth + 1));
      node.children.push(child);
      fill(child, depth + 1);
    });
  };
  fill(root, 0);
  for (const node of root.all) {
    if (node.parent && features.has('explicitIds') && random.chance(0.3)) node.explicitId = `i${ids++}`;
  }
  return root;
}

/** Keys as a path, in which a dot that belongs to a key is escaped. */
export function dotted(keys) {
  return keys.map((key) => key.replaceAll('.', '\\.')).join('.');
}

/** `#id`, in which a dot of an id by path stands for one in a path. */
export function absoluteTarget(target) {
  return `#${stateId(target)}`;
}

/** What `xstate.stateIn` takes as `id`: an explicit id, or the way to the state from one. */
export function stateId(target) {
  const named = [target, ...target.ancestors].find((state) => state.explicitId ?? !state.parent);
  return dotted([named.explicitId ?? '(machine)', ...target.path.slice(named.path.length)]);
}

/** How a transition of `source` may name `target`. */
export function nameTarget(random, features, source, target) {
  const names = [absoluteTarget(target)];
  for (const ancestor of target.ancestors) {
    if (ancestor.explicitId && ancestor.explicitId !== target.explicitId) {
      names.push(`#${dotted([ancestor.explicitId, ...target.path.slice(ancestor.path.length)])}`);
    }
  }
  if (features.has('relativeTargets')) {
    if (source.parent && target.within(source.parent)) {
      const name = dotted(target.path.slice(source.parent.path.length));
      names.push(name, name, name);
    }
    if (target.within(source)) {
      const name = `.${dotted(target.path.slice(source.path.length))}`;
      // XState puts the source's own key in front, unescaped.
      if (!source.key.includes('.')) names.push(name, name, name);
    }
  }
  return random.pick(names);
}
