// The table of what XState 6's JSON means, held to XState 6: engine/tests/xstate6.rs holds the engine to the same rows.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { reference } from './reference.mjs';
import { run } from './xstate6.mjs';

const read = (name) => JSON.parse(readFileSync(new URL(name, import.meta.url), 'utf8'));
const FEATURES = read('xstate6.json');
const DIFFERENCES = read('differences.json');

test('what is the same in XState 6 and here is what XState 6 does', () => {
  for (const { name, snapshots, ...feature } of FEATURES.filter(({ refused }) => refused === undefined)) {
    const found = run(feature).map(({ value, context, status }) =>
      status === 'active' ? [value, context] : [value, context, status]
    );
    assert.deepEqual(found, snapshots, name);
  }
});

test('where XState 5 and 6 differ they do what the table says', () => {
  const last = (snapshots) => {
    const { value, context, status, output } = snapshots.at(-1);
    return { value, context, status, ...(output === undefined ? {} : { output }) };
  };
  for (const { what, five, six, ...feature } of DIFFERENCES) {
    assert.deepEqual(last(reference(feature).snapshots), five, what);
    assert.deepEqual(last(run(feature)), six, what);
  }
});
