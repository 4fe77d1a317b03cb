import { Worker } from 'node:worker_threads';

import fc from 'fast-check';
import t from 'tap';

import { ageSec } from '../../src/base/time.js';
import { FastQuery } from '../../src/fastpath/fast-query.js';
import { PacketCache, packetCacheMemory, room } from '../../src/fastpath/packet-cache.js';
import { OPTION } from '../../src/wire/edns.js';
import { FLAG } from '../../src/wire/header.js';
import { messageToText } from '../../src/wire/message.js';
import { cacheKey, parseQuery } from '../../src/wire/query.js';
import { udpLimit } from '../../src/wire/reply.js';
import { type AskOptions, queryMessage } from '../fixtures/client.js';
import { fakeRandom } from '../fixtures/clock.js';

const fast = new FastQuery();
const read = (message: Buffer, stream = false): boolean => fast.read(message, 0, message.length, stream);

await t.test('what the fast reader takes, the full reader takes too, and both see the same', t => {
  const names = fc
    .array(fc.stringMatching(/^[a-zA-Z0-9-]{1,20}$/), { minLength: 1, maxLength: 5 })
    .map(labels => labels.join('.'));
  const options = fc.record({
    type: fc.constantFrom('A', 'AAAA', 'HTTPS', 'TXT', 'TYPE65280', 'ANY', 'AXFR', 'OPT'),
    edns: fc.boolean(),
    dnssec: fc.boolean(),
    flags: fc.oneof(fc.constantFrom(FLAG.RD, FLAG.RD | FLAG.CD, FLAG.RD | FLAG.AD), fc.nat(0xffff)),
    options: fc.array(
      fc.record({
        code: fc.constantFrom(...Object.values(OPTION)),
        data: fc.uint8Array({ maxLength: 12 }).map(octets => Buffer.from(octets)),
      }),
      { maxLength: 2 },
    ),
  });
  const damage = fc.array(fc.tuple(fc.nat(80), fc.nat(255)), { maxLength: 2 });
  let taken = 0;
  fc.assert(
    fc.property(names, options, damage, (name, asked: AskOptions, changes) => {
      const message = queryMessage(name, asked);
      for (const [at, octet] of changes) if (at < message.length) message[at] = octet;
      if (!read(message)) return true;
      taken++;
      const parsed = parseQuery(message);
      if (parsed.at !== 'query') return false;
      const { query } = parsed;
      return (
        query.type === fast.type &&
        query.recurse &&
        udpLimit(query) === fast.udpLimitBytes &&
        query.question.length === fast.questionBytes &&
        fast.key.toString('latin1', 0, fast.questionBytes) === cacheKey(query.question, false).slice(0, -1)
      );
    }),
    { numRuns: 5000 },
  );
  t.ok(taken > 100, `${taken} taken`);
  t.end();
});

await t.test('ordinary queries are taken, special ones are not', t => {
  for (const options of [
    {},
    { edns: false },
    { dnssec: true },
    { flags: FLAG.RD | FLAG.CD | FLAG.AD },
    { options: [{ code: OPTION.CLIENT_SUBNET, data: Buffer.from('00011800c00002', 'hex') }] },
  ]) {
    t.ok(read(queryMessage('www.example', options)), JSON.stringify(options));
  }
  const report = queryMessage('www.example', { options: [{ code: OPTION.REPORT, data: Buffer.alloc(0) }] });
  const keepalive = queryMessage('www.example', { options: [{ code: OPTION.TCP_KEEPALIVE, data: Buffer.alloc(0) }] });
  t.notOk(read(report));
  const cookie = queryMessage('www.example', { options: [{ code: OPTION.COOKIE, data: Buffer.alloc(8) }] });
  t.notOk(read(cookie), 'its reply has a cookie for this client');
  const nsid = queryMessage('www.example', { options: [{ code: OPTION.NSID, data: Buffer.alloc(0) }] });
  t.notOk(read(nsid), 'its reply may say which server this is');
  t.ok(read(keepalive), 'means nothing over UDP');
  t.notOk(read(keepalive, true));
  t.notOk(read(queryMessage('www.example', { flags: 0 })), 'RD=0');
  t.notOk(read(queryMessage('www.example', { type: 'ANY' })));
  t.ok(read(queryMessage('.')), 'the root');
  t.end();
});

await t.test('keys ignore letter case, and differ by EDNS, DO, CD, AD, type and name', t => {
  const key = (name: string, options?: AskOptions): string => {
    if (!read(queryMessage(name, options))) throw new Error('not taken');
    return `${fast.hash} ${fast.key.toString('hex', 0, fast.keyBytes)}`;
  };
  t.equal(key('WwW.example'), key('www.EXAMPLE'));
  const rdAd = FLAG.RD | FLAG.AD;
  t.equal(
    key('www.example', { flags: rdAd, dnssec: true }),
    key('www.example', { dnssec: true }),
    'beside DO, AD says nothing more (RFC 6840 §5.7)',
  );
  t.equal(
    key('www.example', { flags: rdAd | FLAG.CD }),
    key('www.example', { flags: FLAG.RD | FLAG.CD }),
    'beside CD, there is no AD to be told',
  );
  const all = [
    key('www.example'),
    key('www.example', { flags: rdAd }),
    key('www.example', { edns: false }),
    key('www.example', { dnssec: true }),
    key('www.example', { flags: FLAG.RD | FLAG.CD }),
    key('www.example', { type: 'AAAA' }),
    key('wwx.example'),
  ];
  t.equal(new Set(all).size, all.length);
  t.end();
});

/** A reply to a query: header, question, one A record with this TTL and address. */
function replyTo(query: Buffer, address: number, ttlSec = 300) {
  const head = Buffer.concat([query.subarray(0, fast.questionBytes + 12), Buffer.from('c00c00010001', 'hex')]);
  const reply = Buffer.concat([head, Buffer.alloc(4), Buffer.from([0, 4]), Buffer.alloc(4)]);
  reply.writeUInt32BE(ttlSec, head.length);
  reply.writeUInt32BE(address, head.length + 6);
  return {
    reply,
    ttlOffsets: [head.length],
    elapsedSec: 0,
    storedAt: ageSec(0),
    ttlSec,
    negative: false,
    canBePadded: false,
  };
}

function setUp(bytes = 1 << 16) {
  const memory = packetCacheMemory(bytes);
  const cache = new PacketCache(memory);
  const out = room(2048);
  const put = (name: string, address: number, more: Partial<ReturnType<typeof replyTo>> = {}): void => {
    const query = queryMessage(name, { edns: false });
    read(query);
    cache.put(fast, { ...replyTo(query, address), ...more });
  };
  const get = (
    name: string,
    nowSec = 0,
    id = 7,
    reader = cache,
  ): { address: number; ttl: number; id: number; name: string } | undefined => {
    const query = queryMessage(name, { edns: false, id });
    read(query);
    if (!reader.find(fast, ageSec(nowSec)) || !reader.copyTo(out, 4, query, 0, fast.questionBytes, ageSec(nowSec)))
      return undefined;
    const reply = out.octets.subarray(4, 4 + reader.replyBytes);
    return {
      address: reply.readUInt32BE(reply.length - 4),
      ttl: reply.readUInt32BE(reply.length - 10),
      id: reply.readUInt16BE(0),
      name: reply.toString('latin1', 13, 12 + fast.questionBytes - 5),
    };
  };
  return { memory, cache, put, get };
}

await t.test('the index grows with what it holds: of as many as have room nearly all are found', t => {
  const { put, get, memory } = setUp(1 << 20);
  const COUNT = 2000;
  const buckets = new Int32Array(memory, 4, 1);
  let before = buckets[0] ?? 0;
  for (let n = 0; n < COUNT; n++) {
    put(`n${n}.example`, n);
    const now = buckets[0] ?? 0;
    if (now > before + 1) t.fail(`reply ${n} has waited until ${now - before} buckets were split`);
    if (get(`n${n}.example`) === undefined) t.fail(`n${n} is not found at once`);
    before = now;
  }
  t.ok(before > 500, `${before} buckets`);
  let found = 0;
  for (let n = 0; n < COUNT; n++) {
    const one = get(`n${n}.example`);
    if (one === undefined) continue;
    found++;
    if (one.address !== n) t.fail(`n${n}: ${one.address}`);
  }
  t.ok(found > COUNT * 0.99, `${found} of ${COUNT}`);
  t.end();
});

await t.test('a reply is given back with the id, letters and TTL of the moment, until it expires', t => {
  const { put, get } = setUp();
  put('www.example', 1);
  t.match(get('WWW.eXample', 0, 99), { address: 1, ttl: 300, id: 99 });
  t.equal(get('WWW.eXample')?.name.slice(0, 3), 'WWW');
  t.match(get('www.example', 100.9), { ttl: 200 });
  t.match(get('www.example', 269.9), { ttl: 31 });
  t.equal(get('www.example', 270), undefined, 'in its last tenth, one query goes where the answer is refreshed');
  t.match(get('www.example', 270), { ttl: 30 });
  t.match(get('www.example', 299.9), { ttl: 1 });
  t.equal(get('www.example', 300), undefined);
  t.equal(get('www.example2'), undefined);
  put('www.example', 2, { storedAt: ageSec(250) });
  t.match(get('www.example', 300), { address: 2, ttl: 250 }, 'replaced');
  t.equal(get('www.example', 520), undefined, 'the new one has a last tenth of its own');
  put('www.example', 3, { storedAt: ageSec(250), elapsedSec: 271 });
  t.match(get('www.example', 521), { address: 3 }, 'that was answered meanwhile, in its last tenth');
  t.end();
});

await t.test('clearing forgets all, at once and in every view', t => {
  const { put, get, cache, memory } = setUp();
  const reader = new PacketCache(memory);
  put('www.example', 1);
  t.ok(get('www.example', 0, 7, reader));
  cache.clear();
  t.equal(get('www.example', 0, 7, reader), undefined);
  put('www.example', 2);
  t.match(get('www.example', 0, 7, reader), { address: 2 });
  t.end();
});

await t.test('clearing forgets all but those of the newest that stay, also the next time', t => {
  const { put, get, cache, memory } = setUp(1 << 22);
  const reader = new PacketCache(memory);
  const ofClass = (clientClass: number): boolean => {
    const query = queryMessage('www.example', { edns: false });
    read(query);
    fast.ofClass(clientClass);
    return reader.find(fast, ageSec(0));
  };
  put('old.example', 9);
  for (let n = 0; n < 8000; n++) put(`n${n}.example`, n);
  put('www.example', 1);
  put('ads.example', 2);
  const query = queryMessage('www.example', { edns: false });
  read(query);
  fast.ofClass(3);
  cache.put(fast, replyTo(query, 3));
  const { epoch } = cache;
  const asked: string[] = [];
  const stays = (clientClass: number, reply: Buffer): boolean => {
    const name = messageToText(reply)?.question?.name ?? '';
    asked.push(`${name} ${clientClass}`);
    return name !== 'ads.example.' && clientClass === 0;
  };
  for (const time of ['the first', 'the second', 'the third']) {
    cache.clear(stays);
    t.match(get('www.example', 0, 7, reader), { address: 1 }, time);
    t.match(get('n7999.example', 0, 7, reader), { address: 7999 });
    for (const gone of ['ads.example', 'old.example', 'n0.example']) t.equal(get(gone, 0, 7, reader), undefined, gone);
    t.notOk(ofClass(3), 'that of another class');
  }
  t.ok(asked.includes('www.example. 3'), 'it is told the class');
  t.ok(asked.length < 3 * 6000, `${asked.length} were looked at`);
  t.not(cache.epoch, epoch, 'replies to questions of before are not stored');
  put('ads.example', 4);
  t.match(get('ads.example', 0, 7, reader), { address: 4 });
  t.end();
});

await t.test('with any number of entries: found replies are right, the newest are found, memory does not grow', t => {
  const { put, get, memory } = setUp(1 << 14);
  const before = memory.byteLength;
  const random = fakeRandom(3);
  let hits = 0;
  for (let i = 1; i <= 20_000; i++) {
    put(`n${i}.${'x'.repeat(random.below(50) + 1)}.example`, i, { storedAt: ageSec(i) });
    put(`fixed${i % 5}.example`, i, { storedAt: ageSec(i) });
    const found = get(`fixed${i % 5}.example`, i);
    if (found?.address !== i) t.fail(`${i}: ${JSON.stringify(found)}`);
    if (get(`fixed${random.below(5)}.example`, i) !== undefined) hits++;
  }
  t.ok(hits > 10_000);
  t.equal(memory.byteLength, before);
  t.end();
});

await t.test('the position counter may run over 32 bits', t => {
  const { put, get, memory } = setUp(1 << 14);
  new Int32Array(memory, 0, 1)[0] = -100;
  for (let i = 1; i <= 200; i++) {
    put(`n${i}.example`, i);
    t.equal(get(`n${i}.example`)?.address, i);
  }
  t.end();
});

await t.test('a reader in another thread never gets an incomplete reply', async t => {
  const { memory, put } = setUp(1 << 14);
  const stop = new Int32Array(new SharedArrayBuffer(8));
  const worker = new Worker(new URL('packet-cache-reader.js', import.meta.url), { workerData: { memory, stop } });
  const ended = new Promise<{ found: number; wrong: number }>((resolve, reject) => {
    worker.once('message', resolve);
    worker.once('error', reject);
  });
  const enough = 20_000;
  for (let i = 0; Atomics.load(stop, 1) < enough && i < 50_000_000; i++) {
    // The address says which name it belongs to, in every octet.
    for (let n = 0; n < 8; n++) put(`n${n}.example`, 0x01010101 * (n + 1));
    if (i % 100 === 0) await new Promise(resolve => setImmediate(resolve));
  }
  Atomics.store(stop, 0, 1);
  const { found, wrong } = await ended;
  t.ok(found >= enough, `${found} found`);
  t.equal(wrong, 0);
});

await t.test('all threads see from when and until when replies may be given', t => {
  const memory = packetCacheMemory(1 << 16);
  const [writer, reader] = [new PacketCache(memory), new PacketCache(memory)];
  const seen = (...times: readonly number[]): readonly boolean[] => times.map(each => reader.holdsAt(each));
  t.same(seen(0, 2 ** 32), [true, true], 'nothing has a schedule');
  writer.hold(60, 120);
  t.same(seen(59.9, 60, 119.9, 120), [false, true, true, false]);
  writer.hold(120, 120);
  t.same(seen(119, 120, 121), [false, false, false], 'it must be looked at first');
  writer.hold(0, Infinity);
  t.same(seen(0, 2 ** 32), [true, true]);
  t.end();
});
