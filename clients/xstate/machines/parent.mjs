// A machine that invokes another, and starts and stops one by itself.

import { assign, sendTo, setup, spawnChild, stopChild } from 'xstate';

const question = setup({}).createMachine({
  id: 'question',
  context: ({ input }) => ({ text: input.text, answer: null }),
  initial: 'open',
  states: { open: { on: { ANSWER: { target: 'answered', actions: assign({ answer: ({ event }) => event.text }) } } }, answered: { type: 'final' } },
  output: ({ context }) => ({ answer: context.answer })
});

export const parent = setup({ actors: { question } }).createMachine({
  id: 'parent',
  context: { answers: [] },
  initial: 'asking',
  states: {
    asking: {
      entry: spawnChild('question', { id: 'side', input: { text: 'how?' } }),
      exit: stopChild('side'),
      invoke: {
        id: 'main',
        src: 'question',
        input: { text: 'what?' },
        onDone: { target: 'done', actions: assign({ answers: ({ context, event }) => [...context.answers, event.output.answer] }) }
      },
      on: { SAY: { actions: sendTo('main', ({ event }) => ({ type: 'ANSWER', text: event.text })) } }
    },
    done: { type: 'final' }
  }
});
