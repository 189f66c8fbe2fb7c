// Where two runs of the same case first differ.

const FIELDS = ['status', 'value', 'context', 'output', 'tags', 'effects'];

/** The path of the first difference between two JSON values (key order is no difference), or undefined. */
export function differenceAt(expected, actual, path = '') {
  if (expected === actual) return undefined;
  if (expected === null || actual === null || typeof expected !== 'object' || typeof actual !== 'object') return path || '/';
  if (Array.isArray(expected) !== Array.isArray(actual)) return path || '/';
  const keys = new Set([...Object.keys(expected), ...Object.keys(actual)]);
  for (const key of keys) {
    if (!(key in expected) || !(key in actual)) return `${path}/${key}`;
    const found = differenceAt(expected[key], actual[key], `${path}/${key}`);
    if (found !== undefined) return found;
  }
  return undefined;
}

/**
 * Compares what the reference and the engine said about one case.
 *
 * Returns undefined, or `{step, path, expected, actual}`; step 0 is the start, -1 a refusal of the definition.
 */
export function compareRuns(reference, engine) {
  if (engine.error !== undefined) {
    return { step: -1, path: '/error', expected: 'a machine that runs', actual: engine.error };
  }
  for (const [step, expected] of reference.snapshots.entries()) {
    const actual = engine.snapshots?.[step];
    if (actual === undefined) return { step, path: '/', expected, actual: 'no snapshot' };
    for (const field of FIELDS) {
      const path = differenceAt(expected[field], actual[field], `/${field}`);
      if (path !== undefined) return { step, path, expected, actual };
    }
  }
  return undefined;
}
