// Random CEL expressions, well typed over a known scope; with `faults`, some that fail at run time.

/** What an expression may read. `context` maps keys to types; `event` and `params` may be absent. */
export class Expressions {
  constructor(random, { context, faults = false, params = false, event = true }) {
    this.random = random;
    this.context = context;
    this.faults = faults;
    this.params = params;
    this.event = event;
  }

  /** The same, inside a named action or guard, where `params.p` is an int. */
  withParams() {
    return new Expressions(this.random, { ...this, params: true });
  }

  wrap(source) {
    const expression = { '@expr': source };
    if (this.random.chance(0.1)) expression['@lang'] = 'cel';
    return expression;
  }

  #keys(type) {
    return Object.keys(this.context).filter((key) => this.context[key] === type);
  }

  #fault() {
    return this.faults && this.random.chance(0.12);
  }

  int(depth = 2) {
    const { random } = this;
    if (this.#fault()) {
      return random.pick(['event.v', '7 / context.n', 'context.absent', '[1, 2][context.n]', '9223372036854775807 + context.n']);
    }
    if (depth <= 0 || random.chance(0.4)) return this.#intLeaf();
    const inner = () => this.int(depth - 1);
    return random.weighted([
      [4, () => `(${inner()} + ${inner()})`],
      [2, () => `(${inner()} - ${inner()})`],
      [1, () => `(${inner()} * ${random.between(0, 3)})`],
      [2, () => `(${inner()} % ${random.between(2, 7)})`],
      [1, () => `(${inner()} / ${random.between(1, 3)})`],
      [1, () => `-(${inner()})`],
      [2, () => `(${this.bool(depth - 1)} ? ${inner()} : ${inner()})`]
    ])();
  }

  #intLeaf() {
    const { random } = this;
    const leaves = [String(random.between(0, 5))];
    for (const key of this.#keys('int')) leaves.push(`context.${key}`, `context.${key}`);
    for (const key of this.#keys('map')) leaves.push(`context.${key}.x`, `context["${key}"]["x"]`);
    for (const key of this.#keys('list')) leaves.push(`size(context.${key})`);
    for (const key of this.#keys('string')) leaves.push(`size(context.${key})`);
    leaves.push(`('k' in context ? context.k : ${random.between(0, 2)})`);
    if (this.event) leaves.push(`('v' in event ? event.v : ${random.between(0, 4)})`, `(has(event.v) ? event.v : 1)`);
    if (this.params) leaves.push('params.p', 'params.p', 'params.p');
    return random.pick(leaves);
  }

  bool(depth = 2) {
    const { random } = this;
    if (this.#fault()) {
      return random.pick(['event.v > 1', 'event.v > 1 || true', 'false && context.absent', 'context.absent == 1 || context.n >= 0', 'context.n']);
    }
    if (depth <= 0) return this.#boolLeaf();
    const int = () => this.int(depth - 1);
    const bool = () => this.bool(depth - 1);
    const string = () => this.string(depth - 1);
    const list = () => this.list(depth - 1);
    return random.weighted([
      [6, () => `${int()} ${random.pick(['>', '<', '>=', '<=', '==', '!='])} ${int()}`],
      [3, () => this.#boolLeaf()],
      [1, () => `${string()} ${random.pick(['==', '!='])} ${string()}`],
      [1, () => `!(${bool()})`],
      [2, () => `(${bool()} && ${bool()})`],
      [2, () => `(${bool()} || ${bool()})`],
      [1, () => `${int()} in ${list()}`],
      [1, () => `${list()}.${random.pick(['exists', 'all', 'exists_one'])}(x, x > ${random.between(0, 3)})`]
    ])();
  }

  #boolLeaf() {
    const { random } = this;
    const leaves = [random.pick(['true', 'false']), 'context.n % 2 == 0', `context.n < ${random.between(1, 5)}`];
    for (const key of this.#keys('bool')) leaves.push(`context.${key}`, `!context.${key}`);
    if (this.event) {
      leaves.push(`event.type == '${random.pick(['E', 'F', 'a.b'])}'`, `'v' in event`, 'has(event.w)');
      leaves.push(`('b' in event && event.b)`, `('v' in event && event.v > ${random.between(0, 3)})`);
    }
    if (this.params) leaves.push(`params.p > ${random.between(0, 3)}`);
    return random.pick(leaves);
  }

  string(depth = 1) {
    const { random } = this;
    const leaves = [`'${random.pick(['x', 'yy', 'ä', ''])}'`];
    if (this.event) leaves.push('event.type', `('w' in event ? event.w : 'none')`);
    for (const key of this.#keys('string')) {
      leaves.push(`context.${key}`, `(size(context.${key}) > 6 ? 'r' : context.${key} + 'x')`);
    }
    if (depth > 0 && random.chance(0.4)) return random.chance(0.5) ? `string(${this.int(depth - 1)})` : `('<' + ${this.string(depth - 1)} + '>')`;
    return random.pick(leaves);
  }

  list(depth = 1) {
    const { random } = this;
    const leaves = [`[${random.some(['1', '2', '3', 'context.n'], random.between(0, 3)).join(', ')}]`];
    for (const key of this.#keys('list')) {
      leaves.push(`context.${key}`);
      if (depth > 0) {
        leaves.push(`(size(context.${key}) > 4 ? [] : context.${key} + [${this.int(0)}])`);
        leaves.push(`context.${key}.map(x, x + 1)`, `context.${key}.filter(x, x % 2 == 1)`);
      }
    }
    return random.pick(leaves);
  }

  /** An expression of a context key's type. */
  of(type) {
    switch (type) {
      case 'int':
        return this.int();
      case 'bool':
        return this.bool();
      case 'string':
        return this.string();
      case 'list':
        return this.list();
      default:
        return `{'x': ${this.int(1)}, 's': ${this.string(0)}}`;
    }
  }

  /** A JSON value for a place that takes any: a constant, an expression, or a template with some inside. */
  value(depth = 2) {
    const { random } = this;
    return random.weighted([
      [3, () => this.wrap(this.of(random.pick(['int', 'int', 'bool', 'string', 'list', 'map'])))],
      [2, () => random.pick([0, 1, 42, -7, 1.5, true, false, null, 'text', '', [], {}])],
      [depth > 0 ? 1 : 0, () => [this.value(depth - 1), this.value(depth - 1)]],
      [depth > 0 ? 2 : 0, () => ({ x: this.value(depth - 1), y: this.value(depth - 1) })]
    ])();
  }
}

/** A random context: the types of its keys, and its initial values. */
export function randomContext(random) {
  const types = { n: 'int' };
  for (const [key, type] of [['m', 'int'], ['s', 'string'], ['b', 'bool'], ['l', 'list'], ['o', 'map']]) {
    if (random.chance(0.4)) types[key] = type;
  }
  const initial = { int: () => random.between(0, 4), string: () => random.pick(['', 'q', 'zz']), bool: () => random.chance(0.5) };
  initial.list = () => random.some([1, 2, 3], random.between(0, 3));
  initial.map = () => ({ x: random.between(0, 3), s: 'o' });
  const values = Object.fromEntries(Object.entries(types).map(([key, type]) => [key, initial[type]()]));
  return { types, values };
}
