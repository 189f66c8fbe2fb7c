// A JavaScript or TypeScript file's machines: the file is bundled, run, and asked for what it made.

import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { basename, dirname, join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { build } from 'esbuild';
import { isMachine } from './builtins.mjs';

/** Where the machines go that a file makes and does not export. */
const MADE = Symbol.for('statemesh.machines');

/** What stands in place of a package that is not installed: it answers whatever it is asked, and says what it stands for. */
const STAND_IN = (what) => `
const anything = new Proxy(function () {}, {
  get: (target, key) => (key === Symbol.for('statemesh.missing') ? ${JSON.stringify(what)} : key === Symbol.toPrimitive ? () => '' : key === Symbol.iterator ? function* () {} : key === 'then' ? undefined : anything),
  apply: () => anything,
  construct: () => anything
});
export default anything;
`;

/** XState with a word of each machine that is made. */
const RECORDED = (real, isFour) => `
import * as real from ${JSON.stringify(real)};
export * from ${JSON.stringify(real)};
const made = (globalThis[Symbol.for('statemesh.machines')] ??= []);
const note = (machine) => { made.push(machine); return machine; };
export const createMachine = (...given) => note(real.createMachine(...given));
${
  isFour
    ? 'export const Machine = (...given) => note(real.Machine(...given));'
    : `export const setup = (...given) => {
  const wrap = (set) => ({ ...set, createMachine: (...config) => note(set.createMachine(...config)), ...(set.extend ? { extend: (...more) => wrap(set.extend(...more)) } : {}) });
  return wrap(real.setup(...given));
};`
}
`;

const ASSET = /\.(css|scss|less|svg|png|jpe?g|gif|webp|woff2?|vue|svelte|html|graphql|gql|md|wasm)(\?.*)?$/;

/** Finds packages as the file does, and gives a stand-in for those that are not there. */
function resolving(file, missing, xstate, names) {
  const from = createRequire(pathToFileURL(file));
  const here = createRequire(pathToFileURL(join(process.cwd(), 'x.js')));
  const own = createRequire(import.meta.url);
  const find = (name) => {
    for (const require of [from, here, own]) {
      try {
        return require.resolve(name);
      } catch {
        // The next place.
      }
    }
    return undefined;
  };
  return {
    name: 'statemesh',
    setup(builder) {
      builder.onResolve({ filter: /^xstate$/ }, ({ importer, namespace }) => {
        const path = xstate ?? find('xstate');
        if (path === undefined) return { errors: [{ text: 'xstate is not installed here' }] };
        return namespace === 'recorded' ? { path, external: true } : { path: `${path}?${importer}`, namespace: 'recorded', pluginData: path };
      });
      builder.onLoad({ filter: /.*/, namespace: 'recorded' }, async ({ pluginData }) => ({ contents: RECORDED(pathToFileURL(pluginData).href, await isFour(pluginData)), loader: 'js' }));
      // `xstate/lib/actions` and the like, of the same package.
      builder.onResolve({ filter: /^xstate\// }, ({ path }) => {
        const root = xstate ?? find('xstate');
        const inner = root === undefined ? undefined : createRequire(pathToFileURL(root));
        try {
          return { path: pathToFileURL(inner.resolve(join(root.replace(/\/(lib|dist|es)\/[^/]*$/, ''), path.slice(7)))).href, external: true };
        } catch {
          missing.add(path);
          return { path, namespace: 'stand-in' };
        }
      });
      builder.onResolve({ filter: /^file:/ }, ({ path }) => ({ path, external: true }));
      builder.onResolve({ filter: ASSET }, ({ path }) => ({ path, namespace: 'stand-in' }));
      builder.onResolve({ filter: /.*/ }, async ({ path, pluginData, ...rest }) => {
        if (pluginData === 'seen' || rest.kind === 'entry-point') return undefined;
        const isRelative = path.startsWith('.') || path.startsWith('/');
        const found = isRelative ? undefined : (path.startsWith('node:') ? path : find(path));
        if (found !== undefined) return { path: found.startsWith('/') ? pathToFileURL(found).href : found, external: true };
        const known = await builder.resolve(path, { ...rest, pluginData: 'seen' });
        if (known.errors.length === 0) return known;
        missing.add(path);
        return { path, namespace: 'stand-in' };
      });
      builder.onLoad({ filter: /.*/, namespace: 'stand-in' }, ({ path }) => ({
        contents: `${STAND_IN(/^[./]/.test(path) ? `the file ${path}, which is not there` : `the package ${path}, which is not installed`)}${[...names].map((name) => `export { anything as ${name} };`).join('')}`,
        loader: 'js'
      }));
    }
  };
}

/** Whether the package that a file belongs to is XState 4. */
async function isFour(path) {
  for (let folder = dirname(path); folder !== dirname(folder); folder = dirname(folder)) {
    try {
      const { name, version } = JSON.parse(await readFile(join(folder, 'package.json'), 'utf8'));
      if (version !== undefined && name === 'xstate') return version.startsWith('4.');
    } catch {
      // One folder up.
    }
  }
  return false;
}

/** The file and all it imports as one script. What is asked of packages that are not there is found out by trying. */
async function bundle(path, missing, xstate) {
  const TRIES_MAX = 20;
  const names = new Set();
  for (let tries = 1; ; tries++) {
    const settings = { ...SETTINGS, entryPoints: [path], plugins: [resolving(path, missing, xstate, names)] };
    const { outputFiles, errors, warnings } = await build(settings).catch((failed) => (failed.errors === undefined ? Promise.reject(failed) : failed));
    const before = names.size;
    for (const { text } of [...(errors ?? []), ...(warnings ?? [])]) {
      const name = /(?:No matching export in "stand-in:.*" for import|^Import) "([^"]+)"/.exec(text)?.[1];
      if (name !== undefined && name !== 'default') names.add(name);
    }
    if (names.size > before && tries < TRIES_MAX) continue;
    if (errors.length > 0) throw new OfTheFile(placed(path, errors[0]));
    return outputFiles[0].text;
  }
}

/** What is wrong with the file that was given, and not here. */
class OfTheFile extends Error {
  isOfTheFile = true;
}

/** A line and a column, both counted from 1. */
function placed(path, { text, location }) {
  if (location === null || location === undefined) return `${path}: ${text}`;
  return `${location.file}:${location.line}:${location.column + 1}: ${text}`;
}

const SETTINGS = {
  bundle: true,
  write: false,
  format: 'esm',
  platform: 'node',
  logLevel: 'silent',
  logLimit: 0,
  jsx: 'automatic',
  define: { 'import.meta.env': '{}' }
};

/** Gives what a name stands for at the top of the script: constants and functions that the machine's own use. */
const LOOKUP = '\nexport const __statemeshLookup = (name) => eval(name);\n';

/** What browsers have, for files that ask when they are loaded. */
function likeBrowser() {
  const anything = new Proxy(function () {}, {
    get: (_, key) => (key === Symbol.toPrimitive ? () => '' : key === 'then' ? undefined : anything),
    apply: () => anything,
    construct: () => anything
  });
  const storage = { getItem: () => null, setItem: () => {}, removeItem: () => {}, clear: () => {}, length: 0 };
  const ignore = () => {};
  const names = { window: globalThis, self: globalThis, addEventListener: ignore, removeEventListener: ignore, document: anything, location: anything, localStorage: storage, sessionStorage: storage };
  for (const [name, stand] of Object.entries(names)) {
    if (globalThis[name] === undefined) Object.defineProperty(globalThis, name, { value: stand, configurable: true, writable: true });
  }
}

/** What a file prints, and what it begins and does not finish, is not asked for: also once it has been loaded. */
function silence() {
  const ignore = () => {};
  process.exit = (code) => {
    throw new OfTheFile(`it ends the process, process.exit(${code ?? ''}), when it is loaded: move its machine to a file of its own`);
  };
  Object.assign(console, { log: ignore, info: ignore, warn: ignore, error: ignore, debug: ignore });
  process.stdout.write = () => true;
  process.on('uncaughtException', ignore);
  process.on('unhandledRejection', ignore);
}

/**
 * `{machines, functions, missing, lookup}`: machines and functions by the names they are exported under, packages that are not there,
 * and what a name outside of a function stands for.
 */
export async function load(file, { xstate } = {}) {
  const path = resolve(file);
  const missing = new Set();
  const text = await bundle(path, missing, xstate);
  const folder = await mkdtemp(join(dirname(path), '.statemesh-'));
  try {
    const script = join(folder, `${basename(path)}.mjs`);
    await writeFile(script, text + LOOKUP);
    globalThis[MADE] = [];
    likeBrowser();
    silence();
    const module = await import(pathToFileURL(script)).catch((error) => {
      throw new OfTheFile(`${file}: it fails when it is run: ${error?.isOfTheFile ? error.message : String(error)}`);
    });
    const lookup = (name) => {
      try {
        return module.__statemeshLookup(name);
      } catch {
        return undefined;
      }
    };
    return { ...machinesOf(module), missing: [...missing], lookup };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** What a file exports, by name: of CommonJS, and of an object that is the default, what stands in it. */
function exported({ __statemeshLookup: _, ...module }) {
  const inner = module.default;
  const isFile = inner !== null && typeof inner === 'object' && !isMachine(inner);
  return isFile ? { ...module, ...inner } : module;
}

function machinesOf(module) {
  const machines = new Map();
  const functions = new Map();
  for (const [name, value] of Object.entries(exported(module))) {
    if (isMachine(value)) machines.set(name, value);
    else if (typeof value === 'function') functions.set(name, value);
  }
  // What others have made counts only where nothing is exported.
  for (const machine of machines.size > 0 ? [] : globalThis[MADE]) {
    const isKnown = [...machines.values()].some((known) => known === machine || known.config === machine.config);
    if (!isKnown) machines.set(machines.has(machine.id) ? `${machine.id} (${machines.size})` : machine.id, machine);
  }
  return { machines, functions };
}
