// What XState 6 does with a machine as data, under virtual time: the second oracle, for what only 6 has.

import { createActor, createMachineFromConfig } from 'xstate6';
import { evaluate, fromJson, toJson } from './cel.mjs';
import { VirtualClock } from './clock.mjs';

const TIMERS_MAX = 200;
const ROOTS = ['context', 'event', 'params', 'input'];

/** CEL over those names of XState's scope that have a value. */
function cel({ source, scope }) {
  const known = ROOTS.filter((root) => scope[root] !== undefined);
  return toJson(evaluate(source, Object.fromEntries(known.map((root) => [root, fromJson(scope[root])]))));
}

/** A machine as data made into a machine; `actors` has those that `src` may name. */
function create(json, actors) {
  const unknown = { get: () => () => {} };
  const machine = createMachineFromConfig(json, { actors, actions: new Proxy({}, unknown), evaluators: { cel } });
  // alpha.52 has a short way for simple transitions, which forgets their `matches`.
  machine._transitionFast = () => undefined;
  return machine;
}

/** Value, context, status, output and error after the start and after each event. */
export function run({ machine, machines = {}, events, input = {} }) {
  const actors = {};
  for (const [name, child] of Object.entries(machines)) actors[name] = create(child, { ...actors });
  const clock = new VirtualClock();
  const actor = createActor(create(machine, actors), { clock, logger: () => {}, input });
  actor.subscribe({ error: () => {} });
  actor.start();
  const shown = () => {
    const { value, context, status, output, error } = actor.getSnapshot();
    return toJson({ value, context, status, output, error: error?.message });
  };
  const snapshots = [shown()];
  for (const event of events) {
    if (event.type === '@advance') clock.advance(event.ms, TIMERS_MAX, () => {});
    else actor.send(event);
    snapshots.push(shown());
  }
  return snapshots;
}
