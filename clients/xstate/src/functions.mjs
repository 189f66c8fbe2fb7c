// XState's functions as values of a definition: a template of expressions, a condition, or a place that is left to do.

import { Expressions } from './expression.mjs';
import { isComputed, isFunctionNode, parse, refuse, REFUSED, sourceOf, textOf, Untranslatable, walk } from './javascript.mjs';
import { bind, existing, reach, typeOf, value } from './scope.mjs';

const EVENT = { is: 'map', fields: { type: { is: 'string' } } };

/** A function that could not be translated stands in the definition as XState 6 writes code: `statemesh check` names the place. */
export function placeOf(source) {
  return { '@code': source };
}

/** What a JSON document can carry of a value; undefined is null in it. */
export function plain(given, left) {
  if (given === null || given === undefined || typeof given === 'boolean' || typeof given === 'string') return given ?? null;
  if (typeof given === 'number') return Number.isFinite(given) ? given : left(`${given} is no JSON number`);
  if (typeof given === 'bigint') return Number(given);
  if (Array.isArray(given)) return given.map((item) => plain(item, left));
  if (given instanceof Date) return given.toISOString();
  const prototype = typeof given === 'object' ? Object.getPrototypeOf(given) : undefined;
  // A plain object of another realm has another Object.prototype, whose prototype is null as well.
  if (prototype !== null && (prototype === undefined || Object.getPrototypeOf(prototype) !== null)) {
    return left(`a ${typeof given === 'function' ? 'function' : (given.constructor?.name ?? typeof given)} is no JSON`, given);
  }
  return Object.fromEntries(Object.entries(given).map(([key, item]) => [key, plain(item, left)]));
}

export class Functions {
  /** `version` is XState's; `context` what the machine starts with, as far as that is known. */
  constructor({ version, context, report, lookup }) {
    this.version = version;
    this.type = typeOf(context) ?? undefined;
    this.report = report;
    this.expressions = new Expressions(lookup, {
      note: (message) => this.notes.add(message),
      remainder: (text, isWhole) => this.remainder(text, isWhole)
    });
    /** What is to be said of the function at hand, if it can be translated. */
    this.notes = new Set();
    /** Remainders of numbers that are whole as long as nothing else is assigned to the context's keys in them. */
    this.remainders = [];
    /** Keys of the context to which numbers are assigned that may have a fraction. */
    this.fractions = new Set();
  }

  /** CEL has `%` for whole numbers: those of a fraction's type are refused, even 4.0. */
  remainder(text, isWhole) {
    if (isWhole) this.remainders.push({ text, keys: [...text.matchAll(/\bcontext\.(\w+)/g)].map(([, key]) => key), path: this.place });
    else this.notes.add(remainderOf(text, ''));
  }

  /** To be called when all is translated: says what only the whole machine shows. */
  finish() {
    const told = new Set();
    for (const { text, keys, path } of this.remainders) {
      const key = keys.find((one) => this.fractions.has(one));
      if (key === undefined || told.has(`${path}\0${text}`)) continue;
      told.add(`${path}\0${text}`);
      this.report({ path, kind: 'note', message: remainderOf(text, `: \`context.${key}\` may get one that was divided or converted`) });
    }
  }

  /** Notes to which keys of the context something with a fraction is assigned. */
  assigns(key, node, scope) {
    let type;
    try {
      ({ type } = this.expressions.settled(node, scope));
    } catch (error) {
      if (!(error instanceof Untranslatable)) throw error;
    }
    if (type?.is === 'number' && !type.whole) this.fractions.add(key);
  }

  assignsAll({ properties }, scope) {
    for (const { type, key, computed, value: item } of properties) {
      if (type === 'Property' && !computed && !isFunctionNode(item)) this.assigns(key.name ?? String(key.value), item, scope);
    }
  }

  /** What the function's names mean. `outcome` is what XState 4's `event.data` is called: `output` or `error`. */
  scope(node, outcome) {
    const parts = {
      context: value('context', { type: this.type, path: true, sure: true }),
      event: value('event', { type: EVENT, path: true, sure: true }),
      params: value('params', { path: true, sure: true, trusted: true }),
      input: value('input', { path: true, sure: true })
    };
    if (outcome !== undefined) parts.event = this.outcome(parts.event, outcome);
    parts.output = reach(parts.event, 'output');
    if (!isFunctionNode(node)) return new Map(Object.entries(parts));
    const given = this.version === 4 ? [parts.context, parts.event, value('meta', { parts: {} })] : [value('args', { parts }), parts.params];
    const scope = new Map();
    node.params.forEach((pattern, index) => {
      if (pattern.type === 'RestElement') refuse('it takes a rest of arguments');
      if (given[index] !== undefined) bind(scope, pattern, given[index], this.expressions);
    });
    return scope;
  }

  outcome(event, outcome) {
    const data = reach(event, outcome);
    return { ...event, parts: new Proxy({}, { get: (_, key) => (key === 'data' ? data : reach(event, key)), has: () => true }) };
  }

  /** XState 4's `event.data` is that of a child that is done or failed, or of an event of the machine's own: the user has to know which. */
  warnOfData(given, where, outcome) {
    if (this.version !== 4 || outcome !== undefined || !this.hasChildren || !/\.data\b|\{[^}]*\bdata\b/.test(sourceOf(given))) return;
    this.report({ path: where, kind: 'note', message: '`event.data`: of a child that is done it is `event.output`, of one that failed `event.error`' });
  }

  /** `translate` of a function's body, or the place that is left to do. */
  attempt(given, where, outcome, translate) {
    this.warnOfData(given, where, outcome);
    return this.left(given, where, () => {
      const node = parse(given);
      const scope = this.scope(node, outcome);
      return translate(isFunctionNode(node) ? this.expressions.body(node.body, scope) : { node, scope });
    });
  }

  /** What `translate` gives, or the place that is left to do. */
  left(given, where, translate) {
    return this.leftOf(sourceOf(given), where, translate);
  }

  leftOf(source, where, translate) {
    const [notes, place] = [this.notes, this.place];
    Object.assign(this, { notes: new Set(), place: where });
    try {
      const made = translate();
      for (const message of this.notes) this.report({ path: where, kind: 'note', message, source });
      return made;
    } catch (error) {
      if (!(error instanceof Untranslatable)) throw error;
      this.report({ path: where, kind: 'todo', message: error.message, source });
      return placeOf(source);
    } finally {
      Object.assign(this, { notes, place });
    }
  }

  /** A value that may be computed: JSON with expressions at any depth. */
  template(given, where, outcome) {
    if (isComputed(given)) return this.attempt(given, where, outcome, ({ node, scope }) => this.json(node, scope, where));
    if (Array.isArray(given)) return given.map((item, index) => this.template(item, `${where}.${index}`, outcome));
    const isObject = given !== null && typeof given === 'object' && !(given instanceof Date) && Object.getPrototypeOf(given) !== null;
    if (isObject && typeof given.constructor === 'function' && given.constructor.name === 'Object') {
      const entries = Object.entries(given);
      return Object.fromEntries(entries.map(([key, item]) => [key, this.template(item, `${where}.${key}`, outcome)]));
    }
    return this.constant(given, where);
  }

  constant(given, where) {
    return plain(given, (message, what) => {
      const source = what === undefined ? String(given) : String(what?.constructor?.name ?? what);
      this.report({ path: where, kind: 'todo', message, source });
      return placeOf(source);
    });
  }

  /**
   * JSON of a syntax tree: what is constant stays as it is, and each value that is computed has an expression of its own. With a place,
   * a part that cannot be translated is left to do by itself, and the others are kept.
   */
  json(node, scope, where) {
    switch (node.type) {
      case 'ParenthesizedExpression':
        return this.json(node.expression, scope, where);
      case 'Scoped':
        return this.json(node.node, node.scope, where);
      case 'Literal':
        return node.regex === undefined && node.bigint === undefined ? node.value : refuse('it gives something that is no JSON');
      case 'Identifier':
        return node.name === 'undefined' ? null : this.expression(node, scope);
      case 'UnaryExpression':
        if (node.operator === 'void') return null;
        if (node.operator === '-' && typeof node.argument.value === 'number') return -node.argument.value;
        return this.expression(node, scope);
      case 'ArrayExpression':
        if (node.elements.some((element) => element?.type === 'SpreadElement')) return this.expression(node, scope);
        return node.elements.map((element, index) => this.part(element ?? refuse('a list has a hole'), scope, where, index));
      case 'ObjectExpression': {
        const isOrdinary = (property) => property.type === 'Property' && !property.computed && property.kind === 'init' && !property.method;
        if (!node.properties.every(isOrdinary)) return this.expression(node, scope);
        const each = ({ key, value: item }) => [key.name ?? String(key.value), this.part(item, scope, where, key.name ?? key.value)];
        return Object.fromEntries(node.properties.map(each));
      }
      default:
        return this.expression(node, scope);
    }
  }

  /** JSON of what stands under `key` of an object or a list. */
  part(node, scope, where, key) {
    const source = textOf(node);
    if (where === undefined || source === undefined) return this.json(node, scope);
    const place = `${where}.${key}`;
    return this.leftOf(source, place, () => this.json(node, scope, place));
  }

  /** JSON of a syntax tree that may be a function of its own, as the parts of `enqueue.assign` may be. */
  inner(node, scope) {
    if (node.type === 'ObjectExpression' && node.properties.every(({ type, computed, kind }) => type === 'Property' && !computed && kind === 'init')) {
      return Object.fromEntries(node.properties.map(({ key, value: item }) => [key.name ?? String(key.value), this.inner(item, scope)]));
    }
    if (!isFunctionNode(node)) return this.json(node, scope);
    const names = new Map([...scope, ...this.scope(node)]);
    const body = this.expressions.body(node.body, names);
    return this.json(body.node, body.scope);
  }

  expression(node, scope) {
    return { '@expr': this.expressions.text(node, scope) };
  }

  /** A guard's function. */
  condition(given, where, outcome) {
    return this.attempt(given, where, outcome, ({ node, scope }) => ({ '@expr': this.expressions.truth(node, scope).text }));
  }

  /** What an assignment sets: keys of the context, each with its value. */
  assignment(given, where, outcome) {
    if (!isComputed(given)) {
      if (given === null || typeof given !== 'object') return this.template(given, where, outcome);
      const each = (key, item) => {
        if (typeof item === 'number' && !Number.isInteger(item)) this.fractions.add(key);
        if (!isComputed(item)) return this.template(item, `${where}.${key}`, outcome);
        return this.attempt(item, `${where}.${key}`, outcome, ({ node, scope }) => {
          this.assigns(key, node, scope);
          return this.json(node, scope, `${where}.${key}`);
        });
      };
      return Object.fromEntries(Object.entries(given).map(([key, item]) => [key, each(key, item)]));
    }
    return this.attempt(given, where, outcome, ({ node, scope }) => {
      const body = node.type === 'ParenthesizedExpression' ? node.expression : node;
      if (body.type !== 'ObjectExpression') return this.json(body, scope, where);
      // `{...context, key}` sets the key: what is not named stays as it is.
      const [first, ...rest] = body.properties;
      this.assignsAll(body, scope);
      const spreads = first?.type === 'SpreadElement' ? this.expressions.settled(first.argument, scope).text : undefined;
      return this.json(spreads === 'context' ? { ...body, properties: rest } : body, scope, where);
    });
  }

  /**
   * What a function with side effects reads of context, event and params, as the params of an effect. A function that sends to
   * actors or spawns them is none of these: it is left to do.
   */
  reads(given, where, outcome) {
    return this.left(given, where, () => {
      const node = parse(given, { mayWait: true });
      if (!isFunctionNode(node)) return {};
      const scope = this.scope(node, outcome);
      const found = new Map();
      walk(node.body, (inner, parent) => {
        if (inner.type === 'CallExpression' && isMessage(inner, scope)) refuse('it sends to an actor: write `@xstate.sendTo` or `@xstate.raise`');
        if (inner.type === 'MemberExpression' || (inner.type === 'Identifier' && isRead(inner, parent))) {
          const path = this.path(inner, parent, scope);
          if (path !== undefined) {
            found.set(path.text, path);
            return false;
          }
        }
        return true;
      });
      return params(found.values());
    });
  }

  /** The longest path of keys that begins at `node`, if it begins at the function's arguments. */
  path(node, parent, scope) {
    const keys = [];
    let at = node;
    while (at.type === 'MemberExpression' && !at.computed) {
      keys.unshift(at.property.name);
      at = at.object.type === 'ChainExpression' ? at.object.expression : at.object;
    }
    if (at.type !== 'Identifier' || !scope.has(at.name)) return undefined;
    if (parent?.type === 'CallExpression' && parent.callee === node) keys.pop();
    if (keys.at(-1) === 'length') keys.pop();
    let found = scope.get(at.name);
    if (found.outside !== undefined) return undefined;
    for (const key of keys) {
      found = found.parts === undefined ? reach(found, key) : (found.parts[key] ?? { outside: true });
      if (found.outside !== undefined) return undefined;
    }
    if (found.parts !== undefined && found.text !== 'event') return undefined;
    return { ...found, name: /[A-Za-z_$][\w$]*$/.exec(found.text)?.[0] ?? found.text };
  }
}

function remainderOf(text, why) {
  return `\`${text}\`: \`%\` is for whole numbers here: where one has a fraction, or was divided or converted, ${REFUSED}${why}; \`Math.floor\` gives a whole one`;
}

function isRead(node, parent) {
  return !(parent?.type === 'MemberExpression' && parent.property === node && !parent.computed) && !(parent?.type === 'Property' && parent.key === node && !parent.shorthand);
}

const SENDS = /^(self|system|spawn|spawnChild|sendBack|stopChild)$/;

function isMessage({ callee }, scope) {
  let at = callee;
  const isSend = callee.type === 'MemberExpression' && callee.property.name === 'send';
  while (at.type === 'MemberExpression' || at.type === 'ChainExpression') at = at.object ?? at.expression;
  if (at.type !== 'Identifier') return false;
  return scope.has(at.name) && (isSend || SENDS.test(at.name) || SENDS.test(callee.property?.name ?? ''));
}

/** The params of an effect that is given these paths; one that may be missing is null then. */
function params(paths) {
  const chosen = {};
  for (const path of paths) {
    const asked = existing(path, true);
    const text = asked.length === 0 ? path.text : `${asked.join(' && ')} ? ${path.text} : null`;
    const name = path.name in chosen ? path.text.replace(/\W+/g, '_') : path.name;
    chosen[name] = { '@expr': text };
  }
  return chosen;
}
