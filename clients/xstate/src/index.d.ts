import type { AnyActorLogic, AnyStateMachine } from 'xstate';

/** A definition of Statemesh: JSON. */
export type Definition = { id?: string } & Record<string, unknown>;

/** What happened to a function: `todo` is left to do, `effect` is for a program that watches, `note` is not quite the same, or to be known. */
export interface Told {
  path: string;
  kind: 'todo' | 'effect' | 'note';
  message: string;
  source?: string;
}

export interface ToOptions {
  /** The version of XState that a configuration was written for; a machine knows its own. */
  from?: 4 | 5;
  /** The machine's name in the mesh, if not its own. */
  id?: string;
  /** Names of actors that are machines of the mesh, though nothing here says so. */
  machines?: string[];
  /** Gives what a name outside of a function stands for: constants and functions are taken in. */
  lookup?: (name: string) => unknown;
  /** Is given what happened to functions. */
  report?: Told[];
  /** Is given the machines that have to be defined too, by their names. */
  children?: Map<string, unknown>;
}

export interface FromOptions {
  /** Definitions, or machines, that `src` names. */
  machines?: Record<string, Definition | AnyActorLogic>;
  /** What is to be done for the effects, by their names. */
  actions?: Record<string, (args: { context: any; event: any; self: any }, params: any) => void>;
}

/**
 * The definition of a machine of XState 5 or 4, or of a configuration as data. What could not be translated stands in it as
 * `{"@code": "..."}`: `statemesh check` names each of these places.
 */
export function toStatemesh(machine: unknown, options?: ToOptions): Definition;

/** The XState 5 machine of a definition, whose expressions are evaluated as the mesh does. */
export function fromStatemesh(definition: Definition, options?: FromOptions): AnyStateMachine;
