// What `statemesh import xstate` runs: a file of an application becomes a definition, and says what is left to do.

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync, cpSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { toStatemesh } from '../src/index.mjs';

const PACKAGE = fileURLToPath(new URL('..', import.meta.url));
const BIN = join(PACKAGE, 'bin/statemesh-xstate.mjs');
const APP = join(PACKAGE, 'machines/app.tsx');
const FIVE = join(PACKAGE, 'machines/five.mjs');
/** The binary under test, if the run has one. */
const STATEMESH = process.env.STATEMESH;

function run(program, ...words) {
  const { status, stdout, stderr } = spawnSync(program, words, { encoding: 'utf8' });
  return { status, stdout, stderr };
}

test('a file of an application: types, an enum, packages that are not there', () => {
  const { status, stdout, stderr } = run('node', BIN, APP);
  assert.equal(status, 0, stderr);
  const definition = JSON.parse(stdout);
  assert.deepEqual(definition.context, { tab: 'home', query: '', hits: [], failure: null, findAttempt: 0 });
  assert.deepEqual(definition.states.idle.on.GO.guard, { '@expr': '!(size(context.query) < 3)' });
  assert.match(stderr, /taken for anything: @elsewhere\/react/);
  assert.match(stderr, /to do: actions\.shuffle\.context\.hits: it calls the method `sort`/);
  assert.match(stderr, /a promise: the effect `find` .* `find\.done` or `find\.failed`/);
});

test('a machine that a function makes is named', () => {
  const { status, stdout, stderr } = run('node', BIN, APP, '--name', 'lightMaker', '--id', 'lamp');
  assert.equal(status, 0, stderr);
  assert.deepEqual(JSON.parse(stdout).id, 'lamp');
});

test('which of several machines is asked for', () => {
  const { status, stderr } = run('node', BIN, FIVE);
  assert.equal(status, 1);
  assert.match(stderr, /choose one with --name: cart, player, poll/);
});

test('JSON that was written for XState 4', () => {
  const config = {
    key: 'old',
    initial: 'a',
    states: {
      a: { onEntry: 'hello', on: { E: { cond: 'ok', target: 'a' }, F: { target: 'a', internal: true } }, invoke: { src: 'work', data: { x: 1 }, onDone: 'b' } },
      b: { parallel: true, states: { c: {}, d: {} } }
    }
  };
  assert.deepEqual(toStatemesh(config, { from: 4 }), {
    id: 'old',
    context: { workAttempt: 0 },
    initial: 'a',
    states: {
      a: {
        entry: [
          { type: 'hello' },
          { type: '@xstate.assign', context: { workAttempt: { '@expr': 'context.workAttempt + 1' } } },
          { type: 'work', params: { input: { x: 1 }, attempt: { '@expr': 'context.workAttempt' } } }
        ],
        on: {
          E: { target: 'a', guard: 'ok', reenter: true },
          F: 'a',
          'work.done': { target: 'b', guard: { '@expr': 'has(event.attempt) && event.attempt == context.workAttempt' } }
        }
      },
      b: { type: 'parallel', states: { c: {}, d: {} } }
    }
  });
});

test("JSON of Stately's export: code in braces, names of places", () => {
  const report = [];
  const config = {
    id: 'm',
    context: '{{ ({input}) => ({n: input.n}) }}',
    initial: 'a',
    states: {
      a: {
        entry: [{ type: 'inline:m.a#entry[0]' }],
        on: { E: { guard: '{{ ({context}) => context.n > 3 }}', target: 'b', actions: { type: 'say', params: { n: '{{ ({context}) => context.n }}' } } } }
      },
      b: {}
    }
  };
  const made = toStatemesh(config, { report });
  assert.deepEqual(made.context, { n: { '@expr': 'input.n' } });
  assert.deepEqual(made.states.a.entry, { '@code': 'inline:m.a#entry[0]' });
  assert.deepEqual(made.states.a.on.E, { target: 'b', guard: { '@expr': 'has(context.n) && context.n > 3' }, actions: { type: 'say', params: { n: { '@expr': 'context.n' } } } });
  assert.equal(report.length, 1);
});

test('machines that are invoked stay so, and are named', () => {
  const { status, stdout, stderr } = run('node', BIN, join(PACKAGE, 'machines/parent.mjs'));
  assert.equal(status, 0, stderr);
  assert.deepEqual(JSON.parse(stdout).states.asking.invoke.src, 'question');
  assert.match(stderr, /define first, each as --child NAME prints it: question/);
  const child = run('node', BIN, join(PACKAGE, 'machines/parent.mjs'), '--child', 'question');
  assert.equal(JSON.parse(child.stdout).id, 'question');
});

/** A project that has the package installed. */
function project() {
  const folder = mkdtempSync(join(PACKAGE, '.project-'));
  mkdirSync(join(folder, 'node_modules'));
  symlinkSync(PACKAGE, join(folder, 'node_modules/statemesh-xstate'));
  for (const file of ['app.tsx', 'five.mjs']) cpSync(join(PACKAGE, 'machines', file), join(folder, file));
  return folder;
}

test('statemesh import and check: each place that is left has a line and a column', { skip: STATEMESH === undefined }, () => {
  const folder = project();
  try {
    const made = run(STATEMESH, 'import', 'xstate', join(folder, 'app.tsx'));
    assert.equal(made.status, 0, made.stderr);
    const file = join(folder, 'search.json');
    writeFileSync(file, made.stdout);
    const checked = run(STATEMESH, 'check', file);
    assert.equal(checked.status, 1);
    const line = made.stdout.split('\n').findIndex((text) => text.includes('@code')) + 1;
    assert.match(checked.stdout, new RegExp(`search\\.json:${line}:\\d+ \\(at /actions/shuffle/context/hits/@code\\)`));
    for (const name of ['cart', 'player', 'poll']) {
      writeFileSync(file, run(STATEMESH, 'import', 'xstate', join(folder, 'five.mjs'), '--name', name).stdout);
      const strict = run(STATEMESH, 'check', '--strict', file);
      assert.equal(strict.status, 0, strict.stdout);
    }
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test('what is published has all that it imports', () => {
  const { files, dependencies, peerDependencies } = JSON.parse(readFileSync(join(PACKAGE, 'package.json'), 'utf8'));
  assert.deepEqual(files, ['bin', 'src', 'README.md']);
  assert.deepEqual(Object.keys({ ...dependencies, ...peerDependencies }), ['@bufbuild/cel', 'acorn', 'esbuild', 'xstate']);
});
