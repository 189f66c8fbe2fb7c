// Part (b): the cases of @scion-scxml/test-framework that need no ECMAScript.

import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { compareRuns, differenceAt } from './compare.mjs';
import { reference } from './reference.mjs';
import { convertScxml } from './scxml-convert.mjs';
import { NotConvertible } from './scxml-expression.mjs';

const require = createRequire(import.meta.url);
/** The cases have loops of some hundred microsteps. */
const MICROSTEPS_MAX = 1_000;
/** Virtual time for a W3C case to reach `pass` or `fail` by itself. */
const W3C_RUN_MS = 60_000;

/** Every case: its name, the document, and the script of events and expected configurations. */
function* cases() {
  const base = join(dirname(require.resolve('@scion-scxml/test-framework/package.json')), 'test');
  for (const group of readdirSync(base).sort()) {
    for (const file of readdirSync(join(base, group)).sort()) {
      const script = join(base, group, file.replace(/scxml$/, 'json'));
      if (!file.endsWith('.scxml') || !existsSync(script)) continue;
      yield {
        name: `${group}/${file.replace(/(\.txml)?\.scxml$/, '')}`,
        document: readFileSync(join(base, group, file), 'utf8'),
        script: JSON.parse(readFileSync(script, 'utf8'))
      };
    }
  }
}

/**
 * The input lines for a script, and which snapshot to look at for each expected configuration. W3C cases run to
 * `pass` or `fail` by themselves; the scripts of some look at a state on the way, which depends on when an
 * interpreter starts what is invoked and handles what is sent, so of those only the last configuration counts.
 */
function inputs({ initialConfiguration, events }, isW3c) {
  const lines = [];
  if (events.length === 0 && isW3c) lines.push({ type: '@advance', ms: W3C_RUN_MS });
  else if (!isW3c) lines.push({ type: '@advance', ms: 0 });
  const expected = [{ at: lines.length, configuration: initialConfiguration }];
  for (const { after, event, nextConfiguration } of events) {
    if (after !== undefined) lines.push({ type: '@advance', ms: after });
    if (event.name !== '') lines.push({ type: event.name });
    lines.push({ type: '@advance', ms: 0 });
    expected.push({ at: lines.length, configuration: nextConfiguration });
  }
  return { lines, expected: isW3c ? expected.slice(-1) : expected };
}

/** The ids of the active atomic states. */
function configuration(node, value) {
  if (value === undefined || !node.states) return [node.id];
  if (typeof value === 'string') return configuration(node.states[value], undefined);
  const keys = Object.keys(value);
  if (keys.length === 0) return [node.id];
  return keys.flatMap((key) => configuration(node.states[key], emptyIsNone(value[key])));
}

function emptyIsNone(value) {
  return typeof value === 'object' && Object.keys(value).length === 0 ? undefined : value;
}

function ids(node) {
  return [node.id, ...Object.values(node.states ?? {}).flatMap(ids)];
}

function refuseManual(machine, expected) {
  const known = new Set(ids(machine));
  for (const id of expected.flatMap((item) => item.configuration)) {
    if (!known.has(id)) throw new NotConvertible(`a person to look: its script expects a state that it does not have`);
  }
}

function mismatch(machine, snapshots, expected) {
  for (const { at, configuration: wanted } of expected) {
    const snapshot = snapshots[at];
    const actual = snapshot === undefined ? ['nothing'] : configuration(machine, snapshot.value).sort();
    if (JSON.stringify(actual) !== JSON.stringify([...wanted].sort())) {
      return { step: at, path: '/value', expected: wanted, actual };
    }
  }
  return undefined;
}

/** `statemesh import scxml` makes the same of a document that invokes no other. */
async function unlikeImport(subject, document, machine) {
  const { imported } = JSON.parse(await subject.ask({ scxml: document }));
  if (imported === undefined) return { kind: 'scxml import', step: -1, path: '/', expected: machine, actual: undefined };
  const path = differenceAt(machine, { ...imported, id: machine.id });
  return path === undefined ? undefined : { kind: 'scxml import', step: -1, path, expected: machine, actual: imported };
}

async function runCase(subject, { name, document, script }) {
  const { machine, machines } = convertScxml(document);
  const { lines, expected } = inputs(script, name.startsWith('w3c-ecma/'));
  refuseManual(machine, expected);
  const request = { machine, events: lines, machines };
  const answer = JSON.parse(await subject.ask(request));
  const unlikeOurs = Object.keys(machines).length === 0 ? await unlikeImport(subject, document, machine) : undefined;
  if (unlikeOurs) return { request, difference: unlikeOurs };
  const xstate = reference(request, { microsteps: MICROSTEPS_MAX });
  if (answer.error) return { request, difference: { kind: 'scxml', step: -1, path: '/error', expected: 'a machine', actual: answer.error } };
  const unlikeXState = compareRuns(xstate, answer);
  if (unlikeXState) return { request, difference: { kind: 'scxml against xstate', ...unlikeXState } };
  const found = mismatch(machine, answer.snapshots, expected);
  return found ? { request, difference: { kind: 'scxml', ...found } } : { request };
}

/** Runs all: `{passed: [name], exempt: [{name, reason}], failed: [name]}`. */
export async function scxmlCases(subject, report) {
  const results = { passed: [], exempt: [], failed: [] };
  for (const item of cases()) {
    const { name } = item;
    try {
      const { request, difference } = await runCase(subject, item);
      if (difference === undefined) {
        results.passed.push(name);
      } else {
        results.failed.push(name);
        report({ name, request, difference });
      }
    } catch (error) {
      if (!(error instanceof NotConvertible)) throw error;
      results.exempt.push({ name, reason: error.message });
    }
  }
  return results;
}
