// States and transitions of a definition.

import { list } from './actors.mjs';
import { ANSWERS } from './answers.mjs';
import { isMachine } from './builtins.mjs';
import { quote } from './scope.mjs';
import { eventName } from './targets.mjs';

/** Keys that are kept as they are. */
const KEPT = ['type', 'description', 'tags', 'history', 'route', 'timeout', 'choice', '$schema', '@exprLang', '@statemesh'];
/** Keys for TypeScript and for settings of the program, which change nothing in a definition. */
const DROPPED = new Set(
  ('id key version context states on always after entry exit onEntry onExit initial invoke activities onDone output data meta target actions guards ' +
    'delays parallel schema schemas tsTypes types predictableActionArguments preserveActionOrder strict delimiter order maxIterations onError onTimeout')
    .split(' ')
);

export class States {
  constructor({ version, id, config, functions, actions, actors, answers, targets, delays, report }) {
    Object.assign(this, { version, id, config, functions, actions, actors, answers, targets, delays, report });
    /** Keys of the context that count the attempts of an effect. */
    this.attempts = new Set();
  }

  /** The state at `path`. */
  state(config, path) {
    const where = path.length === 0 ? '' : `states.${path.join('.states.')}.`;
    const at = { path, where, key: path.at(-1) ?? this.id };
    const written = {};
    if (config.id !== undefined && path.length > 0) written.id = config.id;
    for (const [key, value] of Object.entries(config)) {
      if (value === undefined) continue;
      if (KEPT.includes(key)) written[key] = this.functions.constant(value, `${where}${key}`);
      else if (!DROPPED.has(key)) written[key] = this.functions.template(value, `${where}${key}`);
    }
    if (config.parallel === true) written.type = 'parallel';
    this.initial(config, written, at);
    const entry = this.actions.list([...list(config.entry), ...list(config.onEntry)], { ...this.names(at, 'entry') });
    const exit = this.actions.list([...list(config.exit), ...list(config.onExit)], { ...this.names(at, 'exit') });
    const on = this.events(config, at);
    const work = { invoke: [], entry, exit, on };
    list(config.invoke).forEach((invoke, index) => this.invoke(invoke, work, { ...at, index }));
    for (const activity of list(config.activities)) this.activity(activity, work);
    if (work.invoke.length > 0) written.invoke = single(work.invoke);
    if (entry.length > 0) written.entry = single(entry);
    if (exit.length > 0) written.exit = single(exit);
    this.transitionsOf(config, written, on, at);
    this.rest(config, written, at);
    if (config.states !== undefined) {
      const children = Object.entries(config.states);
      written.states = Object.fromEntries(children.map(([key, child]) => [key, this.state(child ?? {}, [...path, key])]));
    }
    return written;
  }

  names({ where, key, path }, place) {
    return { where: `${where}${place}`, key: `${key}.${place}`, path };
  }

  initial({ initial }, written, at) {
    if (initial === undefined || initial === null) return;
    if (typeof initial !== 'object') {
      written.initial = initial;
      return;
    }
    const actions = this.actions.list(initial.actions, this.names(at, 'initial'));
    written.initial = { target: single(list(initial.target)), ...(actions.length > 0 ? { actions: single(actions) } : {}) };
  }

  /** `on`, as an object, or as XState 4's list. */
  events(config, at) {
    const on = {};
    const given = Array.isArray(config.on) ? config.on.map(({ event, ...transition }) => [event, transition]) : Object.entries(config.on ?? {});
    for (const [name, transitions] of given) {
      const event = this.nameOf(name);
      if (event === '') continue;
      const key = this.answerOf(event);
      const outcome = /^xstate\.error\.actor\./.test(key) ? 'error' : /^xstate\.done\./.test(key) ? 'output' : undefined;
      const made = this.transitions(transitions, { ...this.names(at, `on.${key}`), key: `${at.key}.${key}`, outcome });
      const written = key === event ? made : single(this.answers.guarded(made, this.answers.placesOf(event, this.actors), at.path));
      on[key] = on[key] === undefined ? written : [...list(on[key]), ...list(written)];
    }
    return on;
  }

  /** An event's name in XState 5's words. */
  nameOf(event) {
    return this.version === 4 ? eventName(event) : event;
  }

  /** The event in place of an actor's own, for an actor that is an effect now; any other as it is. */
  answerOf(event) {
    const answer = this.answers.of(event, this.actors);
    return answer === undefined ? event : `${answer.name}.${answer.word}`;
  }

  transitionsOf(config, written, on, at) {
    if (Object.keys(on).length > 0) written.on = on;
    const always = [...list(config.always), ...(Array.isArray(config.on) ? [] : list(config.on?.['']))];
    if (always.length > 0) written.always = this.transitions(single(always), this.names(at, 'always'));
    const after = this.after(config.after, at);
    if (after !== undefined) written.after = after;
    if (config.onDone !== undefined) written.onDone = this.transitions(config.onDone, { ...this.names(at, 'onDone'), outcome: 'output' });
    for (const key of ['onError', 'onTimeout']) {
      if (config[key] !== undefined) written[key] = this.transitions(config[key], this.names(at, key));
    }
  }

  /** `after`, as an object, or as XState 4's list with a delay in each. */
  after(after, at) {
    if (after === undefined) return undefined;
    const entries = Array.isArray(after) ? after.map(({ delay, ...transition }) => [delay, transition]) : Object.entries(after);
    const written = {};
    for (const [delay, transitions] of entries) {
      const name = this.delays(delay, `${at.key}.delay`);
      const made = this.transitions(transitions, this.names(at, `after.${name}`));
      written[name] = written[name] === undefined ? made : [...list(written[name]), ...list(made)];
    }
    return written;
  }

  rest(config, written, at) {
    const output = config.output ?? (this.version === 4 ? config.data : undefined);
    if (output !== undefined) written.output = this.functions.template(output, `${at.where}output`);
    else if (this.version === 4 && at.path.length === 0) this.machineOutput(config, written);
    if (config.meta !== undefined) written.meta = this.functions.constant(config.meta, `${at.where}meta`);
    if (config.target !== undefined) written.target = this.target(config.target, at);
  }

  /** In XState 4 what a final state of the top gives is the machine's; later that is only what the root says. */
  machineOutput({ states }, written) {
    const finals = Object.values(states ?? {}).filter((state) => state?.type === 'final');
    const giving = finals.filter(({ data, output }) => (output ?? data) !== undefined);
    if (giving.length === 0) return;
    written.output = { '@expr': giving.length === finals.length ? 'event.output' : 'has(event.output) ? event.output : null' };
  }

  transitions(given, at) {
    if (Array.isArray(given)) return given.map((one, index) => this.transition(one, { ...at, where: `${at.where}.${index}` }));
    return this.transition(given, at);
  }

  transition(given, at) {
    if (given === undefined || given === null) return {};
    if (typeof given !== 'object' || isNode(given)) return this.transition({ target: given }, at);
    const { target, guard, cond, in: state, actions, reenter, internal, description, meta, ...others } = given;
    const written = {};
    const targets = target === undefined ? undefined : list(target).map((one) => this.target(one, at));
    if (targets !== undefined && targets.length > 0) written.target = single(targets);
    const guards = this.guards({ guard: guard ?? cond, state }, at);
    if (guards !== undefined) written.guard = guards;
    const list_ = this.actions.list(actions, { ...at, where: `${at.where}.actions` });
    if (list_.length > 0) written.actions = single(list_);
    const isExternal = this.version === 4 && this.targets.isExternal({ target: targets, internal }, at.path);
    if (reenter !== undefined || isExternal) written.reenter = reenter ?? true;
    if (description !== undefined) written.description = description;
    if (meta !== undefined) written.meta = this.functions.constant(meta, `${at.where}.meta`);
    for (const key of ['matches', 'context']) {
      if (others[key] !== undefined) written[key] = this.functions.template(others[key], `${at.where}.${key}`, at.outcome);
    }
    const isBare = Object.keys(written).length === 1 && typeof written.target === 'string';
    return isBare ? written.target : written;
  }

  guards({ guard, state }, at) {
    const written = guard === undefined || guard === null ? undefined : this.actions.guard(guard, { ...at, where: `${at.where}.guard` });
    if (state === undefined) return written;
    const inside = this.actions.stateIn(state);
    return written === undefined ? inside : { type: 'xstate.and', guards: [inside, written] };
  }

  /** A target by its name: a state node itself is given its id. */
  target(given, at) {
    const name = isNode(given) ? `#${given.id}` : String(given);
    return this.version === 4 ? this.targets.written(name, at.path) : name;
  }

  invoke(given, work, at) {
    const invoke = isMachine(given) ? { src: given } : given;
    const actor = this.actors.ofInvoke(invoke, at.key);
    const input = invoke.input ?? (this.version === 4 ? invoke.data : undefined) ?? actor.given?.input;
    const place = this.names(at, 'invoke');
    const params = input === undefined ? undefined : this.functions.template(input, `${place.where}.input`);
    if (actor.kind !== 'machine') {
      this.effect(actor, invoke, params, work, at);
      return;
    }
    const written = { src: actor.name };
    if (invoke.id !== undefined) written.id = invoke.id;
    if (params !== undefined) written.input = params;
    for (const [key, outcome] of [['onDone', 'output'], ['onError', 'error'], ['onSnapshot', undefined], ['onTimeout', undefined]]) {
      if (invoke[key] !== undefined) written[key] = this.transitions(invoke[key], { ...this.names(at, `invoke.${key}`), outcome });
    }
    if (invoke.timeout !== undefined) written.timeout = invoke.timeout;
    if (invoke.autoForward === true) this.report({ path: place.where, kind: 'note', message: '`autoForward`: send the child what it needs with `@xstate.sendTo`' });
    work.invoke.push(written);
  }

  /** An actor that is no machine: an effect on entry, with a number that its answers carry, and the events of those answers. */
  effect(actor, invoke, params, work, at) {
    const { name, kind } = actor;
    const where = `${at.where}invoke`;
    const place = this.answers.placeOf(name, at.path, at.index);
    const given = { ...this.input(actor, params, where) };
    const words = Object.entries(ANSWERS).filter(([key, word]) => invoke[key] !== undefined || this.answers.handles(name, word)).map(([, word]) => word);
    // XState 4 only prints that a promise failed.
    const mayFail = this.version !== 4 && (kind === 'promise' || words.length > 0);
    if (mayFail && !words.includes('failed')) words.push('failed');
    if (words.length > 0) {
      const counter = this.answers.counterOf(name);
      const next = { '@expr': `context.${counter} + 1` };
      const counted = place.key === counter ? { [counter]: next } : { [counter]: next, [place.key]: next };
      for (const key of Object.keys(counted)) this.attempts.add(key);
      given.attempt = { '@expr': `context.${place.key}` };
      work.entry.push({ type: '@xstate.assign', context: counted });
    }
    work.entry.push(Object.keys(given).length === 0 ? { type: name } : { type: name, params: given });
    if (kind === 'callback') work.exit.push({ type: `${name}.stop` });
    for (const [from, word] of Object.entries(ANSWERS)) {
      if (!words.includes(word)) continue;
      const type = `${name}.${word}`;
      this.answers.waitFor(name, word);
      // These events are ours: what XState 4 calls `data` stays so.
      const outcome = this.version === 4 ? undefined : { done: 'output', failed: 'error' }[word];
      const made = invoke[from] === undefined ? [] : list(this.transitions(invoke[from], { ...this.names(at, `on.${type}`), key: `${at.key}.${type}`, outcome }));
      const failing = word === 'failed' && mayFail ? this.unhandled(made, type, where, at) : [];
      const all = [...this.answers.guarded([...made, ...failing], [place], at.path), ...list(work.on[type])];
      if (all.length > 0) work.on[type] = single(all);
    }
    const events = words.map((word) => `\`${name}.${word}\``).join(' or ');
    const field = this.version === 4 ? 'data' : 'output or error';
    const answer = words.length > 0 ? `, and answers with ${events}, ${field}, and the same \`attempt\`` : '';
    this.report({ path: where, kind: 'effect', message: `${kind === 'unknown' ? 'an actor' : `a ${kind}`}: the effect \`${name}\` is for a program that watches${answer}` });
  }

  /** Where nothing takes the failure of an actor, XState's machine fails: so does an expression without a value. */
  unhandled(made, type, where, { path }) {
    const isTaken = made.some((one) => typeof one === 'string' || one.guard === undefined);
    if (isTaken || this.answers.isTaken(this.config, path, type, (event) => this.answerOf(this.nameOf(event)))) return [];
    this.report({
      path: where,
      kind: 'note',
      message: `nothing takes \`${type}\`: XState's machine ends with an error then; here the event is refused, and the state stays active, unless \`@statemesh.faults\` is \`fail\`: write \`onError\`, or \`after\``
    });
    const fault = { '@expr': `{}[${quote(`nothing takes ${type}`)}]` };
    return [{ actions: { type: '@xstate.log', args: [fault] }, description: 'No `onError` takes it, so it is a fault' }];
  }

  /** What an effect needs: its input, or what XState 4's service reads itself. */
  input(actor, params, where) {
    if (params !== undefined) return { input: params };
    const isOwn = typeof actor.logic === 'function' && this.version === 4 && actor.kind === 'promise';
    const reads = isOwn ? this.functions.reads(actor.logic, where) : {};
    return '@code' in reads ? { input: reads } : reads;
  }

  /** XState 4's activities. */
  activity(activity, work) {
    const name = typeof activity === 'string' ? activity : (activity.type ?? activity.name ?? 'activity');
    work.entry.push({ type: name });
    work.exit.push({ type: `${name}.stop` });
  }
}

function isNode(value) {
  return value !== null && typeof value === 'object' && value.machine !== undefined && typeof value.id === 'string';
}

function single(values) {
  return values.length === 1 ? values[0] : values;
}

