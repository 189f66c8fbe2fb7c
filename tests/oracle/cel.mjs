// The reference's expressions: CEL by the Buf project's evaluator, which shares no code with the engine.
//
// JSON integers are CEL ints, so they travel as BigInt through the reference machine; `toJson` brings them back.

import { celEnv, isCelError, isCelList, isCelMap, isCelUint, parse, plan } from '@bufbuild/cel';
import { ExpressionFault } from '../../clients/xstate/src/convert.mjs';

const ENVIRONMENT = celEnv();
const PROGRAMS = new Map();
const PROGRAMS_MAX = 2_000;

function program(source) {
  let compiled = PROGRAMS.get(source);
  if (compiled === undefined) {
    if (PROGRAMS.size >= PROGRAMS_MAX) PROGRAMS.clear();
    compiled = plan(ENVIRONMENT, parse(source));
    PROGRAMS.set(source, compiled);
  }
  return compiled;
}

/** Evaluates one CEL expression over plain values. */
export function evaluate(source, scope) {
  const result = program(source)(scope);
  if (isCelError(result)) throw new ExpressionFault(`${source}: ${result.message}`);
  return fromCel(result);
}

function fromCel(value) {
  if (isCelUint(value)) return value.value;
  if (isCelList(value)) return Array.from(value, fromCel);
  if (isCelMap(value)) return Object.fromEntries(Array.from(value, ([key, item]) => [String(key), fromCel(item)]));
  return value;
}

/** JSON as the reference holds it: integers become BigInt (CEL's int); everything else is copied as it is. */
export function fromJson(value) {
  if (typeof value === 'number') return Number.isInteger(value) ? BigInt(value) : value;
  if (Array.isArray(value)) return value.map(fromJson);
  if (value === null || typeof value !== 'object') return value;
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, fromJson(item)]));
}

/** The inverse of `fromJson`; an undefined value is an absent key. */
export function toJson(value) {
  if (typeof value === 'bigint') return Number(value);
  if (Array.isArray(value)) return value.map(toJson);
  if (value === null || typeof value !== 'object') return value;
  const entries = Object.entries(value).filter(([, item]) => item !== undefined);
  return Object.fromEntries(entries.map(([key, item]) => [key, toJson(item)]));
}
