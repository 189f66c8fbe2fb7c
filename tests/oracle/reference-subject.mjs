// XState itself, with the one correction that we make to it, behind the batch protocol, to test the oracle: so it must show no difference, and with
// STATEMESH_ORACLE_FAULT set to one of the faults below, the oracle must find it.

import { createInterface } from 'node:readline';
import { correctedXState } from './patched.mjs';
import { reference } from './reference.mjs';
import { convertScxml } from './scxml-convert.mjs';

const FAULTS = {
  'entry-order': [['[...statesToEnter].sort((a, b) => a.order - b.order)', '[...statesToEnter].sort((a, b) => b.order - a.order)']],
  'history-lost': [["if (historyNode.history === 'deep')", "if (historyNode.history === 'never')"]],
  'wildcard-first': [['exactMatch ? [...exactMatch, ...wildcardCandidates]', 'exactMatch ? [...wildcardCandidates, ...exactMatch]']]
};

const fault = process.env.STATEMESH_ORACLE_FAULT;
const options = { library: correctedXState(FAULTS[fault]) };

function simulated(request) {
  const { snapshots } = reference(request, { microsteps: 1_000, timers: 'by id', ...options });
  return { snapshots };
}

createInterface({ input: process.stdin }).on('line', (line) => {
  const { restore: _, ...request } = JSON.parse(line);
  let answer;
  try {
    answer = request.scxml === undefined ? simulated(request) : { imported: convertScxml(request.scxml).machine };
  } catch (error) {
    answer = { error: { code: 'invalid_definition', message: String(error.message) } };
  }
  process.stdout.write(`${JSON.stringify(answer)}\n`);
});
