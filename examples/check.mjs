// Runs every example in XState and compares what it does with the recorded expect*.jsonl.
//
//   node examples/check.mjs [--write]     --write records anew what XState does; read the difference before you commit it

import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { differenceAt } from '../tests/oracle/compare.mjs';
import { reference } from '../tests/oracle/reference.mjs';

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

function run({ folder, events }) {
  const machine = JSON.parse(readFileSync(join(HERE, folder, 'machine.json'), 'utf8'));
  const { snapshots, exempt } = reference({ machine, events: lines(join(HERE, folder, events)) });
  if (exempt !== undefined) throw new Error(`${folder}/${events}: XState itself cannot be trusted here (${exempt})`);
  return snapshots;
}

function check(scenario) {
  const actual = run(scenario);
  const file = join(HERE, scenario.folder, scenario.expect);
  if (process.argv.includes('--write')) {
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

let failed = 0;
const all = scenarios();
for (const scenario of all) {
  const difference = check(scenario);
  if (difference !== undefined) failed += 1;
  console.log(`${difference === undefined ? 'ok  ' : 'FAIL'} ${scenario.folder}/${scenario.events} ${difference ?? ''}`);
}
console.log(`${all.length - failed} passed, ${failed} failed`);
process.exitCode = failed === 0 && all.length > 0 ? 0 : 1;
