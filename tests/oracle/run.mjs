// The oracle's one command; see README.md.
//
//   node tests/oracle/run.mjs --steps 50000 --seed 1

import { readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { agreement } from './agreement.mjs';
import { conformancePage } from './conformance.mjs';
import { differential, keepCase, regressions } from './differential.mjs';
import { checkFeatures } from './features.mjs';
import { scxmlCases } from './scxml.mjs';
import { buildSubject, Subject, WORKSPACE } from './subject.mjs';

const USAGE = `node tests/oracle/run.mjs [options]
  --steps N        random steps to compare at least (default 50000)
  --seed N         where the random machines start (default 1)
  --subject PATH   the simulate-batch executable (default: built with cargo; also STATEMESH_SIMULATE_BATCH)
  --profile NAME   how cargo builds it: dev or release (default dev)
  --only LIST      use these features only (features.mjs)
  --without LIST   leave these features out
  --keep N         stop after N differences (default 5)
  --no-store       do not write shrunk failures to cases/
  --parts LIST     of random, cases, scxml, xstate6 (default all)
  --page PATH      the conformance page, written when every part has run (default docs/reference/conformance.md)`;

/** Of the steps that XState 5 is asked for, one in so many is XState 6's: few machines are in both. */
const AGREEMENT_PART = 25;

const { values: options } = parseArgs({
  options: {
    steps: { type: 'string', default: '50000' },
    seed: { type: 'string', default: '1' },
    subject: { type: 'string' },
    profile: { type: 'string', default: 'dev' },
    only: { type: 'string' },
    without: { type: 'string' },
    keep: { type: 'string', default: '5' },
    'no-store': { type: 'boolean', default: false },
    parts: { type: 'string', default: 'random,cases,scxml,xstate6' },
    page: { type: 'string', default: join(WORKSPACE, 'docs/reference/conformance.md') },
    help: { type: 'boolean', default: false }
  }
});

function names(list) {
  const split = list?.split(',').filter(Boolean);
  if (split) checkFeatures(split);
  return split;
}

function subjectCommand() {
  const given = options.subject ?? process.env.STATEMESH_SIMULATE_BATCH;
  if (given === undefined) return [buildSubject(options.profile)];
  return given.endsWith('.mjs') ? [process.execPath, given] : [given];
}

function shorten(value) {
  const text = JSON.stringify(value);
  return text.length > 1_500 ? `${text.slice(0, 1_500)}...` : text;
}

function explain({ name, request, difference }) {
  console.log(`\n${name}: ${difference.kind} difference at step ${difference.step}, ${difference.path}`);
  console.log(`  machine  ${shorten(request.machine)}`);
  if (request.machines) console.log(`  machines ${shorten(request.machines)}`);
  console.log(`  events   ${shorten(request.events)}`);
  console.log(`  expected ${shorten(difference.expected)}`);
  console.log(`  actual   ${shorten(difference.actual)}`);
}

function version(name) {
  const require = createRequire(import.meta.url);
  const path = require.resolve.paths(name).map((base) => join(base, name, 'package.json'));
  for (const file of path) {
    try {
      return JSON.parse(readFileSync(file, 'utf8')).version;
    } catch {
      continue;
    }
  }
  return 'unknown';
}

async function main() {
  if (options.help) return console.log(USAGE);
  const parts = options.parts.split(',');
  const seed = Number(options.seed);
  const subject = new Subject(subjectCommand());
  const results = { seed, steps: Number(options.steps) };
  let failed = 0;
  const started = Date.now();
  if (parts.includes('cases')) {
    results.cases = await regressions(subject, explain);
    console.log(`${results.cases.cases} kept cases, ${results.cases.differences} differences`);
    failed += results.cases.differences;
  }
  if (parts.includes('scxml')) {
    results.scxml = await scxmlCases(subject, explain);
    const { passed, exempt, failed: wrong } = results.scxml;
    console.log(`${passed.length} SCXML cases pass, ${exempt.length} exempt, ${wrong.length} fail`);
    failed += wrong.length;
  }
  if (parts.includes('xstate6')) {
    results.agreement = await agreement(subject, { seed, steps: Math.ceil(results.steps / AGREEMENT_PART), report: explain });
    const { steps, machines, differences } = results.agreement;
    console.log(`XState 6: ${steps} steps, ${machines} machines, ${differences} differences`);
    failed += differences;
  }
  if (parts.includes('random')) {
    const report = (found) => {
      explain(found);
      if (!options['no-store']) console.log(`  kept as  ${keepCase(found)}`);
    };
    const switches = { only: names(options.only), without: names(options.without) };
    results.random = await differential(subject, { seed, steps: results.steps, switches, keep: Number(options.keep), report });
    const { steps, machines, differences } = results.random;
    console.log(`seed ${seed}: ${steps} steps, ${machines} machines, ${differences} differences (${((Date.now() - started) / 1000).toFixed(1)} s)`);
    failed += differences;
  }
  await subject.close();
  if (results.cases && results.scxml && results.random && results.agreement && !options.only && !options.without) {
    const versions = Object.fromEntries(['xstate', 'xstate6', '@scion-scxml/test-framework', '@bufbuild/cel'].map((name) => [name, version(name)]));
    writeFileSync(options.page, conformancePage({ ...results, versions }));
  }
  process.exitCode = failed === 0 ? 0 : 1;
}

await main();
