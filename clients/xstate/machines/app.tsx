// A file as it stands in an application: packages that are not installed, types, an enum, a machine that is made by a function.

import { useMachine } from '@elsewhere/react';
import theme from './theme.css';
import { logger } from '~/elsewhere/logger';
import { assign, createMachine, fromPromise, setup } from 'xstate';

enum Tab {
  Home = 'home',
  Search = 'search'
}

const LIMIT = 3;
const isShort = (text: string): boolean => text.length < LIMIT;

interface Context {
  tab: Tab;
  query: string;
  hits: string[];
  failure: string | null;
}

export const search = setup({
  types: {} as { context: Context; events: { type: 'QUERY'; query: string } | { type: 'GO' } },
  actors: {
    find: fromPromise(async ({ input }: { input: { query: string } }) => {
      const answer = await fetch(`/find?q=${input.query}`);
      return answer.json();
    })
  },
  actions: {
    report: ({ context }) => logger.info(context.failure),
    shuffle: assign({ hits: ({ context }) => context.hits.sort(() => Math.random() - 0.5) })
  }
}).createMachine({
  id: 'search',
  context: { tab: Tab.Home, query: '', hits: [], failure: null },
  initial: 'idle',
  states: {
    idle: {
      on: {
        QUERY: { actions: assign({ query: ({ event }) => event.query, tab: () => Tab.Search }) },
        GO: { guard: ({ context }) => !isShort(context.query), target: 'finding' },
        SHUFFLE: { actions: 'shuffle' }
      }
    },
    finding: {
      invoke: {
        src: 'find',
        input: ({ context }) => ({ query: context.query }),
        onDone: { target: 'idle', actions: assign({ hits: ({ event }) => event.output.hits }) },
        onError: { target: 'idle', actions: [assign({ failure: ({ event }) => String(event.error) }), 'report'] }
      }
    }
  }
});

export const lightMaker = (seconds: number) =>
  createMachine({ id: 'light', initial: 'off', states: { off: { after: { [seconds * 1000]: 'on' } }, on: { type: 'final' } } });

export function Search() {
  const [state] = useMachine(search);
  return <p className={theme.text}>{String(state.value)}</p>;
}
