// What a function gives in JavaScript, its translation gives too: over contexts and events in which things are missing.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { evaluate } from '../src/cel.mjs';
import { Functions } from '../src/functions.mjs';

const CONTEXT = { n: 2, half: 0.5, name: 'Ada', items: [{ sku: 'a', n: 1, done: false }], list: ['p', 'q', 'r'], obj: { k: 1, 7: 2 }, user: null, isOpen: false, numbers: [1, 2], names: ['b', 'a', 'C'] };
const CONTEXTS = [
  CONTEXT,
  { n: -3, half: -2.5, name: '', items: [], list: [], obj: {}, user: { name: 'x', tags: ['t'] }, isOpen: true, numbers: [], names: [] },
  { n: 0, half: 2.5, name: 'Grace Hopper', items: [{ sku: 'b' }, { sku: '', done: true, n: 4 }], list: ['one'], obj: { a: null }, user: {}, isOpen: false, numbers: [3], names: ['x', 'Ab', 'ab'] }
];
const EVENTS = [
  { type: 'E' },
  { type: 'E', x: 1, i: 0, k: 'k', list: [3, 4], obj: { a: 'b', 1: 'c' }, text: 'a,b,,c', ok: true },
  { type: 'E', x: 'b', i: 2, k: 7, list: [], obj: {}, text: '', ok: false },
  { type: 'E', x: null, i: -1, k: 'none', list: null, obj: null, text: 'xyz', ok: 'yes', length: 9 },
  { type: 'E', x: -2.5, i: 9, k: '1', list: [[1]], obj: { k: { deep: true } }, text: ' t ', ok: 0 }
];

const plain = (value) => JSON.parse(JSON.stringify(value ?? null, (_, item) => (item === undefined ? null : item)));

function resolved(template, scope) {
  if (typeof template?.['@expr'] === 'string') return evaluate(template['@expr'], scope);
  if (Array.isArray(template)) return template.map((item) => resolved(item, scope));
  if (template === null || typeof template !== 'object') return template;
  return Object.fromEntries(Object.entries(template).map(([key, item]) => [key, resolved(item, scope)]));
}

/** Each context with each event: what JavaScript gives, and the translation; what JavaScript throws at is no value there either. */
function compare(run, { isGuard = false, may = () => false } = {}) {
  const report = [];
  const made = new Functions({ version: 5, context: CONTEXT, report: (found) => report.push(found) });
  const template = isGuard ? made.condition(run, 'place') : made.template(run, 'place');
  assert.deepEqual(report, [], String(run));
  for (const context of CONTEXTS) {
    for (const event of EVENTS) {
      let expected;
      try {
        expected = run({ context, event });
      } catch {
        continue;
      }
      if (may(event, context)) continue;
      const shown = () => `${run}\n${JSON.stringify(template)}\n${JSON.stringify({ context, event })}`;
      let found;
      try {
        found = resolved(template, { context, event });
      } catch (error) {
        assert.fail(`${shown()}\n${error.message}`);
      }
      assert.deepEqual(plain(found), isGuard ? Boolean(expected) : plain(expected), shown());
    }
  }
}

const VALUES = [
  ({ context }) => Math.round(context.half),
  ({ context }) => Math.floor(context.n),
  ({ context }) => Math.ceil(context.half),
  ({ context }) => Math.trunc(context.half),
  ({ context }) => Math.round(context.half) % 4,
  ({ context }) => Math.floor(context.n / 2) % 4,
  ({ context }) => context.items[0]?.sku || 'none',
  ({ context }) => context.items[0]?.sku ?? 'none',
  ({ context, event }) => context.list[event.i] ?? 'no',
  ({ context, event }) => context.obj[event.k] ?? 'no',
  ({ context }) => context.obj['a'] ?? 'no',
  ({ event }) => event.list?.[0] ?? 'no',
  ({ event }) => event.obj?.a ?? 'no',
  ({ event }) => event.x ?? null,
  ({ event }) => event.obj?.a ?? undefined,
  ({ context, event }) => context.items.find((item) => item.sku === event.k && item.sku !== context.name && item.n !== event.i) ?? null,
  ({ context }) => context.list.slice(1),
  ({ context }) => context.list.slice(-2),
  ({ context }) => context.list.slice(1, 2),
  ({ context }) => context.list.slice(0, -1),
  ({ context }) => context.list.slice(2, 1),
  ({ context }) => context.list.slice(context.n),
  ({ context }) => context.name.slice(0, 3),
  ({ context }) => context.name.slice(-2),
  ({ context }) => context.name.substring(1, 4),
  ({ context }) => context.name.substring(4, 1),
  ({ context }) => context.name.substring(context.n),
  ({ context }) => context.name.charAt(0),
  ({ context }) => context.name.charAt(5),
  ({ context }) => context.list.at(-1) ?? 'no',
  ({ context }) => context.list.at(1) ?? 'no',
  ({ context }) => context.list.join(),
  ({ context }) => context.list.join('-'),
  ({ context }) => [context.n, 3].map((n) => n * 2).join('-'),
  ({ context }) => context.items.map((item) => item.sku).join(', '),
  ({ context }) => context.numbers.join(),
  ({ context }) => [...context.list].map((name) => name.trim()).includes('q'),
  ({ context }) => context.name.indexOf('a'),
  ({ context }) => context.name.indexOf(''),
  ({ context }) => context.name.lastIndexOf('a'),
  ({ context }) => context.name.lastIndexOf(''),
  ({ context }) => context.names.sort(),
  ({ context }) => context.names.toSorted(),
  ({ context }) => [[1], [2, [3]]].flat(),
  ({ context }) => Number(context.n) + 1,
  ({ context }) => Number(context.isOpen),
  ({ context }) => +context.half,
  ({ context }) => parseFloat(context.half),
  ({ context }) => parseInt(context.half),
  ({ context }) => parseInt(context.n, 10),
  ({ context }) => String(context.n) + context.half.toString() + `${context.isOpen}`,
  ({ context }) => context.items.find((item) => item.done)?.sku ?? 'none',
  ({ context }) => context.n && 'yes',
  ({ context }) => context.name && context.name + '!',
  ({ context }) => context.name && context.n > 1,
  ({ event }) => event.ok && 'fine',
  ({ event }) => event.ok || 'not',
  ({ event }) => (event.ok ?? '') || 'not',
  ({ event }) => (event.ok ? 1 : 2),
  ({ event }) => event.length,
  ({ event }) => `${event.x ?? 'none'}`,
  ({ event }) => event.x ?? event.i ?? 5,
  ({ event }) => event.x || event.i || 5,
  ({ event }) => (Array.isArray(event.list) ? event.list.length : 0),
  ({ context, event }) => context.items.filter((item) => item.other !== event.other),
  ({ context }) => {
    const [first = 'one', second = 'none'] = context.list;
    return { first, second };
  },
  ({ context, event }) => ({ ...context.obj, [event.k ?? 'none']: 1 })
];

const LEAVES_LENGTH = ({ event }) => event.length;

test('a value is the one that JavaScript computes', () => {
  for (const run of VALUES) compare(run, { may: (event) => String(run) === String(LEAVES_LENGTH) && event.length === undefined });
});

/** Where JavaScript has a text or a number for it, and the mesh may have none. */
const CONVERTED = [
  [({ event }) => parseInt(event.of), [['12.7', 12], ['12', 12], [12.7, 12], [-3.9, -3]]],
  [({ event }) => parseFloat(event.of), [['12.7', 12.7], [3, 3]]],
  [({ event }) => Number(event.of), [['12.7', 12.7], ['12', 12], [4, 4]]],
  [({ event }) => +event.of, [['-1.5', -1.5]]],
  [({ event }) => `${event.of}`, [['a', 'a'], [3, '3'], [2.5, '2.5'], [true, 'true']]],
  [({ event }) => String(event.of), [['a', 'a'], [3, '3']]],
  [({ event }) => event.of.toString(), [['a', 'a'], [false, 'false']]],
  [({ event }) => 'is ' + event.of, [[3, 'is 3']]],
  [({ context, event }) => ({ ...context.obj, [event.of]: 1 }).x, [['x', 1]]],
  [({ event }) => event.of.join('-'), [[[1, 'a', 2.5], '1-a-2.5']]]
];

test('a conversion of what may not be one is said, and is as in JavaScript where it is one', () => {
  for (const [run, samples] of CONVERTED) {
    const report = [];
    const template = new Functions({ version: 5, context: CONTEXT, report: (found) => report.push(found) }).template(run, 'place');
    assert.deepEqual(report.map(({ kind }) => kind), ['note'], String(run));
    assert.match(report[0].message, /^`event\.of(\[\.\.\.\])?`: .*the event is refused, and an instance that comes here by `after` is stuck/, String(run));
    for (const [of, expected] of samples) {
      const scope = { context: CONTEXT, event: { type: 'E', of } };
      assert.deepEqual(run(scope), expected);
      assert.deepEqual(resolved(template, scope), expected, `${run} of ${JSON.stringify(of)}`);
    }
  }
});

const GUARDS = [
  ({ event }) => ['a', 'b'].includes(event.x),
  ({ context, event }) => context.list.includes(event.x),
  ({ context }) => context.items.some((item) => !item.done),
  ({ context }) => context.items.every(({ done }) => done),
  ({ context }) => context.items.some((item) => item.n > 3),
  ({ context }) => context.items.filter((item) => item.done).length === 1,
  ({ context }) => !context.items[0]?.done,
  ({ context }) => context.items[0]?.n === 1,
  ({ context, event }) => context.list[event.i] === 'p',
  ({ event }) => event.list?.[0] === 3,
  ({ event }) => event.a === event.b,
  ({ context, event }) => context.items.some((item) => item.other === event.a),
  ({ event }) => event.a !== event.x,
  ({ event }) => typeof event.list === 'object',
  ({ event }) => Number.isInteger(event.x),
  ({ context }) => Number.isInteger(context.half) || Number.isInteger(context.n),
  ({ event }) => event.ok,
  ({ event }) => !event.ok,
  ({ event }) => event.x == null,
  ({ event }) => event.x == undefined || event.ok,
  ({ context }) => context.n == 2,
  ({ context }) => context.user?.tags?.includes?.length === 3,
  ({ context }) => (context.user?.name ?? 'nobody') === 'x'
];

test('a guard is as true as JavaScript takes it', () => {
  for (const run of GUARDS) compare(run, { isGuard: true });
});

/** What is translated with a word of warning, or not at all. */
const DOUBTFUL = [
  [({ context }) => context.name.trim().toLowerCase(), 'note', /`toLowerCase` .*ASCII/],
  [({ context }) => context.name.toUpperCase(), 'note', /`toUpperCase` .*ASCII/],
  [({ event }) => event.x == 1, 'note', /`==` .*`===`/],
  [({ event }) => event.x != 'a', 'note', /`!=` .*`!==`/],
  [({ context }) => context.name == 1, 'note', /`==` .*`===`/],
  [({ context }) => Number(context.n) % 4, 'note', /`%` .*whole/],
  [({ context }) => (context.n / 2) % 4, 'note', /`%` .*whole/],
  [({ context }) => context.half % 1, 'note', /`%` .*whole/],
  [({ event }) => event.x % 2, 'note', /`%` .*whole/],
  [({ event }) => /^\s+$/.test(event.text), 'note', /`\\s`/],
  [({ context }) => context.list === [], 'todo', /identity/],
  [({ context }) => 0 in context.list, 'todo', /`in`/],
  [({ context }) => context.list.includes('p', 1), 'todo', /more than one/],
  [({ context }) => context.name.split(',', 2), 'todo', /limit/],
  [({ event }) => parseInt(event.x, 16), 'todo', /base/],
  [({ context }) => context.n.toString(2), 'todo', /base/],
  [({ context }) => `${context.list}`, 'todo', /`join`/],
  [({ context }) => context.list.indexOf('p'), 'todo', /of a list: ask with `includes`/],
  [({ event }) => event.x.indexOf('p'), 'todo', /`indexOf` of something that may be a text or a list/],
  [({ context }) => context.name.indexOf('p', 2), 'todo', /where to begin/],
  [({ context }) => context.list.sort((a, b) => a - b), 'todo', /comparison/],
  [({ context }) => context.numbers.sort(), 'todo', /as texts/],
  [({ event }) => event.x & 4, 'todo', /32 bits: write `math\.bitAnd`/],
  [({ context }) => 1000 * 2 ** context.n, 'todo', /`math\.bitShiftLeft\(1, n\)`/],
  [({ event }) => event.x instanceof Error, 'todo', /operator `instanceof`/],
  [({ event }) => isNaN(event.x), 'todo', /`isNaN`: .*`typeof`/],
  [({ event }) => Number.isFinite(event.x), 'todo', /`Number.isFinite`: .*`typeof`/],
  [({ event }) => JSON.stringify(event), 'todo', /`JSON\.stringify`, which is built in/],
  [({ context }) => context.list + context.list, 'todo', /lists/],
  [({ context }) => context.name.replaceAll('a', '$&'), 'todo', /\$/]
];

test('what is not the same is said, with the expression and the way out', () => {
  for (const [run, kind, reason] of DOUBTFUL) {
    const report = [];
    const made = new Functions({ version: 5, context: CONTEXT, report: (found) => report.push(found) });
    made.template(run, 'place');
    made.finish();
    assert.deepEqual(report.map((found) => [found.kind, found.path]), [[kind, 'place']], String(run));
    assert.match(report[0].message, reason);
  }
});

test('a whole number of the context is one until something with a fraction is assigned', () => {
  for (const [assigned, told] of [[({ context }) => context.n + 1, 0], [({ context }) => context.n / 2, 1], [({ context }) => Number(context.half), 1]]) {
    const report = [];
    const made = new Functions({ version: 5, context: CONTEXT, report: (found) => report.push(found) });
    made.template(({ context }) => (context.n + 1) % 4, 'place');
    made.assignment({ n: assigned }, 'assign');
    made.finish();
    assert.equal(report.length, told, String(assigned));
    if (told > 0) assert.match(report[0].message, /`%`.*context\.n/);
  }
});
