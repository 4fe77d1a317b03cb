// Floods of random names into signed zones, which reach the servers only while the zones are not known yet (RFC 8198). Unbound does
// the same in the same run, with the same names, behind the same recursor. Debian packages: unbound nsd bind9-utils ldnsutils.

import t from 'tap';

import { ask, type At } from '../fixtures/client.js';
import { freePort } from '../fixtures/free-port.js';
import { startDotstub } from '../fixtures/program.js';
import { bench, missing } from '../fixtures/servers.js';
import {
  recursor,
  serveWorld,
  signWorld,
  validatingUnbound,
  WORLD_PROGRAMS,
  type ZoneSpec,
} from '../fixtures/signed-world.js';

/** Labels that do not come again, the same in each run. */
function labels(seed: number): () => string {
  let state = seed;
  return () => {
    state = (state * 48_271) % 0x7fffffff;
    return `${state.toString(36)}${((state * 31) % 0x7fffffff).toString(36)}`;
  };
}

const host = labels(5);
const HOSTS = Array.from({ length: 300 }, () => `${host()} 300 A 192.0.2.1`).join('\n');
const signedZone = (name: string, denial: 'nsec' | 'nsec3', records = HOSTS): ZoneSpec => ({
  name,
  algorithm: 'ECDSAP256SHA256',
  denial,
  records,
});
const ZONES = [signedZone('.', 'nsec', ''), signedZone('hosts.', 'nsec'), signedZone('hosts3.', 'nsec3')];
const WARM_UP = 3000;
const MEASURED = 1000;
const AT_ONCE = 16;
/** Unbound sends a few queries of its own, for example for keys that are about to expire. */
const SLACK = 10;

/** Asks for these names, a few at a time. Returns how many have an RCODE other than NXDOMAIN, or no AD. */
async function flood(at: At, names: readonly string[]): Promise<number> {
  const left = [...names];
  let wrong = 0;
  await Promise.all(
    Array.from({ length: AT_ONCE }, async () => {
      for (let name = left.pop(); name !== undefined; name = left.pop()) {
        const { text } = await ask(at, name, { dnssec: true });
        if (text.rcode !== 'NXDOMAIN' || !text.flags.includes('ad')) wrong++;
      }
    }),
  );
  return wrong;
}

for (const [kind, zone] of [
  ['NSEC', 'hosts.'],
  ['NSEC3', 'hosts3.'],
] as const) {
  await t.test(
    `${kind}: of random names no more reach the servers than with Unbound`,
    { skip: missing(...WORLD_PROGRAMS), timeout: 300_000 },
    async t => {
      const on = bench(t);
      const anchors = await signWorld(on.path, ZONES, () => '');
      const authority = await serveWorld(on, on.path, ZONES);
      // One each, so that its queries can be counted.
      const behindOurs = await recursor(on, authority);
      const behindTheirs = await recursor(on, authority);
      const theirs = await validatingUnbound(on, behindTheirs, anchors, '  aggressive-nsec: yes');
      const port = await freePort();
      const program = await startDotstub(`
listen: ["127.0.0.1:${port}"]
metrics: { listen: off }
upstream: { ca_file: ${on.caFile}, servers: [{ name: dns.test, addresses: ["127.0.0.1:${behindOurs.port}"] }] }
dnssec: { trust_anchors: [${anchors.map(each => JSON.stringify(each)).join(', ')}] }
`);
      on.onEnd(async () => void (await program.stop()));
      const ours: At = { address: '127.0.0.1', port };
      const label = labels(11);
      const names = (count: number): string[] => Array.from({ length: count }, () => `${label()}.${zone}`);
      const play = async (
        all: readonly string[],
      ): Promise<{ readonly ours: number; readonly theirs: number; readonly wrong: number }> => {
        const before = [await behindOurs.queries(), await behindTheirs.queries()];
        const [wrong] = await Promise.all([flood(ours, all), flood(theirs, all)]);
        const after = [await behindOurs.queries(), await behindTheirs.queries()];
        return { ours: (after[0] ?? 0) - (before[0] ?? 0), theirs: (after[1] ?? 0) - (before[1] ?? 0), wrong };
      };
      const first = await play(names(WARM_UP));
      const second = await play(names(MEASURED));
      const said = ({ ours: mine, theirs: its }: typeof first): string => `${mine} here, ${its} by Unbound`;
      t.comment(`${kind}: queries to upstream: ${WARM_UP} names: ${said(first)}; then ${MEASURED}: ${said(second)}`);
      t.equal(first.wrong + second.wrong, 0, 'all names are denied, and proven');
      t.ok(second.ours <= MEASURED / 20, `${second.ours} of ${MEASURED}`);
      t.ok(second.ours <= second.theirs + SLACK, said(second));
      t.ok(first.ours <= first.theirs + first.theirs / 10 + SLACK, said(first));
    },
  );
}
