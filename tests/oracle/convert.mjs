// MachineJSON -> an XState v5 configuration: the package's own conversion, with the evaluator of these tests.

import { convert as build } from '../../clients/xstate/src/convert.mjs';
import { evaluate } from './cel.mjs';

/** `{config, implementations}` for `createMachine(config, implementations)`. */
export function convert(machine, { library, actors }) {
  return build(machine, { library, actors, evaluate });
}
