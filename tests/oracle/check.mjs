// One case through both sides, with the properties that the engine alone must have.

import { compareRuns, differenceAt } from './compare.mjs';
import { exemption } from './exemptions.mjs';
import { correctedXState } from './patched.mjs';
import { EXEMPT, reference } from './reference.mjs';

/** Asks the engine twice: plainly, and with a snapshot stored and restored after every step. */
function askEngine(subject, request) {
  return Promise.all([subject.ask(request), subject.ask({ ...request, restore: true })]);
}

/** What XState does, with history as SCXML has it; where it loses track of a timer, what it does when it does not. */
function expectation(request) {
  const { expected, exempt, options } = withHistory(request);
  if (expected.exempt !== EXEMPT.doubledId) return { expected, exempt, options };
  const byId = { ...options, timers: 'by id' };
  const corrected = reference(request, byId);
  return { expected: corrected, exempt: corrected.exempt ?? EXEMPT.doubledId, options: byId };
}

/** A run in which no history target resolved to its transition's source is the same with and without the correction. */
function withHistory(request) {
  const expected = reference(request);
  if (!mayHaveHistory(request)) return { expected, exempt: expected.exempt, options: {} };
  const options = { library: correctedXState() };
  const corrected = reference(request, options);
  if (sameRuns(expected, corrected)) return { expected, exempt: expected.exempt, options: {} };
  return { expected: corrected, exempt: corrected.exempt ?? EXEMPT.historyToSource, options };
}

function mayHaveHistory(request) {
  return JSON.stringify([request.machine, request.machines]).includes('"history"');
}

function sameRuns(one, other) {
  return one.exempt === other.exempt && one.snapshots.length === other.snapshots.length && compareRuns(one, other) === undefined;
}

/** Of the machines that do not come to rest, one in this many is given to the engine with the step in question. */
const PROBE_EVERY = 8;
let endlessSeen = 0;

/**
 * Runs the reference, and asks the engine for as many steps as can be compared.
 *
 * `judge` awaits the answers, so that one process works while the other does. Throws if XState refuses the machine.
 */
export function begin(subject, request) {
  const prepared = expectation(request);
  const compared = prepared.expected.snapshots.length;
  const probe = prepared.exempt === EXEMPT.endless && endlessSeen++ % PROBE_EVERY === 0;
  const asked = { ...request, events: request.events.slice(0, Math.max(compared - (probe ? 0 : 1), 0)) };
  const answers = compared > 0 || probe ? askEngine(subject, asked) : Promise.resolve(undefined);
  answers.catch(() => {}); // `judge` throws it
  return { ...prepared, request: asked, answers, subject, probe };
}

/** What is wrong with the engine's answer to a step that never comes to rest: it must refuse it and change nothing. */
function badRefusal({ error, snapshots = [] }, step, events) {
  const bad = (actual) => ({ kind: 'endless', step, path: '/error', expected: 'a refusal that changes nothing, or rest', actual });
  if (error) return step === 0 && error.code === 'limit_exceeded' ? undefined : bad(error);
  const refused = snapshots[step];
  if (refused?.error === undefined) return undefined;
  if (refused.error.code !== 'limit_exceeded') return bad(refused);
  if (events[step - 1].type === '@advance') return undefined; // the timers before the endless one have fired
  const { error: _, effects, ...rest } = refused;
  const { effects: __, ...before } = snapshots[step - 1];
  return effects.length === 0 && differenceAt(before, rest) === undefined ? undefined : bad(refused);
}

/** The verdict on what `begin` began: `{steps, exempt?, snapshots, difference?}`. */
export async function judge({ expected, exempt, options, request, answers, subject, probe }) {
  const verdict = { steps: expected.snapshots.length, exempt, snapshots: expected.snapshots };
  const texts = await answers;
  if (texts === undefined) return verdict;
  const [plain, restored] = texts;
  const refusal = probe ? badRefusal(JSON.parse(plain), expected.snapshots.length, request.events) : undefined;
  if (refusal) return { ...verdict, difference: refusal };
  if (expected.snapshots.length === 0) return verdict;
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
