// A function's text as a syntax tree: what it takes, and what it gives.

import { parseExpressionAt } from 'acorn';

/** A piece of JavaScript that has no counterpart in a definition; the message is the reason, for people. */
export class Untranslatable extends Error {}

export function refuse(reason) {
  throw new Untranslatable(reason);
}

/** What comes of an expression that has no value. */
export const REFUSED = 'the event is refused, and an instance that comes here by `after` is stuck';

const SYNTAX = { ecmaVersion: 'latest' };

/** The text of a node that was parsed; one that was made for another way of writing it has none. */
export function textOf({ sourceFile, start, end }) {
  return sourceFile?.slice(start, end);
}

/** `{{...}}`, as Stately's JSON export writes JavaScript: the text inside, or nothing. */
export function stately(value) {
  return typeof value === 'string' ? /^\s*\{\{([\s\S]*)\}\}\s*$/.exec(value)?.[1].trim() : undefined;
}

/** True for what is to be computed: a function, or one that Stately's export wrote as text. */
export function isComputed(value) {
  return typeof value === 'function' || stately(value) !== undefined;
}

/** The text of a function, or of `{{...}}`. */
export function sourceOf(value) {
  return stately(value) ?? Function.prototype.toString.call(value);
}

/** The key under which what stands for a package that is not installed says so. */
const MISSING = Symbol.for('statemesh.missing');

/** The package or file that a value stands for, if it is not there, in words. */
export function missingOf(value) {
  const what = typeof value === 'function' ? value[MISSING] : undefined;
  return typeof what === 'string' ? what : undefined;
}

/** Whether a function is the engine's, or was bound: neither has a text. */
export function isBuiltIn(value) {
  return typeof value === 'function' && /\{\s*\[native code\]\s*\}$/.test(Function.prototype.toString.call(value));
}

function attempt(text) {
  const whole = `(${text}\n)`;
  try {
    return parseExpressionAt(whole, 0, { ...SYNTAX, directSourceFile: whole });
  } catch {
    return undefined;
  }
}

/** The syntax tree of a function: an arrow, a function, a method, or (from `{{...}}`) an expression by itself. */
export function parse(value, { mayWait = false } = {}) {
  const missing = missingOf(value);
  if (missing !== undefined) refuse(`it is a function of ${missing}`);
  if (isBuiltIn(value)) refuse(`its text cannot be read: ${value.name.startsWith('bound ') ? 'it is bound' : 'it is built in'}`);
  const text = sourceOf(value);
  const tree = attempt(text) ?? attempt(`{${text}}`);
  if (tree === undefined) refuse('its text is no JavaScript that can be read');
  const found = tree.type === 'ObjectExpression' && typeof value === 'function' ? tree.properties[0]?.value : tree;
  if (found === undefined) refuse('its text cannot be read');
  if (found.async && !mayWait) refuse('it is async: a definition does not wait, an effect and an event do');
  if (found.generator) refuse('it is a generator');
  return found;
}

export function isFunctionNode(node) {
  return node.type === 'ArrowFunctionExpression' || node.type === 'FunctionExpression';
}

/** Calls `visit` on a node and all below it; what `visit` answers with `false` is not entered. */
export function walk(node, visit, parent) {
  if (node === null || typeof node !== 'object') return;
  if (typeof node.type === 'string' && visit(node, parent) === false) return;
  for (const [key, child] of Object.entries(node)) {
    if (key === 'type') continue;
    if (Array.isArray(child)) child.forEach((item) => walk(item, visit, node));
    else if (child !== null && typeof child === 'object') walk(child, visit, node);
  }
}
