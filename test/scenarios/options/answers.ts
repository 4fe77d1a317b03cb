// Options about answers and who gets them: cache, access.

import { OPTION } from '../../../src/wire/edns.js';
import { FLAG } from '../../../src/wire/header.js';
import { ask, type AskOptions } from '../../fixtures/client.js';
import { binaryHeader, lineHeader } from '../../fixtures/proxy-header.js';
import type { Rig } from '../../fixtures/rig.js';
import type { Row, Scene } from './row.js';

const ttl =
  (zone: string, before: number, after: number, option: string, value: string) =>
  async (rig: Rig): Promise<Scene> => ({
    before: {},
    after: { cache: { [option]: value } },
    facts: async () => {
      const { answers, authority } = (await ask(rig.at, rig.fresh(zone))).text;
      return [...answers, ...authority].map(each => each.ttl);
    },
    expected: { before: [before], after: [after] },
  });

/** The RCODEs of so many queries at once, each over a connection of its own, which proves its client's address. */
async function rcodesAtOnce(rig: Rig, queries: number): Promise<readonly (string | undefined)[]> {
  const answers = await Promise.all(
    Array.from({ length: queries }, async () => rig.answer('canary.example', { tcp: true })),
  );
  return [...new Set(answers.map(each => each.split(' ')[0]))].toSorted();
}

/** The rows. */
export const ANSWERS: readonly Row[] = [
  {
    title: 'cache.min_ttl',
    options: ['cache.min_ttl'],
    scene: ttl('short.example', 5, 60, 'min_ttl', '60s'),
  },
  {
    title: 'cache.max_ttl',
    options: ['cache.max_ttl'],
    scene: ttl('long.example', 86_400, 100, 'max_ttl', '100s'),
  },
  {
    title: 'cache.negative_max_ttl',
    options: ['cache.negative_max_ttl'],
    scene: ttl('missing.example', 900, 30, 'negative_max_ttl', '30s'),
  },
  ...[0, 1].map((threads): Row => ({
    title: `access.allow, ${threads} front threads`,
    options: ['access.allow'],
    cache: 'unseen',
    scene: async rig => ({
      before: { front: { threads } },
      after: { front: { threads }, access: { allow: ['192.0.2.0/24'] } },
      facts: async () => {
        const name = rig.fresh();
        const seen = [
          await rig.answer(name),
          await rig.answer(name),
          await rig.answer(name, { tcp: true }),
          await rig.answer('www.example'),
        ];
        return seen.map(each => each.split(' ')[0]);
      },
      expected: {
        before: ['NOERROR', 'NOERROR', 'NOERROR', 'NOERROR'],
        // A connection is closed before it could cost anything.
        after: ['REFUSED', 'REFUSED', 'silence', 'REFUSED'],
      },
    }),
  })),
  {
    title: 'access.snoop',
    options: ['access.snoop'],
    scene: async rig => ({
      before: {},
      after: { access: { snoop: ['127.0.0.0/8'] } },
      facts: async () => [
        await rig.answer('canary.example', { flags: 0 }),
        await rig.answer(rig.fresh(), { flags: 0 }),
        await rig.answer('canary.example', { flags: FLAG.RD }),
      ],
      expected: {
        before: ['REFUSED', 'REFUSED', 'NOERROR 192.0.2.1'],
        after: ['NOERROR 192.0.2.1', 'REFUSED', 'NOERROR 192.0.2.1'],
      },
    }),
  },
  {
    title: 'access.per_client',
    options: ['access.per_client'],
    scene: async (rig, { dot }) => {
      const { handler } = dot;
      // All of them wait at the same time.
      dot.handler = (query, session) => void setTimeout(() => handler(query, session), 200);
      return Promise.resolve({
        before: {},
        after: { access: { per_client: 2 } },
        facts: async () => {
          const answers = await Promise.all(Array.from({ length: 5 }, async () => rig.answer(rig.fresh())));
          return answers.map(each => each.split(' ')[0]).toSorted();
        },
        expected: {
          before: Array<string>(5).fill('NOERROR'),
          after: ['NOERROR', 'NOERROR', 'SERVFAIL', 'SERVFAIL', 'SERVFAIL'],
        },
      });
    },
  },
  {
    title: 'access.rate_limit',
    options: ['access.rate_limit', 'access.burst'],
    scene: async rig =>
      Promise.resolve({
        before: {},
        after: { access: { rate_limit: 1, burst: 2 } },
        facts: async () => rcodesAtOnce(rig, 10),
        expected: { before: ['NOERROR'], after: ['NOERROR', 'REFUSED'] },
      }),
  },
  {
    title: 'access.unlimited',
    options: ['access.unlimited'],
    scene: async rig =>
      Promise.resolve({
        before: { access: { rate_limit: 1, burst: 2 } },
        after: { access: { rate_limit: 1, burst: 2, unlimited: ['127.0.0.0/8'] } },
        // What one look has used up is given again until the next, in part.
        facts: async () => (await rcodesAtOnce(rig, 10)).includes('REFUSED'),
        expected: { before: true, after: false },
      }),
  },
  {
    title: 'access.require_cookie',
    options: ['access.require_cookie'],
    cache: 'unseen',
    scene: async rig =>
      Promise.resolve({
        before: {},
        after: { access: { require_cookie: ['127.0.0.0/8'] } },
        facts: async () => {
          const { text } = await ask(rig.at, 'canary.example', { retryTruncated: false });
          return [text.flags.includes('tc'), await rig.answer('canary.example', { tcp: true })];
        },
        expected: { before: [false, 'NOERROR 192.0.2.1'], after: [true, 'NOERROR 192.0.2.1'] },
      }),
  },
  {
    title: 'access.proxy_protocol: who is believed, and about whom access.allow is',
    options: ['access.proxy_protocol'],
    cache: 'unseen',
    scene: async rig =>
      Promise.resolve({
        before: {},
        after: { access: { proxy_protocol: ['127.0.0.1'] } },
        facts: async () => {
          const over = async (header?: Buffer) =>
            rig.answer('canary.example', { tcp: true, timeoutMs: 1000, ...(header && { header }) });
          return [
            await over(),
            await over(lineHeader({ from: '192.168.1.9' })),
            await over(binaryHeader({ from: 'fd00::9' })),
            await over(binaryHeader({ from: '203.0.113.9' })),
          ];
        },
        expected: {
          before: ['NOERROR 192.0.2.1', 'silence', 'silence', 'silence'],
          after: ['silence', 'NOERROR 192.0.2.1', 'NOERROR 192.0.2.1', 'silence'],
        },
      }),
  },
  {
    title: 'access.nsid',
    options: ['access.nsid'],
    scene: async rig =>
      Promise.resolve({
        before: { access: { nsid: 'one' } },
        after: { access: { nsid: 'two' } },
        facts: async () => {
          const options = [{ code: OPTION.NSID, data: Buffer.alloc(0) }];
          const told = async (more: AskOptions): Promise<string | undefined> =>
            (await ask(rig.at, 'canary.example', more)).text.option(OPTION.NSID)?.toString();
          return [await told({ options }), await told({ options, tcp: true }), await told({})];
        },
        expected: { before: ['one', 'one', undefined], after: ['two', 'two', undefined] },
      }),
  },
];
