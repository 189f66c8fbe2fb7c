// The names that random machines and their inputs have in common.

export const EVENTS = ['E', 'F', 'G', 'a.b', 'a.b.c', 'a.c'];
export const RAISED = ['R', 'S', 'a.b'];
export const WILDCARDS = ['*', 'a.*', 'a.b.*'];
export const SYSTEM_WILDCARDS = ['xstate.*', 'xstate.done.*', 'xstate.after.*', 'xstate.done.state.*'];
/** Milliseconds. No delay at all is rare: it easily makes a chain that never ends. */
export const DELAYS = [5, 5, 10, 10, 20, 20, 25, 25, 0];
export const ADVANCES = [0, 5, 5, 10, 10, 20, 30, 60];
export const CHILDREN = ['child0', 'child1'];
export const TIMER_IDS = ['t0', 't1'];
