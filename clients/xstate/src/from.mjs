// A definition of Statemesh as an XState machine.

import * as xstate from 'xstate';
import { evaluate } from './cel.mjs';
import { convert } from './convert.mjs';
import { lower } from './lower.mjs';

/**
 * The XState 5 machine of a definition, whose expressions are evaluated as the mesh does, so that a front end and a test run the same
 * chart.
 *
 * @param {object} definition what `statemesh check` accepts
 * @param {object} [options]
 * @param {object} [options.machines] definitions, or machines, that `src` names, by their ids
 * @param {object} [options.actions] what is to be done for the effects, by their names: `({context, event, self}, params) => ...`
 */
export function fromStatemesh(definition, { machines = {}, actions = {} } = {}) {
  // XState 4 would take the configuration, and leave out of it what it does not know.
  if (xstate.setup === undefined) throw new Error('`fromStatemesh` makes a machine of XState 5, and xstate here is of version 4: install xstate@5');
  const built = new Map();
  const build = (one) => {
    const { config, implementations } = convert(lower(one), { library: xstate, actors: actors(), evaluate });
    return xstate.createMachine(config, { ...implementations, actions: { ...actions, ...implementations.actions } });
  };
  const actors = () =>
    Object.fromEntries(
      Object.entries(machines).map(([name, machine]) => {
        if (machine.transition !== undefined) return [name, machine];
        // A machine may name the others, itself too: it is built where it is asked for.
        if (!built.has(name)) {
          built.set(name, undefined);
          built.set(name, build(machine));
        }
        return [name, built.get(name)];
      })
    );
  return build(definition);
}
