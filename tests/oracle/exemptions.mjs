// The differences from XState that are meant, each recognised as narrowly as it can be, with its reason.

import { compareRuns } from './compare.mjs';
import { correctedXState } from './patched.mjs';
import { DELIVERIES_MAX, EXEMPT, MICROSTEPS_MAX, reference, TIMERS_MAX } from './reference.mjs';

/** Why a run stopped being comparable, or was found to differ on purpose. */
export const REASONS = {
  endless: `The machine did not come to rest in XState within ${MICROSTEPS_MAX} microsteps, ${DELIVERIES_MAX} events between machines or ${TIMERS_MAX} timers of one step. XState would go on for ever; we refuse that input at a limit and leave the instance as it was, which is checked for one in eight. Compared up to that step.`,
  doubledId:
    'A second delayed raise under an id that is still pending: both run, in XState as here, but XState can then cancel only one of them, and none once the first has fired. Here cancelling the id cancels both. Compared with an XState whose scheduler does.',
  historyToSource:
    'A transition without `reenter` has a history target that resolves to its own source. XState 5 exits nothing and enters the source again: its timers and children run twice from then on, and a compound state can have two active children, which the value hides. SCXML and XState 6 exit the source and enter it, and so do we. Compared with an XState 5 whose transition domain is that of XState 6.',
  illegal:
    'XState reached a configuration that no statechart has, whatever its value shows: two children of a compound state, or not all regions of a parallel one; or failed at its start in a machine whose initial state is a history state, which it then shows as active. Compared up to that step.',
  takenOver:
    'While it starts, a machine spawns two children under one id: XState then starts its children in the order in which their ids were first used, we in the order in which they were spawned. Compared up to that step.',
  eventlessOrder:
    'Eventless transitions of several regions: XState takes them in the order in which their leaves were last entered, we in document order. Recognised by an XState in which that one line sorts.'
};

/** What the generator leaves out, and why. */
export const GENERATED_AROUND = [
  'a target that is the root without `reenter`: XState repeats the root\'s entry actions without having left it;',
  '`xstate.stateIn` with a `stateValue` in a machine that has a key with a dot: XState splits such keys, escaped or not, and takes state `c.` for one inside `c`;',
  'a string in an array of `after`: XState takes it for a transition without a target, though it is one with a target everywhere else;',
  'a history state without `target` in a parallel state: XState can then make two children of a compound state active;',
  'a history state without `target` that is its parent\'s initial state: it leads back to itself; XState overflows its stack when it gets there, we refuse the definition;',
  'an output that is null as a whole: the CEL evaluator given to XState takes a member that is null for an absent one, CEL and we do not;',
  'the children of a machine that has failed: XState forgets to stop them, we stop them (the run stops them in XState too, after the step);',
  'a delay, guard or `#id` that the machine does not define: XState finds out when it runs (an unknown delay counts as none), we refuse the definition.'
];

const EVENTLESS_ORDER = [
  ['const atomicStates = nextState._nodes.filter(isAtomicStateNode);', 'const atomicStates = nextState._nodes.filter(isAtomicStateNode).sort((a, b) => a.order - b.order);']
];

const VARIANTS = { eventlessOrder: EVENTLESS_ORDER };

/** The reason why this difference is meant, or undefined when it is not. */
export function exemption(request, answer, found, options) {
  const endlessStart = answer.error?.code === 'limit_exceeded';
  if (found.step === -1 && !endlessStart) return undefined;
  for (const [reason, edits] of Object.entries(VARIANTS)) {
    const changed = reference(request, { ...options, library: correctedXState(edits) });
    const changedNeverRests = changed.exempt === EXEMPT.endless && changed.snapshots.length === 0;
    if (endlessStart ? changedNeverRests : compareRuns(changed, answer) === undefined) return reason;
  }
  return undefined;
}
