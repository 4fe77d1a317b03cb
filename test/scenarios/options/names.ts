// Options about names that are answered here: special_names, local.

import type { Json, Rig } from '../../fixtures/rig.js';
import type { Row } from './row.js';

/** What the overview, the metrics and the status say about local names. */
async function told(rig: Rig): Promise<unknown> {
  const metrics = await rig.metrics();
  const { local } = rig.overview();
  return {
    overview: local?.names,
    metric: metrics.get('dotstub_local_names'),
    files: local?.files.map(({ format, names, error }) => [format, names, error === undefined]),
    readable: [...metrics].filter(([key]) => key.startsWith('dotstub_local_file_readable')).map(([, value]) => value),
  };
}

const nothing = { overview: 0, metric: 0, files: [], readable: [] };

/** Answers, each asked for until it would be ready. */
async function answers(rig: Rig, ...names: string[]): Promise<readonly string[]> {
  const all: string[] = [];
  for (const name of names) {
    const type = name.endsWith('.arpa') ? 'PTR' : 'A';
    for (let i = 0; i < 2; i++) await rig.answer(name, { type });
    all.push(await rig.answer(name, { type }));
  }
  return all;
}

const NAMES = ['nas.lan', '10.1.168.192.in-addr.arpa', 'www.example'];
const OUTSIDE = ['NXDOMAIN', 'NXDOMAIN', 'NOERROR 192.0.2.80'];

const local = (title: string, option: string, make: (rig: Rig) => Json, expected: unknown): Row => ({
  title,
  options: [option],
  scene: rig =>
    Promise.resolve({
      before: {},
      after: { local: make(rig) },
      facts: async () => ({ answers: await answers(rig, ...NAMES), told: await told(rig) }),
      expected: { before: { answers: OUTSIDE, told: nothing }, after: expected },
    }),
});

const known = (files: readonly unknown[], names = 1) => ({
  answers: ['NOERROR 192.168.1.10', 'NOERROR nas.lan.', 'NOERROR 192.0.2.80'],
  told: { overview: names, metric: names, files, readable: files.map(() => 1) },
});

/** The rows. */
export const NAMED: readonly Row[] = [
  {
    title: 'special_names.forward',
    options: ['special_names.forward'],
    scene: async (rig, main) =>
      Promise.resolve({
        before: {},
        after: { special_names: { forward: ['test'] } },
        facts: async () => {
          const name = rig.fresh('test');
          return { answer: await answers(rig, name), left: main.asked.includes(name) };
        },
        expected: {
          before: { answer: ['NXDOMAIN'], left: false },
          after: { answer: ['NXDOMAIN'], left: true },
        },
      }),
  },
  local(
    'local.hosts',
    'local.hosts',
    rig => ({ hosts: [rig.file('hosts', '192.168.1.10 nas.lan\n')] }),
    known([['hosts', 1, true]]),
  ),
  local(
    'local.leases: names are completed',
    'local.leases',
    rig => ({
      leases: [
        {
          file: rig.file(
            'leases',
            '4000000000 aa:bb:cc:dd:ee:ff 192.168.1.10 nas *\n1000000000 aa:bb 192.168.1.11 old *',
          ),
          domain: 'lan',
        },
      ],
    }),
    known([['dnsmasq', 2, true]], 2),
  ),
  local('local.records', 'local.records', () => ({ records: ['nas.lan. 300 A 192.168.1.10'] }), known([])),
  {
    title: 'local.own_zones',
    options: ['local.own_zones'],
    scene: async (rig, main) =>
      Promise.resolve({
        before: {},
        after: { local: { own_zones: ['fresh.example'] } },
        facts: async () => {
          const name = rig.fresh();
          return { answer: await answers(rig, name, 'same.fresh.example'), left: main.asked.includes(name) };
        },
        expected: {
          before: { answer: ['NOERROR 192.0.2.99', 'NOERROR 192.0.2.99'], left: true },
          after: { answer: ['NXDOMAIN', 'NXDOMAIN'], left: false },
        },
      }),
  },
];
