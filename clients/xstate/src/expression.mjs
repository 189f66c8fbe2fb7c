// JavaScript expressions in CEL: reads, comparisons, arithmetic, texts, lists and maps.

import { isBuiltIn, isFunctionNode, missingOf, parse, refuse, REFUSED } from './javascript.mjs';
import { bind, common, existing, member, numbered, present, quote, reach, typeOf, value, variable, wrap } from './scope.mjs';
import { callOf } from './calls.mjs';

const BOOLEAN = { is: 'boolean' };
const NUMBER = { is: 'number' };
const WHOLE = { is: 'number', whole: true };
const STRING = { is: 'string' };
const COMPARISONS = { '===': '==', '==': '==', '!==': '!=', '!=': '!=', '<': '<', '<=': '<=', '>': '>', '>=': '>=' };

/** CEL of `conditions`, all of which must be true. */
export function all(conditions) {
  if (conditions.length === 1) return value(conditions[0], { binds: conditions[0].includes(' ') ? 4 : 9, type: BOOLEAN });
  return value(conditions.join(' && '), { binds: 3, type: BOOLEAN });
}

function isNothing(node) {
  return (
    (node.type === 'Literal' && node.value === null && node.regex === undefined) ||
    (node.type === 'Identifier' && node.name === 'undefined') ||
    (node.type === 'UnaryExpression' && node.operator === 'void')
  );
}

/** Translates one function's expressions; names are looked up in a scope, a Map that is copied where it grows. */
export class Expressions {
  /**
   * `lookup` gives what a name outside of the function stands for; `note` is told what is not quite the same in CEL, and `remainder` of
   * what `%` is taken.
   */
  constructor(lookup = () => undefined, { note = () => {}, remainder = () => {} } = {}) {
    Object.assign(this, { lookup, note, remainder });
    this.depth = 0;
  }

  /** A value that stands by itself: where an optional chain ends early it is null. */
  settled(node, scope) {
    const found = this.value(node, scope);
    if (found.needs.length === 0) return found;
    const read = all([...new Set([...found.needs, ...existing(found)])]);
    return value(`${wrap(read, 2)} ? ${wrap({ ...found, needs: [] }, 1)} : null`, { binds: 0 });
  }

  /** A value, or null where it is missing. */
  orNull(found) {
    const conditions = existing(found);
    return conditions.length === 0 ? found : value(`${wrap(all(conditions), 1)} ? ${wrap({ ...found, needs: [] }, 1)} : null`, { binds: 0 });
  }

  text(node, scope, level = 0) {
    return wrap(this.settled(node, scope), level);
  }

  value(node, scope) {
    const translate = this[node.type];
    if (translate === undefined) refuse(`${node.type} has no counterpart in CEL`);
    return translate.call(this, node, scope);
  }

  Literal(node) {
    if (node.regex !== undefined) refuse('a regular expression stands by itself');
    if (node.bigint !== undefined) refuse('JSON has no BigInt');
    if (typeof node.value === 'string') return value(quote(node.value), { type: STRING });
    if (typeof node.value === 'number') return value(String(node.value), { type: typeOf(node.value) });
    return value(String(node.value), { type: typeof node.value === 'boolean' ? BOOLEAN : undefined });
  }

  Identifier(node, scope) {
    if (node.name === 'undefined') return value('null');
    const found = scope.get(node.name);
    if (found === undefined) return this.outside(node);
    if (found.outside !== undefined) refuse(found.outside);
    if (found.parts !== undefined) refuse('it passes on all of its arguments');
    return found;
  }

  /** A constant of the file. */
  outside({ name }) {
    const known = this.lookup(name);
    const missing = missingOf(known);
    if (missing !== undefined) refuse(`it uses something of ${missing}`);
    return constant(known) ?? refuse(`it uses \`${name}\`, which is outside of the function`);
  }

  /** A function of the file, with its arguments put into it. */
  inlined(name, args, scope) {
    const DEPTH_MAX = 8;
    const [first, ...keys] = name.split('.');
    const known = keys.reduce((found, key) => found?.[key], this.lookup(first) ?? globalThis[first]);
    const missing = missingOf(known);
    if (missing !== undefined) refuse(`it calls ${keys.length > 0 ? `\`${keys.at(-1)}\`` : 'something'} of ${missing}`);
    if (isBuiltIn(known)) refuse(`it calls \`${name}\`, which is built in, and of which CEL has nothing`);
    if (typeof known !== 'function' || this.depth >= DEPTH_MAX) refuse(`it calls \`${name}\`, which is outside of the function`);
    const node = parse(known);
    const inner = new Map();
    node.params.forEach((pattern, index) => {
      if (pattern.type === 'RestElement') refuse(`\`${name}\` takes a rest of arguments`);
      const given = args[index] === undefined ? value('null') : this.argument(args[index], scope);
      bind(inner, pattern, given, this);
    });
    this.depth += 1;
    try {
      const body = this.body(node.body, inner);
      return this.value(body.node, body.scope);
    } finally {
      this.depth -= 1;
    }
  }

  /** What is passed on: all arguments of XState too. */
  argument(node, scope) {
    const named = node.type === 'Identifier' ? scope.get(node.name) : undefined;
    return named?.parts === undefined ? this.settled(node, scope) : named;
  }

  ParenthesizedExpression(node, scope) {
    return this.value(node.expression, scope);
  }

  ChainExpression(node, scope) {
    return this.value(node.expression, scope);
  }

  MemberExpression(node, scope) {
    const base = this.base(node.object, scope);
    if (base.parts !== undefined) {
      const found = reach(base, node.property.name);
      return found.outside === undefined ? found : refuse(found.outside);
    }
    const needs = node.optional ? [...new Set([...base.needs, ...present(base)])] : base.needs;
    const from = { ...base, needs };
    if (node.computed) return this.element(node, from, scope);
    const key = node.property.name;
    if (base.keys?.[key] !== undefined) return base.keys[key];
    if (key === 'length' && base.type?.is !== 'map') {
      return value(`size(${from.text})`, { type: WHOLE, needs: [...new Set([...needs, ...(node.optional ? existing(base) : [])])] });
    }
    return member(from, key);
  }

  /** What a member is taken of: all arguments, if the function names them. */
  base(node, scope) {
    const named = node.type === 'Identifier' ? scope.get(node.name) : undefined;
    return named?.parts === undefined ? this.value(node, scope) : named;
  }

  element(node, base, scope) {
    const key = node.property;
    if (key.type === 'Literal' && typeof key.value === 'string') return member(base, key.value);
    if (key.type === 'Literal' && Number.isInteger(key.value) && key.value >= 0) return numbered(base, key.value);
    const found = this.value(key, scope);
    const [index, at, list] = [this.text(key, scope), wrap(found, 5), wrap(base, 8)];
    const name = this.key(found, index);
    const inList = `${at} >= 0 && ${at} < size(${base.text})`;
    const inMap = `${name} in ${wrap(base, 5)}`;
    const is = base.type?.is;
    const asks = is === 'list' ? inList : is === 'map' ? inMap : `(type(${base.text}) == list ? ${inList} : ${inMap})`;
    const read = value(`${list}[${is === 'map' ? name : index}]`, { type: base.type?.item, path: true, needs: base.needs });
    return { ...read, base, asks: [...present(found), asks] };
  }

  /** The key of an object is a text, whatever is given. */
  key(found, text) {
    return isText(found) ? text : `string(${text})`;
  }

  TemplateLiteral(node, scope) {
    const parts = [];
    node.quasis.forEach((quasi, index) => {
      if (quasi.value.cooked !== '') parts.push(quote(quasi.value.cooked));
      const inner = node.expressions[index];
      if (inner !== undefined) parts.push(this.string(inner, scope));
    });
    if (parts.length === 0) return value("''", { type: STRING });
    return value(parts.join(' + '), { binds: parts.length > 1 ? 5 : 9, type: STRING });
  }

  /** As a text, whatever it is. */
  string(node, scope, level = 6) {
    return this.textOf(this.settled(node, scope), level);
  }

  /** A value as a text. That of null, of lists and of objects is rarely meant, and there is none here. */
  textOf(found, level = 6, shown = found) {
    if (isText(found)) return wrap(found, level);
    if (found.type?.is === 'list' || found.type?.is === 'map') refuse(`it makes a text of \`${found.text}\`, a list or an object: say which, with \`join\` or its keys`);
    if (found.type === undefined) this.noteOf(shown, `null, a missing key, a list or an object has no text here: ${REFUSED}; write \`?? ''\` behind what may be null or missing`);
    return `string(${found.text})`;
  }

  /** A value as a number. */
  numberOf(node, scope, isWhole = false) {
    const found = this.settled(node, scope);
    const type = found.type?.guess ? undefined : found.type?.is;
    if (type === 'boolean') return value(`${wrap(found, 1)} ? 1 : 0`, { binds: 0, type: WHOLE });
    if (type !== 'number') this.noteOf(found, `only a number, or a text that is nothing but one, is a number here: with \`''\`, null, a missing key or \`'12px'\` ${REFUSED}`);
    if (isWhole) return value(type === 'number' ? `int(${found.text})` : `int(double(${found.text}))`, { type: WHOLE });
    return value(`double(${found.text})`, { type: NUMBER });
  }

  noteOf({ text }, why) {
    const SHOWN_MAX = 60;
    this.note(`\`${text.length > SHOWN_MAX ? `${text.slice(0, SHOWN_MAX)}...` : text}\`: ${why}`);
  }

  UnaryExpression(node, scope) {
    if (node.operator === '!') return value(`!${wrap(this.truth(node.argument, scope), 7)}`, { binds: 7, type: BOOLEAN });
    if (node.operator === '-') {
      const found = this.settled(node.argument, scope);
      return value(`-${wrap(found, 8)}`, { binds: 7, type: found.type?.whole ? WHOLE : NUMBER });
    }
    if (node.operator === '+') return this.numberOf(node.argument, scope);
    if (node.operator === 'void') return value('null');
    return refuse(operatorOf(node.operator));
  }

  BinaryExpression(node, scope) {
    const { operator, left, right } = node;
    if (operator in COMPARISONS) return this.comparison(node, scope);
    if (operator === 'in') return this.contained(left, right, scope);
    if (operator === '+') return this.sum(left, right, scope);
    if (!['-', '*', '/', '%'].includes(operator)) refuse(operatorOf(operator));
    const [a, b] = [this.settled(left, scope), this.settled(right, scope)];
    const type = common(a.type, b.type)?.whole ? WHOLE : NUMBER;
    if (operator === '-') return value(`${wrap(a, 5)} - ${wrap(b, 6)}`, { binds: 5, type });
    if (operator === '*') return value(`${wrap(a, 6)} * ${wrap(b, 7)}`, { binds: 6, type });
    if (operator === '%') {
      const text = `${wrap(a, 6)} % ${wrap(b, 7)}`;
      this.remainder(text, type === WHOLE);
      return value(text, { binds: 6, type: WHOLE });
    }
    // JavaScript keeps the fraction.
    return value(`double(${this.text(left, scope)}) / ${this.text(right, scope, 7)}`, { binds: 6, type: NUMBER });
  }

  /** `'key' in object`; of a list JavaScript asks for the places, and CEL for the elements. */
  contained(left, right, scope) {
    const [key, base] = [this.settled(left, scope), this.settled(right, scope)];
    if (base.type?.is === 'list' || key.type?.is === 'number') refuse('`in` asks for the place of an element: ask for the length');
    return value(`${wrap(key, 5)} in ${wrap(base, 5)}`, { binds: 4, type: BOOLEAN });
  }

  sum(left, right, scope) {
    const [a, b] = [this.settled(left, scope), this.settled(right, scope)];
    if ([a, b].some(({ type }) => type?.is === 'list' || type?.is === 'map')) refuse('`+` of lists or objects makes a text of them: spread them, or write `concat`');
    if (isText(a) || isText(b)) return value(`${this.string(left, scope, 5)} + ${this.string(right, scope)}`, { binds: 5, type: STRING });
    return value(`${wrap(a, 5)} + ${wrap(b, 6)}`, { binds: 5, type: common(a.type, b.type) });
  }

  comparison({ operator, left, right }, scope) {
    const written = COMPARISONS[operator];
    if (left.type === 'UnaryExpression' && left.operator === 'typeof') return this.kind(left.argument, right, written, scope);
    if (isNothing(right)) return this.nothing(left, operator, right, scope);
    if (isNothing(left)) return this.nothing(right, operator, left, scope);
    const [a, b] = [this.value(left, scope), this.value(right, scope)];
    const sides = (sign) => `${wrap(a, 5)} ${sign} ${wrap(b, 5)}`;
    const isEquality = written === '==' || written === '!=';
    if (isEquality) this.checkEquality(operator, a, b, sides(operator));
    let [ofA, ofB] = [existing(a), existing(b)];
    if (isEquality && ofA.length > 0 && ofB.length > 0) {
      // What both may lack is equal where both lack it. What a list's first elements have is taken to be in all.
      const isDeclared = (found) => found.trusted && found.type !== undefined;
      if (!isDeclared(a) && !isDeclared(b)) return this.bothOrNeither(written, [ofA, ofB], sides('=='));
      [ofA, ofB] = [existing(a, true), existing(b, true)];
    }
    // A field that is not there is undefined in JavaScript: no comparison with another value is true, and none is a fault.
    const needs = [...new Set([...ofA, ...ofB])];
    if (needs.length === 0) return value(sides(written), { binds: 4, type: BOOLEAN });
    // Where there is no value, only `!=` is true.
    const joined = all([...needs, sides(written === '!=' ? '==' : written)]);
    return written === '!=' ? value(`!(${joined.text})`, { binds: 7, type: BOOLEAN }) : joined;
  }

  checkEquality(operator, a, b, sides) {
    const isObject = ({ type }) => type?.is === 'list' || type?.is === 'map';
    if (isObject(a) || isObject(b)) refuse(`\`${sides}\` compares lists or objects, which JavaScript does by identity: compare what is in them`);
    const isKnown = common(a.type, b.type) !== undefined && !a.type.guess && !b.type.guess;
    if (operator.length === 3 || isKnown) return;
    this.note(`\`${operator}\` is taken for \`${operator}=\`: in \`${sides}\` a text and a number are never equal here; write \`${operator}=\`, or convert one side`);
  }

  bothOrNeither(written, needs, equal) {
    const [a, b] = needs.map((conditions) => all(conditions));
    const joined = `${wrap(a, 3)} && ${wrap(b, 3)} ? ${equal} : !${wrap(a, 7)} && !${wrap(b, 7)}`;
    return written === '!=' ? value(`!(${joined})`, { binds: 7, type: BOOLEAN }) : value(joined, { binds: 0, type: BOOLEAN });
  }

  /** Null and undefined are one here, as JSON has only the one: a key that is not there, or null. */
  nothing(node, operator, other, scope) {
    const found = this.value(node, scope);
    const strictly = operator === '===' || operator === '!==';
    const isNull = other.type === 'Literal' && strictly;
    const conditions = present({ ...found, type: undefined });
    const isThere = all(conditions);
    if (operator.startsWith('!')) return isThere;
    const asked = conditions.slice(0, -1);
    if (asked.length === 0) return value(`${wrap(found, 5)} == null`, { binds: 4, type: BOOLEAN });
    if (isNull) return all([...asked, `${wrap(found, 5)} == null`]);
    return value(`!(${isThere.text})`, { binds: 7, type: BOOLEAN });
  }

  /** `typeof x === '...'` */
  kind(node, right, written, scope) {
    const names = { string: ['string'], boolean: ['bool'], number: ['int', 'double'], object: ['map', 'list'] };
    const found = this.value(node, scope);
    const asked = existing(found);
    if (right.value === 'undefined') return this.nothing(node, written === '==' ? '===' : '!==', { type: 'Identifier' }, scope);
    const kinds = names[right.value] ?? refuse(`\`typeof\` is compared with ${right.value}`);
    const each = kinds.map((kind) => `type(${found.text}) == ${kind}`);
    // JavaScript's null is an object.
    if (right.value === 'object') each.push(`${wrap(found, 5)} == null`);
    const tests = each.join(' || ');
    const joined = [...asked, each.length > 1 ? `(${tests})` : tests].join(' && ');
    return written === '==' ? value(joined, { binds: 3, type: BOOLEAN }) : value(`!(${joined})`, { binds: 7, type: BOOLEAN });
  }

  /** What JavaScript takes for true, as a boolean. */
  truth(node, scope) {
    if (node.type === 'LogicalExpression' && node.operator !== '??') {
      const level = node.operator === '&&' ? 3 : 2;
      const [a, b] = [this.truth(node.left, scope), this.truth(node.right, scope)];
      return value(`${wrap(a, level)} ${node.operator} ${wrap(b, level)}`, { binds: level, type: BOOLEAN });
    }
    if (node.type === 'ParenthesizedExpression' || node.type === 'ChainExpression') return this.truth(node.expression, scope);
    if (node.type === 'Scoped') return this.truth(node.node, node.scope);
    if (node.type === 'ConditionalExpression') {
      const [test, yes, no] = [this.truth(node.test, scope), this.truth(node.consequent, scope), this.truth(node.alternate, scope)];
      return value(`${wrap(test, 1)} ? ${wrap(yes, 1)} : ${wrap(no, 0)}`, { binds: 0, type: BOOLEAN });
    }
    const found = this.value(node, scope);
    const test = truthOf(found);
    const conditions = [...new Set([...(found.path || found.needs.length > 0 ? existing(found) : []), ...(test === undefined ? [] : [test])])];
    return conditions.length === 0 ? value('true', { type: BOOLEAN }) : conditions.length === 1 && test === found.text ? { ...found, needs: [] } : all(conditions);
  }

  LogicalExpression(node, scope) {
    // `(a ?? b) ?? c` is `a ?? (b ?? c)`: the other way each value would be asked for once more.
    const { left, operator } = node;
    if (operator !== '&&' && left.type === 'LogicalExpression' && left.operator === operator) {
      return this.LogicalExpression({ ...node, left: left.left, right: { ...node, left: left.right } }, scope);
    }
    if (node.operator === '??') return this.orElse(this.value(node.left, scope), node.right, scope);
    const [a, b] = [this.value(node.left, scope), this.value(node.right, scope)];
    const isBoolean = (found) => found.type?.is === 'boolean' && existing(found).length === 0;
    if (isBoolean(a) && isBoolean(b)) return this.truth(node, scope);
    const test = this.truth(node.left, scope);
    const [yes, no] = node.operator === '&&' ? [this.text(node.right, scope, 1), wrap(this.orNull(a), 0)] : [wrap({ ...a, needs: [] }, 1), this.text(node.right, scope, 0)];
    return value(`${wrap(test, 1)} ? ${yes} : ${no}`, { binds: 0, type: common(a.type, b.type) });
  }

  /** The value, or another where there is none. */
  orElse(found, otherwise, scope) {
    const other = this.settled(otherwise, scope);
    // What is missing is null anyway.
    if (other.text === 'null') return this.orNull(found);
    const type = found.type === undefined ? other.type && { ...other.type, whole: undefined, guess: true } : common(found.type, other.type);
    return this.chosen(present({ ...found, type: undefined }), found, other, type);
  }

  /** The value, or another where it is not there: null is a value. */
  unlessGiven(found, otherwise, scope) {
    const conditions = existing(found);
    if (conditions.length === 0) return found;
    const other = this.settled(otherwise, scope);
    const type = found.type === undefined ? other.type && { ...other.type, whole: undefined, guess: true } : common(found.type, other.type);
    return this.chosen(conditions, found, other, type);
  }

  chosen(conditions, found, other, type) {
    const REPEATED_MAX = 120;
    if (found.text.length > REPEATED_MAX) refuse('`??` stands behind something long');
    return value(`${all(conditions).text} ? ${wrap({ ...found, needs: [] }, 1)} : ${wrap(other, 0)}`, { binds: 0, type });
  }

  ConditionalExpression(node, scope) {
    const test = this.truth(node.test, scope);
    const [yes, no] = [this.settled(node.consequent, scope), this.settled(node.alternate, scope)];
    const type = common(yes.type, no.type);
    return value(`${wrap(test, 1)} ? ${wrap(yes, 1)} : ${wrap(no, 0)}`, { binds: 0, type });
  }

  ArrayExpression(node, scope) {
    const sums = [];
    let run = [];
    const close = () => {
      if (run.length > 0) sums.push(`[${run.join(', ')}]`);
      run = [];
    };
    for (const element of node.elements) {
      if (element === null) refuse('a list has a hole');
      if (element.type !== 'SpreadElement') {
        run.push(this.text(element, scope));
        continue;
      }
      close();
      sums.push(this.text(element.argument, scope, 6));
    }
    close();
    return value(sums.join(' + ') || '[]', { binds: sums.length > 1 ? 5 : 9, type: { is: 'list' } });
  }

  ObjectExpression(node, scope) {
    let text;
    let run = [];
    const close = () => {
      if (run.length > 0 || text === undefined) text = text === undefined ? `{${run.join(', ')}}` : `${text}.merge({${run.join(', ')}})`;
      run = [];
    };
    for (const property of node.properties) {
      if (property.type === 'SpreadElement') {
        if (run.length > 0) close();
        const spread = this.text(property.argument, scope, text === undefined ? 8 : 0);
        text = text === undefined ? spread : `${text}.merge(${spread})`;
        continue;
      }
      run.push(this.entry(property, scope));
    }
    if (run.length > 0 || text === undefined) close();
    return value(text, { type: { is: 'map' } });
  }

  entry(property, scope) {
    if (property.kind !== 'init' || property.method) refuse('an object has a method');
    const key = property.computed ? this.string(property.key, scope, 0) : quote(property.key.name ?? String(property.key.value));
    return `${key}: ${this.text(property.value, scope)}`;
  }

  CallExpression(node, scope) {
    return callOf(this, node, scope);
  }

  /** The value that a function gives: of its body, with `const` taken in and `if` made into `? :`. */
  body(node, scope) {
    if (node.type !== 'BlockStatement') return { node, scope };
    return this.statements(node.body, new Map(scope));
  }

  statements([first, ...rest], scope) {
    if (first === undefined) return { node: { type: 'Identifier', name: 'undefined' }, scope };
    switch (first.type) {
      case 'ReturnStatement':
        return { node: first.argument ?? { type: 'Identifier', name: 'undefined' }, scope };
      case 'VariableDeclaration':
        for (const { id, init } of first.declarations) {
          if (init === null) refuse('it has a variable without a value');
          const bound = id.type === 'Identifier' || scope.get(init.name)?.parts === undefined ? this.settled(init, scope) : scope.get(init.name);
          bind(scope, id, bound, this);
        }
        return this.statements(rest, scope);
      case 'IfStatement':
        return this.branch(first, rest, scope);
      case 'SwitchStatement':
        return this.statements([cases(first.discriminant, first.cases), ...rest], scope);
      case 'ExpressionStatement':
        if (first.expression.type === 'CallExpression' && first.expression.callee.name === 'assertEvent') return this.statements(rest, scope);
        return refuse('it does something besides computing a value');
      case 'BlockStatement':
        return this.statements([...first.body, ...rest], scope);
      case 'EmptyStatement':
        return this.statements(rest, scope);
      default:
        return refuse(`${first.type} has no counterpart in CEL`);
    }
  }

  branch(node, rest, scope) {
    const list = (statement) => (statement === null ? [] : statement.type === 'BlockStatement' ? statement.body : [statement]);
    // `if (event.type !== 'X') throw ...` only tells TypeScript what the event is.
    if (list(node.consequent)[0]?.type === 'ThrowStatement') return this.statements([...list(node.alternate), ...rest], scope);
    const given = (statements) => {
      const found = this.statements(statements, new Map(scope));
      return { type: 'Scoped', ...found };
    };
    const consequent = given([...list(node.consequent), ...(ends(list(node.consequent)) ? [] : rest)]);
    const alternate = given([...list(node.alternate), ...rest]);
    return { node: { type: 'ConditionalExpression', test: node.test, consequent, alternate }, scope };
  }

  /** An expression with the names of its own place. */
  Scoped({ node, scope }) {
    return this.value(node, scope);
  }

  /** The body of a callback over a list's elements, and the variable's name. */
  callback(node, scope, item) {
    if (node === undefined || !isFunctionNode(node) || node.params.length !== 1) refuse('a callback takes other than one element');
    const [pattern] = node.params;
    const name = pattern.type === 'Identifier' ? variable(pattern.name) : variable('it');
    const inner = new Map(scope);
    bind(inner, pattern, value(name, { type: item, path: true, sure: true, trusted: true }), this);
    const { node: body, scope: its } = this.body(node.body, inner);
    return { name, result: () => this.settled(body, its), truth: () => this.truth(body, its).text };
  }
}

const BITS = { '&': 'bitAnd', '|': 'bitOr', '^': 'bitXor', '~': 'bitNot', '<<': 'bitShiftLeft', '>>': 'bitShiftRight' };

/** Why an operator is not translated. */
function operatorOf(operator) {
  if (Object.hasOwn(BITS, operator)) return `the operator \`${operator}\` takes numbers of 32 bits: write \`math.${BITS[operator]}\`, which takes 64`;
  if (operator === '**') return 'the operator `**` has no counterpart in CEL: for `2 ** n` write `math.bitShiftLeft(1, n)`';
  return `the operator \`${operator}\` has no counterpart in CEL`;
}

/** Whether it is certain to be a text. */
function isText({ type }) {
  return type?.is === 'string' && !type.guess;
}

/** A value of the file as a literal: a text, a number, or an object of which a key is read. */
function constant(known) {
  if (known === null || ['string', 'number', 'boolean'].includes(typeof known)) {
    return value(typeof known === 'string' ? quote(known) : String(known), { type: typeOf(known), binds: typeof known === 'number' && known < 0 ? 7 : 9 });
  }
  if (Array.isArray(known)) {
    const items = known.map(constant);
    return items.includes(undefined) ? undefined : value(`[${items.map(({ text }) => text).join(', ')}]`, { type: typeOf(known) });
  }
  if (typeof known !== 'object') return undefined;
  const prototype = Object.getPrototypeOf(known);
  if (prototype !== null && Object.getPrototypeOf(prototype) !== null) return undefined;
  const entries = Object.entries(known).map(([key, item]) => [key, constant(item)]);
  const written = entries.filter(([, item]) => item !== undefined).map(([key, item]) => `${quote(key)}: ${item.text}`);
  return { ...value(`{${written.join(', ')}}`, { type: typeOf(known) }), keys: Object.fromEntries(entries) };
}

/** `switch` as `if`: each case has to return. */
function cases(discriminant, [first, ...rest]) {
  const nothing = { type: 'EmptyStatement' };
  if (first === undefined) return nothing;
  if (first.test === null) return rest.length === 0 ? { type: 'BlockStatement', body: first.consequent } : refuse('`default` is not the last case');
  const tests = [first.test];
  while (first.consequent.length === 0 && rest.length > 0 && rest[0].test !== null) {
    [first, ...rest] = rest;
    tests.push(first.test);
  }
  const body = first.consequent.flatMap((statement) => (statement.type === 'BlockStatement' ? statement.body : [statement]));
  if (!ends(body)) refuse('a case of `switch` does not return');
  const equals = tests.map((right) => ({ type: 'BinaryExpression', operator: '===', left: discriminant, right }));
  const test = equals.reduce((left, right) => ({ type: 'LogicalExpression', operator: '||', left, right }));
  return { type: 'IfStatement', test, consequent: { type: 'BlockStatement', body }, alternate: cases(discriminant, rest) };
}

function ends(statements) {
  const last = statements.at(-1);
  return last?.type === 'ReturnStatement' || (last?.type === 'IfStatement' && last.alternate !== null);
}

function truthOf(found) {
  switch (found.type?.guess ? undefined : found.type?.is) {
    case 'boolean':
      return found.text;
    case 'number':
      return `${wrap(found, 5)} != 0`;
    case 'string':
      return `${wrap(found, 5)} != ''`;
    case 'list':
    case 'map':
      return undefined;
    default:
      return `!(${wrap(found, 5)} in [null, false, 0, ''])`;
  }
}
