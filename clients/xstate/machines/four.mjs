// Machines of XState 4: a debounce, a form, a job.

import { actions, assign, createMachine, send } from 'xstate4';

/** A target that is the source itself restarts the timer in XState 4, and in 5 only with `reenter`. */
export const debounce = createMachine({
  predictableActionArguments: true,
  id: 'debounce',
  context: { text: '', sent: 0 },
  initial: 'idle',
  states: {
    idle: { on: { TYPE: { target: 'waiting', actions: assign({ text: (_, event) => event.text }) } } },
    waiting: {
      on: { TYPE: { target: 'waiting', actions: assign({ text: (_, event) => event.text }) }, HOLD: { target: 'waiting', internal: true } },
      after: { 300: { target: 'idle', actions: assign({ sent: (context) => context.sent + 1 }) } }
    }
  }
});

export const form = createMachine(
  {
    predictableActionArguments: true,
    id: 'form',
    context: { name: '', errors: [], tries: 0 },
    initial: 'editing',
    on: { RESET: { target: 'editing', actions: 'clear' } },
    states: {
      editing: {
        initial: 'clean',
        states: { clean: {}, dirty: {} },
        on: {
          CHANGE: { target: '.dirty', actions: 'change' },
          SUBMIT: [{ cond: 'isValid', target: 'sending' }, { actions: 'complain' }],
          PEEK: { in: '#form.editing.dirty', actions: send('CHANGE', { delay: 100, id: 'peek' }) }
        },
        exit: actions.cancel('peek')
      },
      sending: { on: { '': { cond: (context) => context.tries > 2, target: 'given up' }, FAIL: { target: 'editing', actions: 'count' }, OK: 'sent' } },
      'given up': { type: 'final' },
      sent: { type: 'final', data: { name: (context) => context.name } }
    }
  },
  {
    guards: { isValid: ({ name }) => name.length > 1 },
    actions: {
      change: assign((context, event) => ({ ...context, name: event.name || context.name })),
      clear: assign({ name: '', errors: () => [] }),
      count: assign({ tries: (context) => context.tries + 1 }),
      complain: assign({ errors: (context) => [...context.errors, `${context.name} is too short`] })
    }
  }
);

export const job = createMachine({
  predictableActionArguments: true,
  id: 'job',
  context: { url: '/x', result: null },
  initial: 'loading',
  states: {
    loading: {
      invoke: {
        id: 'load',
        src: async (context) => (await fetch(context.url)).json(),
        onDone: { target: 'done', actions: [assign({ result: (_, event) => event.data }), actions.log('loaded')] },
        onError: [{ cond: (_, event) => event.data.code === 404, target: 'missing' }, { target: 'loading' }]
      }
    },
    missing: {},
    done: { type: 'final' }
  }
});
