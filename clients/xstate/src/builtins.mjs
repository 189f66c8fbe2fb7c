// XState's built-in actions and guards, as both versions keep their data: 5 on a function, 4 in an object.

/** The words of XState 4's actions that have no counterpart, and what to write instead. */
const REFUSED = {
  'xstate.choose': '`choose`: give each case a transition with a guard of its own',
  'xstate.pure': '`pure`: write the actions that it gives, each in a transition with a guard',
  'xstate.start': 'an activity is an effect that starts it and one that stops it',
  'xstate.invoke': 'an activity is an effect that starts it and one that stops it',
  'xstate.update': '`sendUpdate`: raise an event with what changed',
  'xstate.error': '`escalate`: send `#_parent` an event of your own'
};

/** An action as `{kind, ...}`, whichever version made it. */
export function describe(action) {
  if (typeof action === 'string') return { kind: 'named', name: action };
  if (action === null || (typeof action !== 'object' && typeof action !== 'function')) return { kind: 'none' };
  if (isOwn(action)) return { kind: 'own', own: action };
  switch (action.type) {
    case 'xstate.assign':
      return { kind: 'assign', assignment: action.assignment };
    case 'xstate.raise':
      return { kind: 'raise', event: action.event, delay: action.delay, id: action.id };
    case 'xstate.sendTo':
      return { kind: 'sendTo', to: action.to, event: action.event, delay: action.delay, id: action.id };
    case 'xstate.send':
      // XState 4 gives every event the id of its type.
      return { kind: 'sendTo', to: action.to, event: action.event, delay: action.delay, id: action.id === action.event?.type ? undefined : action.id };
    case 'xstate.cancel':
      return { kind: 'cancel', id: action.sendId };
    case 'xstate.emit':
      return { kind: 'emit', event: action.event };
    case 'xstate.log':
      return { kind: 'log', value: action.value ?? action.expr, label: action.label };
    case 'xstate.spawnChild':
      return { kind: 'spawnChild', src: action.src, id: action.id, input: action.input, syncSnapshot: action.syncSnapshot };
    case 'xstate.stopChild':
      return { kind: 'stopChild', id: action.actorRef };
    case 'xstate.stop':
      return { kind: 'stopChild', id: action.activity?.id ?? action.activity };
    case 'xstate.enqueueActions':
      return { kind: 'enqueue', collect: action.collect };
    default:
      return other(action);
  }
}

function other(action) {
  const reason = REFUSED[action.type];
  if (reason !== undefined) return { kind: 'refused', reason, source: sourceOf(action) };
  if (typeof action === 'function') return { kind: 'function', run: action };
  if (typeof action.exec === 'function') return { kind: 'function', run: action.exec, name: action.type };
  if (typeof action.type !== 'string') return { kind: 'none' };
  const { type, params, exec: _, ...fields } = action;
  return { kind: 'named', name: type, params: params ?? (Object.keys(fields).length > 0 ? fields : undefined) };
}

function sourceOf(action) {
  const inner = action.get ?? action.conds ?? action;
  if (typeof inner === 'function') return Function.prototype.toString.call(inner);
  return JSON.stringify(inner, (_, value) => (typeof value === 'function' ? Function.prototype.toString.call(value) : value));
}

/** What a definition of the mesh says in its own words: an expression, or a built-in action. */
function isOwn(given) {
  return typeof given === 'object' && (typeof given['@expr'] === 'string' || /^@xstate\./.test(given.type));
}

/** A guard as `{kind, ...}`. */
export function describeGuard(guard) {
  if (typeof guard === 'string') return { kind: 'named', name: guard };
  if (isOwn(guard) || guard.type === 'xstate.stateIn') return { kind: 'own', own: guard };
  if (typeof guard === 'function' || typeof guard === 'object') {
    const name = /^check(And|Or|Not|StateIn)/.exec(guard.check?.name ?? '')?.[1].toLowerCase();
    if (name === 'statein') return { kind: 'stateIn', state: guard.stateValue };
    if (name !== undefined) return { kind: name, guards: guard.guards };
  }
  if (typeof guard === 'function') return { kind: 'function', test: guard };
  if (typeof guard.predicate === 'function') {
    return guard.type === 'xstate.guard' || guard.name === undefined ? { kind: 'function', test: guard.predicate } : { kind: 'named', name: guard.name };
  }
  if (['xstate.and', 'xstate.or', 'xstate.not'].includes(guard.type)) return { kind: guard.type.slice(7), guards: guard.guards ?? [guard.params?.guard] };
  const { type, params, ...fields } = guard;
  return { kind: 'named', name: type, params: params ?? (Object.keys(fields).length > 0 ? fields : undefined) };
}

const TYPICAL = new Set(['', 'actions', 'entry', 'exit', 'anonymous', 'exec', 'src', 'guard', 'cond']);

/** The name that a function was given, or one made of its place. */
export function nameOf(run, place) {
  const name = typeof run === 'function' ? run.name.replace(/^bound /, '') : '';
  return TYPICAL.has(name) || name.length === 1 ? place : name;
}

/** What kind of actor a logic is: `promise`, `callback`, `machine`, or something else that runs in a program. */
export function kindOf(logic) {
  if (logic === undefined || logic === null) return 'unknown';
  if (isMachine(logic)) return 'machine';
  if (typeof logic === 'function') return kindOfService(logic);
  if (typeof logic.then === 'function') return 'promise';
  if (typeof logic.transition !== 'function') return 'unknown';
  try {
    const resolved = logic.transition({ status: 'active', output: undefined, error: undefined }, { type: 'xstate.promise.resolve', data: 1 }, {});
    if (resolved?.status === 'done') return 'promise';
  } catch {
    // Callbacks look for their actor, which there is none of.
  }
  return 'callback';
}

/** XState 4's services are functions: one that gives a function is a callback. */
function kindOfService(logic) {
  const text = Function.prototype.toString.call(logic);
  return /=>\s*\(?\s*(async\s*)?\(?[\w\s,{}]*\)?\s*=>|return\s+(\([\w\s,]*\)\s*=>|function)/.test(text) && !/^async/.test(text) ? 'callback' : 'promise';
}

export function isMachine(logic) {
  return logic !== null && typeof logic === 'object' && logic.__xstatenode === true;
}

/** The version of XState that made a machine. */
export function versionOf(machine) {
  return machine.implementations === undefined ? 4 : 5;
}
