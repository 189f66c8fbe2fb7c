// Calls that CEL has a function for.

import { refuse } from './javascript.mjs';
import { common, existing, numbered, present, quote, value, wrap } from './scope.mjs';

const BOOLEAN = { is: 'boolean' };
const NUMBER = { is: 'number' };
const WHOLE = { is: 'number', whole: true };
const STRING = { is: 'string' };
const LIST = { is: 'list' };

const MATH = { max: 'math.greatest', min: 'math.least', abs: 'math.abs', sign: 'math.sign', sqrt: 'math.sqrt' };

/** CEL rounds fractions only, to fractions, and halves away from zero. */
const ROUNDED = {
  floor: (text) => `int(math.floor(double(${text})))`,
  ceil: (text) => `int(math.ceil(double(${text})))`,
  trunc: (text) => `int(math.trunc(double(${text})))`,
  round: (text) => `int(math.floor(double(${text}) + 0.5))`
};

/** What changes from one call to the next has to come with the event. */
const CHANGING = /^(Date|performance|crypto|Math\.random|uuid|nanoid|v4)$/;

/** Functions of texts under the same arguments. */
const TEXT = { startsWith: ['startsWith', BOOLEAN], endsWith: ['endsWith', BOOLEAN], trim: ['trim', STRING] };
Object.assign(TEXT, { toLowerCase: ['lowerAscii', STRING], toUpperCase: ['upperAscii', STRING] });
Object.assign(TEXT, { reverse: ['reverse', LIST], toReversed: ['reverse', LIST] });

const ASCII = { toLowerCase: true, toUpperCase: true };

export function callOf(expressions, node, scope) {
  const { callee } = node;
  if (node.arguments.some((argument) => argument.type === 'SpreadElement')) refuse('a call spreads its arguments');
  if (callee.type === 'Identifier') return namedCall(expressions, callee.name, node.arguments, scope);
  if (callee.type !== 'MemberExpression' || callee.computed) refuse('it calls something that has no name');
  const method = callee.property.name;
  if (callee.object.type === 'Identifier' && !scope.has(callee.object.name)) {
    return libraryCall(expressions, callee.object.name, method, node.arguments, scope);
  }
  if (callee.object.type === 'Literal' && callee.object.regex !== undefined) return test(expressions, callee.object.regex, method, node.arguments, scope);
  return methodCall(expressions, node, method, scope);
}

function namedCall(expressions, name, args, scope) {
  switch (name) {
    case 'Boolean':
      return expressions.truth(args[0], scope);
    case 'String':
      return args.length === 0 ? value("''", { type: STRING }) : value(expressions.string(args[0], scope, 0), { binds: 0, type: STRING });
    case 'Number':
    case 'parseFloat':
      return args.length === 0 ? refuse(`\`${name}\` is given nothing`) : expressions.numberOf(args[0], scope);
    case 'parseInt':
      if (args[1] !== undefined && args[1].value !== 10) refuse('`parseInt` takes another base than 10');
      return expressions.numberOf(args[0], scope, true);
    case 'isNaN':
    case 'isFinite':
      return refuse(notNumber(name));
    case 'structuredClone':
      return expressions.value(args[0], scope);
    default:
      if (CHANGING.test(name)) refuse(`\`${name}\` gives something else each time: send it with the event`);
      if (scope.has(name)) refuse(`it calls \`${name}\`, which it was given`);
      return expressions.inlined(name, args, scope);
  }
}

/** What JavaScript has a number for that is none, CEL has none for. */
function notNumber(name) {
  return `it calls \`${name}\`: what is no number does not become one here; ask \`typeof\` whether it is one`;
}

function libraryCall(expressions, name, method, args, scope) {
  if (CHANGING.test(name) || CHANGING.test(`${name}.${method}`)) {
    refuse(`\`${name}.${method}\` gives something else each time: send it with the event`);
  }
  const texts = () => args.map((argument) => expressions.text(argument, scope)).join(', ');
  if (name === 'Math' && Object.hasOwn(ROUNDED, method) && args.length === 1) return value(ROUNDED[method](texts()), { type: WHOLE });
  if (name === 'Math' && Object.hasOwn(MATH, method)) {
    const type = args.map((argument) => expressions.settled(argument, scope).type).reduce((a, b) => common(a, b));
    return value(`${MATH[method]}(${texts()})`, { type: type?.whole && method !== 'sqrt' ? WHOLE : NUMBER });
  }
  if (name === 'Number' && (method === 'isNaN' || method === 'isFinite')) refuse(notNumber(`${name}.${method}`));
  if (name === 'Number' && method === 'isInteger' && args.length === 1) {
    const found = expressions.value(args[0], scope);
    const [text, side] = [found.text, wrap(found, 5)];
    const tests = `(type(${text}) == int || type(${text}) == double && ${side} == math.trunc(${text}))`;
    return value([...existing(found), tests].join(' && '), { binds: 3, type: BOOLEAN });
  }
  if (name === 'Array' && method === 'isArray') {
    const found = expressions.value(args[0], scope);
    return value([...existing(found), `type(${found.text}) == list`].join(' && '), { binds: 3, type: BOOLEAN });
  }
  if (name === 'Object' && method === 'keys') return value(`${expressions.text(args[0], scope, 8)}.map(key, key)`, { type: LIST });
  if (name === 'Object' && method === 'values') {
    const map = expressions.text(args[0], scope, 8);
    return value(`${map}.map(key, ${map}[key])`, { type: LIST });
  }
  return expressions.inlined(`${name}.${method}`, args, scope);
}

/** `/pattern/.test(text)`, where RE2 reads the pattern in the same way. */
function test(expressions, { pattern, flags }, method, args, scope) {
  if (method !== 'test' || /\(\?[=!<]|\\[1-9kBpPuc]/.test(pattern)) refuse('its regular expression has no counterpart in RE2');
  if (!/^[gi]*$/.test(flags)) refuse(`its regular expression has the flags ${flags}`);
  if (pattern.includes('\\s') || pattern.includes('\\S')) expressions.note('`\\s` in a regular expression knows only the spaces of ASCII here');
  const written = flags.includes('i') ? `(?i)${pattern}` : pattern;
  return value(`${expressions.text(args[0], scope, 8)}.matches(${quote(written)})`, { type: BOOLEAN });
}

const OVER_LISTS = {
  some: ({ list, name, truth }) => value(`${list}.exists(${name}, ${truth()})`, { type: BOOLEAN }),
  every: ({ list, name, truth }) => value(`${list}.all(${name}, ${truth()})`, { type: BOOLEAN }),
  filter: ({ list, name, truth, type }) => value(`${list}.filter(${name}, ${truth()})`, { type: type ?? LIST }),
  map: ({ list, name, result }) => {
    const each = result();
    return value(`${list}.map(${name}, ${each.text})`, { type: { is: 'list', item: each.type } });
  },
  // Undefined where there is none is null here.
  find: ({ list, name, truth, type }) => value(`(${list}.filter(${name}, ${truth()}) + [null])[0]`, { type: undefined, item: type?.item })
};

/** A method of an optional chain gives a value only where the chain does. */
function methodCall(expressions, node, method, scope) {
  const found = expressions.value(node.callee.object, scope);
  const needs = node.callee.optional ? present(found) : found.needs.length > 0 ? existing(found) : [];
  const result = called(expressions, { ...found, needs: [] }, node, method, scope);
  return needs.length === 0 ? result : { ...result, needs: [...new Set([...needs, ...result.needs])] };
}

function called(expressions, base, { arguments: args }, method, scope) {
  const list = wrap(base, 8);
  if (Object.hasOwn(ASCII, method)) expressions.note(`\`${method}\` changes only letters of ASCII here: let the sender of the event do it where there are others`);
  if (Object.hasOwn(OVER_LISTS, method)) {
    return OVER_LISTS[method]({ list, type: base.type, ...expressions.callback(args[0], scope, base.type?.item) });
  }
  const given = () => args.map((argument) => expressions.text(argument, scope)).join(', ');
  if (Object.hasOwn(TEXT, method)) return value(`${list}.${TEXT[method][0]}(${given()})`, { type: TEXT[method][1] });
  switch (method) {
    case 'includes':
      if (args.length !== 1) refuse('`includes` takes more than one argument');
      return includes(expressions, base, args[0], scope);
    case 'split':
      if (args.length !== 1) refuse('`split` has a limit, or nothing to split by');
      return value(`${list}.split(${given()})`, { type: { is: 'list', item: STRING } });
    case 'join':
      return join(expressions, base, args.length === 0 ? "','" : given());
    case 'indexOf':
    case 'lastIndexOf':
      return indexOf(expressions, base, method, args, scope);
    case 'sort':
    case 'toSorted':
      return sort(base, method, args);
    case 'flat':
      if (base.type?.is !== 'list' || (args.length > 0 && args[0].value !== 1)) refuse('`flat` goes deeper than one list, or may be of something else');
      return value(`${list}.flatten()`, { type: LIST });
    case 'charAt':
      return charAt(expressions, base, args[0], scope);
    case 'substring':
      return substring(expressions, base, args, scope);
    case 'concat':
      return concat(expressions, base, args, scope);
    case 'toString':
      if (args.length > 0) refuse('`toString` takes another base than 10');
      return value(expressions.textOf(base, 0), { binds: 0, type: STRING });
    case 'at':
      return at(expressions, base, args[0], scope);
    case 'slice':
      return slice(expressions, base, args, scope);
    case 'replace':
    case 'replaceAll':
      if (args[0]?.regex !== undefined) refuse('it replaces by a regular expression');
      if (typeof args[1]?.value !== 'string' || args[1].value.includes('$')) refuse(`what \`${method}\` puts in may have \`$\`, which stands for something else`);
      return value(`${list}.replace(${given()}${method === 'replace' ? ', 1' : ''})`, { type: STRING });
    default:
      return refuse(`it calls the method \`${method}\`, which CEL does not have`);
  }
}

/** CEL joins texts. */
function join(expressions, base, separator) {
  const item = base.type?.is === 'list' ? base.type.item : undefined;
  if (item?.is === 'string' && !item.guess) return value(`${wrap(base, 8)}.join(${separator})`, { type: STRING });
  const text = expressions.textOf(value('item', { type: item }), 0, { text: `${base.text}[...]` });
  return value(`${wrap(base, 8)}.map(item, ${text}).join(${separator})`, { type: STRING });
}

/** The place of a text in another; where to begin may be outside of it. */
function indexOf(expressions, base, method, args, scope) {
  if (base.type?.is === 'list') refuse(`it calls \`${method}\` of a list: ask with \`includes\` or \`some\``);
  if (base.type?.is !== 'string') refuse(`it calls \`${method}\` of something that may be a text or a list`);
  if (args.length !== 1) refuse(`\`${method}\` is told where to begin`);
  return value(`${wrap(base, 8)}.${method}(${expressions.text(args[0], scope)})`, { type: WHOLE });
}

function sort(base, method, args) {
  if (args.length > 0) refuse(`it calls the method \`${method}\` with a comparison, which that of CEL does not take`);
  const item = base.type?.is === 'list' ? base.type.item : undefined;
  if (item?.is !== 'string' || item.guess) refuse(`it calls the method \`${method}\` of what may be no texts: JavaScript orders everything as texts, and CEL by its type`);
  return value(`${wrap(base, 8)}.sort()`, { type: base.type });
}

function includes(expressions, base, argument, scope) {
  const item = expressions.text(argument, scope, 5);
  if (base.type?.is === 'list') {
    const asked = existing(expressions.value(argument, scope));
    const test = `${item} in ${wrap(base, 5)}`;
    return asked.length === 0 ? value(test, { binds: 4, type: BOOLEAN }) : value([...asked, test].join(' && '), { binds: 3, type: BOOLEAN });
  }
  if (base.type?.is === 'string') return value(`${wrap(base, 8)}.contains(${item})`, { type: BOOLEAN });
  return refuse('it calls `includes` of something that may be a text or a list');
}

function concat(expressions, base, args, scope) {
  if (base.type?.is !== 'list') refuse('it calls `concat` of something that may be a text or a list');
  const added = args.map((argument) => {
    const found = expressions.settled(argument, scope);
    if (found.type?.is === 'list') return wrap(found, 6);
    return found.type === undefined ? refuse('`concat` is given something that may be a list') : `[${found.text}]`;
  });
  return value([wrap(base, 5), ...added].join(' + '), { binds: 5, type: LIST });
}

/** A whole number that is written as such. */
function literal(node) {
  if (node.type === 'Literal' && Number.isInteger(node.value)) return node.value;
  return node.type === 'UnaryExpression' && node.operator === '-' && Number.isInteger(node.argument.value) ? -node.argument.value : undefined;
}

function at(expressions, base, argument, scope) {
  const number = literal(argument);
  if (number === undefined) return value(`${wrap(base, 8)}[${expressions.text(argument, scope)}]`, { type: base.type?.item });
  if (number >= 0) return numbered(base, number);
  const index = `size(${base.text}) - ${-number}`;
  const found = numbered(base, index);
  return { ...found, asks: [`size(${base.text}) >= ${-number}`] };
}

/** JavaScript takes places outside of a text for its ends. */
function within(expressions, base, argument, scope) {
  const number = literal(argument);
  const size = `size(${base.text})`;
  if (number !== undefined) return number <= 0 ? '0' : `math.least(${number}, ${size})`;
  return `math.least(math.greatest(${expressions.text(argument, scope)}, 0), ${size})`;
}

function charAt(expressions, base, argument, scope) {
  const number = argument === undefined ? 0 : literal(argument);
  const text = number === undefined ? expressions.text(argument, scope) : String(number);
  const at = number === undefined ? expressions.text(argument, scope, 5) : text;
  const isInside = number === undefined ? `${at} >= 0 && ${at} < size(${base.text})` : `size(${base.text}) > ${text}`;
  if (number < 0) return value("''", { type: STRING });
  return value(`${isInside} ? ${wrap(base, 8)}.charAt(${text}) : ''`, { binds: 0, type: STRING });
}

/** The two ends in whatever order. */
function substring(expressions, base, args, scope) {
  const size = `size(${base.text})`;
  const [first, second] = [within(expressions, base, args[0], scope), args[1] === undefined ? size : within(expressions, base, args[1], scope)];
  const [a, b] = args.map(literal);
  const isOrdered = args.length < 2 || a <= b;
  const [from, to] = isOrdered ? [first, second] : a > b ? [second, first] : [`math.least(${first}, ${second})`, `math.greatest(${first}, ${second})`];
  return value(`${wrap(base, 8)}.substring(${from}, ${to})`, { type: STRING });
}

/** JavaScript counts negative places from the end, takes those outside for the ends, and gives nothing where the second is before the first. */
function slice(expressions, base, args, scope) {
  const name = { list: 'slice', string: 'substring' }[base.type?.is] ?? refuse('it calls `slice` of something that may be a text or a list');
  const size = `size(${base.text})`;
  const bound = (argument) => {
    const number = literal(argument);
    if (number === 0) return '0';
    if (number !== undefined) return number < 0 ? `math.greatest(${size} - ${-number}, 0)` : `math.least(${number}, ${size})`;
    const at = expressions.text(argument, scope, 5);
    return `(${at} < 0 ? math.greatest(${size} + ${at}, 0) : math.least(${at}, ${size}))`;
  };
  const from = args[0] === undefined ? '0' : bound(args[0]);
  const to = args[1] === undefined ? size : from === '0' ? bound(args[1]) : `math.greatest(${from}, ${bound(args[1])})`;
  return value(`${wrap(base, 8)}.${name}(${from}, ${to})`, { type: base.type });
}
