// XState machines and Statemesh's definitions, in both directions.

export { fromStatemesh } from './from.mjs';
export { toStatemesh } from './to.mjs';
