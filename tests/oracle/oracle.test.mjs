// The oracle tested with XState in the engine's place.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { differenceAt } from './compare.mjs';
import { differential } from './differential.mjs';
import { generate } from './generate.mjs';
import { scxmlCases } from './scxml.mjs';
import { Subject } from './subject.mjs';

const REFERENCE = fileURLToPath(new URL('reference-subject.mjs', import.meta.url));
const SEED = 11;

async function differences(fault, steps) {
  const env = { ...process.env, ...(fault === undefined ? {} : { STATEMESH_ORACLE_FAULT: fault }) };
  const subject = new Subject([process.execPath, REFERENCE], env);
  const found = [];
  try {
    await differential(subject, { seed: SEED, steps, switches: {}, keep: 1, report: (item) => found.push(item) });
  } finally {
    await subject.close();
  }
  return found;
}

test('the same seed gives the same machine, another seed another', () => {
  assert.deepEqual(generate(SEED, 3), generate(SEED, 3));
  assert.notDeepEqual(generate(SEED, 3), generate(SEED + 1, 3));
});

test('XState does not differ from itself', async () => {
  assert.deepEqual(await differences(undefined, 1_500), []);
});

for (const fault of ['entry-order', 'history-lost', 'wildcard-first']) {
  test(`XState with the fault ${fault} is found out, by a small case`, async () => {
    const [found] = await differences(fault, 20_000);
    assert.ok(found, 'no difference found');
    assert.ok(JSON.stringify(found.request).length < 1_500, JSON.stringify(found.request));
  });
}

test('XState passes every SCXML case that is run', async () => {
  const subject = new Subject([process.execPath, REFERENCE], process.env);
  const { passed, failed } = await scxmlCases(subject, () => {});
  await subject.close();
  assert.deepEqual(failed, []);
  assert.ok(passed.length >= 112, `${passed.length} cases`);
});

test('key order is no difference, an absent key is one', () => {
  assert.equal(differenceAt({ a: 1, b: [2] }, { b: [2], a: 1 }), undefined);
  assert.equal(differenceAt({ a: 1, b: null }, { a: 1 }), '/b');
  assert.equal(differenceAt({ a: [1, 2] }, { a: [1, 3] }), '/a/1');
});
