// Queries of our own on a connection: whether the server answers, and in which form.

import type { Clock } from '../base/ports.js';
import { blamesForm, type EdnsForms } from './edns-forms.js';
import type { Waiter } from './inflight.js';

/** Takes the answer to a probe; undefined: there was none. */
export type ProbeResult = (answer: Buffer | undefined, rttMs: number) => void;

/** A probe: a query of our own. */
export class Probe implements Waiter {
  done = false;
  isSent = false;
  /**
   * @param inOneForm whether it is not repeated in another form: it asks about this form
   */
  constructor(
    readonly then: ProbeResult,
    readonly inOneForm = false,
  ) {}
}

/** Whether it is a probe. */
export const isProbe = (waiter: Waiter): waiter is Probe => waiter instanceof Probe;

/** After a plainer form has worked, asks in the first form whether that is refused for every question. */
export const formProbe = (edns: EdnsForms, clock: Clock): Probe =>
  new Probe(answer => {
    if (answer !== undefined && !blamesForm(answer)) edns.withdraw(clock.monotonicMs());
  }, true);
