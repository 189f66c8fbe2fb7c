// What `statemesh import xstate` runs: a file of an application becomes a definition, and says what is left to do.

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync, cpSync, mkdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
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

/** What the program says of files with these texts. */
function withFiles(files, check) {
  const folder = mkdtempSync(join(PACKAGE, '.files-'));
  try {
    for (const [name, text] of Object.entries(files)) writeFileSync(join(folder, name), text);
    check((...words) => run('node', BIN, ...words.map((word) => (word in files || word.includes('.') ? join(folder, word) : word))), folder);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

test('what is wrong with a file is said with its place and without a trace', () => {
  const files = {
    'broken.mjs': 'export const a = 1;\nexport const b = {{;\n',
    'exits.mjs': 'process.exit(0);',
    'throws.mjs': 'throw new Error("not today");',
    'broken.json': '{\n  "id": }'
  };
  withFiles(files, (program) => {
    for (const [file, status, said] of [
      ['nofile.ts', 5, /nofile\.ts: there is no such file/],
      ['nofile.json', 5, /nofile\.json: there is no such file/],
      ['broken.mjs', 1, /broken\.mjs:2:19: /],
      ['broken.json', 1, /broken\.json.*: no JSON/],
      ['exits.mjs', 1, /it ends the process, process\.exit\(0\)/],
      ['throws.mjs', 1, /it fails when it is run: Error: not today/]
    ]) {
      const found = program(file);
      assert.deepEqual([found.status, found.stdout], [status, ''], `${file}: ${found.stderr}`);
      assert.match(found.stderr, said);
      assert.doesNotMatch(found.stderr, /^\s+at /m);
    }
    assert.match(program(FIVE, '--id', 'a/b').stderr, /slash/);
  });
});

test('JSON comes from stdin too', () => {
  const input = JSON.stringify({ id: 'm', context: '{{ ({input}) => ({n: input.n}) }}' });
  const { status, stdout, stderr } = spawnSync('node', [BIN, '-'], { encoding: 'utf8', input });
  assert.equal(status, 0, stderr);
  assert.deepEqual(JSON.parse(stdout).context, { n: { '@expr': 'input.n' } });
});

test('packages that are not installed are named, with the way to install them', () => {
  const folder = mkdtempSync(join(tmpdir(), 'statemesh-xstate-'));
  try {
    for (const part of ['bin', 'src', 'package.json']) cpSync(join(PACKAGE, part), join(folder, part), { recursive: true });
    writeFileSync(join(folder, 'm.json'), '{"id":"m"}');
    const { status, stderr } = run('node', join(folder, 'bin/statemesh-xstate.mjs'), join(folder, 'm.json'));
    assert.equal(status, 5);
    assert.match(stderr, /^the package acorn, .*npm install --save-dev --install-links/);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test('what is left because a package is not installed says which package', () => {
  const text = `
    import { z } from 'zod-elsewhere';
    import { check, LIMIT } from './elsewhere/check.js';
    import { assign, createMachine } from 'xstate';
    const schema = z.object({ a: z.string() });
    export const m = createMachine({
      id: 'm',
      initial: 'a',
      states: {
        a: {
          on: {
            ONE: { guard: ({ event }) => schema.safeParse(event).success },
            TWO: { guard: ({ event }) => check(event) },
            THREE: { guard: ({ event }) => event.n < LIMIT },
            FOUR: { guard: z.guard },
            FIVE: { guard: ((event) => event.n > 1).bind(null) },
            SIX: { actions: assign({ n: ({ event }) => encodeURIComponent(event.n) }) }
          }
        }
      }
    });`;
  withFiles({ 'm.mjs': text }, (program) => {
    const { stderr } = program('m.mjs');
    const places = { ONE: 'guard', TWO: 'guard', THREE: 'guard', FOUR: 'guard', FIVE: 'guard', SIX: 'actions.context.n' };
    for (const [event, reason] of Object.entries({
      ONE: 'it calls `safeParse` of the package zod-elsewhere, which is not installed',
      TWO: 'it calls something of the file ./elsewhere/check.js, which is not there',
      THREE: 'it uses something of the file ./elsewhere/check.js, which is not there',
      FOUR: 'it is a function of the package zod-elsewhere, which is not installed',
      FIVE: 'its text cannot be read: it is bound',
      SIX: 'it calls `encodeURIComponent`, which is built in, and of which CEL has nothing'
    })) {
      assert.ok(stderr.includes(`to do: states.a.on.${event}.${places[event]}: ${reason}`), `${event}: ${stderr}`);
    }
  });
});

test('which of several machines is asked for', () => {
  const { status, stderr } = run('node', BIN, FIVE);
  assert.equal(status, 1);
  assert.match(stderr, /choose one with --name: cart, player, poll/);
});

test('a machine has the name under which it is exported, whatever kind of file that is', () => {
  const make = "createMachine({ id: 'kid4', initial: 'a', states: { a: {} } })";
  const other = "createMachine({ id: 'par4', initial: 'b', states: { b: {} } })";
  const require_ = "const { createMachine } = require('xstate');\n";
  const import_ = "import { createMachine } from 'xstate';\n";
  const files = {
    'whole.cjs': `${require_}const kid = ${make};\nconst par = ${other};\nmodule.exports = { kid, par };`,
    'each.cjs': `${require_}exports.kid = ${make};\nexports.par = () => ${other};`,
    'compiled.js': `${require_}Object.defineProperty(exports, '__esModule', { value: true });\nexports.kid = ${make};\nexports.par = ${other};\nexports.default = exports.kid;`,
    'object.mjs': `${import_}export default { kid: ${make}, par: ${other} };`,
    'names.mjs': `${import_}export const kid = ${make};\nexport const par = ${other};`,
    'twice.mjs': `${import_}export const kid = ${make};\nexport default kid;`,
    'package.json': '{}',
    'alone.cjs': `${require_}module.exports = ${make};`
  };
  withFiles(files, (program) => {
    for (const file of ['whole.cjs', 'each.cjs', 'compiled.js', 'object.mjs', 'names.mjs']) {
      for (const [name, id] of [['kid', 'kid4'], ['par', 'par4'], ['kid4', 'kid4']]) {
        const { status, stdout, stderr } = program(file, '--name', name);
        assert.equal(status, 0, `${file}: ${stderr}`);
        assert.equal(JSON.parse(stdout).id, id, file);
      }
    }
    assert.match(program('whole.cjs').stderr, /choose one with --name: kid, par$/m);
    assert.match(program('whole.cjs', '--name', 'nobody').stderr, /no machine nobody, but kid, par/);
    for (const file of ['alone.cjs', 'twice.mjs']) assert.equal(JSON.parse(program(file).stdout).id, 'kid4');
  });
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

test('an action whose code is not in the JSON, or stands in it as a type, is left to do and no effect', () => {
  const left = [
    { type: '{{assign({n: 1})}}' },
    '{{ ({ context }) => console.log(context.n) }}',
    { type: 'inline:m.a#entry[0]', params: { a: 1 } },
    'raise',
    'log',
    { type: 'assign' },
    { type: 'sendTo' },
    { type: 'enqueueActions' },
    { type: 'xstate.assign', assignment: {} },
    { type: 'xstate.raise', delay: 5 },
    { type: 'xstate.enqueueActions' },
    { type: 'xstate.pure' }
  ];
  const report = [];
  const { entry } = toStatemesh({ id: 'm', entry: left }, { report });
  assert.deepEqual(entry.filter((action) => typeof action['@code'] !== 'string'), []);
  assert.deepEqual(report.map(({ kind, path }) => [kind, path]), left.map((_, index) => ['todo', `entry.${index}`]));
  assert.match(report[3].message, /`raise` is an action of XState.*`@xstate.raise` with its `event`/);
  const kept = [
    { type: 'say' },
    { type: 'log', params: { text: 'hello' } },
    { type: 'xstate.raise', event: { type: 'E' } },
    { type: 'xstate.assign', assignment: { n: 1 } },
    { type: '@xstate.log', args: ['x'] },
    { type: 'emit' }
  ];
  const none = [];
  const made = toStatemesh({ id: 'm', actions: { emit: { type: '@xstate.emit', event: { type: 'E' } } }, entry: kept }, { report: none });
  assert.deepEqual(none, []);
  assert.deepEqual(made.entry.slice(0, 4), [kept[0], kept[1], { type: '@xstate.raise', event: { type: 'E' } }, { type: '@xstate.assign', context: { n: 1 } }]);
});

test('a guard and an actor that are code as a type', () => {
  const config = { id: 'm', initial: 'a', context: { n: 0 }, states: { a: { invoke: { src: '{{ fromPromise(() => ask()) }}' }, on: { E: { guard: { type: '{{ ({context}) => context.n > 3 }}' }, target: 'b' } } }, b: {} } };
  const { a } = toStatemesh(config).states;
  assert.deepEqual(a.on.E.guard, { '@expr': 'context.n > 3' });
  assert.deepEqual(a.entry, { type: 'a.work' });
});

test('functions without names are told apart', () => {
  const first = () => document.title;
  const second = () => document.body;
  const config = {
    id: 'm',
    initial: 'a',
    states: { a: { entry: [() => alert(1), () => alert(2)], on: { E: [{ guard: 'g', actions: () => alert(3) }, { actions: () => alert(4) }], F: { actions: [first, second, first] } } } }
  };
  const { a } = toStatemesh(config).states;
  assert.deepEqual(a.entry, [{ type: 'a.entry' }, { type: 'a.entry.2' }]);
  assert.deepEqual(a.on.E.map(({ actions }) => actions), [{ type: 'a.E' }, { type: 'a.E.2' }]);
  assert.deepEqual(a.on.F.actions, [{ type: 'first' }, { type: 'second' }, { type: 'first' }]);
});

test('a definition of the mesh, or what was exported of one, stays as it is', () => {
  const definition = {
    id: 'm',
    context: { n: 0 },
    guards: { many: { when: { '@expr': 'context.n > params.most' } } },
    actions: { count: { type: '@xstate.assign', context: { n: { '@expr': 'context.n + 1' } } } },
    delays: { soon: { duration: { '@expr': 'context.n * 10' } } },
    initial: 'a',
    states: {
      a: {
        after: { soon: { target: 'b', guard: { '@expr': 'context.n > 1' } } },
        on: {
          E: { guard: { type: 'xstate.not', guards: [{ '@expr': 'has(event.x)' }] }, actions: [{ type: '@xstate.assign', context: { n: { '@expr': 'event.n' } } }, 'count', { '@expr': '{}' }] },
          F: { guard: { type: 'xstate.stateIn', id: 'm.b' }, actions: { type: '@xstate.raise', event: { type: 'E' }, delay: '5s' }, target: 'b' },
          'xstate.done.state.m.b': '#m.b',
          G: { guard: { type: 'many', params: { most: 3 } }, target: 'b', actions: { type: 'say', params: { n: { '@expr': 'context.n' } } } }
        }
      },
      b: {},
      output: { on: { BACK: '.inner', LEAVE: '#m.a' } }
    }
  };
  const report = [];
  const made = toStatemesh(definition, { id: 'other', report });
  assert.deepEqual(report, []);
  // A name by itself, and the name as a type, are the same.
  definition.states.a.on.E.actions[1] = { type: 'count' };
  // Its states have the name of the machine in their ids.
  definition.states.a.on.F.guard.id = 'other.b';
  definition.states.a.on['xstate.done.state.other.b'] = '#other.b';
  delete definition.states.a.on['xstate.done.state.m.b'];
  definition.states.output.on.LEAVE = '#other.a';
  assert.deepEqual(made, { ...definition, id: 'other' });
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

/** A project with one of the two versions of XState, as the package manager lays it out. */
function beside(version, check) {
  const folder = mkdtempSync(join(tmpdir(), 'statemesh-xstate-'));
  try {
    const { dependencies: _, devDependencies: __, ...manifest } = JSON.parse(readFileSync(join(PACKAGE, 'package.json'), 'utf8'));
    mkdirSync(join(folder, 'package'));
    // What it depends on comes from elsewhere: only the peer is at stake here.
    writeFileSync(join(folder, 'package/package.json'), JSON.stringify(manifest));
    for (const part of ['bin', 'src']) cpSync(join(PACKAGE, part), join(folder, 'package', part), { recursive: true });
    mkdirSync(join(folder, 'project'));
    const own = { name: 'project', version: '1.0.0', dependencies: { xstate: `file:${join(PACKAGE, 'node_modules', version)}` } };
    writeFileSync(join(folder, 'project/package.json'), JSON.stringify(own));
    const words = ['install', '--offline', '--ignore-scripts', '--no-audit', '--no-fund', '--install-links', '--save-dev', join(folder, 'package')];
    const installed = spawnSync('npm', words, { encoding: 'utf8', cwd: join(folder, 'project') });
    assert.equal(installed.status, 0, installed.stderr);
    for (const name of ['@bufbuild', 'acorn', 'esbuild']) symlinkSync(join(PACKAGE, 'node_modules', name), join(folder, 'project/node_modules', name));
    check(join(folder, 'project'));
  } finally {
    rmSync(folder, { recursive: true });
  }
}

test('the package stands beside XState 4 and 5, and makes a machine only for 5', () => {
  const script = `
    import { fromStatemesh, toStatemesh } from 'statemesh-xstate';
    import { createMachine } from 'xstate';
    const machine = createMachine({ predictableActionArguments: true, id: 'm', initial: 'a', states: { a: {} } });
    console.log(fromStatemesh(toStatemesh(machine)).id);`;
  for (const [version, said] of [['xstate4', /`fromStatemesh` makes a machine of XState 5.*version 4/], ['xstate', /^m$/m]]) {
    beside(version, (folder) => {
      writeFileSync(join(folder, 'both.mjs'), script);
      const { stdout, stderr } = run('node', join(folder, 'both.mjs'));
      assert.match(stdout + stderr, said);
      writeFileSync(join(folder, 'm.mjs'), "import { createMachine } from 'xstate';\nexport const m = createMachine({ id: 'm', initial: 'a', states: { a: {} } });");
      const made = run('node', join(folder, 'node_modules/statemesh-xstate/bin/statemesh-xstate.mjs'), join(folder, 'm.mjs'));
      assert.deepEqual(JSON.parse(made.stdout), { id: 'm', initial: 'a', states: { a: {} } }, made.stderr);
    });
  }
});

test('a survey has a row for each file with a machine, and counts what is in them', { skip: STATEMESH === undefined }, () => {
  const { status, stdout, stderr } = run('node', join(PACKAGE, 'survey.mjs'), `${join(PACKAGE, 'machines')}=https://example.org/machines`);
  assert.equal(status, 0, stderr);
  assert.match(stdout, /^4 files, 4 became a definition, \d of these accepted at once\n\d+ effects, 1 left to do, \d+ notes$/m);
  assert.match(stdout, /^\| \[app\.tsx\]\(https:\/\/example\.org\/machines\/app\.tsx\) \| 5 \| 2 \| 1 \| it calls the method `sort` .*\|$/m);
  assert.match(stdout, /^\| \[parent\.mjs\].* \| 0 \| 0 \| 1 invoked machine to define first \|$/m);
});

const LOADER = `
    import { assign, createMachine, fromPromise } from 'xstate';
    export const m = createMachine({
      id: 'm',
      context: CONTEXT,
      initial: 'a',
      states: { a: { invoke: { src: fromPromise(async () => 1), id: 'load', onDone: { target: 'b', actions: ASSIGN } } }, b: {} }
    });`;

test('one part that cannot be translated is left to do by itself, and the others are kept', () => {
  const text = LOADER.replace('CONTEXT', "({ input }) => ({ n: 1, name: input.name, at: Date.now(), deep: { list: [2, Math.random()], kept: 'x' } })").replace(
    'ASSIGN',
    'assign(({ event }) => ({ n: event.output, at: Date.now() }))'
  );
  withFiles({ 'm.mjs': text }, (program) => {
    const { status, stdout, stderr } = program('m.mjs');
    assert.equal(status, 0, stderr);
    const { context, states } = JSON.parse(stdout);
    assert.deepEqual(context, {
      n: 1,
      name: { '@expr': 'input.name' },
      at: { '@code': 'Date.now()' },
      deep: { list: [2, { '@code': 'Math.random()' }], kept: 'x' },
      loadAttempt: 0
    });
    const [done] = [states.a.on['load.done']].flat();
    assert.deepEqual(done.actions.context, { n: { '@expr': 'event.output' }, at: { '@code': 'Date.now()' } });
    for (const place of ['context.at', 'context.deep.list.1', 'states.a.on.load.done.actions.context.at']) assert.ok(stderr.includes(`to do: ${place}: `), `${place}: ${stderr}`);
    assert.match(stderr, /^3 places are left to do/m);
  });
});

test('a context that is left to do as a whole says which keys the effects need in it', () => {
  const text = LOADER.replace('CONTEXT', '() => new Map([[1, Date.now()]])').replace('ASSIGN', '[]');
  withFiles({ 'm.mjs': text }, (program) => {
    const { stdout, stderr } = program('m.mjs');
    assert.deepEqual(Object.keys(JSON.parse(stdout).context), ['@code']);
    assert.match(stderr, /^note: context: `loadAttempt: 0` must be in it/m);
  });
});

test('what is published has all that it imports', () => {
  const { files, dependencies, peerDependencies } = JSON.parse(readFileSync(join(PACKAGE, 'package.json'), 'utf8'));
  assert.deepEqual(files, ['bin', 'src', 'README.md']);
  assert.deepEqual(Object.keys({ ...dependencies, ...peerDependencies }), ['@bufbuild/cel', 'acorn', 'esbuild', 'xstate']);
});
