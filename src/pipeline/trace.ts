// One question, answered past all caches with everything that validation finds on its way.

import type { Name } from '../dnssec/name.js';
import type { Validator } from '../dnssec/validator.js';
import type { Pool } from '../upstream/pool.js';
import { questionOf } from '../wire/compose.js';
import { FLAG } from '../wire/header.js';
import { forward, type ResolverParts } from './resolver.js';
import type { Answer, Query } from './stage.js';
import { validated } from './validated.js';

/** What was found. */
export interface Traced {
  readonly steps: readonly { readonly zone: Name; readonly words: string }[];
  readonly answer: Answer;
  /** How many went upstream, the one itself included. */
  readonly questions: number;
  readonly ms: number;
}

/**
 * Traces a question.
 * @param fresh a Validator that knows nothing yet
 */
export async function trace(
  parts: Pick<ResolverParts, 'pool' | 'ttlLimits' | 'nowSec' | 'validation'>,
  fresh: Validator,
  name: Buffer,
  type: number,
): Promise<Traced> {
  const { clock } = parts.validation;
  const steps: Traced['steps'][number][] = [];
  let questions = 0;
  const pool: Pool = {
    ...parts.pool,
    exchange(...args) {
      questions++;
      parts.pool.exchange(...args);
    },
  };
  const validation = {
    ...parts.validation,
    pool,
    validator: fresh,
    mode: 'require' as const,
    note: (zone: Name, words: string): void =>
      void (steps.some(each => each.zone === zone && each.words === words) || steps.push({ zone, words })),
  };
  const question = questionOf(name, type);
  const query: Query = {
    id: 0,
    flags: FLAG.RD,
    question,
    opt: undefined,
    type,
    recurse: true,
    dnssecOk: true,
    checkingDisabled: false,
    key: '',
    client: { address: '127.0.0.1', port: 0, family: 4, transport: 'udp' },
    avoid: [],
  };
  const startedAtMs = clock.monotonicMs();
  const answer = await new Promise<Answer>(resolve => {
    // What the entry borrows is not looked at later: only what it says about itself.
    validated(validation)(forward({ ...parts, pool, validation }))(query, resolve);
  });
  return { steps, answer, questions, ms: clock.monotonicMs() - startedAtMs };
}
