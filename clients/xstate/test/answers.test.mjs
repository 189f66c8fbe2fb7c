// Promises on both sides: XState runs them, the mesh is answered, late too; what either makes of an answer is the same.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import { assign, createActor, fromPromise, sendTo, setup, spawnChild, stopChild } from 'xstate';
import { createMachine as createFour } from 'xstate4';
import { fromStatemesh, toStatemesh } from '../src/index.mjs';
import { random } from '../machines/random.mjs';

/** A machine of these states, whose promises `svc` and `other` are settled by whoever calls `settle`. */
function asking(config) {
  const asked = { svc: [], other: [] };
  const promise = (name) => fromPromise(() => new Promise((resolve, reject) => asked[name].push({ resolve, reject })));
  const actions = { keep: assign({ got: ({ event }) => event.output ?? 'nothing' }) };
  const machine = setup({ actors: { svc: promise('svc'), other: promise('other') }, actions }).createMachine({ id: 'm', context: { got: null }, ...config });
  return { machine, asked };
}

const keep = (target) => ({ target, actions: 'keep' });
const idle = { on: { GO: 'busy' } };

const CONFIGS = {
  'any event beside the invocation': {
    initial: 'idle',
    states: { idle, busy: { invoke: { id: 'svc', src: 'svc', onDone: keep('ok'), onError: 'failed' }, on: { CANCEL: 'idle', '*': 'surprise' } }, ok: idle, failed: idle, surprise: idle }
  },
  'any event elsewhere': {
    initial: 'idle',
    states: { idle: { on: { GO: 'busy', '*': 'surprise' } }, busy: { invoke: { src: 'svc', onDone: keep('ok'), onError: 'idle' }, on: { CANCEL: 'idle' } }, ok: idle, surprise: idle }
  },
  'any event above': {
    initial: 'idle',
    on: { '*': '.surprise' },
    states: { idle, busy: { invoke: { src: 'svc', onDone: { guard: ({ event }) => event.output > 3, ...keep('ok') } }, on: { CANCEL: 'idle' } }, ok: idle, surprise: idle }
  },
  'any event inside': {
    initial: 'idle',
    states: {
      idle,
      busy: { initial: 'one', states: { one: { on: { NEXT: 'two', '*': 'two' } }, two: {} }, invoke: { src: 'svc', onDone: keep('ok'), onError: 'idle' }, on: { CANCEL: 'idle' } },
      ok: idle
    }
  },
  'handled by its name above': {
    initial: 'idle',
    on: { 'xstate.done.actor.svc': { target: '.ok', actions: 'keep' }, 'xstate.error.actor.svc': '.idle' },
    states: { idle, busy: { invoke: { id: 'svc', src: 'svc' }, on: { CANCEL: 'idle' } }, ok: idle }
  },
  'two regions ask for one thing': {
    type: 'parallel',
    states: {
      a: { initial: 'idle', states: { idle, busy: { invoke: { src: 'svc', onDone: keep('ok'), onError: 'idle' }, on: { CANCEL: 'idle' } }, ok: idle } },
      b: { initial: 'idle', states: { idle: { on: { GO: 'busy', '*': 'odd' } }, busy: { invoke: { src: 'svc', onDone: keep('ok'), onError: 'idle' }, on: { NEXT: 'idle' } }, ok: idle, odd: idle } }
    }
  },
  'two things at once': {
    initial: 'idle',
    states: { idle, busy: { invoke: [{ src: 'svc', onDone: keep('ok'), onError: 'idle' }, { src: 'svc', id: 'second', onDone: 'second' }, { src: 'other', onDone: { actions: 'keep' }, onError: {} }], on: { CANCEL: 'idle' } }, ok: idle, second: idle }
  },
  'no onError': { initial: 'idle', states: { idle, busy: { invoke: { src: 'svc', onDone: keep('ok') }, on: { CANCEL: 'idle' } }, ok: idle } },
  'nothing is waited for': { initial: 'idle', states: { idle, busy: { invoke: { src: 'svc' }, on: { CANCEL: 'idle' } } } },
  'onError only sometimes': { initial: 'idle', states: { idle, busy: { invoke: { src: 'svc', onDone: keep('ok'), onError: { guard: ({ context }) => context.got !== null, target: 'idle' } }, on: { CANCEL: 'idle' } }, ok: idle } }
};

function started(machine) {
  const actor = createActor(machine, { logger: () => {} });
  actor.subscribe({ error: () => {} });
  actor.start();
  const shown = () => {
    const { value, context, status } = actor.getSnapshot();
    return { value, got: context.got, status };
  };
  return { actor, shown };
}

const TASKS = ['svc', 'other'];

for (const [name, config] of Object.entries(CONFIGS)) {
  test(`an answer counts where XState would have it, and a late one changes nothing: ${name}`, async () => {
    for (let seed = 1; seed <= 30; seed++) await compare(config, seed);
  });
}

async function compare(config, seed) {
  const next = random(seed);
  const { machine, asked } = asking(config);
  const tasks = { svc: [], other: [] };
  const actions = Object.fromEntries(TASKS.map((task) => [task, (_, params) => tasks[task].push(params)]));
  const definition = toStatemesh(machine, { id: seed % 2 === 0 ? 'renamed' : undefined });
  const [one, two] = [started(machine), started(fromStatemesh(definition, { actions }))];
  const told = [];
  const open = [];
  for (let step = 0; step < 14 && one.shown().status === 'active'; step++) {
    if (next(2) === 0 || open.length === 0) {
      const type = ['GO', 'CANCEL', 'NEXT', 'GO'][next(4)];
      told.push(type);
      for (const { actor } of [one, two]) actor.send({ type });
    } else {
      const [{ task, index }] = open.splice(next(open.length), 1);
      const { attempt } = tasks[task][index];
      const fails = next(3) === 0;
      told.push(`${task} ${attempt} ${fails ? 'fails' : 'is done'}`);
      if (fails) asked[task][index].reject(new Error('no'));
      else asked[task][index].resolve(step);
      two.actor.send(fails ? { type: `${task}.failed`, attempt, error: 'no' } : { type: `${task}.done`, attempt, output: step });
    }
    await turn();
    const shown = `seed ${seed}: ${told.join(', ')}\n${JSON.stringify(definition)}`;
    assert.deepEqual(two.shown(), one.shown(), shown);
    for (const task of TASKS) {
      assert.equal(tasks[task].length, asked[task].length, shown);
      const known = told.filter((word) => word === task).length;
      for (let index = known; index < asked[task].length; index++) {
        told.push(task);
        open.push({ task, index });
      }
    }
  }
}

test('a promise that fails unheard is said, and is a fault that names it', () => {
  const report = [];
  const definition = toStatemesh(asking(CONFIGS['no onError']).machine, { report });
  const [note, ...others] = report.filter(({ kind }) => kind === 'note');
  assert.deepEqual([note.path, others], ['states.busy.invoke', []]);
  assert.match(note.message, /nothing takes `svc\.failed`.*`onError`/);
  const failed = definition.states.busy.on['svc.failed'];
  assert.deepEqual(failed.actions, { type: '@xstate.log', args: [{ '@expr': "{}['nothing takes svc.failed']" }] });
  for (const name of ['any event beside the invocation', 'any event above', 'handled by its name above']) {
    const told = [];
    toStatemesh(asking(CONFIGS[name]).machine, { report: told });
    assert.deepEqual(told.filter(({ kind }) => kind === 'note'), [], name);
  }
});

test('XState 4 only prints that a promise failed, and takes no late answer either', () => {
  const report = [];
  const busy = { invoke: { src: () => Promise.resolve(1), id: 'svc', onDone: 'ok' }, on: { CANCEL: 'idle', '*': 'odd' } };
  const machine = createFour({ predictableActionArguments: true, id: 'm', initial: 'idle', on: { 'done.invoke.svc': 'idle' }, states: { idle, busy, ok: {}, odd: {} } });
  const { states, on } = toStatemesh(machine, { report });
  const number = 'has(event.attempt) && event.attempt == context.svcAttempt';
  assert.deepEqual(report.map(({ kind }) => kind), ['effect']);
  assert.deepEqual(states.busy.on, { CANCEL: 'idle', '*': 'odd', 'svc.done': [{ target: 'ok', guard: { '@expr': number } }, { guard: { '@expr': `!(${number})` } }] });
  assert.deepEqual(on['svc.done'].guard, { type: 'xstate.and', guards: [{ type: 'xstate.stateIn', id: 'm.busy' }, { '@expr': number }] });
});

test('a promise that is spawned is an effect that is told, and stopped and written to as one', () => {
  const report = [];
  const { machine } = asking({ entry: [spawnChild('svc', { id: 'side' }), sendTo('side', { type: 'HELLO' })], exit: stopChild('side'), on: { 'xstate.done.actor.side': {} } });
  const { entry, exit } = toStatemesh(machine, { report });
  assert.deepEqual([entry, exit], [[{ type: 'svc' }, { type: 'svc.event', params: { event: { type: 'HELLO' } } }], { type: 'svc.stop' }]);
  assert.deepEqual(report.map(({ kind, path }) => [kind, path]), [['effect', 'entry.0']]);
  assert.match(report[0].message, /a promise that is spawned: the effect `svc`.*no `xstate.done.actor`/);
});

test('an actor of the root that has no name is called after the machine, whatever that is called', () => {
  const config = { id: 'm', invoke: { src: () => Promise.resolve(1), onDone: '.b' }, initial: 'a', on: { 'done.invoke.m:invocation[0]': '.c' }, states: { a: {}, b: {}, c: {} } };
  for (const [id, name] of [[undefined, 'm.work'], ['other', 'other.work']]) {
    const { on } = toStatemesh(createFour({ predictableActionArguments: true, ...config }), { id });
    assert.deepEqual(Object.keys(on), [`${name}.done`]);
    assert.deepEqual(on[`${name}.done`].map(({ target }) => target), ['.b', '.c']);
  }
});

test('the number of an attempt takes no key that is the machine\'s, or that of another effect', () => {
  const asks = (src) => ({ invoke: { src, onDone: 'c' }, on: { NEXT: 'b' } });
  const machine = { id: 'm', context: { loadItAttempt: 'mine' }, initial: 'a', states: { a: asks('load-it'), b: asks('loadIt'), c: {} } };
  const { context, states } = toStatemesh(machine, { from: 4 });
  assert.deepEqual(context, { loadItAttempt: 'mine', loadItAttempt_: 0, loadItAttempt__: 0 });
  assert.deepEqual(states.a.entry[1], { type: 'load-it', params: { attempt: { '@expr': 'context.loadItAttempt_' } } });
  assert.deepEqual(states.b.entry[1], { type: 'loadIt', params: { attempt: { '@expr': 'context.loadItAttempt__' } } });
});
