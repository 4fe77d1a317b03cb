import fc from 'fast-check';
import t from 'tap';

import { failure } from '../../../src/base/outcome.js';
import { coalesced } from '../../../src/pipeline/stages/coalesced.js';
import type { Outcome } from '../../../src/pipeline/answer.js';
import { Query } from '../../../src/pipeline/query.js';
import type { Settle } from '../../../src/pipeline/stage.js';
import { recorder } from '../../fixtures/recorder.js';

/** Only the key matters here. */
const query = (key: string): Query =>
  Query.from(
    {
      key,
      id: 0,
      flags: 0,
      question: Buffer.alloc(0),
      opt: undefined,
      type: 1,
      recurse: true,
      dnssecOk: false,
      checkingDisabled: false,
    },
    { address: '127.0.0.1', port: 1, family: 4, transport: 'udp' },
  );

await t.test('whatever comes and goes, each gets the answer of the exchange it joined, once', t => {
  let joined = 0;
  // More keys than lists, so that some share one.
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.boolean(), fc.nat(5000), fc.nat()), { maxLength: 600, size: 'max' }), steps => {
      const { observer, count } = recorder();
      const open = new Map<string, { settle: Settle; clients: number[] }>();
      const got = new Map<number, Outcome[]>();
      let clients = 0;
      const ask = coalesced({ observer, answers: { epoch: 0 } })(({ key }, settle) => {
        if (open.has(key)) throw new Error('two exchanges for one key');
        open.set(key, { settle, clients: [] });
      });
      const answer = (key: string): void => {
        const exchange = open.get(key);
        if (exchange === undefined) return;
        open.delete(key);
        const said = failure('timeout', key);
        exchange.settle(said);
        for (const client of exchange.clients)
          if (got.get(client)?.length !== 1 || got.get(client)?.[0] !== said)
            throw new Error(`client ${client} of ${key}`);
      };
      for (const [asks, name, pick] of steps) {
        if (asks) {
          const key = `key-${name % 3 === 0 ? name % 30 : name}`;
          const client = clients++;
          got.set(client, []);
          ask(query(key), said => got.get(client)?.push(said));
          open.get(key)?.clients.push(client);
        } else answer([...open.keys()][pick % Math.max(1, open.size)] ?? '');
      }
      [...open.keys()].forEach(answer);
      joined += count('coalesced');
      return [...got.values()].every(answers => answers.length === 1);
    }),
    { numRuns: 50 },
  );
  t.ok(joined > 100, `${joined} joined`);
  t.end();
});

await t.test('an answer that comes at once leaves nothing behind', t => {
  let exchanges = 0;
  const ask = coalesced({ ...recorder(), answers: { epoch: 0 } })((_query, settle) => {
    exchanges++;
    settle(failure('timeout'));
  });
  const answers: Outcome[] = [];
  for (let i = 0; i < 3; i++) ask(query('k'), answer => answers.push(answer));
  t.equal(exchanges, 3);
  t.equal(answers.length, 3);
  t.end();
});

await t.test(
  'who comes after something was forgotten gets an answer of its own, and those before get theirs',
  async t => {
    const answers = { epoch: 0 };
    const open: Settle[] = [];
    const ask = coalesced({ ...recorder(), answers })((_query, settle) => open.push(settle));
    const got: string[] = [];
    const client = (name: string): void =>
      ask(query('k'), said => got.push(`${name} ${said.at === 'failure' ? (said.detail ?? '') : ''}`));
    client('a');
    client('b');
    answers.epoch++;
    client('c');
    client('d');
    t.equal(open.length, 2);
    open[0]?.(failure('timeout', 'old'));
    client('e');
    t.equal(open.length, 2, 'the later question is still open');
    open[1]?.(failure('timeout', 'new'));
    t.same(got, ['a old', 'b old', 'c new', 'd new', 'e new']);
  },
);
