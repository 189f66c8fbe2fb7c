// CEL as the mesh evaluates it: the numbers of JSON, and the functions that go beyond CEL.

import { celEnv, celFunc, celMap, celMethod, CelScalar, isCelError, isCelList, isCelMap, isCelUint, listType, mapType, parse, plan } from '@bufbuild/cel';
import { strings } from '@bufbuild/cel/ext';
import { ExpressionFault } from './convert.mjs';

const { INT, DOUBLE, STRING, BOOL, DYN } = CelScalar;
const LIST = listType(DYN);
const MAP = mapType(DYN, DYN);

/** Whole numbers and fractions mix, as JSON has one type of number. */
const ARITHMETIC = { '_+_': (a, b) => a + b, '_-_': (a, b) => a - b, '_*_': (a, b) => a * b, '_/_': (a, b) => a / b };

function mixed() {
  return Object.entries(ARITHMETIC).flatMap(([name, compute]) => [
    celFunc(name, [INT, DOUBLE], DOUBLE, (a, b) => compute(Number(a), b)),
    celFunc(name, [DOUBLE, INT], DOUBLE, (a, b) => compute(a, Number(b)))
  ]);
}

/** Halves are rounded away from zero. */
const round = (value) => Math.sign(value) * Math.round(Math.abs(value));
const DOUBLES = { ceil: Math.ceil, floor: Math.floor, round, trunc: Math.trunc };
const TESTS = { isNaN: Number.isNaN, isInf: (value) => Math.abs(value) === Infinity, isFinite: Number.isFinite };

function mathematics() {
  const named = (name, args, result, compute) => celFunc(`math.${name}`, args, result, compute);
  const pairs = [[INT, INT], [DOUBLE, DOUBLE], [INT, DOUBLE], [DOUBLE, INT]];
  return [
    ...Object.entries(DOUBLES).map(([name, compute]) => named(name, [DOUBLE], DOUBLE, compute)),
    ...Object.entries(TESTS).map(([name, compute]) => named(name, [DOUBLE], BOOL, compute)),
    named('sqrt', [DOUBLE], DOUBLE, Math.sqrt),
    named('sqrt', [INT], DOUBLE, (value) => Math.sqrt(Number(value))),
    named('abs', [DOUBLE], DOUBLE, Math.abs),
    named('abs', [INT], INT, (value) => (value < 0n ? -value : value)),
    named('sign', [DOUBLE], DOUBLE, Math.sign),
    named('sign', [INT], INT, (value) => (value > 0n ? 1n : value < 0n ? -1n : 0n)),
    ...pairs.flatMap(([a, b]) => [
      named('greatest', [a, b], DYN, (x, y) => (y > x ? y : x)),
      named('least', [a, b], DYN, (x, y) => (y < x ? y : x))
    ]),
    named('greatest', [LIST], DYN, (values) => [...values].reduce((x, y) => (y > x ? y : x))),
    named('least', [LIST], DYN, (values) => [...values].reduce((x, y) => (y < x ? y : x)))
  ];
}

function collections() {
  return [
    celMethod('merge', MAP, [MAP], MAP, function merge(other) {
      return new Map([...this, ...other]);
    }),
    celMethod('slice', LIST, [INT, INT], LIST, function slice(from, to) {
      const items = [...this];
      if (from < 0n || to > BigInt(items.length) || from > to) throw new Error(`slice(${from}, ${to}) of ${items.length} elements`);
      return items.slice(Number(from), Number(to));
    }),
    celMethod('reverse', LIST, [], LIST, function reverse() {
      return [...this].reverse();
    }),
    celMethod('reverse', STRING, [], STRING, function reverse() {
      return [...this].reverse().join('');
    }),
    celMethod('sort', LIST, [], LIST, function sort() {
      return [...this].sort((a, b) => (a < b ? -1 : a > b ? 1 : 0));
    }),
    celMethod('flatten', LIST, [], LIST, function flatten() {
      return [...this].flatMap((item) => (isCelList(item) ? [...item] : [item]));
    })
  ];
}

// 0.6.1 takes a key whose value is null for one that is not there, in `has` and `in`, where CEL and the mesh do not.
Object.getPrototypeOf(celMap(new Map())).has = function has(key) {
  return this.get(key) !== undefined;
};

const ENVIRONMENT = celEnv({ funcs: [...strings, ...mixed(), ...mathematics(), ...collections()] });
const PROGRAMS = new Map();
const PROGRAMS_MAX = 10_000;

function program(text) {
  let compiled = PROGRAMS.get(text);
  if (compiled === undefined) {
    if (PROGRAMS.size >= PROGRAMS_MAX) PROGRAMS.clear();
    compiled = plan(ENVIRONMENT, parse(text));
    PROGRAMS.set(text, compiled);
  }
  return compiled;
}

/** The value of an expression over JSON. */
export function evaluate(text, scope) {
  const result = program(text)(Object.fromEntries(Object.entries(scope).map(([name, root]) => [name, toCel(root)])));
  if (isCelError(result)) throw new ExpressionFault(`${text}: ${result.message}`);
  return fromCel(result);
}

/** A whole number of JSON is an int of CEL. */
function toCel(value) {
  if (typeof value === 'number') return Number.isSafeInteger(value) ? BigInt(value) : value;
  if (Array.isArray(value)) return value.map(toCel);
  if (value === null || typeof value !== 'object') return value;
  const entries = Object.entries(value).filter(([, item]) => item !== undefined);
  return new Map(entries.map(([key, item]) => [key, toCel(item)]));
}

function fromCel(value) {
  if (typeof value === 'bigint') return Number(value);
  if (isCelUint(value)) return Number(value.value);
  if (isCelList(value)) return Array.from(value, fromCel);
  if (isCelMap(value)) return Object.fromEntries(Array.from(value, ([key, item]) => [String(key), fromCel(item)]));
  return value;
}
