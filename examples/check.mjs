// Runs every example in XState, or in statemesh, and compares what it does with the recorded expect*.jsonl.
//
//   node examples/check.mjs                    in XState
//   node examples/check.mjs --statemesh PATH   by `PATH check` and `PATH simulate`
//   node examples/check.mjs --write            records anew what XState does; read the difference before you commit it

import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { differenceAt } from '../tests/oracle/compare.mjs';
import { reference } from '../tests/oracle/reference.mjs';

const { values: options } = parseArgs({ options: { statemesh: { type: 'string' }, write: { type: 'boolean' } } });
const HERE = fileURLToPath(new URL('.', import.meta.url));
const lines = (file) => readFileSync(file, 'utf8').split('\n').filter(Boolean).map((line) => JSON.parse(line));

/** Every scenario: `events*.jsonl` of a folder that has a machine.json, and `expect*.jsonl` beside it. */
function scenarios() {
  const folders = readdirSync(HERE).filter((name) => existsSync(join(HERE, name, 'machine.json')));
  return folders.flatMap((folder) =>
    readdirSync(join(HERE, folder))
      .filter((file) => /^events.*\.jsonl$/.test(file))
      .map((file) => ({ folder, events: file, expect: file.replace(/^events/, 'expect') }))
  );
}

/** A command of the binary under test; its output's lines. */
function statemesh(...words) {
  const { status, stdout, stderr, error } = spawnSync(options.statemesh, words, { encoding: 'utf8', timeout: 60_000 });
  if (error) throw error;
  if (status !== 0) throw new Error(`statemesh ${words.join(' ')} ended with ${status}: ${stderr}`);
  return stdout.split('\n').filter(Boolean);
}

function run({ folder, events }) {
  if (options.statemesh) {
    const [machine, file] = [join(HERE, folder, 'machine.json'), join(HERE, folder, events)];
    return statemesh('simulate', machine, '--events', file, '-o', 'json').map((line) => JSON.parse(line));
  }
  const machine = JSON.parse(readFileSync(join(HERE, folder, 'machine.json'), 'utf8'));
  const { snapshots, exempt } = reference({ machine, events: lines(join(HERE, folder, events)) });
  if (exempt !== undefined) throw new Error(`${folder}/${events}: XState itself cannot be trusted here (${exempt})`);
  return snapshots;
}

function check(scenario) {
  const actual = run(scenario);
  const file = join(HERE, scenario.folder, scenario.expect);
  if (options.write) {
    writeFileSync(file, actual.map((snapshot) => `${JSON.stringify(snapshot)}\n`).join(''));
  }
  const expected = existsSync(file) ? lines(file) : [];
  if (expected.length !== actual.length) return `${expected.length} lines expected, ${actual.length} steps made`;
  for (const [step, line] of expected.entries()) {
    const path = differenceAt(line, actual[step]);
    if (path !== undefined) return `line ${step + 1} differs at ${path}: ${JSON.stringify(actual[step])}`;
  }
  return undefined;
}

/** The name and the check of each test. */
function tests() {
  const all = scenarios();
  const runs = all.map((scenario) => [`${scenario.folder}/${scenario.events}`, () => check(scenario)]);
  if (!options.statemesh) return runs;
  const machines = [...new Set(all.map(({ folder }) => folder))];
  const strict = (folder) => void statemesh('check', '--strict', join(HERE, folder, 'machine.json'));
  return [...machines.map((folder) => [`check ${folder}`, () => strict(folder)]), ...runs];
}

let failed = 0;
const all = tests();
for (const [name, test] of all) {
  let difference;
  try {
    difference = test();
  } catch (error) {
    difference = error.message;
  }
  if (difference !== undefined) failed += 1;
  console.log(difference === undefined ? `ok   ${name}` : `FAIL ${name}: ${difference}`);
}
console.log(`${all.length - failed} passed, ${failed} failed`);
process.exitCode = failed === 0 && all.length > 0 ? 0 : 1;
