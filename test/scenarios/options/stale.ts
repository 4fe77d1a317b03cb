// Options about answers that have expired, or are about to.

import { existsSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';

import { askDaemon } from '../../../src/control/client.js';
import { RCODE } from '../../../src/base/outcome.js';
import { ask, tryAsk } from '../../fixtures/client.js';
import { responseTo } from '../../fixtures/messages.js';
import type { Json, Rig, RigServer } from '../../fixtures/rig.js';
import { messageToText } from '../../../src/wire/message.js';
import type { Row, Scene } from './row.js';

/** A server that knows each name once, for a TTL, and then fails or is silent. */
async function forgetful(rig: Rig, ttlSec: number, then: 'fails' | 'is silent' | 'answers'): Promise<RigServer> {
  const known = new Set<string>();
  return rig.server('forgetful.test', {
    answer: query => {
      const name = messageToText(query)?.question?.name ?? '.';
      const isNew = !known.has(name);
      known.add(name);
      if (isNew || then === 'answers') return responseTo(query, { answers: `${name} ${ttlSec} A 192.0.2.5` });
      return then === 'fails' ? responseTo(query, { rcode: RCODE.SERVFAIL }) : undefined;
    },
  });
}

interface Expired {
  readonly then?: 'fails' | 'is silent';
  readonly zone?: string;
  readonly change: Json;
  readonly fact: (rig: Rig, name: string) => Promise<unknown>;
  readonly expected: Scene['expected'];
}

/** Looks at an answer after its end. */
const expired =
  ({ then = 'fails', zone = 'fresh.example', change, fact, expected }: Expired) =>
  async (rig: Rig): Promise<Scene> => {
    const server = await forgetful(rig, 1, then);
    const upstream = { servers: [server.entry] };
    return {
      before: { upstream },
      after: { upstream, cache: change },
      facts: async () => {
        const name = rig.fresh(zone);
        await ask(rig.at, name);
        await sleep(1100);
        return fact(rig, name);
      },
      expected,
    };
  };

const answer = async (rig: Rig, name: string): Promise<string> => rig.answer(name);

/** The rows. */
export const STALE: readonly Row[] = [
  {
    title: 'cache.serve_stale',
    options: ['cache.serve_stale'],
    cache: 'unseen',
    scene: expired({
      change: { serve_stale: 0 },
      fact: answer,
      expected: { before: 'NOERROR 192.0.2.5', after: 'SERVFAIL' },
    }),
  },
  {
    title: 'cache.stale_exclude',
    options: ['cache.stale_exclude'],
    cache: 'unseen',
    scene: expired({
      zone: 'dyn.example',
      change: { stale_exclude: ['dyn.example'] },
      fact: answer,
      expected: { before: 'NOERROR 192.0.2.5', after: 'SERVFAIL' },
    }),
  },
  {
    title: 'cache.stale_answer_ttl',
    options: ['cache.stale_answer_ttl'],
    cache: 'unseen',
    scene: expired({
      change: { stale_answer_ttl: '7s' },
      fact: async (rig, name) => (await ask(rig.at, name)).text.answers.map(each => each.ttl),
      expected: { before: [30], after: [7] },
    }),
  },
  {
    title: 'cache.stale_client_timeout',
    options: ['cache.stale_client_timeout'],
    cache: 'unseen',
    scene: expired({
      then: 'is silent',
      change: { stale_client_timeout: '50ms' },
      // How long it takes is told by who gives up first: this client, or the stage.
      fact: async (rig, name) => (await tryAsk(rig.at, name, { timeoutMs: 900 }))?.text.rcode ?? 'silence',
      expected: { before: 'silence', after: 'NOERROR' },
    }),
  },
  {
    title: 'cache.prefetch',
    options: ['cache.prefetch'],
    cache: 'unseen',
    scene: async rig => {
      const server = await forgetful(rig, 20, 'answers');
      const upstream = { servers: [server.entry] };
      return {
        before: { upstream },
        after: { upstream, cache: { prefetch: false } },
        facts: async () => {
          const name = rig.fresh();
          await ask(rig.at, name);
          await sleep(18_300);
          await ask(rig.at, name);
          await sleep(200);
          return server.asked.filter(each => each === name).length;
        },
        expected: { before: 2, after: 1 },
      };
    },
  },
  {
    title: 'cache.persist',
    options: ['cache.persist'],
    // The file is removed soon after.
    slow: true,
    scene: async rig => ({
      before: {},
      after: { cache: { persist: false } },
      facts: async () => {
        const { ok } = await askDaemon(rig.path('control.sock'), { command: 'cache', args: ['save'] });
        return [ok, existsSync(rig.path('state/cache.snapshot'))];
      },
      expected: { before: [true, true], after: [false, false] },
    }),
  },
  {
    title: 'cache.save_every',
    options: ['cache.save_every'],
    slow: true,
    scene: async rig => ({
      before: {},
      after: { cache: { save_every: '10s' } },
      facts: async () => existsSync(rig.path('state/cache.snapshot')),
      // What was written stays.
      expected: { before: false, after: true, again: true },
    }),
  },
];
