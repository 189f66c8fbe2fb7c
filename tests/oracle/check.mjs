// One case through both sides, with the properties that the engine alone must have.

import { compareRuns } from './compare.mjs';
import { exemption } from './exemptions.mjs';
import { EXEMPT, reference } from './reference.mjs';

/** Asks the engine three times: plainly, again, and with a snapshot stored and restored after every step. */
function askEngine(subject, request) {
  return Promise.all([subject.ask(request), subject.ask(request), subject.ask({ ...request, restore: true })]);
}

/** What XState does; where it loses track of a timer, what it does when it does not. */
function expectation(request) {
  const expected = reference(request);
  if (expected.exempt !== EXEMPT.doubledId) return { expected, exempt: expected.exempt, options: {} };
  const options = { timers: 'by id' };
  const corrected = reference(request, options);
  return { expected: corrected, exempt: corrected.exempt ?? EXEMPT.doubledId, options };
}

/**
 * Runs the reference, and asks the engine for as many steps as can be compared.
 *
 * `judge` awaits the answers, so that one process works while the other does. Throws if XState refuses the machine.
 */
export function begin(subject, request) {
  const prepared = expectation(request);
  const compared = { ...request, events: request.events.slice(0, Math.max(prepared.expected.snapshots.length - 1, 0)) };
  const answers = prepared.expected.snapshots.length > 0 ? askEngine(subject, compared) : Promise.resolve(undefined);
  answers.catch(() => {}); // `judge` throws it
  return { ...prepared, request: compared, answers };
}

/** The verdict on what `begin` began: `{steps, exempt?, snapshots, difference?}`. */
export async function judge({ expected, exempt, options, request, answers }) {
  const verdict = { steps: expected.snapshots.length, exempt, snapshots: expected.snapshots };
  const texts = await answers;
  if (texts === undefined) return verdict;
  const [plain, again, restored] = texts;
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

/** One case from beginning to end. */
export async function check(subject, request) {
  return judge(begin(subject, request));
}

function textDifference(expected, actual) {
  const [left, right] = [JSON.parse(expected), JSON.parse(actual)];
  const found = compareRuns(left.error ? { snapshots: [] } : left, right);
  return found ?? { step: -1, path: 'bytes', expected, actual };
}
