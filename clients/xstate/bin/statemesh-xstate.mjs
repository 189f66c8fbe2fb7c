#!/usr/bin/env node
// Prints the definition of a machine in a JavaScript, TypeScript or JSON file: `statemesh import xstate` runs this.

import { readFile } from 'node:fs/promises';
import { parseArgs } from 'node:util';
import { toStatemesh } from '../src/to.mjs';

const OPTIONS = {
  from: { type: 'string' },
  name: { type: 'string' },
  id: { type: 'string' },
  machine: { type: 'string', multiple: true },
  child: { type: 'string' },
  xstate: { type: 'string' },
  help: { type: 'boolean' }
};

const USAGE = `statemesh-xstate FILE [--name EXPORT] [--from 4|5] [--id ID] [--machine NAME]...

Prints the definition of the machine that FILE exports.

  --name EXPORT   which of several; of a function, the machine that it gives
  --from 4        the version of XState that JSON was written for (a machine knows its own)
  --id ID         the machine's name in the mesh, if not its own
  --machine NAME  an actor that is a machine of the mesh, though FILE does not say so
  --child NAME    not the machine itself, but one that it invokes or spawns
  --xstate PATH   the xstate to run FILE with, if it is not installed beside it`;

class Refused extends Error {}

/** A file that is loaded may print what it likes, but not into the definition. */
const write = process.stdout.write.bind(process.stdout);

async function given(file, values) {
  if (file.endsWith('.json')) return { machine: JSON.parse(await readFile(file, 'utf8')), missing: [] };
  const { load } = await import('../src/load.mjs');
  const { machines, functions, missing, lookup } = await load(file, { xstate: values.xstate });
  return { machine: choose(file, machines, functions, values.name), missing, lookup };
}

function choose(file, machines, functions, name) {
  const names = [...machines.keys()];
  if (name === undefined) {
    if (names.length === 1) return machines.get(names[0]);
    if (names.length > 1) throw new Refused(`${file} has several machines: choose one with --name: ${names.join(', ')}`);
    const makers = [...functions.keys()].join(', ');
    throw new Refused(`${file} has no machine${makers === '' ? '' : `; if a function makes it, name it with --name: ${makers}`}`);
  }
  if (machines.has(name)) return machines.get(name);
  const made = functions.get(name)?.(STAND_IN, STAND_IN, STAND_IN);
  if (made?.config !== undefined) return made;
  throw new Refused(`${file} has no machine ${name}${names.length === 0 ? '' : `, but ${names.join(', ')}`}`);
}

/** What a function that makes a machine is given: it answers whatever it is asked. */
const STAND_IN = new Proxy(function () {}, {
  get: (_, key) => (key === Symbol.toPrimitive ? () => '' : key === Symbol.iterator ? function* () {} : key === 'then' ? undefined : STAND_IN),
  apply: () => STAND_IN,
  construct: () => STAND_IN
});

function child(name, known, options) {
  const machine = known.get(name);
  if (machine === undefined) throw new Refused(`there is no child ${name}${known.size === 0 ? '' : `, but ${[...known.keys()].join(', ')}`}`);
  const told = { report: [], children: new Map() };
  return { definition: toStatemesh(machine, { ...options, ...told, id: name }), ...told };
}

function tell({ missing, report, children }) {
  const lines = [];
  if (missing.length > 0) lines.push(`not installed, and taken for anything: ${missing.join(', ')}`);
  for (const { path, kind, message } of report) lines.push(`${kind === 'todo' ? 'to do' : kind}: ${path}: ${message}`);
  if (children.size > 0) lines.push(`define first, each as --child NAME prints it: ${[...children.keys()].join(', ')}`);
  const left = report.filter(({ kind }) => kind === 'todo').length;
  if (left > 0) lines.push(`${left} ${left === 1 ? 'place is' : 'places are'} left to do, marked with @code: statemesh check names them`);
  for (const line of lines) process.stderr.write(`${line}\n`);
}

async function main() {
  const { values, positionals } = parseArgs({ options: OPTIONS, allowPositionals: true });
  if (values.help || positionals.length !== 1) {
    write(`${USAGE}\n`);
    return;
  }
  const from = values.from === undefined ? undefined : Number(values.from);
  if (from !== undefined && from !== 4 && from !== 5) throw new Refused('--from is 4 or 5');
  const { machine, missing, lookup } = await given(positionals[0], values);
  const options = { from, machines: values.machine, lookup };
  const told = { report: [], children: new Map() };
  const whole = toStatemesh(machine, { ...options, ...told, id: values.id });
  const { definition, report, children } = values.child === undefined ? { definition: whole, ...told } : child(values.child, told.children, options);
  await new Promise((written) => write(`${JSON.stringify(definition, null, 2)}\n`, written));
  tell({ missing, report, children });
}

try {
  await main();
  // What a file has begun, timers and sockets, is not waited for.
  process.exit(0);
} catch (error) {
  const text = error instanceof Refused ? error.message : (error?.errors?.[0]?.text ?? error?.stack ?? String(error));
  process.stderr.write(`${text}\n`);
  process.exit(1);
}
