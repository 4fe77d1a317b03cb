// The pure parts of upstream: ids in flight, modes, selection.

import fc from 'fast-check';
import t from 'tap';

import { type Mode } from '../../src/base/overview.js';
import { monoAfter, monoMs, wallMs } from '../../src/base/time.js';
import { DowngradeGuard } from '../../src/upstream/downgrade.js';
import { EdnsForms, TLS_FORMS } from '../../src/upstream/edns-forms.js';
import { Inflight, type Match, Sent } from '../../src/upstream/inflight.js';
import * as idle from '../../src/upstream/idle.js';
import { Liveness, patienceMs } from '../../src/upstream/liveness.js';
import { networkMemory } from '../../src/upstream/memory.js';
import { readTlsaText } from '../../src/wire/tlsa.js';
import {
  failed,
  type Health,
  isDue,
  mayTryAnyway,
  passed,
  type Path,
  pathFor,
  quickEnough,
} from '../../src/upstream/mode.js';
import { type Counted, QueriesPerConnection } from '../../src/upstream/queries-per-connection.js';
import { type Candidate, choose, type Policy } from '../../src/upstream/selection.js';
import { shardOf } from '../../src/upstream/shards.js';
import { OPTION } from '../../src/wire/edns.js';
import { upstreamQuery, type Ask } from '../../src/wire/upstream-query.js';
import { fakeRandom } from '../fixtures/clock.js';
import { queryMessage } from '../fixtures/client.js';
import { responseTo } from '../fixtures/messages.js';
import { messageToText } from '../../src/wire/message.js';
import { wireName } from '../fixtures/records.js';

const question = (name: string): Buffer => Buffer.concat([wireName(name), Buffer.from([0, 1, 0, 1])]);
const typed = (name: string, type: number): Buffer => Buffer.concat([wireName(name), Buffer.from([0, type, 0, 1])]);
interface Waits {
  readonly done: boolean;
  isSent: boolean;
}
const sentAsk = (octets: Buffer, done = false): Sent<Waits> =>
  new Sent({ done, isSent: true }, { question: octets, dnssecOk: false, checkingDisabled: false }, 0, monoMs(0), 0);
const sent = (name: string, done = false): Sent<Waits> => sentAsk(question(name), done);
const answered = (match: Match<Waits>): unknown => match.at === 'reply' && match.sent;
const reply = (id: number, name: string): Buffer => responseTo(queryMessage(name, { id }), {});

await t.test('RFC 7766 §7: replies are matched by id and question, in any order', t => {
  const table = new Inflight<Waits>(fakeRandom());
  const one = sent('one.example');
  const two = sent('two.example');
  const idOne = table.add(one) ?? -1;
  const idTwo = table.add(two) ?? -1;
  t.equal(answered(table.match(reply(idTwo, 'TWO.example'))), two, 'letter case of the reply does not matter');
  t.same(table.match(reply(idTwo, 'two.example')), { at: 'id_mismatch' }, 'a second reply is a stranger');
  t.same(table.match(reply(idOne, 'two.example')), { at: 'question_mismatch' });
  t.same(table.match(queryMessage('one.example', { id: idOne })), { at: 'id_mismatch' }, 'a query is no reply');
  t.same(table.match(Buffer.alloc(3)), { at: 'id_mismatch' });
  const https = new Inflight<Waits>(fakeRandom());
  const id = https.add(sentAsk(typed('one.example', 65))) ?? -1;
  t.same(
    https.match(responseTo(queryMessage('one.example', { id, type: 'TYPE97' }), {})),
    { at: 'question_mismatch' },
    'HTTPS is 65, a capital letter; 97 is the small one',
  );
  t.equal(table.size, 1, 'mismatches change nothing');
  t.equal(answered(table.match(reply(idOne, 'one.example'))), one);
  t.end();
});

await t.test('65,536 queries have 65,536 ids, and the next has none', t => {
  const table = new Inflight<Waits>(fakeRandom());
  const ids = new Set(Array.from({ length: 65536 }, () => table.add(sent('x.example'))));
  t.equal(ids.size, 65536);
  t.notOk(ids.has(undefined));
  t.equal(table.add(sent('x.example')), undefined);
  t.equal(table.takeAll().length, 65536);
  t.equal(table.size, 0);
  t.end();
});

await t.test('any order of queries and replies: each reply finds its query, the rest stay in order', t => {
  fc.assert(
    fc.property(fc.array(fc.nat(), { maxLength: 400, size: 'max' }), fc.integer(), (choices, seed) => {
      const table = new Inflight<Waits>(fakeRandom(seed));
      const open: Sent<Waits>[] = [];
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
    }),
    { numRuns: 100 },
  );
  t.end();
});

await t.test('queries that are done leave the table', t => {
  const table = new Inflight<Waits>(fakeRandom());
  for (let i = 0; i < 100; i++) table.add(sent('x.example', true));
  table.add(sent('y.example'));
  t.equal(table.size, 1);
  t.end();
});

await t.test('the path, for every mode and health', t => {
  const healths: Record<string, Health> = {
    probing: { at: 'probing' },
    private: passed(),
    suspect: { at: 'suspect', errors: 1, retryAtMs: monoMs(100) },
    failed: { at: 'failed', failures: 1, failedAtMs: monoMs(0), retryAtMs: monoMs(100) },
  };
  const table: readonly [Mode, string, ms: number, Path, ifProved: Path, probe: boolean][] = [
    ['off', 'probing', 0, 'cleartext', 'cleartext', false],
    ['off', 'private', 0, 'cleartext', 'cleartext', false],
    ['off', 'failed', 0, 'cleartext', 'cleartext', false],
    ['opportunistic', 'probing', 0, 'cleartext', 'tls', true],
    ['opportunistic', 'private', 0, 'tls', 'tls', false],
    ['opportunistic', 'suspect', 99, 'cleartext', 'tls', false],
    ['opportunistic', 'suspect', 100, 'cleartext', 'tls', true],
    ['opportunistic', 'failed', 99, 'cleartext', 'refuse', false],
    ['opportunistic', 'failed', 100, 'cleartext', 'tls', true],
    ['encrypted', 'probing', 0, 'tls', 'tls', true],
    ['encrypted', 'private', 0, 'tls', 'tls', false],
    ['encrypted', 'failed', 99, 'refuse', 'refuse', false],
    ['encrypted', 'failed', 100, 'tls', 'tls', true],
    ['strict', 'probing', 0, 'tls', 'tls', true],
    ['strict', 'private', 0, 'tls', 'tls', false],
    ['strict', 'failed', 99, 'refuse', 'refuse', false],
    ['strict', 'failed', 100, 'tls', 'tls', true],
  ];
  for (const [mode, at, ms, path, ifHeld, due] of table) {
    const nowMs = monoMs(ms);
    const health = healths[at] ?? { at: 'probing' };
    t.equal(pathFor(mode, health, nowMs, false), path, `${mode}, ${at}, ${nowMs} ms`);
    t.equal(pathFor(mode, health, nowMs, true), ifHeld, `${mode}, ${at}, ${nowMs} ms, held`);
    t.equal(isDue(mode, health, nowMs), due, `${mode}, ${at}, ${nowMs} ms: tried beside the queries`);
  }
  t.end();
});

await t.test('strict and encrypted never give a cleartext path, whatever happens in whatever order', t => {
  fc.assert(
    fc.property(
      fc.constantFrom<Mode>('strict', 'encrypted'),
      fc.array(fc.tuple(fc.constantFrom('pass', 'fail', 'reset'), fc.nat(100_000), fc.boolean())),
      (mode, events) => {
        let health: Health = { at: 'probing' };
        let nowMs = monoMs(0);
        for (const [what, ms, held] of events) {
          nowMs = monoAfter(nowMs, ms);
          health =
            what === 'pass'
              ? passed()
              : what === 'reset'
                ? { at: 'probing' }
                : failed(mode, health, { nowMs, spread: 0.5, held });
          if (pathFor(mode, health, nowMs, held) === 'cleartext' || health.at === 'suspect') return false;
        }
        return true;
      },
    ),
  );
  t.end();
});

await t.test('back-off doubles to its limit, spread by a fifth either way', t => {
  let health: Health = { at: 'probing' };
  const at0 = { nowMs: monoMs(0), spread: 0.5, held: false };
  const steps: number[] = [];
  for (let i = 0; i < 10; i++) {
    health = failed('strict', health, at0);
    if (health.at === 'failed') steps.push(health.retryAtMs);
  }
  t.same(steps, [1000, 2000, 4000, 8000, 16000, 32000, 60000, 60000, 60000, 60000]);
  t.match(
    failed('strict', passed(), { ...at0, spread: 0 }),
    { retryAtMs: 800, failures: 1 },
    'a success in between starts over',
  );
  t.match(failed('strict', passed(), { ...at0, spread: 0.75 }), { retryAtMs: 1100 });
  t.match(
    failed('opportunistic', { at: 'probing' }, at0),
    { at: 'failed', retryAtMs: 60_000 },
    'RFC 7858 §3.1: patience where there is another way',
  );
  t.notOk(mayTryAnyway(health, monoMs(999)));
  t.ok(mayTryAnyway(health, monoMs(1000)), 'with everything down, each may be tried once a second');
  t.end();
});

await t.test('opportunistic: what worked is suspect, tried again after 1, 2 and 4 s, then failed', t => {
  const walk = (held: boolean, times: readonly number[]): string[] => {
    let health: Health = passed();
    return times.map(ms => {
      const nowMs = monoMs(ms);
      health = failed('opportunistic', health, { nowMs, spread: 0.5, held });
      return `${health.at} ${health.at === 'suspect' || health.at === 'failed' ? health.retryAtMs - nowMs : ''}`;
    });
  };
  t.same(walk(false, [0, 1000, 3000, 7000, 70_000]), [
    'suspect 1000',
    'suspect 2000',
    'suspect 4000',
    'failed 60000',
    'failed 120000',
  ]);
  t.same(
    walk(true, [0, 1000, 3000, 7000, 15_000, 31_000]),
    ['suspect 1000', 'suspect 2000', 'suspect 4000', 'suspect 8000', 'suspect 8000', 'suspect 8000'],
    'while cleartext is refused, TLS is tried again soon',
  );
  t.match(failed('opportunistic', { at: 'probing' }, { nowMs: monoMs(0), spread: 0.5, held: true }), {
    at: 'suspect',
  });
  t.end();
});

await t.test('a server that was authenticated is held: four failures and half a minute, on that network only', t => {
  const memory = networkMemory(() => wallMs(0));
  let works = false;
  const guard = new DowngradeGuard(memory, 'one', () => works);
  t.notOk(guard.holds(monoMs(0)), 'one that never proved itself is not');
  guard.works(false);
  t.notOk(guard.holds(monoMs(0)), 'encryption alone proves nothing');
  guard.works(true);
  t.ok(guard.holds(monoMs(0)));
  works = true;
  for (let ms = 0; ms < 60_000; ms += 1000) guard.failed(monoMs(ms));
  t.ok(guard.holds(monoMs(60_000)), 'failures of one address do not count while another works');
  works = false;
  for (const ms of [0, 1000, 3000, 7499, 7500, 15_000]) guard.failed(monoMs(ms));
  t.ok(guard.holds(monoMs(100_000)), 'three failures are not enough, and a burst is one');
  guard.failed(monoMs(22_500));
  t.ok(guard.holds(monoMs(29_999)));
  t.notOk(guard.holds(monoMs(30_000)));
  guard.works(false);
  t.ok(guard.holds(monoMs(40_000)), 'it works again: the next outage counts anew');
  t.end();
});

await t.test('liveness: silence is asked about, then suspected, then ends the connection', t => {
  const walk = (srttMs: number | undefined, heard: (ms: number) => number): string => {
    const liveness = new Liveness(monoMs(0));
    liveness.begin(monoMs(0));
    const steps: string[] = [];
    for (let ms = 1; ms <= 20_000; ms++) {
      const bytes = heard(ms);
      if (bytes > 0) liveness.heard(bytes, false, monoMs(ms));
      const { at } = liveness.step(monoMs(ms), patienceMs(srttMs));
      if (at !== 'wait') steps.push(`${at} ${ms}`);
      if (at === 'dead') break;
    }
    return steps.join(', ');
  };
  const silence = (): number => 0;
  t.equal(walk(20, silence), 'ask 500, suspect 1000, dead 3000');
  t.equal(walk(undefined, silence), 'ask 500, suspect 1000, dead 3000');
  t.equal(walk(600, silence), 'ask 700, suspect 1400, dead 3000', 'the limits follow the round-trip time');
  t.equal(walk(4000, silence), 'ask 1000, suspect 2000, dead 3000', 'up to a limit');
  const every = (interval: number, bytes: number) => (ms: number) => (ms % interval === 0 ? bytes : 0);
  t.equal(walk(20, every(100, 1)), 'ask 500, suspect 1000, dead 10000', '10 octets a second are no progress');
  t.equal(
    walk(20, every(100, 1000)),
    'suspect 1100',
    '10,000 octets a second are, but one message holds up the others',
  );
  t.end();
});

await t.test('queries per connection: learned when the server closes twice, disproved when it does not', t => {
  const learned = new QueriesPerConnection();
  const connection = (more: Partial<Counted>): Counted => ({
    answers: 0,
    taken: 0,
    inflight: 0,
    lastMs: monoMs(0),
    ...more,
  });
  learned.closedAfter(1);
  t.ok(learned.hasRoom(connection({ taken: 50 }), monoMs(0)), 'once may be chance');
  learned.closedAfter(1);
  t.notOk(learned.hasRoom(connection({ taken: 1 }), monoMs(0)));
  t.ok(learned.hasRoom(connection({ taken: 0 }), monoMs(0)));
  t.ok(learned.isOver(connection({ answers: 1 })));
  t.notOk(learned.hasRoom(connection({ taken: 1, inflight: 1 }), monoMs(5000)), 'an answer may be late');
  t.ok(learned.hasRoom(connection({ taken: 1, answers: 1 }), monoMs(500)), 'it is still open: it takes more');
  t.ok(learned.hasRoom(connection({ taken: 100 }), monoMs(500)));
  learned.closedAfter(128);
  learned.closedAfter(3);
  t.ok(learned.hasRoom(connection({ taken: 127 }), monoMs(0)), 'the larger of two numbers counts');
  t.end();
});

await t.test('forms of queries: plainer and plainer, and back if only one question was refused', t => {
  const forms = new EdnsForms(TLS_FORMS);
  t.equal(forms.current(monoMs(0)), 0);
  t.equal(forms.refused(0, monoMs(0)), 1);
  t.equal(forms.current(monoMs(0)), 1, 'the next query begins there, also over another connection');
  t.equal(forms.refused(1, monoMs(0)), 2);
  t.ok(forms.accepted(2, monoMs(0)), 'to be confirmed');
  t.notOk(forms.accepted(2, monoMs(0)), 'once');
  t.equal(forms.current(monoMs(3_599_999)), 2);
  t.equal(forms.current(monoMs(3_600_000)), 0, 'an hour later the first form is tried again');
  t.equal(forms.refused(0, monoMs(0)), 1);
  forms.withdraw(monoMs(0));
  t.equal(forms.current(monoMs(0)), 0);
  t.equal(forms.refused(0, monoMs(59_999)), undefined, 'for a minute, refusals are answers');
  t.equal(forms.refused(0, monoMs(60_000)), 1);
  for (const form of [1, 2, 3]) forms.refused(form, monoMs(60_000));
  t.equal(forms.refused(4, monoMs(60_000)), undefined, 'refused even without EDNS: it is the question');
  t.equal(forms.current(monoMs(60_000)), 0);
  t.end();
});

await t.test('the gate: TLS may take three times as long as cleartext, and 100 ms', t => {
  t.ok(quickEnough(129, 10));
  t.notOk(quickEnough(130, 10));
  t.ok(quickEnough(4000, undefined), 'no answer in cleartext is no reason against TLS');
  t.end();
});

await t.test('idle limits: learned from the server, closing and saying', t => {
  t.equal(idle.idleMs(idle.FIRST_LIMIT), 8000);
  const shorter = idle.closedAfter(idle.FIRST_LIMIT, 5000);
  t.equal(idle.idleMs(shorter), 4000, 'a second before it closes');
  t.equal(idle.idleMs(idle.closedAfter(idle.FIRST_LIMIT, 300)), 1000, 'never below a second');
  t.equal(idle.closedAfter(shorter, 6000), shorter, 'later than we would stay is no news');
  let grown = shorter;
  for (let i = 0; i < 20; i++) grown = idle.reusedAfter(grown, 3000);
  t.equal(idle.idleMs(grown), 5000, 'twenty good reuses: a second more');
  t.equal(idle.reusedAfter(shorter, 100), shorter, 'a short pause proves nothing');
  t.equal(idle.idleMs(idle.said(grown, 3000)), 2000, 'RFC 7828: what the server says counts');
  t.equal(idle.idleMs(idle.said(idle.FIRST_LIMIT, 60_000)), 8000, 'but does not keep connections longer than is good');
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.constantFrom('closed', 'reused', 'said'), fc.nat(120_000))), events => {
      let limit = idle.FIRST_LIMIT;
      for (const [what, ms] of events)
        limit =
          what === 'closed'
            ? idle.closedAfter(limit, ms)
            : what === 'reused'
              ? idle.reusedAfter(limit, ms)
              : idle.said(limit, ms);
      return idle.idleMs(limit) >= 1000 && idle.idleMs(limit) <= 30_000;
    }),
  );
  t.end();
});

await t.test('what has proved itself is remembered for three days, per network, over a restart', t => {
  let nowMs = wallMs(0);
  const memory = networkMemory(() => nowMs);
  memory.network = 'home';
  memory.prove('one');
  t.ok(memory.changed);
  t.ok(memory.proved('one'));
  memory.network = 'café';
  t.notOk(memory.proved('one'), 'another network');
  const saved = memory.save();
  t.notOk(memory.changed);
  const later = networkMemory(() => nowMs, saved);
  later.network = 'home';
  nowMs = wallMs(3 * 86_400_000 - 1);
  t.ok(later.proved('one'));
  nowMs = wallMs(nowMs + 1);
  t.notOk(later.proved('one'));
  for (let i = 0; i < 1000; i++) later.prove(`server ${i}`);
  t.ok(later.save().length < 20_000, 'bounded');
  later.remember('dns.example', ['192.0.2.1', '2001:db8::1']);
  t.same(networkMemory(() => nowMs, later.save()).recall('dns.example'), ['192.0.2.1', '2001:db8::1']);
  t.same(
    networkMemory(() => nowMs, later.save().replace('192.0.2.1', 'localhost')).recall('dns.example'),
    ['2001:db8::1'],
    'only addresses',
  );
  for (const damaged of ['', '{', '[]', 'null', '{"version":1,"proofs":[1,["a"],["a","b"]]}', saved.slice(0, -3)]) {
    const read = networkMemory(() => nowMs, damaged);
    t.notOk(read.proved('one'), damaged);
  }
  t.end();
});

await t.test('a saved TLSA set with a name that OpenSSL cannot compare is not used with it', t => {
  const untilMs = 1000;
  for (const name of ['dns\0.example', '.example', '', 'x'.repeat(300), '*', 'd n s']) {
    const tlsa = [['owner', { names: [name, 'dns.example'], records: ['3 1 1 aabb'], untilMs }]];
    const memory = networkMemory(() => wallMs(0), JSON.stringify({ version: 2, tlsa }));
    t.same(memory.tlsa('owner')?.names, ['dns.example'], JSON.stringify(name.slice(0, 20)));
  }
  t.end();
});

await t.test('a network is known by each of its parts, since others on it may add to one', t => {
  const memory = networkMemory(() => wallMs(0));
  memory.network = 'eth0 192.0.2.7/24\neth0 by 192.0.2.1\n\neth0 20010db8';
  memory.prove('one');
  const knows = (network: string): boolean => {
    memory.network = network;
    return memory.proved('one');
  };
  t.ok(knows('eth0 192.0.2.7/24\neth0 by 192.0.2.1'), 'without IPv6');
  t.ok(knows('eth0 192.0.2.7/24\neth0 by 192.0.2.1\n\neth0 20010db8\neth0 bad'), 'with a router that was added');
  t.ok(knows('eth0 20010db8'), 'without IPv4');
  t.notOk(knows('eth0 192.0.2.7/24\neth0 by 192.0.2.2'));
  t.notOk(knows('eth0 192.0.2.7/24'));
  t.notOk(knows(''));
  t.end();
});

await t.test('no network makes the memory forget what was proved on others', t => {
  const memory = networkMemory(() => wallMs(0));
  memory.network = 'home';
  memory.prove('one');
  memory.network = 'hotel\n\nhotel 6';
  for (let i = 0; i < 1000; i++) memory.prove(`announced ${i}`);
  t.ok(memory.proved('announced 999'));
  t.notOk(memory.proved('announced 900'), 'bounded');
  memory.network = 'home';
  t.ok(memory.proved('one'));
  t.end();
});

await t.test('proven TLSA records are kept until their time is over, over a restart, on every network', t => {
  let nowMs = wallMs(1_000_000);
  const records = ['3 1 1 aabb', '2 0 0 cc'].flatMap(each => readTlsaText(each) ?? []);
  const kept = { names: ['dns.example', 'alias.example'], records, untilMs: wallMs(nowMs + 300_000) };
  const memory = networkMemory(() => nowMs);
  memory.network = 'home';
  memory.keepTlsa('_853._tcp.dns.example.', kept);
  t.ok(memory.changed);
  const later = networkMemory(() => nowMs, memory.save());
  later.network = 'café';
  t.same(later.tlsa('_853._tcp.dns.example.'), kept);
  t.equal(later.tlsa('_853._tcp.other.example.'), undefined);
  nowMs = wallMs(kept.untilMs - 1);
  t.same(later.tlsa('_853._tcp.dns.example.'), kept);
  nowMs = kept.untilMs;
  t.equal(later.tlsa('_853._tcp.dns.example.'), undefined);
  nowMs = wallMs(0);
  later.keepTlsa('x', { ...kept, untilMs: wallMs(86_400_000) });
  t.ok(later.tlsa('x'));
  later.keepTlsa('x', { ...kept, untilMs: wallMs(86_400_001) });
  t.equal(later.tlsa('x'), undefined, 'kept while the clock was wrong');
  later.keepTlsa('y', kept);
  const large = { usage: 2, selector: 0, matching: 0, data: Buffer.alloc(2049) };
  later.keepTlsa('y', { ...kept, records: [large] });
  t.equal(later.tlsa('y'), undefined, 'too large, and the earlier set does not stay');
  const largest = { ...kept, records: [{ ...large, data: large.data.subarray(1) }] };
  later.keepTlsa('z', largest);
  nowMs = wallMs(1_000_000);
  t.same(networkMemory(() => nowMs, later.save()).tlsa('z'), largest);
  for (let i = 0; i < 100; i++) later.keepTlsa(`owner ${i}`, kept);
  t.equal(later.tlsa('owner 1'), undefined, 'bounded');
  t.ok(later.tlsa('owner 99'));
  later.save();
  later.forgetTlsa();
  t.ok(later.changed);
  t.equal(later.tlsa('owner 99'), undefined);
  t.notMatch(later.save(), /owner/);
  t.end();
});

await t.test('TLSA records that were not written here are taken only whole', t => {
  const good = { names: ['dns.example'], records: ['3 1 1 aabb'], untilMs: 1_300_000 };
  const read = (set: unknown): unknown =>
    networkMemory(() => wallMs(1_000_000), JSON.stringify({ version: 1, tlsa: [['x', set]] })).tlsa('x');
  t.ok(read(good));
  for (const set of [
    ...[null, 7, 'x', [], {}, [good]],
    { ...good, names: 'dns.example' },
    { ...good, names: [1] },
    { ...good, names: Array.from({ length: 9 }, () => 'a') },
    { ...good, records: undefined },
    { ...good, records: ['3 1 1 aabb', '3 1 1'] },
    { ...good, records: ['3 1 1 aabb', 7] },
    { ...good, records: [`3 1 1 ${'aa'.repeat(5000)}`] },
    { ...good, untilMs: '1300000' },
    { ...good, untilMs: -1 },
  ])
    t.equal(read(set), undefined, JSON.stringify(set).slice(0, 80));
  t.end();
});

await t.test(
  'a memory that was not written here is taken as far as it is sound: bounded, and of the right types',
  t => {
    const nowMs = wallMs(1_000_000);
    const read = (fields: object): ReturnType<typeof networkMemory> =>
      networkMemory(() => nowMs, JSON.stringify({ version: 1, ...fields }));
    const proved = (at: unknown, key: unknown = '\none'): boolean => read({ proofs: [[key, at]] }).proved('one');
    t.ok(proved(1_000_000));
    for (const at of [-1, 8.64e15 + 2, 1e300, '1000000', null, [1_000_000], {}])
      t.notOk(proved(at), JSON.stringify(at));
    t.notOk(
      networkMemory(() => nowMs, '{"version":1,"proofs":[["\\none",1e999]]}').proved('one'),
      'a number that is too large for JSON.parse',
    );
    t.notOk(proved(1_000_000, 7), 'a key that is no text');
    const long = 'x'.repeat(5000);
    t.notOk(read({ proofs: [[`\n${long}`, 1_000_000]] }).proved(long), 'a key that is too long');
    const many = Array.from({ length: 5000 }, (_, i) => `192.0.2.${i % 250}`);
    t.equal(read({ addresses: [['dns.example', many]] }).recall('dns.example').length, 16);
    t.same(read({ addresses: [['dns.example', [1, null, 'localhost', '192.0.2.1']]] }).recall('dns.example'), [
      '192.0.2.1',
    ]);
    for (const addresses of ['192.0.2.1', 7, null, { 0: '192.0.2.1' }])
      t.same(read({ addresses: [['dns.example', addresses]] }).recall('dns.example'), [], JSON.stringify(addresses));
    const names = Array.from({ length: 1000 }, (_, i) => [`n${i}.example`, ['192.0.2.1']]);
    const bounded = read({ proofs: names.map(([name]) => [name, 1_000_000]), addresses: names });
    t.ok(bounded.save().length < 20_000, 'as many as are kept here');
    for (const fields of [{ proofs: 7, addresses: 'x' }, { proofs: { length: 2 } }, { proofs: [null, 7, [], [[]]] }])
      t.same(read(fields).recall('dns.example'), [], JSON.stringify(fields));
    t.end();
  },
);

await t.test('selection', t => {
  const servers = [
    { id: 'a', srttMs: 30, open: true, shardId: 1 },
    { id: 'b', srttMs: 10, open: true, shardId: 2 },
    { id: 'c', srttMs: undefined, open: false, shardId: 3 },
  ];
  const chosen = (policy: Policy, turn = 0, random = fakeRandom(), shard = 0): string | undefined =>
    choose(policy, servers, turn, shard, random)?.id;
  t.equal(chosen('ordered'), 'a');
  t.same(
    [0, 1, 2, 3].map(turn => chosen('round_robin', turn)),
    ['a', 'b', 'c', 'a'],
  );
  t.equal(chosen('fastest', 0, { uint16: () => 0, below: () => 1 }), 'b', 'measured ones first');
  t.equal(chosen('fastest', 0, { uint16: () => 0, below: n => (n === 20 ? 0 : 2) }), 'c', 'now and then by chance');
  t.equal(new Set(Array.from({ length: 100 }, (_, i) => chosen('random', 0, fakeRandom(i + 1)))).size, 3);
  fc.assert(
    fc.property(
      fc.constantFrom<Policy>('ordered', 'round_robin', 'random', 'fastest', 'sharded'),
      fc.nat(),
      fc.integer(),
      (policy, turn, shard) => ['a', 'b', 'c'].includes(chosen(policy, turn, fakeRandom(), shard) ?? ''),
    ),
  );
  t.equal(choose<Candidate>('fastest', [], 0, 0, fakeRandom()), undefined);
  t.end();
});

await t.test('sharded: a site has one server, sites are spread, and a lost server moves only its own', t => {
  const servers = ['a', 'b', 'c'].map((id, i) => ({ id, srttMs: 1, open: true, shardId: 1000 + 77 * i }));
  const KEY = 12345;
  const of = (name: string, among = servers): string =>
    choose('sharded', among, 0, shardOf(question(name), KEY), fakeRandom())?.id ?? '';
  const sites = Array.from({ length: 600 }, (_, i) => `site${i}.example`);
  for (const site of sites) if (of(`www.${site}`) !== of(`A.B.${site.toUpperCase()}`)) t.fail(site);
  t.equal(of('a.shop.co.uk'), of('b.shop.co.uk'));
  t.ok(new Set(Array.from({ length: 50 }, (_, i) => of(`www.shop${i}.co.uk`))).size > 1, 'co.uk is no site');
  const counts = servers.map(({ id }) => sites.filter(site => of(site) === id).length);
  t.ok(
    counts.every(count => count > 120),
    counts.join(' '),
  );
  const without = servers.filter(({ id }) => id !== 'b');
  t.ok(sites.every(site => of(site) === 'b' || of(site, without) === of(site)));
  for (const name of ['.', 'com', 'a.b']) t.ok(of(name), name);
  t.end();
});

await t.test("RFC 8467: over TLS queries are padded to 128; elsewhere not; nothing of the client's goes along", t => {
  const ask: Ask = { question: question('www.example'), dnssecOk: true, checkingDisabled: true };
  const padded = upstreamQuery(1, ask, { pad: true, keepalive: true, hideSubnet: true });
  t.equal(padded.length, 128);
  t.equal(
    messageToText(padded)?.option(OPTION.CLIENT_SUBNET)?.toString('hex'),
    '00010000',
    'RFC 7871 §7.1.2: family 1, and no octet of an address',
  );
  t.equal(messageToText(padded)?.option(OPTION.TCP_KEEPALIVE)?.length, 0);
  t.match(messageToText(padded), { flags: ['rd', 'cd'], question: { name: 'www.example.' } });
  const plain = upstreamQuery(1, ask, { pad: false, keepalive: false, hideSubnet: false });
  t.equal(plain.length, 12 + ask.question.length + 11, 'an empty OPT');
  t.equal(plain.readUInt16BE(plain.length - 4), 0x8000, 'DO');
  t.equal(upstreamQuery(1, ask, undefined).length, 12 + ask.question.length, 'without EDNS');
  t.end();
});
