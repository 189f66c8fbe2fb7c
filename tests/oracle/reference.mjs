// Runs a machine in XState under virtual time and reports what `statemesh simulate` would print for it.

import * as xstate from 'xstate';
import { fromJson, toJson } from './cel.mjs';
import { EndlessTimers, VirtualClock } from './clock.mjs';
import { convert } from './convert.mjs';

/** Microsteps in one macrostep, and timers in one advance, after which the reference calls a machine endless. */
export const MICROSTEPS_MAX = 60;
export const TIMERS_MAX = 200;
/** Events delivered to the machine and its children in one step, likewise. */
export const DELIVERIES_MAX = 100;

/** What makes a run incomparable from some step on; see exemptions.mjs for the reasons. */
export const EXEMPT = {
  endless: 'endless',
  doubledId: 'doubledId',
  historyToSource: 'historyToSource',
  illegal: 'illegal',
  takenOver: 'takenOver'
};

const EFFECTS = {
  'xstate.emit': ({ event }) => ({ type: '@xstate.emit', event }),
  'xstate.log': ({ value }) => ({ type: '@xstate.log', args: value })
};
/** XState's marks of an actor that has not started, and of one that has ended. */
const NOT_STARTED = 0;
const STOPPED = 2;
const SILENT = /^xstate\.(raise|cancel|sendTo|spawnChild|stopChild|assign)$/;

function effect({ type, params }) {
  if (EFFECTS[type]) return EFFECTS[type](params);
  return params === undefined ? { type } : { type, params };
}

/** Builds the XState machine of a MachineJSON; each of `machines` may invoke those before it, `machine` all of them. */
function build(machine, machines, options) {
  const actors = {};
  for (const [name, child] of Object.entries(machines)) actors[name] = create(child, actors, options);
  return create(machine, actors, options);
}

function create(machine, actors, { library, microsteps }) {
  const { config, implementations } = convert(fromJson(machine), { library, actors: { ...actors } });
  return library.createMachine({ ...config, options: { maxIterations: microsteps } }, implementations);
}

/** One actor with its children, and the effects they have had since they were last taken. */
class Run {
  constructor(logic, input, { library, timers }) {
    this.clock = new VirtualClock();
    this.effects = [];
    this.actors = [];
    this.deliveries = 0;
    this.exempt = undefined;
    this.actor = library.createActor(logic, {
      clock: this.clock,
      logger: () => {},
      ...(input === undefined ? {} : { input: fromJson(input) }),
      inspect: (inspected) => this.inspect(inspected)
    });
    if (timers === 'by id') this.findTimersById();
    else this.watchTimers();
    this.boundDeliveries();
    this.actor.subscribe({ error: (error) => this.failed(error) });
    this.actor.start();
  }

  inspect({ type, action, actorRef, snapshot }) {
    if (type === '@xstate.microstep' && !isLegal(snapshot._nodes)) this.exempt ??= EXEMPT.illegal;
    if (type === '@xstate.actor') this.addActor(actorRef);
    if (type === '@xstate.action' && !SILENT.test(action.type)) {
      this.effects.push({ effect: toJson(effect(action)), actorRef, held: action.type === 'xstate.emit' });
    }
    // What an actor emits is held until its step has succeeded.
    if (type === '@xstate.snapshot') {
      for (const entry of this.effects) entry.held &&= entry.actorRef !== actorRef;
    }
  }

  addActor(added) {
    const { id, _parent: parent } = added;
    const isTaken = this.actors.some((actor) => actor.id === id && actor._parent === parent);
    if (parent && isTaken && parent._processingStatus === NOT_STARTED) this.exempt ??= EXEMPT.takenOver;
    this.actors.push(added);
  }

  takeEffects() {
    return this.effects.splice(0).filter(({ held }) => !held).map((entry) => entry.effect);
  }

  failed(error) {
    if (/^Infinite loop detected/.test(error?.message)) this.exempt ??= EXEMPT.endless;
  }

  /** Notes a timer started under the id of one that is pending: XState loses track of the first. */
  watchTimers() {
    const { system } = this.actor;
    const schedule = system.scheduler.schedule;
    system.scheduler.schedule = (source, target, event, delay, id) => {
      const key = `${source.sessionId}.${id}`;
      if (id !== undefined && key in system._snapshot._scheduledEvents) this.exempt ??= EXEMPT.doubledId;
      return schedule(source, target, event, delay, id);
    };
  }

  /** The same scheduler, but cancelling an id reaches every timer that was started under it. */
  findTimersById() {
    const { clock } = this;
    const { system } = this.actor;
    const pending = new Set();
    const drop = (wanted) => {
      for (const timer of [...pending].filter(wanted)) {
        pending.delete(timer);
        clock.clearTimeout(timer.handle);
      }
    };
    system.scheduler.schedule = (source, target, event, delay, id) => {
      const timer = { source, id };
      pending.add(timer);
      timer.handle = clock.setTimeout(() => {
        pending.delete(timer);
        system._relay(source, target, event);
      }, delay);
    };
    system.scheduler.cancel = (source, id) => drop((timer) => timer.source === source && timer.id === id);
    system.scheduler.cancelAll = (source) => drop((timer) => timer.source === source);
  }

  /** Machines that answer each other for ever: from some number on, no event is delivered any more. */
  boundDeliveries() {
    const { system } = this.actor;
    const relay = system._relay;
    system._relay = (source, target, event) => {
      if (++this.deliveries <= DELIVERIES_MAX) relay(source, target, event);
      else this.exempt ??= EXEMPT.endless;
    };
  }

  step(event) {
    this.deliveries = 0;
    if (event.type === '@advance') {
      try {
        this.clock.advance(event.ms, TIMERS_MAX, () => this.checkActors());
      } catch (error) {
        if (!(error instanceof EndlessTimers)) throw error;
        this.exempt ??= EXEMPT.endless;
      }
    } else {
      this.actor.send(fromJson(event));
    }
    return this.snapshot();
  }

  /** Every running machine must be in a legal configuration, and ends with its parent: XState forgets some. */
  checkActors() {
    const running = ({ _processingStatus }) => _processingStatus !== STOPPED;
    for (const actor of this.actors) {
      const { status, error, _nodes } = actor.getSnapshot();
      this.failed(error);
      const hasNotStarted = status === 'error' && _nodes.length === 1;
      if (hasNotStarted ? startsInHistory(actor.logic.root) : !isLegal(_nodes)) this.exempt ??= EXEMPT.illegal;
    }
    this.actors = this.actors.filter(running);
    for (const actor of this.actors) {
      if (actor._parent && !running(actor._parent)) actor._stop();
    }
  }

  snapshot() {
    const { value, context, status, output, error, tags = new Set() } = this.actor.getSnapshot();
    if (status === 'error') this.failed(error);
    this.checkActors();
    const shown = { value, context: toJson(context), status, tags: [...new Set(tags)].sort(), effects: this.takeEffects() };
    if (output !== undefined) shown.output = toJson(output);
    return shown;
  }
}

/** Whether each active state's parent is active, each compound one has one active child, each parallel one all. */
function isLegal(nodes) {
  const active = new Set(nodes);
  return nodes.every((node) => {
    if (node.parent && !active.has(node.parent)) return false;
    const children = Object.values(node.states).filter(({ type }) => type !== 'history');
    const count = children.filter((child) => active.has(child)).length;
    if (node.type === 'compound') return count === 1;
    return node.type !== 'parallel' || count === children.length;
  });
}

/** Whether the value of a machine that fails at its start would name a history state, as XState then has it. */
function startsInHistory({ type, initial, states }) {
  if (type === 'history') return true;
  if (type === 'compound') return initial.target.some(startsInHistory);
  return type === 'parallel' && Object.values(states).filter((child) => child.type !== 'history').some(startsInHistory);
}

/**
 * Runs `{machine, events, input?, machines?}`.
 *
 * Returns `{snapshots, exempt?}`: a snapshot for the start and one for each event, up to the first step (if any)
 * from which the run cannot be compared, and then why.
 */
export function reference({ machine, events, input, machines = {} }, options = {}) {
  const { library = xstate, microsteps = MICROSTEPS_MAX, timers = 'as they are' } = options;
  const logic = build(machine, machines, { library, microsteps });
  const run = new Run(logic, input, { library, timers });
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
