// Options about lists and groups of clients.

import type { Json, Rig } from '../../fixtures/rig.js';
import type { Row } from './row.js';

const ads = (rig: Rig): Json => ({
  lists: [{ name: 'ads', sources: [rig.file('ads.txt', 'www.example\n')], action: 'null' }],
});

/** The answer, twice, and what the overview says. */
async function seen(rig: Rig): Promise<unknown> {
  return {
    answers: [await rig.answer('www.example'), await rig.answer('www.example')],
    lists: rig.overview().lists?.lists.map(({ name, rules }) => `${name} ${rules}`),
  };
}

const twice = (answer: string): readonly string[] => [answer, answer];

/** The rows. */
export const LISTS: readonly Row[] = [
  ...[0, 1].map((threads): Row => ({
    title: `lists, ${threads} front threads`,
    options: ['lists'],
    scene: async rig => ({
      before: { front: { threads } },
      after: { front: { threads }, ...ads(rig) },
      facts: async () => seen(rig),
      expected: {
        before: { answers: twice('NOERROR 192.0.2.80'), lists: [] },
        after: { answers: twice('NOERROR 0.0.0.0'), lists: ['ads 1'] },
      },
    }),
  })),
  ...[0, 1].map((threads): Row => ({
    title: `clients, ${threads} front threads`,
    options: ['clients'],
    scene: async rig => ({
      before: { front: { threads }, ...ads(rig) },
      after: { front: { threads }, ...ads(rig), clients: [{ name: 'free', networks: ['127.0.0.1'] }] },
      facts: async () => seen(rig),
      expected: {
        before: { answers: twice('NOERROR 0.0.0.0'), lists: ['ads 1'] },
        after: { answers: twice('NOERROR 192.0.2.80'), lists: ['ads 1'] },
      },
    }),
  })),
];
