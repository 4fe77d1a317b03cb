// One question, answered past all caches, with everything that validation finds on its way.

import { type Name, nameOf } from '../dnssec/name.js';
import type { TtlLimits } from '../cache/entry.js';
import type { Upstream } from '../upstream/pool.js';
import type { Outcome } from './answer.js';
import { ownQuery } from './internal-query.js';
import { forward } from './stages/forward.js';
import { validated } from './stages/validated.js';
import { type ValidationParts, Validations } from './validation/validations.js';

/** What was found. */
export interface Traced {
  readonly steps: readonly { readonly zone: Name; readonly words: string }[];
  /** Its octets must not be looked at: they were borrowed. */
  readonly outcome: Outcome;
  /** How many went upstream, the one itself included. */
  readonly questions: number;
  readonly ms: number;
}

/** What a trace works with. */
export type TraceParts = Omit<ValidationParts, 'dnssecMode' | 'note'> & { readonly ttlLimits: () => TtlLimits };

/**
 * Traces a question.
 * @param parts with a Validator that knows nothing yet
 * @param name in wire form
 */
export async function trace(parts: TraceParts, name: Buffer, type: number): Promise<Traced> {
  const { clock } = parts;
  const steps: Traced['steps'][number][] = [];
  let questions = 0;
  const upstream: Upstream = {
    servers: parts.upstream.servers,
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
  const query = ownQuery(nameOf(name), type, { checkingDisabled: false, avoid: [] });
  const outcome = await new Promise<Outcome>(resolve => {
    validated(validations)(forward({ ...parts, upstream, dnssecMode }))(query, resolve);
  });
  return { steps, outcome, questions, ms: clock.monotonicMs() - startedAt };
}
