// Options that change answers on their way to clients: rebinding, dns64, firewall_sets.

import { readFileSync, writeFileSync } from 'node:fs';

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

/** AAAA of names that have A only, over both caches; and the name of an address below the prefix. */
async function madeAddresses(rig: Rig): Promise<unknown> {
  const aaaa = { type: 'AAAA' };
  return [
    await rig.answer(rig.fresh(), aaaa),
    await rig.answer('www.example', aaaa),
    await rig.answer('www.example', { ...aaaa, tcp: true }),
    (await rig.answer(WWW_BELOW_PREFIX, { type: 'PTR' })).split(' ').slice(0, 2).join(' '),
  ];
}

/** The name of 64:ff9b::192.0.2.80. */
const WWW_BELOW_PREFIX = `0.5.2.0.0.0.0.c.${'0.'.repeat(16)}b.9.f.f.4.6.0.0.ip6.arpa`;
const NOT_MADE = ['NOERROR', 'NOERROR', 'NOERROR', 'NXDOMAIN'];
const MADE = [
  'NOERROR 64:ff9b::c000:263',
  'NOERROR 64:ff9b::c000:250',
  'NOERROR 64:ff9b::c000:250',
  'NXDOMAIN 80.2.0.192.in-addr.arpa.',
];

const DNS64: readonly Row[] = [
  ...[0, 1].map((threads): Row => ({
    title: `dns64.prefix, ${threads} front threads`,
    options: ['dns64.prefix'],
    scene: async rig => ({
      before: { front: { threads } },
      after: { front: { threads }, dns64: { prefix: '64:ff9b::/96' } },
      facts: async () => madeAddresses(rig),
      expected: { before: NOT_MADE, after: MADE },
    }),
  })),
  {
    title: 'dns64.discover',
    options: ['dns64.discover'],
    slow: true,
    scene: async rig => ({
      before: {},
      after: { dns64: { discover: true } },
      facts: async () => madeAddresses(rig),
      expected: { before: NOT_MADE, after: MADE },
    }),
  },
  {
    title: 'dns64.exclude',
    options: ['dns64.exclude'],
    scene: async rig => {
      const asked = async (name: string): Promise<string> => rig.answer(name, { type: 'AAAA' });
      return {
        before: { dns64: { prefix: '64:ff9b::/96' } },
        after: { dns64: { prefix: '64:ff9b::/96', exclude: ['2001:db8::/32'] } },
        facts: async () => [await asked('dual.example'), await asked('mapped.example')],
        expected: {
          before: ['NOERROR 2001:db8::50', 'NOERROR 64:ff9b::c000:251'],
          after: ['NOERROR 64:ff9b::c000:250', 'NOERROR ::ffff:c000:251'],
        },
      };
    },
  },
];

/** A program in the place of nft that writes its commands to a file. */
function recordedNft(rig: Rig): { readonly commands: () => string } {
  const log = rig.path('nft.log');
  writeFileSync(log, '');
  writeFileSync(rig.path('nft'), `#!/bin/sh\ncat >>${log}\n`, { mode: 0o755 });
  const before = process.env['PATH'] ?? '';
  process.env['PATH'] = `${rig.path('.')}:${before}`;
  rig.onEnd(() => void (process.env['PATH'] = before));
  return { commands: () => readFileSync(log, 'utf8') };
}

const FIREWALL: readonly Row[] = [
  {
    title: 'firewall_sets',
    options: ['firewall_sets'],
    // It changes what the whole process has as PATH.
    alone: true,
    scene: async rig => {
      const nft = recordedNft(rig);
      const set = (zone: string): unknown => ({ zones: [zone], table: 'fw4', set4: 'video4' });
      return {
        before: { firewall_sets: [set('elsewhere.example')] },
        after: { firewall_sets: [set('fresh.example'), set('canary.example')] },
        facts: async () => {
          const length = nft.commands().length;
          const answers = [await rig.answer(rig.fresh()), await rig.answer('canary.example')];
          const told = nft.commands().slice(length);
          return [...answers, [...told.matchAll(/^add element (.*) timeout/gm)].map(([, each]) => each)];
        },
        expected: {
          before: ['NOERROR 192.0.2.99', 'NOERROR 192.0.2.1', []],
          after: [
            'NOERROR 192.0.2.99',
            'NOERROR 192.0.2.1',
            ['192.0.2.99', '192.0.2.99', '192.0.2.1', '192.0.2.1'].map(each => `inet fw4 video4 { ${each}`),
          ],
        },
      };
    },
  },
];

/** The rows. */
export const TRANSLATING: readonly Row[] = [...REBINDING, ...DNS64, ...FIREWALL];
