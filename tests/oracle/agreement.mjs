// Part (d): random machines, exported, through XState 6, where XState 5 and 6 agree.

import { differenceAt } from './compare.mjs';
import { generate } from './generate.mjs';
import { reference } from './reference.mjs';
import { run } from './xstate6.mjs';

/** Features of which differences.json has a case, or that XState 6's JSON does not have. */
const WITHOUT = ['sendSelf', 'children', 'input', 'parallel', 'systemEvents', 'systemWildcards', 'faults'];

/** Exit actions that assign, expressions that read the event's name, `reenter` without a target: see differences.json. */
function mayDiffer(machine) {
  const text = JSON.stringify(machine);
  const assigns = (actions) => /assign|"act\d/.test(JSON.stringify(actions));
  return text.includes('event.type') || exits(machine).some(assigns) || reentersNothing(machine);
}

function reentersNothing(value) {
  if (value === null || typeof value !== 'object') return false;
  if (value.reenter === true && value.target === undefined) return true;
  return Object.values(value).some(reentersNothing);
}

function exits(state) {
  const own = state.exit === undefined ? [] : [state.exit];
  return own.concat(...Object.values(state.states ?? {}).map(exits));
}

const shown = ({ value, context, status }) => ({ value, context, status });

/** Runs at least `steps` steps of machines of which nothing is lost. */
export async function agreement(subject, { seed, steps, report }) {
  const totals = { steps: 0, machines: 0, differences: 0 };
  for (let index = 0; totals.steps < steps; index++) {
    const request = generate(seed, index, { without: WITHOUT });
    if (mayDiffer(request.machine)) continue;
    const expected = reference(request);
    if (expected.exempt !== undefined) continue;
    const { exported, lost } = JSON.parse(await subject.ask({ machine: request.machine, export: 'xstate6' }));
    if (exported === undefined || lost.length > 0) continue;
    const actual = run({ machine: exported, events: request.events });
    // An eventless transition that changes nothing is taken without end there, and once here.
    if (actual.some(({ error }) => error?.startsWith('Microstep count exceeded'))) continue;
    const step = actual.findIndex((found, at) => differenceAt(shown(expected.snapshots[at]), shown(found)) !== undefined);
    totals.steps += actual.length;
    totals.machines += 1;
    if (step < 0) continue;
    totals.differences += 1;
    const difference = { kind: 'XState 6', step, path: '/', expected: shown(expected.snapshots[step]), actual: shown(actual[step]) };
    report({ name: `seed-${seed}-${index}`, request: { machine: exported, events: request.events }, difference });
  }
  return totals;
}
