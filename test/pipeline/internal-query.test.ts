// Questions of this program itself, over a pool with a fake network: which servers are asked, and how often.

import t from 'tap';

import { ROOT_NAME } from '../../src/dnssec/name.js';
import type { LookupResult } from '../../src/dnssec/steps.js';
import { askForSets } from '../../src/pipeline/internal-query.js';
import type { ServerSpec } from '../../src/upstream/server.js';
import { TYPE } from '../../src/wire/rrtype.js';
import { at, setUp } from '../fixtures/pool.js';

const SERVFAIL = { rcode: 2 };

/** Asks for the DNSKEY RRset of the root; the addresses in `fails` give SERVFAIL that often. */
async function lookUp(servers: readonly ServerSpec[], fails: Readonly<Record<string, number>>, ...dead: string[]) {
  const { clock, network, tested } = setUp(servers);
  const counts = new Map<string, number>();
  network.serve = (name, { address }) => {
    if (dead.includes(address)) return 'refuse';
    if (name === '') return {};
    const count = (counts.get(address) ?? 0) + 1;
    counts.set(address, count);
    return count <= (fails[address] ?? 0) ? SERVFAIL : {};
  };
  let found: LookupResult | undefined;
  askForSets(tested, { name: ROOT_NAME, type: TYPE.DNSKEY }, { avoid: [], routesEpoch: 0 }, result => (found = result));
  await clock.advance(2000);
  return { at: found?.at, asked: [...counts.values()].reduce((sum, each) => sum + each, 0) };
}

const ONE = '192.0.2.1';
const TWO = '192.0.2.2';

await t.test('one SERVFAIL of the only server is no result: it is asked once more', async t => {
  t.strictSame(await lookUp([at('one', ONE)], { [ONE]: 1 }), { at: 'answer', asked: 2 });
  t.strictSame(await lookUp([at('one', ONE)], { [ONE]: 9 }), { at: 'failure', asked: 2 });
});

await t.test('another server that does not answer is no second opinion', async t => {
  for (const servers of [
    [at('one', ONE), at('two', TWO)],
    [at('two', TWO), at('one', ONE)],
  ])
    t.strictSame(await lookUp(servers, { [ONE]: 1 }, TWO), { at: 'answer', asked: 2 });
});

await t.test('nor is another address of the same server', async t => {
  t.strictSame(await lookUp([at('one', ONE, TWO)], { [ONE]: 1, [TWO]: 1 }), { at: 'answer', asked: 3 });
});

await t.test('of several servers that answer, two are asked', async t => {
  const servers = [at('one', ONE), at('two', TWO), at('three', '192.0.2.3')];
  t.strictSame(await lookUp(servers, { [ONE]: 1 }), { at: 'answer', asked: 2 });
  t.strictSame(await lookUp(servers, { [ONE]: 9, [TWO]: 9 }), { at: 'failure', asked: 2 });
});
