// Machines of XState 5 with the traits of those that people have: a cart, a wizard, a player, a poll.

import { and, assign, cancel, createMachine, emit, enqueueActions, log, not, or, raise, setup, stateIn } from 'xstate';

const LINES_MAX = 4;
const isSame = (line, id) => line.id === id;

export const cart = setup({
  types: {},
  guards: {
    hasRoom: ({ context }) => context.lines.length < LINES_MAX,
    isKnown: ({ context, event }) => context.lines.some((line) => isSame(line, event.id)),
    atLeast: ({ context }, params) => context.lines.length >= params.lines
  },
  actions: {
    add: assign({ lines: ({ context, event }) => [...context.lines, { id: event.id, count: event.count ?? 1 }] }),
    more: assign({
      lines: ({ context, event }) =>
        context.lines.map((line) => (line.id === event.id ? { ...line, count: line.count + (event.count ?? 1) } : line))
    }),
    remove: assign(({ context, event }) => ({ ...context, lines: context.lines.filter(({ id }) => id !== event.id) })),
    warn: log(({ event }) => `no ${event.id}`)
  },
  delays: { patience: ({ context }) => 1000 * (context.lines.length + 1) }
}).createMachine({
  id: 'cart',
  context: ({ input }) => ({ lines: [], owner: input?.owner ?? 'nobody', notes: '' }),
  initial: 'open',
  states: {
    open: {
      after: { patience: 'idle' },
      on: {
        ADD: [{ guard: and(['isKnown', 'hasRoom']), actions: 'more' }, { guard: 'hasRoom', actions: 'add' }, { actions: 'warn' }],
        REMOVE: [{ guard: not('isKnown'), actions: 'warn' }, { actions: 'remove' }],
        NOTE: { actions: assign(({ context, event }) => ({ notes: `${context.notes}${event.text};` })) },
        CHECKOUT: { guard: { type: 'atLeast', params: { lines: 2 } }, target: 'paying' }
      }
    },
    idle: { on: { ADD: { target: 'open', actions: 'add' }, '*': { actions: log('idle') } } },
    paying: {
      initial: 'waiting',
      states: {
        waiting: { on: { PAY: [{ guard: ({ event }) => event.amount >= 10 && !event.isTest, target: 'done' }, { target: 'failed' }] } },
        failed: { after: { 500: { target: 'waiting', actions: raise({ type: 'NOTE', text: 'again' }) } } },
        done: { type: 'final' }
      },
      on: { BACK: '#cart.open' },
      onDone: { target: 'paid', actions: emit(({ context }) => ({ type: 'cart.paid', lines: context.lines.length })) }
    },
    paid: { type: 'final' }
  },
  output: ({ context }) => ({ count: context.lines.length, owner: context.owner })
});

export const player = createMachine({
  id: 'player',
  type: 'parallel',
  context: { volume: 5, track: 0, history: [] },
  states: {
    sound: {
      initial: 'on',
      states: {
        on: { on: { MUTE: 'off', UP: { guard: ({ context: { volume } }) => volume < 7, actions: assign({ volume: ({ context }) => context.volume + 1 }) } } },
        off: { on: { MUTE: 'on' } }
      }
    },
    deck: {
      initial: 'stopped',
      states: {
        stopped: { on: { PLAY: { target: 'playing', guard: or([stateIn({ sound: 'on' }), ({ event }) => event.force === true]) } } },
        playing: {
          entry: [
            assign({ history: ({ context }) => context.history.concat([context.track]) }),
            raise({ type: 'TICK' }, { delay: 300, id: 'tick' })
          ],
          exit: cancel('tick'),
          on: {
            TICK: { actions: assign({ track: ({ context }) => (context.track + 1) % 3 }), target: 'playing', reenter: true },
            STOP: 'stopped',
            SKIP: {
              actions: enqueueActions(({ enqueue }) => {
                enqueue.assign({ track: 0 });
                enqueue.raise({ type: 'STOP' });
              })
            }
          }
        }
      }
    }
  }
});

export const poll = createMachine({
  id: 'poll',
  context: { votes: {}, closed: false, last: undefined },
  initial: 'open',
  states: {
    open: {
      on: {
        VOTE: {
          guard: ({ event }) => typeof event.choice === 'string' && event.choice !== '',
          actions: assign({ votes: ({ context, event }) => ({ ...context.votes, [event.by]: event.choice }), last: ({ event }) => event.choice })
        },
        CLOSE: 'closed'
      },
      always: { guard: ({ context }) => Object.keys(context.votes).length > 3, target: 'closed' }
    },
    closed: { entry: assign({ closed: true }), on: { REOPEN: { target: 'hist' } } },
    hist: { type: 'history', target: 'open' }
  }
});
