// One case through both sides, with the properties that the engine alone must have.

import { compareRuns } from './compare.mjs';
import { exemption } from './exemptions.mjs';
import { EXEMPT, reference } from './reference.mjs';

/** Asks the engine twice: plainly, and with a snapshot stored and restored after every step. */
function askEngine(subject, request) {
  return Promise.all([subject.ask(request), subject.ask({ ...request, restore: true })]);
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
  return { ...prepared, request: compared, answers, subject };
}

/** The verdict on what `begin` began: `{steps, exempt?, snapshots, difference?}`. */
export async function judge({ expected, exempt, options, request, answers, subject }) {
  const verdict = { steps: expected.snapshots.length, exempt, snapshots: expected.snapshots };
  const texts = await answers;
  if (texts === undefined) return verdict;
  const [plain, restored] = texts;
  const found = compareRuns(expected, JSON.parse(plain));
  if (found !== undefined) {
    const reason = exemption(request, JSON.parse(plain), found, options);
    if (reason === undefined) return { ...verdict, difference: { kind: 'reference', ...found } };
    verdict.exempt = reason;
  }
  if (plain !== restored) return { ...verdict, difference: await unequalBytes(subject, request, plain, restored) };
  return verdict;
}

/** Two runs of the same input gave different bytes: does any second run, or only one with snapshots in between? */
async function unequalBytes(subject, request, plain, restored) {
  const again = await subject.ask(request);
  if (plain !== again) return { kind: 'repeatability', ...textDifference(plain, again) };
  return { kind: 'restore', ...textDifference(plain, restored) };
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
