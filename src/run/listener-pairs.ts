// The certificates of listeners in a plan. Their files change by themselves, and a plan with the new contents is the same
// plan otherwise.

import type { CertificateOverview } from '../base/overview.js';
import type { Plan } from './plan.js';
import type { CertificatePair, PairOptions } from './plan-files.js';

/** Where the pair of one listener stands. */
export interface ListenerPair {
  readonly listener: CertificateOverview['listener'];
  readonly options: PairOptions;
  of(plan: Plan): CertificatePair | undefined;
  /** The plan with another pair in its place. */
  put(plan: Plan, pair: CertificatePair): Plan;
}

/** All of them. */
export const LISTENER_PAIRS: readonly ListenerPair[] = [
  {
    listener: 'tls',
    options: { certificate: 'listen_tls.certificate', key: 'listen_tls.key' },
    of: ({ listeners }) => listeners.certificate,
    put: (plan, certificate) => ({ ...plan, listeners: { ...plan.listeners, certificate } }),
  },
  {
    listener: 'https',
    options: { certificate: 'listen_https.certificate', key: 'listen_https.key' },
    of: ({ listeners }) => listeners.https.certificate,
    put: (plan, certificate) => ({
      ...plan,
      listeners: { ...plan.listeners, https: { ...plan.listeners.https, certificate } },
    }),
  },
];

/** The plan with other contents of the files of a listener. */
export function withPair(plan: Plan, listener: ListenerPair, pair: CertificatePair): Plan {
  const before = listener.of(plan);
  const texts = new Map(plan.texts);
  for (const which of ['certificate', 'key'] as const) {
    const option = listener.options[which];
    const [old, next] = [before?.[which].digest ?? '', pair[which].digest];
    texts.set(option, `${(texts.get(option) ?? '').slice(0, -old.length || undefined)}${next}`);
  }
  return { ...listener.put(plan, pair), texts };
}

/** The files of all pairs. */
export const pairFiles = (plan: Plan): ReadonlySet<string> =>
  new Set(
    LISTENER_PAIRS.flatMap(each => {
      const pair = each.of(plan);
      return pair === undefined ? [] : [pair.certificate.path, pair.key.path];
    }),
  );
