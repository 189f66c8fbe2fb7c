// Makes a failing case small: removes what can go while the same kind of failure remains.

const ATTEMPTS_MAX = 3_000;

/** Every place in a JSON value from which something can be removed, larger subtrees first. */
function* removals(value, path = []) {
  if (value === null || typeof value !== 'object') return;
  const keys = Array.isArray(value) ? value.map((_, index) => index).reverse() : Object.keys(value);
  for (const key of keys) yield [...path, key];
  for (const key of keys) yield* removals(value[key], [...path, key]);
}

/** Every expression, with the constants that might do in its place. */
function* simplifications(value, path = []) {
  if (value === null || typeof value !== 'object') return;
  if (typeof value['@expr'] === 'string') {
    for (const simple of ['true', 'false', '0', '1', "'x'"]) {
      if (value['@expr'] !== simple && simple.length < value['@expr'].length) yield [path, { '@expr': simple }];
    }
    return;
  }
  for (const [key, item] of Object.entries(value)) yield* simplifications(item, [...path, Array.isArray(value) ? Number(key) : key]);
}

function without(value, path) {
  const copy = structuredClone(value);
  const owner = path.slice(0, -1).reduce((inner, key) => inner[key], copy);
  const last = path[path.length - 1];
  if (Array.isArray(owner)) owner.splice(last, 1);
  else delete owner[last];
  return copy;
}

function replaced(value, path, item) {
  const copy = structuredClone(value);
  const owner = path.slice(0, -1).reduce((inner, key) => inner[key], copy);
  owner[path[path.length - 1]] = item;
  return copy;
}

function* candidates(request, step) {
  if (step >= 0 && request.events.length > step) yield { ...request, events: request.events.slice(0, step) };
  for (let size = request.events.length >> 1; size >= 1; size >>= 1) {
    for (let at = 0; at + size <= request.events.length; at += size) {
      yield { ...request, events: [...request.events.slice(0, at), ...request.events.slice(at + size)] };
    }
  }
  for (const key of ['input', 'machines', 'machine']) {
    if (request[key] === undefined) continue;
    if (key !== 'machine') yield without(request, [key]);
    for (const path of removals(request[key])) yield without(request, [key, ...path]);
    for (const [path, item] of simplifications(request[key])) yield replaced(request, [key, ...path], item);
  }
}

/** The smallest case found for which `fails(request)` still resolves to a difference like `first`. */
export async function shrink(request, first, fails) {
  let best = request;
  let difference = first;
  let attempts = 0;
  for (let progress = true; progress; ) {
    progress = false;
    for (const candidate of candidates(best, difference.step)) {
      if (++attempts > ATTEMPTS_MAX) return { request: best, difference };
      const found = await fails(candidate);
      if (found === undefined || !alike(found, difference)) continue;
      best = candidate;
      difference = found;
      progress = true;
      break;
    }
  }
  return { request: best, difference };
}

/** A refusal must stay the same refusal: removing a definition that is used would be refused rightly. */
function alike(found, wanted) {
  if (found.kind !== wanted.kind) return false;
  if ((found.step === -1) !== (wanted.step === -1)) return false;
  return found.step !== -1 || code(found.actual) === code(wanted.actual);
}

function code(actual) {
  return actual?.diagnostics?.[0]?.code ?? actual?.code ?? JSON.stringify(actual)?.slice(0, 60);
}
