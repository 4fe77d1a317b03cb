// Answers of a snapshot: as they were, and nothing else, whatever is in the file.

import fc from 'fast-check';
import t from 'tap';

import { ageSec } from '../../src/base/time.js';
import { AnswerCache } from '../../src/cache/answers.js';
import { type Entry, makeEntry } from '../../src/cache/entry.js';
import { malformed, SnapshotError, type StoredBlock } from '../../src/cache/snapshot.js';
import type { Verdict } from '../../src/base/outcome.js';
import { questionOf } from '../../src/wire/compose.js';
import { cacheKey, parseQuery } from '../../src/wire/query.js';
import { answerReply } from '../../src/wire/reply.js';
import { scanResponse } from '../../src/wire/scan.js';
import { queryMessage } from '../fixtures/client.js';
import { responseTo } from '../fixtures/messages.js';
import { recorder } from '../fixtures/recorder.js';
import { wireName } from '../fixtures/records.js';

const LIMITS = { minSec: 0, maxSec: 86_400, negativeMaxSec: 900 };
const VERDICTS: readonly Verdict[] = ['secure', 'insecure', 'unchecked'];
const nameOf = (i: number): string => `n${i}.example`;
const keyOf = (i: number): string => cacheKey(questionOf(wireName(nameOf(i)), 1), false);

function entryOf(i: number, address = '192.0.2.1', storedAt = 1000): Entry {
  const query = queryMessage(nameOf(i));
  query.writeUInt16BE(i, 0);
  const message = responseTo(query, {
    answers:
      i % 5 === 0
        ? `${nameOf(i)}. 300 CNAME www.example.\nwww.example. 300 A ${address}`
        : `${nameOf(i)}. 300 A ${address}`,
  });
  const scan = scanResponse(message, 1);
  if (scan === undefined) throw new Error('not a response');
  const verdict = VERDICTS[i % 3] ?? 'unchecked';
  const from = { ageNow: ageSec(storedAt), verdict, upstream: `dns${i % 4}.test`, protocol: 'dot' } as const;
  return { ...makeEntry(message, scan, LIMITS, from), extendedErrors: [{ infoCode: 3, text: 'why' }] };
}
function cacheOf(count: number, maxBytes = 1 << 20): AnswerCache {
  const cache = new AnswerCache(maxBytes, recorder().observer);
  for (let i = 0; i < count; i++) cache.put(keyOf(i), entryOf(i));
  return cache;
}
/** As they would be read by a process whose age clock is `shiftSec` ahead. */
const blocksOf = (cache: AnswerCache, shiftSec = 0, mostSec = 86_400): StoredBlock[] =>
  Array.from(cache.blocks(ageSec(1001), mostSec), each => ({
    ...each,
    octets: each.octets.map(octets => Buffer.from(octets)),
    shiftSec,
  }));
const restoreAll = (cache: AnswerCache, blocks: readonly StoredBlock[], nowSec: number): number =>
  blocks.reduce((sum, each) => sum + cache.restore(each, ageSec(nowSec)), 0);
const plain = ({ octets, ...rest }: Entry): unknown => ({ ...rest, octets: octets.toString('hex') });

await t.test('answers are as they were, with their age and their server, and none is secure yet', t => {
  const restored = new AnswerCache(1 << 20, recorder().observer);
  // Another number for a label than in the process before.
  restored.put(keyOf(1000), entryOf(3, '192.0.2.1', 0));
  t.equal(restoreAll(restored, blocksOf(cacheOf(200), -990), 12), 200);
  for (let i = 0; i < 200; i++) {
    const expected = entryOf(i, '192.0.2.1', 10);
    const isSecure = expected.verdict === 'secure';
    const entry = isSecure ? restored.doubtful(keyOf(i), ageSec(12)) : restored.get(keyOf(i), ageSec(12));
    if (isSecure) t.equal(restored.get(keyOf(i), ageSec(12)), undefined);
    t.same(entry && plain(entry), plain({ ...expected, verdict: isSecure ? 'unchecked' : expected.verdict }));
    t.equal(restored.get(keyOf(i), ageSec(310)), undefined, 'it expires when it would have');
  }
  t.end();
});

await t.test('what was learnt since stays, what is of the future or too old is left out', t => {
  const restored = new AnswerCache(1 << 20, recorder().observer);
  restored.put(keyOf(1), entryOf(1, '192.0.2.99', 5));
  const blocks = blocksOf(cacheOf(10));
  t.equal(restoreAll(restored, blocks, 999), 0, 'the clock was set back');
  t.equal(restoreAll(restored, blocks, 1000), 9);
  t.same(
    restored.get(keyOf(1), ageSec(6)) && plain(restored.get(keyOf(1), ageSec(6)) as Entry),
    plain(entryOf(1, '192.0.2.99', 5)),
  );
  t.equal(restoreAll(restored, blocks, 1000), 0, 'once');
  t.same(
    [...cacheOf(10).blocks(ageSec(1301 + 50), 50)].flatMap(each => each.octets),
    [],
    'past its end by more than 50 s',
  );
  t.not([...cacheOf(10).blocks(ageSec(1300 + 50), 50)].flatMap(each => each.octets).length, 0);
  t.end();
});

await t.test('a smaller cache keeps the newest, and writes as before', t => {
  const restored = new AnswerCache(1 << 14, recorder().observer);
  restoreAll(restored, blocksOf(cacheOf(2000)), 1001);
  t.ok(restored.entries > 50 && restored.bytes <= 1 << 14);
  for (let i = 2000 - 20; i < 2000; i++) t.ok(restored.peek(keyOf(i)), `n${i}`);
  for (let i = 0; i < 500; i++) restored.put(keyOf(i), entryOf(i));
  for (let i = 480; i < 500; i++) t.ok(restored.get(keyOf(i), ageSec(1001)), `n${i}`);
  t.end();
});

/** Does all that is done with answers. @returns how many are not those that were saved */
function useAll(cache: AnswerCache, count: number): number {
  const shape = { limitBytes: 65_535, pad: true, options: [] };
  let changed = 0;
  for (let i = 0; i < count; i++) {
    const key = keyOf(i);
    const query = parseQuery(queryMessage(nameOf(i)));
    if (query.at !== 'query') throw new Error('not a query');
    const peeked = cache.peek(key)?.entry;
    if (peeked !== undefined && JSON.stringify(plain(peeked)) !== JSON.stringify(plain(entryOf(i)))) changed++;
    const now = ageSec(1001);
    for (const entry of [cache.get(key, now), cache.fallback(key, now, 1e9), cache.doubtful(key, now)]) {
      if (entry === undefined) continue;
      if (entry.verdict === 'secure') throw new Error(`${nameOf(i)} is secure`);
      answerReply(query.query, entry, 1, entry.extendedErrors, shape, false);
    }
  }
  restoreAll(new AnswerCache(1 << 20, recorder().observer), blocksOf(cache, 0, 1e12), 1001);
  cache.forget(name => name.includes('www'));
  cache.forgetNegative();
  for (let i = 0; i < count; i++) cache.put(keyOf(i), entryOf(i));
  for (let i = 0; i < count; i++) if (cache.get(keyOf(i), ageSec(1001)) === undefined) throw new Error(nameOf(i));
  return changed;
}

await t.test('nothing is taken of a block that is malformed after many good records', t => {
  const octets = Buffer.concat([...blocksOf(cacheOf(150)).flatMap(each => each.octets), Buffer.alloc(16)]);
  const block: StoredBlock = { kind: 'block', answers: 150, labels: new Map(), octets: [octets], shiftSec: 0 };
  // In the smaller caches it is added in several runs.
  for (const maxBytes of [1 << 16, 1 << 17, 1 << 20]) {
    const cache = new AnswerCache(maxBytes, recorder().observer);
    t.throws(() => cache.restore(block, ageSec(1001)), malformed());
    t.equal(cache.entries, 0, `${maxBytes} octets`);
  }
  t.end();
});

await t.test('a file that somebody has changed, with the right checksum, breaks nothing, and is never secure', t => {
  const COUNT = 30;
  const blocks = blocksOf(cacheOf(COUNT));
  const octets = Buffer.concat(blocks.flatMap(each => each.octets));
  const labels = new Map(blocks.flatMap(each => [...each.labels]));
  let [refused, taken] = [0, 0];
  /** How many answers are others afterwards. */
  const use = (changed: Buffer): number => {
    const cache = new AnswerCache(1 << 20, recorder().observer);
    try {
      taken += cache.restore(
        { kind: 'block', answers: 0xffffffff, labels, octets: [changed], shiftSec: 0 },
        ageSec(1001),
      );
    } catch (error) {
      if (!(error instanceof SnapshotError)) throw error;
      refused++;
    }
    return useAll(cache, COUNT);
  };
  t.equal(use(octets), 0);
  for (let at = 0; at < octets.length; at += at < 300 ? 1 : 17) {
    const changed = Buffer.from(octets);
    changed[at] = (changed[at] ?? 0) ^ (1 + (at % 255));
    // It belongs to one answer. Others may be lost with that one, but none is taken for another.
    if (use(changed) > 1) t.fail(`octet ${at}: other answers are others`);
  }
  const change = fc.record({ at: fc.nat(octets.length - 1), octet: fc.oneof(fc.nat(255), fc.constantFrom(0, 0xff)) });
  fc.assert(
    fc.property(fc.array(change, { minLength: 1, maxLength: 40 }), fc.nat(octets.length), (changes, end) => {
      const changed = Buffer.from(octets);
      for (const { at, octet } of changes) changed[at] = octet;
      use(changed);
      use(octets.subarray(0, end));
    }),
    { numRuns: 200 },
  );
  t.ok(refused > 100 && taken > 5000, `${refused} refused, ${taken} answers taken`);
  t.end();
});
