// Seeded randomness: the same seed gives the same machines on every platform.

/** Mixes a seed and an index into a 32-bit state (splitmix32). */
export function mix(seed, index) {
  let x = (seed ^ Math.imul(index + 1, 0x9e3779b9)) >>> 0;
  x = Math.imul(x ^ (x >>> 16), 0x21f0aaad);
  x = Math.imul(x ^ (x >>> 15), 0x735a2d97);
  return (x ^ (x >>> 15)) >>> 0;
}

/** A small generator (mulberry32) with the choices that a machine generator needs. */
export class Random {
  #state;

  constructor(seed) {
    this.#state = seed >>> 0;
  }

  /** A float in [0, 1). */
  float() {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let t = this.#state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  }

  /** An integer in [0, limit). */
  below(limit) {
    return Math.floor(this.float() * limit);
  }

  /** An integer in [low, high]. */
  between(low, high) {
    return low + this.below(high - low + 1);
  }

  chance(probability) {
    return this.float() < probability;
  }

  pick(items) {
    return items[this.below(items.length)];
  }

  /** One of `[[weight, value], ...]`. */
  weighted(choices) {
    let rest = this.float() * choices.reduce((sum, [weight]) => sum + weight, 0);
    for (const [weight, value] of choices) {
      rest -= weight;
      if (rest < 0) return value;
    }
    return choices[choices.length - 1][1];
  }

  /** `count` different items, in their original order. */
  some(items, count) {
    const chosen = new Set();
    while (chosen.size < Math.min(count, items.length)) chosen.add(this.below(items.length));
    return [...chosen].sort((a, b) => a - b).map((index) => items[index]);
  }
}
