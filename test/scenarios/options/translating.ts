// Options that change answers on their way to clients: rebinding, dns64, firewall_sets.

import type { Rig } from '../../fixtures/rig.js';
import type { Row } from './row.js';

/** A name of its own, and one that is in every cache. */
async function privateAnswers(rig: Rig): Promise<unknown> {
  const fresh = await rig.answer(rig.fresh('private.example'));
  return [fresh, await rig.answer('same.private.example'), await rig.answer('same.private.example', { tcp: true })];
}

const thrice = (answer: string): readonly string[] => [answer, answer, answer];

const REBINDING: readonly Row[] = [0, 1].flatMap((threads): readonly Row[] => [
  {
    title: `rebinding.protect, ${threads} front threads`,
    options: ['rebinding.protect'],
    scene: async rig => ({
      before: { front: { threads } },
      after: { front: { threads }, rebinding: { protect: true } },
      facts: async () => privateAnswers(rig),
      expected: { before: thrice('NOERROR 192.168.1.1'), after: thrice('NOERROR') },
    }),
  },
  {
    title: `rebinding.allow, ${threads} front threads`,
    options: ['rebinding.allow'],
    scene: async rig => ({
      before: { front: { threads }, rebinding: { protect: true } },
      after: { front: { threads }, rebinding: { protect: true, allow: ['private.example'] } },
      facts: async () => privateAnswers(rig),
      expected: { before: thrice('NOERROR'), after: thrice('NOERROR 192.168.1.1') },
    }),
  },
]);

/** The rows. */
export const TRANSLATING: readonly Row[] = [...REBINDING];
