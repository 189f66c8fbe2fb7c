// XState itself behind the batch protocol, to test the oracle: unchanged it must show no difference, and with
// STATEMESH_ORACLE_FAULT set to one of the faults below, the oracle must find it.

import { createInterface } from 'node:readline';
import { patchedXState } from './patched.mjs';
import { reference } from './reference.mjs';

const FAULTS = {
  'entry-order': [['[...statesToEnter].sort((a, b) => a.order - b.order)', '[...statesToEnter].sort((a, b) => b.order - a.order)']],
  'history-lost': [["if (historyNode.history === 'deep')", "if (historyNode.history === 'never')"]],
  'wildcard-first': [['exactMatch ? [...exactMatch, ...wildcardCandidates]', 'exactMatch ? [...wildcardCandidates, ...exactMatch]']]
};

const fault = process.env.STATEMESH_ORACLE_FAULT;
const options = fault === undefined ? {} : { library: patchedXState(FAULTS[fault]) };

createInterface({ input: process.stdin }).on('line', (line) => {
  const { restore: _, ...request } = JSON.parse(line);
  let answer;
  try {
    const { snapshots } = reference(request, { microsteps: 1_000, timers: 'by id', ...options });
    answer = { snapshots };
  } catch (error) {
    answer = { error: { code: 'invalid_definition', message: String(error.message) } };
  }
  process.stdout.write(`${JSON.stringify(answer)}\n`);
});
