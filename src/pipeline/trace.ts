// Resolves one question without the caches, and records every step of its validation.

import { type Name, nameOf } from '../dnssec/name.js';
import type { TtlLimits } from '../cache/entry.js';
import type { Upstream } from '../upstream/pool.js';
import type { Outcome } from './answer.js';
import { ownQuery } from './internal-query.js';
import { forward } from './stages/forward.js';
import { validated } from './stages/validated.js';
import { type ValidationParts, Validations } from './validation/validations.js';

/** The result of a trace. */
export interface Traced {
  readonly steps: readonly { readonly zone: Name; readonly words: string }[];
  /** Its octets must not be read: they were borrowed. */
  readonly outcome: Outcome;
  /** How many queries went upstream, the traced one included. */
  readonly questions: number;
  readonly ms: number;
}

/** The parts that a trace uses. */
export type TraceParts = Omit<ValidationParts, 'dnssecMode' | 'note' | 'probes' | 'isDoubtful'> & {
  readonly ttlLimits: () => TtlLimits;
};

/**
 * Traces a question.
 * @param parts with a Validator that has an empty table of zones
 * @param name in wire form
 */
export async function trace(parts: TraceParts, name: Buffer, type: number): Promise<Traced> {
  const { clock } = parts;
  const steps: Traced['steps'][number][] = [];
  let questions = 0;
  const upstream: Upstream = {
    servers: parts.upstream.servers,
    get routesEpoch() {
      return parts.upstream.routesEpoch ?? 0;
    },
    exchange(...args) {
      questions++;
      parts.upstream.exchange(...args);
    },
  };
  const dnssecMode = () => 'require' as const;
  const validations = new Validations({
    ...parts,
    upstream,
    dnssecMode,
    note(zone, words) {
      if (!steps.some(each => each.zone === zone && each.words === words)) steps.push({ zone, words });
    },
  });
  const startedAt = clock.monotonicMs();
  const routesEpoch = upstream.routesEpoch ?? 0;
  const query = ownQuery(nameOf(name), type, { checkingDisabled: false, avoid: [], routesEpoch });
  const outcome = await new Promise<Outcome>(resolve => {
    validated(validations)(forward({ ...parts, upstream, dnssecMode }))(query, resolve);
  });
  return { steps, outcome, questions, ms: clock.monotonicMs() - startedAt };
}
