// Contender of the engine: actor.send of XState, on the machines of benches/machines with their guard and assign in JavaScript.
// Prints nanoseconds for each event: a line for each machine.
import { assign, createActor, createMachine } from 'xstate';

const WARM_UP = 100_000;
const EVENTS = 50_000;
const MEASUREMENTS = 9;

const cycle = createMachine({
  id: 'cycle',
  initial: 'red',
  states: {
    red: { on: { NEXT: 'green' } },
    green: { on: { NEXT: 'yellow' } },
    yellow: { on: { NEXT: 'red' } },
  },
});

let actions = 0;
const act = () => {
  actions += 1;
};
const next = (target) => ({
  NEXT: {
    target,
    guard: ({ context }) => context.count < 1_000_000_000_000,
    actions: assign({ count: ({ context }) => context.count + 1 }),
  },
});
const lamp = createMachine({
  id: 'lamp',
  context: { count: 0 },
  initial: 'on',
  states: {
    on: {
      initial: 'low',
      entry: act,
      exit: act,
      states: {
        low: { entry: act, exit: act, on: next('high') },
        high: { entry: act, exit: act, on: next('low') },
      },
    },
  },
});

function nanosPerEvent(machine) {
  const actor = createActor(machine).start();
  const event = { type: 'NEXT' };
  for (let i = 0; i < WARM_UP; i++) actor.send(event);
  const measured = [];
  for (let m = 0; m < MEASUREMENTS; m++) {
    const begin = process.hrtime.bigint();
    for (let i = 0; i < EVENTS; i++) actor.send(event);
    measured.push(Number(process.hrtime.bigint() - begin) / EVENTS);
  }
  return measured.sort((a, b) => a - b)[MEASUREMENTS >> 1];
}

console.log(`cycle ${nanosPerEvent(cycle).toFixed(3)}`);
console.log(`lamp ${nanosPerEvent(lamp).toFixed(3)}`);
if (actions === 0) throw new Error('no action ran');
