// Options about names that go elsewhere: routes, portal.names, portal.detect.

import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';

import { type Json, type PlainRigServer, type Rig, type RigServer } from '../../fixtures/rig.js';
import { records } from '../../fixtures/records.js';
import { world } from '../../fixtures/world.js';
import type { Row } from './row.js';

/** A resolver of the local network: it says who it is by the address that it gives. */
const resolver = async (rig: Rig, address: string): Promise<PlainRigServer> =>
  rig.plain(world(records(`*.corp.example. 300 A ${address}\n*.lan.example. 300 A ${address}`)));

const route = (at: string, ...zones: string[]): Json => ({ zones, resolvers: [at] });

/** What the metrics and the overview say about routes. */
async function routed(rig: Rig): Promise<unknown> {
  const series = [...(await rig.metrics())];
  return {
    overview: rig
      .overview()
      .servers.filter(({ purpose }) => purpose === 'route')
      .map(({ label }) => label),
    metrics: series.filter(([key, value]) => /^dotstub_upstream_purpose\{.*"route"/.test(key) && value === 1).length,
  };
}

const twice = (answer: string): readonly string[] => [answer, answer];

const rows = (name: string, arrived: boolean, of: RigServer): boolean => of.asked.includes(name) === arrived;

const ROUTES: readonly Row[] = [
  {
    title: 'routes: one comes, and goes',
    options: ['routes'],
    scene: async (rig, main) => {
      const corp = await resolver(rig, '192.0.2.11');
      return {
        before: {},
        after: { routes: [route(corp.at, 'corp.example')] },
        facts: async () => {
          const name = rig.fresh('corp.example');
          const answer = await rig.answer(name);
          await rig.answer(rig.fresh());
          return {
            answer,
            // What was cached before is another's answer.
            same: [await rig.answer('same.corp.example'), await rig.answer('same.corp.example')],
            arrived: [rows(name, true, main), corp.asked.includes(name)],
            routed: await routed(rig),
          };
        },
        expected: {
          before: {
            answer: 'NXDOMAIN',
            same: twice('NXDOMAIN'),
            arrived: [true, false],
            routed: { overview: [], metrics: 0 },
          },
          after: {
            answer: 'NOERROR 192.0.2.11',
            same: twice('NOERROR 192.0.2.11'),
            arrived: [false, true],
            routed: { overview: [corp.at], metrics: 1 },
          },
        },
      };
    },
  },
  {
    title: 'routes: other zones of the same resolver',
    options: ['routes'],
    scene: async rig => {
      const corp = await resolver(rig, '192.0.2.11');
      return {
        before: { routes: [route(corp.at, 'corp.example')] },
        after: { routes: [route(corp.at, 'lan.example')] },
        facts: async () => [
          await rig.answer(rig.fresh('corp.example')),
          await rig.answer(rig.fresh('lan.example')),
          await routed(rig),
        ],
        expected: {
          before: ['NOERROR 192.0.2.11', 'NXDOMAIN', { overview: [corp.at], metrics: 1 }],
          after: ['NXDOMAIN', 'NOERROR 192.0.2.11', { overview: [corp.at], metrics: 1 }],
        },
      };
    },
  },
  {
    title: 'routes: a schedule that does not have the present',
    options: ['routes'],
    scene: async rig => {
      const corp = await resolver(rig, '192.0.2.11');
      // Days are those of local time; the day before and after belong to it, in case that midnight is near.
      const days = ['sun', 'mon', 'tue', 'wed', 'thu', 'fri', 'sat'];
      const dayAfter = (more: number): string => days[(new Date().getDay() + more) % 7] ?? '';
      const scheduled = (...on: readonly string[]): Json => ({
        routes: [{ ...route(corp.at, 'corp.example'), schedule: `${on.join(',')} 00:00-24:00` }],
      });
      return {
        before: scheduled(dayAfter(6), dayAfter(0), dayAfter(1)),
        after: scheduled(dayAfter(3), dayAfter(4)),
        facts: async () => ({
          answer: await rig.answer(rig.fresh('corp.example')),
          // What was cached before is another's answer.
          same: [await rig.answer('same.corp.example'), await rig.answer('same.corp.example')],
          routed: await routed(rig),
        }),
        expected: {
          before: {
            answer: 'NOERROR 192.0.2.11',
            same: twice('NOERROR 192.0.2.11'),
            routed: { overview: [corp.at], metrics: 1 },
          },
          after: { answer: 'NXDOMAIN', same: twice('NXDOMAIN'), routed: { overview: [], metrics: 0 } },
        },
      };
    },
  },
  {
    title: 'routes: other resolvers, with a question on its way',
    options: ['routes'],
    slow: true,
    scene: async rig => {
      const one = await resolver(rig, '192.0.2.11');
      const two = await resolver(rig, '192.0.2.12');
      const silent = await rig.plain(() => undefined);
      let held: Promise<string> | undefined;
      let last = '';
      return {
        before: { routes: [route(one.at, 'corp.example'), route(silent.at, 'lan.example')] },
        after: { routes: [route(two.at, 'corp.example'), route(two.at, 'lan.example')] },
        facts: async () => {
          // Asked of the silent one, and answered by the one that comes after it.
          if (held !== undefined) last = await held;
          else {
            const name = rig.fresh('lan.example');
            held = rig.answer(name);
            while (!silent.asked.includes(name)) await new Promise(resolve => setTimeout(resolve, 5));
          }
          return [await rig.answer(rig.fresh('corp.example')), last];
        },
        expected: {
          before: ['NOERROR 192.0.2.11', ''],
          after: ['NOERROR 192.0.2.12', 'NOERROR 192.0.2.12'],
          again: ['NOERROR 192.0.2.11', 'NOERROR 192.0.2.12'],
        },
      };
    },
  },
];

const PORTAL: Row = {
  title: 'portal.names, while a portal window is open',
  options: ['portal.names'],
  cache: 'unseen',
  scene: async (rig, main) => {
    rig.resolvers = ['127.99.0.1'];
    let opened = false;
    const sent = async (): Promise<number> =>
      (await rig.metrics()).get('dotstub_cleartext_queries_total{reason="portal"}') ?? 0;
    return {
      before: { portal: { names: ['fresh.example'] } },
      after: { portal: { names: ['long.example'] } },
      facts: async () => {
        if (!opened) await rig.command('portal', ['start', '10m']);
        opened = true;
        const facts = [];
        for (const zone of ['fresh.example', 'long.example']) {
          const name = rig.fresh(zone);
          await rig.answer(name);
          const before = await sent();
          // An answer of before, which is ready to be given again, must not stand in the way.
          for (let i = 0; i < 3; i++) await rig.answer(`same.${zone}`);
          facts.push({ arrived: main.asked.includes(name), cleartext: (await sent()) > before });
        }
        return facts;
      },
      expected: { before: [INSIDE, OUTSIDE], after: [OUTSIDE, INSIDE] },
    };
  },
};

/** Where a name goes that is of `portal.names`, */
const INSIDE = { arrived: false, cleartext: true };
/** and one that is not. */
const OUTSIDE = { arrived: true, cleartext: false };

/** A web server that a portal has put itself in front of. */
async function portalServer(rig: Rig): Promise<string> {
  const server = createServer((_request, response) => void response.end('sign in'));
  await new Promise<void>(resolve => void server.listen(0, '127.0.0.1', resolve));
  rig.onEnd(() => server.close());
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
}

const DETECT: Row = {
  title: 'portal.detect, in a network with a portal',
  options: ['portal.detect'],
  slow: true,
  scene: async rig => {
    const url = await portalServer(rig);
    return {
      before: { portal: { detect: 'off' } },
      after: { portal: { detect: url } },
      facts: () => {
        const { portal } = rig.overview();
        return Promise.resolve({ by: portal?.by, url: portal?.url, status: rig.status['portal'] !== undefined });
      },
      expected: {
        before: { by: undefined, url: undefined, status: false },
        after: { by: 'detected', url, status: true },
      },
    };
  },
};

/** The rows. */
export const ROUTING: readonly Row[] = [...ROUTES, PORTAL, DETECT];
