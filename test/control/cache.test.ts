// The commands that show what is in the cache.

import t from 'tap';

import { type CachedAnswer, cacheCommands } from '../../src/control/cache.js';
import { type ExplainedBy, explainCommand } from '../../src/control/explain.js';
import { queryMessage } from '../fixtures/client.js';
import { responseTo } from '../fixtures/messages.js';

const octets = responseTo(queryMessage('www.example'), { answers: 'www.example. 300 A 192.0.2.1' });
const stored = {
  ...{ octets, rcode: 0, answers: 1, authority: 0, additional: 0, ttlOffsets: [] },
  ...{ ageSec: 10, leftSec: 290, verdict: 'secure', upstream: 'dns.test' },
};
const NO_CACHE = { entries: 0, bytes: 0, limitBytes: 0, sizeBytes: 0, failures: 0, zones: 0 };
const MUST = /it is from before the restart, and must be validated again/;

await t.test('"cache get" says whether an answer must be validated again', async t => {
  const told = (isDoubtful: boolean): unknown => {
    const { cache } = cacheCommands({
      stats: () => ({ cache: NO_CACHE, sharedCache: undefined }),
      get: () => [{ ...stored, isDoubtful, checkingDisabled: false, routesFor: 'everybody' }],
      forget: () => 0,
      forgetNegative: () => 0,
      forgetFailures: () => 0,
      save: async () => Promise.resolve({ ok: false, problem: 'no' }),
    });
    return cache.run(['get', 'www.example']);
  };
  t.match(await told(true), { ok: true, text: MUST, data: { must_be_validated: true } });
  const other = await told(false);
  t.match(other, { ok: true, data: { must_be_validated: false } });
  t.notMatch(other, { text: MUST });
});

await t.test('"cache get" shows the answers of all routes, and says for whom each is', async t => {
  const one = { ...stored, isDoubtful: false, checkingDisabled: false };
  const told = async (...all: readonly CachedAnswer[]) => {
    const { cache } = cacheCommands({
      stats: () => ({ cache: NO_CACHE, sharedCache: undefined }),
      get: () => all,
      forget: () => 0,
      forgetNegative: () => 0,
      forgetFailures: () => 0,
      save: async () => Promise.resolve({ ok: false, problem: 'no' }),
    });
    return cache.run(['get', 'www.example']);
  };
  const kids: CachedAnswer = { ...one, upstream: 'kids.test', routesFor: { group: 'kids' } };
  const guests: CachedAnswer = { ...one, routesFor: 'none', checkingDisabled: true };
  const all = await told({ ...one, routesFor: 'everybody' }, kids, guests);
  t.match(all, {
    ok: true,
    text: /from dns\.test, 10 s old[^]*from kids\.test, for the group kids, by its routes, 10 s/,
  });
  t.match(all, { text: /, for groups without routes, for queries with CD, 10 s/ });
  t.match(all, {
    data: {
      routes: undefined,
      others: [
        { routes: 'group', group: 'kids' },
        { routes: 'none', checking_disabled: true },
      ],
    },
  });
  t.match(await told(kids), { ok: true, data: { group: 'kids', others: undefined } });
  t.match(await told(), { ok: false, problem: /is not in the cache/ });
});

await t.test('"explain" says so, too', async t => {
  const told = (isDoubtful: boolean): unknown =>
    explainCommand((_type, question) => {
      const by: ExplainedBy = { at: isDoubtful ? 'restored' : 'cache', leftSec: 290, upstream: 'dns.test' };
      const steps = [{ question, by }];
      return { allowed: true, group: undefined, times: undefined, lists: [], exception: undefined, steps, changes: [] };
    }).run(['www.example']);
  t.match(await told(true), { text: MUST, data: { by: { at: 'restored' } } });
  t.notMatch(await told(false), { text: MUST });
});
