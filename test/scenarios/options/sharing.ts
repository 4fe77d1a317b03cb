// Options about the store that replicas share.

import { chmodSync } from 'node:fs';

import { tryAsk } from '../../fixtures/client.js';
import { eventually, type Json, type Rig } from '../../fixtures/rig.js';
import { type StoreServer, storeServer } from '../../fixtures/store-server.js';
import type { Row } from './row.js';

const store = async (rig: Rig): Promise<StoreServer> => {
  const made = await storeServer();
  rig.onEnd(async () => made.close());
  return made;
};

/** A file that only its owner may read. */
function secret(rig: Rig, name: string, text: string): string {
  const path = rig.file(name, text);
  chmodSync(path, 0o600);
  return path;
}

const keyFile = (rig: Rig, name = 'shared.key', octet = 1): string =>
  secret(rig, name, Buffer.alloc(32, octet).toString('base64'));

const over = (shared: Json): Json => ({ cache: { shared } });
const urlOf = ({ port }: StoreServer): string => `redis://127.0.0.1:${port}/0`;

/** Waits until the store that is configured now is in use. */
async function opened(rig: Rig): Promise<boolean> {
  const state = async (): Promise<unknown> => rig.overview().sharedCache?.at;
  return (await state()) !== undefined && (await eventually(state, 'open')) === 'open';
}

/** The rows. */
export const SHARING: readonly Row[] = [
  {
    title: 'cache.shared.url',
    options: ['cache.shared.url'],
    scene: async rig => {
      const [one, other] = [await store(rig), await store(rig)];
      const key_file = keyFile(rig);
      return {
        before: over({ key_file, url: urlOf(one) }),
        after: over({ key_file, url: urlOf(other) }),
        facts: async () => {
          await opened(rig);
          const before = [one.commands.length, other.commands.length];
          await rig.answer(rig.fresh());
          const asked = (): boolean[] => [one, other].map(({ commands }, i) => commands.length > (before[i] ?? 0));
          const gauge = (await rig.metrics()).get('dotstub_shared_cache_up');
          return { asked: asked(), gauge };
        },
        expected: { before: { asked: [true, false], gauge: 1 }, after: { asked: [false, true], gauge: 1 } },
      };
    },
  },
  {
    title: 'cache.shared.url: none, and one',
    options: ['cache.shared.url'],
    scene: async rig => {
      const one = await store(rig);
      const key_file = keyFile(rig);
      return {
        before: over({ key_file }),
        after: over({ key_file, url: urlOf(one) }),
        facts: async () => {
          await opened(rig);
          const before = one.commands.length;
          await rig.answer(rig.fresh());
          const gauge = (await rig.metrics()).get('dotstub_shared_cache_up');
          return { asked: one.commands.length > before, gauge };
        },
        expected: { before: { asked: false, gauge: 0 }, after: { asked: true, gauge: 1 } },
      };
    },
  },
  {
    title: 'cache.shared.key_file',
    options: ['cache.shared.key_file'],
    scene: async rig => {
      const one = await store(rig);
      const url = urlOf(one);
      /** The keys that one name has had in the store. */
      const seen: string[] = [];
      return {
        before: over({ url, key_file: keyFile(rig) }),
        after: over({ url, key_file: keyFile(rig, 'other.key', 2) }),
        facts: async () => {
          await opened(rig);
          await rig.command('flush', ['www.example']);
          const before = one.commands.length;
          await rig.answer('www.example');
          seen.push(one.commands[before]?.key ?? '');
          return seen.at(-1) === seen[0];
        },
        expected: { before: true, after: false },
      };
    },
  },
  {
    title: 'cache.shared.password_file',
    options: ['cache.shared.password_file'],
    scene: async rig => {
      const one = await store(rig);
      const common = { url: urlOf(one), key_file: keyFile(rig) };
      return {
        before: over({ ...common, password_file: secret(rig, 'one.password', 'one\n') }),
        after: over({ ...common, password_file: secret(rig, 'other.password', 'other\n') }),
        facts: async () => (await opened(rig)) && one.password,
        expected: { before: 'one', after: 'other' },
      };
    },
  },
  {
    title: 'cache.shared.timeout',
    options: ['cache.shared.timeout'],
    cache: 'unseen',
    scene: async rig => {
      const one = await store(rig);
      one.answersReads = false;
      const common = { url: urlOf(one), key_file: keyFile(rig) };
      return {
        before: over({ ...common, timeout: '1s' }),
        after: over({ ...common, timeout: '10ms' }),
        // Who gives up first tells how long it takes: this client, or the daemon.
        facts: async () =>
          (await opened(rig)) && ((await tryAsk(rig.at, rig.fresh(), { timeoutMs: 700 }))?.text.rcode ?? 'silence'),
        expected: { before: 'silence', after: 'NOERROR' },
      };
    },
  },
];
