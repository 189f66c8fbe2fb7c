// Part (a): random machines through XState and the engine, compared after every step.

import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { begin, check, judge } from './check.mjs';
import { generate } from './generate.mjs';
import { reference } from './reference.mjs';
import { shrink } from './shrink.mjs';

const BATCH = 64;
const CASES = fileURLToPath(new URL('cases', import.meta.url));

/** Runs at least `steps` steps. Calls `report(difference)` for each difference found, after shrinking it. */
export async function differential(subject, { seed, steps, switches, keep, report }) {
  const totals = { steps: 0, machines: 0, differences: 0, exempt: {} };
  const beginBatch = (first) =>
    Array.from({ length: BATCH }, (_, offset) => {
      const request = generate(seed, first + offset, switches);
      return { index: first + offset, request, begun: begin(subject, request) };
    });
  const isOver = () => totals.steps >= steps || totals.differences >= keep;
  // The reference is a batch ahead, so that neither process waits for the other.
  let next = beginBatch(0);
  for (let first = BATCH; !isOver(); first += BATCH) {
    const batch = next;
    next = beginBatch(first);
    for (const { index, request, begun } of batch) {
      const { steps: compared, exempt, difference } = await judge(begun).catch(crash);
      totals.steps += compared;
      totals.machines += 1;
      if (exempt) totals.exempt[exempt] = (totals.exempt[exempt] ?? 0) + 1;
      if (difference) {
        totals.differences += 1;
        const found = difference.kind === 'crash' ? { request, difference } : await minimise(subject, request, difference);
        report({ name: `seed-${seed}-${index}`, ...found });
        if (difference.kind === 'crash') return totals;
      }
      if (isOver()) break;
    }
  }
  return totals;
}

/** The engine's process ended: the first request without an answer is what it could not bear. */
function crash(error) {
  return { steps: 0, difference: { kind: 'crash', step: -1, path: '/', expected: 'an answer', actual: error.message } };
}

async function minimise(subject, request, difference) {
  return shrink(request, difference, async (candidate) => {
    try {
      return (await check(subject, candidate)).difference;
    } catch {
      return undefined; // not a machine that the reference accepts
    }
  });
}

/** Keeps a shrunk failure as a case that every later run repeats. */
export function keepCase({ name, request, difference }) {
  mkdirSync(CASES, { recursive: true });
  const file = `${CASES}/${name}.json`;
  const found = `${difference.kind} difference at step ${difference.step}, ${difference.path}`;
  const kept = { found, ...request, expected: reference(request).snapshots };
  writeFileSync(file, `${JSON.stringify(kept, null, 2)}\n`);
  return file;
}

/** Repeats the kept cases; each says what XState answered when it was kept, so a change of the reference shows too. */
export async function regressions(subject, report) {
  const totals = { cases: 0, differences: 0 };
  const files = readdirSync(CASES).filter((name) => name.endsWith('.json')).sort();
  for (const file of files) {
    const { found: _, expected, ...request } = JSON.parse(readFileSync(`${CASES}/${file}`, 'utf8'));
    const verdict = await check(subject, request);
    totals.cases += 1;
    const changed = expected !== undefined && JSON.stringify(sorted(expected)) !== JSON.stringify(sorted(verdict.snapshots));
    const difference = verdict.difference ?? (changed ? { kind: 'stored', step: -1, path: '/expected', expected, actual: verdict.snapshots } : undefined);
    if (difference) {
      totals.differences += 1;
      report({ name: file, request, difference });
    }
  }
  return totals;
}

function sorted(value) {
  if (Array.isArray(value)) return value.map(sorted);
  if (value === null || typeof value !== 'object') return value;
  return Object.fromEntries(Object.keys(value).sort().map((key) => [key, sorted(value[key])]));
}
