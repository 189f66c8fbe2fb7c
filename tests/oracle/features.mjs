// What a random machine may use, and how often. `--only` and `--without` switch features by these names.

/** Probability that a machine uses a feature at all. */
export const FEATURES = {
  parallel: 0.6,
  history: 0.45,
  finals: 0.5,
  outputs: 0.4,
  always: 0.35,
  after: 0.5,
  raise: 0.4,
  delayedRaise: 0.3,
  sendSelf: 0.15,
  cancel: 0.3,
  assign: 0.8,
  emit: 0.4,
  log: 0.4,
  params: 0.5,
  guards: 0.8,
  namedGuards: 0.4,
  composedGuards: 0.35,
  stateIn: 0.35,
  namedActions: 0.4,
  wildcards: 0.4,
  systemWildcards: 0.15,
  forbidden: 0.3,
  reenter: 0.5,
  multipleTargets: 0.4,
  relativeTargets: 0.6,
  explicitIds: 0.5,
  integerKeys: 0.15,
  dottedKeys: 0.08,
  initialActions: 0.3,
  initialHistory: 0.1,
  rootTransitions: 0.3,
  rootTargets: 0.1,
  tags: 0.3,
  meta: 0.2,
  shorthands: 0.6,
  route: 0.12,
  input: 0.15,
  faults: 0.12,
  errorEvents: 0.05,
  systemEvents: 0.05,
  children: 0.15
};

/** The features of one machine: a set of names. */
export function chooseFeatures(random, { only, without = [] }) {
  const chosen = new Set();
  for (const [name, probability] of Object.entries(FEATURES)) {
    const wanted = random.chance(probability);
    if (wanted && !without.includes(name) && (only === undefined || only.includes(name))) chosen.add(name);
  }
  return chosen;
}

/** Refuses names that are no features, so that a misspelt switch does not silently test less. */
export function checkFeatures(names) {
  for (const name of names) {
    if (!(name in FEATURES)) throw new Error(`unknown feature ${name}; there are: ${Object.keys(FEATURES).join(', ')}`);
  }
}
