#!/usr/bin/env node
// What machines of other people's repositories take: imports each file with one, and prints the figures and the rows of
// docs/how-to/xstate-machines.md.
//
//     node survey.mjs FOLDER[=URL]...
//
// URL is where the folder's files are to be seen. STATEMESH names the binary that checks. What the files import is not installed, but
// XState: 4 where the nearest package.json says so.

import { execFile } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { dirname, join, relative, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

const HERE = dirname(fileURLToPath(import.meta.url));
const BIN = join(HERE, 'bin/statemesh-xstate.mjs');
const STATEMESH = process.env.STATEMESH ?? 'statemesh';
const FOUR = join(HERE, 'node_modules/xstate4/lib/index.js');

const SOURCE = /\.([cm]?[jt]s|[jt]sx)$/;
const NO_APPLICATION = /(^|\/)(node_modules|dist|test|tests|__tests__|e2e|docs)\/|\.(test|spec|d|stories|typegen)\.[a-z]+$/;
const MAKES = /\b(createMachine|Machine)\s*(<|\()/;
/** A machine that is made by what another file exports. */
const MADE_ELSEWHERE = /^export [^=]*= *\w+Machine\(/m;
const TIME_MAX_MS = 60_000;
const REASONS_MAX = 3;

function files(folder, at = folder) {
  return readdirSync(at).sort().flatMap((name) => {
    const path = join(at, name);
    const shown = relative(folder, path);
    if (statSync(path).isDirectory()) return NO_APPLICATION.test(`${shown}/`) ? [] : files(folder, path);
    if (!SOURCE.test(name) || NO_APPLICATION.test(shown)) return [];
    const text = readFileSync(path, 'utf8');
    return (MAKES.test(text) && /['"]xstate(\/[\w/]+)?['"]/.test(text)) || MADE_ELSEWHERE.test(text) ? [path] : [];
  });
}

/** The version of XState that the nearest package asks for. */
function versionOf(file) {
  for (let folder = dirname(file); folder !== dirname(folder); folder = dirname(folder)) {
    try {
      const { dependencies, devDependencies } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'));
      const range = { ...devDependencies, ...dependencies }.xstate;
      if (range !== undefined) return /^[^\d]*4\b/.test(range) ? 4 : 5;
    } catch {
      // One folder up.
    }
  }
  return 5;
}

function run(program, ...words) {
  return new Promise((done) => {
    execFile(program, words, { timeout: TIME_MAX_MS, maxBuffer: 1 << 26 }, (error, stdout, stderr) => done({ code: error === null ? 0 : (error.code ?? 1), stdout, stderr }));
  });
}

/** Imports a file; where it has several machines, the last that it names: what uses others stands behind them. */
async function imported(file, version) {
  const words = version === 4 ? ['--xstate', FOUR] : [];
  const found = await run('node', BIN, file, ...words);
  const [, names] = /(?:--name|name it with --name): (.+)$/m.exec(found.stderr) ?? [];
  if (found.code === 0 || names === undefined) return found;
  for (const name of names.split(', ').reverse()) {
    const named = await run('node', BIN, file, ...words, '--name', name);
    if (named.code === 0) return named;
  }
  return found;
}

async function survey({ file, place, url }, folder, index) {
  const version = versionOf(file);
  const { code, stdout, stderr } = await imported(file, version);
  const title = place.split('/').slice(/^(machine|main|index)\.[a-z]+$/.test(place.split('/').at(-1)) ? -2 : -1).join('/').replace(/^.*\/src\//, '');
  if (code !== 0) return { place, title, url, version, failed: stderr.trim().split('\n')[0] };
  const told = (kind) => stderr.split('\n').filter((line) => line.startsWith(`${kind}: `)).map((line) => line.slice(kind.length + 2));
  const children = /^define first, .*: (.+)$/m.exec(stderr)?.[1].split(', ').length ?? 0;
  const definition = join(folder, `${index}.json`);
  writeFileSync(definition, stdout);
  const checked = await run(STATEMESH, 'check', '--strict', definition);
  const codes = [...checked.stdout.matchAll(/^(?:warning|error)\[(\w+)\]/gm)].map(([, found]) => found);
  const reasons = told('to do').map((line) => line.replace(/^.*?: /, ''));
  return { place, title, url, version, effects: told('effect').length, notes: told('note').length, reasons, children, codes, isAccepted: checked.code === 0 };
}

/** Each once, with how often, the most frequent first. */
function counted(values) {
  const counts = new Map();
  for (const value of values) counts.set(value, (counts.get(value) ?? 0) + 1);
  return [...counts].sort((a, b) => b[1] - a[1]);
}

function row({ title, url, version, effects, reasons, children, codes }) {
  const all = counted(reasons).map(([reason, count]) => (count > 1 ? `${count} × ${reason}` : reason));
  const shown = all.length > REASONS_MAX + 1 ? [...all.slice(0, REASONS_MAX), `${all.length - REASONS_MAX} more reasons`] : all;
  if (children > 0) shown.push(`${children} invoked ${children === 1 ? 'machine' : 'machines'} to define first`);
  // Places that are left, and machines that are invoked, are counted already.
  const others = [...new Set(codes)].filter((code) => code !== 'unsupported_language' && code !== 'unknown_machine');
  if (others.length > 0) shown.push(`\`check\` says ${others.map((code) => `\`${code}\``).join(', ')}`);
  const edits = shown.length === 0 ? 'none' : shown.join('; ').replaceAll('|', '\\|');
  return `| [${title}](${url}) | ${version} | ${effects} | ${reasons.length} | ${edits} |`;
}

const folders = process.argv.slice(2).map((word) => word.split(/=(.*)/s));
if (folders.length === 0) {
  process.stderr.write('node survey.mjs FOLDER[=URL]...\n');
  process.exit(2);
}
const all = folders.flatMap(([folder, url = folder]) => files(resolve(folder)).map((file) => ({ file, place: relative(resolve(folder), file), url: `${url}/${relative(resolve(folder), file)}` })));
const results = new Array(all.length);
const work = mkdtempSync(join(tmpdir(), 'statemesh-survey-'));
try {
  let next = 0;
  const worker = async () => {
    for (let index = next++; index < all.length; index = next++) results[index] = await survey(all[index], work, index);
  };
  await Promise.all(Array.from({ length: Math.min(4, availableParallelism()) }, worker));
} finally {
  rmSync(work, { recursive: true });
}
const made = results.filter(({ failed }) => failed === undefined);
const sum = (of) => made.reduce((total, one) => total + of(one), 0);
console.log(`${results.length} files, ${made.length} became a definition, ${made.filter(({ isAccepted }) => isAccepted).length} of these accepted at once`);
console.log(`${sum(({ effects }) => effects)} effects, ${sum(({ reasons }) => reasons.length)} left to do, ${sum(({ notes }) => notes)} notes\n`);
for (const one of made) console.log(row(one));
for (const { place, failed } of results.filter((one) => one.failed !== undefined)) console.log(`not imported: ${place}: ${failed}`);
console.log(`\nReasons:\n${counted(made.flatMap(({ reasons }) => reasons)).map(([reason, count]) => `${count} × ${reason}`).join('\n')}`);
console.log(`\ncheck:\n${counted(made.flatMap(({ codes }) => codes)).map(([code, count]) => `${count} × ${code}`).join('\n')}`);
