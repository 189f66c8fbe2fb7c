// What names mean inside a function: `context`, `event`, `params`, and what is taken out of them.

import { refuse } from './javascript.mjs';

/**
 * The type of a value that is known, as far as truth, `+` and `includes` need it. `whole` are numbers that have no fraction, `guess` is
 * what a value may well be, and need not.
 */
export function typeOf(value) {
  if (Array.isArray(value)) return { is: 'list', item: value.length > 0 ? typeOf(value[0]) : undefined };
  if (value === null || value === undefined) return undefined;
  if (typeof value === 'object') {
    const fields = Object.fromEntries(Object.entries(value).map(([key, item]) => [key, typeOf(item)]));
    return { is: 'map', fields };
  }
  if (typeof value === 'number') return { is: 'number', whole: Number.isInteger(value) };
  return ['string', 'boolean'].includes(typeof value) ? { is: typeof value } : undefined;
}

const WORDS = new Set(
  ('as break const continue else false for function if import in let loop namespace null package return true var void while ' +
    'context event params input output snapshot')
    .split(' ')
);

/** The type of a value that is one of two. */
export function common(a, b) {
  if (a === undefined || a.is !== b?.is) return undefined;
  const { guess: _, ...type } = a.is === 'number' ? { is: 'number', whole: a.whole === true && b.whole === true } : a;
  return a.guess || b.guess ? { ...type, guess: true } : type;
}

/** Names that an expression may give to the elements of a list. */
export function variable(name) {
  return WORDS.has(name) || !/^[A-Za-z_][A-Za-z0-9_]*$/.test(name) ? `${name.replace(/\W/g, '')}_` : name;
}

const PLAIN = /^[A-Za-z_][A-Za-z0-9_]*$/;
const RESERVED = new Set(
  'as break const continue else false for function if import in let loop package namespace null return true var void while'.split(' ')
);

/** True for a key that CEL reads with a dot. */
export function isPlain(key) {
  return PLAIN.test(key) && !RESERVED.has(key);
}

export function quote(text) {
  const escaped = JSON.stringify(text).slice(1, -1).replaceAll('\\"', '"').replaceAll("'", "\\'");
  return `'${escaped}'`;
}

/**
 * A value in CEL: its text, how tightly that binds, its type, whether it is a path of keys, whether it is certain to be there, or trusted
 * to be (params, and what an element of a list has), and, of an optional chain, the conditions under which there is a value.
 */
export function value(text, { binds = 9, type, path = false, sure = false, trusted = false, needs = [], parts } = {}) {
  return { text, binds, type, path, sure, trusted, needs, parts };
}

/** A member of a value. `sure` are keys that a context is known to have. */
export function member(base, key) {
  const text = isPlain(key) ? `${wrap(base, 8)}.${key}` : `${wrap(base, 8)}[${quote(key)}]`;
  const declared = base.sure && !base.trusted && base.type?.fields !== undefined && Object.hasOwn(base.type.fields, key);
  const asks = isPlain(key) ? `has(${text})` : `${quote(key)} in ${wrap(base, 8)}`;
  const type = Object.hasOwn(base.type?.fields ?? {}, key) ? base.type.fields[key] : undefined;
  return { ...value(text, { type, path: base.path, sure: declared, trusted: base.trusted, needs: base.needs }), base, asks };
}

/** An element of a list by its number, which is there if the list is long enough. */
export function numbered(base, index) {
  if (base.type?.is === 'map') return member(base, String(index));
  const isText = base.type?.is === 'string';
  const text = isText ? `${wrap(base, 8)}.charAt(${index})` : `${wrap(base, 8)}[${index}]`;
  const type = isText ? { is: 'string' } : base.type?.item;
  return { ...value(text, { type, path: true, needs: base.needs }), base, asks: [`size(${base.text}) > ${index}`] };
}

/** The text with parentheses where what it stands in binds at least as tightly as `level`. */
export function wrap(operand, level) {
  return operand.binds < level ? `(${operand.text})` : operand.text;
}

/** The conditions under which a path leads to a value that is not null. */
export function present(operand) {
  return [...existing(operand), ...(operand.type === undefined || !operand.sure ? [`${wrap(operand, 5)} != null`] : [])];
}

/** The conditions under which reading a path is no error; with `isTrusting` what is trusted to be there is not asked for. */
export function existing(operand, isTrusting = false) {
  const { base } = operand;
  const isAsked = base !== undefined && !operand.sure && !(isTrusting && operand.trusted);
  const own = isAsked ? [...(base.base === undefined ? [] : present(base)), ...[operand.asks].flat()] : [];
  return [...new Set([...operand.needs, ...own])];
}

/** Binds the names of a parameter or a declaration. */
export function bind(scope, pattern, bound, translate) {
  switch (pattern.type) {
    case 'Identifier':
      scope.set(pattern.name, bound);
      return;
    case 'AssignmentPattern':
      bind(scope, pattern.left, pattern.left.type === 'Identifier' ? translate.unlessGiven(bound, pattern.right, scope) : bound, translate);
      return;
    case 'ObjectPattern':
      for (const property of pattern.properties) {
        if (property.type === 'RestElement') refuse('it takes the rest of an object');
        if (property.computed) refuse('it takes a computed key');
        const key = property.key.name ?? String(property.key.value);
        bind(scope, property.value, reach(bound, key), translate);
      }
      return;
    case 'ArrayPattern':
      pattern.elements.forEach((element, index) => {
        if (element === null) return;
        if (element.type === 'RestElement') refuse('it takes the rest of a list');
        bind(scope, element, numbered(bound, index), translate);
      });
      return;
    default:
      refuse('it has a parameter of an unknown form');
  }
}

/** A key of what a name stands for: of the arguments themselves, or of a value. */
export function reach(bound, key) {
  if (bound.parts !== undefined) {
    return bound.parts[key] ?? { ...value(key), outside: `\`${key}\` of XState's arguments has no counterpart` };
  }
  return member(bound, key);
}
