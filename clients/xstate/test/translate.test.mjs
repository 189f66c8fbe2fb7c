// What becomes of a function: CEL, or the reason why it is left to do.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Functions } from '../src/functions.mjs';

const LIMITS = { most: 3, names: ['a', 'b'] };
const double = (number) => number * 2;
const OUTSIDE = { LIMITS, double };

const CONTEXT = { count: 0, name: '', items: [{ id: 1, done: false }], user: null, isOpen: false, address: { city: 'Bern' } };

function functions(version = 5) {
  const report = [];
  const made = new Functions({ version, context: CONTEXT, report: (found) => report.push(found), lookup: (name) => OUTSIDE[name] });
  return { made, report };
}

const GUARDS = [
  [({ context }) => context.count > 3, 'context.count > 3'],
  [({ context: { count } }) => count === 3, 'context.count == 3'],
  [({ context, event }) => context.isOpen && event.ok === true, 'context.isOpen && has(event.ok) && event.ok == true'],
  [({ context }) => context.items.length > 0, 'size(context.items) > 0'],
  [({ context }) => !context.name, "!(context.name != '')"],
  [({ context }) => context.count, 'context.count != 0'],
  [({ context }) => context.user, "!(context.user in [null, false, 0, ''])"],
  [({ context }) => context.user !== null, 'context.user != null'],
  [({ context }) => context.user?.name === 'x', "context.user != null && has(context.user.name) && context.user.name == 'x'"],
  [({ event }) => event.amount === undefined, '!(has(event.amount) && event.amount != null)'],
  [({ event }) => event.a, "has(event.a) && !(event.a in [null, false, 0, ''])"],
  [({ event }) => typeof event.n === 'number', 'has(event.n) && (type(event.n) == int || type(event.n) == double)'],
  [(args) => args.context.count < 2, 'context.count < 2'],
  [(_, params) => params.min > 1, 'has(params.min) && params.min > 1'],
  [({ context }, { min }) => context.count >= min, 'has(params.min) && context.count >= params.min'],
  [({ context, event }) => context.items.some((item) => item.id === event.id), 'context.items.exists(item, has(event.id) && item.id == event.id)'],
  [({ context }) => context.items.every(({ done }) => done), 'context.items.all(it, has(it.done) && it.done)'],
  [({ context }) => context.name.includes('@'), "context.name.contains('@')"],
  [({ event }) => ['a', 'b'].includes(event.key), "has(event.key) && event.key in ['a', 'b']"],
  [({ event }) => /^[a-z]+$/.test(event.text), "event.text.matches('^[a-z]+$')"],
  [({ context }) => context.count < LIMITS.most, 'context.count < 3'],
  [({ context }) => double(context.count) > 3, 'context.count * 2 > 3'],
  [
    ({ context, event }) => {
      const { count } = context;
      if (event.force) return true;
      return count > 1;
    },
    "has(event.force) && !(event.force in [null, false, 0, '']) ? true : context.count > 1"
  ],
  [
    ({ event }) => {
      if (event.type !== 'X') throw new Error('another event');
      return event.ok === true;
    },
    'has(event.ok) && event.ok == true'
  ]
];

test('guards become CEL', () => {
  for (const [guard, expected] of GUARDS) {
    const { made, report } = functions();
    assert.deepEqual(made.condition(guard, 'guard'), { '@expr': expected }, String(guard));
    assert.deepEqual(report, []);
  }
});

const VALUES = [
  [({ context }) => context.count + 1, { '@expr': 'context.count + 1' }],
  [({ context, event }) => context.count - (event.by - 1), { '@expr': 'context.count - (event.by - 1)' }],
  [({ context }) => context.count / 2, { '@expr': 'double(context.count) / 2' }],
  [({ context }) => `hi ${context.count}!`, { '@expr': "'hi ' + string(context.count) + '!'" }],
  [({ context }) => context.name + 1, { '@expr': 'context.name + string(1)' }],
  [({ context, event }) => [...context.items, event.item], { '@expr': 'context.items + [event.item]' }],
  [({ context, event }) => ({ ...context.address, city: event.city }), { '@expr': "context.address.merge({'city': event.city})" }],
  [({ event }) => ({ id: event.id, tags: [], at: null }), { id: { '@expr': 'event.id' }, tags: [], at: null }],
  [({ context, event }) => context.items.filter((item) => item.id !== event.id), { '@expr': 'context.items.filter(item, !(has(event.id) && item.id == event.id))' }],
  [
    ({ context, event }) => context.items.map((item) => (item.id === event.id ? { ...item, done: true } : item)),
    { '@expr': "context.items.map(item, has(event.id) && item.id == event.id ? item.merge({'done': true}) : item)" }
  ],
  [({ event }) => event.note ?? '', { '@expr': "has(event.note) && event.note != null ? event.note : ''" }],
  [({ context }) => Math.max(context.count - 1, 0), { '@expr': 'math.greatest(context.count - 1, 0)' }],
  [({ event }) => event.output, { '@expr': 'event.output' }],
  [({ context }) => context.user?.name.trim(), { '@expr': 'context.user != null && has(context.user.name) ? context.user.name.trim() : null' }],
  [
    ({ event }) => {
      switch (event.type) {
        case 'A':
        case 'B':
          return 1;
        default:
          return 2;
      }
    },
    { '@expr': "event.type == 'A' || event.type == 'B' ? 1 : 2" }
  ],
  [() => undefined, null],
  [() => -3, -3],
  ['{{ ({context}) => context.count }}', { '@expr': 'context.count' }],
  ['{{ context.count + 1 }}', { '@expr': 'context.count + 1' }]
];

test('values become JSON with an expression for each part that is computed', () => {
  for (const [given, expected] of VALUES) {
    const { made, report } = functions();
    assert.deepEqual(made.template(given, 'value'), expected, String(given));
    assert.deepEqual(report, []);
  }
});

test('XState 4 gives context and event by themselves, and data is what an answer is', () => {
  const { made } = functions(4);
  assert.deepEqual(made.condition((context, event) => context.count > event.by, 'g'), { '@expr': 'has(event.by) && context.count > event.by' });
  assert.deepEqual(made.template((_, event) => event.data.id, 'v', 'output'), { '@expr': 'event.output.id' });
  assert.deepEqual(made.template((_, { data }) => data, 'v', 'error'), { '@expr': 'event.error' });
});

test('an assignment that spreads the context sets only what it names', () => {
  const { made } = functions();
  assert.deepEqual(made.assignment(({ context, event }) => ({ ...context, name: event.name }), 'a'), { name: { '@expr': 'event.name' } });
});

test('what a function with side effects reads becomes the params of an effect', () => {
  const { made } = functions();
  const run = async ({ context, event }) => {
    await fetch(`/users/${context.user.id}`, { body: event.text });
  };
  assert.deepEqual(made.reads(run, 'entry'), {
    id: { '@expr': 'context.user != null && has(context.user.id) ? context.user.id : null' },
    text: { '@expr': 'has(event.text) ? event.text : null' }
  });
});

const LEFT = [
  [({ context }) => context.items.reduce((sum, item) => sum + item.id, 0), /`reduce`/],
  [() => Date.now(), /send it with the event/],
  [() => Math.random(), /send it with the event/],
  [({ context }) => context.items.map((item, index) => index), /other than one element/],
  [({ context, spawn }) => spawn('x'), /`spawn`/],
  [async () => 1, /async/],
  [({ event }) => unknown(event), /`unknown`, which is outside/]
];

test('what has no counterpart is left in place, with the reason', () => {
  for (const [given, reason] of LEFT) {
    const { made, report } = functions();
    assert.deepEqual(made.template(given, 'place'), { '@code': String(given) });
    assert.match(report[0].message, reason);
    assert.equal(report[0].path, 'place');
  }
});
