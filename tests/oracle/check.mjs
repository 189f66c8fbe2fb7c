// One case through both sides, with the properties that the engine alone must have.

import { compareRuns } from './compare.mjs';
import { exemption } from './exemptions.mjs';
import { EXEMPT, reference } from './reference.mjs';

/** Asks the engine three times: plainly, again, and with a snapshot stored and restored after every step. */
export function askEngine(subject, request) {
  return Promise.all([subject.ask(request), subject.ask(request), subject.ask({ ...request, restore: true })]);
}

/**
 * Judges one case: `{steps, exempt?, difference?}`.
 *
 * `answers` may be given when the engine was asked earlier (batches overlap the two sides).
 */
export async function check(subject, request, answers = askEngine(subject, request)) {
  const { expected, exempt, options } = expectation(request);
  const [plain, again, restored] = await answers;
  const verdict = { steps: expected.snapshots.length, exempt, snapshots: expected.snapshots };
  const found = compareRuns(expected, JSON.parse(plain));
  if (found !== undefined) {
    const reason = exemption(request, JSON.parse(plain), found, options);
    if (reason === undefined) return { ...verdict, difference: { kind: 'reference', ...found } };
    verdict.exempt = reason;
  }
  if (plain !== again) return { ...verdict, difference: { kind: 'repeatability', ...textDifference(plain, again) } };
  if (plain !== restored) return { ...verdict, difference: { kind: 'restore', ...textDifference(plain, restored) } };
  return verdict;
}

/** What XState does; where it loses track of a timer, what it does when it does not. */
function expectation(request) {
  const expected = reference(request);
  if (expected.exempt !== EXEMPT.doubledId) return { expected, exempt: expected.exempt, options: {} };
  const options = { timers: 'by id' };
  const corrected = reference(request, options);
  return { expected: corrected, exempt: corrected.exempt ?? EXEMPT.doubledId, options };
}

function textDifference(expected, actual) {
  const [left, right] = [JSON.parse(expected), JSON.parse(actual)];
  const found = compareRuns(left.error ? { snapshots: [] } : left, right);
  return found ?? { step: -1, path: 'bytes', expected, actual };
}
