// Copies of the reference with one behaviour changed, to recognise an intended difference exactly: a run that
// differs from XState, but equals XState with that behaviour changed, is exempt for that reason and no other.

import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';

/**
 * A transition whose history target resolves to its own source exits and enters that source, as in SCXML and in XState 6.
 * XState 5 exits nothing and enters it again.
 */
const HISTORY_TO_SOURCE = [
  [
    'if (!transition.reenter && targetStates.every(target => target === transition.source || isDescendant(target, transition.source))) {',
    'const restoresSource = transition.target?.some(isHistoryNode) && targetStates.includes(transition.source);\n' +
      '  if (!restoresSource && !transition.reenter && targetStates.every(target => target === transition.source || isDescendant(target, transition.source))) {'
  ]
];

const require = createRequire(import.meta.url);
const LOADED = new Map();

function coreFile(directory) {
  const names = readdirSync(directory).filter((name) => /^raise-[0-9a-f]+\.cjs\.js$/.test(name));
  if (names.length !== 1) throw new Error(`xstate's core file is not where it was: ${names.join(', ')}`);
  return join(directory, names[0]);
}

/** XState with history as SCXML has it, and with `edits`. */
export function correctedXState(edits = []) {
  return patchedXState([...HISTORY_TO_SOURCE, ...edits]);
}

/** XState with each `[from, to]` of `edits` made in its core; each must be there exactly once. */
export function patchedXState(edits) {
  const key = JSON.stringify(edits);
  if (LOADED.has(key)) return LOADED.get(key);
  const original = dirname(require.resolve('xstate'));
  const copy = mkdtempSync(join(tmpdir(), 'statemesh-oracle-'));
  try {
    cpSync(original, copy, { recursive: true, filter: (path) => !path.includes('declarations') });
    const file = coreFile(copy);
    let source = readFileSync(file, 'utf8');
    for (const [from, to] of edits) {
      if (source.split(from).length !== 2) throw new Error(`xstate changed: this is not in it exactly once: ${from}`);
      source = source.replace(from, () => to);
    }
    writeFileSync(file, source);
    const library = require(join(copy, 'xstate.cjs.js'));
    LOADED.set(key, library);
    return library;
  } finally {
    rmSync(copy, { recursive: true, force: true });
  }
}
