#!/usr/bin/env node
// Prints the definition of a machine in a JavaScript, TypeScript or JSON file: `statemesh import xstate` runs this.

import { readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';

/** The programs beside this one need packages, which may not be installed. */
const ours = async (name) => import(`../src/${name}.mjs`);

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

Prints the definition of the machine that FILE exports; - is JSON on stdin.

  --name EXPORT   which of several, or its id; of a function, the machine that it gives
  --from 4        the version of XState that JSON was written for (a machine knows its own)
  --id ID         the machine's name in the mesh, if not its own
  --machine NAME  an actor that is a machine of the mesh, though FILE does not say so
  --child NAME    not the machine itself, but one that it invokes or spawns
  --xstate PATH   the xstate to run FILE with, if it is not installed beside it`;

/** What is said without a trace, and how the program ends: 1, or 5 where a file is the trouble. */
class Refused extends Error {
  constructor(message, code = 1) {
    super(message);
    this.code = code;
  }
}

const FILE = 5;

/** A file that is loaded may print what it likes, but not into the definition. */
const write = process.stdout.write.bind(process.stdout);

function text(file) {
  try {
    return readFileSync(file === '-' ? 0 : file, 'utf8');
  } catch (error) {
    throw new Refused(`${file}: ${error.code === 'ENOENT' ? 'there is no such file' : error.message}`, FILE);
  }
}

function json(file, source) {
  try {
    return JSON.parse(source);
  } catch (error) {
    const at = /position (\d+)/.exec(error.message)?.[1];
    const before = at === undefined ? undefined : source.slice(0, Number(at)).split('\n');
    const place = before === undefined ? '' : `:${before.length}:${before.at(-1).length + 1}`;
    throw new Refused(`${file}${place}: no JSON: ${error.message}`);
  }
}

async function given(file, values) {
  const source = text(file);
  if (file === '-' || file.endsWith('.json')) return { machine: json(file, source), missing: [] };
  const { load } = await ours('load');
  const { machines, functions, missing, lookup } = await load(file, { xstate: values.xstate });
  return { machine: choose(file, machines, functions, values.name), missing, lookup };
}

function choose(file, machines, functions, name) {
  const names = [...machines.keys()];
  if (name === undefined) {
    // One machine may have two names, as with `export default`.
    if (new Set(machines.values()).size === 1) return machines.get(names[0]);
    if (names.length > 1) throw new Refused(`${file} has several machines: choose one with --name: ${names.join(', ')}`);
    const makers = [...functions.keys()].join(', ');
    throw new Refused(`${file} has no machine${makers === '' ? '' : `; if a function makes it, name it with --name: ${makers}`}`);
  }
  const named = machines.get(name) ?? [...machines.values()].find(({ id }) => id === name);
  if (named !== undefined) return named;
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

function child(name, known, toStatemesh, options) {
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
  if (values.id?.includes('/')) throw new Refused(`--id ${values.id}: a slash separates the machine from the key in machine/key`);
  const { toStatemesh } = await ours('to');
  const { machine, missing, lookup } = await given(positionals[0], values);
  const options = { from, machines: values.machine, lookup };
  const told = { report: [], children: new Map() };
  const whole = toStatemesh(machine, { ...options, ...told, id: values.id });
  const { definition, report, children } = values.child === undefined ? { definition: whole, ...told } : child(values.child, told.children, toStatemesh, options);
  await new Promise((written) => write(`${JSON.stringify(definition, null, 2)}\n`, written));
  tell({ missing, report, children });
}

/** What a person can do something about has no trace. */
function said(error) {
  if (error instanceof Refused || error?.isOfTheFile) return error.message;
  if (error?.code === 'ERR_MODULE_NOT_FOUND' && /^Cannot find package/.test(error.message)) {
    const [, name] = /'([^']+)'/.exec(error.message);
    return `the package ${name}, which statemesh-xstate needs, is not installed: npm install --save-dev --install-links PATH/TO/statemesh/clients/xstate`;
  }
  if (error?.code?.startsWith('ERR_PARSE_ARGS')) return error.message;
  return error?.stack ?? String(error);
}

// A file that is loaded may end the process; that is not to be taken for our own end.
const exit = process.exit.bind(process);
try {
  await main();
  // What a file has begun, timers and sockets, is not waited for.
  exit(0);
} catch (error) {
  process.stderr.write(`${said(error)}\n`);
  const isMissing = error?.code === 'ERR_MODULE_NOT_FOUND' && !error.isOfTheFile;
  exit(isMissing ? FILE : error instanceof Refused ? error.code : 1);
}
