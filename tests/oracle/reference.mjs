// Runs a machine in XState under virtual time and reports what `statemesh simulate` would print for it.

import * as xstate from 'xstate';
import { fromJson, toJson } from './cel.mjs';
import { EndlessTimers, VirtualClock } from './clock.mjs';
import { convert } from './convert.mjs';

/** Microsteps in one macrostep, and timers in one advance, after which the reference calls a machine endless. */
export const MICROSTEPS_MAX = 150;
const TIMERS_MAX = 1_000;

/** What makes a run incomparable from some step on; see exemptions.mjs for the reasons. */
export const EXEMPT = {
  endless: 'endless',
  doubledId: 'doubledId',
  illegal: 'illegal'
};

const EFFECTS = {
  'xstate.emit': ({ event }) => ({ type: '@xstate.emit', event }),
  'xstate.log': ({ value }) => ({ type: '@xstate.log', args: value })
};
const SILENT = /^xstate\.(raise|cancel|sendTo|spawnChild|stopChild|assign)$/;

function effect({ type, params }) {
  if (EFFECTS[type]) return EFFECTS[type](params);
  return params === undefined ? { type } : { type, params };
}

/** Builds the XState machine of a MachineJSON, with the machines it may invoke by name. */
export function build(machine, { machines = {}, library = xstate } = {}) {
  const actors = Object.fromEntries(
    Object.entries(machines).map(([name, child]) => [name, build(child, { machines, library })])
  );
  const { config, implementations } = convert(fromJson(machine), { library, actors });
  return library.createMachine({ ...config, options: { maxIterations: MICROSTEPS_MAX } }, implementations);
}

/** One actor and the effects it has had since they were last taken. */
class Run {
  constructor(logic, input, library) {
    this.clock = new VirtualClock();
    this.effects = [];
    this.exempt = undefined;
    this.actor = library.createActor(logic, {
      clock: this.clock,
      logger: () => {},
      ...(input === undefined ? {} : { input: fromJson(input) }),
      inspect: (inspected) => this.inspect(inspected)
    });
    this.watchScheduler();
    this.actor.subscribe({ error: (error) => this.failed(error) });
    this.actor.start();
  }

  inspect({ type, action }) {
    if (type === '@xstate.action' && !SILENT.test(action.type)) this.effects.push(toJson(effect(action)));
  }

  failed(error) {
    if (/^Infinite loop detected/.test(error?.message)) this.exempt ??= EXEMPT.endless;
  }

  /** Notes a timer started under the id of one that is pending: XState loses track of the first. */
  watchScheduler() {
    const { system } = this.actor;
    const schedule = system.scheduler.schedule;
    system.scheduler.schedule = (source, target, event, delay, id) => {
      const key = `${source.sessionId}.${id}`;
      if (id !== undefined && key in system._snapshot._scheduledEvents) this.exempt ??= EXEMPT.doubledId;
      return schedule(source, target, event, delay, id);
    };
  }

  step(event) {
    if (event.type === '@advance') {
      try {
        this.clock.advance(event.ms, TIMERS_MAX);
      } catch (error) {
        if (!(error instanceof EndlessTimers)) throw error;
        this.exempt ??= EXEMPT.endless;
      }
    } else {
      this.actor.send(fromJson(event));
    }
    return this.snapshot();
  }

  snapshot() {
    const { value, context, status, output, error, tags = new Set(), _nodes = [] } = this.actor.getSnapshot();
    if (status === 'error') this.failed(error);
    if (status !== 'error' && !isLegal(_nodes)) this.exempt ??= EXEMPT.illegal;
    const effects = this.effects.splice(0);
    const shown = { value, context: toJson(context), status, tags: [...new Set(tags)].sort(), effects };
    if (output !== undefined) shown.output = toJson(output);
    return shown;
  }
}

/** Whether each active compound state has one active child and each parallel state all of its regions. */
function isLegal(nodes) {
  const active = new Set(nodes);
  return nodes.every((node) => {
    const children = Object.values(node.states).filter(({ type }) => type !== 'history');
    const count = children.filter((child) => active.has(child)).length;
    if (node.type === 'compound') return count === 1;
    return node.type !== 'parallel' || count === children.length;
  });
}

/**
 * Runs `{machine, events, input?, machines?}`.
 *
 * Returns `{snapshots, exempt?}`: a snapshot for the start and one for each event, up to the first step (if any)
 * from which the run cannot be compared, and then why.
 */
export function reference({ machine, events, input, machines }, library = xstate) {
  const logic = build(machine, { machines, library });
  const run = new Run(logic, input, library);
  const snapshots = [];
  const take = (snapshot) => {
    if (run.exempt === undefined) snapshots.push(snapshot);
    return run.exempt === undefined;
  };
  if (take(run.snapshot())) {
    for (const event of events) {
      if (!take(run.step(event))) break;
    }
  }
  return run.exempt === undefined ? { snapshots } : { snapshots, exempt: run.exempt };
}
