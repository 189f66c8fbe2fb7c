// Calls that CEL has a function for.

import { refuse } from './javascript.mjs';
import { existing, present, quote, value, wrap } from './scope.mjs';

const BOOLEAN = { is: 'boolean' };
const NUMBER = { is: 'number' };
const STRING = { is: 'string' };
const LIST = { is: 'list' };

const MATH = { max: 'math.greatest', min: 'math.least', abs: 'math.abs', floor: 'math.floor', ceil: 'math.ceil' };
Object.assign(MATH, { round: 'math.round', trunc: 'math.trunc', sign: 'math.sign', sqrt: 'math.sqrt' });

/** What changes from one call to the next has to come with the event. */
const CHANGING = /^(Date|performance|crypto|Math\.random|uuid|nanoid|v4)$/;

/** Functions of texts under the same arguments. */
const TEXT = { startsWith: ['startsWith', BOOLEAN], endsWith: ['endsWith', BOOLEAN], trim: ['trim', STRING] };
Object.assign(TEXT, { toLowerCase: ['lowerAscii', STRING], toUpperCase: ['upperAscii', STRING], split: ['split', LIST] });
Object.assign(TEXT, { charAt: ['charAt', STRING], substring: ['substring', STRING], join: ['join', STRING] });
Object.assign(TEXT, { replaceAll: ['replace', STRING], reverse: ['reverse', LIST], toReversed: ['reverse', LIST] });

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
  const inner = () => expressions.text(args[0], scope);
  switch (name) {
    case 'Boolean':
      return expressions.truth(args[0], scope);
    case 'String':
      return value(`string(${inner()})`, { type: STRING });
    case 'Number':
    case 'parseFloat':
      return value(`double(${inner()})`, { type: NUMBER });
    case 'parseInt':
      return value(`int(${inner()})`, { type: NUMBER });
    case 'structuredClone':
      return expressions.value(args[0], scope);
    default:
      if (CHANGING.test(name)) refuse(`\`${name}\` gives something else each time: send it with the event`);
      if (scope.has(name)) refuse(`it calls \`${name}\`, which it was given`);
      return expressions.inlined(name, args, scope);
  }
}

function libraryCall(expressions, name, method, args, scope) {
  if (CHANGING.test(name) || CHANGING.test(`${name}.${method}`)) {
    refuse(`\`${name}.${method}\` gives something else each time: send it with the event`);
  }
  const texts = () => args.map((argument) => expressions.text(argument, scope)).join(', ');
  if (name === 'Math' && method in MATH) return value(`${MATH[method]}(${texts()})`, { type: NUMBER });
  if (name === 'Array' && method === 'isArray') return value(`type(${texts()}) == list`, { binds: 4, type: BOOLEAN });
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
  const written = flags.includes('i') ? `(?i)${pattern}` : pattern;
  return value(`${expressions.text(args[0], scope, 8)}.matches(${quote(written)})`, { type: BOOLEAN });
}

const OVER_LISTS = {
  some: ({ list, name, truth }) => value(`${list}.exists(${name}, ${truth()})`, { type: BOOLEAN }),
  every: ({ list, name, truth }) => value(`${list}.all(${name}, ${truth()})`, { type: BOOLEAN }),
  filter: ({ list, name, truth, type }) => value(`${list}.filter(${name}, ${truth()})`, { type: type ?? LIST }),
  map: ({ list, name, value: each }) => value(`${list}.map(${name}, ${each()})`, { type: LIST }),
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
  if (method in OVER_LISTS) {
    return OVER_LISTS[method]({ list, type: base.type, ...expressions.callback(args[0], scope, base.type?.item) });
  }
  const given = () => args.map((argument) => expressions.text(argument, scope)).join(', ');
  if (method in TEXT) return value(`${list}.${TEXT[method][0]}(${given()})`, { type: TEXT[method][1] });
  switch (method) {
    case 'includes':
      return includes(expressions, base, args[0], scope);
    case 'concat':
      return concat(expressions, base, args, scope);
    case 'toString':
      return base.type?.is === 'string' ? base : value(`string(${base.text})`, { type: STRING });
    case 'at':
      return at(expressions, base, args[0], scope);
    case 'slice':
      return slice(expressions, base, args, scope);
    case 'replace':
      if (args[0]?.regex !== undefined) refuse('it replaces by a regular expression');
      return value(`${list}.replace(${given()}, 1)`, { type: STRING });
    default:
      return refuse(`it calls the method \`${method}\`, which CEL does not have`);
  }
}

function includes(expressions, base, argument, scope) {
  const item = expressions.text(argument, scope, 5);
  if (base.type?.is === 'list') return value(`${item} in ${wrap(base, 5)}`, { binds: 4, type: BOOLEAN });
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

function at(expressions, base, argument, scope) {
  const index = expressions.text(argument, scope);
  const list = wrap(base, 8);
  return value(index.startsWith('-') ? `${list}[size(${base.text}) - ${index.slice(1)}]` : `${list}[${index}]`, { type: base.type?.item });
}

function slice(expressions, base, args, scope) {
  const name = { list: 'slice', string: 'substring' }[base.type?.is] ?? refuse('it calls `slice` of something that may be a text or a list');
  const bound = (argument) => {
    const text = expressions.text(argument, scope);
    return text.startsWith('-') ? `size(${base.text}) - ${text.slice(1)}` : text;
  };
  const from = args[0] === undefined ? '0' : bound(args[0]);
  const to = args[1] === undefined ? `size(${base.text})` : bound(args[1]);
  return value(`${wrap(base, 8)}.${name}(${from}, ${to})`, { type: base.type });
}
