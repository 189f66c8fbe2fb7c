// The engine under test: one long-lived simulate-batch process, a JSON line in, a JSON line out, in order.

import { execFileSync, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

export const WORKSPACE = fileURLToPath(new URL('../..', import.meta.url));

/** Builds the engine's batch example and returns the executable that cargo names. */
export function buildSubject(profile) {
  const args = ['build', '--quiet', '-p', 'statemesh-engine', '--example', 'simulate_batch', '--message-format=json'];
  if (profile === 'release') args.push('--release');
  const output = execFileSync('cargo', args, { cwd: WORKSPACE, encoding: 'utf8', maxBuffer: 1 << 28, stdio: ['ignore', 'pipe', 'inherit'] });
  const artifacts = output.split('\n').filter((line) => line.includes('"executable":"')).map((line) => JSON.parse(line));
  const found = artifacts.find(({ target }) => target.name === 'simulate_batch');
  if (!found) throw new Error('cargo built no example named simulate_batch');
  return found.executable;
}

export class Subject {
  #process;
  #waiting = [];
  #ended;

  constructor(command, env = process.env) {
    this.#process = spawn(command[0], command.slice(1), { stdio: ['pipe', 'pipe', 'inherit'], env });
    this.#process.on('error', (error) => this.#fail(error));
    this.#process.on('exit', (code, signal) => this.#fail(new Error(`the engine's process ended (${signal ?? code})`)));
    this.#process.stdin.on('error', () => {});
    createInterface({ input: this.#process.stdout }).on('line', (line) => this.#waiting.shift()?.resolve(line));
  }

  #fail(error) {
    this.#ended = error;
    for (const { reject } of this.#waiting.splice(0)) reject(error);
  }

  /** The answer's exact bytes, as text. */
  ask(request) {
    if (this.#ended) return Promise.reject(this.#ended);
    return new Promise((resolve, reject) => {
      this.#waiting.push({ resolve, reject });
      // XState's way with an expression that has no value.
      this.#process.stdin.write(`${JSON.stringify({ ...request, faults: 'fail' })}\n`);
    });
  }

  /** Ends the process and waits for it. */
  close() {
    return new Promise((resolve) => {
      if (this.#ended) return resolve();
      this.#process.on('exit', resolve);
      this.#process.stdin.end();
    });
  }
}
