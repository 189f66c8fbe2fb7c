// SCXML -> MachineJSON, for documents that need no ECMAScript.

import { SaxesParser } from 'saxes';
import { NotConvertible, toCel, toGuard } from './scxml-expression.mjs';

const STATES = new Set(['state', 'parallel', 'final', 'history']);
const IGNORED = new Set(['datamodel', 'initial', 'invoke', 'onentry', 'onexit', 'transition', ...STATES]);
const SCXML_TYPES = new Set([undefined, 'scxml', 'http://www.w3.org/TR/scxml', 'http://www.w3.org/TR/scxml/']);

/** An XML document as `{name, attributes, children, text}`; prefixes of names are dropped. */
export function parseXml(text) {
  const root = { name: '', attributes: {}, children: [] };
  const stack = [root];
  const parser = new SaxesParser();
  parser.on('opentag', ({ name, attributes }) => {
    const node = { name: name.replace(/^.*:/, ''), attributes, children: [] };
    stack[stack.length - 1].children.push(node);
    stack.push(node);
  });
  parser.on('closetag', () => stack.pop());
  parser.on('error', (error) => {
    throw new NotConvertible(`XML: ${error.message}`);
  });
  parser.write(text).close();
  return root.children[0];
}

function words(text) {
  return (text ?? '').split(/\s+/).filter(Boolean);
}

/** A dot in an id would start a path. */
function idTarget(id) {
  return `#${id.replaceAll('.', '\\.')}`;
}

function milliseconds(delay) {
  const match = /^(\d*\.?\d+)(ms|s)$/.exec(delay.trim());
  if (!match) throw new NotConvertible(`delay ${delay}`);
  return Math.round(Number(match[1]) * (match[2] === 's' ? 1000 : 1));
}

class Converter {
  /** `machines` collects the documents that are invoked, by the names that `src` gives them. */
  constructor(machines) {
    this.machines = machines;
    this.data = new Map();
    this.names = 0;
    this.ids = new Set();
  }

  machine(document) {
    if (document.name !== 'scxml') throw new NotConvertible(`a document of <${document.name}>`);
    this.readData(document);
    const root = this.state(document, undefined);
    root.id = '__scxml';
    if (this.data.size) root.context = Object.fromEntries(this.data);
    return root;
  }

  readData(document) {
    for (const model of document.children.filter(({ name }) => name === 'datamodel')) {
      for (const { name, attributes, children } of model.children) {
        const { id, expr, src } = attributes;
        if (name !== 'data' || src !== undefined || children.length) throw new NotConvertible('<data> with content');
        this.data.set(id, expr === undefined ? null : { '@expr': toCel(expr, new Map()) });
      }
    }
  }

  key(element) {
    element.key ??= element.attributes.id === undefined ? `_${this.names++}` : element.attributes.id.replaceAll('.', '_');
    return element.key;
  }

  state(element, parent) {
    const { attributes, children, name } = element;
    const json = {};
    if (parent) json.id = attributes.id ?? `_${this.key(element)}`;
    if (name === 'history') return this.history(json, element);
    if (name === 'final') json.type = 'final';
    if (name === 'parallel') json.type = 'parallel';
    this.refuseUnknown(children);
    const states = children.filter((child) => STATES.has(child.name));
    const isCompound = states.length > 0 && name !== 'parallel';
    if (states.length) json.states = Object.fromEntries(states.map((child) => [this.key(child), this.state(child, element)]));
    if (isCompound) this.initial(json, element, states);
    this.behaviour(json, element, { isCompound, isRoot: !parent });
    return json;
  }

  refuseUnknown(children) {
    for (const { name } of children) {
      if (!IGNORED.has(name)) throw new NotConvertible(`<${name}>`);
    }
  }

  history(json, { attributes, children }) {
    const [transition] = children;
    if (transition?.children.length) throw new NotConvertible('executable content in <history>');
    const targets = words(transition?.attributes.target).map(idTarget);
    return { ...json, type: 'history', history: attributes.type ?? 'shallow', ...(targets.length ? { target: targets.length === 1 ? targets[0] : targets } : {}) };
  }

  /** XState's `initial` is a child's key; anything deeper goes through a state that is left at once. */
  initial(json, element, states) {
    const [transition] = element.children.find(({ name }) => name === 'initial')?.children ?? [];
    const targets = words(transition?.attributes.target ?? element.attributes.initial);
    const actions = transition ? this.actions(transition.children) : [];
    const real = states.filter(({ name }) => name !== 'history');
    const child = targets.length === 0 ? real[0] : states.find(({ attributes }) => targets.length === 1 && attributes.id === targets[0]);
    if (child) {
      json.initial = actions.length ? { target: this.key(child), actions } : this.key(child);
      return;
    }
    const always = { target: targets.map(idTarget), ...(actions.length ? { actions } : {}) };
    json.initial = '__initial';
    json.states.__initial = { always };
  }

  behaviour(json, { children }, place) {
    const block = (name) => children.filter((child) => child.name === name).flatMap((child) => this.actions(child.children));
    const entry = block('onentry');
    const exit = block('onexit');
    const invokes = children.filter(({ name }) => name === 'invoke').map((child) => this.invoke(child));
    if (invokes.length) json.invoke = invokes;
    if (entry.length) json.entry = entry;
    if (exit.length) json.exit = exit;
    const transitions = children.filter(({ name }) => name === 'transition').map((child) => this.transition(child, json, place));
    const eventless = transitions.filter(({ events }) => events.length === 0);
    if (eventless.length) json.always = eventless.map((item) => item.json);
    const on = this.byDescriptor(transitions.filter(({ events }) => events.length > 0));
    if (Object.keys(on).length) json.on = on;
  }

  invoke({ attributes: { id, type, ...rest }, children }) {
    if (Object.keys(rest).length) throw new NotConvertible(`<invoke ${Object.keys(rest)[0]}>`);
    if (!SCXML_TYPES.has(type)) throw new NotConvertible(`<invoke> of type ${type}`);
    const [content] = children;
    if (children.length !== 1 || content.name !== 'content') throw new NotConvertible('<invoke> with parameters');
    const converted = new Converter(this.machines).machine(content.children[0]);
    const src = `invoked${Object.keys(this.machines).length}`;
    this.machines[src] = converted;
    return { src, ...(id === undefined ? {} : { id }) };
  }

  transition({ attributes, children }, source, { isCompound, isRoot }) {
    const { event, cond, target, type } = attributes;
    const json = {};
    const targets = words(target);
    if (targets.length) {
      json.target = targets.length === 1 ? idTarget(targets[0]) : targets.map(idTarget);
      const inside = targets.every((id) => contains(source, id));
      if (!isRoot && !(type === 'internal' && isCompound && inside)) json.reenter = true;
    }
    if (cond !== undefined) json.guard = toGuard(cond, this.data);
    const actions = this.actions(children);
    if (actions.length) json.actions = actions;
    return { events: words(event).map(descriptor), json };
  }

  /**
   * SCXML takes the first transition in document order that matches; XState asks the longest descriptor first. So
   * each descriptor gets every transition that covers it, in document order.
   */
  byDescriptor(transitions) {
    const descriptors = new Set(transitions.flatMap(({ events }) => events));
    return Object.fromEntries(
      [...descriptors].map((wanted) => [wanted, transitions.filter(({ events }) => events.some((event) => covers(event, wanted))).map(({ json }) => json)])
    );
  }

  actions(elements) {
    return elements.flatMap((element) => this.action(element));
  }

  action({ name, attributes, children }) {
    switch (name) {
      case 'raise':
        return [{ type: '@xstate.raise', event: { type: attributes.event } }];
      case 'send':
        return [this.send(attributes, children)];
      case 'cancel':
        if (attributes.sendid === undefined) throw new NotConvertible('ECMAScript: <cancel sendidexpr>');
        return [{ type: '@xstate.cancel', id: attributes.sendid }];
      case 'log':
        return [{ type: '@xstate.log', args: this.logged(attributes) }];
      case 'assign':
        if (!this.data.has(attributes.location) || children.length) throw new NotConvertible(`ECMAScript: <assign location="${attributes.location}">`);
        return [{ type: '@xstate.assign', context: { [attributes.location]: { '@expr': toCel(attributes.expr ?? '?', this.data) } } }];
      default:
        throw new NotConvertible(`<${name}>`);
    }
  }

  /** What is added to a text is a value of its own: in CEL a text and a number have no sum. */
  logged({ label, expr }) {
    if (!expr?.trim()) return [label ?? ''];
    const bare = expr.replace(/'[^']*'|"[^"]*"/g, '_');
    const isJoined = /^\s*_\s*\+/.test(bare) && !/[?=<>&|()-]/.test(bare);
    const parts = isJoined ? expr.match(/(?:'[^']*'|"[^"]*"|[^+'"])+/g) : [expr];
    return [...(label === undefined ? [] : [label]), ...parts.map((part) => ({ '@expr': toCel(part, this.data) }))];
  }

  send({ event, delay, delayexpr, id, target, type, ...rest }, children) {
    if (children.length || event === undefined || Object.keys(rest).length) throw new NotConvertible('ECMAScript: <send> with content or expressions');
    if (type !== undefined && !/SCXMLEventProcessor|^scxml$/.test(type)) throw new NotConvertible(`an event processor of type ${type}`);
    const timing = { ...sendDelay(delay, delayexpr), ...(id === undefined ? {} : { id }) };
    return { ...recipient(target, timing), event: { type: event }, ...(target === '#_internal' ? {} : timing) };
  }
}

function sendDelay(delay, delayexpr) {
  if (delayexpr === undefined) return delay === undefined ? {} : { delay: milliseconds(delay) };
  const literal = /^\s*'([^']*)'\s*$/.exec(delayexpr);
  if (!literal) throw new NotConvertible('ECMAScript: <send delayexpr>');
  return { delay: milliseconds(literal[1]) };
}

/** An external event to oneself waits for the next turn: a delayed raise of no delay, and time that moves on. */
function recipient(target, timing) {
  if (target === '#_internal') return { type: '@xstate.raise' };
  if (target === '#_parent') return { type: '@xstate.sendTo', to: target };
  if (target === undefined) {
    timing.delay ??= 0;
    return { type: '@xstate.raise' };
  }
  if (!/^#_(?!scxml_)/.test(target)) throw new NotConvertible(`<send target="${target}">`);
  return { type: '@xstate.sendTo', to: target.slice(2) };
}

function contains(json, id) {
  return Object.values(json.states ?? {}).some((child) => child.id === id || contains(child, id));
}

/** SCXML matches by token prefixes, and names the platform's events without XState's prefix. */
function descriptor(event) {
  if (event === '*') return '*';
  const plain = event.replace(/\.\*?$/, '');
  if (/^error(\.|$)/.test(plain)) throw new NotConvertible(`the platform's event ${plain}`);
  if (/^done(\.state)?$/.test(plain)) return 'xstate.done.*';
  if (plain.startsWith('done.state.')) return `xstate.${plain}`;
  if (plain === 'done.invoke') return 'xstate.done.actor.*';
  if (plain.startsWith('done.invoke.')) return plain.replace('done.invoke', 'xstate.done.actor');
  return `${plain}.*`;
}

function covers(general, special) {
  if (general === '*' || general === special) return true;
  return general.endsWith('.*') && special.startsWith(general.slice(0, -1));
}

/** `{machine, machines}` for an SCXML document; throws `NotConvertible` with what stands in the way. */
export function convertScxml(text) {
  const machines = {};
  const machine = new Converter(machines).machine(parseXml(text));
  return { machine, machines };
}
