// 100,000 mixed queries to the front with its ready replies and to the same pipeline without them: every reply must be
// the same, octet for octet, while names expire under a clock that the test moves.

import { isDeepStrictEqual } from 'node:util';

import t from 'tap';

import { makeEntry, type Entry } from '../../src/cache/entry.js';
import { FastQuery } from '../../src/fastpath/fast-query.js';
import { front } from '../../src/front/front.js';
import { PacketCache, packetCacheMemory } from '../../src/fastpath/packet-cache.js';
import { PacketReplies } from '../../src/fastpath/ready-replies.js';
import { Answer, type Outcome } from '../../src/pipeline/answer.js';
import type { Client, Query } from '../../src/pipeline/query.js';
import type { Resolve } from '../../src/pipeline/stage.js';
import { OPTION, type Option } from '../../src/wire/edns.js';
import { FLAG } from '../../src/wire/header.js';
import { parseQuery } from '../../src/wire/query.js';
import { refuseAnyMessage } from '../../src/wire/reply.js';
import { TYPE } from '../../src/wire/rrtype.js';
import { scanResponse } from '../../src/wire/scan.js';
import { failure } from '../../src/base/outcome.js';
import { ageSec } from '../../src/base/time.js';
import { queryMessage } from '../fixtures/client.js';
import { fakeClock, fakeRandom } from '../fixtures/clock.js';
import { responseTo } from '../fixtures/messages.js';
import { recorder } from '../fixtures/recorder.js';

const QUERIES = 100_000;
const random = fakeRandom(42);
const reader = new FastQuery();
const recalled = new FastQuery();
const keyOf = ({ key, keyBytes }: FastQuery): Buffer => key.subarray(0, keyBytes);
const pick = <T>(values: readonly T[]): T => {
  const value = values[random.below(values.length)];
  if (value === undefined) throw new Error('nothing to pick from');
  return value;
};

/** Who asks with DO gets these, and who understands it gets AD with them. */
const isSigned = (name: string): boolean => name.includes('n1') || name.includes('edge');
const SIGNATURE = '\\# 24 00010d020000012c7fffffff000000000001000102030405';

let nowSec = 0;
const store = new Map<string, Entry>();

/** What a resolver with a cache would say; what is in the answer depends on nothing but key and time. */
const resolve: Resolve = (query, settle) => settle(answerTo(query));
function answerTo(query: Query): Outcome {
  if (query.type === TYPE.ANY) return Answer.local(refuseAnyMessage(query.question), ageSec(nowSec));
  if (!query.recurse) return failure('not_cached');
  const kept = store.get(query.key);
  if (kept !== undefined && nowSec - kept.storedAt < kept.ttlSec) return Answer.cached(kept);
  const name = query.question.toString('latin1').toLowerCase();
  const size = name.includes('big') ? 60 : name.includes('edge') ? 28 : 1;
  const ttlSec = name.includes('short') ? 2 : name.includes('zero') ? 0 : 300;
  const soa = `example. ${ttlSec} SOA ns.example. host.example. 1 2 3 4 ${ttlSec}`;
  const asked = Buffer.concat([Buffer.alloc(12), query.question]);
  asked[5] = 1;
  const response = responseTo(
    asked,
    name.includes('none')
      ? { rcode: 3, authority: soa }
      : name.includes('fail')
        ? { rcode: 2, options: [{ code: OPTION.EDE, data: Buffer.from('\0\x06why') }] }
        : {
            answers: [
              ...Array.from({ length: size }, (_, i) => `www.example. ${ttlSec + i} A 192.0.2.${i}`),
              ...(isSigned(name) ? [`www.example. ${ttlSec} RRSIG ${SIGNATURE}`] : []),
            ].join('\n'),
          },
  );
  const scan = scanResponse(response, query.type);
  if (scan === undefined) throw new Error('a response that cannot be read');
  const entry = makeEntry(
    response,
    scan,
    { minSec: 0, maxSec: 86_400, negativeMaxSec: 900 },
    { ageNow: ageSec(nowSec), verdict: isSigned(name) ? 'secure' : 'unchecked', upstream: 'u', protocol: 'dot' },
  );
  if (entry.ttlSec > 0) store.set(query.key, entry);
  return new Answer(entry.ttlSec > 0 ? 'cache' : 'upstream', entry, 1);
}

const made = (packets: PacketCache) => {
  const { observer, count } = recorder();
  return {
    count,
    front: front({
      resolve,
      ready: new PacketReplies(
        packets,
        () => ageSec(nowSec),
        () => nowSec,
      ),
      allowed: address => address !== '192.0.2.66',
      maxInflight: 10,
      maxPerClient: 0,
      streamIdleMs: () => 10_000,
      identity: Buffer.from('resolver-1'),
      observer,
      clock: fakeClock(),
      ageNow: () => ageSec(nowSec),
    }),
  };
};
const ready = new PacketCache(packetCacheMemory(1 << 18));
const never = new PacketCache(packetCacheMemory(1 << 14));
const fast = made(ready);
const plain = made(never);

const names = [
  'www',
  'none',
  'short',
  'big',
  'edge',
  'zero',
  'fail',
  ...Array.from({ length: 20 }, (_, i) => `n${i}`),
].map(name => `${name}.example`);
const types = ['A', 'A', 'A', 'AAAA', 'HTTPS', 'TYPE97', 'TXT', 'TYPE65280', 'ANY', 'AXFR'];
const clients: Client[] = [
  { address: '127.0.0.1', port: 1000, family: 4, transport: 'udp' },
  { address: '127.0.0.1', port: 1000, family: 4, transport: 'udp' },
  { address: '127.0.0.1', port: 1000, family: 4, transport: 'tcp' },
  { address: '::1', port: 1000, family: 6, transport: 'tls' },
  { address: '192.0.2.66', port: 1000, family: 4, transport: 'udp' },
];
const options: Option[] = [
  { code: OPTION.COOKIE, data: Buffer.alloc(8, 1) },
  { code: OPTION.PADDING, data: Buffer.alloc(20) },
  { code: OPTION.TCP_KEEPALIVE, data: Buffer.alloc(0) },
  { code: OPTION.CLIENT_SUBNET, data: Buffer.from('00011800c00002', 'hex') },
  { code: OPTION.NSID, data: Buffer.alloc(0) },
];

function anyQuery(): Buffer {
  const name = pick(names);
  const letters =
    random.below(3) === 0
      ? Array.from(name, letter => (random.below(2) === 0 ? letter.toUpperCase() : letter)).join('')
      : name;
  const message = queryMessage(letters, {
    type: pick(types),
    id: random.uint16(),
    edns: random.below(3) > 0,
    dnssec: random.below(3) === 0,
    flags: FLAG.RD | pick([0, 0, 0, FLAG.CD, FLAG.AD, FLAG.AD | FLAG.CD]),
    options: random.below(4) === 0 ? [pick(options)] : [],
  });
  // The OPT's size field, at the edges of what truncates.
  if (message[11] === 1 && random.below(2) === 0) {
    message.writeUInt16BE(pick([0, 511, 512, 513, 540, 700, 1231, 1232, 1233, 4096, 65535]), optAt(message) + 3);
  }
  if (random.below(50) === 0) message[random.below(message.length)] = random.below(256);
  return message;
}

/** Where the OPT starts: right behind the question. */
function optAt(message: Buffer): number {
  let at = 12;
  while ((message[at] ?? 0) > 0) at += (message[at] ?? 0) + 1;
  return at + 5;
}

await t.test('front and plain pipeline say the same, octet for octet', t => {
  let differences = 0;
  let replies = 0;
  for (let i = 0; i < QUERIES; i++) {
    if (random.below(200) === 0) nowSec += pick([0.3, 1, 2.5]);
    if (random.below(5000) === 0) ready.clear();
    const message = anyQuery();
    const client = pick(clients);
    if (reader.read(message, 0, message.length, client.transport !== 'udp')) {
      const parsed = parseQuery(message);
      if (parsed.at !== 'query' || !isDeepStrictEqual(reader.query(message), parsed.query))
        t.fail(`read in two ways: ${message.toString('hex')}`);
      recalled.recall(reader.query(message));
      if (recalled.hash !== reader.hash || !keyOf(recalled).equals(keyOf(reader)))
        t.fail(`kept under another key than it is looked for: ${message.toString('hex')}`);
    }
    const say = (which: typeof fast): Buffer | undefined => {
      let reply: Buffer | undefined;
      which.front.handle(Buffer.from(message), client, bytes => (reply = bytes && Buffer.from(bytes)));
      return reply;
    };
    never.clear();
    const expected = say(plain);
    const actual = say(fast);
    if (expected !== undefined) replies++;
    const same = expected === undefined ? actual === undefined : actual?.equals(expected) === true;
    if (!same && differences++ < 3)
      t.fail(
        `${i}: ${message.toString('hex')} over ${client.transport}\n${actual?.toString('hex') ?? 'nothing'}\n${expected?.toString('hex') ?? 'nothing'}`,
      );
  }
  t.equal(differences, 0);
  t.ok(replies > QUERIES * 0.9, `${replies} replies`);
  const hits = fast.count('cache');
  t.ok(hits > QUERIES * 0.15, `${hits} of them were ready`);
  t.end();
});
