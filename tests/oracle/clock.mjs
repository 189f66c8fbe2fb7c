// Virtual time for the reference: timers fire one at a time by (deadline, order of start), the clock standing at
// the deadline of the one that fires, so that a timer started by it may still fire within the same advance.

export class VirtualClock {
  #now = 0;
  #next = 1;
  #timers = new Map();

  setTimeout(callback, delay) {
    const id = this.#next++;
    this.#timers.set(id, { callback, deadline: this.#now + Math.max(0, delay) });
    return id;
  }

  clearTimeout(id) {
    this.#timers.delete(id);
  }

  /**
   * Moves time on by `milliseconds`, firing what is due; calls `fired` after each timer. Throws after `limit` timers:
   * a chain that never ends.
   */
  advance(milliseconds, limit, fired) {
    const until = this.#now + milliseconds;
    for (let count = 0; ; count++) {
      const due = this.#earliest(until);
      if (due === undefined) break;
      if (count >= limit) throw new EndlessTimers();
      const { callback, deadline } = this.#timers.get(due);
      this.#timers.delete(due);
      this.#now = deadline;
      callback();
      fired();
    }
    this.#now = until;
  }

  #earliest(until) {
    let found;
    let earliest = Infinity;
    for (const [id, { deadline }] of this.#timers) {
      if (deadline <= until && deadline < earliest) {
        earliest = deadline;
        found = id;
      }
    }
    return found;
  }
}

export class EndlessTimers extends Error {}
