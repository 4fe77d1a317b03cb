// The first validated answers after a restart: with the snapshot, what is cached needs no server, and a new name of a known zone
// takes one query. Signed zones, behind a real resolver, which counts. Debian packages: unbound nsd bind9-utils ldnsutils.

import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

import t from 'tap';

import { ask, type At } from '../fixtures/client.js';
import { freePort } from '../fixtures/free-port.js';
import { type RunningProgram, startDotstub } from '../fixtures/program.js';
import { relay } from '../fixtures/relay.js';
import { eventually } from '../fixtures/rig.js';
import { bench, missing } from '../fixtures/servers.js';
import { recursor, serveWorld, signWorld, WORLD_PROGRAMS, type ZoneSpec } from '../fixtures/signed-world.js';

const algorithm = 'ECDSAP256SHA256';
const ZONES: readonly ZoneSpec[] = [
  { name: '.', algorithm: 'RSASHA256' },
  { name: 'org.', algorithm },
  { name: 'nsec.org.', algorithm, records: 'alias 3600 CNAME www.nsec3.org.' },
  { name: 'nsec3.org.', algorithm, denial: 'nsec3' },
  { name: 'plain.org.' },
  { name: 'below.nsec.org.', algorithm },
  // Nobody asks for names of these before the restart.
  { name: 'later.org.', algorithm },
  { name: 'later.nsec.org.', algorithm },
  { name: 'later.nsec3.org.', algorithm, denial: 'nsec3' },
  { name: 'deep.later.org.', algorithm },
  { name: 'unsigned.org.' },
];
const RECORDS = `mail 3600 A 192.0.2.81
www 3600 A 192.0.2.80
www 3600 TXT "text"
a.b.c 3600 A 192.0.2.82
`;

/** The round-trip time to the resolver. */
const AWAY_MS = 200;

/**
 * A question, what its answer must be (the RCODE, with "ad" for a validated one), and how many queries it takes after a
 * restart with the snapshot.
 */
type Case = readonly [name: string, type: string, expected: string, queries: number];
const ASKED: readonly Case[] = [
  // First: what its chain of trust shows about the zones above is not asked for again.
  ['www.plain.org.', 'A', 'NOERROR', 0],
  ['www.nsec.org.', 'A', 'NOERROR ad', 0],
  ['www.nsec3.org.', 'A', 'NOERROR ad', 0],
  ['www.below.nsec.org.', 'A', 'NOERROR ad', 0],
  ['alias.nsec.org.', 'A', 'NOERROR ad', 0],
  ['nobody.nsec.org.', 'A', 'NXDOMAIN ad', 0],
  ['nobody.nsec3.org.', 'A', 'NXDOMAIN ad', 0],
  ['www.nsec.org.', 'AAAA', 'NOERROR ad', 0],
  ['www.nsec3.org.', 'AAAA', 'NOERROR ad', 0],
];
/** The first so many need keys or proofs that are not known. */
const CHAINS = 5;
/** Nobody has asked for these, and what was denied before denies them, too. */
const DENIED: readonly Case[] = [
  ['nobodyelse.nsec.org.', 'A', 'NXDOMAIN ad', 0],
  ['www.nsec3.org.', 'HTTPS', 'NOERROR ad', 0],
  ['www.nsec.org.', 'MX', 'NOERROR ad', 0],
];
/** New names of zones whose keys are known, or that are known to have none. */
const NEW: readonly Case[] = [
  ['mail.nsec.org.', 'A', 'NOERROR ad', 1],
  ['mail.nsec3.org.', 'A', 'NOERROR ad', 1],
  ['mail.below.nsec.org.', 'A', 'NOERROR ad', 1],
  ['www.nsec3.org.', 'TXT', 'NOERROR ad', 1],
  ['mail.plain.org.', 'A', 'NOERROR', 1],
];
/**
 * New names below one that nobody has asked about, where a zone may begin, or does: what the chain of trust will probably
 * need is asked for together with the question.
 */
const BELOW: readonly Case[] = [
  ['mail.org.', 'A', 'NOERROR ad', 3],
  ['a.b.c.nsec.org.', 'A', 'NOERROR ad', 3],
  ['www.later.org.', 'A', 'NOERROR ad', 3],
  ['www.later.nsec.org.', 'A', 'NOERROR ad', 3],
  ['www.later.nsec3.org.', 'A', 'NOERROR ad', 3],
  ['www.deep.later.org.', 'A', 'NOERROR ad', 3],
  ['www.unsigned.org.', 'A', 'NOERROR', 3],
];

await t.test(
  'with the snapshot, the first validated answers after a restart take a query each, and none if they are cached',
  { skip: missing(...WORLD_PROGRAMS), timeout: 120_000 },
  async t => {
    const on = bench(t);
    const anchors = await signWorld(on.path, ZONES, () => RECORDS);
    const behind = await recursor(on, await serveWorld(on, on.path, ZONES));
    const far = await relay(behind.port, AWAY_MS / 2);
    on.onEnd(() => far.close());
    const at: At = { address: '127.0.0.1', port: await freePort() };
    const state = join(on.path, 'state');
    mkdirSync(state);
    const start = async (persist: boolean): Promise<RunningProgram> => {
      const program = await startDotstub(`
listen: ["127.0.0.1:${at.port}"]
metrics: { listen: off }
state_directory: ${state}
cache: { persist: ${persist} }
upstream: { mode: strict, ca_file: ${on.caFile}, servers: [{ name: dns.test, addresses: ["127.0.0.1:${far.port}"] }] }
dnssec: { trust_anchors: [${anchors.map(each => JSON.stringify(each)).join(', ')}] }
`);
      on.onEnd(async () => void (await program.stop()));
      return program;
    };
    /** The queries that reach the resolver for this question. */
    const queriesFor = async ([name, type, expected]: Case): Promise<number> => {
      const before = await behind.queries();
      const { text, ms } = await ask(at, name, { type, dnssec: true });
      t.equal([text.rcode, ...text.flags.filter(flag => flag === 'ad')].join(' '), expected, `${name} ${type}`);
      // Some may be on their way, although the answer did not need them.
      await sleep(1.5 * AWAY_MS);
      const queries = (await behind.queries()) - before;
      t.comment(`${name} ${type}: ${queries} queries, ${(ms / AWAY_MS).toFixed(1)} round trips`);
      return queries;
    };
    const queriesForAll = async (cases: readonly Case[]): Promise<number[]> => {
      const counts: number[] = [];
      for (const each of cases) counts.push(await queriesFor(each));
      return counts;
    };

    const first = await start(true);
    const cold = await queriesForAll(ASKED);
    await first.stop();
    const second = await start(true);
    t.ok(await eventually(() => /the cache has [1-9]/.test(second.log()), true), 'the snapshot was read');
    for (const [what, cases] of [
      ['what is cached, or denied by what is', [...ASKED, ...DENIED]],
      ['new names of known zones', NEW],
      ['and those below a label that was not known', BELOW],
    ] as const)
      t.same(
        await queriesForAll(cases),
        cases.map(([, , , queries]) => queries),
        what,
      );
    await second.stop();

    const third = await start(false);
    const without = await queriesForAll(ASKED);
    await third.stop();
    for (const counts of [cold, without]) {
      t.ok(Math.min(...counts) >= 1, 'without it, everything is asked for');
      t.ok(Math.min(...counts.slice(0, CHAINS)) >= 3, 'and chains of trust take more than a query');
    }
  },
);
