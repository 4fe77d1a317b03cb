// The pure parts of upstream: ids in flight, modes, selection.

import fc from 'fast-check';
import t from 'tap';

import { Inflight, type Match, Sent } from '../../src/upstream/inflight.js';
import { connected, failed, type Health, mayTryAnyway, type Mode, type Path, pathFor, shouldProbe } from '../../src/upstream/mode.js';
import { type Candidate, choose, type Policy } from '../../src/upstream/select.js';
import { upstreamQuery, type Ask } from '../../src/wire/upstream-query.js';
import { fakeRandom } from '../fixtures/clock.js';
import { queryMessage } from '../fixtures/client.js';
import { responseTo } from '../fixtures/messages.js';
import { messageToText } from '../../src/wire/message.js';
import { wireName } from '../fixtures/records.js';

const question = (name: string): Buffer => Buffer.concat([wireName(name), Buffer.from([0, 1, 0, 1])]);
const typed = (name: string, type: number): Buffer => Buffer.concat([wireName(name), Buffer.from([0, type, 0, 1])]);
const sent = (name: string, done = false): Sent<{ done: boolean }> => new Sent({ done }, question(name), 0);
const answered = (match: Match<{ done: boolean }>): unknown => match.at === 'reply' && match.sent;
const reply = (id: number, name: string): Buffer => responseTo(queryMessage(name, { id }), {});

await t.test('RFC 7766 §7: replies are matched by id and question, in any order', t => {
  const table = new Inflight<{ done: boolean }>(fakeRandom());
  const one = sent('one.example');
  const two = sent('two.example');
  const idOne = table.add(one) ?? -1;
  const idTwo = table.add(two) ?? -1;
  t.equal(answered(table.match(reply(idTwo, 'TWO.example'))), two, 'letter case of the reply does not matter');
  t.same(table.match(reply(idTwo, 'two.example')), { at: 'id_mismatch' }, 'a second reply is a stranger');
  t.same(table.match(reply(idOne, 'two.example')), { at: 'question_mismatch' });
  t.same(table.match(queryMessage('one.example', { id: idOne })), { at: 'id_mismatch' }, 'a query is no reply');
  t.same(table.match(Buffer.alloc(3)), { at: 'id_mismatch' });
  const https = new Inflight<{ done: boolean }>(fakeRandom());
  const id = https.add(new Sent({ done: false }, typed('one.example', 65), 0)) ?? -1;
  t.same(https.match(responseTo(queryMessage('one.example', { id, type: 'TYPE97' }), {})), { at: 'question_mismatch' }, 'HTTPS is 65, a capital letter; 97 is the small one');
  t.equal(table.size, 1, 'mismatches change nothing');
  t.equal(answered(table.match(reply(idOne, 'one.example'))), one);
  t.end();
});

await t.test('65,536 queries have 65,536 ids, and the next has none', t => {
  const table = new Inflight<{ done: boolean }>(fakeRandom());
  const ids = new Set(Array.from({ length: 65536 }, () => table.add(sent('x.example'))));
  t.equal(ids.size, 65536);
  t.notOk(ids.has(undefined));
  t.equal(table.add(sent('x.example')), undefined);
  t.equal(table.takeAll().length, 65536);
  t.equal(table.size, 0);
  t.end();
});

await t.test('any order of queries and replies: each reply finds its query, the rest stay in order', t => {
  fc.assert(fc.property(fc.array(fc.nat(), { maxLength: 400, size: 'max' }), fc.integer(), (choices, seed) => {
    const table = new Inflight<{ done: boolean }>(fakeRandom(seed));
    const open: Sent<{ done: boolean }>[] = [];
    for (const choice of choices) {
      const [taken] = choice % 3 === 0 ? open.splice(choice % Math.max(1, open.length), 1) : [];
      if (taken !== undefined) {
        if (answered(table.match(reply(taken.id, 'x.example'))) !== taken) return false;
      } else {
        const made = sent('x.example');
        table.add(made);
        open.push(made);
      }
    }
    const all = table.all();
    return table.size === open.length && all.length === open.length && all.every((each, i) => each === open[i]);
  }), { numRuns: 100 });
  t.end();
});

await t.test('queries that nobody waits for any more leave the table', t => {
  const table = new Inflight<{ done: boolean }>(fakeRandom());
  for (let i = 0; i < 100; i++) table.add(sent('x.example', true));
  table.add(sent('y.example'));
  t.equal(table.size, 1);
  t.end();
});

await t.test('the path, for every mode and health', t => {
  const healths: Record<string, Health> = {
    probing: { at: 'probing' },
    private: connected(),
    failed: { at: 'failed', failures: 1, failedAtMs: 0, retryAtMs: 100 },
  };
  const table: readonly [Mode, string, nowMs: number, Path, probe: boolean][] = [
    ['off', 'probing', 0, 'cleartext', false],
    ['off', 'private', 0, 'cleartext', false],
    ['off', 'failed', 0, 'cleartext', false],
    ['opportunistic', 'probing', 0, 'cleartext', true],
    ['opportunistic', 'private', 0, 'tls', false],
    ['opportunistic', 'failed', 99, 'cleartext', false],
    ['opportunistic', 'failed', 100, 'cleartext', true],
    ['encrypted', 'probing', 0, 'tls', false],
    ['encrypted', 'private', 0, 'tls', false],
    ['encrypted', 'failed', 99, 'refuse', false],
    ['encrypted', 'failed', 100, 'tls', false],
    ['strict', 'probing', 0, 'tls', false],
    ['strict', 'private', 0, 'tls', false],
    ['strict', 'failed', 99, 'refuse', false],
    ['strict', 'failed', 100, 'tls', false],
  ];
  for (const [mode, at, nowMs, path, probe] of table) {
    const health = healths[at] ?? { at: 'probing' };
    t.equal(pathFor(mode, health, nowMs), path, `${mode}, ${at}, ${nowMs} ms`);
    t.equal(shouldProbe(mode, health, nowMs), probe, `${mode}, ${at}, ${nowMs} ms: probe`);
  }
  t.end();
});

await t.test('back-off doubles to its limit, spread by a fifth either way', t => {
  let health: Health = { at: 'probing' };
  const steps: number[] = [];
  for (let i = 0; i < 10; i++) {
    health = failed('strict', health, 0, 0.5);
    if (health.at === 'failed') steps.push(health.retryAtMs);
  }
  t.same(steps, [1000, 2000, 4000, 8000, 16000, 32000, 60000, 60000, 60000, 60000]);
  t.match(failed('strict', connected(), 0, 0), { retryAtMs: 800, failures: 1 }, 'a success in between starts over');
  t.match(failed('strict', connected(), 0, 0.75), { retryAtMs: 1100 });
  t.match(failed('opportunistic', connected(), 0, 0.5), { retryAtMs: 60_000 });
  t.notOk(mayTryAnyway(health, 999));
  t.ok(mayTryAnyway(health, 1000), 'with everything down, each may be tried once a second');
  t.end();
});

await t.test('selection', t => {
  const servers = [{ id: 'a', srttMs: 30, open: true }, { id: 'b', srttMs: 10, open: true }, { id: 'c', srttMs: undefined, open: false }];
  const chosen = (policy: Policy, turn = 0, random = fakeRandom()): string | undefined => choose(policy, servers, turn, random)?.id;
  t.equal(chosen('ordered'), 'a');
  t.same([0, 1, 2, 3].map(turn => chosen('round_robin', turn)), ['a', 'b', 'c', 'a']);
  t.equal(chosen('fastest', 0, { uint16: () => 0, below: () => 1 }), 'b', 'measured ones first');
  t.equal(chosen('fastest', 0, { uint16: () => 0, below: n => (n === 20 ? 0 : 2) }), 'c', 'now and then by chance');
  t.equal(new Set(Array.from({ length: 100 }, (_, i) => chosen('random', 0, fakeRandom(i + 1)))).size, 3);
  fc.assert(fc.property(fc.constantFrom<Policy>('ordered', 'round_robin', 'random', 'fastest', 'sharded'), fc.nat(), (policy, turn) =>
    ['a', 'b', 'c'].includes(chosen(policy, turn) ?? '')));
  t.equal(choose<Candidate>('fastest', [], 0, fakeRandom()), undefined);
  t.end();
});

await t.test('RFC 8467: over TLS queries are padded to 128; elsewhere not; nothing of the client\'s goes along', t => {
  const ask: Ask = { question: question('www.example'), dnssecOk: true, checkingDisabled: true };
  const padded = upstreamQuery(1, ask, { pad: true, keepalive: false });
  t.equal(padded.length, 128);
  t.match(messageToText(padded), { flags: ['rd', 'cd'], question: { name: 'www.example.' } });
  const plain = upstreamQuery(1, ask, { pad: false, keepalive: false });
  t.equal(plain.length, 12 + ask.question.length + 11, 'an empty OPT');
  t.equal(plain.readUInt16BE(plain.length - 4), 0x8000, 'DO');
  t.end();
});
