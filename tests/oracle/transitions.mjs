// Transitions of a random machine: targets, guards and actions, of `on`, `after`, `onDone` and `always`.

import { Actions } from './actions.mjs';
import { nameTarget } from './tree.mjs';
import { DELAYS } from './vocabulary.mjs';

export class Transitions extends Actions {
  afterKey() {
    const { random } = this;
    return this.namedDelays.length && random.chance(0.35) ? random.pick(this.namedDelays) : String(random.pick(DELAYS));
  }

  /** The value of an `on`, `after` or `onDone` entry. */
  transitions(node, targeted = 0.75) {
    const { random } = this;
    if (this.has('forbidden', 0.12)) return random.pick([{}, []]);
    const count = random.weighted([[6, 1], [3, 2], [1, 3]]);
    const list = Array.from({ length: count }, (_, index) => this.transition(node, { targeted, guarded: index < count - 1 ? 0.9 : 0.35 }));
    return list.length === 1 && this.has('shorthands', 0.6) ? list[0] : list;
  }

  alwaysOf(node) {
    const { random } = this;
    const list = Array.from({ length: random.chance(0.2) ? 2 : 1 }, () => this.eventless(node));
    return list.length === 1 && this.has('shorthands', 0.5) ? list[0] : list;
  }

  /** Mostly one that counts itself out: `n` only grows in machines that use `always`. */
  eventless(node) {
    const { random } = this;
    const json = this.transition(node, { targeted: 0.85, guarded: 0.9, forward: true });
    if (typeof json === 'string' || random.chance(0.15)) return json;
    const limit = `context.n < ${random.between(2, 6)}`;
    json.guard = { '@expr': random.chance(0.5) ? limit : `${limit} && ${this.expressions.bool(1)}` };
    json.actions = [{ type: '@xstate.assign', context: { n: { '@expr': 'context.n + 1' } } }, ...[json.actions ?? []].flat()];
    return json;
  }

  transition(node, { targeted, guarded, forward = false }) {
    const { random } = this;
    const json = {};
    if (this.nodes.length > 1 && random.chance(targeted)) json.target = this.targets(node, forward);
    if (this.has('guards', guarded)) json.guard = this.guard();
    if (random.chance(0.5)) json.actions = this.actions(this.expressions);
    if (json.target === `#${this.root.id}` || (Array.isArray(json.target) && json.target.includes(`#${this.root.id}`))) {
      json.reenter = true;
    } else if (this.has('reenter', 0.3)) {
      json.reenter = random.chance(0.85);
    }
    if (this.has('meta', 0.1)) json.description = 't';
    const keys = Object.keys(json);
    if (keys.length === 1 && keys[0] === 'target' && typeof json.target === 'string' && this.has('shorthands', 0.7)) return json.target;
    return json;
  }

  targets(node, forward) {
    const { random } = this;
    if (!forward && this.has('multipleTargets', 0.25)) {
      const several = this.severalTargets(node);
      if (several) return several;
    }
    if (!forward && node.parent && this.has('rootTargets', 0.1)) return `#${this.root.id}`;
    const target = this.target(node, forward);
    const name = nameTarget(random, this.features, node, target);
    return random.chance(0.06) ? [name] : name;
  }

  target(node, forward) {
    const { random } = this;
    let candidates = this.nodes.filter((other) => other.parent);
    if (forward && random.chance(0.8)) {
      const later = candidates.slice(candidates.indexOf(node) + 1);
      if (later.length) candidates = later;
    }
    if (random.chance(0.45)) {
      const near = candidates.filter((other) => other.parent === node.parent || other.within(node));
      if (near.length) candidates = near;
    }
    // Completed machines ignore what follows: most targets are not top-level final states.
    if (random.chance(0.4)) {
      const open = candidates.filter((other) => other.type !== 'final' || other.parent.parent);
      if (open.length) candidates = open;
    }
    if (this.has('history', 0.25)) {
      const remembered = candidates.filter(({ type }) => type === 'history');
      if (remembered.length) candidates = remembered;
    }
    return random.pick(candidates);
  }

  /** Targets in different regions of one parallel state. */
  severalTargets(node) {
    const { random } = this;
    const parallels = this.nodes.filter(({ type }) => type === 'parallel');
    if (!parallels.length) return undefined;
    const regions = random.pick(parallels).children.filter(({ isReal }) => isReal);
    const chosen = random.some(regions, random.between(2, regions.length));
    return chosen.map((region) => nameTarget(random, this.features, node, random.pick(region.all)));
  }
}
