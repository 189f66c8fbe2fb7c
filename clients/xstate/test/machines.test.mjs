// The same chart on both sides: a machine, and the machine of the definition that was made of it, take the same events.

import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { assign, createActor, createMachine, SimulatedClock } from 'xstate';
import { assign as assignFour, createMachine as createFour, interpret, send as sendFour } from 'xstate4';
import { VirtualClock } from '../../../tests/oracle/clock.mjs';
import { fromStatemesh, toStatemesh } from '../src/index.mjs';
import { cart, player, poll } from '../machines/five.mjs';
import { debounce, form, job } from '../machines/four.mjs';
import { random } from '../machines/random.mjs';

/** JSON as the mesh has it: what is undefined is null. */
const plain = (value) => JSON.parse(JSON.stringify(value, (_, item) => (item === undefined ? null : item)));

const OUTSIDE = { LINES_MAX: 4, isSame: (line, id) => line.id === id };

function translated(machine) {
  const report = [];
  const definition = toStatemesh(machine, { report, lookup: (name) => OUTSIDE[name] });
  assert.deepEqual(report.filter(({ kind }) => kind === 'todo'), []);
  assert.deepEqual(definition, JSON.parse(JSON.stringify(definition)));
  return definition;
}

function started(machine, { input = { owner: 'me' }, clock = new SimulatedClock() } = {}) {
  const actor = createActor(machine, { clock, logger: () => {}, input });
  actor.start();
  return { actor, clock, shown: () => plain({ value: actor.getSnapshot().value, context: actor.getSnapshot().context, status: actor.getSnapshot().status }) };
}

function compare(machine, events, { runs = 40, steps = 25 } = {}) {
  const definition = translated(machine);
  for (let seed = 1; seed <= runs; seed++) {
    const next = random(seed);
    const [one, other] = [started(machine), started(fromStatemesh(definition))];
    for (let step = 0; step < steps; step++) {
      const event = events[next(events.length)](next);
      for (const { actor, clock } of [one, other]) {
        if (typeof event === 'number') clock.increment(event);
        else actor.send(event);
      }
      assert.deepEqual(other.shown(), one.shown(), `seed ${seed}, step ${step}: ${JSON.stringify(event)}`);
    }
  }
}

test('a cart', () => {
  compare(cart, [
    (next) => ({ type: 'ADD', id: next(6) }),
    (next) => ({ type: 'ADD', id: next(6), count: next(4) }),
    (next) => ({ type: 'REMOVE', id: next(6) }),
    (next) => ({ type: 'NOTE', text: String(next(9)) }),
    () => ({ type: 'CHECKOUT' }),
    (next) => ({ type: 'PAY', amount: next(20), isTest: next(3) === 0 }),
    () => ({ type: 'BACK' }),
    (next) => next(700)
  ]);
});

test('a player with regions, a repeated delayed event and a sequence of actions', () => {
  compare(player, [() => ({ type: 'MUTE' }), () => ({ type: 'UP' }), () => ({ type: 'PLAY' }), () => ({ type: 'STOP' }), () => ({ type: 'SKIP' }), (next) => next(400)]);
});

test('a poll with computed keys, a type check and history', () => {
  compare(poll, [(next) => ({ type: 'VOTE', by: `p${next(5)}`, choice: ['', 'a', 'b', 7][next(4)] }), () => ({ type: 'CLOSE' }), () => ({ type: 'REOPEN' })]);
});

const shelf = createMachine({
  id: 'shelf',
  context: { items: [], counts: {}, n: 1, size: 0, first: 'none', label: '' },
  on: {
    PUT: { actions: assign({ items: ({ context, event }) => [...context.items.slice(-2), { name: event.name, done: event.done ?? false }] }) },
    MARK: { actions: assign({ items: ({ context }) => context.items.slice(0, 1).concat([{ name: 'bare' }]) }) },
    LOOK: { actions: assign({ first: ({ context, event }) => context.items[event.at]?.name || 'none', label: ({ context }) => context.first.slice(0, 2) }) },
    COUNT: { actions: assign({ counts: ({ context, event }) => ({ ...context.counts, [event.key]: (context.counts[event.key] ?? 0) + 1 }) }) },
    SIZE: { actions: assign({ size: ({ event }) => Math.round(event.by), n: ({ context }) => (context.n + Math.floor(context.size)) % 7 }) },
    TRIM: {
      guard: ({ context, event }) => ['all', 'open'].includes(event.what) && context.items.some((item) => !item.done),
      actions: assign({ items: ({ context, event }) => context.items.filter((item) => (event.what === 'all' ? false : item.done)) })
    }
  }
});

test('a shelf with things that are missing', () => {
  compare(shelf, [
    (next) => ({ type: 'PUT', name: ['', 'a', 'bcd'][next(3)], ...(next(2) === 0 ? {} : { done: next(2) === 0 }) }),
    () => ({ type: 'MARK' }),
    (next) => (next(4) === 0 ? { type: 'LOOK' } : { type: 'LOOK', at: next(5) - 1 }),
    (next) => ({ type: 'COUNT', key: [1, 'k', '1'][next(3)] }),
    (next) => ({ type: 'SIZE', by: next(40) / 4 - 5 }),
    (next) => (next(3) === 0 ? { type: 'TRIM' } : { type: 'TRIM', what: ['all', 'open', 'none'][next(3)] })
  ]);
});

/** XState 4 by its own interpreter, and the definition by XState 5. */
function compareFour(machine, events, { runs = 40, steps = 20 } = {}) {
  const definition = translated(machine);
  for (let seed = 1; seed <= runs; seed++) {
    const next = random(seed);
    const clock = new SimulatedClock();
    const service = interpret(machine, { clock }).start();
    const other = started(fromStatemesh(definition));
    for (let step = 0; step < steps; step++) {
      const event = events[next(events.length)](next);
      if (typeof event === 'number') {
        clock.increment(event);
        other.clock.increment(event);
      } else {
        service.send(event);
        other.actor.send(event);
      }
      const { value, context } = service.getSnapshot();
      const shown = other.shown();
      assert.deepEqual({ value: shown.value, context: shown.context }, plain({ value, context }), `seed ${seed}, step ${step}: ${JSON.stringify(event)}`);
    }
  }
}

test('a debounce of XState 4 keeps restarting its timer', () => {
  compareFour(debounce, [(next) => ({ type: 'TYPE', text: `t${next(9)}` }), () => ({ type: 'HOLD' }), (next) => next(400)]);
  assert.equal(translated(debounce).states.waiting.on.TYPE.reenter, true);
  assert.equal(translated(debounce).states.waiting.on.HOLD.reenter, undefined);
});

test('a form of XState 4', () => {
  compareFour(form, [
    (next) => ({ type: 'CHANGE', name: 'abc'.slice(0, next(4)) }),
    () => ({ type: 'SUBMIT' }),
    () => ({ type: 'PEEK' }),
    () => ({ type: 'FAIL' }),
    () => ({ type: 'RESET' }),
    (next) => (next(8) === 0 ? { type: 'OK' } : { type: 'FAIL' }),
    (next) => next(150)
  ]);
});

test('what a final state of XState 4 gives is the output of the machine, and comes to who invoked it', () => {
  const data = { name: (context) => context.name, sent: true };
  const states = { editing: { on: { SEND: 'sent', DROP: 'dropped' } }, sent: { type: 'final', data }, dropped: { type: 'final' } };
  const config = { predictableActionArguments: true, id: 'kid', context: { name: 'Ada' }, initial: 'editing', states };
  for (const [event, given] of [['SEND', { name: 'Ada', sent: true }], ['DROP', undefined]]) {
    let done;
    interpret(createFour(config)).onDone(({ data: found }) => (done = found)).start().send(event);
    assert.deepEqual(done, given);
    // A machine itself, and JSON, in which no function can be.
    for (const definition of [translated(createFour(config)), toStatemesh({ ...config, states: { ...states, sent: { type: 'final', data: { name: '{{ (context) => context.name }}', sent: true } } } }, { from: 4 })]) {
      const { actor } = started(fromStatemesh(definition));
      actor.send({ type: event });
      assert.equal(actor.getSnapshot().status, 'done');
      assert.deepEqual(actor.getSnapshot().output, given ?? null);
    }
  }
  const always = { ...config, states: { ...states, dropped: { type: 'final', data: { sent: false } } } };
  assert.deepEqual(translated(createFour(always)).output, { '@expr': 'event.output' });
  assert.equal(translated(createFour({ ...config, states: { editing: { on: { SEND: 'sent' } }, sent: { type: 'final' } } })).output, undefined);

  const got = assignFour({ got: (_, event) => event.data.name });
  const asking = { invoke: { id: 'kid', src: createFour(config), onDone: { target: 'asked', actions: got } }, on: { SAY: { actions: sendFour('SEND', { to: 'kid' }) } } };
  const parent = createFour({ predictableActionArguments: true, id: 'parent', context: { got: null }, initial: 'asking', states: { asking, asked: {} } });
  const { actor, shown } = started(fromStatemesh(toStatemesh(parent), { machines: { kid: translated(createFour(config)) } }));
  actor.send({ type: 'SAY' });
  assert.deepEqual(shown(), { value: 'asked', context: { got: 'Ada' }, status: 'active' });
});

test('a promise becomes an effect, and events that count only for the visit that asked', () => {
  const definition = toStatemesh(job);
  assert.deepEqual(definition.states.loading.entry, [
    { type: '@xstate.assign', context: { loadAttempt: { '@expr': 'context.loadAttempt + 1' } } },
    { type: 'load', params: { url: { '@expr': 'context.url' }, attempt: { '@expr': 'context.loadAttempt' } } }
  ]);
  const asked = [];
  const { actor, shown } = started(fromStatemesh(definition, { actions: { load: (_, params) => asked.push(params) } }));
  assert.deepEqual(asked, [{ url: '/x', attempt: 1 }]);
  actor.send({ type: 'load.failed', attempt: 1, data: { code: 500 } });
  assert.deepEqual(asked.at(-1), { url: '/x', attempt: 2 });
  actor.send({ type: 'load.done', attempt: 1, data: 'late' });
  assert.equal(shown().value, 'loading');
  actor.send({ type: 'load.done', attempt: 2, data: 'now' });
  assert.deepEqual(shown().context, { url: '/x', result: 'now', loadAttempt: 2 });
});

test('a definition of only XState 6 has words of XState 5', () => {
  const machine = fromStatemesh({
    id: 'm',
    context: { n: 0 },
    initial: 'a',
    delays: { soon: '50ms' },
    states: {
      a: { timeout: '1s', onTimeout: 'late', on: { E: { matches: { kind: 'x' }, context: { n: { '@expr': 'context.n + 0.5' } }, target: 'pick' } } },
      pick: { type: 'choice', choice: [{ when: { '@expr': 'context.n > 3' }, target: 'late' }, { target: 'b' }] },
      b: { after: { soon: 'a' } },
      late: {}
    }
  });
  const { actor, clock, shown } = started(machine);
  actor.send({ type: 'E', kind: 'y' });
  assert.equal(shown().value, 'a');
  actor.send({ type: 'E', kind: 'x' });
  assert.deepEqual(shown(), { value: 'b', context: { n: 0.5 }, status: 'active' });
  clock.increment(50);
  assert.equal(shown().value, 'a');
  clock.increment(1000);
  assert.equal(shown().value, 'late');
});

const EXAMPLES = fileURLToPath(new URL('../../../examples', import.meta.url));
const lines = (file) => readFileSync(file, 'utf8').split('\n').filter(Boolean).map((line) => JSON.parse(line));

test('the examples do in a front end what is recorded of them', () => {
  const folders = readdirSync(EXAMPLES).filter((name) => existsSync(join(EXAMPLES, name, 'machine.json')));
  const scenarios = folders.flatMap((folder) =>
    readdirSync(join(EXAMPLES, folder)).filter((file) => /^events.*\.jsonl$/.test(file)).map((file) => [folder, file])
  );
  assert.ok(scenarios.length > 10);
  for (const [folder, file] of scenarios) {
    const definition = JSON.parse(readFileSync(join(EXAMPLES, folder, 'machine.json'), 'utf8'));
    const expected = lines(join(EXAMPLES, folder, file.replace('events', 'expect')));
    const { actor, clock, shown } = started(fromStatemesh(definition), { input: {}, clock: new VirtualClock() });
    const compared = (index) => {
      const { value, context, status } = expected[index];
      assert.deepEqual(shown(), plain({ value, context, status }), `${folder}/${file}, step ${index}`);
    };
    compared(0);
    lines(join(EXAMPLES, folder, file)).forEach((event, index) => {
      if (event.type === '@advance') clock.advance(event.ms, 100, () => {});
      else actor.send(event);
      compared(index + 1);
    });
  }
});
